# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing GLB 2.0 (Khronos glTF 2.0 specification, sections 3 and 4): one mesh, one material, embedded textures."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..files import replacing
from .glb_format import GENERATOR
from .model import Material, Mesh, Texture, sniff_mime

_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_COMPONENT = {"<u2": 5123, "<u4": 5125, "<f4": 5126}
_WRAP = {"repeat": 10497, "clamp": 33071, "mirror": 33648}
_LINEAR, _NEAREST, _MIPMAP_LINEAR, _MIPMAP_NEAREST = 9729, 9728, 9987, 9986
_UNIT_TOLERANCE = 1e-3
_LARGEST = 2**32 - 1


def write_glb(
    path: str | Path,
    mesh: Mesh,
    material: Material,
    name: str = "Asset",
    extras: Mapping[str, Any] | None = None,
) -> None:
    """Write `mesh` with `material` as the GLB file `path`, whole or not at all.

    The scene has one node and one mesh, both called `name`. `extras` is plain JSON data about the file and goes into
    `asset.extras`. Indices take two bytes each where the number of vertices allows it.

    Raises EspalierError `disk_full` or `output_unwritable`, and ValueError for a mesh, a material or extras that no
    valid GLB can hold.
    """
    check_mesh(mesh)
    binary = _Binary()
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": GENERATOR},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": name, "mesh": 0}],
        "meshes": [{"name": name, "primitives": [_primitive(mesh, binary)]}],
        "materials": [],
    }
    if extras:
        document["asset"]["extras"] = dict(extras)
    document["materials"].append(_material(material, binary, document))
    document["accessors"] = binary.accessors
    document["bufferViews"] = binary.views
    document["buffers"] = [{"byteLength": binary.length}]
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(errors="replace")
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + binary.length
    if total > _LARGEST:
        raise ValueError(f"a GLB file cannot hold {total} bytes")
    with replacing(Path(path)) as partial, partial.open("wb") as file:
        file.write(struct.pack("<4sII", b"glTF", 2, total))
        file.write(struct.pack("<I4s", len(text), b"JSON") + text)
        file.write(struct.pack("<I4s", binary.length, b"BIN\0"))
        binary.write(file)


def check_mesh(mesh: Mesh) -> None:
    """Raise ValueError unless `mesh` has at least one triangle, finite values and indices that exist."""
    count = len(mesh.positions)
    _check_array("positions", mesh.positions, np.float32, (count, 3))
    _check_array("faces", mesh.faces, np.uint32, (len(mesh.faces), 3))
    if not len(mesh.faces):
        raise ValueError("the mesh has no faces")
    if int(mesh.faces.max()) >= count:
        raise ValueError(f"a face names vertex {int(mesh.faces.max())} of {count}")
    if mesh.uvs is not None:
        _check_array("uvs", mesh.uvs, np.float32, (count, 2))
    if mesh.normals is not None:
        _check_array("normals", mesh.normals, np.float32, (count, 3))
        squared = np.einsum("ij,ij->i", mesh.normals, mesh.normals)
        if np.abs(squared - 1.0).max() > 2 * _UNIT_TOLERANCE:
            raise ValueError("a normal is not of unit length")


def _check_array(name: str, array: npt.NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} must be {np.dtype(dtype)} {shape}, not {array.dtype} {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} holds a value that is not finite")


class _Binary:
    """The BIN chunk as it grows: parts that start at multiples of four bytes, and their views and accessors."""

    def __init__(self) -> None:
        self.length = 0
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self._parts: list[memoryview] = []

    def add_view(self, data: memoryview, target: int | None = None) -> int:
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self.length, "byteLength": data.nbytes}
        if target is not None:
            view["target"] = target
        self.views.append(view)
        self._parts.append(data)
        self.length += data.nbytes + (-data.nbytes % 4)
        return len(self.views) - 1

    def add_array(self, array: npt.NDArray[Any], dtype: str, kind: str, target: int, bounds: bool = False) -> int:
        data = np.ascontiguousarray(array, dtype=dtype)
        accessor: dict[str, Any] = {
            "bufferView": self.add_view(data.data.cast("B"), target),
            "componentType": _COMPONENT[dtype],
            "count": len(data),
            "type": kind,
        }
        if bounds:
            accessor["min"], accessor["max"] = data.min(axis=0).tolist(), data.max(axis=0).tolist()
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def write(self, file: BinaryIO) -> None:
        for part in self._parts:
            file.write(part)
            file.write(b"\0" * (-part.nbytes % 4))


def _primitive(mesh: Mesh, binary: _Binary) -> dict[str, Any]:
    attributes = {"POSITION": binary.add_array(mesh.positions, "<f4", "VEC3", _ARRAY_BUFFER, bounds=True)}
    if mesh.normals is not None:
        attributes["NORMAL"] = binary.add_array(mesh.normals, "<f4", "VEC3", _ARRAY_BUFFER)
    if mesh.uvs is not None:
        attributes["TEXCOORD_0"] = binary.add_array(mesh.uvs, "<f4", "VEC2", _ARRAY_BUFFER)
    # The largest index of a type restarts the primitive, so that 65,535 vertices are the most for two bytes.
    index = "<u2" if len(mesh.positions) <= 65535 else "<u4"
    indices = binary.add_array(mesh.faces.reshape(-1), index, "SCALAR", _ELEMENT_ARRAY_BUFFER)
    return {"attributes": attributes, "indices": indices, "material": 0, "mode": 4}


def _material(material: Material, binary: _Binary, document: dict[str, Any]) -> dict[str, Any]:
    """Return the material's JSON; its images, samplers and textures go into `document`."""
    slots = {role: {"index": index} for role, index in _textures(material, binary, document).items()}
    surface: dict[str, Any] = {
        "baseColorFactor": _factors(material.base_color_factor),
        "metallicFactor": _factor(material.metallic_factor),
        "roughnessFactor": _factor(material.roughness_factor),
    }
    if "base_color" in slots:
        surface["baseColorTexture"] = slots["base_color"]
    if "metallic_roughness" in slots:
        surface["metallicRoughnessTexture"] = slots["metallic_roughness"]
    result: dict[str, Any] = {"name": material.name, "pbrMetallicRoughness": surface}
    if "normal" in slots:
        result["normalTexture"] = {**slots["normal"], "scale": float(material.normal_scale)}
    if "occlusion" in slots:
        result["occlusionTexture"] = {**slots["occlusion"], "strength": _factor(material.occlusion_strength)}
    if "emissive" in slots:
        result["emissiveTexture"] = slots["emissive"]
    if any(material.emissive_factor):
        result["emissiveFactor"] = _factors(material.emissive_factor)
    if material.alpha_mode != "OPAQUE":
        result["alphaMode"] = material.alpha_mode
    if material.alpha_mode == "MASK":
        result["alphaCutoff"] = float(material.alpha_cutoff)
    if material.double_sided:
        result["doubleSided"] = True
    return result


def _factor(value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"a material factor must lie between 0 and 1, not {value}")
    return float(value)


def _factors(values: tuple[float, ...]) -> list[float]:
    return [_factor(value) for value in values]


def _textures(material: Material, binary: _Binary, document: dict[str, Any]) -> dict[str, int]:
    """Add the material's textures to `document`, each image and sampler once; return role -> texture index."""
    images: dict[bytes, int] = {}
    samplers: list[dict[str, int]] = []
    textures: list[dict[str, Any]] = []
    indices: dict[str, int] = {}
    webp = False
    for role, texture in material.textures().items():
        if sniff_mime(texture.data) != texture.mime:
            raise ValueError(f"the {role} texture is not an {texture.mime}")
        if texture.data not in images:
            images[texture.data] = len(images)
            view = binary.add_view(memoryview(texture.data))
            document.setdefault("images", []).append({"name": role, "mimeType": texture.mime, "bufferView": view})
        sampler = _sampler(texture)
        if sampler not in samplers:
            samplers.append(sampler)
        entry: dict[str, Any] = {"sampler": samplers.index(sampler)}
        if texture.mime == "image/webp":
            webp = True
            entry["extensions"] = {"EXT_texture_webp": {"source": images[texture.data]}}
        else:
            entry["source"] = images[texture.data]
        if entry not in textures:
            textures.append(entry)
        indices[role] = textures.index(entry)
    if textures:
        document["samplers"], document["textures"] = samplers, textures
    if webp:
        # Required too: a texture that has no other source cannot be shown without the extension.
        document["extensionsUsed"] = document["extensionsRequired"] = ["EXT_texture_webp"]
    return indices


def _sampler(texture: Texture) -> dict[str, int]:
    wrap = _WRAP[texture.wrap]
    return {
        "magFilter": _NEAREST if texture.nearest else _LINEAR,
        "minFilter": _MIPMAP_NEAREST if texture.nearest else _MIPMAP_LINEAR,
        "wrapS": wrap,
        "wrapT": wrap,
    }
