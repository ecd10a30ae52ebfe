# SPDX-License-Identifier: GPL-3.0-or-later
"""The draft engine from image file to GLB: textures, parameters, progress, cancel, and failures."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from engine.backends.draft import create
from engine.backends.draft.charts import lay_out
from engine.backends.draft.texture import METALLIC, ROUGHNESS
from engine.errors import EspalierError
from engine.mesh.glb import Material, Mesh, read_glb
from engine.parameters import SETTINGS
from engine.progress import Cancelled, Progress, Run
from engine.request import GenerationRequest
from tests.engine.draft_checks import DATA, Array, faults, generate

SMALL = {"resolution": "512", "texture_size": "1024"}


def made(image: Path, folder: Path, **parameters: object) -> tuple[Mesh, Material, Array]:
    """Return mesh, material and the base colour's pixels (H, W, C)."""
    asset, _, _ = generate(image, folder, **{**SMALL, **parameters})
    mesh, material = read_glb(asset.glb)
    assert material.base_color is not None
    return mesh, material, np.asarray(Image.open(io.BytesIO(material.base_color.data)))


def save_disc(path: Path, color: tuple[int, int, int], hidden: tuple[int, int, int], **options: object) -> Path:
    """Write a disc of `color` whose invisible surroundings, and the edge's mixture with them, are `hidden`."""
    size = 300
    large = Image.new("L", (size * 4, size * 4), 0)
    box = options.get("box", (0.1, 0.2, 0.7, 0.8))
    ImageDraw.Draw(large).ellipse([v * size * 4 for v in box], fill=255)  # type: ignore[union-attr]
    alpha = np.asarray(large.resize((size, size), Image.Resampling.BOX)) / 255.0
    mixed = np.array(hidden) + alpha[..., None] * (np.array(color) - hidden)
    pixels = np.concatenate([mixed, 255 * alpha[..., None]], axis=2)
    Image.fromarray(np.rint(pixels).astype(np.uint8)).save(path)
    return path


def sampled(pixels: Array, uvs: Array) -> Array:
    """Return the texels (N, C) at `uvs`, bilinear."""
    height, width = pixels.shape[:2]
    x, y = uvs[:, 0] * width - 0.5, uvs[:, 1] * height - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - left)[:, None], (y - top)[:, None]
    x0, x1 = np.clip([left, left + 1], 0, width - 1)
    y0, y1 = np.clip([top, top + 1], 0, height - 1)
    upper = pixels[y0, x0] * (1 - fx) + pixels[y0, x1] * fx
    lower = pixels[y1, x0] * (1 - fx) + pixels[y1, x1] * fx
    return np.asarray(upper * (1 - fy) + lower * fy)


def test_no_background_reaches_the_texture(tmp_path: Path) -> None:
    _, material, pixels = made(save_disc(tmp_path / "a.png", (40, 160, 90), (255, 0, 255)), tmp_path / "a")
    assert material.alpha_mode == "OPAQUE"
    assert pixels.shape == (1024, 1024, 3)
    assert np.abs(pixels.astype(int) - (40, 160, 90)).max() <= 2


def test_charts_keep_apart_and_have_gutters(tmp_path: Path) -> None:
    for name in ("rocket.png", "ball.png", "mug.png"):
        mesh, _, pixels = made(DATA / name, tmp_path / name)
        assert mesh.uvs is not None
        assert mesh.uvs.min() >= 0
        assert mesh.uvs.max() <= 1
        half = len(mesh.uvs) // 2
        front, back = mesh.uvs[:half] * 1024, mesh.uvs[half:] * 1024
        across = front.max(axis=0)[0] < back.min(axis=0)[0]
        axis = 0 if across else 1
        assert back.min(axis=0)[axis] - front.max(axis=0)[axis] >= 2 * 16 - 1
        for chart in (front, back):
            assert chart.min() >= 15.5
            assert chart.max() <= 1024 - 15.5
        # The rim's colours are the same on both charts, and hold as the texture grows smaller.
        rim = np.flatnonzero(mesh.positions[:half, 2] == 0)
        full = sampled(pixels, mesh.uvs[rim])
        assert np.abs(full - sampled(pixels, mesh.uvs[half + rim])).max() <= 1.5
        for level in (1, 2, 3, 4):
            smaller = np.asarray(Image.fromarray(pixels).reduce(2**level)).astype(float)
            near = sampled(smaller, mesh.uvs[rim])
            assert np.abs(near - full).mean() < 6 + 5 * level, (name, level)


def test_texels_are_used_well(tmp_path: Path) -> None:
    for size, low, high, beside in (
        (2048, (-0.5, -0.2), (0.5, 0.2), False),
        (2048, (-0.2, -0.5), (0.2, 0.5), True),
        (1024, (-0.5, -0.5), (0.5, 0.5), True),
    ):
        charts = lay_out(np.array(low), np.array(high), size)
        assert charts.beside == beside
        short = min(high[0] - low[0], high[1] - low[1])
        longest = min((size / 2 - 2 * charts.gutter) / short, size - 2 * charts.gutter)
        assert charts.scale == pytest.approx(longest, rel=1e-6)


def test_the_picture_lies_on_the_front_and_mirrored_on_the_back(tmp_path: Path) -> None:
    image = Image.open(DATA / "rocket.png").convert("RGBA")
    source = np.asarray(image).astype(float)
    mesh, _, pixels = made(DATA / "rocket.png", tmp_path / "a", texture_size="2048")
    assert mesh.uvs is not None
    half = len(mesh.uvs) // 2
    rows, columns = np.nonzero(source[..., 3] > 127)
    left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    low, high = mesh.positions.min(axis=0), mesh.positions.max(axis=0)
    scale = (bottom - top) / (high[1] - low[1])
    x = (left + right) / 2 + mesh.positions[:half, 0] * scale
    y = (top + bottom) / 2 - mesh.positions[:half, 1] * scale
    inner = mesh.positions[:half, 2] > 0.03
    expected = sampled(source, np.column_stack([x, y])[inner] / image.size)[:, :3]
    for uvs in (mesh.uvs[:half], mesh.uvs[half:]):
        assert np.abs(sampled(pixels, uvs[inner]) - expected).mean() < 2.0
    # Seen from behind, the back's chart is the right way round: further left on the asset is further right there.
    assert np.corrcoef(mesh.positions[half:, 0], mesh.uvs[half:, 0])[0, 1] == pytest.approx(-1, abs=1e-3)


def test_the_material_is_that_of_all_engines(tmp_path: Path) -> None:
    _, material, _ = made(DATA / "ball.png", tmp_path / "a")
    assert material.metallic_roughness is not None
    constants = np.asarray(Image.open(io.BytesIO(material.metallic_roughness.data)))
    assert constants.shape == (1024, 1024, 3)
    assert (constants == (255, round(255 * ROUGHNESS), round(255 * METALLIC))).all()
    assert len(material.metallic_roughness.data) < 20_000
    assert (material.metallic_factor, material.roughness_factor) == (1.0, 1.0)


def test_glass_stays_glass(tmp_path: Path) -> None:
    path = save_disc(tmp_path / "a.png", (40, 160, 90), (255, 0, 255))
    pixels = np.asarray(Image.open(path)).copy()
    pixels[100:180, 80:150, 3] = 150
    Image.fromarray(pixels).save(path)
    asset, _, _ = generate(path, tmp_path / "a", **SMALL)
    _, material = read_glb(asset.glb)
    assert material.alpha_mode == asset.facts["alpha_mode"] == "BLEND"
    assert material.base_color is not None
    texture = np.asarray(Image.open(io.BytesIO(material.base_color.data)))
    assert texture.shape[2] == 4
    share = (np.abs(texture[..., 3].astype(int) - 150) < 6).mean()
    assert share > 0.05
    assert (texture[..., 3] > 250).mean() > 0.5
    # A soft edge alone is no glass.
    assert made(DATA / "mug.png", tmp_path / "b")[1].alpha_mode == "OPAQUE"


def test_a_part_of_glass_is_not_cut_off(tmp_path: Path) -> None:
    pixels = np.zeros((200, 400, 4), np.uint8)
    pixels[60:140, 20:120] = (90, 90, 200, 255)
    pixels[60:140, 120:380] = (90, 90, 200, 170)  # below what TRELLIS counts as solid
    Image.fromarray(pixels).save(tmp_path / "a.png")
    mesh, material, _ = made(tmp_path / "a.png", tmp_path / "a")
    size = mesh.positions.max(axis=0) - mesh.positions.min(axis=0)
    assert size[1] == pytest.approx(80 / 360, rel=0.01)
    assert faults(mesh.positions, mesh.faces) == []
    assert material.alpha_mode == "BLEND"


def test_facts_thumbnail_and_name(tmp_path: Path) -> None:
    path = tmp_path / "我的 鸭子.jpg"
    path.write_bytes((DATA / "duck.jpg").read_bytes())
    asset, run, _ = generate(path, tmp_path / "a", **SMALL)
    mesh, material = read_glb(asset.glb)
    assert asset.facts["vertices"] == len(mesh.positions)
    assert asset.facts["faces"] == len(mesh.faces)
    assert asset.facts["texture_size"] == 1024
    assert asset.thumbnail is not None
    with Image.open(asset.thumbnail) as small:
        assert max(small.size) == 256
        assert small.mode == "RGBA"
        assert small.getpixel((0, 0))[3] == 0
    assert material.name == "我的 鸭子"
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["asset.glb", "thumbnail.png"]
    assert list(run.timings) == [stage.name for stage in create().stages]


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    first, _, _ = generate(DATA / "mug.png", tmp_path / "a", **SMALL)
    second, _, _ = generate(DATA / "mug.png", tmp_path / "b", **SMALL)
    assert first.glb.read_bytes() == second.glb.read_bytes()
    assert first.thumbnail is not None
    assert second.thumbnail is not None
    assert first.thumbnail.read_bytes() == second.thumbnail.read_bytes()


def test_each_honoured_parameter_changes_the_result(tmp_path: Path) -> None:
    image = save_disc(tmp_path / "a.png", (40, 160, 90), (255, 0, 255), box=(0.05, 0.3, 0.35, 0.7))
    plain = generate(image, tmp_path / "plain", **SMALL)[0].glb.read_bytes()
    others = {
        "resolution": "1024", "texture_size": "2048", "decimation_target": 10000, "preprocess_image": False,
        "image": None,
    }  # fmt: skip
    assert {p.name for p in SETTINGS if p.honoured_by("draft")} == set(others) - {"image"}
    for name, value in others.items():
        if value is not None:
            asset = generate(image, tmp_path / name, **{**SMALL, name: value})[0]
            assert asset.glb.read_bytes() != plain, name
    changed = generate(image, tmp_path / "seed", **{**SMALL, "seed": 7})[0]
    assert changed.glb.read_bytes() == plain


def test_faces_keep_to_their_target(tmp_path: Path) -> None:
    for name in ("mushroom.webp", "rocket.png"):
        asset, _, _ = generate(DATA / name, tmp_path / name, **{**SMALL, "decimation_target": 10000})
        assert asset.facts["faces"] <= 10000
        assert asset.facts["cells"] < 256
        assert any("10,000" in notice for notice in asset.notices)
    random = np.random.default_rng(4)
    noise = np.full((256, 256, 4), 90, np.uint8)
    noise[..., 3] = np.asarray(
        Image.fromarray(random.integers(0, 255, (64, 64), np.uint8)).resize((256, 256), Image.Resampling.BICUBIC)
    )
    Image.fromarray(noise).save(tmp_path / "lace.png")
    asset, _, _ = generate(tmp_path / "lace.png", tmp_path / "lace", resolution="1536", decimation_target=10000)
    assert asset.facts["faces"] <= 10000


def test_a_prepared_image_keeps_its_place(tmp_path: Path) -> None:
    image = save_disc(tmp_path / "a.png", (40, 160, 90), (0, 0, 0), box=(0.1, 0.2, 0.5, 0.6))
    mesh, _, _ = made(image, tmp_path / "a", preprocess_image=False)
    assert np.allclose(mesh.positions.min(axis=0), (-0.4, -0.1, -0.2), atol=2e-3)
    assert np.allclose(mesh.positions.max(axis=0), (0.0, 0.3, 0.2), atol=2e-3)
    opaque = tmp_path / "opaque.png"
    Image.open(image).convert("RGB").save(opaque)
    with pytest.raises(EspalierError) as caught:
        generate(opaque, tmp_path / "b", preprocess_image=False)
    assert caught.value.code == "image_opaque"
    assert "Prepare Image" in caught.value.remedy
    made(opaque, tmp_path / "c")


def test_progress_is_honest(tmp_path: Path) -> None:
    _, _, seen = generate(DATA / "mug.png", tmp_path / "a")
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert 0.85 < fractions[-1] <= 1
    assert [stage.name for stage in create().stages] == list(dict.fromkeys(progress.stage for progress in seen))


@pytest.mark.once
@pytest.mark.parametrize("stage", [stage.name for stage in create().stages])
def test_cancel_at_every_stage(tmp_path: Path, stage: str) -> None:
    backend = create()
    wanted = threading.Event()

    def report(progress: Progress) -> None:
        if progress.stage == stage:
            wanted.set()

    run = Run(backend.stages, report, wanted.is_set)
    request = GenerationRequest.create(DATA / "duck.jpg", "draft", SMALL)
    with pytest.raises(Cancelled):
        backend.generate(request, tmp_path, run)
    assert not (tmp_path / "thumbnail.png").exists()
    if stage == "inflate":  # while the texture is painted aside: the worker's next job is not disturbed
        (tmp_path / "next").mkdir()
        backend.generate(request, tmp_path / "next", Run(backend.stages, lambda _: None))


@pytest.mark.once
def test_cancel_is_looked_for_often(tmp_path: Path) -> None:
    backend = create()
    gaps: list[float] = []
    last = [time.thread_time()]

    def cancelled() -> bool:
        now = time.thread_time()
        gaps.append(now - last[0])
        last[0] = now
        return False

    for name in ("duck.jpg", "mug.png"):
        folder = tmp_path / name
        folder.mkdir()
        last[0] = time.thread_time()
        backend.generate(GenerationRequest.create(DATA / name, "draft"), folder, Run(backend.stages, print, cancelled))
    # Processor time of this thread: what else the machine does is not the engine's.
    assert max(gaps) < 0.3


@pytest.mark.parametrize(
    ("name", "code"),
    [("clutter.jpg", "background_busy"), ("parameters.json", "image_unreadable"), ("no.png", "image_missing")],
)
def test_failures_leave_nothing_behind(tmp_path: Path, name: str, code: str) -> None:
    with pytest.raises(EspalierError) as caught:
        generate(DATA / name, tmp_path / "a")
    assert caught.value.code == code
    assert name in caught.value.cause
    assert list((tmp_path / "a").iterdir()) == []


def test_an_invisible_image_is_refused(tmp_path: Path) -> None:
    Image.new("RGBA", (64, 64), (9, 9, 9, 0)).save(tmp_path / "a.png")
    for k, prepare in enumerate((True, False)):
        with pytest.raises(EspalierError) as caught:
            generate(tmp_path / "a.png", tmp_path / str(k), preprocess_image=prepare)
        assert caught.value.code == "image_transparent"


def test_the_smallest_image_that_is_accepted(tmp_path: Path) -> None:
    image = Image.new("RGBA", (16, 16), (200, 10, 10, 0))
    ImageDraw.Draw(image).ellipse((2, 2, 13, 13), fill=(200, 10, 10, 255))
    image.save(tmp_path / "a.png")
    mesh, _, pixels = made(tmp_path / "a.png", tmp_path / "a")
    radius = np.linalg.norm(mesh.positions, axis=1)
    assert radius.min() > 0.44
    assert np.abs(pixels.astype(int) - (200, 10, 10)).max() <= 2
