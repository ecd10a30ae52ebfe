# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way in: dropped files, the clipboard, the Image Editor's image, the render."""

from types import SimpleNamespace

import bpy
import pytest
from PIL import Image, ImageDraw


@pytest.fixture
def quick(espalier):
    """Let the draft engine be quick."""
    settings = bpy.context.scene.espalier
    settings.resolution, settings.texture_size = "512", "1024"
    return settings


@pytest.fixture
def pictures(tmp_path):
    """Three images of a disc on nothing, and a file that is none."""
    for number in range(3):
        image = Image.new("RGBA", (128, 128))
        ImageDraw.Draw(image).ellipse((20, 20, 107, 107), fill=(40 + 60 * number, 90, 200, 255))
        image.save(tmp_path / f"盘 {number}.png")
    (tmp_path / "notes.txt").write_text("nothing")
    return tmp_path


def _assets():
    return sorted((item for item in bpy.data.objects if item.type == "MESH"), key=lambda item: item.name)


def _drop(folder, *names, **more):
    return bpy.ops.espalier.drop_images(
        "EXEC_DEFAULT", directory=str(folder), files=[{"name": name} for name in names], **more
    )


def test_one_file_lands_where_it_was_dropped(quick, pictures):
    assert _drop(pictures, "盘 0.png", location=(1.0, -2.0, 0.5)) == {"FINISHED"}
    (made,) = _assets()
    assert made.name == "盘 0"
    assert tuple(made.location) == pytest.approx((1.0, -2.0, 0.5))
    assert min((made.matrix_world @ vertex.co).z for vertex in made.data.vertices) == pytest.approx(0.5, abs=1e-5)
    assert made["espalier"]["image"] == str(pictures / "盘 0.png")
    assert quick.image is None, "the panel's image stays the person's"


def test_many_come_in_a_row_without_touching(quick, pictures):
    bpy.context.scene.cursor.location = (0.0, 1.0, 0.0)
    names = [f"盘 {number}.png" for number in range(3)]
    _drop(pictures, *names, "notes.txt", names[0], direction=(0.0, -2.0, 0.0))
    made = _assets()
    assert [item.name for item in made] == ["盘 0", "盘 1", "盘 2"]
    places = [tuple(item.location) for item in made]
    assert places == [pytest.approx((0.0, 1.0 - 1.25 * number, 0.0)) for number in range(3)]
    spans = [[(item.matrix_world @ vertex.co).y for vertex in item.data.vertices] for item in made]
    assert max(spans[1]) < min(spans[0])
    assert max(spans[2]) < min(spans[1])


def test_what_is_no_image_is_refused_with_a_remedy(quick, pictures):
    with pytest.raises(RuntimeError, match="No image is chosen"):
        _drop(pictures, "notes.txt")
    assert not _assets()


def test_the_jobs_are_there_at_once_and_know_their_places(quick, pictures, session, monkeypatch):
    drop = session.__package__ + ".drop"
    monkeypatch.setattr(f"{drop}.bpy", _Window())
    _drop(pictures, "盘 0.png", "盘 1.png", location=(5.0, 0.0, 0.0))
    jobs = sorted(session.known_jobs(), key=lambda job: job.request.name)
    assert [job.request.name for job in jobs] == ["盘 0", "盘 1"]
    assert [job.placement["location"] for job in jobs] == [[5.0, 0.0, 0.0], [6.25, 0.0, 0.0]]
    assert all(job.placement["file"] == session.session.file for job in jobs)


class _Window:
    """bpy, in a window."""

    app = SimpleNamespace(background=False)

    def __getattr__(self, name):
        return getattr(bpy, name)


def test_the_settings_of_the_panel_count(quick, pictures):
    quick.decimation_target = 12345
    _drop(pictures, "盘 1.png")
    assert _assets()[0]["espalier"]["decimation_target"] == 12345


def test_files_may_be_dropped_onto_viewport_and_outliner_alone(espalier):
    handler = espalier.module("operators.drop").ESPALIER_FH_images
    assert handler.bl_import_operator == "espalier.drop_images"
    readable = espalier.module("operators.image").READABLE
    assert set(handler.bl_file_extensions.split(";")) == set(readable)
    for kind in ("VIEW_3D", "OUTLINER", "IMAGE_EDITOR", "NODE_EDITOR", "FILE_BROWSER"):
        context = SimpleNamespace(area=SimpleNamespace(type=kind))
        assert handler.poll_drop(context) == (kind in ("VIEW_3D", "OUTLINER"))
    assert not handler.poll_drop(SimpleNamespace(area=None))


def test_the_dearest_drop_is_asked_about_as_one(preferences, quick, pictures, espalier, monkeypatch):
    drop = espalier.module("operators.drop")
    asked = []
    monkeypatch.setattr(drop.pricing, "confirm", lambda *arguments: asked.append(arguments[3]) or {"CANCELLED"})
    quick.engine, quick.resolution = "remote", "1024"
    preferences.ask_above_usd = 0.6
    names = [{"name": f"盘 {number}.png"} for number in range(3)]
    event = SimpleNamespace(mouse_x=-1, mouse_y=-1)
    operator = SimpleNamespace(
        directory=str(pictures),
        files=[SimpleNamespace(**name) for name in names],
        properties=SimpleNamespace(is_property_set=lambda _name: False),
    )
    kind = drop.ESPALIER_OT_drop_images
    operator._paths = lambda: kind._paths(operator)
    assert kind.invoke(operator, bpy.context, event) == {"CANCELLED"}
    assert asked == [pytest.approx(3 * 0.249)]


def test_a_pasted_path_becomes_the_panels_image(quick, pictures, espalier):
    path_of = espalier.module("operators.clipboard").path_of
    path = pictures / "盘 2.png"
    for text in (str(path), f'"{path}"', f"\n  '{path}'\n", path.as_uri(), path.as_uri().upper().replace(*_uri(path))):
        assert path_of(text) == path, text
    for text in ("", "hello", "https://example.com/a.png", str(pictures), str(path) + "x", "file:///nowhere/a.png"):
        assert path_of(text) is None, text


def _uri(path):
    return path.as_uri().upper().removeprefix("FILE"), path.as_uri().removeprefix("file")


def test_paste_uses_a_path_on_the_clipboard(quick, pictures, espalier, monkeypatch):
    clipboard = espalier.module("operators.clipboard")
    monkeypatch.setattr(clipboard, "path_of", lambda _text: pictures / "盘 2.png")
    assert bpy.ops.espalier.paste_image("EXEC_DEFAULT") == {"FINISHED"}
    assert quick.image.name == "盘 2.png"
    assert quick.image.packed_file is None
    again = quick.image
    bpy.ops.espalier.paste_image("EXEC_DEFAULT")
    assert quick.image == again, "the same file is loaded once"


def test_paste_uses_an_image_on_the_clipboard(quick, pictures, espalier, session, monkeypatch):
    """What the worker answers is made up here: whether this machine has a clipboard is not the question."""
    cutout = espalier.module("operators.cutout")
    kept = espalier.module("operators.image").keep((pictures / "盘 1.png").read_bytes(), ".png", cutout.inputs())
    queue = session.session.open_queue()
    monkeypatch.setattr(queue, "ask", lambda *_: "paste")
    monkeypatch.setattr(queue, "answers", lambda: {"paste": {"files": [str(kept)]}})
    assert bpy.ops.espalier.paste_image("EXEC_DEFAULT") == {"FINISHED"}
    assert quick.image.name == "Clipboard"
    assert quick.image.packed_file is not None


def test_an_empty_clipboard_says_what_to_do(quick, espalier, session, monkeypatch):
    errors = espalier.module("engine.errors")
    queue = session.session.open_queue()
    monkeypatch.setattr(queue, "ask", lambda *_: "paste")
    monkeypatch.setattr(queue, "answers", lambda: {"paste": errors.EspalierError("clipboard_empty")})
    with pytest.raises(RuntimeError, match="Copy an image, its file or its path"):
        bpy.ops.espalier.paste_image("EXEC_DEFAULT")
    assert session.session.error.code == "clipboard_empty"


def test_the_worker_really_asks_the_system(quick, session):
    """Nothing lies on the clipboard of a machine without a screen, and that is told, not raised."""
    with pytest.raises(RuntimeError, match="clipboard"):
        bpy.ops.espalier.paste_image("EXEC_DEFAULT")
    assert session.session.error.code in {"clipboard_empty", "clipboard_unreadable"}


def test_an_image_of_the_file_is_generated_by_name(quick, pictures):
    image = bpy.data.images.load(str(pictures / "盘 0.png"))
    assert bpy.ops.espalier.generate_image("EXEC_DEFAULT", image=image.name) == {"FINISHED"}
    assert quick.image == image
    assert len(_assets()) == 1


def test_no_image_is_told(quick):
    with pytest.raises(RuntimeError, match="No image is chosen"):
        bpy.ops.espalier.generate_image("EXEC_DEFAULT", image="nobody")


def test_the_menus_have_the_entries(espalier):
    menus = espalier.module("operators.editor_menus")
    assert menus._draw_image_menu in bpy.types.IMAGE_MT_image._dyn_ui_initialize()
    assert menus._draw_view_menu in bpy.types.VIEW3D_MT_view._dyn_ui_initialize()


def test_a_render_is_used(quick, tmp_path):
    with pytest.raises(RuntimeError, match="Render an image first"):
        bpy.ops.espalier.use_render("EXEC_DEFAULT")
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    scene.render.resolution_x = scene.render.resolution_y = 64
    scene.render.film_transparent = True
    bpy.ops.mesh.primitive_cube_add(size=0.5)
    bpy.ops.object.camera_add(location=(0.0, -3.0, 0.0), rotation=(1.5708, 0.0, 0.0))
    scene.camera = bpy.context.object
    cube = set(_assets())
    bpy.ops.render.render()
    assert bpy.ops.espalier.use_render("EXEC_DEFAULT") == {"FINISHED"}
    assert quick.image.type == "RENDER_RESULT"
    bpy.ops.espalier.generate("EXEC_DEFAULT", resolution="512", texture_size="1024")
    (made,) = set(_assets()) - cube
    assert made.dimensions.x == pytest.approx(made.dimensions.z, rel=0.1)


def test_there_is_no_viewport_in_the_background(quick):
    with pytest.raises(RuntimeError, match="no 3D viewport"):
        bpy.ops.espalier.capture_viewport("EXEC_DEFAULT")


def test_what_a_viewport_shows_becomes_an_image(espalier):
    import numpy as np

    image_of = espalier.module("operators.editor_menus")._image_of
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[5:10, 5:10] = (100, 50, 0, 128)  # premultiplied, the lowest row first
    image = image_of(pixels)
    assert image.packed_file is not None
    assert tuple(image.size) == (30, 20)
    kept = np.array(image.pixels[:]).reshape(20, 30, 4)
    assert kept[7, 7] == pytest.approx((100 / 128, 50 / 128, 0.0, 128 / 255), abs=0.01)
    assert kept[15, 7].tolist() == [0.0, 0.0, 0.0, 0.0]


def test_a_row_runs_along_x_without_a_viewport(espalier):
    drop = espalier.module("operators.drop")
    assert tuple(drop.row_direction(SimpleNamespace(region_data=None))) == (1.0, 0.0, 0.0)
