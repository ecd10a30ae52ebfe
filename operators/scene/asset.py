# SPDX-License-Identifier: GPL-3.0-or-later
"""A finished job becomes an object in a scene, and a placed object can be taken out again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy

from ...engine.errors import EspalierError
from ...engine.jobs.job import Job
from ...engine.mesh.layout import DESCRIPTION
from ...engine.provenance import account_of
from .placement import place, set_origin_to_base, write_properties
from .stock import import_stock


def place_asset(
    context: bpy.types.Context,
    job: Job,
    scene: bpy.types.Scene,
    collection: bpy.types.Collection | None = None,
    location: Sequence[float] | None = None,
    arrange: Callable[[bpy.types.Object], None] | None = None,
) -> bpy.types.Object:
    """Return a new object for the result of `job`, placed in `scene` as `placement.place` describes, or by `arrange`.

    The object, its mesh and its material are called like the asset, and carry the request as custom properties.
    Nothing stays behind on failure. Raises EspalierError `asset_missing` or `import_failed`.
    """
    name = job.request.name
    if job.folder is None or not job.folder.is_dir():
        raise EspalierError("asset_missing", name=name)
    created = import_folder(context, job.folder, scene, name)
    try:
        write_properties(created, properties_of(job))
        if arrange is None:
            place(context, created, scene, collection, location)
        else:
            arrange(created)
    except Exception:
        discard_asset(created)
        raise
    return created


def import_folder(context: bpy.types.Context, folder: Path, scene: bpy.types.Scene, name: str) -> bpy.types.Object:
    """Return a new object, in no collection, for the result `folder`; its origin is the middle of its base."""
    prepared = folder / "import"
    if (prepared / DESCRIPTION).is_file():
        # NumPy takes a tenth of a second to import, for which enabling the extension must not wait.
        from .importer import import_prepared

        created = import_prepared(prepared, name)
    else:
        created = import_stock(context, folder / "asset.glb", scene, name)
    if created.type == "MESH":
        set_origin_to_base(created)
    return created


def discard_asset(target: bpy.types.Object) -> None:
    """Remove `target`, what hangs below it, and the data that nothing else uses then."""
    doomed: list[bpy.types.ID] = [target, *target.children_recursive]
    used: list[bpy.types.ID] = []
    for item in doomed:
        used.extend(block for block in (item.data, item.animation_data and item.animation_data.action) if block)
        for slot in item.material_slots:
            if slot.material is not None:
                used.append(slot.material)
                nodes = slot.material.node_tree.nodes if slot.material.node_tree else ()
                used.extend(node.image for node in nodes if getattr(node, "image", None))
                used.extend(node.node_tree for node in nodes if getattr(node, "node_tree", None))
    bpy.data.batch_remove(doomed)
    for block in dict.fromkeys(used):  # in order: a mesh lets go of its material, the material of its images
        if block.users == 0:
            bpy.data.batch_remove([block])


def properties_of(job: Job) -> dict[str, Any]:
    """Return the whole request and what made the asset, flat, with what a person looks for first."""
    return {"job": job.id, **account_of(job.request, job.result)}
