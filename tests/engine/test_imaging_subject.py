# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding and framing the subject: by alpha, by rembg, by a plain backdrop, and refusing what cannot be told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from engine.errors import EspalierError
from engine.imaging import removal
from engine.imaging.bleed import bleed, extend, trust
from engine.imaging.framing import Frame, crop, on_black, picture_frame, subject_frame
from engine.imaging.subject import cut_out, has_outline
from tests.data import render, scenes

DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture(autouse=True)
def without_rembg(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain rule is tested, whatever the environment has."""
    monkeypatch.setattr(removal, "find_spec", lambda _: None)


def scene(back: tuple[int, int, int], front: tuple[int, int, int], size: int = 400) -> tuple[Image.Image, np.ndarray]:
    """A disc with an eye of the background's colour on a plain ground, and the disc's true coverage."""
    large = Image.new("RGB", (size * 4, size * 4), back)
    draw = ImageDraw.Draw(large)
    c, r = size * 2.2, size * 1.2
    draw.ellipse((c - r, c - r, c + r, c + r), fill=front)
    draw.ellipse((c - r / 4, c - r / 4, c + r / 4, c + r / 4), fill=back)
    mask = Image.new("L", large.size, 0)
    ImageDraw.Draw(mask).ellipse((c - r, c - r, c + r, c + r), fill=255)
    box = Image.Resampling.BOX
    return large.resize((size, size), box), np.asarray(mask.resize((size, size), box)) / 255.0


def code_of(image: Image.Image) -> str:
    with pytest.raises(EspalierError) as caught:
        cut_out(image.convert("RGBA"), "photo.jpg")
    return caught.value.code


@pytest.mark.parametrize(
    ("back", "front"),
    [((255, 255, 255), (30, 60, 160)), ((0, 0, 0), (220, 180, 40)), ((60, 160, 70), (200, 60, 50)),
     ((128, 128, 128), (150, 110, 128))],
)  # fmt: skip
def test_a_plain_backdrop_is_cut_to_a_fraction_of_a_pixel(
    back: tuple[int, int, int], front: tuple[int, int, int]
) -> None:
    image, truth = scene(back, front)
    cut = np.asarray(cut_out(image.convert("RGBA"), "x"))
    alpha = cut[..., 3] / 255.0
    assert np.abs(alpha - truth).mean() < 0.002
    assert abs(alpha.sum() - truth.sum()) / truth.sum() < 0.004
    edge = (alpha > 0.1) & (alpha < 0.9)
    assert edge.sum() > 300
    # The eye has the backdrop's colour and is enclosed: it stays.
    assert alpha[220, 220] == 1.0
    # No fringe: what is left of the edge has the subject's own colour.
    assert np.abs(cut[edge, :3].astype(int) - front).mean() < 12


def test_a_falling_light_noise_and_jpeg_do_not_matter(tmp_path: Path) -> None:
    image, truth = scene((200, 205, 210), (150, 60, 30))
    y, x = np.mgrid[:400, :400] / 400
    light = (1.1 - 0.35 * y - 0.15 * (x - 0.5) ** 2)[..., None]
    noisy = np.asarray(image) * light + np.random.default_rng(1).normal(0, 3, (400, 400, 3))
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(tmp_path / "a.jpg", quality=85)
    alpha = np.asarray(cut_out(Image.open(tmp_path / "a.jpg").convert("RGBA"), "x"))[..., 3] / 255.0
    assert ((alpha > 0.5) ^ (truth > 0.5)).sum() < 0.01 * truth.sum()


def test_a_soft_shadow_goes_with_the_backdrop() -> None:
    image, truth = scene((225, 225, 228), (180, 40, 40))
    shadow = Image.new("L", image.size, 255)
    ImageDraw.Draw(shadow).ellipse((90, 300, 370, 375), fill=140)
    shade = np.asarray(shadow.filter(ImageFilter.GaussianBlur(22))) / 255.0
    pixels = np.asarray(image) * np.where(truth[..., None] > 0, 1.0, shade[..., None])
    alpha = np.asarray(cut_out(Image.fromarray(pixels.astype(np.uint8)).convert("RGBA"), "x"))[..., 3] / 255.0
    assert ((alpha > 0.5) ^ (truth > 0.5)).sum() < 0.02 * truth.sum()


def test_a_subject_may_touch_the_border() -> None:
    image = Image.new("RGB", (300, 300), (240, 240, 240))
    ImageDraw.Draw(image).rectangle((100, 120, 200, 299), fill=(40, 90, 40))
    alpha = np.asarray(cut_out(image.convert("RGBA"), "x"))[..., 3]
    assert abs(int((alpha > 127).sum()) - 101 * 180) < 400


def test_the_duck_loses_its_backdrop_and_shadow() -> None:
    alpha = np.asarray(cut_out(Image.open(DATA / "duck.jpg").convert("RGBA"), "duck.jpg"))[..., 3] > 127
    # The truth, at an eighth of the size.
    truth = render.placed(scenes.duck(), 128)[..., 3] > 0.5
    small = np.asarray(Image.fromarray(alpha).resize((128, 128), Image.Resampling.BOX))
    assert (small & truth).sum() / (small | truth).sum() > 0.95


def test_what_cannot_be_told_is_refused() -> None:
    assert code_of(Image.open(DATA / "clutter.jpg")) == "background_busy"
    random = np.random.default_rng(0)
    assert code_of(Image.fromarray(random.integers(0, 255, (200, 200, 3), np.uint8))) == "background_busy"
    for color in ("white", "black", "teal"):
        assert code_of(Image.new("RGB", (200, 200), color)) == "image_no_subject"
    dust = Image.new("RGB", (200, 200), "white")
    dust.putpixel((100, 100), (0, 0, 0))
    assert code_of(dust) == "image_no_subject"
    assert code_of(Image.new("RGBA", (50, 50), (9, 9, 9, 0))) == "image_transparent"


def test_an_image_with_alpha_is_left_as_it_is() -> None:
    image = Image.new("RGBA", (60, 60), (9, 9, 9, 0))
    ImageDraw.Draw(image).ellipse((10, 10, 50, 50), fill=(1, 2, 3, 200))
    assert cut_out(image, "x") is image
    assert not has_outline(np.full((50, 50), 254, np.uint8))
    speck = np.full((50, 50), 255, np.uint8)
    speck[3, 3] = 0
    assert not has_outline(speck)


def test_progress_may_cancel() -> None:
    image, _ = scene((255, 255, 255), (30, 60, 160), 100)
    seen: list[float] = []
    cut_out(image.convert("RGBA"), "x", seen.append)
    assert seen == sorted(seen)
    assert len(seen) >= 5
    for stop in seen:

        def cancel(done: float, stop: float = stop) -> None:
            if done == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cut_out(image.convert("RGBA"), "x", cancel)


def test_the_frame_is_the_square_about_the_solid_part() -> None:
    alpha = np.zeros((100, 200), np.uint8)
    alpha[20:60, 50:150] = 255
    alpha[0:10, 0:10] = 200  # too faint to be framed, as TRELLIS has it
    frame = subject_frame(alpha)
    assert frame == Frame(100.0, 40.0, 100.0)
    assert frame.box == (50.0, -10.0, 150.0, 90.0)
    assert subject_frame((alpha > 250).astype(np.uint8) * 150) == frame
    assert subject_frame(np.full((9, 9), 100, np.uint8)) is None
    assert picture_frame((200, 100)) == Frame(100.0, 50.0, 200.0)


def test_cropping_reaches_beyond_the_image() -> None:
    image = Image.new("RGBA", (20, 10), (10, 20, 30, 255))
    part, frame = crop(image, Frame(10.0, 5.0, 20.0), margin=0.1)
    pixels = np.asarray(part)
    assert pixels[..., 3].sum() == 255 * 200
    left, top, right, bottom = frame.box
    assert pixels[round(top) + 5, round(left), 3] == 255
    assert pixels[round(top) + 4, round(left), 3] == 0
    assert (round(right - left), round(bottom - top)) == (20, 20)


def test_on_black_premultiplies() -> None:
    assert on_black(Image.new("RGBA", (2, 2), (200, 100, 50, 128))).getpixel((0, 0)) == (100, 50, 25)


def test_colors_reach_outward_and_fringes_do_not() -> None:
    pixels = np.zeros((64, 80, 4), np.uint8)
    pixels[..., :3] = (255, 0, 255)  # what an edge must not take on
    pixels[20:40, 20:40] = (10, 200, 30, 255)
    pixels[18:20, 20:40, 3] = 120
    result = bleed(pixels[..., :3].astype(np.float32), trust(pixels[..., 3]))
    assert np.abs(result - (10, 200, 30)).max() < 3
    # Where all is thin, its own colour is what there is.
    thin = np.zeros((64, 64, 4), np.uint8)
    thin[:, 30] = (90, 80, 70, 255)
    assert np.abs(bleed(thin[..., :3].astype(np.float32), trust(thin[..., 3])) - (90, 80, 70)).max() < 1


def test_colors_inside_stay_exactly() -> None:
    random = np.random.default_rng(2).integers(0, 255, (51, 37, 3)).astype(np.float32)
    weight = np.zeros((51, 37), np.float32)
    weight[10:30, 8:20] = 1
    result = extend(random, weight)
    assert np.array_equal(result[10:30, 8:20], random[10:30, 8:20])


def test_colors_along_an_edge_stay_where_they_are() -> None:
    """A red part beside a white one must not show up in the white one's gutter, however the pixels are grouped."""
    for shift in range(8):
        pixels = np.zeros((96, 96, 4), np.uint8)
        pixels[10:60, 30 + shift : 80] = (250, 250, 250, 255)
        pixels[60:90, 30 + shift : 80] = (200, 0, 0, 255)
        result = bleed(pixels[..., :3].astype(np.float32), trust(pixels[..., 3]))
        gutter = result[12:50, 30 + shift - 6 : 30 + shift]
        assert np.abs(gutter - 250).max() < 1


def test_a_thin_part_keeps_its_color_to_its_foot() -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[30:60, 10:50] = (250, 250, 250, 255)
    pixels[4:30, 30:32] = (10, 10, 10, 255)
    result = bleed(pixels[..., :3].astype(np.float32), trust(pixels[..., 3]))
    assert result[4:26, 30:32].max() < 20
