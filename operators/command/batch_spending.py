# SPDX-License-Identifier: GPL-3.0-or-later
"""What a batch is going to spend, at most its budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...engine.batch.rows import Row
from ...engine.errors import EspalierError
from .. import account, pricing
from .arguments import Item, Options
from .batch_arguments import Batch
from .batch_report import BatchReport
from .spending import agree


def agree_on(options: Batch, rows: list[Row], report: BatchReport) -> list[Row]:
    """Return the rows as the engine's server takes them, once it is clear that they may be paid for.

    With a budget, no more than the budget has to be agreed to. Raises EspalierError as `spending.agree`, or
    `batch_budget_unpriced`.
    """
    items = tuple(Item(row.request, Path(), None, None) for row in rows)
    limited = options.budget_usd is not None
    taken = agree(Options(items, options.json, options.yes or limited), report)
    prices = [pricing.price_of(item.request) for item in taken]
    if limited and None in prices:
        raise EspalierError("batch_budget_unpriced")
    if limited and not options.yes:
        most = min(sum(price or 0.0 for price in prices), options.budget_usd or 0.0)
        if pricing.to_ask(most):
            limit = pricing.dollars(account.preferences().ask_above_usd)
            raise EspalierError("spending_unasked", total=pricing.dollars(most), limit=limit)
    return [replace(row, request=item.request) for row, item in zip(rows, taken, strict=True)]
