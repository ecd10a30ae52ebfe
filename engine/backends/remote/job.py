# SPDX-License-Identifier: GPL-3.0-or-later
"""One job at the server, from its ticket to the file: polled on a shared budget, delivered once."""

from __future__ import annotations

import math
import secrets
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urljoin

from ...addresses import host_of
from ...errors import EspalierError
from ...progress import Cancelled
from ...request import GenerationRequest
from ..base import JobRun
from .answers import priced
from .bucket import Bucket
from .client import Client, told
from .download import Gone, fetch, store, unpack
from .exchange import Reply
from .faults import MODEL, job_failed, refused
from .reading import DONE, JobState, Link, parse, read_job
from .schedule import POLL_S, Crowd, due, wait
from .ticket import Ticket
from .usage import find_output, what_is_known

LOOK_S = 2.0
TELL_S = 1.0
_CANCEL_S = 2.0
_YOUNG_S = 30.0
_LOST_TRIES = 3
_EMPTY_TRIES = 5
_UNREADABLE_S = 300.0
"""How long to bear with a network that answers in the server's place, a hotel's say."""
_FRESH_LINKS = 3
_YIELD_S = 10.0
"""For so long a job lets older ones be asked after first, which may hear a little later how long jobs take."""
_SURE, _SAVING = 0.5, 0.7


class Notes(Protocol):
    """Shows sentences to the person; `fraction` is how far the stage at hand is."""

    fraction: float

    def tell(self, words: str) -> None: ...


class RemoteJob:
    """What is known of one job while it is made. `notices` and `facts` are for the finished asset."""

    def __init__(
        self,
        client: Client,
        bucket: Bucket,
        run: JobRun,
        request: GenerationRequest,
        notes: Notes,
        ours: set[str],
    ) -> None:
        """`ours` are the ids of all jobs that this process knows of, to which this one's is added."""
        self._client, self._bucket, self._run, self._notes, self._ours = client, bucket, run, notes, ours
        self._resolution = str(request.parameters["resolution"])
        self._kind = f"{self._resolution}/{request.parameters['texture_size']}"
        self._name = secrets.token_hex(8)
        self._ticket = Ticket()
        self._state = JobState("pending")
        self._held = b""
        self._born = client.clock.now()
        self._sent = self._born
        self._resumed = False
        self._polls = 0
        self._shown = -math.inf
        self._polled = self._born
        self.notices: tuple[str, ...] = ()
        self.facts: dict[str, Any] = {}

    def submitting(self, digest: str) -> None:
        """Have the ledger know that the request is about to be sent. Raises Cancelled."""
        self._run.submitting(digest)
        self._sent = self._client.clock.now()

    def unknown(self, reason: str) -> EspalierError:
        """Return the failure of a request whose fate nobody knows, with what the server's usage list tells of it."""
        client = self._client
        known = what_is_known(client, client.clock.now() - self._sent, self._ours)
        return EspalierError("remote_outcome_unknown", host=client.account.host, reason=reason, known=known)

    def begin(self, ticket: Ticket, state: JobState) -> None:
        """Take over what the server has just accepted; return once the ledger has it. Raises Cancelled."""
        self._ticket, self._state = ticket, state
        self._ours.add(ticket.job_id)
        self._born = self._polled = self._client.clock.now()
        if ticket.text:
            self._or_cancel(lambda: self._run.accepted(ticket.text))

    def hold(self, glb: bytes) -> None:
        """Take over an asset that was the answer itself."""
        self._held = glb
        self._state = JobState("done", "completed")

    def resume(self, ticket: Ticket) -> None:
        """Take over what the server accepted in an earlier run."""
        self._ticket, self._resumed = ticket, True
        self._ours.add(ticket.job_id)
        if ticket.link:
            self._state = JobState("done", "completed", link=Link(url=ticket.link))

    def await_result(self) -> None:
        """Poll until the job is done. Raises EspalierError for one that failed or is gone, and Cancelled."""
        self._or_cancel(self._await_result)

    def deliver(self, path: Path) -> Path:
        """Bring the asset to `path`. Raises EspalierError, or Cancelled."""
        self._or_cancel(lambda: self._deliver(path))
        self._tell_facts()
        return path

    def _await_result(self) -> None:
        if self._state.phase == "done" and (self._state.link is not None or self._held):
            return
        if self._state.phase == "failed":
            self._fail(self._state)
        clock = self._client.clock
        missing, empty, unreadable = 0, 0, 0.0
        try:
            while True:
                moment = self._wait_for_turn()
                # A server that tells a path of its own may know the documented one all the same.
                ticket = Ticket(self._ticket.job_id) if missing % 2 else self._ticket
                reply = self._client.get(ticket.url(self._client.account.base), moment, job=self._name)
                before, self._polled = self._polled, clock.now()
                self._polls += 1
                if reply.status in (404, 410):
                    missing += 1
                    young = not self._resumed and self._polled - self._born < _YOUNG_S
                    if reply.status == 410 or (missing >= _LOST_TRIES and not young):
                        self._state = self._lost()
                        return
                    continue
                state = self._read(reply)
                if state is None:
                    unreadable = unreadable or self._polled
                    host = self._client.account.host
                    if self._polled - unreadable > _UNREADABLE_S:
                        raise EspalierError("remote_unreadable", host=host, reason="it is not the state of a job")
                    self._notes.tell(f"{host} gives answers that cannot be understood. Trying again")
                    continue
                self._state = state
                missing, unreadable = 0, 0.0
                if state.status == "expired":
                    self._state = self._lost()
                    return
                if state.phase == "failed":
                    self._fail(state)
                if state.phase == "done":
                    if state.link is not None:
                        self._learn(state, before)
                        return
                    empty += 1
                    if empty >= _EMPTY_TRIES:
                        raise EspalierError("remote_asset_none", host=self._client.account.host)
        finally:
            self._bucket.leave(self._name)

    def _wait_for_turn(self) -> float:
        """Wait until the job is to be polled, telling how it goes, and return when that was due."""
        clock = self._client.clock
        if self._resumed and self._polls == 0:
            self._bucket.enter(self._name, self._born, self._kind, 600.0)
            return clock.now()
        crowd = self._bucket.enter(self._name, self._born, self._kind, 600.0)
        jitter = 0.9 + 0.2 * secrets.randbelow(1000) / 1000.0
        late: float | None = None
        while True:
            moment = self._due(crowd, jitter)
            left = moment - clock.now()
            if left <= 0.0:
                if self._polls:
                    return moment
                # Where requests are scarce the oldest goes first, though others may have heard sooner how long jobs
                # take, and be due before it knows that it is.
                late = clock.now() if late is None else late
                left = late + _YIELD_S - clock.now()
                if not self._bucket.yields(self._name) or crowd.share_s <= POLL_S or left <= 0.0:
                    return self._born
            # A hundred jobs that told of themselves every second would keep Blender busy with nothing else.
            if time.monotonic() - self._shown >= TELL_S * max(1.0, crowd.jobs / 20.0):
                self._shown = time.monotonic()
                self._show(clock.now() - self._born)
            wait(clock, min(left, LOOK_S), self._run.check)

    def _due(self, crowd: Crowd, jitter: float) -> float:
        if self._resumed:  # for how long it has been at work nobody here knows
            return self._polled + max(POLL_S, min(crowd.share_s, 60.0))
        expected = self._bucket.expected(self._kind, _SAVING)
        progress = self._state.progress
        if expected is None and progress is not None and progress >= 0.2:
            expected = (self._polled - self._born) / progress
        if expected is None:
            expected = self._run.expected_s.get("make")
        moment = due(self._born, self._polled, self._polls, crowd, expected)
        return self._polled + (moment - self._polled) * (jitter if moment - self._polled < 10.0 else 1.0)

    def _show(self, elapsed: float) -> None:
        """Tell how far the job is: in the server's words where it says so, else by estimate, called one."""
        state, host = self._state, self._client.account.host
        waiting = state.status in ("queued", "pending", "")
        words = f"Waiting in the queue of {host}" if waiting else f"In the works at {host}"
        if state.progress is not None:
            self._notes.fraction = max(state.progress, self._notes.fraction)
            self._notes.tell(words)
            return
        expected = self._run.expected_s.get("make") or self._bucket.expected(self._kind, _SURE) or 0.0
        if expected > 0.0:
            self._notes.fraction = max(self._notes.fraction, 0.95 * (1.0 - math.exp(-1.6 * elapsed / expected)))
            left = expected - elapsed
            guess = f"about {left:.0f} s left" if left > 1.0 else "longer than usual"
            self._notes.tell(f"{words}; {guess} (estimate)")
            return
        spent = f"{elapsed:.0f}"
        self._notes.tell(
            f"Waiting in the queue of {host} for {spent} s" if waiting else f"In the works at {host} for {spent} s"
        )

    def _read(self, reply: Reply) -> JobState | None:
        """Return what an answer says of the job, or None where it says nothing. Raises EspalierError for a refusal."""
        if not 200 <= reply.status < 300:
            raise refused(reply.status, told(reply), self._client.account)
        if reply.body.startswith(b"glTF"):
            self._held = reply.body
            return JobState("done", "completed", link=Link(base64="-"))
        try:
            body = parse(reply.body)
        except ValueError:
            return None
        state = read_job(body)
        known = isinstance(body, dict) and (state.status or state.link or state.progress is not None)
        return state if known or state.phase != "pending" else None

    def _learn(self, state: JobState, before: float) -> None:
        """Remember how long the job took: by the server's clock, else by when it was last seen unfinished."""
        if state.seconds is not None:
            self._bucket.learn(self._kind, state.seconds)
        elif not self._resumed:
            self._bucket.learn(self._kind, max((before + self._polled) / 2.0 - self._born, 1.0))

    def _fail(self, state: JobState) -> None:
        """Raise the failure for a job that the server has given up."""
        self._run.ended()
        raise job_failed(state, self._client.account)

    def _lost(self) -> JobState:
        """Return a job that the server has forgotten as its usage list tells of it, which outlives it by days."""
        self._notes.tell(f"{self._client.account.host} has forgotten the job; looking for the asset in the usage list")
        link = find_output(self._client, self._ticket.job_id)
        if link is not None:
            return JobState("done", "completed", link=link)
        self._run.ended()
        raise EspalierError("remote_job_lost", host=self._client.account.host, job=self._ticket.job_id)

    def _deliver(self, path: Path) -> None:
        if self._held:
            store([self._held], path, self._client)
            return
        for _ in range(_FRESH_LINKS):
            link = self._state.link
            assert link is not None
            if link.base64:
                unpack(link.base64, path, self._client)
                return
            url = urljoin(f"{self._client.account.base}/", link.url)
            try:
                fetch(url, path, self._client, self._progress)
                return
            except Gone as error:
                status = error.status
                if not self._ticket.job_id:
                    break
                self._notes.tell("The address of the asset has expired; asking for a fresh one")
                self._refresh(host_of(url), status)
        if self._ticket.job_id:
            raise EspalierError("remote_download", host=host_of(url), reason=f"it answers with status {status}")
        self._run.ended()
        raise EspalierError("remote_asset_gone", host=host_of(url), status=status)

    def _refresh(self, host: str, status: int) -> None:
        """Poll once more, for an address of the asset that is good."""
        reply = self._client.get(self._ticket.url(self._client.account.base))
        if reply.status in (404, 410):
            link = find_output(self._client, self._ticket.job_id)
            if link is None or link == self._state.link:
                self._run.ended()
                raise EspalierError("remote_asset_gone", host=host, status=status)
            self._state = replace(self._state, link=link)
            return
        state = self._read(reply)
        if state is not None and state.link is not None:
            self._state = state

    def _progress(self, fraction: float) -> None:
        self._run.progress(fraction)

    def _tell_facts(self) -> None:
        state, account = self._state, self._client.account
        told_cost = None if state.cost_usd is None else (state.cost_usd, "told by the server")
        self.facts["server"], self.facts["model"] = account.host, MODEL
        if self._ticket.job_id:
            self.facts["remote_id"] = self._ticket.job_id
        if (cost := told_cost or priced(account, self._resolution)) is not None:
            self.facts["cost_usd"], self.facts["cost_source"] = cost
        if state.seconds is not None:
            self.facts["server_seconds"] = round(state.seconds, 1)
        assert state.status in DONE or state.link is not None or self._held

    def _or_cancel(self, act: Any) -> None:
        """Do `act`; where the person gives the job up meanwhile, let the server know, for as long as that takes."""
        try:
            act()
        except Cancelled:
            if self._ticket.job_id:
                self._cancel()
            raise

    def _cancel(self) -> None:
        stopped: list[bool] = []
        url = self._ticket.url(self._client.account.base)
        thread = threading.Thread(target=lambda: stopped.append(self._client.cancel(url)), daemon=True)
        thread.start()
        thread.join(_CANCEL_S)
        if stopped == [True]:
            self._run.ended()
