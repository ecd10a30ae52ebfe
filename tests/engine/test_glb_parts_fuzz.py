# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the bytes are, the reader of any scene returns sound parts or raises an EspalierError, soon."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EspalierError
from engine.mesh.glb_parts import read_parts
from engine.mesh.parts import assemble
from tests.engine.test_glb_fuzz import EXPORTED, FUZZ, VALUES, mutated, places
from tests.support.gltf import FAN, STRIP, Glb
from tests.support.meshes import bumpy_sphere, pack_glb, unpack_glb

MUTATIONS = 600
KEYS = st.sampled_from([
    "asset", "scenes", "nodes", "mesh", "meshes", "primitives", "attributes", "POSITION", "COLOR_0", "TEXCOORD_1",
    "JOINTS_0", "WEIGHTS_0", "indices", "material", "mode", "targets", "accessors", "bufferViews", "buffers", "skin",
    "skins", "joints", "inverseBindMatrices", "children", "materials", "extensions", "extensionsRequired", "cameras",
    "animations", "normalTexture", "texCoord", "index", "textures", "images", "samplers",
])  # fmt: skip


def rich() -> Glb:
    """Return a scene with all that is read: colors, strips, fans, skins, several maps, mirrored nodes."""
    glb = Glb()
    positions, faces, normals, uvs = bumpy_sphere(1)
    count = len(positions)
    image = glb.texture((200, 100, 50, 128))
    move = {"KHR_texture_transform": {"offset": [0.5, 0.5], "rotation": 1.0, "scale": [2, 2], "texCoord": 1}}
    cutout = glb.material(base={"index": image}, alphaMode="MASK", normalTexture={"index": image, "extensions": move})
    glow = glb.material((1, 0, 0), emissiveFactor=[1, 1, 1], extensions={"KHR_materials_ior": {"ior": 1.4}})
    place = glb.accessor(positions)
    colors = glb.accessor(np.full((count, 3), 99, np.uint8), normalized=True)
    joints, weights = np.zeros((count, 4), np.uint16), np.full((count, 4), 64, np.uint8)
    mesh = glb.mesh(
        glb.primitive(place, faces, cutout, NORMAL=normals, TEXCOORD_0=uvs, TEXCOORD_1=uvs[::-1].copy()),
        glb.primitive(place, np.arange(count), glow, mode=STRIP, COLOR_0=colors),
        glb.primitive(place, np.arange(count), mode=FAN),
        glb.primitive(place, np.arange(4), mode=1),
    )
    skinned = glb.mesh(glb.primitive(place, faces, JOINTS_0=joints, WEIGHTS_0=glb.accessor(weights, True)))
    glb.node(mesh, scale=[-1, 1, 1])
    joint = glb.node(parent=glb.node(rotation=[0, 0, 1, 0]), matrix=np.eye(4).ravel().tolist())
    glb.node(skinned, skin=0)
    inverse = glb.accessor(np.eye(4, dtype=np.float32).reshape(1, 16))
    glb.add("skins", {"joints": [joint], "inverseBindMatrices": inverse})
    return glb


def examine(path: Path) -> bool:
    """Read and assemble `path`; return whether it was accepted, and fail where what came out is not sound."""
    start = time.perf_counter()
    code = ""
    try:
        parts, notices = read_parts(path)
        source = assemble(parts)
        mesh, look = source.mesh, source.appearance
        if look is not None:
            face = np.arange(min(len(mesh.faces), 500))
            weights, footprint = np.full((len(face), 2), 0.3, np.float32), np.full(len(face), 1e-3, np.float32)
            look.prepare(face, footprint, None)
            channels = look.sample(face, weights, np.zeros((len(face), 3)), footprint)
            assert all(np.isfinite(values).all() for values in channels.values())
            look.tangent_normals(face, weights, footprint)
    except EspalierError as error:
        code = error.code
    assert time.perf_counter() - start < 10
    if code:
        assert code in ("glb_invalid", "glb_unsupported", "mesh_empty", "texture_unreadable")
        return False
    assert all(isinstance(notice, str) and notice.endswith(".") for notice in notices)
    count = len(mesh.positions)
    assert np.isfinite(mesh.positions).all()
    assert mesh.faces.dtype == np.uint32
    assert mesh.faces.max() < count
    assert mesh.uvs is None or (mesh.uvs.shape == (count, 2) and np.isfinite(mesh.uvs).all())
    assert mesh.normals is None or (mesh.normals.shape == (count, 3) and np.isfinite(mesh.normals).all())
    return True


@pytest.fixture(scope="module")
def originals() -> list[bytes]:
    return [rich().data(), *(path.read_bytes() for path in EXPORTED)]


def test_the_rich_file_itself_is_read(tmp_path: Path) -> None:
    assert examine(rich().save(tmp_path / "a.glb"))


@FUZZ
@given(text=st.binary(max_size=200), binary=st.binary(max_size=64))
def test_arbitrary_json_bytes(tmp_path: Path, text: bytes, binary: bytes) -> None:
    path = tmp_path / "a.glb"
    path.write_bytes(pack_glb(text, binary))
    assert not examine(path)


@FUZZ
@given(document=st.dictionaries(KEYS, st.lists(st.dictionaries(KEYS, VALUES, max_size=5), max_size=3), max_size=8))
def test_arbitrary_documents(tmp_path: Path, document: dict[str, Any]) -> None:
    path = tmp_path / "a.glb"
    path.write_bytes(pack_glb({**document, "asset": {"version": "2.0"}}, bytes(128)))
    examine(path)


@FUZZ
@given(data=st.data())
def test_a_rich_document_with_anything_in_one_place(tmp_path: Path, data: st.DataObject) -> None:
    document, binary = unpack_glb(rich().data())
    *parents, last = data.draw(st.sampled_from(places(document)))
    owner: Any = document
    for key in parents:
        owner = owner[key]
    owner[last] = data.draw(VALUES)
    path = tmp_path / "a.glb"
    path.write_bytes(pack_glb(json.dumps(document, allow_nan=False).encode(), binary))
    examine(path)


def test_mutated_documents(tmp_path: Path, originals: list[bytes]) -> None:
    """One to three members of a real file's JSON become something wild, or vanish."""
    path = tmp_path / "a.glb"
    accepted = 0
    for seed in range(MUTATIONS):
        chance = random.Random(seed)
        path.write_bytes(mutated(originals[0 if seed % 3 else seed % len(originals)], chance))
        accepted += examine(path)
    assert 0 < accepted < MUTATIONS, "mutations that all fail, or none, test nothing"


def test_mutated_bytes(tmp_path: Path, originals: list[bytes]) -> None:
    """Bytes of the binary chunk are anything: values that are not numbers, indices that do not exist."""
    path = tmp_path / "a.glb"
    accepted = 0
    for seed in range(MUTATIONS // 2):
        chance = random.Random(seed)
        data = bytearray(originals[seed % len(originals)])
        start = 28 + int.from_bytes(data[12:16], "little")
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(start, len(data))
            end = min(len(data), at + chance.randint(1, 16))
            data[at:end] = chance.randbytes(end - at) if chance.random() < 0.7 else b"\xff" * (end - at)
        path.write_bytes(data)
        accepted += examine(path)
    assert 0 < accepted < MUTATIONS // 2
