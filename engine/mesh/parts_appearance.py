# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mesh of many materials looks like.

Faces with the same textures share them, decoded once; what else materials say is looked up by face, so that a
thousand materials cost no more than one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..progress import Run
from .model import Material, Mesh, Texture
from .sample import Channels, MaterialAppearance, interpolate

_FLAT = np.array([0.0, 0.0, 1.0], np.float32)
"""The normal of a normal map where there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class UvMap:
    """Texture coordinates float32 (V, 2), and for each part the textures by role that lie on them."""

    uvs: npt.NDArray[np.float32]
    textures: list[dict[str, Texture]]


class PartsAppearance:
    """The look of `mesh`, of whose faces each has the material `materials[owner[face]]`, `owner` int32 (F,).

    The textures of the materials are those of `uv_maps`. `colors` (V, 4) are linear, or None. See `Appearance`.
    """

    def __init__(
        self,
        materials: list[Material],
        owner: npt.NDArray[np.int32],
        mesh: Mesh,
        uv_maps: list[UvMap],
        colors: npt.NDArray[np.float32] | None,
    ) -> None:
        self._owner, self._faces, self._colors = owner, mesh.faces, colors
        self._base = np.array([one.base_color_factor for one in materials], np.float32)
        self._metallic = np.array([one.metallic_factor for one in materials], np.float32)
        self._roughness = np.array([one.roughness_factor for one in materials], np.float32)
        self._emissive = np.array([one.emissive_factor for one in materials], np.float32)
        self._relief = np.array([one.normal_scale for one in materials], np.float32)
        self._solid = np.array([one.alpha_mode == "OPAQUE" for one in materials])
        # Alpha counts as it is where this is not a number.
        self._cutoff = np.array(
            [one.alpha_cutoff if one.alpha_mode == "MASK" else np.nan for one in materials], np.float32
        )
        self._slots = [_Slot(one, owner, mesh) for one in uv_maps]

    @property
    def has_normal_map(self) -> bool:
        """Whether any of the materials has one."""
        return any(look.has_normal_map for slot in self._slots for look in slot.looks)

    def prepare(self, face: npt.NDArray[Any], footprint: npt.NDArray[Any], run: Run | None) -> None:
        """Decode the textures, and make those of their levels that samples like these need."""
        usual = np.median(footprint, keepdims=True) if len(footprint) else np.ones(1, np.float32)
        for slot in self._slots:
            met = set()
            for at, look, faces in slot.divided(face):
                look.prepare(faces, footprint[at], run)
                met.add(id(look))
            for look in slot.looks:
                if id(look) not in met:  # so small that the selection has none of it
                    some = np.arange(min(len(look.faces), 1000))
                    look.prepare(some, np.broadcast_to(usual, some.shape), run)

    def sample(
        self,
        face: npt.NDArray[Any],
        weights: npt.NDArray[Any],
        points: npt.NDArray[Any],
        footprint: npt.NDArray[Any],
    ) -> Channels:
        """Return the channels at places of the mesh; see `Appearance`."""
        owner = self._owner[face]
        color, metallic, roughness = self._base[owner], self._metallic[owner], self._roughness[owner]
        channels: Channels = {"metallic": metallic, "roughness": roughness}
        emissive = None
        if self._emissive.any():
            emissive = channels["emissive"] = self._emissive[owner]
        for slot in self._slots:
            for at, look, faces in slot.divided(face):
                found = look.sample(faces, weights[at], points[at], footprint[at])
                color[at, :3] *= found["base_color"]
                color[at, 3] *= found["alpha"]
                metallic[at] *= found["metallic"]
                roughness[at] *= found["roughness"]
                if emissive is not None and "emissive" in found:
                    emissive[at] *= found["emissive"]
        if self._colors is not None:
            color *= interpolate(self._colors, self._faces, face, weights)
        alpha, cutoff = color[:, 3], self._cutoff[owner]
        alpha = np.where(np.isnan(cutoff), alpha, alpha >= cutoff).astype(np.float32)
        alpha[self._solid[owner]] = 1.0
        channels.update(base_color=color[:, :3], alpha=alpha)
        return channels

    def tangent_normals(
        self, face: npt.NDArray[Any], weights: npt.NDArray[Any], footprint: npt.NDArray[Any]
    ) -> npt.NDArray[np.float32] | None:
        """Return the normals of the normal maps, flat where there is none; see `Appearance`."""
        if not self.has_normal_map:
            return None
        normals = np.tile(_FLAT, (len(face), 1))
        for slot in self._slots:
            for at, look, faces in slot.divided(face):
                found = look.tangent_normals(faces, weights[at], footprint[at])
                if found is not None:
                    normals[at] = found
        normals[:, :2] *= self._relief[self._owner[face], None]
        return normals


class _Slot:
    """The textures on one UV map. `looks` are those of faces that have the same."""

    def __init__(self, uv_map: UvMap, owner: npt.NDArray[np.int32], mesh: Mesh) -> None:
        numbers: dict[tuple[tuple[str, Texture], ...], int] = {}
        kind = np.full(len(uv_map.textures), -1, np.int32)
        for part, textures in enumerate(uv_map.textures):
            if textures:
                kind[part] = numbers.setdefault(tuple(sorted(textures.items(), key=_role)), len(numbers))
        self._look = kind[owner]
        self._rank = np.zeros(len(owner), np.int32)
        self.looks: list[MaterialAppearance] = []
        everything = dict(_groups(self._look))
        for key, number in numbers.items():
            faces = everything[number]
            self._rank[faces] = np.arange(self._rank[faces].size)
            plain = Material(emissive_factor=(1.0, 1.0, 1.0), alpha_mode="BLEND", **dict(key))  # type: ignore[arg-type]
            self.looks.append(MaterialAppearance(plain, mesh.positions, mesh.faces[faces], uv_map.uvs))

    def divided(
        self, face: npt.NDArray[Any]
    ) -> Iterator[tuple[npt.NDArray[np.int64] | slice, MaterialAppearance, npt.NDArray[np.int32]]]:
        """Return which of the samples at `face` (N,) see which look, and the numbers of their faces there."""
        for number, at in _groups(self._look[face]):
            if number >= 0:
                yield at, self.looks[number], self._rank[face[at]]


def _role(entry: tuple[str, Texture]) -> str:
    return entry[0]


def _groups(values: npt.NDArray[np.int32]) -> Iterator[tuple[int, npt.NDArray[np.int64] | slice]]:
    """Return the different numbers among `values` (N,), and where each stands."""
    if not len(values):
        return
    if values.min() == values.max():
        yield int(values[0]), slice(None)
        return
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(values[order])))
    for start, end in zip(starts, np.append(starts[1:], len(order)), strict=True):
        yield int(values[order[start]]), order[start:end]
