# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast and how good unwrapping is, beside xatlas: `python -m tests.benchmarks.bench_unwrap` in the root.

With `--peer-on-noise`, xatlas also counts its charts on the noisy meshes, which takes it many minutes; without, the
counts stand in XATLAS_CHARTS, measured so. Needs xatlas.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import fast_simplification
import igl
import numpy as np
import xatlas

from engine.mesh.unwrap import unwrap
from tests.support.atlas import Atlas, inspect
from tests.support.bumpy import bumpy_geodesic, noisy_field

SIZE, GUTTER = 2048, 2
NOISY = {"noisy": (0.9, 1500), "rough": (0.5, 0)}
"""Noise in voxels, and the number of floating specks, on a grid of 400."""
XATLAS_CHARTS = {"noisy": 12_743, "rough": 4_806}
"""By xatlas 0.0.11: noisy with 100,000 faces (200,000 give more, in 20 minutes and more), rough with 200,000."""

Mesh = tuple[np.ndarray, np.ndarray]


def simplified(positions: np.ndarray, faces: np.ndarray, count: int) -> Mesh:
    points, triangles = fast_simplification.simplify(
        positions.astype(np.float32), faces.astype(np.int32), target_count=count
    )
    return points.astype(np.float64), triangles.astype(np.int32)


def noisy(name: str) -> Mesh:
    """Return 200,000 faces of a noisy marching-cubes surface of more than a million."""
    side = 400
    field = noisy_field(side, *NOISY[name]).astype(np.float64)
    places = np.empty((side, side, side, 3))
    for axis in range(3):
        places[..., axis] = (np.arange(side) / side - 0.5).reshape([-1 if k == axis else 1 for k in range(3)])
    points, triangles, _ = igl.marching_cubes(field.ravel(), places.reshape(-1, 3), side, side, side, 0.0)
    del places
    corners = points[triangles]
    outward = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) > 0
    return simplified(points, triangles if outward else triangles[:, ::-1], 200_000)


def measured(mesh: Mesh) -> tuple[float, float, Atlas]:
    """Return the seconds on the clock, those of all processors, and what came out."""
    positions, faces = mesh
    clock, processor = time.perf_counter(), time.process_time()
    result = unwrap(positions, faces, texture_size=SIZE, gutter=GUTTER)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return clock, processor, inspect(positions, result.vertex_map, result.faces, result.uvs, SIZE, GUTTER)


def peer(mesh: Mesh) -> tuple[float, float, int]:
    """Return the seconds on the clock, those of all processors, and the number of charts of xatlas."""
    positions, faces = mesh
    clock, processor = time.perf_counter(), time.process_time()
    _, indices, uvs = xatlas.parametrize(positions.astype(np.float32), faces.astype(np.uint32))
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return clock, processor, int(inspect(positions, _, indices.astype(np.int64), uvs, 64, 0).charts)


def entry(
    value: float, unit: str, bar: float, *, at_most: bool = True, peer_value: float | None = None
) -> dict[str, Any]:
    ratio = None if peer_value is None else round(peer_value / value, 2)
    good = value <= bar if at_most else value >= bar
    return {
        "value": round(value, 3), "unit": unit, "peer": None if peer_value is None else round(peer_value, 2),
        "ratio": ratio, "bar": bar, "ok": bool(good),
    }  # fmt: skip


def quality(name: str, atlas: Atlas, use: float) -> dict[str, Any]:
    print(name, atlas.json(), flush=True)
    return {
        f"unwrap_{name}_faults": entry(atlas.flipped + atlas.doubled + atlas.crowded, "flips and texels", 0),
        f"unwrap_{name}_use": entry(100.0 * atlas.use, "%", 100.0 * use, at_most=False),
        f"unwrap_{name}_stretch": entry(atlas.stretch, "L2", 1.25),
        f"unwrap_{name}_thin": entry(atlas.thin, "charts", 0),
    }


def main() -> None:
    report: dict[str, Any] = {}
    times = {}
    for count in (100_000, 200_000, 1_000_000):
        mesh = bumpy_geodesic(count)
        best = min((measured(mesh) for _ in range(2 if count < 1_000_000 else 1)), key=lambda one: one[0])
        times[count] = best[0]
        print(f"bumpy {len(mesh[1]):,} faces: {best[0]:.2f} s, processor {best[1]:.2f} s", flush=True)
        report |= quality(f"bumpy_{count // 1000}k", best[2], 0.6)
        if count == 100_000:
            seconds, processor, charts = peer(mesh)
            print(f"xatlas: {seconds:.1f} s, processor {processor:.1f} s, {charts} charts", flush=True)
            ratio = min(seconds / best[0], processor / best[1])  # other programs delay xatlas's threads more than ours
            report["unwrap_ratio"] = entry(ratio, "times faster than xatlas", 25.0, at_most=False)
            report["unwrap_ratio"] |= {"peer": round(seconds, 2), "ratio": round(ratio, 1)}
    report["unwrap_200k"] = entry(times[200_000], "s", 8.0)
    growth = times[1_000_000] / times[100_000] / (10.0 * np.log(1e6) / np.log(1e5))
    report["unwrap_growth"] = entry(float(growth), "times n log n, 100 k to 1 M", 1.25)
    for name in NOISY:
        mesh = noisy(name)
        seconds, processor, atlas = measured(mesh)
        print(f"{name}: {seconds:.2f} s, processor {processor:.2f} s", flush=True)
        report |= quality(name, atlas, 0.5)
        report[f"unwrap_{name}_200k"] = entry(seconds, "s", 20.0)
        theirs = peer(mesh)[2] if "--peer-on-noise" in sys.argv else XATLAS_CHARTS[name]
        report[f"unwrap_{name}_charts"] = entry(atlas.charts, "charts", theirs, peer_value=theirs)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
