# SPDX-License-Identifier: GPL-3.0-or-later
"""What a source looks like at points of its surface: from textures, vertex colors, constants, or a sparse volume."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from ..errors import EspalierError
from ..progress import Run
from .mipmap import MipMap
from .model import Material, Texture
from .normals import dot, face_crosses
from .parallel import batches
from .raster import rasterize
from .volume import SparseVolume

SIDE_LIMIT = 16384
"""Most pixels on a side of a source texture."""
SHARPER = 0.5
"""Levels that are sampled finer than the footprint says: trilinear filtering blurs more than the mean over a texel."""
COVERAGE_SIDE = 4096
"""Most pixels on a side at which it is found out which parts of a source texture are in use."""

Channels = dict[str, npt.NDArray[np.float32]]


class Appearance(Protocol):
    """What the surface of a source looks like. `sample` and `tangent_normals` are called from several threads."""

    @property
    def has_normal_map(self) -> bool:
        """Whether `tangent_normals` gives any."""
        ...

    def prepare(self, face: npt.NDArray[Any], footprint: npt.NDArray[Any], run: Run | None) -> None:
        """Get ready for samples of which `face` and `footprint` are a fair selection, as `sample` has them."""
        ...

    def sample(
        self,
        face: npt.NDArray[Any],
        weights: npt.NDArray[Any],
        points: npt.NDArray[Any],
        footprint: npt.NDArray[Any],
    ) -> Channels:
        """Return float32 `base_color` (N, 3) in linear light and `metallic`, `roughness`, `alpha` (N,), and maybe
        `emissive` (N, 3), in linear light.

        `face` (N,), `weights` (N, 2) of its second and third corner, `points` (N, 3) the same places in space;
        `footprint` (N,) is the area around each sample, in the units of the mesh, for which it stands.
        """
        ...

    def tangent_normals(
        self, face: npt.NDArray[Any], weights: npt.NDArray[Any], footprint: npt.NDArray[Any]
    ) -> npt.NDArray[np.float32] | None:
        """Return the normals of the normal map, float32 (N, 3) in tangent space, or None where there is no such map."""
        ...


class VolumeAppearance:
    """The look of a sparse volume of attributes at points in space."""

    has_normal_map = False

    def __init__(self, volume: SparseVolume) -> None:
        self.volume = volume

    def prepare(self, face: npt.NDArray[Any], footprint: npt.NDArray[Any], run: Run | None) -> None:
        """Do nothing: a volume is ready as it is."""

    def sample(
        self,
        face: npt.NDArray[Any],
        weights: npt.NDArray[Any],
        points: npt.NDArray[Any],
        footprint: npt.NDArray[Any],
    ) -> Channels:
        """Return the channels of the volume at `points`; see `Appearance`."""
        values = self.volume.sample(points)
        return {
            "base_color": values[:, :3],
            "metallic": values[:, 3],
            "roughness": values[:, 4],
            "alpha": values[:, 5],
        }

    def tangent_normals(
        self, face: npt.NDArray[Any], weights: npt.NDArray[Any], footprint: npt.NDArray[Any]
    ) -> npt.NDArray[np.float32] | None:
        """Return None: a volume has no normal map."""
        return None


class MaterialAppearance:
    """The look of a mesh with a glTF material: its textures times its factors times its vertex colors.

    `positions` (V, 3), `faces` (F, 3), `uvs` (V, 2) with V pointing down, or None: then textures do not count, and the
    factors and vertex colors are all there is. `colors` (V, 3 or 4) are linear, or None. `pixels` gives decoded images
    (H, W, 3 or 4) uint8 by role in place of the material's own textures.
    """

    def __init__(
        self,
        material: Material,
        positions: npt.NDArray[Any],
        faces: npt.NDArray[Any],
        uvs: npt.NDArray[Any] | None = None,
        colors: npt.NDArray[Any] | None = None,
        pixels: Mapping[str, npt.NDArray[np.uint8]] | None = None,
    ) -> None:
        self.material, self.positions, self.faces = material, positions, faces
        self.uvs = None if uvs is None else np.asarray(uvs, dtype=np.float32)
        self.colors = None if colors is None else np.nan_to_num(np.asarray(colors, dtype=np.float32))
        self._sources: dict[str, Texture | npt.NDArray[np.uint8]] = {}
        if self.uvs is not None:
            named: dict[str, Texture | npt.NDArray[np.uint8]] = {**material.textures(), **(pixels or {})}
            self._sources = {role: named[role] for role in _ROLES if role in named}
        self._images: dict[str, MipMap] = {}
        self._density: npt.NDArray[np.float32] | None = None

    @property
    def has_normal_map(self) -> bool:
        """Whether the material has a normal map."""
        return "normal" in self._sources

    def prepare(self, face: npt.NDArray[Any], footprint: npt.NDArray[Any], run: Run | None) -> None:
        """Decode the textures, and make those of their levels that samples like these need."""
        if not self._sources or self.uvs is None:
            return
        some = np.unique(face)
        self._density = np.zeros(len(self.faces), dtype=np.float32)
        self._density[some] = self._densities(some)
        spread = self._level(face, footprint, 1)  # the level for a texture of one pixel
        known = spread[np.isfinite(spread)]
        low, high = np.quantile(known, (0.02, 0.98)) if len(known) else (-math.inf, -math.inf)
        covered: npt.NDArray[np.bool_] | None = None
        for role, source in self._sources.items():
            if run is not None:
                run.check()
            image: Any = decode(source, role) if isinstance(source, Texture) else _rgba(source, role)
            width, height = image.size if isinstance(image, Image.Image) else image.shape[1::-1]
            pixels = math.log2(math.sqrt(width * height))
            largest = int(math.log2(max(min(width, height), 1)))
            first = min(max(int(low + pixels), 0), largest) if low > -math.inf else 0
            last = min(max(math.ceil(high + pixels), first), largest) if high > -math.inf else 0
            nearest = isinstance(source, Texture) and source.nearest
            if nearest:
                first = last = 0
            if last > 1 and (covered is None or not _halves_to((height, width), covered.shape)):
                covered = self._coverage(height, width, run)
            self._images[role] = MipMap(
                image,
                srgb=role in _COLOR_ROLES,
                wrap=source.wrap if isinstance(source, Texture) else "repeat",
                nearest=nearest,
                first=first,
                last=last,
                covered=covered if last > 1 else None,
            )
        if any(image.first < image.last for image in self._images.values()):
            self._density = self._densities(np.arange(len(self.faces)))

    def _densities(self, face: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the area in UV of faces over that in space, float32 (N,); 0 where it has none."""
        assert self.uvs is not None
        density = np.empty(len(face), dtype=np.float32)
        for part in batches(len(face)):
            corners = self.faces.take(face[part], axis=0)
            crosses = face_crosses(self.positions, corners)
            area = np.sqrt(dot(crosses, crosses))
            place = self.uvs.take(corners, axis=0).astype(np.float64)
            one, two = place[:, 1] - place[:, 0], place[:, 2] - place[:, 0]
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                ratio = np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]) / area
                density[part] = np.where(np.isfinite(ratio), ratio, 0.0)
        return density

    def _coverage(self, height: int, width: int, run: Run | None) -> npt.NDArray[np.bool_]:
        """Return which pixels of a texture, halved until it is small enough, lie under some face."""
        assert self.uvs is not None
        while max(height, width) > COVERAGE_SIDE:
            height, width = (height + 1) // 2, (width + 1) // 2
        corners = self.uvs[self.faces].astype(np.float64)
        corners -= np.floor(np.nan_to_num(corners.min(axis=1, keepdims=True)))  # onto the first tile
        corners *= (width, height)
        covered = np.zeros(height * width, dtype=bool)
        for start in range(0, len(corners), 1 << 18):
            covered[rasterize(corners[start : start + (1 << 18)], width, height, run).texel] = True
        return covered.reshape(height, width)

    def _level(self, face: npt.NDArray[Any], footprint: npt.NDArray[Any], pixels: float) -> npt.NDArray[np.float32]:
        """Return the level at which a texture of `pixels` has one pixel to each sample."""
        assert self._density is not None
        with np.errstate(divide="ignore"):
            level = np.log2(self._density[face] * footprint * np.float32(pixels)) * np.float32(0.5)
        return np.asarray(level - np.float32(SHARPER), dtype=np.float32)

    def _texture(
        self, role: str, uvs: npt.NDArray[Any], face: npt.NDArray[Any], footprint: npt.NDArray[Any]
    ) -> npt.NDArray[np.float32]:
        image = self._images[role]
        height, width = image.levels[0].shape[:2]
        if image.first == image.last:
            return image.sample(uvs, np.full(len(uvs), image.first, dtype=np.float32))
        pixels = float(height * width) * 4.0**image.first
        return image.sample(uvs, self._level(face, footprint, pixels))

    def sample(
        self,
        face: npt.NDArray[Any],
        weights: npt.NDArray[Any],
        points: npt.NDArray[Any],
        footprint: npt.NDArray[Any],
    ) -> Channels:
        """Return the channels of the material at places of the mesh; see `Appearance`."""
        material, count = self.material, len(face)
        color = np.empty((count, 4), dtype=np.float32)
        color[:] = material.base_color_factor
        metallic = np.full(count, material.metallic_factor, dtype=np.float32)
        roughness = np.full(count, material.roughness_factor, dtype=np.float32)
        channels: Channels = {}
        if self._images and self.uvs is not None:
            uvs = interpolate(self.uvs, self.faces, face, weights)
            if "base_color" in self._images:
                color *= self._texture("base_color", uvs, face, footprint)
            if "metallic_roughness" in self._images:
                both = self._texture("metallic_roughness", uvs, face, footprint)
                metallic *= both[:, 2]
                roughness *= both[:, 1]
            if "emissive" in self._images:
                emissive = self._texture("emissive", uvs, face, footprint)[:, :3]
                channels["emissive"] = emissive * np.asarray(material.emissive_factor, dtype=np.float32)
        if "emissive" not in channels and any(material.emissive_factor) and material.emissive is None:
            channels["emissive"] = np.empty((count, 3), dtype=np.float32)
            channels["emissive"][:] = material.emissive_factor
        if self.colors is not None:
            shade = interpolate(self.colors, self.faces, face, weights)
            color[:, : shade.shape[1]] *= shade
        if material.alpha_mode == "OPAQUE":
            color[:, 3] = 1.0
        elif material.alpha_mode == "MASK":
            color[:, 3] = color[:, 3] >= material.alpha_cutoff
        channels.update(base_color=color[:, :3], alpha=color[:, 3], metallic=metallic, roughness=roughness)
        return channels

    def tangent_normals(
        self, face: npt.NDArray[Any], weights: npt.NDArray[Any], footprint: npt.NDArray[Any]
    ) -> npt.NDArray[np.float32] | None:
        """Return the normals of the material's normal map; see `Appearance`."""
        if "normal" not in self._images or self.uvs is None:
            return None
        uvs = interpolate(self.uvs, self.faces, face, weights)
        normals = self._texture("normal", uvs, face, footprint)[:, :3] * np.float32(2) - np.float32(1)
        normals[:, :2] *= np.float32(self.material.normal_scale)
        return normals


_ROLES = ("base_color", "metallic_roughness", "emissive", "normal")
_COLOR_ROLES = ("base_color", "emissive")
_PLUGINS: Mapping[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "image/png": PngImagePlugin.PngImageFile,
    "image/jpeg": JpegImagePlugin.JpegImageFile,
    "image/webp": WebPImagePlugin.WebPImageFile,
}


def interpolate(
    values: npt.NDArray[Any], faces: npt.NDArray[Any], face: npt.NDArray[Any], weights: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Return `values` (V, K) of the vertices at places of faces, given by weights (N, 2) of second and third corner."""
    corners = faces.take(face, axis=0)
    a, b, c = (values.take(corners[:, corner], axis=0) for corner in range(3))
    second, third = weights[:, :1].astype(values.dtype), weights[:, 1:].astype(values.dtype)
    return np.asarray(a + (b - a) * second + (c - a) * third)


def decode(texture: Texture, role: str) -> Image.Image:
    """Return `texture` as a Pillow image in mode RGBA, or RGB where it has no alpha.

    Raises EspalierError texture_unreadable where it is damaged or has more than `SIDE_LIMIT` pixels on a side.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Opened by its own reader: Image.open refuses what has more pixels than a photo, which 16k textures do.
            image = _PLUGINS[texture.mime](io.BytesIO(texture.data))
            if max(image.size) > SIDE_LIMIT:
                reason = f"it has {image.size[0]} x {image.size[1]} pixels"
                raise EspalierError("texture_unreadable", role=role, reason=reason)
            image.load()
    except (OSError, SyntaxError, EOFError, IndexError, OverflowError, ValueError) as error:
        raise EspalierError("texture_unreadable", detail=repr(error), role=role, reason="it is damaged") from error
    if image.mode.startswith("I"):  # 16 bits, which convert would cut off instead of scaling
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGBA")
    whole = image.mode == "RGBA" or (image.mode == "RGB" and "transparency" not in image.info)
    return image if whole else image.convert("RGBA")


def _rgba(pixels: npt.NDArray[np.uint8], role: str) -> npt.NDArray[np.uint8]:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or not pixels.size:
        raise EspalierError("texture_unreadable", role=role, reason="it is not RGB or RGBA of 8 bits")
    if max(pixels.shape[:2]) > SIDE_LIMIT:
        reason = f"it has {pixels.shape[1]} x {pixels.shape[0]} pixels"
        raise EspalierError("texture_unreadable", role=role, reason=reason)
    if pixels.shape[2] == 4:
        return np.ascontiguousarray(pixels)
    out = np.full((*pixels.shape[:2], 4), 255, dtype=np.uint8)
    out[..., :3] = pixels
    return out


def _halves_to(shape: tuple[int, int], small: tuple[int, ...]) -> bool:
    """Return whether halving `shape`, rounding up, arrives at `small`."""
    height, width = shape
    while (height, width) != tuple(small) and max(height, width) > 1:
        height, width = (height + 1) // 2, (width + 1) // 2
    return (height, width) == tuple(small)
