# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures under tests/data are what their script renders."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.data import render, scenes
from tests.engine.draft_checks import DATA, PICTURES

SIZE = 64


@pytest.mark.parametrize("name", ["ball.png", "mug.png"])
def test_the_script_still_renders_them(name: str) -> None:
    make, full = render.IMAGES[name]
    again = render.pixels(make(SIZE)).astype(float)
    with Image.open(DATA / name) as image:
        assert image.size == (full, full)
        kept = render.pixels(image.convert("RGBA").resize((SIZE, SIZE), Image.Resampling.BOX)).astype(float)
    assert np.abs(again[..., 3] - kept[..., 3]).mean() < 1.5
    solid = (kept[..., 3] > 250) & (again[..., 3] > 250)
    assert solid.mean() > 0.2
    assert np.abs(again - kept)[solid].mean() < 4


def test_the_ball_has_the_radius_that_it_is_measured_by() -> None:
    with Image.open(DATA / "ball.png") as image:
        alpha = np.asarray(image.convert("RGBA"))[..., 3] / 255.0
    expected = np.pi * (scenes.BALL_RADIUS * len(alpha) / 2) ** 2
    assert alpha.sum() == pytest.approx(expected, rel=5e-4)


def test_they_are_small() -> None:
    assert {*PICTURES, "clutter.jpg"} == set(render.IMAGES)
    assert sum((DATA / name).stat().st_size for name in render.IMAGES) < 1.5e6
