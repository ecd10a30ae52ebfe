# SPDX-License-Identifier: GPL-3.0-or-later
"""Test Key: who answers at the server, with which key, and how much is left on the account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy

from ..engine.errors import EspalierError
from . import languages, pricing, session
from .inquiry import ACCOUNT

WAIT_S = 60.0


def told(answer: Mapping[str, Any]) -> list[str]:
    """Return what the server said of the account, in lines without a full stop; nothing if it was not asked."""
    if not answer:
        return []
    source = languages.told(answer["key_source"])
    lines = [languages.say("{host} accepts the key from {source}", host=answer["host"], source=source)]
    if answer.get("balance_usd") is not None:
        lines.append(languages.say("Balance: {price}", price=pricing.dollars(answer["balance_usd"])))
    return lines


class ESPALIER_OT_test_key(bpy.types.Operator):
    """Ask the server whether it accepts the key. Nothing is generated, and nothing is charged"""

    bl_idname = "espalier.test_key"
    bl_label = "Test Key"
    # Not undoable: it changes nothing.
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Wait for the answer to the last test."""
        return session.may_ask(cls, ACCOUNT)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Ask and return at once, the preferences show the answer; in background mode wait for it."""
        inquiry = session.session.inquiries.of(ACCOUNT)
        try:
            session.ask(ACCOUNT)
            pricing.refresh()
        except EspalierError as error:
            inquiry.error = error
        if bpy.app.background:
            session.wait_for_answer(inquiry, WAIT_S)
        if inquiry.error is not None:
            self.report({"ERROR"}, languages.sentence(inquiry.error))
            return {"CANCELLED"}
        if inquiry.answer and not inquiry.waiting:
            self.report({"INFO"}, ". ".join(told(inquiry.answer)))
        return {"FINISHED"}
