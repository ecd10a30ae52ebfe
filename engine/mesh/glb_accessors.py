# SPDX-License-Identifier: GPL-3.0-or-later
"""Typed arrays out of a GLB's binary chunk (glTF 2.0, section 3.6); every bound is checked before anything is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .glb_container import Object, Reading
from .model import Bytes

_DTYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_INDEX_TYPES = (5121, 5123, 5125)


def read_view(reading: Reading, index: int) -> tuple[Bytes, int]:
    """Return the bytes of buffer view `index` and its stride, 0 where its elements are packed."""
    view = reading.entry("bufferViews", index)
    _refuse_compression(reading, view)
    buffer = reading.entry("buffers", reading.integer(view, "buffer"))
    if buffer is not reading.array(reading.document, "buffers")[0] or "uri" in buffer:
        reading.unsupported("data outside of the file's own chunk")
    held = reading.integer(buffer, "byteLength", minimum=1)
    if held > len(reading.binary):
        reading.invalid("its buffer is longer than its binary chunk")
    start = reading.integer(view, "byteOffset", 0)
    length = reading.integer(view, "byteLength", minimum=1)
    if start + length > held:
        reading.invalid(f"buffer view {index} reaches beyond the buffer")
    stride = reading.integer(view, "byteStride", minimum=4) if "byteStride" in view else 0
    if stride % 4 or stride > 252:
        reading.invalid(f"the stride of buffer view {index} is not a multiple of 4 up to 252")
    return reading.binary[start : start + length], stride


def _refuse_compression(reading: Reading, view: Object) -> None:
    for name in reading.member(view, "extensions"):
        if name.endswith("_meshopt_compression"):
            reading.unsupported(name)


def read_indices(reading: Reading, index: int, vertices: int) -> npt.NDArray[np.uint32]:
    """Return accessor `index` as uint32 (N,), every one below `vertices`."""
    accessor = reading.entry("accessors", index)
    if accessor.get("componentType") not in _INDEX_TYPES or reading.boolean(accessor, "normalized"):
        reading.invalid("its indices are not unsigned whole numbers")
    values = _elements(reading, index, "SCALAR").reshape(-1).astype(np.uint32)
    if len(values) and int(values.max()) >= vertices:
        reading.invalid(f"an index names vertex {int(values.max())} of {vertices}")
    return values


def read_vectors(reading: Reading, index: int, kind: str, what: str, finite: bool = True) -> npt.NDArray[np.float32]:
    """Return accessor `index` of type `kind` as float32 (N, components), normalised integers as -1 to 1 or 0 to 1."""
    raw = _elements(reading, index, kind)
    if raw.dtype.kind == "f":
        values = raw.astype(np.float32)
        if finite and not np.isfinite(values).all():
            reading.invalid(f"{what} holds a value that is not finite")
        return values
    if raw.dtype.itemsize == 4:
        reading.invalid(f"{what} has whole numbers of four bytes")
    values = raw.astype(np.float32)
    if reading.boolean(reading.entry("accessors", index), "normalized"):
        values /= np.float32(np.iinfo(raw.dtype).max)
        np.maximum(values, np.float32(-1.0), out=values)
    return values


def _elements(reading: Reading, index: int, kind: str) -> npt.NDArray[Any]:
    """Return a view (count, components) into the binary chunk."""
    accessor = reading.entry("accessors", index)
    if "sparse" in accessor:
        reading.unsupported("a sparse accessor")
    if "bufferView" not in accessor:
        reading.unsupported("an accessor without data")
    if accessor.get("type") != kind:
        reading.invalid(f"accessor {index} is not {kind}")
    component = reading.integer(accessor, "componentType")
    if component not in _DTYPES:
        reading.invalid(f"accessor {index} has the unknown component type {component}")
    dtype = np.dtype(_DTYPES[component])
    count = reading.integer(accessor, "count", minimum=1)
    offset = reading.integer(accessor, "byteOffset", 0)
    data, stride = read_view(reading, reading.integer(accessor, "bufferView"))
    element = dtype.itemsize * _WIDTHS[kind]
    stride = stride or element
    if stride < element:
        reading.invalid(f"the stride of accessor {index} is shorter than its elements")
    # Python's whole numbers do not overflow, so that this comparison holds for any count and offset.
    if offset + (count - 1) * stride + element > len(data):
        reading.invalid(f"accessor {index} reaches beyond its buffer view")
    return np.ndarray((count, _WIDTHS[kind]), dtype, buffer=data, offset=offset, strides=(stride, dtype.itemsize))
