# SPDX-License-Identifier: GPL-3.0-or-later
"""The remote engine: TRELLIS.2 on a server, every parameter of it, nothing paid for twice and nothing paid for lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .backend import RemoteBackend


def create() -> RemoteBackend:
    """Return a new remote backend."""
    # Here, for Blender itself asks this package about addresses, and must not wait for an HTTP library.
    from .backend import RemoteBackend

    return RemoteBackend()
