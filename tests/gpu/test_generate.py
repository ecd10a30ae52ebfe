# SPDX-License-Identifier: GPL-3.0-or-later
"""The CUDA engine on a real GPU and the real packages, from a small random checkpoint that is written here.

The sparse structure is that of the checkpoint's own shift of its decoder; nothing of the published weights is needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="PyTorch is not installed in this environment")
pytest.importorskip("trellis2", reason="TRELLIS.2 is not installed in this environment")
if not torch.cuda.is_available():
    pytest.skip("PyTorch sees no GPU here", allow_module_level=True)

from engine.backends.base import Asset, JobRun  # noqa: E402
from engine.backends.trellis2 import kernels  # noqa: E402
from engine.backends.trellis2.backend import Trellis2Backend  # noqa: E402
from engine.backends.trellis2.memory import PLANS  # noqa: E402
from engine.backends.trellis2.pipeline import prepare_imports  # noqa: E402
from engine.backends.trellis2.settings import NVDIFFRAST, Settings  # noqa: E402
from engine.mesh.full import FULL  # noqa: E402
from engine.mesh.glb import read_glb  # noqa: E402
from engine.progress import Cancelled, Progress  # noqa: E402
from engine.request import GenerationRequest  # noqa: E402

KINDS = {"512": 512, "1024_cascade": 1024, "1536_cascade": 1536}
SMALL = {
    "ss_sampling_steps": 3,
    "shape_slat_sampling_steps": 3,
    "tex_slat_sampling_steps": 3,
    "texture_size": "1024",
    "decimation_target": 10_000,
    "remesh": False,
}
SPARE = 64 << 20
"""Bytes of a CUDA context and its libraries that may come and go beside the models."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    prepare_imports(None)
    from tests.trellis2.checkpoint import write_checkpoint

    root = tmp_path_factory.mktemp("weights")
    with torch.no_grad():
        write_checkpoint(root)
    return Settings(weights=root)


@pytest.fixture
def backend(settings: Settings) -> Iterator[Callable[..., Trellis2Backend]]:
    made: list[Trellis2Backend] = []

    def backend(**changes: Any) -> Trellis2Backend:
        made.append(Trellis2Backend(replace(settings, **changes)))
        return made[-1]

    yield backend
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    y, x = np.mgrid[:120, :160]
    pixels = np.stack([x, 2 * y, 255 - x, 255 * ((y - 60) ** 2 + (x - 70) ** 2 < 50**2)], axis=-1)
    path = tmp_path_factory.mktemp("picture") / "disc.png"
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def generate(
    backend: Trellis2Backend, picture: Path, folder: Path, cancelled: Callable[[], bool] = lambda: False, **given: Any
) -> tuple[Asset, list[Progress]]:
    told: list[Progress] = []
    folder.mkdir(parents=True)
    request = GenerationRequest.create(picture, "trellis2", {**SMALL, **given})
    return backend.generate(request, folder, JobRun(backend.stages, told.append, cancelled)), told


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_becomes_a_glb(
    backend: Callable[..., Trellis2Backend], picture: Path, tmp_path: Path, kind: str
) -> None:
    asset, _ = generate(backend(), picture, tmp_path / "out", pipeline_type=kind)
    mesh, material = read_glb(asset.glb)
    assert len(mesh.faces) > 1000
    assert material.base_color is not None
    assert asset.facts["resolution"] == KINDS[kind]
    assert all(asset.facts["peak_memory_mb"].values())
    print(asset.facts)


def test_all_plans_give_nearly_the_same(backend: Callable[..., Trellis2Backend], picture: Path, tmp_path: Path) -> None:
    found = []
    for plan in PLANS:
        asset, _ = generate(backend(plan=plan.name), picture, tmp_path / plan.name, pipeline_type="512")
        assert asset.facts["plan"] == plan.name
        found.append(np.load(asset.glb.with_name(FULL))["coords"])
    for other in found[1:]:
        common = np.intersect1d(*(one.astype(np.int64) @ [1, 4096, 4096 * 4096] for one in (found[0], other)))
        assert len(common) > 0.99 * max(len(found[0]), len(other))


def test_a_cancel_gives_the_memory_back_at_once(
    backend: Callable[..., Trellis2Backend], picture: Path, tmp_path: Path
) -> None:
    made = backend()
    generate(made, picture, tmp_path / "warm", pipeline_type="512")
    made.close()
    before, _ = torch.cuda.mem_get_info()
    asked: list[float] = []
    run: list[Progress] = []

    def cancelled() -> bool:
        if run and run[-1].stage == "shape" and not asked:
            asked.append(time.monotonic())
        return bool(asked)

    request = GenerationRequest.create(picture, "trellis2", {**SMALL, "pipeline_type": "1024_cascade", "seed": 5})
    (tmp_path / "out").mkdir()
    with pytest.raises(Cancelled):
        made.generate(request, tmp_path / "out", JobRun(made.stages, run.append, cancelled))
    assert time.monotonic() - asked[0] < 5
    assert torch.cuda.mem_get_info()[0] > before - SPARE
    assert not made.on_gpu


def test_the_compiled_exporter(backend: Callable[..., Trellis2Backend], picture: Path, tmp_path: Path) -> None:
    if lacking := kernels.missing(("o_voxel", "cumesh", "flex_gemm", "nvdiffrast")) or kernels.installed():
        pytest.skip(f"{lacking[0]} is not installed in this environment")
    made = backend(licences=frozenset({NVDIFFRAST}))
    asset, _ = generate(made, picture, tmp_path / "out", pipeline_type="512")
    assert asset.facts["exporter"] == "o_voxel", asset.notices
    assert len(read_glb(asset.glb)[0].faces) > 100
