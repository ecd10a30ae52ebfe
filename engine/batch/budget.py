# SPDX-License-Identifier: GPL-3.0-or-later
"""A limit on what a batch spends: what may still be billed counts as spent until it is known not to be."""

from __future__ import annotations

from ..errors import EspalierError

_TINY = 1e-9
"""Sums of prices are not exact."""


class Budget:
    """At most `limit` USD, without a limit if None."""

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._held: dict[int, float] = {}

    @property
    def held(self) -> float:
        """What is spent or may be, in USD."""
        return sum(self._held.values())

    def hold(self, row: int, price: float | None) -> None:
        """Set the price of a row aside before it is asked for.

        Raises EspalierError `batch_budget_reached`, or `batch_budget_unpriced` where nobody has told the price.
        """
        if self._limit is not None:
            if price is None:
                raise EspalierError("batch_budget_unpriced")
            if self.held + price > self._limit + _TINY:
                raise EspalierError("batch_budget_reached", price=f"{price:.3f} USD", limit=f"{self._limit:.2f} USD")
        self._held[row] = price or 0.0

    def settle(self, row: int, billed: float | None) -> None:
        """Put what a row has really cost in the place of its price, which stays if that is not known (None)."""
        if billed is not None:
            self._held[row] = billed
