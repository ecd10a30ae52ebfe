# SPDX-License-Identifier: GPL-3.0-or-later
"""Rebuild Mesh exchanges an object's mesh and leaves the object; levels come as a collection of objects."""

import json
import shutil

import bpy
import numpy as np
import pytest
from mathutils import Matrix
from PIL import Image, ImageDraw

from tests.support.extension import pump

SMALL = {"remesh": False, "decimation_target": 2000, "texture_size": "1024"}


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A blue disc with a red corner."""
    path = tmp_path_factory.mktemp("pictures") / "disc.png"
    image = Image.new("RGBA", (256, 256))
    draw = ImageDraw.Draw(image)
    draw.ellipse((40, 40, 215, 215), fill=(40, 90, 220, 255))
    draw.rectangle((120, 60, 170, 110), fill=(220, 40, 40, 255))
    image.save(path)
    return path


@pytest.fixture
def made(espalier, picture):
    """The object of a finished draft."""
    assert bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(picture), resolution="512", texture_size="1024") == {
        "FINISHED"
    }
    (made,) = [o for o in bpy.data.objects if o.type == "MESH"]
    return made


def coordinates(target):
    """Return the vertices of an object in world space, (V, 3)."""
    bpy.context.view_layer.update()
    points = np.empty((len(target.data.vertices), 3), np.float32)
    target.data.vertices.foreach_get("co", points.reshape(-1))
    matrix = np.array(target.matrix_world)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def box(target):
    """Return the lowest and the highest corner of an object in world space, (2, 3)."""
    points = coordinates(target)
    return np.array([points.min(axis=0), points.max(axis=0)])


def test_the_mesh_is_exchanged_and_all_else_stays(made):
    made.location = (1.0, 2.0, 3.0)
    made.rotation_euler = (0.1, 0.2, 0.3)
    made.scale = (2.0, 2.0, 2.0)
    bevel = made.modifiers.new("Mine", "SUBSURF")
    bevel.render_levels = 3
    own = bpy.data.materials.new("My paint")
    made.data.materials.append(own)
    parts = np.array([polygon.center.z > 0.5 for polygon in made.data.polygons], np.int32)
    made.data.polygons.foreach_set("material_index", parts)
    before, faces, images = box(made), len(made.data.polygons), set(bpy.data.images.keys())
    mesh = made.data.name
    assert faces > 2 * SMALL["decimation_target"]
    assert bpy.ops.espalier.rebuild("EXEC_DEFAULT", **SMALL) == {"FINISHED"}
    assert [o for o in bpy.data.objects if o.type == "MESH"] == [made]
    assert 1800 < len(made.data.polygons) <= 2010
    assert made.data.name == mesh
    assert np.abs(box(made) - before).max() < 0.01
    assert tuple(made.scale) == (2.0, 2.0, 2.0)
    assert [m.name for m in made.modifiers] == ["Mine"]
    assert made.modifiers["Mine"].render_levels == 3
    assert made.material_slots[1].material == own
    index = np.array([polygon.material_index for polygon in made.data.polygons])
    height = np.array([polygon.center.z for polygon in made.data.polygons])
    assert np.mean(index == (height > 0.5)) > 0.98
    assert made["espalier"]["engine"] == "rebuild"
    assert made["espalier"]["decimation_target"] == 2000
    assert made["espalier"]["source"].endswith("asset.glb")
    assert len(bpy.data.meshes) == 1
    nodes = made.material_slots[0].material.node_tree.nodes
    assert any(node.type == "NORMAL_MAP" for node in nodes)
    left = {image.name for image in bpy.data.images if image.users == 0} & images
    assert not left


def test_the_timer_exchanges_it_while_the_artist_goes_on(espalier, made):
    session, placing = espalier.module("operators.session"), espalier.module("operators.placing")
    source = espalier.module("operators.rebuild").source_of(made)
    request = espalier.module("engine.request").RebuildRequest.create(source, SMALL)
    aim = {**placing.snapshot(bpy.context, session.session.file), **placing.aim(made)}
    job = session.submit(request, bpy.context, aim)
    made.name = "Renamed meanwhile"
    made.location = (5.0, 0.0, 0.0)
    pump(lambda: made["espalier"]["job"] == job)
    assert len(made.data.polygons) <= 2010
    assert made.name == "Renamed meanwhile"
    assert tuple(made.location) == (5.0, 0.0, 0.0)
    assert len([o for o in bpy.data.objects if o.type == "MESH"]) == 1


@pytest.mark.once
def test_it_starts_from_the_original_each_time(made):
    first = made["espalier"]["job"]
    bpy.ops.espalier.rebuild("EXEC_DEFAULT", **SMALL)
    second = made["espalier"]["job"]
    bpy.ops.espalier.rebuild("EXEC_DEFAULT", **{**SMALL, "decimation_target": 4000})
    assert len({first, second, made["espalier"]["job"]}) == 3
    assert first in made["espalier"]["source"]
    assert len(made.data.polygons) > 3600


@pytest.mark.once
def test_a_mesh_that_was_moved_within_its_object_stays_where_it_is(made):
    made.data.transform(Matrix.Translation((0.3, -0.2, 5.0)) @ Matrix.Rotation(0.7, 4, "X") @ Matrix.Scale(3.0, 4))
    before = box(made)
    bpy.ops.espalier.rebuild("EXEC_DEFAULT", **SMALL)
    assert np.abs(box(made) - before).max() < 0.02


def test_one_undo_brings_the_old_mesh_back(made):
    faces, job, name = len(made.data.polygons), made["espalier"]["job"], made.name
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.espalier.rebuild("EXEC_DEFAULT", **SMALL)
    bpy.ops.ed.undo_push(message="after")
    if not bpy.ops.ed.undo.poll():
        pytest.skip("this Blender has no undo in background mode")
    bpy.ops.ed.undo()
    back = bpy.data.objects[name]
    assert len(back.data.polygons) == faces
    assert back["espalier"]["job"] == job
    bpy.ops.ed.redo()
    assert len(bpy.data.objects[name].data.polygons) <= 2010


def test_levels_come_as_a_collection_and_the_object_stays(made):
    made.location = (1.0, 0.0, 0.0)
    faces = len(made.data.polygons)
    bpy.ops.espalier.rebuild("EXEC_DEFAULT", **SMALL, lods="3000, 1000,300")
    assert len(made.data.polygons) == faces
    collection = bpy.data.collections["disc LODs"]
    levels = sorted(collection.objects, key=lambda item: item.name)
    assert [item.name for item in levels] == ["disc_LOD0", "disc_LOD1", "disc_LOD2"]
    assert [len(item.data.polygons) for item in levels] == [3000, 1000, 300]
    assert [item.hide_get() for item in levels] == [False, True, True]
    for item in levels:
        assert np.abs(box(item) - box(made)).max() < 0.03


@pytest.mark.once
def test_what_cannot_be_kept_is_told(espalier, made):
    made.shape_key_add(name="Basis")
    group = made.vertex_groups.new(name="Top")
    group.add([0, 1, 2], 1.0, "REPLACE")
    exchange = espalier.module("operators.scene.exchange")
    assert exchange._bound_to_vertices(made, made.data) == ["shape keys", "vertex weights"]
    bpy.ops.espalier.rebuild("EXEC_DEFAULT", **SMALL)
    assert made.data.shape_keys is None
    assert exchange._bound_to_vertices(made, made.data) == []


def test_an_object_of_another_kind_cannot_be_rebuilt(espalier):
    mesh = bpy.data.meshes.new("Mine")
    mine = bpy.data.objects.new("Mine", mesh)
    bpy.context.scene.collection.objects.link(mine)
    bpy.context.view_layer.objects.active = mine
    assert not bpy.ops.espalier.rebuild.poll()


def test_a_source_that_is_gone_is_told(espalier, made):
    shutil.rmtree(espalier.module("operators.session").user_folder() / "library" / made["espalier"]["job"])
    with pytest.raises(RuntimeError, match="gone"):
        bpy.ops.espalier.rebuild("EXEC_DEFAULT", **SMALL)


@pytest.mark.once
def test_the_command_writes_a_file_for_each_level(espalier, made, tmp_path, capfd):
    main = espalier.module("operators.command").main
    read_glb = espalier.module("engine.mesh.glb").read_glb
    source = espalier.module("operators.rebuild").source_of(made)
    out = tmp_path / "out.glb"
    arguments = [
        "--remesh",
        "no",
        "--texture_size",
        "1024",
        "--texture-format",
        "webp",
        "--lods",
        "3000,1000",
        "--json",
    ]
    assert main(["rebuild", str(source), "-o", str(out), *arguments]) == 0
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert events[0]["source"] == str(source)
    assert events[-1] == {"event": "done", "ready": 1, "failed": 0}
    assert set(events[-2]["files"]) == {"glb", "lod1"}
    assert len(read_glb(out)[0].faces) == 3000
    mesh, material = read_glb(tmp_path / "out_lod1.glb")
    assert len(mesh.faces) == 1000
    assert material.base_color.mime == "image/webp"


@pytest.mark.once
def test_the_command_saves_all_levels_in_one_blend(espalier, made, tmp_path, capfd):
    main = espalier.module("operators.command").main
    source = espalier.module("operators.rebuild").source_of(made)
    before = set(bpy.data.objects.keys()), set(bpy.data.collections.keys())
    arguments = [
        "--remesh",
        "no",
        "--texture_size",
        "1024",
        "--lods",
        "3000,1000",
        "--blend",
        str(tmp_path / "out.blend"),
    ]
    files = ["-o", str(tmp_path / "out.glb"), "--blend", str(tmp_path / "out.blend")]
    assert main(["rebuild", str(source), *files, *arguments]) == 0
    assert (set(bpy.data.objects.keys()), set(bpy.data.collections.keys())) == before
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "out.blend"))
    levels = sorted((o for o in bpy.data.objects if o.type == "MESH"), key=lambda item: item.name)
    assert [(len(o.data.polygons), o.hide_render, o.hide_get()) for o in levels] == [
        (3000, False, False),
        (1000, True, True),
    ]


@pytest.mark.once
def test_a_rebuild_goes_lower_than_a_generation(espalier, made):
    bpy.ops.espalier.rebuild("EXEC_DEFAULT", **{**SMALL, "decimation_target": 600})
    assert 500 < len(made.data.polygons) <= 605


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rebuild"], "GLB"),
        (["rebuild", "a.glb"], "--output"),
        (["rebuild", "a.glb", "-o", "b.glb", "--seed", "3"], "There is no parameter called seed."),
        (["rebuild", "a.glb", "-o", "b.glb", "--normal_map", "maybe"], "Choose one of auto, on, off."),
        (["rebuild", "a.glb", "-o", "b.glb", "--lods", "9000,many"], "many is not a number of faces"),
        (["rebuild", "a.glb", "-o", "b.obj"], "does not end in .glb"),
    ],
)
def test_wrong_arguments_give_exit_code_2(espalier, arguments, sentence, capfd):
    assert espalier.module("operators.command").main(arguments) == 2
    assert sentence in capfd.readouterr().err


@pytest.mark.once
def test_a_missing_file_gives_exit_code_1(espalier, tmp_path, capfd):
    main = espalier.module("operators.command").main
    assert main(["rebuild", str(tmp_path / "no.glb"), "-o", str(tmp_path / "out.glb")]) == 1
    assert "no.glb" in capfd.readouterr().err
