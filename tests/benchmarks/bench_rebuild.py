# SPDX-License-Identifier: GPL-3.0-or-later
"""Rebuilding against Blender's own Decimate, Smart UV Project and Cycles bake, doing the same work in one process.

A bumpy sphere of 1,310,720 faces becomes 200,000 with textures of 2048 pixels, remesh off; run it with other figures as
`python -m tests.benchmarks.bench_rebuild ROUNDS SUBDIVISIONS FACES TEXTURE`. Both make textures of base color,
roughness, metallic and normals from a source with textures of the first three; times are medians, taken in turn. How
alike source and result are is measured at 100,000 places of the surface.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import bpy
import numpy as np

from tests.support import extension

extension.enable()  # the libraries come with the extension

from tests.support.baking import cube_map, painted, split_at_seams, surface_points  # noqa: E402
from tests.support.blender_mesh import make_mesh, material_of  # noqa: E402
from tests.support.render import psnr  # noqa: E402
from tests.support.shapes import bumpy_sphere  # noqa: E402

SECONDS_BAR, RATIO_BAR, COLOR_BAR = 20.0, 3.0, 35.0


def blenders_way(source: Any, faces: int, texture: int) -> dict[str, float]:
    """Decimate, unwrap and bake the base color and the normals of a Blender mesh; return the seconds of each."""
    scene = bpy.context.scene
    high = bpy.data.objects.new("High", source)
    low = bpy.data.objects.new("Low", source.copy())
    for item in (high, low):
        scene.collection.objects.link(item)
    seconds: dict[str, float] = {}
    start = time.perf_counter()
    modifier = low.modifiers.new("Decimate", "DECIMATE")
    modifier.ratio = faces / len(source.polygons)
    bpy.context.view_layer.update()
    low.data = bpy.data.meshes.new_from_object(low.evaluated_get(bpy.context.evaluated_depsgraph_get()))
    low.modifiers.clear()
    seconds["decimate"] = time.perf_counter() - start

    start = time.perf_counter()
    bpy.ops.object.select_all(action="DESELECT")
    low.select_set(True)
    bpy.context.view_layer.objects.active = low
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.uv.smart_project(island_margin=2 / texture)
    bpy.ops.object.mode_set(mode="OBJECT")
    seconds["unwrap"] = time.perf_counter() - start

    start = time.perf_counter()
    material = bpy.data.materials.new("Target")
    material.use_nodes = True
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    material.node_tree.nodes.active = node
    low.data.materials.clear()
    low.data.materials.append(material)
    high.select_set(True)
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    for kind in ("DIFFUSE", "ROUGHNESS", "EMIT", "NORMAL"):  # the source's material emits its metallic
        node.image = bpy.data.images.new(kind, texture, texture)
        bpy.ops.object.bake(
            type=kind, pass_filter={"COLOR"}, use_selected_to_active=True, cage_extrusion=0.01, max_ray_distance=0.03
        )
    seconds["bake"] = time.perf_counter() - start
    for item in (high, low):
        bpy.data.objects.remove(item)
    return seconds


def main(rounds: int = 5, subdivisions: int = 8, faces: int = 200_000, texture: int = 2048) -> None:
    """Print the measurements as a line of JSON."""
    module = extension.module
    glb, rebuild = module("engine.mesh.glb"), module("engine.mesh.rebuild")
    sample, surface, progress = module("engine.mesh.sample"), module("engine.mesh.closest"), module("engine.progress")
    positions, triangles = bumpy_sphere(subdivisions)
    positions = positions.astype(np.float32)
    uvs = cube_map(positions, triangles)
    pixels = painted(positions, triangles, uvs, texture)
    split, corners, split_uvs = split_at_seams(positions, triangles, uvs)
    mesh = glb.Mesh(split, corners.astype(np.uint32), None, split_uvs.astype(np.float32))
    surface_pixels = np.dstack([np.full_like(pixels[..., 0], 255), pixels[..., 1], pixels[..., 2]])
    encode = module("engine.mesh.baked_material").encode
    material = glb.Material(base_color=encode(pixels, "png"), metallic_roughness=encode(surface_pixels, "png"))

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    source = make_mesh(positions, triangles, np.stack([uvs[..., 0], 1 - uvs[..., 1]], axis=-1))
    source.materials.append(material_of({"base_color": pixels, "metallic_roughness": surface_pixels}))
    options = rebuild.Options(remesh=False, texture_size=texture, normal_map="on")
    ours_s, peers_s = [], []
    for turn in range(rounds):
        run = progress.Run(rebuild.STAGES, lambda told: None)
        start = time.perf_counter()
        level = rebuild.rebuild(mesh, material, faces, options, run=run)
        ours_s.append(time.perf_counter() - start)
        peers = blenders_way(source, faces, texture)
        peers_s.append(sum(peers.values()))
        for name, parts in (("ours", run.timings), ("Blender", peers)):
            print(f"round {turn + 1}: {name}", {part: round(s, 2) for part, s in parts.items()}, file=sys.stderr)
    ours, peer = statistics.median(ours_s), statistics.median(peers_s)

    points = surface_points(positions, triangles, 100_000)[0]

    def color(shown: Any, look: Any) -> np.ndarray:
        hits = surface.Surface(shown.positions, shown.faces).closest(points)
        appearance = sample.MaterialAppearance(look, shown.positions, shown.faces, shown.uvs)
        footprint = np.full(len(points), 1e-9, np.float32)
        appearance.prepare(hits.face, footprint, None)
        return np.asarray(appearance.sample(hits.face, hits.weights, points, footprint)["base_color"]) ** (1 / 2.2)

    alike = psnr(color(mesh, material), color(level.mesh, level.material))
    off = surface.Surface(level.mesh.positions, level.mesh.faces).closest(points).distance
    far = float(np.quantile(off, 0.99) * 512 / np.ptp(positions, axis=0).max())
    ratio = peer / ours
    report = {
        "rebuild_s": {
            "value": round(ours, 2), "unit": "s", "peer": None, "ratio": None,
            "bar": SECONDS_BAR, "ok": ours <= SECONDS_BAR,
        },
        "rebuild_ratio": {
            "value": round(ours, 2), "unit": "s", "peer": f"{peer:.1f} s, Blender's own", "ratio": round(ratio, 2),
            "bar": RATIO_BAR, "ok": ratio >= RATIO_BAR,
        },
        "rebuild_psnr_db": {
            "value": round(alike, 2), "unit": "dB", "peer": None, "ratio": None,
            "bar": COLOR_BAR, "ok": bool(alike >= COLOR_BAR),
        },
        "rebuild_distance_voxels": {
            "value": round(far, 3), "unit": "voxels of 1/512", "peer": None, "ratio": None,
            "bar": 0.5, "ok": bool(far <= 0.5),
        },
    }  # fmt: skip
    print(json.dumps(report))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
