# SPDX-License-Identifier: GPL-3.0-or-later
"""From the operator to the object in the scene, in the interface's way and in the background's way."""

import time

import bpy
import pytest
from PIL import Image, ImageDraw

from tests.support.extension import pump


@pytest.fixture
def picture(tmp_path):
    """A small blue disc on nothing."""
    path = tmp_path / "蓝色 disc.png"
    image = Image.new("RGBA", (256, 256))
    ImageDraw.Draw(image).ellipse((40, 40, 215, 215), fill=(40, 90, 220, 255))
    image.save(path)
    return path


def _meshes():
    return [o for o in bpy.data.objects if o.type == "MESH"]


def test_in_the_background_generate_returns_with_the_object_in_the_scene(espalier, picture, small):
    scene = bpy.context.scene
    scene.cursor.location = (1.0, 2.0, 3.0)
    assert bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(picture), **small) == {"FINISHED"}
    (made,) = _meshes()
    assert made.name == "蓝色 disc"
    assert made.select_get()
    assert bpy.context.view_layer.objects.active == made
    corners = [made.matrix_world @ v.co for v in made.data.vertices]
    assert min(c.z for c in corners) == pytest.approx(3.0, abs=1e-5)
    assert (min(c.x for c in corners) + max(c.x for c in corners)) / 2 == pytest.approx(1.0, abs=1e-3)
    assert (min(c.y for c in corners) + max(c.y for c in corners)) / 2 == pytest.approx(2.0, abs=1e-3)
    bsdf = next(n for n in made.active_material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    color = bsdf.inputs["Base Color"].links[0].from_node
    assert color.image.colorspace_settings.name == "sRGB"
    assert color.image.packed_file is not None
    assert not bsdf.inputs["Alpha"].is_linked
    split = bsdf.inputs["Roughness"].links[0]
    assert (split.from_node.type, split.from_socket.name) == ("SEPARATE_COLOR", "Green")
    assert bsdf.inputs["Metallic"].links[0].from_socket.name == "Blue"
    rough = split.from_node.inputs[0].links[0].from_node.image
    assert rough.colorspace_settings.name == "Non-Color"


def test_the_object_carries_its_whole_request(espalier, picture, small):
    bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(picture), **small)
    (made,) = _meshes()
    kept = made["espalier"].to_dict()
    for parameter in espalier.module("engine.parameters").SETTINGS:
        expected = small.get(parameter.name, "512" if parameter.name == "pipeline_type" else parameter.default)
        assert kept[parameter.name] == expected, parameter.name
    assert kept["image"] == str(picture)
    assert kept["engine"] == "draft"
    assert kept["engine_version"]
    assert kept["espalier_version"] == espalier.module("engine").__version__


def test_a_setting_on_the_operator_wins_over_the_scenes(espalier, picture):
    scene = bpy.context.scene
    scene.espalier.resolution = "1536"
    scene.espalier.texture_size = "1024"
    assert scene.espalier.pipeline_type == "1536_cascade"
    bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(picture), resolution="512")
    (made,) = _meshes()
    asked = made["espalier"]
    assert (asked["resolution"], asked["pipeline_type"], asked["texture_size"]) == ("512", "512", "1024")
    assert scene.espalier.resolution == "1536"


def test_interval_ends_push_each_other(espalier):
    settings = bpy.context.scene.espalier
    settings.ss_guidance_interval_start = 0.9
    settings.ss_guidance_interval_end = 0.4
    assert settings.ss_guidance_interval_start == pytest.approx(0.4)
    settings.ss_guidance_interval_start = 0.7
    assert settings.ss_guidance_interval_end == pytest.approx(0.7)
    assert settings.values()["ss_guidance_interval_start"] == 0.7


def test_every_parameter_is_a_property_with_the_tables_default_and_range(espalier):
    table = espalier.module("engine.parameters")
    for owner in (bpy.context.scene.espalier.bl_rna, bpy.ops.espalier.generate.get_rna_type()):
        for parameter in table.SETTINGS:
            prop = owner.properties[parameter.name]
            assert prop.default == pytest.approx(parameter.default) if parameter.kind == "number" else True
            if parameter.kind in {"integer", "boolean", "enum"}:
                assert prop.default == parameter.default
            if parameter.kind == "enum":
                assert tuple(item.identifier for item in prop.enum_items) == parameter.choices
            if parameter.kind in {"integer", "number"}:
                assert (prop.hard_min, prop.hard_max) == pytest.approx((parameter.minimum, parameter.maximum))
            assert parameter.help in prop.description
            if not parameter.honoured_by("draft"):
                assert parameter.ignored_by["draft"] in prop.description


def test_generate_in_the_interface_returns_at_once_and_imports_later(espalier, picture, small):
    session = espalier.module("operators.session")
    request = espalier.module("engine.request").GenerationRequest.create(picture, "draft", small)
    before = time.perf_counter()
    session.submit(request, bpy.context)
    assert time.perf_counter() - before < 0.5
    assert not _meshes()
    pump(_meshes)
    assert session.known_jobs()[0].state in {"ready", "imported"}
    pump(lambda: session.known_jobs()[0].state == "imported")


def test_one_undo_removes_it_and_one_redo_brings_it_back(espalier, picture, small):
    session = espalier.module("operators.session")
    bpy.ops.ed.undo_push(message="before")
    request = espalier.module("engine.request").GenerationRequest.create(picture, "draft", small)
    session.submit(request, bpy.context)
    pump(_meshes)
    faces = len(_meshes()[0].data.polygons)
    bpy.ops.ed.undo()
    assert not _meshes()
    bpy.ops.ed.redo()
    (made,) = _meshes()
    assert len(made.data.polygons) == faces
    bsdf = next(n for n in made.active_material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    image = bsdf.inputs["Base Color"].links[0].from_node.image
    assert image.packed_file is not None
    assert image.pixels[0] >= 0.0


def _running(espalier, picture, small):
    session = espalier.module("operators.session")
    request = espalier.module("engine.request").GenerationRequest.create(picture, "draft", small)
    job = session.submit(request, bpy.context)
    pump(lambda: session.known_jobs()[0].state == "running")
    return session, job


def test_another_file_opened_meanwhile_leaves_the_asset_waiting(espalier, picture, small):
    session, job = _running(espalier, picture, small)
    espalier.open_empty_file()
    pump(lambda: session.known_jobs()[0].state == "ready")
    for _ in range(5):
        session._tick()
    assert not _meshes()
    assert bpy.ops.espalier.import_asset("EXEC_DEFAULT", job=job) == {"FINISHED"}
    assert len(_meshes()) == 1


def test_a_finished_asset_can_be_put_away(espalier, picture, small):
    session, job = _running(espalier, picture, small)
    espalier.open_empty_file()
    pump(lambda: session.known_jobs()[0].state == "ready")
    assert bpy.ops.espalier.put_away(job=job) == {"FINISHED"}
    panel = espalier.module("panels.jobs").ESPALIER_PT_jobs
    assert not panel.poll(bpy.context)
    assert (session.session.queue.job(job).folder / "asset.glb").is_file()


def test_the_same_file_saved_and_reopened_still_gets_its_asset(espalier, picture, small, tmp_path):
    blend = str(tmp_path / "scene.blend")
    bpy.ops.wm.save_as_mainfile(filepath=blend)
    _running(espalier, picture, small)
    bpy.ops.wm.open_mainfile(filepath=blend)
    pump(_meshes)


def test_scene_and_collection_deleted_meanwhile(espalier, picture, small):
    scene = bpy.data.scenes.new("soon gone")
    collection = bpy.data.collections.new("soon gone")
    bpy.context.scene.collection.children.link(collection)
    session = espalier.module("operators.session")
    request = espalier.module("engine.request").GenerationRequest.create(picture, "draft", small)
    placing = espalier.module("operators.placing")
    placement = {**placing.snapshot(bpy.context, session.session.file), "scene": scene.name, "collection": "soon gone"}
    session.session.open_queue().submit(request, placement)
    bpy.data.scenes.remove(scene)
    bpy.data.collections.remove(collection)
    pump(_meshes)
    assert _meshes()[0].name in bpy.context.scene.collection.objects


def test_disabled_and_enabled_again_during_a_job(espalier, picture, small):
    _, job = _running(espalier, picture, small)
    espalier.disable()
    assert not hasattr(bpy.types.Scene, "espalier")
    espalier.enable()
    session = espalier.module("operators.session")
    session._resume()
    pump(lambda: not session.session.queue.job(job).active)
    assert session.session.queue.job(job).state in {"ready", "imported"}


def test_cancelled_job_leaves_nothing_behind(espalier, picture, small):
    session, job = _running(espalier, picture, small)
    assert bpy.ops.espalier.cancel(job=job) == {"FINISHED"}
    pump(lambda: session.known_jobs()[0].state == "cancelled")
    assert not _meshes()
    assert not list((session.user_folder() / "library").iterdir())


def test_failure_is_one_sentence_of_cause_and_one_of_remedy(espalier, tmp_path):
    session = espalier.module("operators.session")
    with pytest.raises(RuntimeError, match=r"does not exist\. Choose a file that exists\."):
        bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(tmp_path / "nothing.png"))
    assert session.session.error.code == "image_missing"
    assert not _meshes()
    assert not [m for m in bpy.data.materials if m.users == 0]
    bpy.ops.espalier.dismiss()
    assert session.session.error is None


def test_without_an_image_the_remedy_is_told(espalier):
    with pytest.raises(RuntimeError, match=r"No image is chosen\. Choose an image"):
        bpy.ops.espalier.generate("EXEC_DEFAULT")


def test_an_import_that_fails_is_not_tried_at_every_tick(espalier, picture, small, monkeypatch):
    session = espalier.module("operators.session")
    importing = espalier.module("operators.import_asset")
    errors = espalier.module("engine.errors")
    calls = []

    def broken(*_args, **_keywords):
        calls.append(1)
        raise errors.EspalierError("import_failed", name="x", reason="a test says so")

    monkeypatch.setattr(importing, "place_asset", broken)
    request = espalier.module("engine.request").GenerationRequest.create(picture, "draft", small)
    job = session.submit(request, bpy.context)
    pump(lambda: bool(calls))
    for _ in range(10):
        session._tick()
    assert len(calls) == 1
    assert session.session.error.code == "import_failed"
    monkeypatch.undo()
    assert bpy.ops.espalier.import_asset("EXEC_DEFAULT", job=job) == {"FINISHED"}
    assert len(_meshes()) == 1
