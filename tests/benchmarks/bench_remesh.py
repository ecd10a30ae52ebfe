# SPDX-License-Identifier: GPL-3.0-or-later
"""Cleaning, remeshing and simplifying 1.31 million faces: time, memory and distance from the source.

Prints one JSON object. Times are of one run each; where a peer is named it ran in the same process just before.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import fast_simplification
import numpy as np

from engine.mesh.clean import clean
from engine.mesh.remesh import remesh
from engine.mesh.simplify import simplify
from tests.support.shapes import bumpy_sphere
from tests.support.surfaces import distances, edge_counts, extra_fans, samples

T = TypeVar("T")


def timed(act: Callable[[], T]) -> tuple[T, float, float]:
    """Return what `act` returns, and its seconds by the clock and of processor time."""
    clock, processor = time.perf_counter(), time.process_time()
    result = act()
    return result, time.perf_counter() - clock, time.process_time() - processor


def peak_gb() -> float:
    """Return the largest memory this process has held so far, in GB; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)


def main() -> None:
    positions, faces = bumpy_sphere(8)
    points = samples(positions, faces, 100_000)
    diagonal = float(np.linalg.norm(np.ptp(positions, axis=0)))
    voxel = float(np.ptp(positions, axis=0).max()) / 512
    table: dict[str, dict[str, object]] = {}

    def row(name: str, value: float, unit: str, bar: float | None = None, **more: object) -> None:
        table[name] = {"value": round(value, 4), "unit": unit, "bar": bar, "ok": bar is None or value <= bar, **more}
        print(f"{name}: {value:.4f} {unit}", file=sys.stderr)

    remeshed, clock, processor = timed(lambda: remesh(positions, faces, 512))
    row("remesh_512", clock, "s", 20, processor_s=round(processor, 2), faces=len(remeshed[1]))
    row("remesh_512_memory", peak_gb(), "GB", 3)
    row("remesh_512_p99", float(np.percentile(distances(points, remeshed), 99)) / voxel, "voxels", 0.5)
    open_edges = np.count_nonzero(edge_counts(remeshed[1]) != 2) + extra_fans(remeshed[1])
    row("remesh_512_not_manifold", float(open_edges), "edges and vertices", 0)

    _, clock, processor = timed(lambda: clean(positions, faces))
    row("clean", clock, "s", None, processor_s=round(processor, 2))

    plain, peer, _ = timed(lambda: fast_simplification.simplify(positions, faces, target_count=200_000, agg=7))
    ours, clock, processor = timed(lambda: simplify(positions, faces, 200_000))
    row(
        "simplify_200k",
        clock,
        "s",
        None,
        peer="fast-simplification",
        ratio=round(clock / peer, 2),
        peer_s=round(peer, 2),
    )
    for name, shape in (("simplify_200k_p99", ours), ("peer_200k_p99", plain)):
        row(name, float(np.percentile(distances(points, shape), 99)) / diagonal * 100, "% of diagonal")
    row("simplify_200k_off_target", abs(len(ours[1]) / 200_000 - 1), "share", 0.02)
    few, clock, _ = timed(lambda: simplify(positions, faces, 10_000))
    row("simplify_10k", clock, "s")
    row("simplify_10k_p99", float(np.percentile(distances(points, few), 99)) / diagonal * 100, "% of diagonal")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
