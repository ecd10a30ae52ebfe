# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading GLB 2.0 files of any kind for what a rebuild can use: all meshes of the scene, with their materials.

What has no place in a rebuilt asset is left out, and said.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import EspalierError
from ..progress import Run
from .glb_accessors import read_indices, read_vectors
from .glb_container import Object, Reading
from .glb_material import ONE_WAY, OTHER_UVS, read_material
from .glb_placement import TRANSFORM, Placement, placements
from .glb_read import EXTENSIONS, check_version, unit_normals
from .glb_scene import FAN, TRIANGLES, UNREADABLE, Placed, read_scene
from .glb_skin import joint_matrices, skinned
from .model import Material, Mesh
from .topology import used_vertices
from .transform import apply_transform

FACE_LIMIT = 32_000_000
"""Most triangles of a scene: a small file can show one mesh in many places."""


@dataclass(slots=True, eq=False)
class Part:
    """A piece of a scene of one material, in the scene's frame.

    `mesh.uvs` are those that its normal map lies on, or else another texture; `other_uvs` float32 (V, 2) are those of
    the textures (by role) that lie on others. `colors` float32 (V, 3 or 4) are linear.
    """

    mesh: Mesh
    material: Material
    colors: npt.NDArray[np.float32] | None = None
    other_uvs: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)


def read_parts(path: str | Path, run: Run | None = None) -> tuple[list[Part], tuple[str, ...]]:
    """Return the parts of the scene of the file `path`, and sentences on what was left out.

    The transforms of nodes, skins as their joints stand, and texture transforms are applied. Normals are unit length
    or zero. A file of one part that `read_glb` reads gives the same mesh and material.

    Raises EspalierError `glb_invalid`, `glb_unsupported` (compression, data outside of the file) or `mesh_empty`, and
    Cancelled, never anything else whatever the bytes are.
    """
    reading = Reading(Path(path))
    reading.open()
    check_version(reading, _is_readable)
    parts = _Parts(reading, run)
    parts.read()
    return parts.found, tuple(parts.notices)


def _is_readable(extension: str) -> bool:
    known = extension in EXTENSIONS or extension == TRANSFORM or extension == "KHR_lights_punctual"
    return known or extension.startswith("KHR_materials_")


class _Parts:
    """What was found in a file, while it is read."""

    def __init__(self, reading: Reading, run: Run | None) -> None:
        self.reading, self.run = reading, run
        self.found: list[Part] = []
        self.notices: dict[str, None] = {}
        self._faces = 0
        self._vectors: dict[tuple[int, str], npt.NDArray[np.float32]] = {}
        self._materials: dict[int, tuple[Material, dict[str, Placement]]] = {}

    def read(self) -> None:
        reading = self.reading
        for key, what in (("animations", "Animations"), ("cameras", "Cameras")):
            if reading.array(reading.document, key):
                self._notice(f"{what} were left out.")
        if "KHR_lights_punctual" in reading.member(reading.document, "extensions"):
            self._notice("Lights were left out.")
        world, placed = read_scene(reading, self._notice)
        skins: dict[int, npt.NDArray[np.float64] | None] = {}
        for place in placed:
            if self.run is not None:
                self.run.check()
            if place.skin is not None and place.skin not in skins:
                skins[place.skin] = joint_matrices(reading, place.skin, world)
            self._add(place, skins[place.skin] if place.skin is not None else None, alone=len(placed) == 1)
        if not self.found:
            raise EspalierError("mesh_empty")

    def _notice(self, sentence: str) -> None:
        self.notices[sentence] = None

    def _refused(self, what: str) -> None:
        """Take note of what a material cannot keep."""
        if what == ONE_WAY:
            self._notice("A texture that repeats in one direction only was taken to repeat in both.")
        elif what not in (OTHER_UVS, TRANSFORM):
            name = what[:80].encode(errors="replace").decode()
            self._notice(f"{name} has no place in a rebuilt material.")

    def _add(self, placed: Placed, joints: npt.NDArray[np.float64] | None, alone: bool) -> None:
        """Add the part that a primitive makes, with only those of its vertices that it uses unless it is `alone`."""
        reading, primitive = self.reading, placed.primitive
        for name in reading.member(primitive, "extensions"):
            if name in UNREADABLE:
                reading.unsupported(name)
        attributes = reading.member(primitive, "attributes")
        mesh = self._mesh(primitive, attributes)
        if not len(mesh.faces):
            return
        material, placement = self._material(primitive)
        part = Part(mesh, material, self._colors(attributes, len(mesh.positions)))
        self._lay(part, attributes, placement)
        if reading.array(primitive, "targets"):
            self._notice("Shape keys were left out.")
        moved = None
        if placed.skin is not None and joints is None:
            self._notice("A skin without its joints was left out.")
        elif joints is not None and (moved := skinned(reading, part.mesh, attributes, joints)) is not None:
            self._notice("The bones of a skin were left out; its mesh is as they hold it.")
            part.mesh = moved
        if moved is None and not np.array_equal(placed.matrix, np.eye(4)):
            part.mesh = apply_transform(part.mesh, placed.matrix)
        if not np.isfinite(part.mesh.positions).all():
            reading.invalid("a transform takes its positions out of range")
        if not alone:
            _compact(part)
        self.found.append(part)

    def _mesh(self, primitive: Object, attributes: Object) -> Mesh:
        reading = self.reading
        if "POSITION" not in attributes:
            reading.unsupported("a mesh without positions")
        positions = self._read(attributes, "POSITION", "VEC3")
        normals = None
        if "NORMAL" in attributes:
            normals = unit_normals(self._read(attributes, "NORMAL", "VEC3", len(positions)).copy())
        if "indices" in primitive:
            indices = read_indices(reading, reading.integer(primitive, "indices"), len(positions))
        else:
            indices = np.arange(len(positions), dtype=np.uint32)
        faces = self._triangles(indices, reading.integer(primitive, "mode", TRIANGLES))
        return Mesh(positions, faces, normals)

    def _triangles(self, indices: npt.NDArray[np.uint32], mode: int) -> npt.NDArray[np.uint32]:
        """Return the faces uint32 (F, 3) of a list, strip or fan of triangles (glTF 2.0, section 3.7.2.1)."""
        if mode > FAN:
            self.reading.invalid(f"a mesh has the unknown mode {mode}")
        if mode == TRIANGLES and len(indices) % 3:
            self.reading.invalid("its last triangle is not complete")
        self._faces += len(indices) // 3 if mode == TRIANGLES else max(len(indices) - 2, 0)
        if self._faces > FACE_LIMIT:
            self.reading.unsupported(f"more than {FACE_LIMIT:,} triangles")
        if mode == TRIANGLES:
            return indices.reshape(-1, 3)
        first, second, third = indices[:-2], indices[1:-1], indices[2:]
        if mode == FAN:
            faces = np.stack([second, third, np.broadcast_to(indices[:1], third.shape)], axis=1)
        else:
            odd = np.arange(len(first)) % 2 == 1
            faces = np.stack([first, np.where(odd, third, second), np.where(odd, second, third)], axis=1)
        distinct = (faces != np.roll(faces, 1, axis=1)).all(axis=1)  # strips repeat vertices to reach another place
        return np.asarray(faces[distinct], np.uint32)

    def _read(self, attributes: Object, name: str, kind: str, count: int | None = None) -> npt.NDArray[np.float32]:
        """Return an attribute, of `count` values if that is given; only positions must be numbers."""
        index = self.reading.integer(attributes, name)
        if (index, kind) not in self._vectors:
            values = read_vectors(self.reading, index, kind, name, finite=name == "POSITION")
            self._vectors[index, kind] = values
        values = self._vectors[index, kind]
        if count is not None and len(values) != count:
            self.reading.invalid(f"{name} has {len(values)} values for {count} vertices")
        return values

    def _colors(self, attributes: Object, count: int) -> npt.NDArray[np.float32] | None:
        if "COLOR_0" not in attributes:
            return None
        accessor = self.reading.entry("accessors", self.reading.integer(attributes, "COLOR_0"))
        kind = "VEC3" if accessor.get("type") == "VEC3" else "VEC4"
        colors = self._read(attributes, "COLOR_0", kind, count)
        if accessor.get("componentType") != 5126 and not self.reading.boolean(accessor, "normalized"):
            colors = colors / np.float32(255 if accessor.get("componentType") == 5121 else 65535)
        return np.clip(np.nan_to_num(colors, nan=1.0), 0.0, 1.0)

    def _material(self, primitive: Object) -> tuple[Material, dict[str, Placement]]:
        if "material" not in primitive:
            # glTF's own default is a metal, which nobody means who only gives colors; Blender shows these values.
            if "COLOR_0" in self.reading.member(primitive, "attributes"):
                return Material(metallic_factor=0.0, roughness_factor=0.5, double_sided=True), {}
            return Material(double_sided=True), {}
        index = self.reading.integer(primitive, "material")
        if index not in self._materials:
            material = read_material(self.reading, index, self._refused)
            self._materials[index] = material, placements(self.reading, index)
        return self._materials[index]

    def _lay(self, part: Part, attributes: Object, placement: dict[str, Placement]) -> None:
        """Give `part` its texture coordinates, and take away the textures that have none."""
        uvs: dict[Placement, npt.NDArray[np.float32]] = {}
        missing = []
        for role in part.material.textures():
            how = placement.get(role)
            if how is None:
                continue
            name = f"TEXCOORD_{how.uv_map}"
            if name not in attributes:
                missing.append(role)
            elif how not in uvs:
                raw = np.nan_to_num(self._read(attributes, name, "VEC2", len(part.mesh.positions)), posinf=0, neginf=0)
                uvs[how] = how.applied(raw)
        if missing:
            self._notice("Textures of a mesh without the UV map for them were left out.")
            part.material = replace(part.material, **dict.fromkeys(missing, None))  # type: ignore[arg-type]
        roles = [role for role in ("normal", "base_color", "metallic_roughness", "emissive") if role in placement]
        roles = [role for role in roles if placement[role] in uvs]
        if roles:
            part.mesh.uvs = uvs[placement[roles[0]]]
            part.other_uvs = {role: uvs[placement[role]] for role in roles if placement[role] != placement[roles[0]]}
        elif "TEXCOORD_0" in attributes:
            raw = self._read(attributes, "TEXCOORD_0", "VEC2", len(part.mesh.positions))
            part.mesh.uvs = np.nan_to_num(raw, posinf=0, neginf=0)


def _compact(part: Part) -> None:
    """Drop the vertices that no face of `part` uses: several primitives may share one set of vertices."""
    mesh = part.mesh
    if 8 * mesh.faces.size < len(mesh.positions):
        kept, inverse = np.unique(mesh.faces, return_inverse=True)
        used, faces = kept.astype(np.int64), inverse.reshape(-1, 3)
    else:
        used, faces = used_vertices(mesh.faces, len(mesh.positions))
    normals, uvs = (None if values is None else values[used] for values in (mesh.normals, mesh.uvs))
    part.mesh = Mesh(mesh.positions[used], faces.astype(np.uint32), normals, uvs)
    part.colors = None if part.colors is None else part.colors[used]
    part.other_uvs = {role: values[used] for role, values in part.other_uvs.items()}
