# SPDX-License-Identifier: GPL-3.0-or-later
"""Amounts of bytes in words."""

from __future__ import annotations

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def amount(size: float) -> str:
    """Return `size` bytes as people write it, in units of a thousand: 16.2 GB."""
    for unit in _UNITS[:-1]:
        if abs(size) < 999.5:
            return f"{size:.0f} {unit}" if unit in ("bytes", "kB", "MB") else f"{size:.1f} {unit}"
        size /= 1000.0
    return f"{size:.1f} {_UNITS[-1]}"
