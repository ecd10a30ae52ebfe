# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command is going to spend: told before it begins, and not spent above the person's limit unasked."""

from __future__ import annotations

from dataclasses import replace

from ...engine.errors import EspalierError
from ...engine.request import GenerationRequest
from .. import account, pricing
from .arguments import Item, Options
from .report import Report


def agree(options: Options, report: Report) -> tuple[Item, ...]:
    """Return the items as the engine's server takes them, once it is clear that they may be paid for.

    Waits for the server's prices and limits, or for ten seconds. Raises EspalierError `spending_unasked`, or as
    `account.ensure_online`.
    """
    if not any(item.request.engine == account.ENGINE for item in options.items):
        return options.items
    account.ensure_online()
    pricing.refresh()
    items = tuple(_taken(item, report) for item in options.items)
    prices = [pricing.price_of(item.request) for item in items]
    total = None if None in prices else sum(price for price in prices if price is not None)
    report.price(len(items), total)
    if total is not None and pricing.to_ask(total) and not options.yes:
        limit = pricing.dollars(account.preferences().ask_above_usd)
        raise EspalierError("spending_unasked", total=pricing.dollars(total), limit=limit)
    return items


def _taken(item: Item, report: Report) -> Item:
    """Return an item with its settings as the server takes them, telling what differs."""
    request = item.request
    if not isinstance(request, GenerationRequest) or request.engine != account.ENGINE:
        return item
    values, told = pricing.offer().clamp(request.parameters)
    report.notices(request.name, told)
    return replace(item, request=GenerationRequest.create(request.image, request.engine, values, request.name))
