# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the bytes are, the reader returns a sound mesh or raises an EspalierError, soon and in little memory."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import EspalierError
from engine.mesh.glb import Material, Mesh, Texture, read_glb, write_glb
from tests.support.meshes import bumpy_sphere, cube, encoded_image, pack_glb, unpack_glb

EXPORTED = sorted((Path(__file__).parents[1] / "data" / "exported").glob("*.glb"))
"""Files that Blender's own exporter wrote."""
FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
MUTATIONS = 300
WILD = [
    -1,
    0,
    1,
    3,
    255,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**53,
    2**64,
    1e308,
    -0.5,
    None,
    True,
    "",
    "0",
    [],
    {},
    [[]],
]


def examine(path: Path) -> bool:
    """Read `path`; return whether it was accepted, and fail where what came out is not sound or cost too much."""
    start = time.perf_counter()
    tracemalloc.start()
    try:
        mesh, material = read_glb(path)
        code = ""
    except EspalierError as error:
        code = error.code
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20 + 64 * path.stat().st_size
    assert time.perf_counter() - start < 10
    if code:
        assert code in ("glb_invalid", "glb_unsupported")
        return False
    count = len(mesh.positions)
    assert mesh.positions.dtype == np.float32
    assert mesh.positions.shape == (count, 3)
    assert np.isfinite(mesh.positions).all()
    assert mesh.faces.dtype == np.uint32
    assert mesh.faces.ndim == 2
    assert not mesh.faces.size or mesh.faces.max() < count
    assert mesh.uvs is None or (mesh.uvs.shape == (count, 2) and np.isfinite(mesh.uvs).all())
    assert mesh.normals is None or (mesh.normals.shape == (count, 3) and np.isfinite(mesh.normals).all())
    assert isinstance(material, Material)
    return True


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Return real files: two of our own writer, and those of Blender's."""
    folder = tmp_path_factory.mktemp("originals")
    png, webp = Texture(encoded_image(), "image/png"), Texture(encoded_image(kind="WEBP"), "image/webp")
    material = Material(base_color=png, metallic_roughness=webp, alpha_mode="MASK")
    for name, (positions, faces, normals, uvs) in (("cube", cube()), ("sphere", bumpy_sphere(1))):
        write_glb(folder / f"{name}.glb", Mesh(positions, faces, normals, uvs), material)
    files = [*sorted(folder.glob("*.glb")), *EXPORTED]
    assert len(files) >= 4
    return [file.read_bytes() for file in files]


@FUZZ
@given(data=st.binary(max_size=400), header=st.booleans())
def test_arbitrary_bytes(tmp_path: Path, data: bytes, header: bool) -> None:
    path = tmp_path / "a.glb"
    path.write_bytes(b"glTF\2\0\0\0" + (len(data) + 12).to_bytes(4, "little") + data if header else data)
    assert not examine(path)


@FUZZ
@given(text=st.binary(max_size=200), binary=st.binary(max_size=64))
def test_arbitrary_json_bytes(tmp_path: Path, text: bytes, binary: bytes) -> None:
    path = tmp_path / "a.glb"
    path.write_bytes(pack_glb(text, binary))
    assert not examine(path)


SCALARS = st.sampled_from(
    [*WILD, 5121, 5123, 5125, 5126, 4, 12, "VEC3", "VEC2", "SCALAR", "2.0", "OPAQUE"]
) | st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.sampled_from([
    "asset", "version", "scene", "scenes", "nodes", "mesh", "meshes", "primitives", "attributes", "POSITION",
    "NORMAL", "TEXCOORD_0", "indices", "material", "mode", "accessors", "bufferView", "byteOffset", "byteLength",
    "byteStride", "componentType", "count", "type", "normalized", "buffers", "buffer", "children", "matrix",
    "rotation", "scale", "materials", "pbrMetallicRoughness", "baseColorTexture", "index", "textures", "source",
    "images", "sampler", "extensions", "extensionsRequired", "sparse",
])  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@FUZZ
@given(document=st.dictionaries(KEYS, VALUES, max_size=8), binary=st.binary(max_size=128))
def test_arbitrary_documents(tmp_path: Path, document: dict[str, Any], binary: bytes) -> None:
    path = tmp_path / "a.glb"
    path.write_bytes(pack_glb({"asset": {"version": "2.0"}, **document}, binary))
    examine(path)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the paths of all members of a JSON value."""
    found: list[tuple[str | int, ...]] = []
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        found += [(*path, key), *places(inner, (*path, key))]
    return found


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return a GLB of whose JSON one to three members have become something wild, or have vanished."""
    document, binary = unpack_glb(data)
    for _ in range(chance.randint(1, 3)):
        *parents, last = chance.choice(places(document))
        owner: Any = document
        for key in parents:
            owner = owner[key]
        if chance.random() < 0.15:
            del owner[last]
        else:
            near = owner[last] + chance.choice([-1, 1, 4]) if type(owner[last]) is int else chance.choice(WILD)
            owner[last] = chance.choice([near, chance.choice(WILD)])
    return pack_glb(json.dumps(document).encode(), binary)


def test_mutated_documents(tmp_path: Path, originals: list[bytes]) -> None:
    """One to three members of a real file's JSON become something wild, or vanish."""
    path = tmp_path / "a.glb"
    accepted = 0
    for seed in range(MUTATIONS):
        chance = random.Random(seed)
        path.write_bytes(mutated(originals[seed % len(originals)], chance))
        accepted += examine(path)
    assert 0 < accepted < MUTATIONS, "mutations that all fail, or none, test nothing"


def test_mutated_bytes(tmp_path: Path, originals: list[bytes]) -> None:
    """Bytes of a real file are flipped, cut out, doubled or swapped with another place."""
    path = tmp_path / "a.glb"
    accepted = 0
    for seed in range(MUTATIONS):
        chance = random.Random(seed)
        data = bytearray(originals[seed % len(originals)])
        for _ in range(chance.randint(1, 6)):
            start = chance.randrange(len(data))
            end = min(len(data), start + chance.randint(1, 16))
            act = chance.randrange(4)
            if act == 0:
                data[start] ^= 1 << chance.randrange(8)
            elif act == 1:
                data[start:end] = chance.randbytes(end - start)
            elif act == 2:
                del data[start:end]
            else:
                data[start:start] = data[start:end]
        if chance.random() < 0.7:  # else nothing would get past the first check
            data[8:12] = len(data).to_bytes(4, "little")
        path.write_bytes(data)
        accepted += examine(path)
    assert 0 < accepted < MUTATIONS


def test_blender_files_are_read(originals: list[bytes], tmp_path: Path) -> None:
    for data in originals:
        (tmp_path / "a.glb").write_bytes(data)
        assert examine(tmp_path / "a.glb")
