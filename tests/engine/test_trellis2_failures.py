# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages on the stand-in where something fails: too little memory at each model, what is no number, no shape."""

from __future__ import annotations

import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed in this environment")
pytest.importorskip("safetensors", reason="safetensors is not installed in this environment")
pytest.importorskip("transformers", reason="transformers is not installed in this environment")

from engine.backends.base import JobRun  # noqa: E402
from engine.backends.trellis2 import memory  # noqa: E402
from engine.backends.trellis2.backend import Trellis2Backend  # noqa: E402
from engine.backends.trellis2.cache import Cache  # noqa: E402
from engine.backends.trellis2.device import is_out_of_memory  # noqa: E402
from engine.backends.trellis2.pipeline import never_empty  # noqa: E402
from engine.backends.trellis2.settings import Settings  # noqa: E402
from engine.errors import EspalierError  # noqa: E402
from engine.progress import Cancelled  # noqa: E402
from engine.request import GenerationRequest  # noqa: E402
from tests.engine import trellis2_checkpoint  # noqa: E402
from tests.engine.trellis2_harness import KEPT as STAGES  # noqa: E402
from tests.engine.trellis2_harness import (  # noqa: E402
    MODELS,
    QUICK,
    Job,
    PretendGpu,
    one_thread,
    same,
    standin,
    watched,
)

one_thread()
ROCKET = Path(__file__).resolve().parents[1] / "data" / "rocket.png"
LARGE = 1 << 30
CASCADE = {"resolution": "1024"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trellis2_checkpoint.write(tmp_path_factory.mktemp("weights"))


@pytest.fixture(autouse=True)
def nobodys_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "nobody"))


WORDS = {
    "torch": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    "cuda": RuntimeError("[CuMesh] CUDA error: out of memory"),
    "python": MemoryError(),
}


@pytest.mark.parametrize(
    ("model", "words"),
    [*((model, "torch") for model in MODELS["1024_cascade"]), ("fill_holes", "cuda"), ("shape_slat_decoder", "python")],
)
def test_too_little_memory_at_each_model_falls_to_the_next_plan(weights: Path, model: str, words: str) -> None:
    failed: list[str] = []

    def fail(name: str) -> None:
        if name == model and not failed:
            failed.append(name)
            raise WORDS[words]

    job = Job(weights, watch=fail)
    made = job.make(**CASCADE)
    assert failed == [model]
    assert same(made, Job(weights).make(**CASCADE))
    assert job.chain.account.plan == "staged"
    assert len(job.chain.account.repeated) == 1
    assert job.chain.account.notices == ["The GPU's memory ran out. " + memory.PLANS[1].words]
    assert isinstance(job.device, PretendGpu)
    assert job.device.released
    assert not job.models.on_device


@pytest.mark.parametrize("model", MODELS["1024_cascade"])
def test_too_little_memory_for_every_plan_is_told(weights: Path, model: str) -> None:
    def fail(name: str) -> None:
        if name == model:
            raise torch.OutOfMemoryError("CUDA out of memory")

    job = Job(weights, PretendGpu(free=3 * 10**9, total=8 * 10**9), watch=fail)
    with pytest.raises(EspalierError) as caught:
        job.make(**CASCADE)
    assert caught.value.code == "trellis2_memory"
    assert "3.0 of 8.0 GB" in caught.value.cause
    assert job.ran.count(model) == len(memory.PLANS)
    assert not job.models.on_device


def test_another_failure_is_told_and_not_tried_again(weights: Path) -> None:
    def fail(name: str) -> None:
        if name == "shape_slat_flow_model_512":
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore")

    job = Job(weights, watch=fail)
    with pytest.raises(EspalierError) as caught:
        job.make()
    assert caught.value.code == "trellis2_broken"
    assert "illegal memory access" in caught.value.cause
    assert "more" not in caught.value.cause
    assert job.ran.count("shape_slat_flow_model_512") == 1
    assert not is_out_of_memory(caught.value)


@pytest.mark.parametrize("name", ["shape_slat_flow_model_512", "tex_slat_decoder"])
def test_what_is_not_a_number_is_told_and_never_kept(weights: Path, tmp_path: Path, name: str) -> None:
    """A fault of the GPU would else be taken up again by every later job."""
    cache = Cache(tmp_path, LARGE)
    job = Job(weights, cache=cache)

    def spoil(ran: str) -> None:
        if ran == name:
            job.models[name].out.bias.data.fill_(torch.nan)

    job.watch = spoil
    with pytest.raises(EspalierError) as caught:
        job.make()
    assert caught.value.code == "trellis2_broken"
    assert "not numbers" in caught.value.cause
    whole = Job(weights, cache=cache)
    assert same(whole.make(), Job(weights).make())
    assert whole.chain.account.kept == STAGES[: 2 if name.startswith("shape") else 5]


def test_memory_of_what_failed_is_free_before_the_next_plan_begins(weights: Path) -> None:
    held: list[weakref.ref[Any]] = []
    left: list[bool] = []

    class Gpu(PretendGpu):
        def release(self) -> None:
            super().release()
            left.extend(one() is not None for one in held)

    def fail(name: str) -> None:
        if name == "shape_slat_decoder" and not held:
            large = torch.zeros(8)
            held.append(weakref.ref(large))
            raise torch.OutOfMemoryError("CUDA out of memory")

    job = Job(weights, Gpu(), watch=fail)
    job.make()
    assert job.chain.account.repeated == ["decode_shape"]
    assert left
    assert not left[-1]
    assert left.count(True) <= 1, "but for the way out of the failed stage itself"


def test_a_shape_with_nothing_left_is_told_as_such() -> None:
    """Upstream's decoder would go on, into whatever error a tensor without rows leads to."""

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.updown = torch.nn.Identity()

        def forward(self, x: Any) -> Any:
            return self.updown(x).coords.amax()

    block = Block()
    some, none = (SimpleNamespace(coords=torch.zeros(count, 4)) for count in (3, 0))
    with never_empty(block, "cat.png"):
        block(some)
        with pytest.raises(EspalierError) as caught:
            block(none)
    assert caught.value.code == "trellis2_empty"
    assert "cat.png" in caught.value.cause
    with pytest.raises(RuntimeError, match="amax"):
        block(none)


@pytest.mark.parametrize("end", [Cancelled, RuntimeError("CUDA error: unspecified launch failure")], ids=str)
def test_what_an_ended_job_held_is_let_go_before_memory_is_given_back(weights: Path, tmp_path: Path, end: Any) -> None:
    """PyTorch can give back only what no tensor holds, and an error holds those of every function that it has ended."""
    held: list[weakref.ref[Any]] = []
    left: list[bool] = []

    class Gpu(PretendGpu):
        def release(self) -> None:
            left[:] = [one() is not None for one in held]

    def fail(name: str) -> None:
        if name == "tex_slat_flow_model_512":
            large = torch.zeros(8)
            held.append(weakref.ref(large))
            raise end

    standin()
    backend = Trellis2Backend(Settings(weights=weights), lambda name: Gpu())
    request = GenerationRequest.create(ROCKET, "trellis2", {**QUICK, "resolution": "512"})
    with watched(fail), pytest.raises((Cancelled, EspalierError)):
        backend.generate(request, tmp_path, JobRun(backend.stages, lambda _: None))
    assert left == [False]
