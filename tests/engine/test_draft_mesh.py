# SPDX-License-Identifier: GPL-3.0-or-later
"""The draft engine's surface: a sphere is a sphere, the outline is the image's, and the mesh is whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import cKDTree

from engine.backends.draft.outline import MARGIN, trace, working_alpha
from engine.backends.draft.poisson import solve
from engine.backends.draft.surface import close, inflate
from engine.imaging.framing import Frame, picture_frame, subject_frame
from engine.imaging.subject import cut_out
from engine.mesh.glb import read_glb
from tests.engine.draft_checks import DATA, PICTURES, Array, faults, generate, overlap, silhouette, welded


def cutout(draw: object, size: int = 256) -> Image.Image:
    """An image of what `draw` draws, anti-aliased, in a plain color."""
    mask = Image.new("L", (size * 4, size * 4), 0)
    draw(ImageDraw.Draw(mask), size * 4)  # type: ignore[operator]
    image = Image.new("RGBA", (size, size), (180, 90, 40, 255))
    image.putalpha(mask.resize((size, size), Image.Resampling.BOX))
    return image


def surface(image: Image.Image, cells: int) -> tuple[Array, Array]:
    """Inflate `image`, which fills its frame, on a grid of `cells`; return positions and faces in frame units."""
    field, _ = working_alpha(image, picture_frame(image.size), cells)
    positions, faces, _ = close(inflate(trace(field), cells, lambda: None))
    return positions, faces


def test_a_sphere_comes_out_a_sphere(tmp_path: Path) -> None:
    asset, _, _ = generate(DATA / "ball.png", tmp_path / "ball")
    mesh, _ = read_glb(asset.glb)
    corner = mesh.positions[mesh.faces].astype(np.float64)
    area = 0.5 * np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    random = np.random.default_rng(0)
    pick = random.choice(len(corner), 200_000, p=area / area.sum())
    weights = random.dirichlet((1, 1, 1), len(pick))
    samples = np.einsum("ij,ijk->ik", weights, corner[pick])
    to_sphere = np.abs(np.linalg.norm(samples, axis=1) - 0.5)
    truth = random.normal(size=(20_000, 3))
    truth *= 0.5 / np.linalg.norm(truth, axis=1, keepdims=True)
    to_mesh = cKDTree(samples).query(truth)[0]
    # Both ways together below a thousandth of the diameter, of which the distance between samples is the larger part.
    assert to_sphere.mean() < 3e-4
    assert to_sphere.max() < 2e-3
    assert to_sphere.mean() + to_mesh.mean() < 2.2e-3
    normal_error = np.degrees(
        np.arccos(
            np.clip(np.einsum("ij,ij->i", mesh.normals, mesh.positions) / np.linalg.norm(mesh.positions, axis=1), -1, 1)
        )
    )
    assert normal_error.mean() < 1.5
    assert normal_error[mesh.positions[:, 2] == 0].max() < 6.0
    assert normal_error[np.abs(mesh.positions[:, 2]) > 0.05].max() < 2.0


def test_the_discrete_solution_is_the_paraboloid() -> None:
    image = cutout(lambda d, n: d.ellipse((0, 0, n - 1, n - 1), fill=255), 400)
    outline = trace(working_alpha(image, picture_frame(image.size), 200)[0])
    row, column = np.mgrid[: outline.inside.shape[0], : outline.inside.shape[1]] - (MARGIN + 100.0)
    expected = np.maximum(100.0**2 - row**2 - column**2, 0)
    error = np.abs(solve(outline, lambda: None) - expected)[outline.inside]
    assert error.max() < 0.006 * 100**2
    assert error.mean() < 0.001 * 100**2


def test_a_rod_is_as_deep_as_it_is_wide() -> None:
    image = cutout(lambda d, n: d.rectangle((0, n * 0.4, n, n * 0.6), fill=255))
    positions, _ = surface(image, 128)
    middle = positions[np.abs(positions[:, 0]) < 0.1]
    assert middle[:, 2].max() == pytest.approx(0.1, rel=0.04)
    assert middle[:, 1].max() == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize("name", PICTURES)
def test_the_front_view_is_the_image(tmp_path: Path, name: str) -> None:
    asset, _, _ = generate(DATA / name, tmp_path / "a")
    mesh, _ = read_glb(asset.glb)
    alpha = np.asarray(cut_out(Image.open(DATA / name).convert("RGBA"), name))[..., 3]
    assert overlap(mesh.positions, mesh.faces, alpha > 127) > 0.985
    assert faults(mesh.positions, mesh.faces) == []
    assert np.abs(mesh.positions).max() <= 0.5
    size = mesh.positions.max(axis=0) - mesh.positions.min(axis=0)
    assert size.max() == pytest.approx(1.0, abs=1e-6)
    assert size[2] == pytest.approx(2 * mesh.positions[:, 2].max(), rel=1e-6)
    _, faces = welded(mesh.positions, mesh.faces)
    corner = mesh.positions[mesh.faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    assert area.min() > 1e-12
    assert len(faces) == len(mesh.faces)


def test_the_outline_has_no_steps() -> None:
    """The rim of a disc lies on its circle, and its direction turns steadily."""
    image = cutout(lambda d, n: d.ellipse((0, 0, n - 1, n - 1), fill=255), 512)
    field, _ = working_alpha(image, picture_frame(image.size), 256)
    front = inflate(trace(field), 256, lambda: None)
    rim = front.positions[: front.contour].astype(np.float64)
    assert np.abs(np.hypot(rim[:, 0], rim[:, 1]) - 0.5).max() < 0.1 / 256
    hard = cutout(lambda d, n: d.ellipse((0, 0, n - 1, n - 1), fill=255), 128)
    hard.putalpha(hard.getchannel("A").point(lambda v: 255 * (v > 127)))  # no anti-aliasing at all
    front = inflate(trace(working_alpha(hard, picture_frame(hard.size), 256)[0]), 256, lambda: None)
    rim = front.positions[: front.contour].astype(np.float64)
    assert np.abs(np.hypot(rim[:, 0], rim[:, 1]) - 0.5).max() < 0.6 / 128  # pixels are 1/128 wide
    order = np.argsort(np.arctan2(rim[:, 1], rim[:, 0]))
    way = np.diff(rim[order], axis=0, append=rim[order][:1])
    tangent = np.arctan2(way[:, 1], way[:, 0])
    ahead = np.arctan2(rim[order][:, 1], rim[order][:, 0]) + np.pi / 2
    long = np.linalg.norm(way, axis=1) > 0.3 / 256
    bend = np.abs((tangent - ahead + np.pi) % (2 * np.pi) - np.pi)[long]
    assert np.degrees(np.percentile(bend, 95)) < 20  # a staircase would turn by up to 45 degrees


def test_holes_and_parts_are_kept() -> None:
    def draw(d: ImageDraw.ImageDraw, n: int) -> None:
        d.ellipse((0, 0, n * 0.6, n * 0.6), fill=255)
        d.ellipse((n * 0.15, n * 0.15, n * 0.45, n * 0.45), fill=0)
        d.ellipse((n * 0.7, n * 0.7, n - 1, n - 1), fill=255)

    positions, faces = surface(cutout(draw), 128)
    assert faults(positions, faces) == []
    _, joined = welded(positions, faces)
    edges = 3 * len(joined) // 2
    # A torus has an Euler characteristic of 0, a ball one of 2.
    assert len(np.unique(joined)) - edges + len(joined) == 2
    seen = silhouette(positions, faces, 256, (-0.5, -0.5, 0.5, 0.5))
    assert not seen[70, 70]
    assert seen[70, 20]
    assert seen[215, 215]


def test_thin_parts_are_kept() -> None:
    """Lines of one pixel on a grid coarser than the pixels: none is lost, and none is torn."""
    image = Image.new("RGBA", (512, 512), (200, 200, 60, 255))
    mask = Image.new("L", (512, 512), 0)
    draw = ImageDraw.Draw(mask)
    draw.ellipse((156, 156, 356, 356), fill=255)
    for end in ((0, 0), (511, 40), (511, 511), (100, 511), (0, 301), (255, 0)):
        draw.line((256, 256, *end), fill=255, width=1)
    image.putalpha(mask)
    positions, faces = surface(image, 128)
    assert faults(positions, faces) == []
    seen = silhouette(positions, faces, 512, (-0.5, -0.5, 0.5, 0.5))
    near = ndimage.binary_dilation(seen, iterations=3)
    assert (np.asarray(mask) > 127)[~near].sum() <= 6
    assert ndimage.label(near)[1] == 1
    # A cell is four pixels wide; but where a line meets the disc, nothing grows by more than that.
    truth = ndimage.binary_dilation(np.asarray(mask) > 127, iterations=5)
    assert (seen & ~truth).sum() < 150


def test_specks_are_left_out_and_counted() -> None:
    image = cutout(lambda d, n: d.ellipse((n * 0.2, n * 0.2, n * 0.8, n * 0.8), fill=255), 512)
    alpha = np.asarray(image.getchannel("A")).copy()
    alpha[4, 4] = alpha[4, 500] = 255
    image.putalpha(Image.fromarray(alpha))
    _, specks = working_alpha(image, picture_frame(image.size), 128)
    assert specks == 2


def test_corners_that_touch_do_not_tie_surfaces_together() -> None:
    def draw(d: ImageDraw.ImageDraw, n: int) -> None:
        for k in range(8):
            for j in range(8):
                if (j + k) % 2:
                    d.rectangle((j * n // 8, k * n // 8, (j + 1) * n // 8 - 1, (k + 1) * n // 8 - 1), fill=255)

    for cells in (32, 48, 128):
        positions, faces = surface(cutout(draw), cells)
        assert faults(positions, faces) == []


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([5, 9, 17, 33]), st.floats(0.2, 0.8), st.booleans())
def test_any_outline_gives_a_whole_mesh(seed: int, blocks: int, share: float, soft: bool) -> None:
    random = np.random.default_rng(seed)
    alpha = (random.random((blocks, blocks)) < share) * 255.0
    if soft:
        alpha = random.random((blocks, blocks)) * 255.0
    picture = Image.fromarray(alpha.astype(np.uint8)).resize((99, 99), Image.Resampling.BICUBIC if soft else 0)
    image = Image.new("RGBA", picture.size, (9, 9, 9, 255))
    image.putalpha(picture)
    field, _ = working_alpha(image, picture_frame(image.size), 48)
    outline = trace(field)
    if not outline.inside.any():
        return
    positions, faces, normals = close(inflate(outline, 48, lambda: None))
    assert faults(positions, faces) == []
    assert np.abs(np.linalg.norm(normals, axis=1) - 1).max() < 1e-5
    assert np.abs(positions[:, 2]).max() <= 0.5


def test_what_fills_the_whole_grid_is_closed_all_the_same() -> None:
    image = Image.new("RGBA", (300, 300), (9, 9, 9, 255))
    frame = Frame(150.0, 150.0, 100.0)  # the picture goes on far beyond its frame
    positions, faces, _ = close(inflate(trace(working_alpha(image, frame, 64)[0]), 64, lambda: None))
    assert faults(positions, faces) == []


def test_front_and_back_share_the_rim() -> None:
    image = Image.open(DATA / "mug.png").convert("RGBA")
    frame = subject_frame(np.asarray(image)[..., 3])
    assert frame is not None
    front = inflate(trace(working_alpha(image, frame, 128)[0]), 128, lambda: None)
    positions, _, normals = close(front)
    back = len(front.positions)
    rim = slice(0, front.contour)
    assert (positions[rim, 2] == 0).all()
    assert (front.positions[front.contour :, 2] > 0).all()
    assert np.array_equal(positions[:back][rim], positions[back:][rim])
    assert np.array_equal(normals[:back][rim], normals[back:][rim])
    assert (normals[rim, 2] == 0).all()
    # They point away from the inside: the way along which alpha falls.
    assert (normals[:back][:, 2][front.contour :] > -0.2).all()
