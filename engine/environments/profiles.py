# SPDX-License-Identifier: GPL-3.0-or-later
"""The environments that can be installed: what each is for, where it runs, and how it is tried once it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import EspalierError
from .platforms import LINUX, MACOS, WINDOWS

CPU, CUDA, WEIGHTS = "cpu", "cuda", "weights"


@dataclass(frozen=True)
class Profile:
    """One environment. `loaded` are packages whose module must load before the environment is taken into use.

    `found` are packages whose module must be there, but may need a graphics card to load. `unpacked` is how many bytes
    a byte of its wheels takes once installed.
    """

    name: str
    label: str
    purpose: str
    platforms: tuple[str, ...]
    needs_gpu: bool
    unpacked: float
    loaded: Mapping[str, str] = field(default_factory=dict)
    found: Mapping[str, str] = field(default_factory=dict)


_COMMON = {
    "numpy": "numpy",
    "pillow": "PIL",
    "scipy": "scipy.ndimage",
    "rembg": "rembg.bg",
    "huggingface-hub": "huggingface_hub",
}

PROFILES: Mapping[str, Profile] = {
    CPU: Profile(
        name=CPU,
        label="Background Removal",
        purpose="Cuts the subject out of any photo, on the processor",
        platforms=(LINUX, WINDOWS, MACOS),
        needs_gpu=False,
        unpacked=3.5,
        loaded={**_COMMON, "onnxruntime": "onnxruntime"},
    ),
    CUDA: Profile(
        name=CUDA,
        label="TRELLIS.2",
        purpose="Generates assets on this computer's NVIDIA graphics card",
        platforms=(LINUX, WINDOWS),
        needs_gpu=True,
        unpacked=2.2,
        loaded={**_COMMON, "torch": "torch", "torchvision": "torchvision", "transformers": "transformers"},
        found={
            "onnxruntime-gpu": "onnxruntime",
            "flex-gemm": "flex_gemm",
            "cumesh": "cumesh",
            "o-voxel": "o_voxel",
            "nvdiffrast": "nvdiffrast",
            "trellis2": "trellis2",
        },
    ),
}


def profile_of(name: str) -> Profile:
    """Return the profile called `name`. Raises EspalierError `environment_unknown`."""
    if name not in PROFILES:
        raise EspalierError("environment_unknown", name=name, known=", ".join((*PROFILES, WEIGHTS)))
    return PROFILES[name]
