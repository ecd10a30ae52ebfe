# SPDX-License-Identifier: GPL-3.0-or-later
"""From a prepared picture to the full-resolution mesh and its volume, stage by stage, none done twice.

Each stage starts from plain tensors on the CPU and from the random numbers where the stage before left them, so that a
stage that is repeated alone (after a crash, on another memory plan, with other settings of its own) gives what the
whole chain would have given: upstream draws all noise from one CPU generator, in this order.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...errors import EspalierError
from ...progress import Cancelled, Run
from . import kernels, lean
from .cache import Cache, Entry, digest
from .checkpoint import Checkpoint, stage_models
from .device import Device, is_out_of_memory
from .mapping import Arguments
from .memory import Plan, told
from .models import Models
from .pipeline import Assembled, never_empty
from .stages import plain

LEAN_BYTES = 64 << 20
"""Temporary memory of one step of our own kernels on the leanest plan."""
_RANDOM = "random_state"
_FULL_RESOLUTION = {"512": 512, "1024_cascade": 1024, "1536_cascade": 1536}


@dataclass(slots=True)
class Account:
    """What happened on the way: for the result's facts and the person."""

    plan: str = ""
    repeated: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, int] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The full-resolution mesh and volume in upstream's frame (Z up), as NumPy arrays.

    `vertices` float32 (V, 3) in the unit cube about the origin, `faces` int32 (F, 3), `coords` int32 (N, 3),
    `attributes` float32 (N, 6), each 0 to 1: base color, metallic, roughness and alpha.
    """

    vertices: Any
    faces: Any
    coords: Any
    attributes: Any
    resolution: int


class Chain:
    """The stages of one job. `plans` are the memory plans to go through, the first one first."""

    def __init__(
        self,
        assembled: Assembled,
        checkpoint: Checkpoint,
        models: Models,
        device: Device,
        plans: tuple[Plan, ...],
        cache: Cache,
        run: Run,
        path: str,
        fast: bool = False,
        texture_seed: int | None = None,
    ) -> None:
        self._pipeline, self._sampler = assembled.pipeline, assembled.steer(self._tell, run.check, fast)
        self._checkpoint, self._models, self._device = checkpoint, models, device
        self._plans, self._cache, self._run = list(plans), cache, run
        self._path, self._fast, self._texture_seed = path, fast, texture_seed
        self._share = (0.0, 1.0)
        self.account = Account(plan=plans[0].name)

    def make(self, picture: Image.Image, arguments: Arguments) -> Decoded:
        """Return what upstream's `run` would decode. Raises EspalierError, Cancelled."""
        kind = str(arguments.run["pipeline_type"])
        pixels = np.asarray(picture.convert("RGB"))
        base = {
            "picture": hashlib.sha256(pixels.tobytes() + repr(pixels.shape).encode()).hexdigest(),
            "features": self._checkpoint.features.identity,
            "device": self._device.kind,
        }
        sides = (512,) if kind == "512" else (512, 1024)
        conditions = self._stage("features", base | {"sides": list(sides)}, (Models.FEATURES,), None, lambda: (
            {str(side): self._features(picture, side) for side in sides}, {}
        ))  # fmt: skip
        shape, volume = self._sampled(kind, base, conditions.tensors, arguments)
        resolution = int(shape.facts["resolution"])
        if kind != "512" and resolution != _FULL_RESOLUTION[kind]:
            self._lowered(_FULL_RESOLUTION[kind], resolution, int(arguments.run["max_num_tokens"]))
        mesh = {name: shape.tensors[name].numpy() for name in ("vertices", "faces")}
        voxels = {name: volume.tensors[name].numpy() for name in ("coords", "attributes")}
        return Decoded(**mesh, **voxels, resolution=resolution)

    def _sampled(
        self, kind: str, base: Mapping[str, Any], features: Mapping[str, Any], arguments: Arguments
    ) -> tuple[Entry, Entry]:
        """Return the decoded mesh and the decoded volume, by way of the three samplers."""
        needs = stage_models(kind)
        seed = int(arguments.run["seed"])

        def seeded() -> Any:
            torch.manual_seed(seed)
            return torch.random.get_rng_state()

        inputs: dict[str, Any] = {
            **base, "seed": seed, "fast": self._fast, "structure": plain(list(arguments.sparse_structure.items())),
            "models": self._identities(needs["sparse_structure"]),
        }  # fmt: skip
        structure = self._stage("sparse_structure", inputs, needs["sparse_structure"], seeded, lambda: (
            self._structure(features, arguments), {}
        ))  # fmt: skip
        if not len(structure.tensors["coords"]):
            raise EspalierError("trellis2_empty", path=self._path)
        inputs |= {
            "kind": kind, "tokens": arguments.run["max_num_tokens"],
            "shape": plain(list(arguments.shape_slat.items())), "shape_models": self._identities(needs["shape"]),
        }  # fmt: skip
        shape = self._stage(
            "shape", inputs, needs["shape"], lambda: structure.tensors[_RANDOM],
            lambda: self._shape(kind, features, structure.tensors["coords"], arguments),
        )  # fmt: skip
        # Before the texture, which another one may replace: no random number is drawn for it.
        solid = inputs | {"shape_decoder": self._identities(needs["decode_shape"])}
        decoded = self._stage("decode_shape", solid, needs["decode_shape"], None, lambda: self._decode_shape(shape))
        inputs |= {
            "texture": plain(list(arguments.tex_slat.items())), "texture_models": self._identities(needs["texture"]),
            "texture_seed": self._texture_seed,
        }  # fmt: skip

        def reseeded() -> Any:
            if self._texture_seed is None:
                return shape.tensors[_RANDOM]
            torch.manual_seed(self._texture_seed)
            return torch.random.get_rng_state()

        texture = self._stage("texture", inputs, needs["texture"], reseeded, lambda: (
            self._texture(kind, features, shape.tensors, arguments), {}
        ))  # fmt: skip
        inputs |= solid | {"texture_decoder": self._identities(needs["decode_texture"])}
        volume = self._stage("decode_texture", inputs, needs["decode_texture"], None, lambda: (
            self._decode_texture(decoded, texture), {}
        ))  # fmt: skip
        return decoded, volume

    def _stage(
        self,
        name: str,
        inputs: Mapping[str, Any],
        needs: tuple[str, ...],
        random_state: Callable[[], Any] | None,
        work: Callable[[], tuple[dict[str, Any], dict[str, Any]]],
    ) -> Entry:
        """Return what is kept of `name` with `inputs`, or what `work` makes; on too little memory, by a leaner plan."""
        key = digest(name, inputs)
        with self._run.stage(name):
            if (kept := self._cache.load(key)) is not None:
                self.account.kept.append(name)
                return kept
            start = time.perf_counter()
            while (entry := self._attempt(name, needs, random_state, work)) is None:
                pass
            self.account.seconds[name] = round(time.perf_counter() - start, 3)
            self._cache.store(key, entry)
            return entry

    def _attempt(
        self,
        name: str,
        needs: tuple[str, ...],
        random_state: Callable[[], Any] | None,
        work: Callable[[], tuple[dict[str, Any], dict[str, Any]]],
    ) -> Entry | None:
        """Return what `work` makes, or None where another plan is to be tried."""
        kernels.set_limit_bytes(LEAN_BYTES if self._plans[0].chunked else kernels.DEFAULT_BYTES)
        self._share = (0.0, 1.0)
        # Upstream then moves each model in and out as it runs.
        self._pipeline.low_vram = not self._plans[0].stay
        try:
            self._device.begin_peak()
            with torch.no_grad(), torch.random.fork_rng(devices=[]), self._models.within(needs, self._plans[0]):
                if random_state is not None:
                    torch.random.set_rng_state(random_state())
                with lean.in_pieces(self._chunked(needs)):
                    tensors, facts = work()
                # A copy: a part of a larger tensor would be written to the disk with all of it.
                tensors = {key: value.detach().to("cpu", copy=True) for key, value in tensors.items()}
                if random_state is not None:
                    tensors[_RANDOM] = torch.random.get_rng_state()
                _ensure_finite(tensors)
            self._device.finish()
            if (peak := self._device.peak()) is not None:
                self.account.peak_mb[name] = round(peak / 1e6)
            return Entry(tensors, facts)
        except (Cancelled, EspalierError):
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                raise EspalierError("trellis2_broken", _trace(error), stage=name, reason=reason) from error
            failure = _trace(error)
        # Here nothing holds the tensors of what failed any more, so that their memory can be given back.
        self._leaner(name, failure)
        return None

    def _leaner(self, name: str, failure: str) -> None:
        """Go over to the next memory plan. Raises EspalierError `trellis2_memory` where there is none."""
        self._models.leave()
        self._device.release()
        self.account.repeated.append(name)
        if len(self._plans) == 1:
            free, total = (f"{count / 1e9:.1f}" for count in self._device.memory())
            raise EspalierError("trellis2_memory", failure, stage=name, free=free, total=total)
        del self._plans[0]
        plan = self._plans[0]
        self.account.plan = plan.name
        self.account.notices.append(f"The GPU's memory ran out. {plan.words}")
        self._run.progress(0.0, told(plan, None))

    def _tell(self, fraction: float) -> None:
        start, length = self._share
        self._run.progress(start + length * fraction)

    def _lowered(self, asked: int, used: int, tokens: int) -> None:
        words = (
            f"The resolution was lowered from {asked} to {used}: "
            f"at {asked} the subject needs more than the Token Limit of {tokens:,}."
        )
        self.account.notices.append(words)

    def _chunked(self, names: tuple[str, ...]) -> list[Any]:
        """Return those of the models `names` that are to work in pieces."""
        return [self._models[name] for name in names if self._plans[0].chunked and name != Models.FEATURES]

    def _identities(self, names: tuple[str, ...]) -> list[str]:
        return [self._checkpoint.models[name].identity for name in names]

    def _features(self, picture: Image.Image, side: int) -> Any:
        self._pipeline.image_cond_model = self._models.features
        self._run.check()
        return self._pipeline.get_cond([picture], side, include_neg_cond=False)["cond"]

    def _condition(self, features: Mapping[str, Any], side: int) -> dict[str, Any]:
        found = features[str(side)].to(self._device.torch)
        return {"cond": found, "neg_cond": torch.zeros_like(found)}

    def _structure(self, features: Mapping[str, Any], arguments: Arguments) -> dict[str, Any]:
        self._share = (0.0, 0.9)
        condition = self._condition(features, 512)
        coords = self._pipeline.sample_sparse_structure(
            condition, 32, num_samples=1, sampler_params=dict(arguments.sparse_structure)
        )
        return {"coords": coords}

    def _shape(
        self, kind: str, features: Mapping[str, Any], coords: Any, arguments: Arguments
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        pipeline, models = self._pipeline, self._models
        coords = coords.to(self._device.torch)
        parameters = dict(arguments.shape_slat)
        if kind == "512":
            condition = self._condition(features, 512)
            slat = pipeline.sample_shape_slat(condition, models["shape_slat_flow_model_512"], coords, parameters)
            return {"feats": slat.feats, "coords": slat.coords}, {"resolution": 512}
        turns = iter(((0.0, 0.4), (0.4, 0.6)))
        self._sampler.before = lambda: setattr(self, "_share", next(turns, (0.4, 0.6)))
        try:
            with never_empty(models["shape_slat_decoder"], self._path):
                slat, resolution = pipeline.sample_shape_slat_cascade(
                    self._condition(features, 512),
                    self._condition(features, 1024),
                    models["shape_slat_flow_model_512"],
                    models["shape_slat_flow_model_1024"],
                    512,
                    _FULL_RESOLUTION[kind],
                    coords,
                    parameters,
                    int(arguments.run["max_num_tokens"]),
                )
        finally:
            self._sampler.before = None
        return {"feats": slat.feats, "coords": slat.coords}, {"resolution": int(resolution)}

    def _slat(self, tensors: Mapping[str, Any]) -> Any:
        sparse = import_module("trellis2.modules.sparse")
        device = self._device.torch
        return sparse.SparseTensor(feats=tensors["feats"].to(device), coords=tensors["coords"].to(device))

    def _texture(
        self, kind: str, features: Mapping[str, Any], shape: Mapping[str, Any], arguments: Arguments
    ) -> dict[str, Any]:
        side = 512 if kind == "512" else 1024
        slat = self._pipeline.sample_tex_slat(
            self._condition(features, side),
            self._models[f"tex_slat_flow_model_{side}"],
            self._slat(shape),
            dict(arguments.tex_slat),
        )
        return {"feats": slat.feats, "coords": slat.coords}

    def _decode_shape(self, shape: Entry) -> tuple[dict[str, Any], dict[str, Any]]:
        resolution = int(shape.facts["resolution"])
        with never_empty(self._models["shape_slat_decoder"], self._path):
            meshes, subdivisions = self._pipeline.decode_shape_slat(self._slat(shape.tensors), resolution)
        self._run.progress(0.8)
        mesh = meshes[0]
        if not len(mesh.faces):
            raise EspalierError("trellis2_empty", path=self._path)
        made: dict[str, Any] = {}
        for level, one in enumerate(subdivisions):
            # Which of the eight children are there is all that is asked of it: a bit each, in place of a number.
            made |= {f"children_{level}": (one.feats > 0).cpu(), f"parents_{level}": one.coords.cpu()}
        del subdivisions
        # CuMesh takes memory beside PyTorch's own store, which would be in its way.
        self._device.release()
        mesh.fill_holes()
        return made | {"vertices": mesh.vertices, "faces": mesh.faces}, {"resolution": resolution}

    def _decode_texture(self, shape: Entry, texture: Entry) -> dict[str, Any]:
        found, levels = shape.tensors, sum(name.startswith("children_") for name in shape.tensors)
        subdivisions = [
            self._slat({"feats": found[f"children_{level}"], "coords": found[f"parents_{level}"]})
            for level in range(levels)
        ]
        voxels = self._pipeline.decode_tex_slat(self._slat(texture.tensors), subdivisions)
        self._run.progress(0.9)
        return {"coords": voxels.coords[:, 1:], "attributes": voxels.feats.float()}


def _ensure_finite(tensors: Mapping[str, Any]) -> None:
    """Raise FloatingPointError where a number is none: kept, it would be taken up again by every later job."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise FloatingPointError(f"some of its {name} are not numbers")


def _trace(error: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(error))[-20_000:]
