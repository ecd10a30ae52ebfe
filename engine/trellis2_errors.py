# SPDX-License-Identifier: GPL-3.0-or-later
"""The failures of the CUDA engine that a person can meet: a code, one sentence of cause, one sentence of remedy."""

from __future__ import annotations

from collections.abc import Mapping

_INSTALL = "Install the CUDA engine in Espalier's preferences, or run blender -b -c espalier install cuda."
_FETCH = "Install the weights in Espalier's preferences, or run blender -b -c espalier install weights."
_WEIGHTS = "Repair the weights in Espalier's preferences, or run blender -b -c espalier install weights --repair."

TRELLIS2: Mapping[str, tuple[str, str]] = {
    "trellis2_not_installed": ("The CUDA engine needs {module}, which is not installed.", _INSTALL),
    "trellis2_no_gpu": (
        "This machine has no GPU that PyTorch can use.",
        "Use the draft or the remote engine here, or run Espalier on a machine with an NVIDIA GPU.",
    ),
    "trellis2_device": (
        "There is no device {device} for TRELLIS.2 on this machine.",
        "Set ESPALIER_DEVICE to one of the cards (cuda:0, cuda:1, ...), or leave it empty for the best there is.",
    ),
    "trellis2_torch_cpu": (
        "The installed PyTorch {version} is built without CUDA.",
        "Repair the CUDA engine in Espalier's preferences, or run blender -b -c espalier install cuda --repair.",
    ),
    "trellis2_driver": (
        "The NVIDIA driver does not work with CUDA {cuda} of the installed PyTorch.",
        "Update the NVIDIA driver, restart the machine, and run blender -b -c espalier doctor.",
    ),
    "trellis2_architecture": (
        "The GPU {gpu} has compute capability {capability}, for which the installed PyTorch is not built.",
        "Use a GPU of one of {built}, or the remote engine.",
    ),
    "trellis2_compiler": (
        "Triton needs a C compiler to build the kernels of the CUDA engine, and there is none.",
        "Install gcc (on Debian and Ubuntu: sudo apt install gcc; on Fedora: sudo dnf install gcc).",
    ),
    "trellis2_weights_none": ("The weights of {model} are not on this machine.", _FETCH),
    "trellis2_weights_missing": ("The file {path} of the weights is missing.", _WEIGHTS),
    "trellis2_weights_damaged": ("The file {path} of the weights is damaged: {reason}.", _WEIGHTS),
    "trellis2_weights_unfit": (
        "The weights in {path} do not fit the installed TRELLIS.2: {reason}.",
        "Repair both the CUDA engine and the weights in Espalier's preferences.",
    ),
    "trellis2_memory": (
        "The GPU has too little free memory for the step {stage}: {free} of {total} GB are free.",
        "Lower the resolution or the token limit, or close other programs that use the GPU.",
    ),
    "trellis2_empty": (
        "No shape came out of the image {path}.",
        "Try another seed, or an image that shows the whole subject.",
    ),
    "trellis2_broken": (
        "TRELLIS.2 failed in the step {stage} ({reason}).",
        "Try again; if it happens twice, run blender -b -c espalier doctor and look at the log.",
    ),
}
"""code -> (sentence of cause, sentence of remedy); `errors.CATALOGUE` holds them with all others."""
