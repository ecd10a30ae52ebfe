# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong on the way in: the cut-out, its mask, the clipboard, a capture (see `errors.CATALOGUE`)."""

from __future__ import annotations

from collections.abc import Mapping

INPUT: Mapping[str, tuple[str, str]] = {
    "cutout_pending": (
        "The cut-out of {name} is not finished yet.",
        "Wait until the panel shows it, then generate.",
    ),
    "cutout_empty": ("Nothing of {path} is left at this threshold.", "Lower the threshold."),
    "cutout_whole": (
        "The cut-out of {path} takes nothing away.",
        "Choose another background, erase some of the mask, or switch Keep as It Is on.",
    ),
    "mask_empty": ("The mask of {path} leaves nothing visible.", "Restore some of the subject, or discard the mask."),
    "background_model_missing": (
        "The background model {model} is not installed.",
        "Install Background Removal and its weights in the panel Environments, or choose another background.",
    ),
    "background_model_failed": (
        "The background model {model} could not cut {path}.",
        "Choose a lighter one; the reason is in the draft engine's log.",
    ),
    "clipboard_empty": (
        "The clipboard holds no image, and no path or address of one.",
        "Copy an image, its file or its path, then paste.",
    ),
    "clipboard_unreadable": (
        "The image on the clipboard cannot be read: {reason}.",
        "Save it as a file and choose that; on Linux, wl-clipboard or xclip has to be installed.",
    ),
    "viewport_none": ("There is no 3D viewport to capture.", "Open one in a window, then capture it."),
    "render_none": ("There is no render to use.", "Render an image first."),
}
"""code -> sentence of cause, sentence of remedy."""
