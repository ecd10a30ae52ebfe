# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstream's pipeline, put together from local files: nothing gated, nothing non-commercial, nothing downloaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from ...errors import EspalierError
from . import kernels
from .checkpoint import Checkpoint
from .device import Device
from .models import Models
from .sampler import steered

SAMPLERS = ("sparse_structure_sampler", "shape_slat_sampler", "tex_slat_sampler")
_SAMPLER_CLASS = "FlowEulerGuidanceIntervalSampler"


def prepare_imports(autotune: Path | None) -> tuple[str, ...]:
    """Set what upstream's modules read when they are imported; return the packages that our own kernels stand in for.

    Raises EspalierError `trellis2_not_installed`.
    """
    if find_spec("trellis2") is None:
        raise EspalierError("trellis2_not_installed", module="trellis2")
    # Another value loads keys that do not fit, without a word.
    os.environ["SPARSE_CONV_BACKEND"] = "flex_gemm"
    absent = kernels.missing()
    fallback = "xformers" if "flash_attn" in absent and find_spec("xformers") is not None else "flash_attn"
    os.environ["ATTN_BACKEND"] = os.environ["SPARSE_ATTN_BACKEND"] = fallback
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    if autotune is not None:
        # By default it writes into the home folder.
        os.environ.setdefault("FLEX_GEMM_AUTOTUNE_CACHE_PATH", str(autotune / "flex_gemm_autotune.json"))
    names = tuple(name for name in absent if name != "flash_attn" or fallback == "flash_attn")
    return kernels.install(names) if names else kernels.installed()


@dataclass(slots=True)
class Steering:
    """The one sampler that all three stages share."""

    sampler: Any
    before: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Assembled:
    """Upstream's pipeline, with a sampler still to be given for each job."""

    pipeline: Any
    sampler_class: type[Any]
    sigma_min: Mapping[str, float]

    def steer(self, tell: Callable[[float], None], check: Callable[[], None], fast: bool) -> Steering:
        """Give the pipeline new samplers that report to `tell` and stop where `check` raises; return them as one."""
        steering = Steering(None)

        def begin(sampler: Any) -> None:
            steering.sampler = sampler
            if steering.before is not None:
                steering.before()

        for name in SAMPLERS:
            setattr(self.pipeline, name, steered(self.sampler_class, self.sigma_min[name], tell, check, fast, begin))
        return steering

    def skipped(self) -> tuple[int, int]:
        """Return how many steps fast mode left out, and how many there were."""
        samplers = [getattr(self.pipeline, name) for name in SAMPLERS]
        return sum(one.skipped for one in samplers), sum(one.total for one in samplers)


def assemble(checkpoint: Checkpoint, models: Models, device: Device) -> Assembled:
    """Return the pipeline of `checkpoint` with the `models`.

    Raises EspalierError `trellis2_not_installed` where a package that upstream imports is missing, and
    `trellis2_weights_damaged` where the checkpoint asks for another sampler.
    """
    try:
        pipelines = import_module("trellis2.pipelines")
        kind = pipelines.Trellis2ImageTo3DPipeline
        sampler_class = getattr(pipelines.samplers, _SAMPLER_CLASS)
    except ModuleNotFoundError as error:
        raise EspalierError("trellis2_not_installed", str(error), module=error.name or "trellis2") from error
    args, sigma = checkpoint.args, {}
    pipeline = kind({}, low_vram=False)
    pipeline.models = models
    try:
        for name in SAMPLERS:
            described = args[name]
            if described["name"] != _SAMPLER_CLASS:
                raise ValueError(f"its {name} is {described['name']}")
            sigma[name] = float(described["args"]["sigma_min"])
            setattr(pipeline, f"{name}_params", dict(described["params"]))
        for name in ("shape_slat_normalization", "tex_slat_normalization"):
            setattr(pipeline, name, {key: list(args[name][key]) for key in ("mean", "std")})
    except (KeyError, TypeError, ValueError) as error:
        reason = f"it cannot be used ({error})"
        raise EspalierError("trellis2_weights_damaged", path="pipeline.json", reason=reason) from None
    pipeline._device = device.torch
    return Assembled(pipeline, sampler_class, sigma)


@contextmanager
def never_empty(decoder: Any, path: str) -> Iterator[None]:
    """Have upstream's `decoder` of shapes raise EspalierError `trellis2_empty` once nothing is left to subdivide.

    It would go on with no voxels, and end in whatever error a tensor of no rows leads to. `path` is the image's.
    """

    def look(_module: Any, _given: Any, made: Any) -> None:
        if not len(made.coords):
            raise EspalierError("trellis2_empty", path=path)

    parts = [part for name, part in decoder.named_modules() if name.rpartition(".")[2] == "updown"]
    hooks = [part.register_forward_hook(look) for part in parts]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Given:
    """Stands where upstream asks for a remover of backgrounds: the subject was cut out before."""

    def __init__(self, cut: Image.Image) -> None:
        self._cut = cut

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return `image` with the alpha that is known."""
        made = image.convert("RGBA")
        made.putalpha(self._cut.getchannel("A").resize(image.size, Image.Resampling.LANCZOS))
        return made

    def to(self, device: Any) -> None:
        """Stay."""

    def cpu(self) -> None:
        """Stay."""
