# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to the remote API that belong to no job: asked in its worker, answered some ticks later."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..engine.errors import EspalierError

ACCOUNT, MODEL, USAGE = "account", "model", "usage"
FRESH_S = 3600.0
"""How long an answer is good for; the worker asks the server itself less often still."""
TRY_AGAIN_S = 60.0


@dataclass
class Inquiry:
    """A question as it stands. `id` is the queue's name for it while its answer is awaited; `asked` is monotonic."""

    question: str
    id: str = ""
    asked: float = 0.0
    answer: Mapping[str, Any] = field(default_factory=dict)
    error: EspalierError | None = None

    @property
    def waiting(self) -> bool:
        """Whether it was asked and has not been answered."""
        return bool(self.id)

    @property
    def fresh(self) -> bool:
        """Whether it need not be asked again yet: what is known is recent, or the last attempt was."""
        if self.waiting:
            return True
        return self.asked > 0.0 and time.monotonic() - self.asked < (FRESH_S if self.answer else TRY_AGAIN_S)


class Inquiries:
    """What has been asked, by question, and what was answered last."""

    def __init__(self) -> None:
        self._known: dict[str, Inquiry] = {}

    def of(self, question: str) -> Inquiry:
        """Return what is known about a question, without asking it."""
        return self._known.setdefault(question, Inquiry(question))

    def begin(self, question: str, name: str) -> Inquiry:
        """Note that a question was asked and is called `name` by the queue; the last answer counts until the next."""
        inquiry = self.of(question)
        inquiry.id, inquiry.asked, inquiry.error = name, time.monotonic(), None
        return inquiry

    def take(self, answers: Mapping[str, Mapping[str, Any] | EspalierError]) -> bool:
        """Note the queue's `answers`, by its names; tell whether there was one."""
        for inquiry in self._known.values():
            if inquiry.waiting and inquiry.id in answers:
                answer = answers[inquiry.id]
                inquiry.id = ""
                if isinstance(answer, EspalierError):
                    inquiry.error = answer
                else:
                    inquiry.answer = answer
        return bool(answers)

    def forget(self) -> None:
        """Forget all answers, and those that are still to come."""
        self._known.clear()

    @property
    def awaited(self) -> bool:
        """Whether an answer is still to come."""
        return any(inquiry.waiting for inquiry in self._known.values())
