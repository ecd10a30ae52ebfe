# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading GLB 2.0 files of the kind that engines make: one triangle mesh, one material, everything inside the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .glb_accessors import read_indices, read_vectors
from .glb_container import Object, Reading
from .glb_material import read_material
from .model import Material, Mesh
from .transform import apply_transform, node_matrix

EXTENSIONS = frozenset({"EXT_texture_webp", "KHR_mesh_quantization", "KHR_materials_variants"})
"""Required extensions of a file that can be read all the same."""
_TRIANGLES = 4


def read_glb(path: str | Path) -> tuple[Mesh, Material]:
    """Return the mesh, in the scene's frame with the nodes' transforms applied, and the material of the file `path`.

    Normals are unit length or zero. Anything that would not come out as it looks in other readers is refused:
    several meshes or primitives, animation, skins, vertex colors, extensions of the material.

    Raises EspalierError `glb_invalid` or `glb_unsupported`, never anything else whatever the bytes are; memory is
    bounded by a small multiple of the file's size.
    """
    reading = Reading(Path(path))
    reading.open()
    _check_asset(reading)
    mesh_index, matrix = _placed_mesh(reading)
    mesh, material = _primitive(reading, mesh_index)
    if matrix is not None:
        mesh = apply_transform(mesh, matrix)
        if not np.isfinite(mesh.positions).all():
            reading.invalid("a transform takes its positions out of range")
    return mesh, material


def check_version(reading: Reading, readable: Callable[[str], bool]) -> None:
    """Refuse other versions of glTF, and files that require an extension that is not `readable`."""
    asset = reading.member(reading.document, "asset")
    version = reading.text(asset, "version", "")
    if version.split(".")[0] != "2" or reading.text(asset, "minVersion", "2.0") not in ("2.0", "2.1"):
        reading.unsupported(f"version {version[:10]!r} of glTF")
    for name in reading.array(reading.document, "extensionsRequired"):
        if not isinstance(name, str):
            reading.invalid("a required extension has no name")
        if not readable(name):
            reading.unsupported(name[:80].encode(errors="replace").decode())


def _check_asset(reading: Reading) -> None:
    check_version(reading, EXTENSIONS.__contains__)
    for key in ("animations", "skins", "cameras"):
        if reading.array(reading.document, key):
            reading.unsupported(key)
    if "KHR_lights_punctual" in reading.member(reading.document, "extensions"):
        reading.unsupported("lights")


def _placed_mesh(reading: Reading) -> tuple[int, npt.NDArray[np.float64] | None]:
    """Follow the one chain of nodes; return the mesh's index and the matrix (4, 4) of its node, None for identity."""
    scenes = reading.array(reading.document, "scenes")
    if not scenes:
        reading.unsupported("a file without a scene")
    if len(scenes) > 1:
        reading.unsupported("several scenes")
    roots = reading.array(reading.entry("scenes", reading.integer(reading.document, "scene", 0)), "nodes")
    matrix = np.eye(4)
    found: int | None = None
    visited: set[int] = set()
    while roots:
        if len(roots) > 1:
            reading.unsupported("several objects")
        index = reading.integer({"nodes": roots[0]}, "nodes")
        if index in visited:
            reading.invalid("its nodes form a circle")
        visited.add(index)
        node = reading.entry("nodes", index)
        if "mesh" in node and found is not None:
            reading.unsupported("several objects")
        if found is None:
            with np.errstate(over="ignore", invalid="ignore"):
                matrix = matrix @ node_matrix(reading, node)
            if not np.isfinite(matrix).all():
                reading.invalid("a transform is out of range")
            if "mesh" in node:
                found = reading.integer(node, "mesh")
        if "EXT_mesh_gpu_instancing" in reading.member(node, "extensions"):
            reading.unsupported("EXT_mesh_gpu_instancing")
        roots = reading.array(node, "children")
    if found is None:
        reading.unsupported("a scene without a mesh")
    return found, None if np.array_equal(matrix, np.eye(4)) else matrix


def _primitive(reading: Reading, mesh_index: int) -> tuple[Mesh, Material]:
    primitives = reading.array(reading.entry("meshes", mesh_index), "primitives")
    if not primitives:
        reading.invalid("its mesh is empty")
    if len(primitives) > 1:
        reading.unsupported("several primitives")
    primitive = reading.object(primitives[0], "primitives")
    for name in reading.member(primitive, "extensions"):
        if name.startswith("KHR_") and name not in EXTENSIONS:
            reading.unsupported(name)
    if reading.integer(primitive, "mode", _TRIANGLES) != _TRIANGLES:
        reading.unsupported("a mesh that is not of triangles")
    if reading.array(primitive, "targets"):
        reading.unsupported("morph targets")
    attributes = reading.member(primitive, "attributes")
    for name in attributes:
        if name.startswith(("COLOR_", "JOINTS_", "WEIGHTS_")) or name == "TEXCOORD_1":
            reading.unsupported(f"the attribute {name[:20]}")
    mesh = _mesh(reading, primitive, attributes)
    if "material" not in primitive:
        return mesh, Material(double_sided=True)
    material = read_material(reading, reading.integer(primitive, "material"))
    if mesh.uvs is None and material.textures():
        reading.unsupported("textures without a UV map")
    return mesh, material


def _mesh(reading: Reading, primitive: Object, attributes: Object) -> Mesh:
    if "POSITION" not in attributes:
        reading.unsupported("a mesh without positions")
    positions = read_vectors(reading, reading.integer(attributes, "POSITION"), "VEC3", "POSITION")
    count = len(positions)
    normals = uvs = None
    if "NORMAL" in attributes:
        # Normals only tell hard edges from soft ones, so that one that is not a number counts as absent.
        raw = read_vectors(reading, reading.integer(attributes, "NORMAL"), "VEC3", "NORMAL", finite=False)
        normals = unit_normals(raw)
    if "TEXCOORD_0" in attributes:
        uvs = read_vectors(reading, reading.integer(attributes, "TEXCOORD_0"), "VEC2", "TEXCOORD_0")
    for name, values in (("NORMAL", normals), ("TEXCOORD_0", uvs)):
        if values is not None and len(values) != count:
            reading.invalid(f"{name} has {len(values)} values for {count} vertices")
    if "indices" in primitive:
        indices = read_indices(reading, reading.integer(primitive, "indices"), count)
    else:
        indices = np.arange(count, dtype=np.uint32)
    if len(indices) % 3:
        reading.invalid("its last triangle is not complete")
    return Mesh(positions, indices.reshape(-1, 3), normals, uvs)


def unit_normals(normals: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return `normals` (V, 3) at unit length; one of no length or not a number becomes zero."""
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.sqrt(np.einsum("ij,ij->i", normals, normals))
        usable = np.isfinite(length) & (length > 1e-12)
        normals /= np.where(usable, length, np.float32(1.0))[:, None]
    normals[~usable] = 0.0
    return normals
