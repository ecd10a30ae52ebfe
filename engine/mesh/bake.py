# SPDX-License-Identifier: GPL-3.0-or-later
"""Baking: what a source mesh looks like, put into textures for another mesh of the same shape."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import EspalierError
from ..progress import Run
from .closest import Hits, Surface
from .color import linear_bytes, srgb_bytes
from .gutter import Gutter
from .match import TOLERANCE, USUAL, reconsider
from .morton import morton_order
from .normals import corner_sums, cross, dot, face_crosses, normalize, vertex_normals
from .parallel import BATCH, batches, for_each
from .raster import Fragments, cover
from .sample import Appearance, Channels, interpolate
from .tangents import corner_tangents

CHANNELS = ("base_color", "metallic", "roughness", "alpha")
"""What is baked unless told otherwise; "emissive" can be asked for too."""
AHEAD = 16
"""Batches whose points are worked out on all threads before the library is asked for the closest ones."""
TEXTURE_LIMIT = 8192
"""Most texels on a side of a texture that is baked."""
STEEPEST = 0.05
"""The least share that a baked normal keeps of the smooth normal it is relative to."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The mesh that gets textures.

    `positions` (V, 3), `faces` int (F, 3); `uvs` float (N, 2) in 0 to 1 with V pointing down, and `uv_faces` int
    (F, 3) that names the one of each corner; None if it is `faces`. `normals` (V, 3) are those it will be shaded with;
    None for smooth ones.
    """

    positions: npt.NDArray[Any]
    faces: npt.NDArray[Any]
    uvs: npt.NDArray[Any]
    uv_faces: npt.NDArray[Any] | None = None
    normals: npt.NDArray[Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The mesh that is baked from. `normals` (V, 3) are those it is shaded with; None for smooth ones."""

    positions: npt.NDArray[Any]
    faces: npt.NDArray[Any]
    appearance: Appearance
    uvs: npt.NDArray[Any] | None = None
    normals: npt.NDArray[Any] | None = None


@dataclass(slots=True, eq=False)
class Baked:
    """Textures of one size, row 0 at the top.

    `images` uint8: `base_color` and `emissive` (T, T, 3) in sRGB, `metallic`, `roughness`, `alpha` (T, T), and `normal`
    (T, T, 3), tangent space by MikkTSpace with green pointing up, as glTF has it. `covered` bool (T, T) are the texels
    that stand for some place of the surface; the others repeat those. `distance` is how far from the target nearly all
    the places it was baked from lie, and `turned` the number of texels that had to look for another side.
    """

    images: dict[str, npt.NDArray[np.uint8]]
    covered: npt.NDArray[np.bool_]
    distance: float = 0.0
    turned: int = 0


def bake(
    target: Target,
    source: Source,
    texture_size: int,
    *,
    channels: Collection[str] = CHANNELS,
    normal_map: bool = False,
    surface: Surface | None = None,
    run: Run | None = None,
) -> Baked:
    """Return the textures of `texture_size` on a side that make `target` look like `source`.

    Each texel's value is that of the closest point on the source that faces the same way, filtered over the texel in
    linear light. Texels within sqrt(2) of a chart belong to it, so that bilinear filtering never reads anything else;
    the others are filled from the nearest. `surface`, that of the source, saves building its trees again.
    Raises EspalierError mesh_empty, mesh_not_finite, mesh_invalid, mesh_without_uvs, texture_unreadable.
    """
    _check(target, source, texture_size)
    progress = _Steps(run)
    layout = _Layout(target, texture_size, run)
    progress.step(0.1)
    if surface is None:
        surface = Surface(source.positions, source.faces, run=run)
    progress.step(0.25)
    hits, distance, turned = _match(layout, surface, progress)
    progress.step(0.65)
    images = _blank(channels, normal_map, texture_size)
    appearance = source.appearance
    every = slice(None, None, max(len(hits) // (1 << 18), 1))
    appearance.prepare(hits.face[every], layout.footprint[layout.fragments.face[every]], run)
    progress.step(0.7)
    relief = _Relief(target, source, layout, hits, run) if normal_map else None
    progress.step(0.75)

    def paint(batch: slice) -> None:
        face, weights = hits.face[batch], hits.weights[batch]
        points = interpolate(source.positions, source.faces, face, weights)
        footprint = layout.footprint[layout.fragments.face[batch]]
        texel = layout.fragments.texel[batch]
        _store(images, texel, appearance.sample(face, weights, points, footprint))
        if relief is not None:
            images["normal"].reshape(-1, 3)[texel] = relief.bytes_of(batch, footprint)

    for_each(batches(len(hits)), paint, run, (0.75, 0.95))
    covered = np.zeros(texture_size * texture_size, dtype=bool)
    covered[layout.fragments.texel] = True
    covered = covered.reshape(texture_size, texture_size)
    gutter = Gutter(covered)
    progress.step(0.97)
    for_each(list(images.values()), gutter.fill, run, (0.97, 1.0))
    return Baked(images, covered, distance, turned)


@dataclass(slots=True)
class _Steps:
    """Progress of the whole bake."""

    run: Run | None

    def step(self, fraction: float) -> None:
        if self.run is not None:
            self.run.progress(fraction)

    def part(self, start: float, end: float, fraction: float) -> None:
        self.step(start + (end - start) * fraction)


def _check(target: Target, source: Source, texture_size: int) -> None:
    if not 1 <= texture_size <= TEXTURE_LIMIT:
        raise EspalierError(
            "parameter_range", name="texture_size", value=texture_size, minimum=1, maximum=TEXTURE_LIMIT
        )
    for positions, faces in ((target.positions, target.faces), (source.positions, source.faces)):
        if not len(faces) or not len(positions):
            raise EspalierError("mesh_empty")
        _check_indices(faces, len(positions))
    uv_faces = target.faces if target.uv_faces is None else target.uv_faces
    if uv_faces.shape != target.faces.shape:
        raise EspalierError("mesh_invalid", reason="its texture coordinates do not fit its faces")
    _check_indices(uv_faces, len(target.uvs))
    if not np.isfinite(target.positions).all() or not np.isfinite(target.uvs).all():
        raise EspalierError("mesh_not_finite")


def _check_indices(faces: npt.NDArray[Any], count: int) -> None:
    if faces.ndim != 2 or faces.shape[1] != 3 or int(faces.min()) < 0 or int(faces.max()) >= count:
        raise EspalierError("mesh_invalid", reason="a face names a vertex that does not exist")


@dataclass(slots=True, eq=False)
class _Layout:
    """Where on the target each texel lies. Faces follow one another in space, for the sake of the closest points."""

    target: Target
    size: int
    run: Run | None
    faces: npt.NDArray[Any] = field(init=False)
    uv_faces: npt.NDArray[Any] = field(init=False)
    fragments: Fragments = field(init=False)
    footprint: npt.NDArray[np.float32] = field(init=False)
    normals: npt.NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        target = self.target
        self.faces = np.asarray(target.faces, dtype=np.int64)
        self.uv_faces = self.faces if target.uv_faces is None else np.asarray(target.uv_faces, dtype=np.int64)
        order = morton_order(corner_sums(target.positions, self.faces))
        self.faces, self.uv_faces = self.faces[order], self.uv_faces[order]
        self.fragments = cover(target.uvs, self.uv_faces, self.size, run=self.run)
        if not len(self.fragments):
            raise EspalierError("mesh_without_uvs")
        crosses = face_crosses(target.positions, self.faces)
        corners = np.asarray(target.uvs, dtype=np.float64)[self.uv_faces] * self.size
        one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        texels = np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])
        area = np.sqrt(dot(crosses, crosses))
        self.footprint = (area / np.where(texels > 0, texels, np.inf)).astype(np.float32)
        given = target.normals
        self.normals = (
            vertex_normals(target.positions, target.faces) if given is None else np.asarray(given, np.float32)
        )

    def points(self, which: slice | npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the positions, float64 (N, 3), of some fragments; on a border they continue their face."""
        positions = np.asarray(self.target.positions, dtype=np.float64)
        return interpolate(positions, self.faces, self.fragments.face[which], self.fragments.weights[which])

    def smooth_normals(self, which: slice | npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the interpolated normals, float32 (N, 3), not of unit length."""
        weights = self.clamped(which)
        return interpolate(self.normals, self.faces, self.fragments.face[which], weights)

    def clamped(self, which: slice | npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the weights of some fragments, moved onto their face."""
        weights = np.clip(self.fragments.weights[which], 0.0, 1.0)
        return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 1.0))


def _match(layout: _Layout, surface: Surface, progress: _Steps) -> tuple[Hits, float, int]:
    """Return the place on the source of each texel, how far nearly all are, and how many took another side."""
    count = len(layout.fragments)
    hits = Hits(np.empty(count, np.int32), np.empty((count, 2), np.float32), np.empty(count, np.float32))
    agreeing = np.empty(count, dtype=bool)
    groups = batches(count, AHEAD * BATCH)
    for number, group in enumerate(groups):
        points = np.empty((group.stop - group.start, 3))
        spots = np.empty_like(points)
        parts = batches(len(points))

        def place(part: slice, group: slice = group, points: npt.NDArray[np.float64] = points) -> None:
            points[part] = layout.points(_shifted(part, group.start))

        def weigh(part: slice, group: slice = group, spots: npt.NDArray[np.float64] = spots) -> None:
            at = _shifted(part, group.start)
            hits.weights[at] = surface.weights(hits.face[at], spots[part])
            agreeing[at] = dot(surface.normals.take(hits.face[at], axis=0), layout.smooth_normals(at)) > 0

        for_each(parts, place, progress.run)
        for index, part in enumerate(parts):
            progress.part(0.25, 0.62, (number + index / len(parts)) / len(groups))
            at = _shifted(part, group.start)
            hits.face[at], spots[part], hits.distance[at] = surface.find(points[part], progress.run)
        for_each(parts, weigh, progress.run)
    lost = np.flatnonzero(~agreeing)
    inner = hits.distance[: layout.fragments.inner][agreeing[: layout.fragments.inner]]
    usual = float(np.quantile(inner, USUAL)) if len(inner) else 0.0
    turned = 0
    if len(lost) and usual > 0:
        some = Hits(hits.face[lost], hits.weights[lost], hits.distance[lost])
        smooth = layout.smooth_normals(lost)
        turned = reconsider(some, layout.points(lost), smooth, surface, TOLERANCE * usual, progress.run)
        hits.face[lost], hits.weights[lost], hits.distance[lost] = some.face, some.weights, some.distance
    return hits, usual, turned


def _shifted(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)


def _blank(channels: Collection[str], normal_map: bool, size: int) -> dict[str, npt.NDArray[np.uint8]]:
    images: dict[str, npt.NDArray[np.uint8]] = {}
    for channel in channels:
        if channel not in (*CHANNELS, "emissive"):
            raise ValueError(f"there is no channel {channel}")
        shape = (size, size, 3) if channel in ("base_color", "emissive") else (size, size)
        images[channel] = np.full(shape, 255 if channel == "alpha" else 0, dtype=np.uint8)
    if normal_map:
        images["normal"] = np.empty((size, size, 3), dtype=np.uint8)
        images["normal"][:] = (128, 128, 255)
    return images


def _store(images: dict[str, npt.NDArray[np.uint8]], texel: npt.NDArray[np.int32], channels: Channels) -> None:
    for name, image in images.items():
        if name not in channels:
            continue
        values = channels[name]
        if values.ndim == 2:
            image.reshape(-1, 3)[texel] = srgb_bytes(values)
        else:
            image.reshape(-1)[texel] = linear_bytes(values)


class _Relief:
    """The normals of the source relative to the smooth-shaded target."""

    def __init__(self, target: Target, source: Source, layout: _Layout, hits: Hits, run: Run | None) -> None:
        self.layout, self.source, self.hits = layout, source, hits
        uvs = _upward(target.uvs[layout.uv_faces])
        self.tangents, self.signs = corner_tangents(target.positions, layout.faces, layout.normals[layout.faces], uvs)
        if run is not None:
            run.check()
        given = source.normals
        self.normals = (
            vertex_normals(source.positions, source.faces) if given is None else np.asarray(given, dtype=np.float32)
        )
        self._source_tangents: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None
        if source.uvs is not None and source.appearance.has_normal_map:
            uvs = _upward(source.uvs[source.faces])
            self._source_tangents = corner_tangents(source.positions, source.faces, self.normals[source.faces], uvs)

    def bytes_of(self, batch: slice, footprint: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Return the encoded normals, uint8 (N, 3), of some fragments."""
        layout = self.layout
        wanted = self._source_normals(batch, footprint)
        face, weights = layout.fragments.face[batch], layout.clamped(batch)
        normal = layout.smooth_normals(batch)
        wanted[dot(wanted, normal) < 0] *= -1  # a sheet seen from behind, or a source that is inside out
        tangent = _corner_mean(self.tangents, face, weights)
        bitangent = self.signs[face, 0, None] * cross(normal, tangent)
        # The weights of tangent, bitangent and normal, none of unit length, that add up to `wanted` (Cramer's rule).
        local = np.stack(
            [
                dot(cross(bitangent, normal), wanted),
                dot(cross(normal, tangent), wanted),
                dot(cross(tangent, bitangent), wanted),
            ],
            axis=1,
        )
        local *= np.where(dot(cross(tangent, bitangent), normal) < 0, -1, 1)[:, None]
        local = normalize(local)
        local[:, 2] = np.maximum(local[:, 2], STEEPEST)
        return linear_bytes(normalize(local) * np.float32(0.5) + np.float32(0.5))

    def _source_normals(self, batch: slice, footprint: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        source, face, weights = self.source, self.hits.face[batch], self.hits.weights[batch]
        normal = interpolate(self.normals, source.faces, face, weights)
        mapped = source.appearance.tangent_normals(face, weights, footprint)
        if mapped is None or self._source_tangents is None:
            return normalize(normal)
        tangents, signs = self._source_tangents
        tangent = _corner_mean(tangents, face, weights)
        bitangent = signs[face, 0, None] * cross(normal, tangent)
        return normalize(mapped[:, :1] * tangent + mapped[:, 1:2] * bitangent + mapped[:, 2:] * normal)


def _upward(uvs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return `uvs` (..., 2) with V pointing up, as MikkTSpace has it, instead of down."""
    flipped = np.array(uvs, dtype=np.float32)
    flipped[..., 1] = 1 - flipped[..., 1]
    return flipped


def _corner_mean(
    values: npt.NDArray[np.float32], face: npt.NDArray[Any], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return `values` (F, 3, K) of corners, interpolated within faces."""
    corners = values.take(face, axis=0)
    mean: npt.NDArray[np.float32] = corners[:, 0] + (corners[:, 1] - corners[:, 0]) * weights[:, :1]
    mean += (corners[:, 2] - corners[:, 0]) * weights[:, 1:]
    return mean
