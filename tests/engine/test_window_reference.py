# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of the window's pictures, on the references themselves: what it passes and what it must not pass."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.window.compare import BLOCK, beside, difference, save

pytestmark = pytest.mark.once

WINDOW = Path(__file__).resolve().parents[1] / "window"
REFERENCE = WINDOW / "reference"
PANEL = "generate-2-image.png"
ROW = 23
"""Pixels from one row of the panel to the next."""
SETTINGS = (0, 290, 250, 382)
"""Where, in the picture PANEL, engine, resolution, seed and texture size stand, a row each."""
LABEL = 110
"""Width of the labels there."""
HEADERS = (30, 450, 200, 684)
"""Where the headers of the sub-panels stand, 26 pixels each."""
MOST_BYTES = 1_500_000
KEPT = sorted(path.name for path in REFERENCE.glob("*.png") if not path.name.startswith("readme-"))
TAKEN = re.compile(r'still\.(?:panel|compare)\(\s*"([^"]+)"')


def picture(name: str = PANEL) -> Image.Image:
    with Image.open(REFERENCE / name) as image:
        return image.convert("RGB")


def pasted(box: tuple[int, int, int, int], to: tuple[int, int]) -> Image.Image:
    """Return PANEL with one part of it also at another place."""
    image = picture()
    image.paste(image.crop(box), to)
    return image


def noisy(image: Image.Image, levels: int) -> Image.Image:
    """Return a picture as another renderer draws it: edges smoothed in another way, all colors a little off."""
    values = np.asarray(image, np.int16)
    edges = np.abs(np.diff(values.sum(axis=2), axis=1, prepend=0)) > 30
    noise = np.random.default_rng(7).integers(-levels, levels + 1, values.shape)
    noise[edges] *= 3
    return Image.fromarray(np.clip(values + noise, 0, 255).astype(np.uint8))


def test_the_same_state_passes() -> None:
    assert difference(picture(), picture()) == ""


@pytest.mark.parametrize("name", KEPT)
def test_the_noise_of_another_renderer_passes(name: str) -> None:
    assert difference(noisy(picture(name), 6), picture(name)) == ""


@pytest.mark.parametrize("row", range(4))
def test_a_missing_row_fails(row: int) -> None:
    top = SETTINGS[1] + row * ROW
    image = picture()
    image.paste(image.crop((0, top + ROW, image.width, image.height)), (0, top))
    assert difference(image, picture()) != ""


@pytest.mark.parametrize("row", range(4))
def test_a_changed_label_fails(row: int) -> None:
    other = (row + 1) % 4
    top = SETTINGS[1] + other * ROW
    image = pasted((0, top, LABEL, top + ROW), (0, SETTINGS[1] + row * ROW))
    assert difference(image, picture()) != ""


def test_a_changed_header_fails() -> None:
    left, top, right, _ = HEADERS
    assert difference(pasted((left, top, right, top + 26), (left, top + 26)), picture()) != ""


def test_one_changed_letter_fails() -> None:
    """The 2 of 42, the seed, becomes the 0 of 2048."""
    image = picture()
    seed, texture = 338, 361
    before = image.crop((170, seed, 178, seed + 20))
    digit = image.crop((131, texture, 139, texture + 20))
    assert digit.tobytes() != before.tobytes()
    image.paste(digit, (170, seed))
    assert difference(image, picture()) != ""


def test_another_size_fails_and_is_told() -> None:
    image = picture()
    smaller = image.crop((0, 0, image.width, image.height - ROW))
    assert str(image.height - ROW) in difference(smaller, image)
    assert beside(smaller, image).height == image.height


def test_where_it_differs_is_told_and_marked() -> None:
    left, top, right, _ = HEADERS
    image = pasted((left, top, right, top + 26), (left, top + 26))
    words = difference(image, picture())
    x, y, end, bottom = (int(number) for number in re.findall(r"\d+", words)[1:])
    assert left <= x + BLOCK < end <= right + BLOCK
    assert top + 26 <= y + BLOCK < bottom <= top + 52 + BLOCK
    marked = np.asarray(beside(image, picture()))[:, -image.width - BLOCK : -BLOCK]
    red = (marked == (255, 60, 60)).all(axis=2)
    assert red[y:bottom, x:end].any()
    red[y:bottom, x:end] = False
    assert not red.any()


def test_a_reference_is_as_good_as_the_picture_it_was_made_from(tmp_path: Path) -> None:
    original = noisy(picture(), 3)
    save(original, tmp_path / "saved.png")
    with Image.open(tmp_path / "saved.png") as saved:
        assert difference(original, saved) == ""


def test_each_state_that_is_compared_has_its_reference_and_no_other_is_kept() -> None:
    wanted = {
        f"{path.stem.partition('_')[2]}-{name}.png"
        for path in WINDOW.glob("scenario_*.py")
        for name in TAKEN.findall(path.read_text("utf-8"))
    }
    assert wanted == set(KEPT)


def test_the_references_say_what_they_were_made_with_and_are_small() -> None:
    made_with = json.loads((REFERENCE / "made_with.json").read_text("utf-8"))
    assert made_with == {"blender": "4.3.2", "window": [1600, 900]}
    assert sum(path.stat().st_size for path in REFERENCE.iterdir()) < MOST_BYTES
