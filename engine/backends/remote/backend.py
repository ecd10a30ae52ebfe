# SPDX-License-Identifier: GPL-3.0-or-later
"""The remote engine's stages, from image to GLB: what is paid for is written down before anything else can happen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image

from ...addresses import poll_path
from ...errors import EspalierError
from ...imaging.read import read_image
from ...progress import Cancelled, Stage
from ...request import GenerationRequest, Request, is_url
from ..base import Asset, JobRun
from . import answers
from .account import Account
from .bucket import Bucket, path_for
from .client import Client, Lost, is_ambiguous, told
from .exchange import Limits, Reply
from .faults import quoted, refused
from .job import RemoteJob
from .payload import THUMBNAIL_SIDE, Payload, Pictures, build, write_thumbnail
from .reading import parse, read_created
from .schedule import Circuit, Clock, SystemClock
from .ticket import Ticket

_PICTURES_AT_ONCE = 2


class RemoteBackend:
    """Has assets made by a server. All jobs of one process share its connections' budget and what is known of it."""

    name = "remote"
    version = "1.0"
    jobs_at_once = 128
    stages = (
        Stage("read", "Reading Image", 1),
        Stage("submit", "Sending", 2),
        Stage("make", "Generating", 80),
        Stage("download", "Downloading", 12),
    )

    def __init__(self, clock: Clock | None = None, limits: Limits | None = None) -> None:
        self._clock: Clock = SystemClock() if clock is None else clock
        self._limits = Limits() if limits is None else limits
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(_PICTURES_AT_ONCE)
        self._pictures = Pictures()
        self._buckets: dict[tuple[Path | None, int], Bucket] = {}
        self._circuits: dict[str, Circuit] = {}
        self._ours: set[str] = set()

    def generate(self, request: Request, folder: Path, run: JobRun) -> Asset:
        """Make the asset inside `folder`, or come for one that the server makes already (`run.remote_id`).

        Raises Cancelled, or EspalierError.
        """
        assert isinstance(request, GenerationRequest)
        account = Account.from_json(run.account)
        account.ensure_usable()
        if run.remote_id and run.server not in ("", account.base):
            raise EspalierError("remote_elsewhere", server=run.server, host=account.host)
        run.server = account.base
        bucket, circuit = self._shared(account)
        notes = _Notes(run)
        client = Client(account, bucket, circuit, self._clock, self._limits, run.check, notes.tell)
        try:
            job = RemoteJob(client, bucket, run, request, notes, self._ours)
            if run.remote_id:
                picture = None
                with run.stage("submit"):
                    job.resume(Ticket.parse(run.remote_id))
            else:
                with run.stage("read"):
                    payload = self._payload(request, account, run)
                    picture = payload.thumbnail
                with run.stage("submit"):
                    self._submit(job, client, payload, run)
                del payload
            with run.stage("make"):
                job.await_result()
            with run.stage("download"):
                glb = job.deliver(folder / "asset.glb")
                picture = picture or _picture_again(request)
                thumbnail = None if picture is None else write_thumbnail(picture, folder / "thumbnail.png")
            return Asset(glb, thumbnail, job.notices, job.facts)
        finally:
            client.close()

    def ask(
        self,
        question: str,
        account: Mapping[str, Any],
        cancelled: Callable[[], bool],
        about: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """Return the answer to "account", "model", "usage" or "cancel" as plain JSON data.

        Raises EspalierError, or Cancelled once `cancelled` says so.
        """
        known = Account.from_json(account)
        known.ensure_usable()

        def check() -> None:
            if cancelled():
                raise Cancelled

        bucket, _ = self._shared(known)
        # A question is not to wait for a server that fails the jobs, nor to count as one of its failures.
        client = Client(known, bucket, Circuit(self._clock), self._clock, self._limits, check)
        try:
            return answers.answer(question, client, about)
        finally:
            client.close()

    def close(self) -> None:
        """Close the files of the shared budget."""
        with self._lock:
            for bucket in self._buckets.values():
                bucket.close()
            self._buckets.clear()

    def _shared(self, account: Account) -> tuple[Bucket, Circuit]:
        """Return what all jobs at this server share."""
        path = path_for(account.shared, account.base) if account.shared else None
        with self._lock:
            circuit = self._circuits.setdefault(account.base, Circuit(self._clock))
            key = (path, account.requests_per_minute)
            if key not in self._buckets:
                self._buckets[key] = Bucket(path, account.requests_per_minute, self._clock)
            return self._buckets[key], circuit

    def _payload(self, request: GenerationRequest, account: Account, run: JobRun) -> Payload:
        # A decoded image may take half a gigabyte, and many jobs may begin at once.
        while not self._turns.acquire(timeout=0.1):
            run.check()
        try:
            return build(request, account.max_side, run.check, self._pictures)
        finally:
            self._turns.release()

    def _submit(self, job: RemoteJob, client: Client, payload: Payload, run: JobRun) -> None:
        """Hand over the request, and have the ledger know of it before and after. Raises EspalierError, Cancelled."""
        sent = False

        def before() -> None:
            nonlocal sent
            sent = True
            job.submitting(payload.digest)

        try:
            reply = client.create(payload.body, before, run.ended, run.withdrawn)
        except Lost as error:
            raise job.unknown(str(error)) from error
        except EspalierError:
            if sent:
                run.ended()
            raise
        self._take_over(job, client, reply, run)

    def _take_over(self, job: RemoteJob, client: Client, reply: Reply, run: JobRun) -> None:
        account = client.account
        if not 200 <= reply.status < 300:
            if is_ambiguous(reply):
                message = quoted(told(reply), account)
                raise job.unknown(f"it failed with status {reply.status}{message}")
            run.ended()
            raise refused(reply.status, told(reply), account)
        if reply.body.startswith(b"glTF"):
            job.hold(reply.body)
            return
        try:
            created = read_created(parse(reply.body))
        except ValueError:
            raise job.unknown("its answer cannot be read") from None
        if created.job_id:
            ticket = Ticket.of_job(created.job_id, poll_path(account.base, created.poll_url), account.base)
        elif created.state.link is not None and created.state.link.url:
            ticket = Ticket(link=created.state.link.url)
        elif created.state.link is None:
            raise job.unknown("its answer names no job")
        else:
            ticket = Ticket()
        job.begin(ticket, created.state)


def _picture_again(request: GenerationRequest) -> Image.Image | None:
    """Return the picture of a job that was sent in an earlier run; that it is gone is no harm to the asset."""
    if is_url(request.image):
        return None
    try:
        return read_image(request.image, longest=THUMBNAIL_SIDE)
    except EspalierError:
        return None


class _Notes:
    """Passes sentences on to the person as the note of the stage at hand."""

    def __init__(self, run: JobRun) -> None:
        self._run = run
        self.fraction = 0.0

    def tell(self, words: str) -> None:
        """Show `words` beside the progress that was made so far."""
        self._run.progress(self.fraction, words)
