# SPDX-License-Identifier: GPL-3.0-or-later
"""Rebuilding a finished asset, as jobs of the same queue that generates."""

from __future__ import annotations

from .backend import RebuildBackend


def create() -> RebuildBackend:
    """Return a new backend that rebuilds."""
    return RebuildBackend()
