# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the portable kernels under the names of the compiled packages, only where those are not installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from . import memory

NAMES = ("flash_attn", "flex_gemm", "cumesh", "o_voxel", "nvdiffrast", "torchvision")
"""The packages that have a portable stand-in, in the order in which they are put in."""
STAYS = "torch.Tensor.cuda"
"""What `install` tells besides, where torch sees no CUDA device: `Tensor.cuda()` leaves a tensor where it is.

Upstream's code calls it on tensors that it made or was given on the device in use; without CUDA it can only fail.
"""


def missing(names: Iterable[str] = NAMES) -> tuple[str, ...]:
    """Return those of `names` that are not installed, in the order of `NAMES`; nothing is imported for it."""
    wanted = _known(names)
    return tuple(name for name in NAMES if name in wanted and not _is_there(name))


def installed() -> tuple[str, ...]:
    """Return what `install` has put in and `remove` has not taken out, in the order of `NAMES`, then `STAYS`."""
    there = tuple(name for name in NAMES if _is_ours(name))
    return (*there, STAYS) if _cuda_before is not None else there


def install(names: Iterable[str] = NAMES, *, limit_bytes: int | None = None) -> tuple[str, ...]:
    """Put a portable stand-in in for each of `names` that is not installed; return all that stand in now.

    A package that is installed is never touched, nor is one that somebody else has imported. Call it before anything of
    upstream is imported, once in a process; a second call adds what is still missing. `limit_bytes` bounds the
    temporary tensors of one step of a kernel (see `memory`). Needs torch.
    """
    if limit_bytes is not None:
        memory.set_limit_bytes(limit_bytes)
    absent = missing(names)
    if absent:
        from .contents import contents

        _let_transformers_look()
        for name in absent:
            for path, content in contents(name).items():
                _put(path, content)
    _stay_without_cuda()
    return installed()


def remove() -> None:
    """Take out what `install` has put in. What was imported from it meanwhile keeps it."""
    global _cuda_before
    for path in [path for path, module in sys.modules.items() if isinstance(module, StandIn)]:
        del sys.modules[path]
    if _cuda_before is not None:
        import torch

        torch.Tensor.cuda = _cuda_before
        _cuda_before = None


class StandIn(ModuleType):
    """A module of ours under another's name. It has no file and no version, so that nobody takes it for the package."""

    def __init__(self, path: str, content: Mapping[str, Any]) -> None:
        super().__init__(path, "A portable stand-in of Espalier.")
        self.__spec__ = ModuleSpec(path, None, is_package=True)
        self.__path__: list[str] = []
        self.__dict__.update(content)


_cuda_before: Callable[..., Any] | None = None


def _known(names: Iterable[str]) -> frozenset[str]:
    wanted = frozenset(names)
    if unknown := wanted.difference(NAMES):
        raise ValueError(f"there is no stand-in for {', '.join(sorted(unknown))}")
    return wanted


def _is_ours(name: str) -> bool:
    return isinstance(sys.modules.get(name), StandIn)


def _is_there(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None


def _let_transformers_look() -> None:
    """Have transformers find out what is installed before we put anything in: it remembers its first answer."""
    if importlib.util.find_spec("transformers") is not None:
        from transformers.utils import is_flash_attn_2_available, is_torchvision_available

        is_flash_attn_2_available()
        is_torchvision_available()


def _put(path: str, content: Mapping[str, Any]) -> None:
    module = StandIn(path, content)
    sys.modules[path] = module
    parent, _, child = path.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def _stay_without_cuda() -> None:
    """Make `Tensor.cuda()` return the tensor itself where torch sees no CUDA device (ROCm counts as one)."""
    global _cuda_before
    import torch

    if _cuda_before is None and not torch.cuda.is_available():
        _cuda_before = torch.Tensor.cuda
        torch.Tensor.cuda = lambda tensor, *_, **__: tensor
