# SPDX-License-Identifier: GPL-3.0-or-later
"""The parent's side of the work on an environment: a child process does it, and nothing here waits for it."""

from __future__ import annotations

import time
from dataclasses import replace

from ..errors import EspalierError
from ..workers.launch import bootstrap, current_launch
from ..workers.link import Exit, Garbage, Link
from ..workers.log import Log
from ..workers.messages import CancelJob, CancelledJob, Failed, Message, Moved, Result, RunJob, encode
from .order import Act, Order
from .places import Places
from .sources import Sources

__all__ = ["Act", "Order", "Task"]

_CANCEL_S = 1.0
_PROGRAM = "engine.environments.child"


class Task:
    """Carries out `order` in a child process, which starts at once and ends with this one.

    Call `step` from a timer or a loop until `finished`; then `error` tells what went wrong, if anything did, `words`
    what came of it, in sentences, and `cancelled` that it was given up. The secrets in `sources` go through a pipe.
    """

    def __init__(self, order: Order, places: Places, sources: Sources) -> None:
        self.order = order
        self.stage = ""
        self.done_bytes = 0
        self.total_bytes = 0
        self.finished = False
        self.cancelled = False
        self.error: EspalierError | None = None
        self.words: list[str] = []
        self._force_at: float | None = None
        self._answered = False
        self._link: Link | None = None
        log = Log(places.log)
        self._log = log
        request = {"order": order.to_json(), "places": places.to_json()}
        try:
            line = encode(RunJob(order.profile, request, str(places.root), account=sources.to_json()))
            launch = replace(current_launch(), script=bootstrap(_PROGRAM))
        except EspalierError as error:
            self.error, self.finished = error, True
            return
        self._link = Link(launch.command("environments"), launch.environment(1), log)
        self._link.send(line)

    @property
    def fraction(self) -> float:
        """How much of the current stage is done, 0 to 1; 0 where that is not known."""
        return min(self.done_bytes / self.total_bytes, 1.0) if self.total_bytes else 0.0

    @property
    def pid(self) -> int | None:
        """The number of the child's process, once there is one."""
        return self._link.pid if self._link else None

    def step(self) -> None:
        """Take in what the child has said. Never waits."""
        if self._link is None or self.finished:
            return
        while (message := self._link.receive()) is not None:
            self._understand(message)
        if self._force_at is not None and time.monotonic() >= self._force_at:
            self._force_at = None
            self._link.kill()

    def cancel(self) -> None:
        """Give it up at once; what is downloaded stays for the next time."""
        if self._link is not None and not self.finished and self._force_at is None:
            self.cancelled = True
            self._link.send(encode(CancelJob(self.order.profile)))
            self._force_at = time.monotonic() + _CANCEL_S

    def close(self) -> None:
        """End the child, if it still runs."""
        if self._link is not None:
            self._link.kill()

    def _understand(self, message: Message | Garbage | Exit) -> None:
        if isinstance(message, Moved):
            self.stage, self.done_bytes, self.total_bytes = message.stage, message.done, message.total
        elif isinstance(message, Result):
            self._answered, self.cancelled = True, False
            self.words = [str(word) for word in message.result["words"]]
        elif isinstance(message, Failed):
            self._answered, self.cancelled = True, False
            self.error = self._readable(EspalierError.from_json(message.error))
        elif isinstance(message, CancelledJob):
            self._answered = self.cancelled = True
        elif isinstance(message, Exit):
            self.finished = True
            if not self._answered and not self.cancelled:
                reason = message.reason
                words = self._link.last_words() if self._link else ""
                self.error = EspalierError("environment_died", words, profile=self.order.profile, reason=reason)

    def _readable(self, error: EspalierError) -> EspalierError:
        """Return `error` with the place of the log where it names one."""
        if error.fields.get("log") == "":
            return EspalierError(error.code, error.detail, **{**error.fields, "log": str(self._log.path)})
        return error
