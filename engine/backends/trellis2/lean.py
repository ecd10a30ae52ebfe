# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoding with little memory: what works on each voxel for itself works on some at a time.

Upstream's decoders widen the features of all voxels fourfold in their MLPs and to float32 in their norms: beside the
features themselves these are the most that a decoder holds. Their convolutions hold nothing like it: FlexGEMM gathers
within its kernel, so that rows cut from outside would save nothing, but its usual algorithm keeps several partial sums
of the whole result in float32. Its other one, which this chooses, keeps none; our own convolution has its own pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import nn

from .kernels.memory import pieces

ALGORITHM = "masked_implicit_gemm"
"""FlexGEMM's, of those with masks the one without partial sums."""
_CONFIG = "trellis2.modules.sparse.conv.config"
_BY_ROW = (nn.Linear, nn.SiLU, nn.GELU, nn.ReLU, nn.Identity)


@contextmanager
def in_pieces(models: Iterable[nn.Module]) -> Iterator[None]:
    """Have the parts of `models` that work row by row do so in pieces within the limit of our kernels.

    The results are those of the whole, up to the order in which a library sums. Without models nothing changes.
    """
    chosen = list(models)
    if not chosen:
        yield
        return
    parts = [part for model in chosen for part in model.modules() if _widens(part)]
    config: Any = import_module(_CONFIG)
    before = config.FLEX_GEMM_ALGO
    config.FLEX_GEMM_ALGO = ALGORITHM
    try:
        for part in parts:
            part.__dict__["forward"] = _piecewise(part.forward, _row_bytes(part))
        yield
    finally:
        config.FLEX_GEMM_ALGO = before
        for part in parts:
            part.__dict__.pop("forward", None)


def _widens(part: nn.Module) -> bool:
    """Tell whether `part` works on each row for itself, by way of rows that are wider than its own."""
    if isinstance(part, nn.LayerNorm):
        return len(part.normalized_shape) == 1
    inner = list(part.children())
    return isinstance(part, nn.Sequential) and bool(inner) and all(isinstance(one, _BY_ROW) for one in inner)


def _row_bytes(part: nn.Module) -> int:
    """Return about how many bytes of temporary tensors a row takes: in float32, before and after each step."""
    if isinstance(part, nn.LayerNorm):
        return 3 * 4 * int(part.normalized_shape[0])
    return sum(2 * 4 * one.out_features for one in part.children() if isinstance(one, nn.Linear)) or 1


def _piecewise(forward: Callable[[Any], Any], row_bytes: int) -> Callable[[Any], Any]:
    """Return `forward` (rows, channels) -> (rows, channels), done piece by piece; of anything else, as it is."""

    def call(given: Any) -> Any:
        if not isinstance(given, torch.Tensor) or given.ndim != 2:
            return forward(given)
        out: Any = None
        for piece in pieces(len(given), row_bytes):
            made = forward(given[piece])
            if out is None:
                if len(made) == len(given):
                    return made
                out = made.new_empty((len(given), made.shape[1]))
            out[piece] = made
        return forward(given) if out is None else out

    return call
