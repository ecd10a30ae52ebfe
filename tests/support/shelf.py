# SPDX-License-Identifier: GPL-3.0-or-later
"""Results in the library that no engine had to make: bumpy spheres, as a worker leaves them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support import extension
from tests.support.meshes import bumpy_sphere, encoded_image

MADE = "2026-02-03T04:05:06Z"
RED = (200, 30, 30)


def put(job: str, name: str = "椅子 chair", made_s: float = 0.0, engine: str = "draft", **values: Any) -> Path:
    """Put a finished asset into the library of the enabled add-on, and return its folder.

    It has seed 7 and textures of 1024 pixels unless `values` say otherwise; `made_s` (seconds since 1970) is when it
    was made as far as its file tells. The image that it was made from is the library's own copy.
    """
    g = extension.module("engine.mesh.glb")
    folder: Path = extension.module("operators.library").folder() / job
    (folder / "image").mkdir(parents=True)
    image = folder / "image" / f"{name}.png"
    Image.new("RGB", (64, 64), RED).save(image)
    Image.new("RGBA", (96, 64), (*RED, 255)).save(folder / "thumbnail.png")
    positions, faces, normals, uvs = bumpy_sphere(3)
    texture = g.Texture(encoded_image(), "image/png")
    g.write_glb(folder / "asset.glb", g.Mesh(positions, faces, normals, uvs), g.Material(base_color=texture))
    extension.module("engine.mesh.prepare").prepare(folder / "asset.glb", folder / "import")
    create = extension.module("engine.request").GenerationRequest.create
    request = create(image, engine, {"seed": 7, "texture_size": "1024", **values}, name)
    (folder / "request.json").write_text(json.dumps(request.to_json()))
    facts = {"cost_usd": 0.025, "model": "trellis-2-4b"} if engine == "remote" else {}
    result = {"engine": engine, "engine_version": "1.0", "espalier_version": "0.1.0", "made": MADE, "facts": facts}
    (folder / "result.json").write_text(json.dumps(result))
    if made_s:
        os.utime(folder / "result.json", (made_s, made_s))
    return folder
