# SPDX-License-Identifier: GPL-3.0-or-later
"""A rebuilt asset has the faces asked for, lies where its source lies and looks like it; also through a queue."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from engine.backends.draft import create as create_draft
from engine.backends.rebuild import create as create_rebuild
from engine.errors import EspalierError
from engine.jobs.job import State
from engine.jobs.queue import JobQueue
from engine.mesh.closest import Surface
from engine.mesh.glb import Material, Mesh, Texture, read_glb, write_glb
from engine.mesh.layout import level_folder
from engine.mesh.normals import face_crosses, normalize
from engine.mesh.rebuild import STAGES, Options, lods, rebuild
from engine.mesh.sample import MaterialAppearance
from engine.progress import Cancelled, Run
from engine.request import GenerationRequest, RebuildRequest, request_from_json
from engine.workers.launch import current_launch
from tests.engine.queue_harness import ROOT, drive
from tests.support.baking import surface_points
from tests.support.meshes import bumpy_sphere, cube, encoded_image
from tests.support.render import psnr
from tests.support.surfaces import box

DATA = ROOT / "tests" / "data"
QUICK = Options(resolution=512, remesh=False, texture_size=1024)


def waves(size: int = 1024) -> bytes:
    """Return a smooth texture that differs everywhere, and is the same at its left and its right edge."""
    across, down = np.meshgrid(np.arange(size) / size, np.arange(size) / size)
    image = 0.5 + 0.4 * np.stack(
        [np.sin(4 * np.pi * across), np.cos(6 * np.pi * across + 5 * down), np.sin(9 * down)], -1
    )
    stream = io.BytesIO()
    Image.fromarray((image * 255).astype(np.uint8)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


@pytest.fixture(scope="module")
def sphere() -> tuple[Mesh, Material]:
    """20,480 faces with a texture, and metal that is the same everywhere."""
    texture = Texture(waves(), "image/png")
    return Mesh(*bumpy_sphere(5)), Material(base_color=texture, metallic_factor=0.2, roughness_factor=0.6)


def colors_at(mesh: Mesh, material: Material, points: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return what a mesh looks like, linear (N, 3), at the places closest to `points`."""
    hits = Surface(mesh.positions, mesh.faces).closest(points)
    look = MaterialAppearance(material, mesh.positions, mesh.faces, mesh.uvs)
    footprint = np.full(len(points), 1e-9, np.float32)
    look.prepare(hits.face, footprint, None)
    return look.sample(hits.face, hits.weights, points, footprint)["base_color"]


def similarity(before: tuple[Mesh, Material], after: tuple[Mesh, Material]) -> float:
    """Return the PSNR in dB of the base color at 20,000 places of the surface."""
    points = surface_points(before[0].positions, before[0].faces, 20_000)[0]
    return psnr(np.sqrt(colors_at(*before, points)), np.sqrt(colors_at(*after, points)))


def deviation(before: Mesh, after: Mesh) -> float:
    """Return the 99th percentile of the distance from the one surface to the other, both ways."""
    both = []
    for one, two in ((before, after), (after, before)):
        points = surface_points(one.positions, one.faces, 20_000)[0]
        both.append(float(np.quantile(Surface(two.positions, two.faces).closest(points).distance, 0.99)))
    return max(both)


def is_closed(mesh: Mesh) -> bool:
    """Tell whether each edge, after welding by position, runs once each way."""
    _, index = np.unique(mesh.positions, axis=0, return_inverse=True)
    faces = index.reshape(-1)[mesh.faces]
    ends = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    there, back = np.unique(ends, axis=0), np.unique(ends[:, ::-1], axis=0)
    return len(there) == len(ends) and np.array_equal(there, back)


def test_a_textured_sphere_keeps_its_shape_and_its_colors(sphere: tuple[Mesh, Material]) -> None:
    level = rebuild(*sphere, 5000, QUICK)
    assert 0.9 * 5000 <= len(level.mesh.faces) <= 5025
    assert is_closed(level.mesh)
    assert not level.material.double_sided
    assert level.material.alpha_mode == "OPAQUE"
    assert deviation(sphere[0], level.mesh) < 0.003
    assert similarity(sphere, (level.mesh, level.material)) >= 35
    assert level.material.normal is not None
    assert level.material.metallic_factor == pytest.approx(0.2, abs=0.002)
    assert level.material.roughness_factor == pytest.approx(0.6, abs=0.002)
    assert level.material.metallic_roughness is None
    assert level.mesh.uvs is not None
    assert level.mesh.uvs.min() >= 0
    assert level.mesh.uvs.max() <= 1


def test_remeshing_makes_one_closed_surface_of_two_that_cross(sphere: tuple[Mesh, Material]) -> None:
    mesh, material = sphere
    assert mesh.uvs is not None
    moved = mesh.positions + np.array([0.3, 0.0, 0.0], np.float32)
    both = Mesh(
        np.concatenate([mesh.positions, moved]),
        np.concatenate([mesh.faces, mesh.faces + np.uint32(len(moved))]),
        None,
        np.concatenate([mesh.uvs, mesh.uvs]),
    )
    level = rebuild(both, material, 20_000, Options(resolution=128, texture_size=1024))
    assert level.facts["closed"]
    assert is_closed(level.mesh)
    assert len(level.mesh.faces) <= 20_100
    points = surface_points(level.mesh.positions, level.mesh.faces, 20_000)[0]
    off = Surface(both.positions, both.faces).closest(points).distance
    assert np.quantile(off, 0.95) < 0.5 / 128
    # What lies inside either sphere is gone.
    center = np.array([[0.3, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert min(np.linalg.norm(points - middle, axis=1).min() for middle in center) > 0.33


def test_levels_fall_and_share_the_source(sphere: tuple[Mesh, Material]) -> None:
    levels = lods(*sphere, [8000, 2000, 500], QUICK)
    counts = [len(level.mesh.faces) for level in levels]
    assert [count <= 1.005 * target for count, target in zip(counts, (8000, 2000, 500), strict=True)] == [True] * 3
    assert counts[-1] > 300
    found = [similarity(sphere, (level.mesh, level.material)) for level in levels]
    assert min(found) >= 33, found
    with pytest.raises(ValueError, match="fall"):
        lods(*sphere, [500, 8000], QUICK)


def test_a_cube_keeps_its_sharp_edges_and_comes_out_without_its_colors_mixed() -> None:
    mesh = Mesh(*cube())
    material = Material(base_color=Texture(encoded_image(64), "image/png", "clamp"))
    level = rebuild(mesh, material, 10_000, QUICK)
    assert len(level.mesh.faces) == 12
    assert level.mesh.normals is not None
    sides = np.abs(level.mesh.normals).max(axis=1)
    assert sides.min() > 0.999
    assert similarity((mesh, material), (level.mesh, level.material)) >= 35


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_the_textures_are_of_the_format_that_was_asked_for(
    sphere: tuple[Mesh, Material], kind: str, tmp_path: Path
) -> None:
    options = Options(remesh=False, texture_size=256, normal_map="on", texture_format=kind)  # type: ignore[arg-type]
    level = rebuild(*sphere, 2000, options)
    assert {texture.mime for texture in level.material.textures().values()} == {f"image/{kind}"}
    write_glb(tmp_path / "a.glb", level.mesh, level.material)
    mesh, material = read_glb(tmp_path / "a.glb")
    assert len(mesh.faces) == len(level.mesh.faces)
    assert set(material.textures()) == {"base_color", "normal"}


def test_alpha_and_open_edges_show_in_the_material() -> None:
    """A sheet of two triangles, half of it cut out."""
    positions = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], np.float32)
    sheet = Mesh(positions, np.array([(0, 1, 2), (0, 2, 3)], np.uint32), None, positions[:, :2].copy())
    texture = Texture(encoded_image(64, alpha=0), "image/png", "clamp")
    level = rebuild(sheet, Material(base_color=texture, alpha_mode="MASK"), 10_000, QUICK)
    assert level.material.alpha_mode == "MASK"
    assert level.material.double_sided
    solid = rebuild(sheet, Material(base_color=texture, alpha_mode="OPAQUE"), 10_000, QUICK)
    assert solid.material.alpha_mode == "OPAQUE"


def test_a_source_without_uvs_is_baked_from_its_factors() -> None:
    positions, faces, normals, _ = cube()
    level = rebuild(Mesh(positions, faces, normals), Material(base_color_factor=(0.5, 0.25, 0.0, 1.0)), 100, QUICK)
    assert level.material.base_color is not None
    pixels = np.asarray(Image.open(io.BytesIO(level.material.base_color.data)).convert("RGB"))
    assert np.abs(pixels.astype(int) - (188, 137, 0)).max() <= 1


@pytest.mark.parametrize(
    ("positions", "code"),
    [
        (np.full((3, 3), np.nan, np.float32), "mesh_empty"),
        (np.zeros((3, 3), np.float32), "mesh_empty"),
        (np.array([(0, 0, 0), (1, 1, 1), (2, 2, 2)], np.float32), "mesh_empty"),
    ],
)
@pytest.mark.parametrize("on", [False, True])
def test_a_mesh_without_any_area_is_told(positions: npt.NDArray[Any], code: str, on: bool) -> None:
    with pytest.raises(EspalierError) as caught:
        rebuild(Mesh(positions, np.array([(0, 1, 2)], np.uint32)), Material(), 100, Options(512, remesh=on))
    assert caught.value.code == code


@pytest.mark.once
@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
def test_every_stage_can_be_cancelled_and_reports_rising_fractions(sphere: tuple[Mesh, Material], stage: str) -> None:
    fractions: list[float] = []
    asked: list[float] = []

    def report(progress: Any) -> None:
        fractions.append(progress.fraction)
        if progress.stage == stage and not asked:
            asked.append(time.monotonic())

    run = Run(STAGES, report, lambda: bool(asked))
    with pytest.raises(Cancelled):
        lods(*sphere, [5000, 1000], Options(resolution=128, texture_size=512), run=run)
    assert time.monotonic() - asked[0] < 6.0  # the bar of 2 s holds for a machine that does nothing else
    assert fractions == sorted(fractions)


@pytest.mark.parametrize("picture", ["rocket.png", "mushroom.webp"])
def test_an_asset_of_the_draft_engine_through_the_backend(picture: str, tmp_path: Path) -> None:
    draft, backend = create_draft(), create_rebuild()
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    asked = GenerationRequest.create(DATA / picture, "draft", {"resolution": "512", "texture_size": "1024"})
    draft.generate(asked, first, Run(draft.stages, lambda progress: None))
    request = RebuildRequest.create(
        first / "asset.glb", {"remesh": False, "decimation_target": 10000, "texture_size": "1024"}
    )
    asset = backend.generate(request, second, Run(backend.stages, lambda progress: None))
    before, after = read_glb(first / "asset.glb"), read_glb(asset.glb)
    assert 9000 < len(after[0].faces) <= 10_050
    assert asset.facts["faces"] == len(after[0].faces)
    assert asset.facts["closed"]
    assert is_closed(after[0])
    assert asset.thumbnail is not None
    assert similarity(before, after) >= 30
    assert deviation(before[0], after[0]) < 0.003


def test_a_request_survives_json_and_a_missing_file_is_told(tmp_path: Path) -> None:
    request = RebuildRequest.create(tmp_path / "a.glb", {"normal_map": "on", "remesh": "no"}, ["500", "8000"])
    assert request.lods == (8000, 500)
    again = request_from_json(json.loads(json.dumps(request.to_json())))
    assert again == request
    assert again.digest() == request.digest()
    backend = create_rebuild()
    with pytest.raises(EspalierError) as caught:
        backend.generate(request, tmp_path, Run(backend.stages, lambda progress: None))
    assert caught.value.code == "asset_missing"
    for wrong in ({"lods": [3]}, {"lods": ["x"]}, {"kind": "other"}, {"parameters": {"seed": 3}}, {"source": ""}):
        with pytest.raises(EspalierError):
            request_from_json({**request.to_json(), **wrong})


def test_it_runs_in_a_worker_and_keeps_its_place_in_the_ledger(
    sphere: tuple[Mesh, Material], opened: Callable[..., JobQueue], tmp_path: Path
) -> None:
    write_glb(tmp_path / "a.glb", *sphere)
    queue = opened(current_launch(ROOT))
    values = {"remesh": False, "texture_size": "1024"}
    job = queue.submit(RebuildRequest.create(tmp_path / "a.glb", values, [4000, 1000]))
    drive(queue)
    done = queue.job(job)
    assert done.error is None
    assert done.state is State.READY
    assert done.folder is not None
    assert done.result["engine"] == "rebuild"
    assert [level["faces"] for level in done.result["facts"]["lods"]] == [done.result["faces"], 1000]
    assert len(read_glb(level_folder(done.folder, 1) / "asset.glb")[0].faces) == 1000
    assert (level_folder(done.folder, 1) / "import" / "import.json").is_file()
    queue.close()
    again = opened(current_launch(ROOT))
    assert again.job(job).request == done.request


def test_a_normal_map_leaves_the_edges_of_a_box_sharp() -> None:
    positions, faces = box((1.0, 0.6, 0.4), subdivisions=4)
    mesh = Mesh(positions.astype(np.float32), faces.astype(np.uint32))
    level = rebuild(mesh, Material(), 200, Options(remesh=False, texture_size=256, normal_map="on"))
    assert level.mesh.normals is not None
    own = normalize(face_crosses(level.mesh.positions, level.mesh.faces))
    turn = (level.mesh.normals[level.mesh.faces] * own[:, None]).sum(axis=-1)
    assert turn.min() > 0.99
