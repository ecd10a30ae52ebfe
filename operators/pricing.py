# SPDX-License-Identifier: GPL-3.0-or-later
"""What the remote engine charges and takes, as far as it is known without waiting for an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import bpy

from ..engine.errors import EspalierError
from ..engine.request import GenerationRequest, Request
from . import account, session
from .account import ENGINE
from .inquiry import MODEL
from .languages import say

if TYPE_CHECKING:
    from ..engine.offer import Offer

WAIT_S = 10.0

_read: tuple[Mapping[str, Any], Offer] | None = None
"""The answer that was read last, and what it offers."""


def offer() -> Offer:
    """Return the prices and limits that the server told last, or those of our own table. Quick, for drawing."""
    from ..engine.offer import LISTED, read_offer  # here, for enabling must not wait for it

    global _read
    answer = session.session.inquiries.of(MODEL).answer
    if not answer:
        return LISTED
    if _read is None or answer is not _read[0]:
        _read = (answer, read_offer(answer))
    return _read[1]


def refresh() -> None:
    """Ask the server for its prices and limits where that is due; without an answer our own table goes on to count.

    In the background, where nobody waits for Blender to draw, the answer is waited for.
    """
    inquiry = session.session.inquiries.of(MODEL)
    if not inquiry.fresh:
        try:
            session.ask(MODEL)
        except EspalierError as error:
            inquiry.error = error
    if bpy.app.background:
        session.wait_for_answer(inquiry, WAIT_S)


def price(engine: str, resolution: str, count: int = 1) -> float | None:
    """Return what `count` assets cost in USD: 0 with engines that charge nothing, None where nobody has told.

    Our own table is the vendor's; a server of one's own network has prices only if it tells them.
    """
    if engine != ENGINE:
        return 0.0
    offered = offer()
    if resolution not in offered.told and account.nearby():
        return None
    return count * offered.prices[resolution]


def price_of(request: Request) -> float | None:
    """Return what a request costs, as `price` does."""
    if isinstance(request, GenerationRequest):
        return price(request.engine, str(request.parameters["resolution"]))
    return 0.0


def to_ask(price_usd: float | None) -> bool:
    """Tell whether the person wants to be asked before this much is spent."""
    return (price_usd or 0.0) > account.preferences().ask_above_usd + 1e-6  # the preference is a 32-bit float


def dollars(price_usd: float) -> str:
    """Return a price as shown: cents, and tenths of them where there are any (0.025 USD, 2.49 USD)."""
    text = f"{price_usd:.3f}"
    return f"{text.removesuffix('0')} USD"


def confirm(
    operator: bpy.types.Operator,
    context: bpy.types.Context,
    event: bpy.types.Event,
    price_usd: float | None,
    message: str,
) -> set[str]:
    """Ask in a dialog before `operator` is executed, which costs `price_usd`, None where nobody has told."""
    return context.window_manager.invoke_confirm(
        operator,
        event,
        title=say("Spend {price}?", price=dollars(price_usd))
        if price_usd
        else say("{action}?", action=say(operator.bl_label)),
        message=say(message),
        confirm_text=say(operator.bl_label),
        icon="QUESTION",
    )
