# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantities as people say them."""

from __future__ import annotations


def size_words(size: float) -> str:
    """Return a number of bytes as people say it."""
    for unit in ("bytes", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
