# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages on the stand-in: seeds, the cache, a cancel at each model, and the notices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed in this environment")
pytest.importorskip("safetensors", reason="safetensors is not installed in this environment")
pytest.importorskip("transformers", reason="transformers is not installed in this environment")

from engine.backends.trellis2 import memory  # noqa: E402
from engine.backends.trellis2.cache import Cache  # noqa: E402
from engine.errors import EspalierError  # noqa: E402
from engine.progress import Cancelled  # noqa: E402
from tests.engine import trellis2_checkpoint  # noqa: E402
from tests.engine.trellis2_harness import KEPT as STAGES  # noqa: E402
from tests.engine.trellis2_harness import (  # noqa: E402
    MODELS,
    QUICK,
    Job,
    called,
    one_thread,
    picture,
    same,
    standin,
)

one_thread()
LARGE = 1 << 30
CASCADE = {"resolution": "1024"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trellis2_checkpoint.write(tmp_path_factory.mktemp("weights"))


@pytest.fixture(autouse=True)
def nobodys_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "nobody"))


def made_by_upstreams_run(weights: Path, kind: str, seed: int) -> Any:
    """Return vertices and attributes by upstream's order of calls, without any of the chain."""
    job = Job(weights)
    job.make(seed=seed + 1)
    pipeline, models = job.assembled.pipeline, job.models
    arguments = called()
    torch.manual_seed(seed)
    first = pipeline.get_cond([picture()], 512)
    second = pipeline.get_cond([picture()], 1024)
    with torch.no_grad():
        coords = pipeline.sample_sparse_structure(first, 32, 1, arguments.sparse_structure)
        if kind == "512":
            small = models["shape_slat_flow_model_512"]
            slat = pipeline.sample_shape_slat(first, small, coords, arguments.shape_slat)
            resolution, condition, texture = 512, first, "tex_slat_flow_model_512"
        else:
            both = models["shape_slat_flow_model_512"], models["shape_slat_flow_model_1024"]
            slat, resolution = pipeline.sample_shape_slat_cascade(
                first, second, *both, 512, 1024, coords, arguments.shape_slat, 49152
            )
            condition, texture = second, "tex_slat_flow_model_1024"
        colors = pipeline.sample_tex_slat(condition, models[texture], slat, arguments.tex_slat)
        meshes, subs = pipeline.decode_shape_slat(slat, resolution)
        return meshes[0].vertices.numpy(), pipeline.decode_tex_slat(colors, subs).feats.numpy()


@pytest.mark.parametrize("kind", ["512", "1024_cascade"])
def test_the_numbers_are_those_of_upstreams_own_order(weights: Path, kind: str) -> None:
    vertices, attributes = made_by_upstreams_run(weights, kind, 5)
    made = Job(weights).make(pipeline_type=kind, resolution=kind.split("_")[0], seed=5)
    assert np.array_equal(made.vertices, vertices)
    assert np.array_equal(made.attributes, attributes)


def test_a_seed_gives_the_same_again_and_another_gives_another(weights: Path) -> None:
    first, again, other = (Job(weights).make(seed=seed) for seed in (3, 3, 4))
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("kind", ["512", "1024_cascade"])
def test_every_model_runs_and_no_other(weights: Path, kind: str) -> None:
    job = Job(weights)
    job.make(pipeline_type=kind, resolution=kind.split("_")[0])
    assert set(job.ran) == set(MODELS[kind])


@pytest.mark.parametrize("plan", [*memory.PLANS, memory.ON_HOST], ids=lambda plan: plan.name)
def test_all_plans_give_the_same(weights: Path, plan: memory.Plan) -> None:
    job = Job(weights, plans=(plan,))
    assert same(job.make(**CASCADE), Job(weights).make(**CASCADE))
    assert bool(job.models.on_device) == plan.stay


def test_lean_plans_have_one_model_on_the_gpu_at_a_time(weights: Path) -> None:
    job = Job(weights, plans=memory.PLANS[1:])
    most: list[frozenset[str]] = []
    job.watch = lambda name: most.append(job.models.on_device)
    job.make(**CASCADE)
    assert {len(names) for names in most} == {0, 1}  # holes are filled with none
    for name, names in zip(job.ran, most, strict=True):
        assert names == ({name} if name != "fill_holes" else frozenset())
    assert job.models.loaded >= set(MODELS["1024_cascade"]) - {"fill_holes"}


def test_a_second_run_repeats_nothing(weights: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path, LARGE)
    first, second = Job(weights, cache=cache), Job(weights, cache=cache)
    made = first.make()
    assert first.chain.account.kept == []
    assert list(first.chain.account.seconds) == STAGES
    assert same(second.make(), made)
    assert second.ran == []
    assert second.chain.account.kept == STAGES
    assert second.models.loaded == frozenset()


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"texture_size": "2048", "remesh": True, "decimation_target": 20000}, 6),
        ({"tex_slat_guidance_strength": 2.0}, 4),
        ({"tex_slat_sampling_steps": 3}, 4),
        ({"shape_slat_rescale_t": 2.0}, 2),
        ({"max_num_tokens": 2048}, 2),
        ({"ss_guidance_interval_start": 0.1}, 1),
        ({"seed": 1}, 1),
    ],
    ids=lambda change: next(iter(change)) if isinstance(change, dict) else str(change),
)
def test_a_change_repeats_what_depends_on_it(weights: Path, tmp_path: Path, change: dict[str, Any], kept: int) -> None:
    cache = Cache(tmp_path, LARGE)
    Job(weights, cache=cache).make()
    changed = Job(weights, cache=cache)
    made = changed.make(**change)
    assert changed.chain.account.kept == STAGES[:kept]
    assert same(made, Job(weights).make(**change))


def test_another_picture_repeats_all(weights: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path, LARGE)
    Job(weights, cache=cache).make()
    changed = Job(weights, cache=cache)
    changed.make(picture(1))
    assert changed.chain.account.kept == []


def test_other_weights_are_not_taken_for_the_same(weights: Path, tmp_path: Path) -> None:
    import os
    import shutil

    cache = Cache(tmp_path / "stages", LARGE)
    Job(weights, cache=cache).make()
    copy = tmp_path / "copy"
    shutil.copytree(weights, copy)
    changed = next(copy.rglob("tex_slat_flow_model_512.safetensors"))
    os.utime(changed, ns=(1, 1))
    job = Job(copy, cache=cache)
    job.make()
    assert "texture" not in job.chain.account.kept


def test_a_new_seed_for_the_texture_keeps_the_shape(weights: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path, LARGE)
    first = Job(weights, cache=cache).make()
    job = Job(weights, cache=cache, texture_seed=9)
    made = job.make()
    assert job.chain.account.kept == STAGES[:4]
    assert job.ran == ["tex_slat_flow_model_512"] * len(job.ran[:-1]) + ["tex_slat_decoder"]
    assert np.array_equal(made.vertices, first.vertices)
    assert not np.array_equal(made.attributes, first.attributes)
    assert same(made, Job(weights, texture_seed=9).make())


@pytest.mark.parametrize("stage", STAGES[1:])
def test_what_a_crash_left_is_gone_on_with(weights: Path, tmp_path: Path, stage: str) -> None:
    cache = Cache(tmp_path, LARGE)
    expected = Job(weights).make()
    first = dict(zip(STAGES[1:], (MODELS["512"][index] for index in (1, 3, 4, 6, 7)), strict=True))

    def fail(name: str) -> None:
        if name == first[stage]:
            raise SystemExit

    with pytest.raises(SystemExit):
        Job(weights, cache=cache, watch=fail).make()
    job = Job(weights, cache=cache)
    assert same(job.make(), expected)
    assert job.chain.account.kept == STAGES[: STAGES.index(stage)]


@pytest.mark.parametrize("model", MODELS["1024_cascade"])
def test_a_cancel_at_each_model_is_heard_within_a_step(weights: Path, model: str) -> None:
    asked = False

    def ask(name: str) -> None:
        nonlocal asked
        asked = asked or name == model

    job = Job(weights, watch=ask, cancelled=lambda: asked)
    with pytest.raises(Cancelled):
        job.make(**CASCADE)
    assert len(job.ran) - job.ran.index(model) <= 2  # the upsampling of a cascade ends before the next is asked


def test_progress_rises_and_names_each_stage(weights: Path) -> None:
    job = Job(weights)
    job.make(**CASCADE)
    fractions = [told.fraction for told in job.told]
    assert fractions == sorted(fractions)
    assert list(dict.fromkeys(told.stage for told in job.told)) == STAGES


def test_each_step_of_a_sampler_is_told(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import progress

    monkeypatch.setattr(progress, "REPORT_INTERVAL_S", 0.0)
    job = Job(weights)
    job.make(**CASCADE)
    shape = [told for told in job.told if told.stage == "shape"]
    assert len({told.fraction for told in shape}) >= 2 * int(QUICK["shape_slat_sampling_steps"])


def test_a_lowered_resolution_is_told(weights: Path) -> None:
    job = Job(weights)
    made = job.make(resolution="1536", max_num_tokens=1024)
    assert 1024 <= made.resolution < 1536
    (notice,) = job.chain.account.notices
    assert f"from 1536 to {made.resolution}" in notice
    job = Job(weights)
    assert job.make(resolution="1536").resolution == 1536
    assert job.chain.account.notices == []


def test_nothing_in_the_picture(weights: Path) -> None:
    standin()
    from trellis2 import models

    before = models.SparseStructureDecoder.forward
    models.SparseStructureDecoder.forward = lambda self, x: -torch.ones(1, 1, 8, 8, 8)
    try:
        with pytest.raises(EspalierError) as caught:
            Job(weights).make()
    finally:
        models.SparseStructureDecoder.forward = before
    assert caught.value.code == "trellis2_empty"


def test_peaks_are_in_the_account(weights: Path) -> None:
    job = Job(weights)
    job.make()
    assert job.chain.account.peak_mb == dict.fromkeys(STAGES, 123)


def test_fast_mode_is_another_result_in_the_cache(weights: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path, LARGE)
    steps = {"ss_sampling_steps": 12, "ss_guidance_interval_start": 0.0, "ss_rescale_t": 1.0}
    exact = Job(weights, cache=cache)
    exact.make(**steps)
    fast = Job(weights, cache=cache, fast=True)
    fast.make(**steps)
    assert fast.chain.account.kept == ["features"]
    skipped, total = fast.assembled.skipped()
    assert 0 < skipped < total
    assert len(fast.ran) < len(exact.ran)


def test_plans_follow_the_memory_that_is_free(weights: Path) -> None:
    from engine.backends.trellis2 import checkpoint as checkpoints

    found = checkpoints.read(weights)
    big = replace(found)
    names = [memory.choose(int(gib * (1 << 30)), big, "1024_cascade")[0].name for gib in (80, 9, 5, 1)]
    assert names == ["resident", "staged", "lean", "lean"] or names[0] == "resident"
    order = [plan.name for plan in memory.PLANS]
    assert [order.index(name) for name in names] == sorted(order.index(name) for name in names)
    assert memory.choose(80 << 30, big, "512", "lean") == memory.PLANS[2:]
    assert memory.choose(80 << 30, big, "512", "nonsense") == memory.PLANS


def test_times_are_remembered(tmp_path: Path) -> None:
    times = memory.Times(tmp_path / "kept" / "times.json")
    resident, staged = memory.PLANS[:2]
    first = times.estimate("GPU", "512", resident)
    assert first is not None
    assert times.estimate("GPU", "1536_cascade", resident) > first
    assert times.estimate("GPU", "512", staged) > first
    times.note("GPU", "512", resident, 4.2)
    assert times.estimate("GPU", "512", resident) == 4.2
    assert times.estimate("Other", "512", resident) == first
    (tmp_path / "kept" / "times.json").write_text("[")
    assert times.estimate("GPU", "512", resident) == first
    assert memory.Times(None).estimate("GPU", "512", memory.ON_HOST) is None
    assert memory.told(resident, 17.2).endswith("About 17 seconds.")
    assert memory.told(resident, 300.0).endswith("About 5 minutes.")
