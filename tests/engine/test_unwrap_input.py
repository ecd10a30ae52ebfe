# SPDX-License-Identifier: GPL-3.0-or-later
"""Unwrapping bad meshes gives a result or a clear error, in bounded time; a cancelled job ends at once."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import EspalierError
from engine.mesh.unwrap import unwrap
from engine.progress import Cancelled, Progress, Run, Stage
from tests.support.atlas import inspect
from tests.support.bumpy import bumpy_icosphere, rough_sphere

TRIANGLE = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0)], dtype=float)


def code_of(positions: object, faces: object, size: int = 256) -> str:
    with pytest.raises(EspalierError) as caught:
        unwrap(np.array(positions, dtype=float).reshape(-1, 3), np.array(faces, dtype=np.int32), texture_size=size)
    return caught.value.code


def test_errors_are_clear() -> None:
    assert code_of([], []) == "mesh_empty"
    assert code_of([(0, 0, 0), (1, 0, 0), (2, 0, 0)], [(0, 1, 2)]) == "mesh_empty"
    assert code_of([(0, 0, np.nan), (1, 0, 0), (0, 1, 0)], [(0, 1, 2)]) == "mesh_not_finite"
    assert code_of([(0, 0, np.inf), (1, 0, 0), (0, 1, 0)], [(0, 1, 2)]) == "mesh_not_finite"
    assert code_of(TRIANGLE, [(0, 1, 3)]) == "mesh_invalid"
    assert code_of(TRIANGLE, [(0, 1, -1)]) == "mesh_invalid"


def test_a_nan_that_no_face_uses_does_no_harm() -> None:
    result = unwrap(np.concatenate((TRIANGLE, [(np.nan,) * 3])), np.array([(0, 1, 2)]))
    assert np.isfinite(result.uvs).all()


@pytest.mark.parametrize(
    "faces",
    [
        [(0, 1, 2)],
        [(0, 1, 2), (0, 2, 1)],
        [(0, 1, 2), (0, 1, 2)],
        [(0, 1, 2), (1, 1, 2), (1, 4, 2), (1, 3, 2)],
        [(0, 1, 2), (1, 0, 3), (0, 1, 4)],
    ],
    ids=["single", "pillow", "twice", "void", "three on an edge"],
)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_small_oddities(faces: list[tuple[int, int, int]], scale: float) -> None:
    positions = np.concatenate((TRIANGLE, [(0.5, 0.5, 0), (0.5, 0, 1)])) * scale
    triangles = np.array(faces)
    result = unwrap(positions, triangles, texture_size=128)
    assert np.array_equal(result.vertex_map[result.faces], triangles)
    atlas = inspect(positions / scale, result.vertex_map, result.faces, result.uvs, 128, 2)
    assert (atlas.flipped, atlas.doubled, atlas.crowded) == (0, 0, 0)


def test_faces_without_area_share_a_point_of_a_neighbour() -> None:
    result = unwrap(np.concatenate((TRIANGLE, [(0.5, 0.5, 0)])), np.array([(0, 1, 2), (1, 3, 2), (1, 1, 2)]))
    assert list(result.charts) == [0, -1, -1]
    assert all(len(np.unique(result.uvs[face], axis=0)) == 1 for face in result.faces[1:])


@pytest.mark.once
def test_a_million_parts_are_an_error_soon() -> None:
    rng = np.random.default_rng(0)
    positions = (rng.random((1_000_000, 1, 3)) + rng.random((1_000_000, 3, 3)) * 0.002).reshape(-1, 3)
    began = time.perf_counter()
    assert code_of(positions, np.arange(3_000_000).reshape(-1, 3), size=2048) == "unwrap_parts"
    assert time.perf_counter() - began < 60.0


def test_many_parts_are_packed() -> None:
    rng = np.random.default_rng(0)
    positions = (rng.random((20_000, 1, 3)) + rng.random((20_000, 3, 3)) * 0.02).reshape(-1, 3)
    result = unwrap(positions, np.arange(60_000).reshape(-1, 3))
    atlas = inspect(positions, result.vertex_map, result.faces, result.uvs, 2048, 2)
    assert (atlas.charts, atlas.flipped, atlas.doubled, atlas.crowded) == (20_000, 0, 0, 0)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(4, 40), st.integers(1, 150), st.integers(0, 2**32 - 1))
def test_any_faces_at_all(vertices: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    positions, faces = rng.random((vertices, 3)), rng.integers(0, vertices, (count, 3))
    if all(len(set(face)) < 3 for face in faces.tolist()):
        assert code_of(positions, faces) == "mesh_empty"
        return
    result = unwrap(positions, faces, texture_size=512)
    assert np.array_equal(result.vertex_map[result.faces], faces)
    atlas = inspect(positions, result.vertex_map, result.faces, result.uvs, 512, 2)
    assert (atlas.flipped, atlas.doubled, atlas.crowded) == (0, 0, 0)


def test_progress_rises_and_ends_below_one() -> None:
    seen: list[Progress] = []
    run = Run((Stage("unwrap", "Unwrapping", 1.0),), seen.append)
    with run.stage("unwrap"):
        unwrap(*bumpy_icosphere(5), run=run)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert len(set(fractions)) > 2


@pytest.mark.once
@pytest.mark.parametrize("after", [0.0, 0.5, 1.5])
def test_cancel_is_prompt(after: float) -> None:
    mesh = rough_sphere(7, 0.3)
    began = time.perf_counter()
    run = Run((Stage("unwrap", "", 1.0),), lambda _: None, lambda: time.perf_counter() - began > after)
    with pytest.raises(Cancelled), run.stage("unwrap"):
        unwrap(*mesh, run=run)
    assert time.perf_counter() - began < after + 2.0
