# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of other writers: every layout that is read, and a plain reason for every one that is not."""

from __future__ import annotations

import copy
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import EspalierError
from engine.mesh.glb import Material, Mesh, read_glb
from tests.support.meshes import encoded_image, pack_glb

Change = Callable[[dict[str, Any]], None]

POSITIONS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], np.float32)
NORMALS = np.array([[0, 0, 1]] * 4, np.float32)
UVS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
INDICES = np.array([0, 1, 2, 2, 1, 3], np.uint16)
PNG = encoded_image()
PARTS = [POSITIONS.tobytes(), NORMALS.tobytes(), UVS.tobytes(), INDICES.tobytes(), PNG]


def sound() -> tuple[dict[str, Any], bytes]:
    """Return the document and the binary chunk of a small valid file."""
    views, binary = [], b""
    for part in PARTS:
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(part)})
        binary += part + b"\0" * (-len(part) % 4)
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [
            {"primitives": [{"attributes": {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2}, "indices": 3, "material": 0}]}
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5126, "count": 4, "type": "VEC3"},
            {"bufferView": 2, "componentType": 5126, "count": 4, "type": "VEC2"},
            {"bufferView": 3, "componentType": 5123, "count": 6, "type": "SCALAR"},
        ],
        "materials": [{"name": "M", "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "textures": [{"source": 0}],
        "images": [{"bufferView": 4, "mimeType": "image/png"}],
        "bufferViews": views,
        "buffers": [{"byteLength": len(binary)}],
    }
    return document, binary


def read(tmp_path: Path, document: dict[str, Any] | bytes, binary: bytes) -> tuple[Mesh, Material]:
    path = tmp_path / "a.glb"
    path.write_bytes(pack_glb(document, binary))
    return read_glb(path)


def replaced(index: int, data: bytes, **view: Any) -> tuple[dict[str, Any], bytes]:
    """Return the sound file with `data` as buffer view `index`, at the end."""
    document, binary = sound()
    binary += b"\0" * (-len(binary) % 4)
    document["bufferViews"][index] = {"buffer": 0, "byteOffset": len(binary), "byteLength": len(data), **view}
    document["buffers"][0]["byteLength"] = len(binary) + len(data)
    return document, binary + data


def test_sound(tmp_path: Path) -> None:
    mesh, material = read(tmp_path, *sound())
    np.testing.assert_array_equal(mesh.positions, POSITIONS)
    np.testing.assert_array_equal(mesh.normals, NORMALS)
    np.testing.assert_array_equal(mesh.uvs, UVS)
    np.testing.assert_array_equal(mesh.faces, INDICES.reshape(-1, 3))
    assert material.base_color is not None
    assert material.base_color.data == PNG
    assert (material.name, material.metallic_factor, material.alpha_mode) == ("M", 1.0, "OPAQUE")


@pytest.mark.parametrize(("dtype", "component"), [("<u1", 5121), ("<u2", 5123), ("<u4", 5125)])
def test_index_types(tmp_path: Path, dtype: str, component: int) -> None:
    document, binary = replaced(3, INDICES.astype(dtype).tobytes())
    document["accessors"][3]["componentType"] = component
    np.testing.assert_array_equal(read(tmp_path, document, binary)[0].faces, INDICES.reshape(-1, 3))


def test_without_indices(tmp_path: Path) -> None:
    document, binary = sound()
    del document["meshes"][0]["primitives"][0]["indices"]
    for accessor in document["accessors"][:3]:
        accessor["count"] = 3
    np.testing.assert_array_equal(read(tmp_path, document, binary)[0].faces, [[0, 1, 2]])


@pytest.mark.parametrize(("dtype", "component", "scale"), [("<u1", 5121, 255), ("<u2", 5123, 65535)])
def test_normalized_uvs(tmp_path: Path, dtype: str, component: int, scale: int) -> None:
    raw = np.array([[0, scale], [51, 1], [scale, 0], [17, 3]], dtype)
    padded = raw if dtype == "<u2" else np.pad(raw, ((0, 0), (0, 2)))  # a vertex attribute is aligned to four bytes
    document, binary = replaced(2, padded.tobytes(), **({"byteStride": 4} if dtype == "<u1" else {}))
    document["accessors"][2].update(componentType=component, normalized=True)
    np.testing.assert_allclose(read(tmp_path, document, binary)[0].uvs, raw / scale, rtol=1e-6)


def test_quantized_positions(tmp_path: Path) -> None:
    raw = np.array([[-128, 0, 127, 0], [127, 0, 0, 0], [0, 127, 0, 0], [1, 2, 3, 0]], np.int8)
    document, binary = replaced(0, raw.tobytes(), byteStride=4)
    document["extensionsRequired"] = ["KHR_mesh_quantization"]
    document["accessors"][0].update(componentType=5120, normalized=True)
    expected = np.maximum(raw[:, :3] / np.float32(127), -1)
    np.testing.assert_allclose(read(tmp_path, document, binary)[0].positions, expected, rtol=1e-6)


def test_interleaved(tmp_path: Path) -> None:
    document, binary = replaced(0, np.hstack([POSITIONS, NORMALS, UVS]).tobytes(), byteStride=32)
    for index, offset in ((0, 0), (1, 12), (2, 24)):
        document["accessors"][index].update(bufferView=0, byteOffset=offset)
    mesh, _ = read(tmp_path, document, binary)
    np.testing.assert_array_equal(mesh.positions, POSITIONS)
    np.testing.assert_array_equal(mesh.normals, NORMALS)
    np.testing.assert_array_equal(mesh.uvs, UVS)


def test_a_chain_of_nodes(tmp_path: Path) -> None:
    document, binary = sound()
    half = 0.5**0.5
    document["nodes"] = [
        {"translation": [10, 0, 0], "children": [1]},
        {"rotation": [0, 0, half, half], "children": [2]},  # a quarter turn about Z
        {"matrix": [2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0, 0, 0, 5, 1], "mesh": 0},
    ]
    mesh, _ = read(tmp_path, document, binary)
    expected = np.stack([10 - 3 * POSITIONS[:, 1], 2 * POSITIONS[:, 0], POSITIONS[:, 2] + 5], axis=1)
    np.testing.assert_allclose(mesh.positions, expected, atol=1e-6)
    np.testing.assert_allclose(mesh.normals, NORMALS, atol=1e-6)


def test_a_mirror_turns_the_faces_round(tmp_path: Path) -> None:
    document, binary = sound()
    document["nodes"][0]["scale"] = [-1, 1, 1]
    mesh, _ = read(tmp_path, document, binary)
    corner = mesh.positions[mesh.faces]
    facing = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    assert (facing[:, 2] > 0).all()
    np.testing.assert_allclose(mesh.normals, NORMALS)


def test_normals_that_are_no_numbers_count_as_absent(tmp_path: Path) -> None:
    normals = NORMALS.copy()
    normals[1] = np.nan
    normals[2] = 0
    normals[3] *= 7
    mesh, _ = read(tmp_path, *replaced(1, normals.tobytes()))
    np.testing.assert_array_equal(mesh.normals, [[0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 1]])


def _set(path: str, value: Any) -> Change:
    """Return a change that sets the member at `path`, such as `nodes.0.mesh`; ... removes it."""

    def change(document: dict[str, Any]) -> None:
        *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        owner: Any = document
        for key in parents:
            owner = owner[key]
        if value is ...:
            del owner[last]
        else:
            owner[last] = value

    return change


UNSUPPORTED: dict[str, Change] = {
    "draco": _set("extensionsRequired", ["KHR_draco_mesh_compression"]),
    "two nodes": _set("scenes.0.nodes", [0, 0]),
    "two primitives": lambda d: d["meshes"][0]["primitives"].append(d["meshes"][0]["primitives"][0]),
    "no scene": _set("scenes", []),
    "no mesh": _set("nodes.0.mesh", ...),
    "lines": _set("meshes.0.primitives.0.mode", 1),
    "morph": _set("meshes.0.primitives.0.targets", [{}]),
    "colors": _set("meshes.0.primitives.0.attributes.COLOR_0", 0),
    "second UV map": _set("meshes.0.primitives.0.attributes.TEXCOORD_1", 2),
    "skin": _set("skins", [{}]),
    "animation": _set("animations", [{}]),
    "sparse": _set("accessors.0.sparse", {"count": 1}),
    "accessor without data": _set("accessors.0.bufferView", ...),
    "clearcoat": _set("materials.0.extensions", {"KHR_materials_clearcoat": {}}),
    "texture transform": _set(
        "materials.0.pbrMetallicRoughness.baseColorTexture.extensions", {"KHR_texture_transform": {}}
    ),
    "texture on another UV map": _set("materials.0.pbrMetallicRoughness.baseColorTexture.texCoord", 1),
    "image outside": _set("images.0", {"uri": "../secret.png"}),
    "buffer outside": _set("buffers.0.uri", "a.bin"),
    "basis": _set("textures.0", {"extensions": {"KHR_texture_basisu": {"source": 0}}}),
    "instances": _set("nodes.0.extensions", {"EXT_mesh_gpu_instancing": {}}),
    "version 3": _set("asset.version", "3.0"),
    "texture without UVs": _set("meshes.0.primitives.0.attributes.TEXCOORD_0", ...),
    "no positions": _set("meshes.0.primitives.0.attributes.POSITION", ...),
    "one-way wrap": lambda d: d.update(samplers=[{"wrapS": 33071}], textures=[{"source": 0, "sampler": 0}]),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_is_not_read_says_so(tmp_path: Path, case: str) -> None:
    document, binary = sound()
    UNSUPPORTED[case](document)
    with pytest.raises(EspalierError) as caught:
        read(tmp_path, document, binary)
    assert caught.value.code == "glb_unsupported"


INVALID: dict[str, Change] = {
    "view beyond the buffer": _set("bufferViews.0.byteLength", 10**6),
    "view at a huge offset": _set("bufferViews.0.byteOffset", 2**52),
    "negative offset": _set("bufferViews.0.byteOffset", -4),
    "offset as text": _set("bufferViews.0.byteOffset", "0"),
    "offset as truth": _set("bufferViews.0.byteOffset", True),
    "offset as fraction": _set("bufferViews.0.byteOffset", 0.5),
    "buffer longer than its chunk": _set("buffers.0.byteLength", 10**6),
    "huge count": _set("accessors.0.count", 2**50),
    "count beyond 64 bits": _set("accessors.0.count", 2**64 + 4),
    "zero count": _set("accessors.0.count", 0),
    "one element too many": _set("accessors.0.count", 5),
    "accessor offset": _set("accessors.0.byteOffset", 4),
    "odd stride": _set("bufferViews.0.byteStride", 13),
    "short stride": _set("bufferViews.0.byteStride", 8),
    "huge stride": _set("bufferViews.0.byteStride", 2**40),
    "component type": _set("accessors.0.componentType", 5130),
    "float indices": _set("accessors.3.componentType", 5126),
    "signed indices": _set("accessors.3.componentType", 5122),
    "vector type": _set("accessors.0.type", "VEC2"),
    "type of a wrong type": _set("accessors.0.type", ["VEC3"]),
    "accessor that is not there": _set("meshes.0.primitives.0.indices", 99),
    "negative accessor": _set("meshes.0.primitives.0.indices", -1),
    "incomplete triangle": _set("accessors.3.count", 5),
    "fewer UVs": _set("accessors.2.count", 3),
    "view that is not there": _set("accessors.0.bufferView", 77),
    "circle of nodes": _set("nodes", [{"children": [1]}, {"children": [0]}]),
    "own child": _set("nodes.0.children", [0]),
    "node that is not there": _set("scenes.0.nodes", [5]),
    "node as text": _set("scenes.0.nodes", ["0"]),
    "scene that is not there": _set("scene", 3),
    "nodes as object": _set("nodes", {"0": {}}),
    "material as number": _set("materials.0", 7),
    "zero rotation": _set("nodes.0.rotation", [0, 0, 0, 0]),
    "short matrix": _set("nodes.0.matrix", [1, 0, 0]),
    "projective matrix": _set("nodes.0.matrix", [1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]),
    "scale out of range": _set("nodes.0.scale", [1e300, 1, 1]),
    "factor above one": _set("materials.0.pbrMetallicRoughness.roughnessFactor", 2),
    "alpha mode": _set("materials.0.alphaMode", "GLASS"),
    "double sided": _set("materials.0.doubleSided", 1),
    "wrap": lambda d: d.update(samplers=[{"wrapS": 1}], textures=[{"source": 0, "sampler": 0}]),
    "empty mesh": _set("meshes.0.primitives", []),
    "asset as array": _set("asset", []),
}


@pytest.mark.parametrize("case", INVALID)
def test_what_breaks_the_format_is_refused(tmp_path: Path, case: str) -> None:
    document, binary = sound()
    INVALID[case](document)
    with pytest.raises(EspalierError) as caught:
        read(tmp_path, document, binary)
    assert caught.value.code == "glb_invalid"


def test_values_that_are_no_numbers(tmp_path: Path) -> None:
    for index, values in ((0, POSITIONS), (2, UVS)):
        for wrong in (np.nan, np.inf):
            broken = values.copy()
            broken[1, 1] = wrong
            with pytest.raises(EspalierError, match="not finite"):
                read(tmp_path, *replaced(index, broken.tobytes()))


def test_an_index_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(EspalierError, match="names vertex 4 of 4"):
        read(tmp_path, *replaced(3, np.array([0, 1, 2, 2, 1, 4], np.uint16).tobytes()))


def test_positions_moved_out_of_range(tmp_path: Path) -> None:
    document, binary = replaced(0, (POSITIONS * np.float32(1e38)).tobytes())
    document["nodes"][0]["scale"] = [100, 1, 1]
    with pytest.raises(EspalierError, match="out of range"):
        read(tmp_path, document, binary)


TEXTS = {
    "not JSON": b"{]",
    "not UTF-8": b'{"asset": "\xff"}',
    "an array": b"[]",
    "a key twice": b'{"asset": {"version": "2.0"}, "asset": {"version": "2.0"}}',
    "NaN": b'{"asset": NaN}',
    "nested": b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "long number": b'{"asset":' + b"9" * 100_000 + b"}",
}


@pytest.mark.parametrize("case", TEXTS)
def test_broken_json(tmp_path: Path, case: str) -> None:
    with pytest.raises(EspalierError) as caught:
        read(tmp_path, TEXTS[case], b"")
    assert caught.value.code == "glb_invalid"


def test_large_json_is_not_parsed(tmp_path: Path) -> None:
    with pytest.raises(EspalierError) as caught:
        read(tmp_path, b'{"a":[' + b"[]," * 2_000_000 + b"[]]}", b"")
    assert caught.value.code == "glb_unsupported"


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    whole = pack_glb(*sound())
    path = tmp_path / "a.glb"
    for length in [*range(64), *range(64, len(whole), 7)]:
        path.write_bytes(whole[:length])
        with pytest.raises(EspalierError, match="cut off"):
            read_glb(path)
    path.write_bytes(whole + b"more")
    with pytest.raises(EspalierError, match="follows after"):
        read_glb(path)


def test_a_chunk_longer_than_the_file(tmp_path: Path) -> None:
    data = bytearray(pack_glb(*sound()))
    struct.pack_into("<I", data, 12, 0xFFFFFFFF)
    (tmp_path / "a.glb").write_bytes(data)
    with pytest.raises(EspalierError, match="longer than the file"):
        read_glb(tmp_path / "a.glb")


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(EspalierError, match="does not exist"):
        read_glb(tmp_path / "missing.glb")
    with pytest.raises(EspalierError, match="not a file"):
        read_glb(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.glb")
    with pytest.raises(EspalierError, match="not a file"):
        read_glb(tmp_path / "a.glb")


def test_the_sound_file_is_not_what_the_cases_share() -> None:
    before = copy.deepcopy(sound()[0])
    UNSUPPORTED["colors"](sound()[0])
    assert sound()[0] == before
