# SPDX-License-Identifier: GPL-3.0-or-later
"""The run of a job in the child, which does nothing at a server before its parent has written it down."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

from ..backends.base import Backend, JobRun
from ..errors import EspalierError
from ..files import replacing
from ..progress import Cancelled, Progress, Stage
from .messages import Accepted, Message, Reached, RunJob, Submitting

PREPARE = "prepare"
REMOTE_ID = "remote_id"
"""A file in the folder of a job that is made, with what the server calls it: should the parent die before it writes."""

_PREPARE_SHARE = 0.06


class Handover(JobRun):
    """The run of `order` with `backend`, whose news `send` passes on to the parent.

    `stop` tells whether the parent has asked to give up the job; `notice` has it looked at by one who waits.
    """

    def __init__(
        self, backend: Backend, order: RunJob, send: Callable[[Message], None], stop: Callable[[], bool]
    ) -> None:
        share = sum(stage.weight for stage in backend.stages) * _PREPARE_SHARE

        def report(progress: Progress) -> None:
            fraction = min(max(progress.fraction, 0.0), 1.0)
            send(Reached(order.job, progress.stage, progress.label, fraction, progress.note))

        super().__init__((*backend.stages, Stage(PREPARE, "Preparing Import", share)), report, stop)
        self.remote_id, self.server = order.remote_id, order.server
        self.account = MappingProxyType(order.account)
        self.expected_s = MappingProxyType(order.expected_s)
        self.sent = False
        """Whether a request may have reached the server, which has not answered it."""
        self.over = False
        """Whether the server has nothing of this job that could be asked after."""
        self._job = order.job
        self._folder = Path(order.folder)
        self._send = send
        self._news = threading.Event()
        self._written = 0
        self._told = 0

    def submitting(self, digest: str) -> None:
        try:
            self.check()
            self._tell(Submitting(self._job, digest, self.server))
            self.check()
        except Cancelled:
            self.ended()  # nothing was sent
            raise
        self.sent, self.over = True, False

    def withdrawn(self) -> None:
        self.ended()
        self._tell(Submitting(self._job, "", self.server))

    def accepted(self, remote_id: str) -> None:
        self.remote_id, self.sent = remote_id, False
        with contextlib.suppress(EspalierError), replacing(self._folder / REMOTE_ID) as partial:
            partial.write_text(remote_id, "utf-8")
        self._tell(Accepted(self._job, remote_id))

    def ended(self) -> None:
        self.sent, self.over = False, True

    def written(self) -> None:
        """Take note that the parent has written down what it was told last. Called from another thread."""
        self._written += 1
        self._news.set()

    def notice(self) -> None:
        """Look again whether the job is to stop. Called from another thread."""
        self._news.set()

    def _tell(self, message: Message) -> None:
        self._told += 1
        self._send(message)
        while self._written < self._told:
            self._news.wait()
            self._news.clear()
            if self._written < self._told:
                self.check()
