# SPDX-License-Identifier: GPL-3.0-or-later
"""The two of torchvision's transforms that prepare an image for the conditioner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch


class Compose:
    """Several transforms, one after another."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> Any:
        """Return `image` after all transforms."""
        for transform in self.transforms:
            image = transform(image)
        return image


class Normalize:
    """Brings each channel to the mean 0 and the deviation 1 that it has over many photographs."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        self.mean, self.std, self.inplace = mean, std, inplace

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return floating-point `image` (..., C, H, W), normalized."""
        mean, std = (torch.as_tensor(v, dtype=image.dtype, device=image.device) for v in (self.mean, self.std))
        image = image if self.inplace else image.clone()
        return image.sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))
