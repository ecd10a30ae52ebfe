# SPDX-License-Identifier: GPL-3.0-or-later
"""From prepared arrays to a mesh object, in bulk: Blender's main thread only copies."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np

from ...engine.errors import EspalierError
from .arrays import PreparedFolder
from .images import load_images
from .material import build_material
from .rollback import Rollback

UV_MAP = "UVMap"


def import_prepared(folder: Path, name: str) -> bpy.types.Object:
    """Return a new object, in no collection yet, made of the prepared arrays in `folder` and called `name`.

    Its mesh is in Blender's frame (Z up, front towards -Y), its images are packed. Nothing stays behind on failure.
    Raises EspalierError `asset_missing` where files are gone, `import_failed` where they are not as prepared.
    """
    try:
        with Rollback() as rollback:
            prepared = PreparedFolder(folder, name)
            mesh = bpy.data.meshes.new(name)
            rollback.add(mesh)
            build_mesh(mesh, prepared)
            images = load_images(prepared, rollback)
            material = build_material(name, prepared.description, images, UV_MAP, rollback)
            mesh.materials.append(material)
            created = bpy.data.objects.new(name, mesh)
            rollback.add(created)
            return created
    except EspalierError:
        raise
    except FileNotFoundError as error:
        raise EspalierError("asset_missing", detail=repr(error), name=name) from error
    except MemoryError as error:
        raise EspalierError("import_failed", detail=repr(error), name=name, reason="memory is full") from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = "its prepared files cannot be read"
        raise EspalierError("import_failed", detail=repr(error), name=name, reason=reason) from error


def build_mesh(mesh: bpy.types.Mesh, prepared: PreparedFolder) -> None:
    """Fill the empty `mesh` with the arrays of `prepared`, turned to Blender's frame.

    Attributes are written as they lie in memory; the collections (`vertices`, `loops`) would convert one by one.
    """
    vertices, faces, edges = prepared.vertices, prepared.faces, prepared.edges
    corners = 3 * faces
    mesh.vertices.add(vertices)
    mesh.edges.add(edges)
    mesh.loops.add(corners)
    mesh.polygons.add(faces)
    position = prepared.read("position", "<f4", (vertices, 3))
    if not np.isfinite(position).all():
        raise prepared.refuse("a position is not finite")
    up = position[:, 1].copy()
    np.negative(position[:, 2], out=position[:, 1])
    position[:, 2] = up
    attributes = mesh.attributes
    attributes["position"].data.foreach_set("vector", position.reshape(-1))
    for attribute, array, shape, below in (
        (".corner_vert", "corner_vert", (corners,), vertices),
        (".edge_verts", "edge_vert", (edges, 2), vertices),
        (".corner_edge", "corner_edge", (corners,), edges),
    ):
        values = prepared.read(array, "<i4", shape, below)
        attributes[attribute].data.foreach_set("value", values.reshape(-1))
    mesh.polygons.foreach_set("loop_start", np.arange(0, corners, 3, dtype=np.int32))
    _add_uv_map(mesh, prepared)
    _add_shading(mesh, prepared)
    mesh.update(calc_edges=False)


def _add_uv_map(mesh: bpy.types.Mesh, prepared: PreparedFolder) -> None:
    if not prepared.has("uv"):
        return
    uv = prepared.read("uv", "<f4", (3 * prepared.faces, 2))
    np.subtract(np.float32(1.0), uv[:, 1], out=uv[:, 1])
    layer = mesh.uv_layers.new(name=UV_MAP, do_init=False)
    mesh.attributes[layer.name].data.foreach_set("vector", uv.reshape(-1))


def _add_shading(mesh: bpy.types.Mesh, prepared: PreparedFolder) -> None:
    """Mark the hard edges; a file without normals is shaded flat, as glTF has it."""
    if prepared.description["flat"]:
        flat = np.ones(prepared.faces, dtype=bool)
        mesh.attributes.new("sharp_face", "BOOLEAN", "FACE").data.foreach_set("value", flat)
    elif prepared.has("sharp_edge"):
        sharp = prepared.read("sharp_edge", "|b1", (prepared.edges,))
        mesh.attributes.new("sharp_edge", "BOOLEAN", "EDGE").data.foreach_set("value", sharp)
