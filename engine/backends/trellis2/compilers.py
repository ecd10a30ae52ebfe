# SPDX-License-Identifier: GPL-3.0-or-later
"""The C compiler that Triton wants; without PyTorch, for the doctor looks for it also where that is missing."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec


def needs_compiler() -> bool:
    """Tell whether Triton will build kernels here: those of FlexGEMM, unless ours, which need none, take its place."""
    spec = find_spec("flex_gemm")
    return sys.platform == "linux" and spec is not None and spec.loader is not None


def compiler() -> str | None:
    """Return the C compiler that Triton would call, or None."""
    return next((found for name in (os.environ.get("CC", ""), "gcc", "clang", "cc") if (found := _which(name))), None)


def _which(name: str) -> str | None:
    return shutil.which(name) if name else None
