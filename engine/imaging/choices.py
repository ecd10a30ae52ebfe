# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be asked of an image before anything is generated, as plain data that loads everywhere at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

CUT_OUT: Final = "cut-out"
"""The question that `cutout.answer` answers."""
CLIPBOARD: Final = "clipboard"
"""The question that `clipboard.answer` answers."""

AUTOMATIC: Final = "automatic"
"""Background: find the subject as the engine would."""
ALPHA, MODEL, BACKDROP, MASK, KEPT = "alpha", "model", "backdrop", "mask", "kept"
"""How a subject was found: by the image's own transparency, by a model, by a plain backdrop, by a painted mask, or not
at all, as the image is kept as it is. The third is a background that can be chosen, too."""
SIDE: Final = 384
"""Width and height of the preview in pixels."""
LARGEST_THRESHOLD: Final = 0.95


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for. `background` is AUTOMATIC, BACKDROP or one of `removal.MODELS`.

    What is less opaque than `threshold` (0 to 1) goes. `keep`: the image as it is, whole. `inflates`: the engine works
    with the outline itself, as the draft engine does. `mask` is a file of uint8 alpha, `mask_width` a row, the lowest
    row first; empty for none.
    """

    path: str
    background: str = AUTOMATIC
    threshold: float = 0.0
    keep: bool = False
    inflates: bool = False
    mask: str = ""
    mask_width: int = 0

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Order:
        """Return the order that `about` (plain data, see `asdict`) holds, whatever else that holds."""
        return cls(**{field.name: about[field.name] for field in fields(cls) if field.name in about})
