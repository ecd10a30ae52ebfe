# SPDX-License-Identifier: GPL-3.0-or-later
"""Several parts of a scene as one source: one mesh, and one material that stands for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .glb_parts import Part
from .model import AlphaMode, Material, Mesh, Texture
from .morton import order_in_space
from .normals import vertex_normals
from .parts_appearance import PartsAppearance, UvMap
from .sample import Appearance

_MODES: tuple[AlphaMode, ...] = ("OPAQUE", "MASK", "BLEND")
_ROLES = ("base_color", "metallic_roughness", "emissive", "normal")


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """A source for rebuilding; `appearance` is None where `material` says all."""

    mesh: Mesh
    material: Material
    appearance: Appearance | None = None


def assemble(parts: list[Part]) -> Whole:
    """Return `parts`, at least one, as a whole.

    One part without vertex colors and on one UV map is returned as it is. Otherwise the mesh comes in the order of
    space; where normals are missing there are smooth ones, and zeros where only other parts have texture coordinates.
    """
    if len(parts) == 1 and parts[0].colors is None and not parts[0].other_uvs:
        return Whole(parts[0].mesh, parts[0].material)
    starts = np.cumsum([0, *(len(part.mesh.positions) for part in parts)])
    positions = np.concatenate([part.mesh.positions for part in parts])
    faces = np.concatenate([part.mesh.faces + np.uint32(at) for part, at in zip(parts, starts[:-1], strict=True)])
    owner = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.mesh.faces) for part in parts])
    vertices, ordered, order = order_in_space(positions, faces)
    normals = np.concatenate([_normals(part.mesh) for part in parts])[vertices]
    mesh = Mesh(positions[vertices], ordered.astype(np.uint32), normals)
    colors = _colors(parts)
    uv_maps = [UvMap(one.uvs[vertices], one.textures) for one in _uv_maps(parts, starts)]
    if uv_maps:
        mesh.uvs = uv_maps[0].uvs
    materials = [part.material for part in parts]
    look = PartsAppearance(materials, owner[order], mesh, uv_maps, None if colors is None else colors[vertices])
    return Whole(mesh, _common(materials), look)


def _normals(mesh: Mesh) -> npt.NDArray[np.float32]:
    """Return the normals of `mesh`, smooth ones where it has none."""
    if mesh.normals is None:
        return vertex_normals(mesh.positions, mesh.faces)
    missing = np.einsum("ij,ij->i", mesh.normals, mesh.normals) < 0.5
    if not missing.any():
        return mesh.normals
    return np.where(missing[:, None], vertex_normals(mesh.positions, mesh.faces), mesh.normals)


def _colors(parts: list[Part]) -> npt.NDArray[np.float32] | None:
    """Return the vertex colors of all parts, float32 (V, 4), white where a part has none; None where none has any."""
    if all(part.colors is None for part in parts):
        return None
    colors = np.ones((sum(len(part.mesh.positions) for part in parts), 4), np.float32)
    start = 0
    for part in parts:
        end = start + len(part.mesh.positions)
        if part.colors is not None:
            colors[start:end, : part.colors.shape[1]] = part.colors
        start = end
    return colors


def _uv_maps(parts: list[Part], starts: npt.NDArray[np.int64]) -> list[UvMap]:
    """Return the UV maps of all parts, the first one with those of `mesh.uvs`, and what textures lie on them."""
    maps: list[UvMap] = []
    for index, part in enumerate(parts):
        if part.mesh.uvs is None:
            continue
        known = {id(part.mesh.uvs): 0}
        for role, texture in part.material.textures().items():
            if role not in _ROLES:
                continue
            uvs = part.other_uvs.get(role, part.mesh.uvs)
            number = known.setdefault(id(uvs), len(known))
            while len(maps) <= number:
                none: list[dict[str, Texture]] = [{} for _ in parts]
                maps.append(UvMap(np.zeros((int(starts[-1]), 2), np.float32), none))
            maps[number].uvs[starts[index] : starts[index + 1]] = uvs
            maps[number].textures[index][role] = texture
    return maps


def _common(materials: list[Material]) -> Material:
    """Return a material that tells what all of `materials` have between them; its textures say only that there are."""
    first = materials[0]
    return Material(
        name=first.name,
        emissive_factor=(1.0, 1.0, 1.0) if any(any(one.emissive_factor) for one in materials) else (0.0, 0.0, 0.0),
        occlusion=next((one.occlusion for one in materials if one.occlusion is not None), None),
        alpha_mode=max((one.alpha_mode for one in materials), key=_MODES.index),
        double_sided=any(one.double_sided for one in materials),
    )
