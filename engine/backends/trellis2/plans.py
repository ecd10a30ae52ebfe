# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory plans that there are, by name: without PyTorch, for Blender offers them too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Plan:
    """`stay`: all models stay on the GPU, else only those of the stage at hand.

    `chunked`: what works on each voxel for itself works on some at a time (see `lean`), our own kernels too.
    """

    name: str
    words: str
    stay: bool
    chunked: bool


PLANS: Final = (
    Plan("resident", "All models stay on the GPU.", True, False),
    Plan("staged", "Only the models of one step are on the GPU at a time.", False, False),
    Plan("lean", "Only the models of one step are on the GPU at a time, and it works in small pieces.", False, True),
)
"""The fastest first."""
ON_HOST: Final = Plan("host", "The models run in the machine's own memory.", True, False)
