# SPDX-License-Identifier: GPL-3.0-or-later
"""Import on the main thread, against Blender's own glTF importer on the same file in the same process.

The file: a bumpy sphere of 1,310,720 triangles and 655,362 vertices with two textures of 2048 pixels. What the worker
does before (decoding, welding, edges) is measured beside it.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np

from tests.support import extension

extension.enable()  # Pillow comes with the extension

from PIL import Image  # noqa: E402

from tests.support.meshes import bumpy_sphere  # noqa: E402

ROUNDS = 5
BAR = 8.0
SIZE = 2048


def texture(path: Path, seed: int) -> bytes:
    """Return a PNG of `SIZE` pixels square with structure and noise, as painted textures have."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    waves = np.stack([np.sin(31 * x + seed), np.cos(17 * y + 9 * x), np.sin(23 * (x + y))], axis=-1)
    noise = generator.integers(0, 12, (SIZE, SIZE, 3))
    Image.fromarray(((waves * 0.5 + 0.5) * 230 + noise).astype(np.uint8)).save(path)
    return path.read_bytes()


def seconds(act: Callable[[], object]) -> float:
    """Return how long `act` takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def main() -> None:
    """Print the measurements as a line of JSON."""
    glb, prepare = extension.module("engine.mesh.glb"), extension.module("engine.mesh.prepare").prepare
    asset = extension.module("operators.scene.asset")
    placement = extension.module("operators.scene.placement")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        positions, faces, normals, uvs = bumpy_sphere(8)
        base, rough = (glb.Texture(texture(folder / "t.png", seed), "image/png") for seed in (0, 2))
        material = glb.Material(base_color=base, metallic_roughness=rough)
        file = folder / "asset.glb"
        mesh = glb.Mesh(positions, faces, normals, uvs)
        write_s = seconds(lambda: glb.write_glb(file, mesh, material))
        prepare_s = statistics.median(seconds(lambda: prepare(file, folder / "import")) for _ in range(3))

        def ours() -> bpy.types.Object:
            created = asset.import_folder(bpy.context, folder, bpy.context.scene, "Bumpy")
            placement.place(bpy.context, created, bpy.context.scene)
            return created

        def stock() -> None:
            bpy.ops.import_scene.gltf(filepath=str(file))

        times: dict[str, list[float]] = {"ours": [], "stock": []}
        for number in range(ROUNDS):
            for name, act in (("ours", ours), ("stock", stock)):
                bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
                times[name].append(seconds(act))
                print(f"round {number + 1}: {name} {times[name][-1]:.3f} s", file=sys.stderr)
    ours_s, stock_s = (statistics.median(times[name]) for name in ("ours", "stock"))
    ratio = stock_s / ours_s
    result = {
        "import_ratio": {"value": ours_s, "unit": "s", "peer": stock_s, "ratio": ratio, "bar": BAR, "ok": ratio >= BAR},
        "prepare_s": {"value": prepare_s, "unit": "s", "peer": None, "ratio": None, "bar": None, "ok": True},
        "write_glb_s": {"value": write_s, "unit": "s", "peer": None, "ratio": None, "bar": None, "ok": True},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
