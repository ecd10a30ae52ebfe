# SPDX-License-Identifier: GPL-3.0-or-later
"""The export: by the compiled exporter's stand-in in a child, with every fault of it, and by our own rebuild."""

from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed in this environment")
pytest.importorskip("safetensors", reason="safetensors is not installed in this environment")
pytest.importorskip("igl", reason="libigl is not installed in this environment")

from engine.backends.rebuild import create as create_rebuild  # noqa: E402
from engine.backends.trellis2 import export as exports  # noqa: E402
from engine.backends.trellis2 import kernels  # noqa: E402
from engine.backends.trellis2.chain import Decoded  # noqa: E402
from engine.backends.trellis2.device import Device  # noqa: E402
from engine.backends.trellis2.export import Made, alpha_mode, export, gltf_frame, why_not_compiled  # noqa: E402
from engine.backends.trellis2.settings import NVDIFFRAST, Settings  # noqa: E402
from engine.backends.trellis2.stages import STAGES  # noqa: E402
from engine.mesh.full import FULL, load_full, save_full  # noqa: E402
from engine.mesh.glb import read_glb  # noqa: E402
from engine.progress import Cancelled, Progress, Run  # noqa: E402
from engine.request import RebuildRequest  # noqa: E402
from tests.engine.test_trellis2_mapping import ROWS  # noqa: E402
from tests.engine.trellis2_checkpoint import COMPILED  # noqa: E402
from tests.engine.trellis2_harness import PretendGpu, called  # noqa: E402

AGREED = Settings(licences=frozenset({NVDIFFRAST}))


def cube(side: int = 16, resolution: int = 64) -> Decoded:
    """Return a box of voxels, wider in x than in y than in z, in upstream's frame; red rises with z."""
    count = np.array([side, side * 3 // 4, side // 2])
    low = (resolution - count) // 2
    coords = np.stack(np.meshgrid(*(np.arange(n) for n in count), indexing="ij"), axis=-1).reshape(-1, 3) + low
    attributes = np.full((len(coords), 6), 0.5, np.float32)
    attributes[:, 0] = (coords[:, 2] - low[2]) / (count[2] - 1)
    attributes[:, 5] = 1.0
    corners = np.array(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")).reshape(3, -1).T
    vertices = ((low + corners * count) / resolution - 0.5).astype(np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))]
    return Decoded(vertices, np.array(faces, np.int32), coords.astype(np.int32), attributes, resolution)


def run_of(told: list[Progress] | None = None, cancelled: object = None) -> Run:
    run = Run(STAGES, (told if told is not None else []).append, cancelled or (lambda: False))  # type: ignore[arg-type]
    run._current = next(stage for stage in STAGES if stage.name == "export")
    return run


def exported(folder: Path, settings: Settings = AGREED, device: Device | None = None, **parameters: object) -> Made:
    options = called(**parameters).to_glb
    return export(cube(), options, "Box", folder / "asset.glb", run_of(), settings, device or PretendGpu())


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the compiled packages' stand-ins found, and PyTorch moving nothing."""
    monkeypatch.syspath_prepend(COMPILED)
    kernels.remove()
    for name in [name for name in sys.modules if name.split(".")[0] in ("o_voxel", "cumesh", "flex_gemm")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(exports, "_PACKAGES", ("o_voxel", "cumesh", "flex_gemm", "nvdiffrast"))
    return


@pytest.mark.usefixtures("compiled")
def test_all_settings_arrive_and_the_mesh_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    monkeypatch.setenv("STANDIN_TOLD", str(told))
    rows = [row for row in ROWS if row[2] == "to_glb"]
    made = exported(tmp_path, **{row[0]: row[1] for row in rows if row[0] != "texture_size"}, texture_size="2048")
    given = ast.literal_eval(told.read_text("utf-8"))
    for name, _, _, keyword, expected in rows:
        assert given[keyword] == pytest.approx(2048 if name == "texture_size" else expected), name
    assert given["voxel_size"] == 1 / 64
    assert given["use_tqdm"] is True
    assert made.facts["exporter"] == "o_voxel"
    assert made.notices == ()
    mesh, material = read_glb(made.glb)
    assert mesh.uvs is not None
    assert mesh.uvs[0].tolist() == [0.0, 1.0]  # V points down from the image's top
    assert mesh.normals is not None
    assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1)
    assert material.alpha_mode == "OPAQUE"
    assert material.double_sided


@pytest.mark.usefixtures("compiled")
def test_glass_stays_glass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_EXPORT", "glass")
    made = exported(tmp_path)
    assert made.facts["alpha_mode"] == "BLEND"
    assert read_glb(made.glb)[1].alpha_mode == "BLEND"


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(
    ("fault", "words"), [("crash", "failed"), ("memory", "ran out of memory"), ("hang", "took more than 4 seconds")]
)
def test_a_fault_of_the_compiled_exporter_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    monkeypatch.setenv("STANDIN_EXPORT", fault)
    settings = Settings(licences=AGREED.licences, export_s=4.0 if fault == "hang" else 600.0)
    made = exported(tmp_path, settings)
    assert made.facts["exporter"] == "espalier"
    assert words in made.notices[-1]
    assert len(read_glb(made.glb)[0].faces) >= 12


@pytest.mark.usefixtures("compiled")
def test_a_cancel_ends_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_EXPORT", "hang")
    told: list[Progress] = []
    began: list[float] = []

    def cancelled() -> bool:
        if told and not began:
            began.append(time.monotonic())
        return bool(told)

    with pytest.raises(Cancelled):
        export(cube(), called().to_glb, "Box", tmp_path / "a.glb", run_of(told, cancelled), AGREED, PretendGpu())
    assert time.monotonic() - began[0] < 5
    assert not list(tmp_path.iterdir())


def test_why_the_compiled_exporter_is_not_used(tmp_path: Path) -> None:
    assert "CUDA" in why_not_compiled(AGREED, Device("cpu"))
    assert "license of nvdiffrast" in why_not_compiled(Settings(), PretendGpu())
    kernels.install()
    assert "is not installed" in why_not_compiled(AGREED, PretendGpu())


def test_our_own_export_has_the_frame_and_the_colors(tmp_path: Path) -> None:
    kernels.install()
    made = exported(tmp_path, Settings())
    assert made.facts["exporter"] == "espalier"
    assert made.facts["closed"]
    assert "license of nvdiffrast" in made.facts["exporter_reason"]
    assert made.notices == ()
    mesh, material = read_glb(made.glb)
    extent = mesh.positions.max(axis=0) - mesh.positions.min(axis=0)
    assert np.allclose(extent * 64, [16, 8, 12], atol=0.1)  # upstream's z is up, which is y here
    assert material.alpha_mode == "OPAQUE"
    corner = mesh.positions[mesh.faces].astype(np.float64)
    assert np.einsum("ij,ij->i", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])).sum() > 0
    import io

    from PIL import Image

    assert material.base_color is not None
    assert mesh.uvs is not None
    pixels = np.asarray(Image.open(io.BytesIO(material.base_color.data)).convert("RGB")).astype(float)
    size = len(pixels)
    x, y = np.clip((mesh.uvs * size).astype(int), 0, size - 1).T
    top, bottom = mesh.positions[:, 1] > 0.05, mesh.positions[:, 1] < -0.05
    assert pixels[y[top], x[top], 0].min() > 200
    assert pixels[y[bottom], x[bottom], 0].max() < 60


def test_the_frame_of_the_volume_is_that_of_the_mesh() -> None:
    decoded = cube()
    positions, coords = gltf_frame(decoded)
    centers = (coords + 0.5) / decoded.resolution - 0.5
    assert np.allclose(positions.min(axis=0), centers.min(axis=0) - 0.5 / 64)
    assert np.allclose(positions.max(axis=0), centers.max(axis=0) + 0.5 / 64)
    again = np.array([-0.5 + (c + 0.5) / 64 for c in decoded.coords])
    assert np.allclose(centers, np.column_stack([again[:, 0], again[:, 2], -again[:, 1]]))


def test_alpha_mode() -> None:
    alpha = np.full((64, 64), 255, np.uint8)
    assert alpha_mode(alpha) == "OPAQUE"
    alpha[0, :3] = 200  # less than a thousandth
    assert alpha_mode(alpha) == "OPAQUE"
    alpha[1:5] = 100
    assert alpha_mode(alpha) == "BLEND"


def test_what_is_kept_beside_can_be_rebuilt(tmp_path: Path) -> None:
    decoded = cube(resolution=48)
    positions, coords = gltf_frame(decoded)
    exported(tmp_path, Settings())
    save_full(tmp_path / FULL, positions, decoded.faces, coords, decoded.attributes, decoded.resolution)
    mesh, volume = load_full(tmp_path / FULL)
    assert len(mesh.faces) == 12
    assert volume.voxel_size == pytest.approx(1 / 48)
    backend = create_rebuild()
    (tmp_path / "again").mkdir()
    asked = {"texture_size": "1024", "remesh": False, "decimation_target": 5000}
    request = RebuildRequest.create(tmp_path / "asset.glb", asked)
    asset = backend.generate(request, tmp_path / "again", Run(backend.stages, lambda _: None))
    assert asset.facts["source_faces"] == 12
    found, material = read_glb(asset.glb)
    assert np.allclose(found.positions.max(axis=0) * 48, [8, 4, 6], atol=0.1)
    assert material.base_color is not None
    os.unlink(tmp_path / FULL)
    (tmp_path / FULL).write_bytes(b"PK\x03\x04 not one")
    with pytest.raises(Exception, match="damaged"):
        load_full(tmp_path / FULL)
