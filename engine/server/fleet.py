# SPDX-License-Identifier: GPL-3.0-or-later
"""What a front of the fleet knows: how it is laid out, and the desk that passes everything on to the dispatcher."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from anyio import to_thread

from ..errors import EspalierError
from ..jobs.job import Job, State
from ..request import GenerationRequest
from .desk import FORMAT, OWNER, ensure_room
from .dispatch import ASSET, REFUSED, unwire, wire
from .intake import Intake
from .lately import Lately
from .metrics import Metrics
from .order import Order
from .settings import Settings
from .store import ASSETS, INPUTS, Store

_FRESH_S = 1.0
"""For so long a front tells again what the dispatcher told it of an unfinished job: clients ask every five seconds."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A fleet: `least` to `most` makers, each with `gpus` and `cpus`, and `fronts` that answer HTTP.

    A maker that has had too little to do for `idle_s` seconds is let go, once its job is made.
    `host` is what Ray Serve listens on (its `http_options`). Nobody here can see that, so it counts as open to other
    machines, and needs a token in `root`, unless it is said to be loopback.
    """

    root: str
    engine: str = "draft"
    store: str = ""
    host: str = "0.0.0.0"
    public_url: str = ""
    least: int = 1
    most: int = 1
    gpus: float = 0.0
    cpus: float = 1.0
    idle_s: float = 600.0
    fronts: int = 1
    requests_per_minute: int = 1200
    most_of_token: int = 1000
    most_in_all: int = 10_000
    keep_hours: float = 24.0

    @classmethod
    def read(cls, arguments: Mapping[str, str]) -> Plan:
        """Return the plan that texts describe. Raises EspalierError where they are not right."""
        kinds: dict[str, Any] = {field.name: type(field.default) for field in fields(cls) if field.name != "root"}
        try:
            told = {name: kinds.get(name, str)(value) for name, value in arguments.items()}
            unknown = told.keys() - kinds.keys() - {"root"}
            if unknown or not told.get("root"):
                raise ValueError(f"{', '.join(unknown)} is unknown" if unknown else "root is missing")
            return cls(**told)
        except ValueError as error:
            raise EspalierError("arguments_invalid", reason=str(error)) from None

    def told(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    def settings(self) -> Settings:
        """Return the settings of its fronts."""
        return Settings(
            root=Path(self.root).absolute(),
            engine=self.engine,
            host=self.host,
            public_url=self.public_url,
            keep_s=self.keep_hours * 3600,
            requests_per_minute=self.requests_per_minute,
            most_of_token=self.most_of_token,
            most_in_all=self.most_in_all,
        )

    def opened(self) -> Store:
        """Return the store. Nothing of it is asked for yet."""
        return Store(self.store or str(Path(self.root).absolute() / "store"))


def input_of(image: str) -> str:
    """Return the name in the store of a request's image."""
    return image.rpartition("/")[2]


def asset_of(job_id: str, run: int) -> str:
    """Return the name in the store of what a run makes: one that was given up overwrites nobody's asset."""
    return f"{job_id}-{run}.glb"


class FleetDesk:
    """Does for a front what Desk does for a server of its own; see there."""

    def __init__(self, plan: Plan, settings: Settings, metrics: Metrics, dispatch: Any) -> None:
        self.draining = False
        self._plan, self._settings, self._metrics, self._dispatch = plan, settings, metrics, dispatch
        self._intake, self._store = Intake(settings), plan.opened()
        self._known, self._room = Lately[Job](_FRESH_S), Lately[tuple[int, int]](_FRESH_S)
        self._counts: Counter[str] = Counter()

    async def open(self) -> None:
        """See that the store can be used. Raises EspalierError."""
        await to_thread.run_sync(self._store.ensure)

    async def close(self) -> None:
        """Hold nothing."""

    async def admit(self, owner: str) -> None:
        """Raise EspalierError where `owner` may not order now, as far as is known; the dispatcher decides."""
        told = self._room.get(owner)
        if told is None:
            told = self._room.put(owner, tuple(await self._dispatch.unfinished.remote(owner)))
        ensure_room(self._settings, *told)

    async def order(self, owner: str, order: Order) -> Job:
        """Queue a generation, and return it once it is in the ledger. Raises EspalierError."""
        path = await self._intake.take(order.image)
        name = secrets.token_hex(16)
        try:
            await to_thread.run_sync(self._store.put, path, INPUTS, name)
        finally:
            await to_thread.run_sync(self._intake.drop, path)
        request = GenerationRequest.create(f"/inputs/{name}", self._plan.engine, order.parameters, "Asset")
        placement = {OWNER: owner, FORMAT: order.parameters["response_format"]}
        now = time.time()
        job_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(8)}"
        job = Job(job_id, request, State.QUEUED, placement=placement, created=now)
        told = await self._dispatch.submit.remote(wire(job))
        if REFUSED in told:
            await to_thread.run_sync(self._store.remove, INPUTS, name)
            raise EspalierError.from_json(told[REFUSED])
        self._metrics.created.inc()
        return self._known.put(job.id, unwire(told))

    async def job(self, owner: str, job_id: str) -> Job:
        """Return a job of `owner`. Raises EspalierError `server_job_unknown`."""
        job = await self._look_up(job_id[:80])
        if job is None or job.placement.get(OWNER) != owner or self._is_over(job):
            raise EspalierError("server_job_unknown", job=job_id[:80])
        return job

    async def jobs(self, owner: str) -> list[Job]:
        """Return all jobs of `owner` that are kept, newest first."""
        jobs = [unwire(told) for told in await self._dispatch.jobs.remote(owner)]
        return [job for job in jobs if not self._is_over(job)]

    async def cancel(self, owner: str, job_id: str) -> Job:
        """Stop a job of `owner`. Raises EspalierError `server_job_unknown`."""
        job = await self.job(owner, job_id)
        if not job.active:
            return job
        return self._known.put(job.id, unwire(await self._dispatch.cancel.remote(job.id)))

    async def asset(self, job_id: str) -> Path:
        """Return a local file of a finished job's GLB. Raises EspalierError `server_link_expired`."""
        job = await self._look_up(job_id)
        if job is None or job.state is not State.READY or self._is_over(job):
            raise EspalierError("server_link_expired")
        made = job.finished or job.created
        try:
            return await to_thread.run_sync(self._store.local, ASSETS, str(job.result[ASSET]), made)
        except FileNotFoundError as error:
            raise EspalierError("server_link_expired", repr(error)) from None

    def expires(self, job: Job) -> float:
        """Return when a finished job is forgotten, in seconds since 1970."""
        return (job.finished or job.created) + self._settings.keep_s

    async def recount(self) -> None:
        """Ask the dispatcher what `counts` is to tell."""
        self._counts = Counter(await self._dispatch.states.remote())

    def counts(self) -> Counter[str]:
        """Return how many jobs were in each state when they were last counted."""
        return self._counts

    async def _look_up(self, job_id: str) -> Job | None:
        job = self._known.get(job_id)
        if job is None and (told := await self._dispatch.job.remote(job_id)):
            job = unwire(told)
            job = self._known.put(job_id, job, forever=not job.active)
        return job

    def _is_over(self, job: Job) -> bool:
        return not job.active and time.time() > self.expires(job)
