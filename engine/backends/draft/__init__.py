# SPDX-License-Identifier: GPL-3.0-or-later
"""The draft engine: a blockout inflated from the subject's outline, in about a second, on any machine."""

from __future__ import annotations

from .backend import DraftBackend


def create() -> DraftBackend:
    """Return a new draft backend."""
    return DraftBackend()
