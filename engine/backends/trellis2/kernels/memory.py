# SPDX-License-Identifier: GPL-3.0-or-later
"""How much temporary memory one step of a kernel may take, and the pieces that this cuts its rows into."""

from __future__ import annotations

from collections.abc import Iterator

DEFAULT_BYTES = 256 << 20
_limit = DEFAULT_BYTES


def limit_bytes() -> int:
    """Return how many bytes of temporary tensors one step of a kernel may take."""
    return _limit


def set_limit_bytes(limit: int) -> None:
    """Have the kernels keep their temporary tensors within `limit` bytes, as the plan for the memory says."""
    global _limit
    if limit < 1:
        raise ValueError(f"a limit of {limit} bytes leaves no room for a row")
    _limit = limit


def pieces(rows: int, row_bytes: int) -> Iterator[slice]:
    """Yield slices that cover `rows` in order; each is one row, or within the limit at `row_bytes` a row."""
    step = max(1, _limit // max(1, row_bytes))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
