# SPDX-License-Identifier: GPL-3.0-or-later
"""The same application on Ray Serve, for several GPUs and several machines.

    serve run engine.server.deployment:build root=/shared/espalier engine=trellis2 most=8 gpus=1

Fronts answer HTTP, one dispatcher keeps the ledger, makers each own a GPU and keep the model warm. `root` is a folder
that the dispatcher and the fronts reach; `store` is where images and assets are, for fsspec (a shared disk, or
`s3://bucket/prefix`); by default it is in `root`.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray import exceptions, serve

from .. import backends
from ..backends.base import JobRun
from ..errors import EspalierError
from ..jobs.job import Job
from ..progress import Cancelled
from ..request import request_from_json
from .app import create_app
from .desk import OWNER, ensure_room
from .dispatch import ASSET, REFUSED, Died, Dispatcher, unwire, wire
from .fleet import FleetDesk, Plan, asset_of, input_of
from .log import log, set_up
from .metrics import Metrics
from .store import ASSETS, INPUTS
from .tokens import ensure_safe

_LOGGING = {"enable_access_log": False}
"""Fronts have a log of their own, and a line for each call between two actors tells nobody anything."""
_HEALTH_S = 2.0
"""How often Serve asks each part whether it is alive: by default a dead one is missed for ten seconds."""
_SWEEP_S = 60.0
_UPSCALE_S = 5.0
_LOOK_BACK = 1.2
"""So many times as long as Serve waits before it counts again what is under way."""
_COUNTED_S = 10.0
"""How often Serve counts; more often where a maker that has nothing to do is let go sooner than that."""


@serve.deployment(max_ongoing_requests=1, graceful_shutdown_timeout_s=600)
class Maker:
    """One engine on one GPU, one job at a time, warm between them."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        told = Plan(**plan)
        self._store, self._backend = told.opened(), backends.create(told.engine)

    async def make(self, job: str, run: int, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make the asset of a request whose image is a key of the store; return its own key, or the failure.

        A cancelled call ends once the engine has stopped.
        """
        stop = threading.Event()
        thread = asyncio.ensure_future(asyncio.to_thread(self._generate, job, run, request, stop))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([thread])
            raise

    def _generate(self, job: str, run: int, request: Mapping[str, Any], stop: threading.Event) -> dict[str, Any]:
        folder = Path(tempfile.mkdtemp(prefix="espalier-"))
        try:
            image = folder / "image"
            self._store.get(INPUTS, input_of(str(request["image"])), image)
            wanted = request_from_json({**request, "image": str(image)})
            out = folder / "out"
            out.mkdir()
            made = self._backend.generate(wanted, out, JobRun(self._backend.stages, _silent, stop.is_set))
            name = asset_of(job, run)
            self._store.put(made.glb, ASSETS, name)
            return {ASSET: name}
        except EspalierError as error:
            return {"error": error.to_json()}
        except Cancelled:
            return {"cancelled": True}
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _silent(progress: object) -> None:
    pass


@serve.deployment(num_replicas=1, max_ongoing_requests=100_000)
class Dispatch:
    """The one dispatcher; Serve starts it anew where it dies, and it takes up what the ledger has."""

    def __init__(self, plan: Mapping[str, Any], maker: Any) -> None:
        set_up()
        self._plan, self._maker = Plan(**plan), maker
        self._settings, self._store = self._plan.settings(), self._plan.opened()
        self._dispatcher = Dispatcher(Path(self._plan.root), self._plan.most, self._make, self._forget)
        self._sweep: asyncio.Task[None] | None = None
        self._begun = False

    async def submit(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Take a job, or tell why that is refused."""
        self._begin()
        taken = unwire(job)
        try:
            ensure_room(self._settings, *self._dispatcher.unfinished(str(taken.placement.get(OWNER, ""))))
            return wire(await self._dispatcher.submit(taken))
        except EspalierError as error:
            return {REFUSED: error.to_json()}

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """Stop a job."""
        return wire(await self._dispatcher.cancel(job_id))

    async def job(self, job_id: str) -> dict[str, Any] | None:
        """Return a job, None for one that is not known."""
        self._begin()
        try:
            return wire(self._dispatcher.job(job_id))
        except EspalierError:
            return None

    async def jobs(self, owner: str) -> list[dict[str, Any]]:
        """Return all jobs of `owner`, newest first."""
        self._begin()
        return [wire(job) for job in self._dispatcher.jobs() if job.placement.get(OWNER) == owner]

    async def unfinished(self, owner: str) -> tuple[int, int]:
        """Return how many jobs have not come to an end, of all tokens and of `owner`."""
        self._begin()
        return self._dispatcher.unfinished(owner)

    async def states(self) -> dict[str, int]:
        """Return how many jobs are in each state."""
        return dict(Counter(job.state.value for job in self._dispatcher.jobs()))

    async def check_health(self) -> None:
        """Be asked by Serve every few seconds: what an earlier dispatcher has left begins without anybody's request."""
        self._begin()
        if self._sweep is None or self._sweep.done():
            self._sweep = asyncio.ensure_future(self._expire())

    async def _expire(self) -> None:
        """Forget the jobs whose time is over, again and again; one whose asset cannot be removed, the next time."""
        while True:
            await asyncio.sleep(max(min(_SWEEP_S, self._settings.keep_s), 1.0))
            over = time.time() - self._settings.keep_s
            for job in list(self._dispatcher.jobs()):
                if job.active or (job.finished or job.created) >= over:
                    continue
                names = [asset_of(job.id, run) for run in range(1, job.runs + 1)]  # those of runs given up, too
                if all([await asyncio.to_thread(self._removed, ASSETS, name) for name in names]):
                    await self._dispatcher.drop(job.id)

    def _removed(self, folder: str, name: str) -> bool:
        try:
            self._store.remove(folder, name)
        except EspalierError as error:
            log().warning("store", cause=error.cause, remedy=error.remedy)
            return False
        return True

    def _forget(self, job: Job) -> None:
        asyncio.get_running_loop().run_in_executor(None, self._removed, INPUTS, input_of(job.request.origin))

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._dispatcher.begin()

    async def _make(self, job: Job) -> Mapping[str, Any]:
        call = self._maker.make.remote(job.id, job.runs, job.request.to_json())
        try:
            result: dict[str, Any] = await call
        except asyncio.CancelledError:
            call.cancel()
            raise
        except exceptions.RayTaskError:
            raise
        except exceptions.RayError as error:
            raise Died(repr(error)) from error
        if result.get("cancelled"):
            raise asyncio.CancelledError
        if "error" in result:
            raise EspalierError.from_json(result["error"])
        return result


@serve.deployment(max_ongoing_requests=1000)
@serve.ingress()
class Front:
    """The application over HTTP."""

    def __init__(self, plan: Mapping[str, Any], dispatch: Any) -> None:
        self._plan, self._dispatch = Plan(**plan), dispatch

    def __serve_build_asgi_app__(self) -> FastAPI:
        set_up()
        settings, metrics = self._plan.settings(), Metrics()
        return create_app(settings, FleetDesk(self._plan, settings, metrics, self._dispatch), metrics)


def build(arguments: Mapping[str, str]) -> Any:
    """Return the application for `serve run`; `arguments` are those of `Plan`.

    Raises EspalierError where they are wrong, or the store cannot be used from here.
    """
    plan = Plan.read(arguments)
    ensure_safe(plan.settings())
    plan.opened().ensure()
    counted_s = min(_COUNTED_S, max(plan.idle_s, 1.0))
    scale = {
        "min_replicas": plan.least,
        "max_replicas": plan.most,
        "target_ongoing_requests": 1,
        "upscale_delay_s": min(plan.idle_s, _UPSCALE_S),
        "downscale_delay_s": plan.idle_s,
        "metrics_interval_s": counted_s,
        "look_back_period_s": _LOOK_BACK * counted_s,
    }
    actor = {"num_cpus": plan.cpus, "num_gpus": plan.gpus}
    light = {"num_cpus": 0}
    maker = _sized(Maker, autoscaling_config=scale, ray_actor_options=actor).bind(plan.told())
    dispatch = _sized(Dispatch, ray_actor_options=light).bind(plan.told(), maker)
    return _sized(Front, num_replicas=plan.fronts, ray_actor_options=light).bind(plan.told(), dispatch)


def _sized(deployment: Any, **options: Any) -> Any:
    return deployment.options(logging_config=_LOGGING, health_check_period_s=_HEALTH_S, **options)
