# SPDX-License-Identifier: GPL-3.0-or-later
"""Portable kernels in plain torch, for the compiled packages that TRELLIS.2 asks for and that are not there.

`install` puts them under those packages' own names, so that upstream's Python code runs unchanged on CUDA without any
extension wheel, on ROCm, Apple's MPS and the CPU. Nothing here imports torch before `install` is called.
"""

from __future__ import annotations

from .absent import NotPortable
from .memory import DEFAULT_BYTES, set_limit_bytes
from .standin import NAMES, STAYS, install, installed, missing, remove

__all__ = [
    "DEFAULT_BYTES",
    "NAMES",
    "STAYS",
    "NotPortable",
    "install",
    "installed",
    "missing",
    "remove",
    "set_limit_bytes",
]
