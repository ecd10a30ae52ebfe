# SPDX-License-Identifier: GPL-3.0-or-later
"""A sparse volume gives back linear fields exactly, and never anything of voxels that are not there."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import EspalierError
from engine.mesh.color import to_linear, to_srgb
from engine.mesh.volume import SparseVolume

ORIGIN, SIZE = np.array([-0.5, -0.25, 1.0]), 0.01


def linear_field(points: np.ndarray) -> np.ndarray:
    """Return six channels (N, 6) in linear light that grow evenly through space."""
    x, y, z = points.T
    return np.stack([0.3 + x / 9, 0.4 + y / 7, z / 5, 0.5 - x / 6, 0.5 + y / 3, 0.2 + z / 8], axis=1)


def dense_block() -> tuple[np.ndarray, np.ndarray]:
    coords = np.stack(np.meshgrid(*[np.arange(20)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) + 3
    values = linear_field(ORIGIN + (coords + 0.5) * SIZE)
    values[:, :3] = to_srgb(values[:, :3])
    return coords, values


def test_a_linear_field_is_exact() -> None:
    volume = SparseVolume(*dense_block(), ORIGIN, SIZE)
    points = ORIGIN + np.random.default_rng(0).uniform(3.5, 22.5, (500, 3)) * SIZE
    assert np.abs(volume.sample(points) - linear_field(points)).max() < 1e-5


def test_weights_add_up_over_what_is_there() -> None:
    attributes = np.array([[0.2] * 6, [0.8] * 6])
    volume = SparseVolume(np.array([[5, 5, 5], [6, 5, 5]]), attributes, np.zeros(3), 1.0)
    got = volume.sample(np.array([[5.75, 5.9, 5.1], [5.5, 5.5, 5.5], [6.9, 5.5, 5.5]]))
    assert np.allclose(got[:, 3:], [[0.35] * 3, [0.2] * 3, [0.8] * 3], atol=1e-6)
    color = 0.75 * to_linear(0.2) + 0.25 * to_linear(0.8)  # averaged in linear light, not as sRGB
    assert np.allclose(got[0, :3], color, atol=1e-6)


def test_far_points_take_the_nearest_voxel() -> None:
    attributes = np.array([[0.2] * 6, [0.8] * 6])
    volume = SparseVolume(np.array([[0, 0, 0], [90, 0, 0]]), attributes, np.zeros(3), 1.0)
    got = volume.sample(np.array([[30.0, 0, 0], [60.0, 0, 0], [1e6, 5, 5], [-1e6, 0, 0]]))
    assert np.allclose(got[:, 4], [0.2, 0.8, 0.8, 0.2])


def test_bytes_are_the_same_as_fractions() -> None:
    coords, values = dense_block()
    as_bytes = np.round(values * 255).astype(np.uint8)
    points = ORIGIN + np.random.default_rng(1).uniform(3, 23, (100, 3)) * SIZE
    left = SparseVolume(coords, as_bytes, ORIGIN, SIZE).sample(points)
    right = SparseVolume(coords.astype(np.int32), as_bytes / 255.0, ORIGIN, SIZE).sample(points)
    assert np.abs(left - right).max() < 1e-6


@pytest.mark.parametrize(
    ("coords", "attributes", "size"),
    [
        (np.zeros((0, 3), int), np.zeros((0, 6)), 1.0),
        (np.zeros((4, 3), int), np.zeros((3, 6)), 1.0),
        (np.zeros((4, 2), int), np.zeros((4, 6)), 1.0),
        (np.zeros((4, 3), int), np.zeros((4, 6)), 0.0),
        (np.zeros((4, 3), int), np.zeros((4, 6)), np.nan),
        (np.array([[0, 0, 0], [10**6, 0, 0]]), np.zeros((2, 6)), 1.0),
    ],
)
def test_what_does_not_fit_is_said(coords: np.ndarray, attributes: np.ndarray, size: float) -> None:
    with pytest.raises(EspalierError) as caught:
        SparseVolume(coords, attributes, np.zeros(3), size)
    assert caught.value.code == "mesh_invalid"
