# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding equal rows of numbers, bit by bit: what welding by position, normal or UV comes down to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_ODD = 0x9E3779B97F4A7C15
_MIX = 0xBF58476D1CE4E5B9


def float_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Return the bits of `values` (N, K) as float32, uint32 (N, K), with -0.0 as 0.0 so that equal means equal bits."""
    return (np.ascontiguousarray(values, dtype=np.float32) + np.float32(0.0)).view(np.uint32)


def equal_rows(rows: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return which rows of `rows` uint32 (N, K) are equal.

    The first result, int64 (M,), has one representative row of each kind; the second, int64 (N,), the kind of each row.
    """
    keys = np.zeros(len(rows), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for column in range(rows.shape[1]):
            keys = (keys ^ rows[:, column]) * np.uint64(_ODD)
            keys ^= keys >> np.uint64(29)
            keys *= np.uint64(_MIX)
            keys ^= keys >> np.uint64(32)
    _, representative, kind = np.unique(keys, return_index=True, return_inverse=True)
    kind = kind.reshape(-1)
    if not np.array_equal(rows[representative[kind]], rows):  # two different rows of one hash: sort the rows themselves
        _, representative, kind = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        kind = kind.reshape(-1)
    return representative.astype(np.int64, copy=False), kind.astype(np.int64, copy=False)
