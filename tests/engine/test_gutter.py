# SPDX-License-Identifier: GPL-3.0-or-later
"""Between charts nothing shows that is not of a chart, down to mip level 3."""

from __future__ import annotations

import numpy as np

from engine.mesh.gutter import REACH, Gutter, push_pull
from tests.support.render import bilinear


def test_near_texels_repeat_the_nearest() -> None:
    covered = np.zeros((40, 60), dtype=bool)
    covered[10:30, 10:20] = True
    covered[10:30, 40:50] = True
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[10:30, 10:20], image[10:30, 40:50] = (200, 10, 20), (10, 200, 90)
    before = image.copy()
    Gutter(covered).fill(image)
    assert np.array_equal(image[covered], before[covered])
    assert (image[:, :30] == (200, 10, 20)).all()
    assert (image[:, 31:] == (10, 200, 90)).all()


def test_far_texels_run_smoothly() -> None:
    covered = np.zeros((256, 256), dtype=bool)
    covered[:, :16] = covered[:, -16:] = True
    image = np.zeros((256, 256), dtype=np.uint8)
    image[:, -16:] = 250
    Gutter(covered).fill(image)
    far = image[128, 16 + REACH + 16 : -16 - REACH - 16].astype(int)
    assert np.abs(np.diff(far)).max() < 12
    assert far[0] < 90
    assert far[-1] > 160


def test_push_pull_keeps_what_is_known_and_a_constant() -> None:
    random = np.random.default_rng(0)
    known = random.random((13, 7)) < 0.2
    known[3, 3] = True
    values = np.where(known[..., None], np.float32(0.7), np.float32(0)) * np.ones(2, np.float32)
    assert np.allclose(push_pull(values, known), 0.7)
    noise = random.random((13, 7, 1)).astype(np.float32)
    assert np.array_equal(push_pull(noise, known)[known], noise[known])


def test_all_and_nothing() -> None:
    for covered in (np.ones((5, 5), dtype=bool), np.zeros((5, 5), dtype=bool)):
        image = np.arange(25, dtype=np.uint8).reshape(5, 5)
        Gutter(covered).fill(image)
        assert np.array_equal(image, np.arange(25).reshape(5, 5))


def test_no_seam_at_mip_level_3() -> None:
    """One smooth field is cut in two charts that lie far apart; along the cut both must read the field at level 3."""
    size, half = 512, 120
    y, x = np.mgrid[:half, :half]

    def field(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return 128 + 60 * np.sin(u / 40) + 40 * np.cos(v / 30)

    image, covered = np.zeros((size, size, 1), dtype=np.float64), np.zeros((size, size), dtype=bool)
    left, right = (40, 43), (333, 301)  # not on multiples of 8
    image[left[0] + y, left[1] + x, 0] = field(x + 0.5, y + 0.5)
    image[right[0] + y, right[1] + x, 0] = field(x + 0.5 + half, y + 0.5)
    for top, start in (left, right):
        covered[top : top + half, start : start + half] = True
    filled = np.round(image).astype(np.uint8)
    empty = filled.copy()
    Gutter(covered).fill(filled)
    along = np.linspace(16, half - 16, 200)

    def seam(texture: np.ndarray) -> float:
        mip = texture.reshape(size // 8, 8, size // 8, 8, 1).mean(axis=(1, 3))
        one = bilinear(mip, np.stack([np.full(200, left[1] + half), left[0] + along], axis=1) / size)
        two = bilinear(mip, np.stack([np.full(200, right[1]), right[0] + along], axis=1) / size)
        true = field(np.full(200, half), along)
        return float(max(np.abs(one[:, 0] - true).max(), np.abs(two[:, 0] - true).max()))

    assert seam(filled.astype(float)) < 8  # of 255: the field itself changes by 12 within a texel of this level
    assert seam(empty.astype(float)) > 40
