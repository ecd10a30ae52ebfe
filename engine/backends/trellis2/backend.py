# SPDX-License-Identifier: GPL-3.0-or-later
"""The CUDA engine's stages, from image file to GLB."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import EspalierError
from ...mesh.full import FULL, save_full
from ...progress import Cancelled, Run
from ...request import GenerationRequest, Request, is_url
from ..base import Asset, JobRun
from . import checkpoint as checkpoints
from . import memory
from .cache import Cache
from .chain import Chain, Decoded
from .checkpoint import Checkpoint, stage_models
from .conditioner import load as load_features
from .device import Device
from .device import choose as choose_device
from .export import Made, ensure_some, export, gltf_frame
from .mapping import Arguments, arguments
from .models import Models
from .needs import GIB
from .picture import prepare, write_thumbnail
from .pipeline import Assembled, assemble, prepare_imports
from .settings import Settings
from .stages import STAGES

IDLE_S = 60.0
"""Seconds without a job after which nothing is kept on the GPU."""
EXPORT_GIB = 12
"""Free memory of the GPU with which models may stay there while the mesh is exported."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """What is kept between jobs."""

    checkpoint: Checkpoint
    models: Models
    device: Device
    assembled: Assembled
    standing_in: tuple[str, ...]


class Trellis2Backend:
    """Runs TRELLIS.2 in this process."""

    name = "trellis2"
    version = "1.0"
    stages = STAGES

    def __init__(
        self,
        settings: Settings | None = None,
        choose: Callable[[str], Device] = choose_device,
        idle_s: float = IDLE_S,
    ) -> None:
        self._settings = settings or Settings.from_environment()
        self._choose, self._idle_s = choose, idle_s
        self._times = memory.Times(self._beside("times.json"))
        self._ready: _Ready | None = None
        self._lock = threading.Lock()
        self._idle: threading.Timer | None = None

    def generate(self, request: Request, folder: Path, run: JobRun) -> Asset:
        """Make the asset inside `folder`. Raises Cancelled, or EspalierError."""
        assert isinstance(request, GenerationRequest)
        if is_url(request.image):
            raise EspalierError("image_not_a_file", path=request.image, engine=self.name)
        called = arguments(request.image, request.parameters)
        with self._at_work():
            try:
                return self._make(request, called, folder, run)
            except BaseException as error:
                self._let_go(error)
                raise

    def close(self) -> None:
        """Release what is held between jobs."""
        with self._at_work(last=True):
            if self._ready is not None:
                self._ready.models.drop()
                self._ready = None

    @property
    def on_gpu(self) -> frozenset[str]:
        """The names of the models whose weights are on the GPU."""
        return frozenset() if self._ready is None else self._ready.models.on_device

    def _make(self, request: GenerationRequest, called: Arguments, folder: Path, run: JobRun) -> Asset:
        kind = str(called.run["pipeline_type"])
        start = time.perf_counter()
        with run.stage("check"):
            ready = self._made_ready(kind, run)
            plans = self._plans(ready, kind)
            seconds = self._times.estimate(ready.device.label, kind, plans[0])
            run.check()
        with run.stage("read"):
            run.progress(0.0, memory.told(plans[0], seconds))
            preprocess = bool(called.run["preprocess_image"])
            picture, cut = prepare(
                *(ready.assembled.pipeline, request.image, preprocess, run, self._settings.background)
            )
        cache = Cache(self._settings.cache, int(self._settings.cache_gb * 1e9))
        chain = Chain(
            *(ready.assembled, ready.checkpoint, ready.models, ready.device, plans, cache, run, request.image),
            fast=self._settings.fast,
            texture_seed=request.texture_seed,
        )
        decoded = chain.make(picture, called)
        with run.stage("export"):
            ensure_some(decoded, request.image)
            for notice in chain.account.notices:
                run.progress(0.0, notice)
            self._make_room(ready)
            made = export(
                *(decoded, called.to_glb, request.name, folder / "asset.glb", run, self._settings, ready.device)
            )
            _keep_full(decoded, folder, run)
        thumbnail = write_thumbnail(cut, folder / "thumbnail.png")
        if not chain.account.kept and not chain.account.repeated:
            self._times.note(ready.device.label, kind, plans[0], time.perf_counter() - start)
        facts = self._facts(ready, chain, decoded, called, made) | made.facts
        if request.texture_seed is not None:
            facts["texture_seed"] = request.texture_seed
        notices = [*chain.account.notices, *made.notices]
        if cache.problem is not None:
            notices.append(f"Finished stages could not be kept: {cache.problem.cause}")
        return Asset(made.glb, thumbnail, tuple(notices), facts)

    def _made_ready(self, kind: str, run: Run) -> _Ready:
        """Return what is needed for `kind`, checked before anything is loaded."""
        if self._ready is None:
            device = self._choose(self._settings.device)
            checkpoint = checkpoints.read(self._settings.weights)
            standing_in = prepare_imports(self._beside(""))
            models = Models(checkpoint, device, lambda: load_features(checkpoint.features))
            ready = _Ready(checkpoint, models, device, assemble(checkpoint, models, device), standing_in)
        else:
            ready = self._ready
        names = tuple(sorted({name for names in stage_models(kind).values() for name in names}))
        checkpoints.check(ready.checkpoint, names, self._beside("verified.json"), run.progress)
        self._ready = ready
        return ready

    def _plans(self, ready: _Ready, kind: str) -> tuple[memory.Plan, ...]:
        if ready.device.kind == "cpu":
            return (memory.ON_HOST,)
        free, _ = ready.device.memory()
        # What our own models take is free for them.
        ours = sum(ready.checkpoint.bytes_of((name,)) for name in ready.models.on_device & set(ready.models))
        return memory.choose(free + ours, ready.checkpoint, kind, self._settings.plan)

    def _make_room(self, ready: _Ready) -> None:
        """Take the models off the GPU unless the exporter has enough beside them."""
        if ready.device.kind != "cpu" and ready.device.memory()[0] < EXPORT_GIB * GIB:
            ready.models.leave()

    def _facts(self, ready: _Ready, chain: Chain, decoded: Decoded, called: Arguments, made: Made) -> dict[str, Any]:
        account = chain.account
        facts: dict[str, Any] = {
            "model": checkpoints.TRELLIS2,
            "resolution": decoded.resolution,
            "pipeline_type": called.run["pipeline_type"],
            "device": ready.device.label,
            "plan": account.plan,
            "stages_kept": account.kept,
            "stages_repeated": account.repeated,
            "stage_seconds": account.seconds,
            "peak_memory_mb": account.peak_mb,
            "portable_kernels": list(ready.standing_in),
            "source_faces": len(decoded.faces),
        }
        if self._settings.fast:
            skipped, total = ready.assembled.skipped()
            facts["steps_reused"] = [skipped, total]
        return facts

    def _beside(self, name: str) -> Path | None:
        """Return the file called `name` beside the stages that are kept, if any are."""
        return None if self._settings.cache is None else self._settings.cache / name

    def _let_go(self, error: BaseException) -> None:
        """Leave nothing on the GPU after a job that gave no result."""
        if self._ready is None:
            return
        _forget_locals(error)
        if isinstance(error, (Cancelled, EspalierError)):
            self._ready.models.leave()
        else:
            self._ready.models.drop()

    @contextmanager
    def _at_work(self, last: bool = False) -> Iterator[None]:
        """Keep the timer off while a job is made; set it again afterwards."""
        if self._idle is not None:
            self._idle.cancel()
        with self._lock:
            try:
                yield
            finally:
                if not last:
                    self._idle = threading.Timer(self._idle_s, self._rest)
                    self._idle.daemon = True
                    self._idle.start()

    def _rest(self) -> None:
        """Take everything off the GPU, unless a job has begun meanwhile."""
        if self._lock.acquire(blocking=False):
            try:
                if self._ready is not None:
                    self._ready.models.leave()
            finally:
                self._lock.release()


def _forget_locals(error: BaseException) -> None:
    """Let go of the tensors that the functions still hold which `error` has ended: their memory is given back then."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        traceback.clear_frames(following.__traceback__)
        following = following.__cause__ or following.__context__


def _keep_full(decoded: Decoded, folder: Path, run: Run) -> None:
    """Keep what was decoded beside the asset, so that it can be rebuilt from that."""
    run.check()
    positions, coords = gltf_frame(decoded)
    save_full(folder / FULL, positions, decoded.faces, coords, decoded.attributes, decoded.resolution)
