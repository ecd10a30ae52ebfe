# SPDX-License-Identifier: GPL-3.0-or-later
"""The bulk importer gives what Blender's own importer gives, on every mesh, and leaves nothing behind on failure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import numpy as np
import pytest

from tests.support import extension
from tests.support.meshes import bumpy_sphere, cube, encoded_image

Shape = Callable[[], tuple[Any, Any, Any, Any]]


@pytest.fixture(autouse=True)
def _empty(empty_scene: None) -> None:
    """Each test has an empty scene."""


def glb() -> ModuleType:
    return extension.module("engine.mesh.glb")


def doubled() -> tuple[Any, ...]:
    """Return a sphere with faces that welding drops: degenerate, doubled and turned round."""
    positions, faces, normals, uvs = bumpy_sphere(2)
    extra = np.array([[0, 0, 5], faces[3], faces[7][::-1], faces[9]], np.uint32)
    return positions, np.concatenate([faces, extra]), normals, uvs


SHAPES: dict[str, Shape] = {
    "cube": cube,
    "sphere": lambda: bumpy_sphere(4),
    "large sphere": lambda: bumpy_sphere(6),
    "doubled faces": doubled,
}


def write(path: Path, shape: Shape, **material: Any) -> Path:
    """Write a GLB file with two textures."""
    g = glb()
    positions, faces, normals, uvs = shape()
    textures = {
        "base_color": g.Texture(encoded_image(64), "image/png"),
        "metallic_roughness": g.Texture(encoded_image(32, "JPEG", 1), "image/jpeg"),
    }
    g.write_glb(path, g.Mesh(positions, faces, normals, uvs), g.Material(**{**textures, **material}), name="Thing")
    return path


def prepared(tmp_path: Path, shape: Shape = cube, **material: Any) -> Path:
    """Return a folder of prepared arrays."""
    folder = tmp_path / "import"
    extension.module("engine.mesh.prepare").prepare(write(tmp_path / "asset.glb", shape, **material), folder)
    return folder


def import_prepared(folder: Path, name: str = "Thing") -> bpy.types.Object:
    created: bpy.types.Object = extension.module("operators.scene.importer").import_prepared(folder, name)
    return created


def read(data: Any, attribute: str, width: int, dtype: type = np.float32) -> np.ndarray:
    """Return an attribute of every item of a collection of `bpy`."""
    values = np.empty(len(data) * width, dtype)
    data.foreach_get(attribute, values)
    return values.reshape(-1, width)


def corners(mesh: bpy.types.Mesh) -> np.ndarray:
    """Return position and UV of every corner, (F, 3, 5): what a mesh is, however its vertices are numbered."""
    position = read(mesh.vertices, "co", 3)
    vertex = read(mesh.loops, "vertex_index", 1, np.int32)[:, 0]
    uv = read(mesh.uv_layers.active.data, "uv", 2)
    assert (read(mesh.polygons, "loop_total", 1, np.int32) == 3).all()
    assert (read(mesh.polygons, "loop_start", 1, np.int32)[:, 0] == 3 * np.arange(len(mesh.polygons))).all()
    return np.concatenate([position[vertex], uv], axis=1).reshape(-1, 3, 5)


def canonical(faces: np.ndarray) -> np.ndarray:
    """Return faces with the smallest corner first, degenerate and doubled ones dropped, in order."""
    points = faces[:, :, :3]
    kept, seen = [], set()
    for number, face in enumerate(points):
        key = frozenset(map(tuple, face + np.float32(0.0)))
        if len(key) == 3 and key not in seen:
            seen.add(key)
            kept.append(number)
    faces = faces[kept]
    order = [np.lexsort(face.T[::-1]) for face in faces]
    turned = np.stack([np.roll(face, -o[0], axis=0) for face, o in zip(faces, order, strict=True)])
    flat = turned.reshape(len(turned), -1)
    return flat[np.lexsort(flat.T[::-1])]


def outlines(mesh: bpy.types.Mesh) -> set[frozenset[tuple[float, ...]]]:
    """Return the three positions of each face that has three."""
    sets = (frozenset(map(tuple, face + np.float32(0.0))) for face in corners(mesh)[:, :, :3])
    return {positions for positions in sets if len(positions) == 3}


def principled_links(material: bpy.types.Material) -> dict[str, tuple[str, str, bytes]]:
    """Return what feeds each input of the surface: node type, output, and the image's file behind it."""
    found = {}
    surface = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    for socket in surface.inputs:
        if socket.is_linked:
            node, output = socket.links[0].from_node, socket.links[0].from_socket.name
            texture = node
            while texture.type != "TEX_IMAGE":
                texture = next(s for s in texture.inputs if s.is_linked).links[0].from_node
            assert texture.image.packed_file is not None
            found[socket.name] = (node.type, output, texture.image.packed_file.data)
    return found


@pytest.mark.parametrize("name", SHAPES)
def test_equal_to_the_stock_importer(tmp_path: Path, name: str) -> None:
    folder = prepared(tmp_path, SHAPES[name])
    ours = import_prepared(folder)
    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "asset.glb"))
    stock = bpy.context.object
    if name == "doubled faces":  # each importer keeps another one of two faces with the same vertices
        assert outlines(ours.data) == outlines(stock.data)
    else:
        np.testing.assert_array_equal(canonical(corners(ours.data)), canonical(corners(stock.data)))
    np.testing.assert_array_equal(np.array(stock.matrix_world), np.eye(4))
    ours_links = principled_links(ours.active_material)
    assert ours_links == principled_links(stock.active_material)
    assert set(ours_links) == {"Base Color", "Metallic", "Roughness"}
    for theirs in (image for image in bpy.data.images if image.users and "Thing" not in image.name):
        mine = next(
            image
            for image in bpy.data.images
            if image.packed_file and image.packed_file.data == theirs.packed_file.data
        )
        assert tuple(mine.size) == tuple(theirs.size)
        assert mine.colorspace_settings.name == theirs.colorspace_settings.name
        np.testing.assert_array_equal(read_pixels(mine), read_pixels(theirs))
    assert ours.active_material.use_backface_culling == stock.active_material.use_backface_culling


def read_pixels(image: bpy.types.Image) -> np.ndarray:
    values = np.empty(image.size[0] * image.size[1] * image.channels, np.float32)
    image.pixels.foreach_get(values)
    return values


@pytest.mark.parametrize("name", SHAPES)
def test_nothing_for_validate_to_change(tmp_path: Path, name: str) -> None:
    mesh = import_prepared(prepared(tmp_path, SHAPES[name])).data
    before = corners(mesh), read(mesh.edges, "vertices", 2, np.int32)
    assert mesh.validate(verbose=True) is False
    np.testing.assert_array_equal(corners(mesh), before[0])
    np.testing.assert_array_equal(read(mesh.edges, "vertices", 2, np.int32), before[1])


def test_prepared_edges_are_those_of_blender(tmp_path: Path) -> None:
    mesh = import_prepared(prepared(tmp_path, SHAPES["sphere"])).data
    ours = {tuple(sorted(edge)) for edge in read(mesh.edges, "vertices", 2, np.int32)}
    copy = bpy.data.meshes.new("copy")
    faces = read(mesh.loops, "vertex_index", 1, np.int32).reshape(-1, 3)
    copy.from_pydata(read(mesh.vertices, "co", 3).tolist(), [], faces.tolist())
    assert ours == {tuple(sorted(edge)) for edge in read(copy.edges, "vertices", 2, np.int32)}
    for loop in mesh.loops:
        assert loop.vertex_index in mesh.edges[loop.edge_index].vertices


def test_shading(tmp_path: Path) -> None:
    mesh = import_prepared(prepared(tmp_path, cube)).data
    sharp = [edge for edge in mesh.edges if edge.use_edge_sharp]
    assert len(sharp) == 12
    normals = read(mesh.corner_normals, "vector", 3)
    faces = read(mesh.polygons, "normal", 3)
    np.testing.assert_allclose(normals, np.repeat(faces, 3, axis=0), atol=1e-6)


def test_smooth_normals_agree_with_the_file(tmp_path: Path) -> None:
    mesh = import_prepared(prepared(tmp_path, SHAPES["large sphere"])).data
    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "asset.glb"))
    theirs = bpy.context.object.data
    assert len(mesh.corner_normals) == len(theirs.corner_normals)
    cosine = (read(mesh.corner_normals, "vector", 3) * read(theirs.corner_normals, "vector", 3)).sum(axis=1)
    assert cosine.min() > 0.99


def test_a_file_without_normals_is_flat(tmp_path: Path) -> None:
    folder = prepared(tmp_path, lambda: (*bumpy_sphere(2)[:2], None, bumpy_sphere(2)[3]))
    mesh = import_prepared(folder).data
    assert not any(face.use_smooth for face in mesh.polygons)


def test_saved_and_loaded_again(tmp_path: Path) -> None:
    folder = prepared(tmp_path, SHAPES["sphere"])
    created = import_prepared(folder, "椅子 chair")
    bpy.context.scene.collection.objects.link(created)
    before = corners(created.data)
    sharp = len([edge for edge in created.data.edges if edge.use_edge_sharp])
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    for file in folder.iterdir():
        file.unlink()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    loaded = bpy.data.objects["椅子 chair"]
    np.testing.assert_array_equal(corners(loaded.data), before)
    assert len([edge for edge in loaded.data.edges if edge.use_edge_sharp]) == sharp
    images = [image for image in bpy.data.images if image.source == "FILE"]
    assert sorted(image.name for image in images) == ["椅子 chair Base Color", "椅子 chair Metallic Roughness"]
    for image in images:
        assert tuple(image.size) in ((64, 64), (32, 32))
        assert str(tmp_path) not in image.filepath
        assert str(tmp_path) not in image.packed_files[0].filepath
        image.unpack(method="WRITE_LOCAL")
        assert Path(bpy.path.abspath(image.filepath)).is_relative_to(tmp_path / "textures")


def test_undo_and_redo(tmp_path: Path) -> None:
    folder = prepared(tmp_path, SHAPES["sphere"])
    bpy.ops.ed.undo_push(message="Before")
    created = import_prepared(folder)
    bpy.context.scene.collection.objects.link(created)
    before = corners(created.data)
    bpy.ops.ed.undo_push(message="Import")
    if not bpy.ops.ed.undo.poll():
        pytest.skip("this Blender has no undo in background mode")
    bpy.ops.ed.undo()
    assert "Thing" not in bpy.data.objects
    bpy.ops.ed.redo()
    np.testing.assert_array_equal(corners(bpy.data.objects["Thing"].data), before)


def blocks() -> dict[str, list[str]]:
    """Return the names of all data-blocks that an import makes."""
    kinds = ("objects", "meshes", "materials", "images", "node_groups")
    return {kind: sorted(block.name for block in getattr(bpy.data, kind)) for kind in kinds}


def cut(folder: Path) -> None:
    file = folder / "uv.npy"
    file.write_bytes(file.read_bytes()[:-4])


def out_of_range(name: str, value: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        values = np.load(folder / f"{name}.npy")
        values.reshape(-1)[5] = value
        np.save(folder / f"{name}.npy", values)

    return damage


def wrong_type(folder: Path) -> None:
    np.save(folder / "position.npy", np.load(folder / "position.npy").astype(np.float64))


def objects_array(folder: Path) -> None:
    np.save(folder / "corner_vert.npy", np.array([{}] * 36, dtype=object))


def not_finite(folder: Path) -> None:
    values = np.load(folder / "position.npy")
    values[1, 1] = np.nan
    np.save(folder / "position.npy", values)


def describe(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        description = json.loads((folder / "import.json").read_text("utf-8"))
        for path, value in changes.items():
            *parents, last = path.split("__")
            owner = description
            for key in parents:
                owner = owner[key]
            owner[last] = value
        (folder / "import.json").write_text(json.dumps(description), "utf-8")

    return damage


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut off": (cut, "import_failed"),
    "vertex out of range": (out_of_range("corner_vert", 8), "import_failed"),
    "negative vertex": (out_of_range("corner_vert", -1), "import_failed"),
    "edge out of range": (out_of_range("corner_edge", 18), "import_failed"),
    "edge of a missing vertex": (out_of_range("edge_vert", 10**9), "import_failed"),
    "wrong type": (wrong_type, "import_failed"),
    "pickled objects": (objects_array, "import_failed"),
    "not finite": (not_finite, "import_failed"),
    "huge count": (describe(faces=10**12), "import_failed"),
    "wrong count": (describe(faces=11), "import_failed"),
    "another version": (describe(version=99), "import_failed"),
    "not JSON": (lambda folder: (folder / "import.json").write_text("{"), "import_failed"),
    "missing array": (lambda folder: (folder / "corner_edge.npy").unlink(), "asset_missing"),
    "missing image": (lambda folder: (folder / "metallic_roughness.jpg").unlink(), "asset_missing"),
    "image elsewhere": (describe(images__base_color__file="../../secret.png"), "asset_missing"),
    "material without a field": (describe(material={}), "import_failed"),
    "unknown wrap": (describe(images__base_color__wrap="diagonal"), "import_failed"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_folder_leaves_nothing_behind(tmp_path: Path, case: str) -> None:
    folder = prepared(tmp_path)
    damage, code = DAMAGE[case]
    damage(folder)
    before = blocks()
    with pytest.raises(extension.module("engine.errors").EspalierError) as caught:
        import_prepared(folder)
    assert caught.value.code == code
    assert blocks() == before
