# SPDX-License-Identifier: GPL-3.0-or-later
"""Rebuilding a finished asset, as jobs of the same queue that generates."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from ...errors import EspalierError

if TYPE_CHECKING:
    from .backend import RebuildBackend


def create() -> RebuildBackend:
    """Return a new backend that rebuilds. Raises EspalierError `rebuild_impossible` where its library does not exist.

    Its wheel comes with the extension wherever there is one; only for Macs with an Intel processor there is none.
    """
    import platform
    import sys

    if sys.platform == "darwin" and platform.machine() == "x86_64" and find_spec("igl") is None:
        raise EspalierError("rebuild_impossible")
    from .backend import RebuildBackend

    return RebuildBackend()
