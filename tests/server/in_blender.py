# SPDX-License-Identifier: GPL-3.0-or-later
"""Run beside a `bpy`: an artist's Blender, that has the remote engine make an object of IMAGE and prints its scene.

    python -m tests.server.in_blender IMAGE

The extension is the one that a person would have, and its server and key are those in the environment.
"""

from __future__ import annotations

import json
import sys

from tests.support import extension


def main(image: str) -> None:
    """Generate, and print what the scene holds as the last line."""
    user = extension.temporary_user()
    extension.install(user, extension.build_zip())
    extension.use(user)
    import bpy

    extension.enable()
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    settings = {"resolution": "512", "texture_size": "1024", "seed": 11}
    done = bpy.ops.espalier.generate("EXEC_DEFAULT", engine="remote", filepath=image, **settings)
    objects = [
        {
            "name": made.name,
            "faces": len(made.data.polygons),
            "engine": made["espalier"]["engine"],
            "seed": made["espalier"]["seed"],
            "images": [
                node.image.packed_file is not None
                for material in made.data.materials
                for node in material.node_tree.nodes
                if node.type == "TEX_IMAGE"
            ],
            "lowest": min((made.matrix_world @ vertex.co).z for vertex in made.data.vertices),
        }
        for made in bpy.context.scene.objects
        if made.type == "MESH"
    ]
    extension.disable()
    print("\n" + json.dumps({"done": sorted(done), "online": bpy.app.online_access, "objects": objects}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
