# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the CUDA engine share: the stand-in, a device of which nothing is asked, and jobs on them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from engine.backends.base import JobRun
from engine.backends.trellis2 import checkpoint as checkpoints
from engine.backends.trellis2 import conditioner, memory
from engine.backends.trellis2.cache import Cache
from engine.backends.trellis2.chain import Chain, Decoded
from engine.backends.trellis2.device import Device
from engine.backends.trellis2.mapping import Arguments, arguments
from engine.backends.trellis2.models import Models
from engine.backends.trellis2.pipeline import assemble, prepare_imports
from engine.backends.trellis2.stages import STAGES
from engine.progress import Progress
from engine.request import complete_parameters
from tests.engine.trellis2_checkpoint import UPSTREAM

GIB = 1 << 30
QUICK = {
    "ss_sampling_steps": 4,
    "shape_slat_sampling_steps": 3,
    "tex_slat_sampling_steps": 2,
    "remesh": False,
    "texture_size": "1024",
    "decimation_target": 10000,
}
MODELS = {
    "512": (
        *("features", "sparse_structure_flow_model", "sparse_structure_decoder", "shape_slat_flow_model_512"),
        *("shape_slat_decoder", "fill_holes", "tex_slat_flow_model_512", "tex_slat_decoder"),
    ),
    "1024_cascade": (
        *("features", "sparse_structure_flow_model", "sparse_structure_decoder", "shape_slat_flow_model_512"),
        *("shape_slat_flow_model_1024", "shape_slat_decoder", "fill_holes", "tex_slat_flow_model_1024"),
        "tex_slat_decoder",
    ),
}
"""What runs for each pipeline type, in this order."""
KEPT = [stage.name for stage in STAGES if stage.name not in ("check", "read", "export")]
"""The stages that are kept."""


def standin() -> Any:
    """Return the stand-in's package, which comes after any real one."""
    if UPSTREAM not in sys.path:
        sys.path.append(UPSTREAM)
    import trellis2

    return trellis2


@contextmanager
def watched(watch: Callable[[str], None]) -> Iterator[None]:
    """Have `watch` called with the name of every model that runs, that of the image features included."""
    package, before = standin(), conditioner.Conditioner.__call__
    package.watchers.append(watch)

    def call(self: Any, images: Any) -> Any:
        watch("features")
        return before(self, images)

    conditioner.Conditioner.__call__ = call  # type: ignore[method-assign]
    try:
        yield
    finally:
        package.watchers.remove(watch)
        conditioner.Conditioner.__call__ = before  # type: ignore[method-assign]


class PretendGpu(Device):
    """Computes on the CPU, and says of itself what a test wants."""

    def __init__(self, free: int = 80 * GIB, total: int = 80 * GIB) -> None:
        super().__init__("cpu")
        self.kind = "cuda"
        self.free, self.total, self.released = free, total, 0

    @property
    def label(self) -> str:
        return "Pretend GPU"

    def memory(self) -> tuple[int, int]:
        return self.free, self.total

    def begin_peak(self) -> None:
        pass

    def peak(self) -> int | None:
        return 123_000_000

    def finish(self) -> None:
        pass

    def release(self) -> None:
        self.released += 1


@dataclass
class Job:
    """A chain with all that it is made of; `ran` are the models that ran, in order."""

    weights: Path
    device: Device = field(default_factory=PretendGpu)
    plans: tuple[memory.Plan, ...] = memory.PLANS
    cache: Cache = field(default_factory=lambda: Cache(None, 0))
    cancelled: Callable[[], bool] = lambda: False
    fast: bool = False
    texture_seed: int | None = None
    ran: list[str] = field(default_factory=list)
    told: list[Progress] = field(default_factory=list)
    watch: Callable[[str], None] = lambda name: None

    def make(self, image: Image.Image | None = None, **parameters: object) -> Decoded:
        """Return what the chain decodes."""
        standin()
        checkpoint = checkpoints.read(self.weights)
        prepare_imports(None)
        self.models = Models(checkpoint, self.device, lambda: conditioner.load(checkpoint.features))
        assembled = assemble(checkpoint, self.models, self.device)
        self.run = JobRun(STAGES, self.told.append, self.cancelled)
        self.chain = Chain(
            *(assembled, checkpoint, self.models, self.device, self.plans, self.cache, self.run, "picture.png"),
            fast=self.fast,
            texture_seed=self.texture_seed,
        )
        self.assembled = assembled

        def seen(name: str) -> None:
            self.ran.append(name)
            self.watch(name)

        with watched(seen):
            return self.chain.make(image or picture(), called(**parameters))


def called(**parameters: object) -> Arguments:
    """Return what upstream is called with for quick settings and `parameters`."""
    return arguments("picture.png", complete_parameters({**QUICK, "resolution": "512", **parameters}))


def picture(seed: int = 0) -> Image.Image:
    """Return a small colorful picture."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 48, 3), np.uint8))


def same(first: Decoded, second: Decoded) -> bool:
    """Tell whether two results are alike to the last bit."""
    names = ("vertices", "faces", "coords", "attributes")
    return first.resolution == second.resolution and all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in names
    )


def one_thread() -> None:
    """Leave the machine to the others that test on it."""
    torch.set_num_threads(1)
