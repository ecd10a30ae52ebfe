# SPDX-License-Identifier: GPL-3.0-or-later
"""GLB files of any kind, put together by hand: several nodes, primitives and materials, any attribute type."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.meshes import pack_glb

COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
TRIANGLES, STRIP, FAN = 4, 5, 6


class Glb:
    """A GLB document while it is put together; `document` may be changed by hand."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": []}],
            "nodes": [],
            "meshes": [],
        }
        self.binary = b""

    def add(self, key: str, entry: dict[str, Any]) -> int:
        """Add an entry to one of the document's arrays; return its index."""
        self.document.setdefault(key, []).append(entry)
        return len(self.document[key]) - 1

    def view(self, data: bytes, **more: Any) -> int:
        start = len(self.binary)
        self.binary += data + b"\0" * (-len(data) % 4)
        return self.add("bufferViews", {"buffer": 0, "byteOffset": start, "byteLength": len(data), **more})

    def accessor(self, values: np.ndarray, normalized: bool = False) -> int:
        """Add `values` (N,) or (N, K); rows that are not a multiple of four bytes are padded, as glTF wants it."""
        values = np.ascontiguousarray(values)
        width = 1 if values.ndim == 1 else values.shape[1]
        entry: dict[str, Any] = {
            "componentType": COMPONENTS[values.dtype.str[1:]],
            "count": len(values),
            "type": KINDS[width],
        }
        if normalized:
            entry["normalized"] = True
        size = values.dtype.itemsize * width
        if width > 1 and size % 4:
            rows = values.view(np.uint8).reshape(len(values), size)
            rows = np.concatenate([rows, np.zeros((len(values), -size % 4), np.uint8)], axis=1)
            entry["bufferView"] = self.view(rows.tobytes(), byteStride=rows.shape[1])
        else:
            entry["bufferView"] = self.view(values.tobytes())
        return self.add("accessors", entry)

    def texture(self, pixels: np.ndarray | tuple[int, ...], **sampler: int) -> int:
        """Add an image uint8 (H, W, 3 or 4), or one of a single color, as a texture."""
        pixels = np.asarray(pixels, np.uint8)
        if pixels.ndim == 1:
            pixels = np.tile(pixels, (8, 8, 1))
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        image = self.add("images", {"bufferView": self.view(stream.getvalue()), "mimeType": "image/png"})
        return self.add("textures", {"source": image, "sampler": self.add("samplers", sampler)})

    def material(self, color: tuple[float, ...] = (1, 1, 1, 1), **more: Any) -> int:
        """Add a material; `base`, the slot of the base color's texture, and members of the material are `more`."""
        surface: dict[str, Any] = {"baseColorFactor": [*color, 1][:4]}
        if "base" in more:
            surface["baseColorTexture"] = more.pop("base")
        surface.update(more.pop("surface", {}))
        return self.add("materials", {"pbrMetallicRoughness": surface, **more})

    def primitive(
        self,
        positions: np.ndarray | int,
        indices: np.ndarray | None = None,
        material: int | None = None,
        mode: int | None = None,
        **attributes: np.ndarray | int,
    ) -> dict[str, Any]:
        """Return a primitive; an attribute that is a number is the index of an accessor."""
        found = {"POSITION": positions, **attributes}
        entry: dict[str, Any] = {
            "attributes": {
                name: values if isinstance(values, int) else self.accessor(np.asarray(values))
                for name, values in found.items()
            }
        }
        if indices is not None:
            entry["indices"] = self.accessor(np.asarray(indices, np.uint32).reshape(-1))
        if material is not None:
            entry["material"] = material
        if mode is not None:
            entry["mode"] = mode
        return entry

    def mesh(self, *primitives: dict[str, Any]) -> int:
        return self.add("meshes", {"primitives": list(primitives)})

    def node(self, mesh: int | None = None, parent: int | None = None, **more: Any) -> int:
        """Add a node, below the scene if it has no `parent`."""
        index = self.add("nodes", more if mesh is None else {"mesh": mesh, **more})
        owner, key = (self.document["scenes"][0], "nodes") if parent is None else (self.nodes[parent], "children")
        owner.setdefault(key, []).append(index)
        return index

    @property
    def nodes(self) -> list[dict[str, Any]]:
        return self.document["nodes"]

    def data(self) -> bytes:
        if self.binary:
            self.document["buffers"] = [{"byteLength": len(self.binary)}]
        return pack_glb(self.document, self.binary)

    def save(self, path: Path) -> Path:
        path.write_bytes(self.data())
        return path
