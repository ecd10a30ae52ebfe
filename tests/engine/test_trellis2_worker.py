# SPDX-License-Identifier: GPL-3.0-or-later
"""The CUDA engine in its worker, behind the queue: a result, a crash, a hang, and what they leave behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed in this environment")
pytest.importorskip("safetensors", reason="safetensors is not installed in this environment")
pytest.importorskip("transformers", reason="transformers is not installed in this environment")
pytest.importorskip("igl", reason="libigl is not installed in this environment")

from engine.backends.trellis2.settings import Settings
from engine.jobs.job import State
from engine.jobs.queue import JobQueue
from engine.request import GenerationRequest
from engine.workers.launch import Launch, current_launch
from engine.workers.process import Limits
from tests.engine import trellis2_checkpoint
from tests.engine.queue_harness import ROOT, drive, reached
from tests.engine.trellis2_harness import QUICK

DATA = Path(__file__).resolve().parents[1] / "data"
LIMITS = Limits(silent_s=120.0, cancel_s=1.0, terminate_s=1.0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trellis2_checkpoint.write(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of compiled modules of all workers here: to compile those of PyTorch takes most of a start."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(autouse=True)
def bytecode(tmp_path: Path, compiled: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "bytecode").symlink_to(compiled, target_is_directory=True)


@pytest.fixture
def launch(weights: Path, tmp_path: Path) -> Launch:
    import torch

    settings = Settings(weights=weights, cache=tmp_path / "stages", device="cpu")
    own = current_launch(ROOT)
    torchs = str(Path(torch.__file__).parents[1])
    env = {**settings.to_environment(), "HF_HUB_CACHE": str(tmp_path / "nobody"), "ESPALIER_PYTHON": own.python}
    return replace(own, paths=(*own.paths, torchs, trellis2_checkpoint.UPSTREAM), env=env)


def request(**parameters: object) -> GenerationRequest:
    quick = {**QUICK, "resolution": "512", **parameters}
    return GenerationRequest.create(DATA / "rocket.png", "trellis2", quick)


def test_a_crash_is_told_and_a_retry_goes_on_where_it_was(launch: Launch, tmp_path: Path) -> None:
    crashing = replace(launch, env={**launch.env, "STANDIN_FAULT": "crash:tex_slat_flow_model_512"})
    launches = [crashing, launch]
    queue = JobQueue(tmp_path, lambda engine: launches[0], limits=LIMITS)
    try:
        job = queue.submit(request())
        drive(queue)
        error: Any = queue.job(job).error
        assert error.code == "worker_died"
        del launches[0]
        queue.retry(job)
        drive(queue)
        made = queue.job(job)
        assert made.state is State.READY, made.error
        assert made.result["facts"]["stages_kept"] == ["features", "sparse_structure", "shape", "decode_shape"]
        assert made.folder is not None
        names = {path.name for path in made.folder.iterdir()}
        assert names >= {"asset.glb", "thumbnail.png", "full.npz", "import", "request.json", "result.json"}
        assert made.result["engine"] == "trellis2"
        assert made.result["facts"]["plan"] == "host"
        assert made.result["stages"].keys() >= {"check", "features", "shape", "texture", "decode_texture", "export"}
    finally:
        queue.close()


def test_a_hang_is_ended_by_a_cancel(opened: Callable[..., JobQueue], launch: Launch) -> None:
    hanging = replace(launch, env={**launch.env, "STANDIN_FAULT": "hang:shape_slat_flow_model_512"})
    queue = opened(hanging, limits=LIMITS)
    job = queue.submit(request())
    drive(queue, until=lambda: queue.job(job).stage == "shape")
    queue.cancel(job)
    drive(queue, until=reached(queue, job, State.CANCELLED))
    drive(queue)
    assert not queue.job(job).active
