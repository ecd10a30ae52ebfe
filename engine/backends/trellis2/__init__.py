# SPDX-License-Identifier: GPL-3.0-or-later
"""The CUDA engine: TRELLIS.2 on the person's own GPU, on upstream's packages where they are there and ours where not.

Nothing here imports PyTorch before `create` is called, so that Blender may ask for the cache and the doctor.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from ...errors import EspalierError

if TYPE_CHECKING:
    from .backend import Trellis2Backend

NEEDED = ("torch", "safetensors", "trellis2")
"""Packages without which nothing can begin; for the others there is something else."""


def create() -> Trellis2Backend:
    """Return a new backend. Raises EspalierError `trellis2_not_installed`."""
    for name in NEEDED:
        if find_spec(name) is None:
            raise EspalierError("trellis2_not_installed", module=name)
    from .backend import Trellis2Backend
    from .settings import Settings

    return Trellis2Backend(Settings.from_environment())
