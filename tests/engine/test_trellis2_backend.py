# SPDX-License-Identifier: GPL-3.0-or-later
"""The CUDA engine from image file to GLB on the stand-in, and everything that a machine may lack."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="PyTorch is not installed in this environment")
pytest.importorskip("safetensors", reason="safetensors is not installed in this environment")
pytest.importorskip("transformers", reason="transformers is not installed in this environment")
pytest.importorskip("igl", reason="libigl is not installed in this environment")

from engine.backends import trellis2 as package  # noqa: E402
from engine.backends.base import Asset, JobRun  # noqa: E402
from engine.backends.trellis2 import backend as backends  # noqa: E402
from engine.backends.trellis2.backend import Trellis2Backend  # noqa: E402
from engine.backends.trellis2.chain import Decoded  # noqa: E402
from engine.backends.trellis2.export import Made  # noqa: E402
from engine.backends.trellis2.settings import BACKGROUND, Settings  # noqa: E402
from engine.errors import EspalierError  # noqa: E402
from engine.imaging import removal  # noqa: E402
from engine.mesh.glb import read_glb  # noqa: E402
from engine.progress import Cancelled, Progress  # noqa: E402
from engine.request import GenerationRequest  # noqa: E402
from tests.engine import trellis2_checkpoint  # noqa: E402
from tests.engine.test_trellis2_mapping import ROWS  # noqa: E402
from tests.engine.trellis2_harness import GIB, QUICK, PretendGpu, one_thread, standin, watched  # noqa: E402
from tests.engine.trellis2_harness import KEPT as STAGES  # noqa: E402
from tests.support.waiting import wait_for  # noqa: E402

one_thread()
DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trellis2_checkpoint.write(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def settings(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "nobody"))
    standin()
    return Settings(weights=weights, cache=tmp_path / "stages")


@pytest.fixture
def quick_export(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Leave the export out, which other tests are about; return what it is called with."""
    seen: list[dict[str, Any]] = []

    def export(decoded: Decoded, options: Any, name: str, path: Path, *_: object) -> Made:
        seen.append(dict(options))
        path.write_bytes(b"glTF")
        return Made(path, {"faces": len(decoded.faces)})

    monkeypatch.setattr(backends, "export", export)
    return seen


def generate(
    backend: Trellis2Backend,
    folder: Path,
    image: Path = DATA / "rocket.png",
    told: list[Progress] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    texture_seed: int | None = None,
    **parameters: object,
) -> Asset:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    given = {**QUICK, "resolution": "512", **parameters}
    request = GenerationRequest.create(image, "trellis2", given, texture_seed=texture_seed)
    run = JobRun(backend.stages, (told if told is not None else []).append, cancelled)
    return backend.generate(request, folder, run)


def on_gpu(settings: Settings, gpu: PretendGpu | None = None, **options: Any) -> Trellis2Backend:
    gpu = gpu or PretendGpu()
    return Trellis2Backend(settings, lambda name: gpu, **options)


def failure(act: Callable[[], object]) -> EspalierError:
    with pytest.raises(EspalierError) as caught:
        act()
    return caught.value


def test_from_image_to_glb_on_the_cpu(settings: Settings, tmp_path: Path) -> None:
    backend = Trellis2Backend(replace(settings, device="cpu"))
    told: list[Progress] = []
    asset = generate(backend, tmp_path / "out", told=told)
    mesh, material = read_glb(asset.glb)
    assert len(mesh.faces) == asset.facts["faces"] > 100
    assert material.base_color is not None
    assert asset.thumbnail is not None
    assert max(Image.open(asset.thumbnail).size) <= 256
    assert (tmp_path / "out" / "full.npz").is_file()
    assert json.dumps(asset.facts)
    assert asset.facts["plan"] == "host"
    assert [stage.name for stage in backend.stages] == list(dict.fromkeys(one.stage for one in told))
    fractions = [one.fraction for one in told]
    assert fractions == sorted(fractions)
    backend.close()
    again = Trellis2Backend(replace(settings, device="cpu"))
    repeated = generate(again, tmp_path / "again")
    assert repeated.facts["stages_kept"] == STAGES
    assert repeated.glb.read_bytes() == asset.glb.read_bytes()


def test_the_model_that_removes_backgrounds_is_the_engines_own_choice(
    settings: Settings, tmp_path: Path, quick_export: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wished: list[str] = []

    def subject_mask(image: Image.Image, wish: str) -> Image.Image:
        wished.append(wish)
        return Image.new("L", image.size, 255)

    monkeypatch.setattr(removal, "subject_mask", subject_mask)
    Image.new("RGB", (64, 64), (90, 30, 30)).save(tmp_path / "photo.png")
    for chosen in (settings, replace(settings, background="u2netp")):
        generate(on_gpu(chosen), tmp_path / "out", tmp_path / "photo.png")
    assert wished == ["birefnet-general", "u2netp"]
    assert BACKGROUND == removal.CHOICE, "one variable for both"


def test_all_parameters_arrive_at_upstreams_calls(
    settings: Settings, tmp_path: Path, quick_export: list[dict[str, Any]]
) -> None:
    rows = [row for row in ROWS if row[0] not in ("image", "resolution", "pipeline_type")]
    given = {row[0]: row[1] for row in rows} | {"resolution": "1536"}
    given |= {name: value for name, value in QUICK.items() if name.endswith("steps")}
    package = standin()
    package.calls.clear()
    generate(on_gpu(settings), tmp_path / "out", **given)
    called = dict(package.calls)
    assert "preprocess_image" not in called
    assert called["sample_shape_slat_cascade"] == {"resolution": 1536, "max_num_tokens": 2048}
    assert called["sample_sparse_structure"]["resolution"] == 32
    arrived = {
        "sparse_structure": called["sample_sparse_structure"]["sampler_params"],
        "shape_slat": called["sample_shape_slat"]["sampler_params"],
        "tex_slat": called["sample_tex_slat"]["sampler_params"],
        "to_glb": quick_export[0],
    }
    intervals = {"sparse_structure": (0.2, 0.9), "shape_slat": (0.3, 0.8), "tex_slat": (0.4, 0.7)}
    for name, _, call, keyword, expected in rows:
        if call == "run":
            continue
        wanted = intervals[call] if keyword == "guidance_interval" else QUICK.get(name, expected)
        assert arrived[call][keyword] == pytest.approx(wanted if name.endswith("steps") else expected) or (
            arrived[call][keyword] == wanted
        ), name


def test_seed_and_preparing_arrive(settings: Settings, tmp_path: Path, quick_export: list[dict[str, Any]]) -> None:
    package = standin()
    plain = replace(settings, cache=None)
    package.calls.clear()
    first = generate(on_gpu(plain), tmp_path / "a", seed=1)
    assert package.calls[0][0] == "preprocess_image"
    assert package.calls[0][1]["mode"] == "RGBA"
    same, other = generate(on_gpu(plain), tmp_path / "b", seed=1), generate(on_gpu(plain), tmp_path / "c", seed=2)
    arrays = [np.load(asset.glb.with_name("full.npz"))["positions"] for asset in (first, same, other)]
    assert np.array_equal(arrays[0], arrays[1])
    assert not (arrays[0].shape == arrays[2].shape and np.array_equal(arrays[0], arrays[2]))


@pytest.mark.usefixtures("quick_export")
def test_a_texture_seed_arrives_and_repeats_nothing_of_the_shape(settings: Settings, tmp_path: Path) -> None:
    backend = on_gpu(settings)
    first = generate(backend, tmp_path / "first")
    ran: list[str] = []
    with watched(ran.append):
        second = generate(backend, tmp_path / "second", texture_seed=5)
    assert set(ran) == {"tex_slat_flow_model_512", "tex_slat_decoder"}
    assert second.facts["stages_kept"] == STAGES[:4]
    assert second.facts["texture_seed"] == 5
    assert "texture_seed" not in first.facts
    kept = [dict(np.load(asset.glb.with_name("full.npz"))) for asset in (first, second)]
    assert np.array_equal(kept[0]["positions"], kept[1]["positions"])
    assert not np.array_equal(kept[0]["attributes"], kept[1]["attributes"])
    again = generate(on_gpu(replace(settings, cache=None)), tmp_path / "again", texture_seed=5)
    assert np.array_equal(np.load(again.glb.with_name("full.npz"))["attributes"], kept[1]["attributes"])


@pytest.mark.usefixtures("quick_export")
def test_another_export_runs_no_model(settings: Settings, tmp_path: Path, quick_export: list[dict[str, Any]]) -> None:
    backend = on_gpu(settings)
    generate(backend, tmp_path / "first")
    ran: list[str] = []
    with watched(ran.append):
        generate(on_gpu(settings), tmp_path / "second", texture_size="4096", decimation_target=50000, remesh=True)
    assert ran == []
    assert quick_export[1]["texture_size"] == 4096


@pytest.mark.usefixtures("quick_export")
def test_a_lowered_resolution_is_told_in_the_panel_and_in_the_result(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine import progress

    monkeypatch.setattr(progress, "REPORT_INTERVAL_S", 0.0)
    told: list[Progress] = []
    asset = generate(on_gpu(settings), tmp_path / "out", told=told, resolution="1536", max_num_tokens=1024)
    assert any("lowered from 1536" in notice for notice in asset.notices)
    assert asset.facts["resolution"] < 1536
    assert any("lowered from 1536" in one.note for one in told)


@pytest.mark.usefixtures("quick_export")
def test_the_plan_and_the_time_are_told(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import progress

    monkeypatch.setattr(progress, "REPORT_INTERVAL_S", 0.0)
    for free, plan in ((80 * GIB, "resident"), (5 * GIB, "staged"), (1 * GIB, "lean")):
        told: list[Progress] = []
        asset = generate(on_gpu(replace(settings, cache=None), PretendGpu(free=free)), tmp_path / "out", told=told)
        assert asset.facts["plan"] == plan
        assert any("seconds" in one.note and "models" in one.note for one in told)
        assert set(asset.facts["peak_memory_mb"]) == set(STAGES)


@pytest.mark.usefixtures("quick_export")
def test_nothing_stays_on_the_gpu_after_a_cancel_or_a_failure(settings: Settings, tmp_path: Path) -> None:
    backend = on_gpu(settings)
    asked: list[str] = []

    with watched(asked.append), pytest.raises(Cancelled):
        generate(backend, tmp_path / "out", cancelled=lambda: "shape_slat_flow_model_512" in asked)
    assert not backend.on_gpu

    def fail(name: str) -> None:
        if name == "tex_slat_decoder":
            raise RuntimeError("CUDA error: unspecified launch failure")

    with watched(fail):
        assert failure(lambda: generate(backend, tmp_path / "out")).code == "trellis2_broken"
    assert not backend.on_gpu
    asset = generate(backend, tmp_path / "out")
    assert asset.facts["stages_kept"][:2] == ["features", "sparse_structure"]
    assert backend.on_gpu
    backend.close()
    assert not backend.on_gpu


@pytest.mark.usefixtures("quick_export")
def test_nothing_stays_on_the_gpu_when_idle(settings: Settings, tmp_path: Path) -> None:
    backend = on_gpu(settings, idle_s=0.05)
    generate(backend, tmp_path / "out")
    wait_for(lambda: not backend.on_gpu)
    assert generate(backend, tmp_path / "out", seed=3).facts["stages_kept"] == ["features"]
    backend.close()


@pytest.mark.usefixtures("quick_export")
def test_the_models_make_room_for_the_export(settings: Settings, tmp_path: Path) -> None:
    backend = on_gpu(settings, PretendGpu(free=10 * GIB))
    generate(backend, tmp_path / "out")
    assert not backend.on_gpu
    backend.close()


@pytest.mark.usefixtures("quick_export")
def test_no_disk_for_the_stages_is_a_notice(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    backend = on_gpu(replace(settings, cache=tmp_path / "file"))
    asset = generate(backend, tmp_path / "out")
    assert any("could not be kept" in notice for notice in asset.notices)


@pytest.mark.usefixtures("quick_export")
def test_fast_mode_is_in_the_facts(settings: Settings, tmp_path: Path) -> None:
    asset = generate(on_gpu(replace(settings, fast=True)), tmp_path / "out", ss_sampling_steps=12)
    skipped, total = asset.facts["steps_reused"]
    assert 0 <= skipped < total
    assert "steps_reused" not in generate(on_gpu(settings), tmp_path / "out").facts


@pytest.mark.parametrize("name", ["shape_slat_decoder.safetensors", "tex_slat_flow_model_512.json"])
def test_weights_that_are_missing_are_told_before_anything_runs(settings: Settings, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(settings.weights, copy)  # type: ignore[arg-type]
    next(copy.rglob(name)).unlink()
    ran: list[str] = []
    with watched(ran.append):
        error = failure(lambda: generate(on_gpu(replace(settings, weights=copy)), tmp_path / "out"))
    assert error.code == "trellis2_weights_missing"
    assert name in error.cause
    assert ran == []


def test_weights_of_another_version_are_told(settings: Settings, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(settings.weights, copy)  # type: ignore[arg-type]
    path = next(copy.rglob("shape_slat_flow_model_512.safetensors"))
    state = load_file(str(path))
    changed = {**state, "out.bias": torch.zeros(9)}
    lacking = {key: value for key, value in state.items() if key != "into.weight"}
    for wrong in (changed, lacking):
        save_file(wrong, str(path))
        backend = on_gpu(replace(settings, weights=copy, cache=None))
        error = failure(lambda backend=backend: generate(backend, tmp_path / "out"))  # type: ignore[misc]
        assert error.code == "trellis2_weights_unfit"
        assert path.name in error.cause
    save_file(state, str(path))
    config = path.with_suffix(".json")
    config.write_text(json.dumps({"name": "AnotherModel", "args": {}}))
    backend = on_gpu(replace(settings, weights=copy, cache=None))
    assert failure(lambda: generate(backend, tmp_path / "out")).code == "trellis2_weights_unfit"


def test_no_weights_at_all(settings: Settings, tmp_path: Path) -> None:
    backend = on_gpu(replace(settings, weights=tmp_path / "none"))
    assert failure(lambda: generate(backend, tmp_path / "out")).code == "trellis2_weights_none"


def test_a_sampler_of_another_kind_is_refused(settings: Settings, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(settings.weights, copy)  # type: ignore[arg-type]
    path = next(copy.rglob("pipeline.json"))
    described = json.loads(path.read_text())
    described["args"]["tex_slat_sampler"]["name"] = "FlowEulerCfgSampler"
    path.write_text(json.dumps(described))
    error = failure(lambda: generate(on_gpu(replace(settings, weights=copy)), tmp_path / "out"))
    assert error.code == "trellis2_weights_damaged"
    assert "FlowEulerCfgSampler" in error.cause


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import util

    found = util.find_spec
    monkeypatch.setattr(package, "find_spec", lambda name: None if name == "trellis2" else found(name))
    error = failure(package.create)
    assert error.code == "trellis2_not_installed"
    assert "trellis2" in error.cause


def test_an_address_is_not_fetched(settings: Settings, tmp_path: Path) -> None:
    request = GenerationRequest.create("https://example.com/a.png", "trellis2", QUICK)
    backend = on_gpu(settings)
    error = failure(lambda: backend.generate(request, tmp_path, JobRun(backend.stages, lambda _: None)))
    assert error.code == "image_not_a_file"


@pytest.mark.usefixtures("quick_export")
def test_pictures_of_all_kinds(settings: Settings, tmp_path: Path) -> None:
    backend = on_gpu(replace(settings, cache=None))
    thin = Image.new("RGBA", (64, 64), (200, 30, 30, 0))
    thin.paste((200, 30, 30, 150), (20, 20, 44, 44))
    thin.save(tmp_path / "thin.png")
    Image.new("RGBA", (64, 64), (9, 9, 9, 0)).save(tmp_path / "clear.png")
    generate(backend, tmp_path / "out", tmp_path / "thin.png")
    generate(backend, tmp_path / "out", tmp_path / "thin.png", preprocess_image=False)
    for prepare in (True, False):
        error = failure(lambda prepare=prepare: generate(  # type: ignore[misc]
            backend, tmp_path / "out", tmp_path / "clear.png", preprocess_image=prepare
        ))  # fmt: skip
        assert error.code == "image_transparent"
    assert failure(lambda: generate(backend, tmp_path / "out", tmp_path / "no.png")).code == "image_missing"
