# SPDX-License-Identifier: GPL-3.0-or-later
"""The cut-out of the panel's image: asked of the worker, shown as an icon, painted as a mask, given to the engine."""

import time
from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.support.waiting import wait_for

SMALL = {"resolution": "512", "texture_size": "1024"}


@pytest.fixture
def cutout(espalier):
    module = espalier.module("operators.cutout")
    module.forget()
    yield module
    module.forget()


@pytest.fixture
def plain(tmp_path):
    """A red disc and, apart from it, a small blue one, on a plain white backdrop."""
    image = Image.new("RGB", (240, 160), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 30, 119, 129), fill=(200, 30, 30))
    draw.ellipse((160, 60, 199, 99), fill=(30, 30, 200))
    path = tmp_path / "两个 discs.png"
    image.save(path)
    return path


@pytest.fixture
def chosen(cutout, plain):
    """The settings of the scene, with the image chosen."""
    settings = bpy.context.scene.espalier
    settings.image = bpy.data.images.load(str(plain))
    return settings


@pytest.fixture
def window(cutout, monkeypatch):
    """Let the preview be made as in a window; `pump` does what the timers would."""
    monkeypatch.setattr(cutout, "bpy", _Window())

    def pump():
        cutout.want(bpy.context.scene, anew=True)
        cutout.wait()

    return pump


class _Window:
    """bpy, in a window, without timers."""

    class app:
        background = False

        class timers:
            @staticmethod
            def is_registered(_function):
                return True

            @staticmethod
            def unregister(_function):
                pass

    def __getattr__(self, name):
        return getattr(bpy, name)


def _cut(cutout):
    return np.asarray(Image.open(cutout.state.note["cut"]))


def _assets():
    return [item for item in bpy.data.objects if item.type == "MESH"]


def test_the_preview_is_shown_and_says_how_the_subject_was_found(cutout, chosen, window):
    assert not cutout.is_shown(chosen)
    window()
    assert cutout.is_shown(chosen)
    assert cutout.state.error is None
    assert cutout.state.note["how"] == "backdrop"
    picture = cutout.cutout_icon._collection
    (shown,) = picture.values()
    assert shown.icon_id == cutout.state.icon  # 0 in the background, where Blender has no icons
    assert tuple(shown.image_size) == (384, 384)
    pixels = np.array(shown.image_pixels_float[:]).reshape(384, 384, 4)
    assert pixels[..., 3].min() == 1.0
    # Blender's rows begin below; the left disc is the larger one.
    red = pixels[..., 0] - pixels[..., 2] > 0.5
    assert red[:, :192].sum() > 10 * red[:, 230:].sum()


@pytest.mark.once
def test_the_preview_follows_undo_also_from_where_there_was_no_image(cutout, chosen, window):
    window()
    bpy.ops.ed.undo_push(message="image")
    chosen.image = None
    bpy.ops.ed.undo_push(message="no image")
    cutout.wait()
    assert cutout.state.shown is None
    bpy.ops.ed.undo()
    settings = bpy.context.scene.espalier  # undo has read it anew
    assert settings.image is not None
    cutout.wait()
    assert cutout.is_shown(settings)
    bpy.ops.ed.redo()
    cutout.wait()
    assert cutout.state.shown is None


@pytest.mark.once
def test_the_preview_follows_the_engine(espalier, cutout, chosen, window, monkeypatch):
    window()
    settings = espalier.module("operators.settings")
    monkeypatch.setattr(settings, "bpy", cutout.bpy)
    monkeypatch.setattr(settings.pricing, "refresh", lambda: None)
    chosen.engine = "remote"
    assert not cutout.is_shown(chosen)
    cutout.wait()
    assert cutout.is_shown(chosen)


def test_another_choice_makes_it_out_of_date_and_the_next_picture_is_another(cutout, chosen, window):
    window()
    first = set(cutout.cutout_icon._collection)
    chosen.cutout.threshold = 0.3
    assert not cutout.is_shown(chosen)
    window()
    assert cutout.is_shown(chosen)
    assert len(cutout.cutout_icon._collection) == 1
    assert not first & set(cutout.cutout_icon._collection)
    chosen.preprocess_image = False
    assert not cutout.is_shown(chosen)
    window()
    assert cutout.state.error.code == "image_opaque"
    chosen.engine = "remote"
    window()
    assert cutout.state.note["how"] == "kept"
    chosen.engine, chosen.preprocess_image, chosen.cutout.background = "draft", True, "u2netp"
    window()
    assert cutout.is_shown(chosen)
    assert cutout.state.error.code == "background_model_missing"
    with pytest.raises(RuntimeError, match="u2netp is not installed"):
        bpy.ops.espalier.generate("EXEC_DEFAULT", **SMALL)


@pytest.mark.once
def test_settings_changed_while_it_is_made_are_not_lost(cutout, chosen, window):
    cutout.want(bpy.context.scene, anew=True)
    cutout.step()
    assert cutout.state.busy
    chosen.cutout.threshold = 0.5
    cutout.want(bpy.context.scene)
    assert cutout.unfinished(chosen)
    cutout.wait()
    assert cutout.is_shown(chosen)
    assert cutout.state.about["threshold"] == pytest.approx(0.5)
    assert not cutout.unfinished(chosen)


def test_nothing_is_done_in_the_background_until_it_is_needed(cutout, chosen, session):
    chosen.cutout.threshold = 0.5
    assert cutout.state == cutout.Preview()
    assert session.session.queue is None


def test_automatic_leaves_the_image_to_the_engine_and_what_was_chosen_is_what_it_gets(cutout, chosen, plain):
    bpy.ops.espalier.generate("EXEC_DEFAULT", **SMALL)
    (made,) = _assets()
    assert made["espalier"]["image"] == str(plain)
    assert cutout.state == cutout.Preview()
    bpy.data.objects.remove(made)
    chosen.cutout.background = "backdrop"
    bpy.ops.espalier.generate("EXEC_DEFAULT", **SMALL)
    (made,) = _assets()
    assert made.name == plain.stem
    used = Path(made["espalier"]["image"])
    assert used.parent == cutout.inputs()
    assert used.read_bytes() == Path(cutout.state.note["cut"]).read_bytes()
    assert np.asarray(Image.open(used))[5, 5, 3] == 0
    table = [name for name in made["espalier"].to_dict() if name.startswith(("background", "threshold", "mask"))]
    assert not table


def test_a_mask_is_painted_and_used(cutout, chosen, plain, window, monkeypatch):
    window()
    assert bpy.ops.espalier.edit_mask("EXEC_DEFAULT") == {"FINISHED"}
    mask = chosen.cutout.mask
    assert mask.name == "两个 discs Mask"
    assert mask.packed_file is not None
    assert (tuple(mask.size), mask.channels) == ((240, 160), 4)
    pixels = np.array(mask.pixels[:]).reshape(160, 240, 4)
    assert pixels[80, 180, 3] == 1.0
    assert pixels[2, 2].tolist() == [1.0, 1.0, 1.0, 0.0]
    pixels[:, 140:, 3] = 0.0  # the small disc is erased, as the brush would
    mask.pixels.foreach_set(np.ascontiguousarray(pixels, np.float32).ravel())
    mask.update()
    window()
    assert cutout.state.note["how"] == "mask"
    cut = _cut(cutout)
    assert cut[80, 70, 3] == 255
    assert cut[80, 180, 3] == 0
    bpy.ops.espalier.generate("EXEC_DEFAULT", **SMALL)
    (made,) = _assets()
    assert made.dimensions.x == pytest.approx(made.dimensions.z, rel=0.05), "one disc alone is left"


def test_a_mask_belongs_to_its_image(cutout, chosen, window, picture):
    assert not bpy.ops.espalier.edit_mask.poll(), "there is no cut-out to begin with yet"
    window()
    bpy.ops.espalier.edit_mask("EXEC_DEFAULT")
    settings = bpy.context.scene.espalier
    first = settings.image
    assert cutout.choice_of(settings).mask
    settings.image = bpy.data.images.load(str(picture))
    assert not cutout.choice_of(settings).mask
    assert not bpy.ops.espalier.discard_mask.poll()
    settings.image = first
    assert cutout.choice_of(settings).mask
    name = settings.cutout.mask.name
    bpy.ops.espalier.discard_mask("EXEC_DEFAULT")
    assert name not in bpy.data.images
    assert settings.cutout.mask is None
    assert not cutout.choice_of(settings).mask


def test_the_strokes_on_a_mask_are_saved_with_the_file(cutout, chosen, window, tmp_path):
    window()
    bpy.ops.espalier.edit_mask("EXEC_DEFAULT")
    mask = chosen.cutout.mask
    mask.pixels[3] = 0.5
    mask.update()
    assert mask.is_dirty
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    chosen = bpy.context.scene.espalier
    assert cutout.choice_of(chosen).mask
    assert chosen.cutout.mask.pixels[3] == pytest.approx(0.5, abs=0.01)
    assert cutout.state == cutout.Preview()
    assert cutout.cutout_icon._collection is None


def test_a_painted_image_is_read_anew_and_its_pixels_leave_the_main_thread(cutout, chosen, window):
    window()
    image = chosen.image
    pixels = np.array(image.pixels[:], np.float32).reshape(160, 240, 4)
    pixels[:, 140:, :3] = 1.0
    image.pixels.foreach_set(pixels.ravel())
    image.update()
    cutout.want(bpy.context.scene, anew=True)
    cutout.step()
    assert cutout.state.reading is not None
    cutout.wait()
    assert _cut(cutout)[80, 180, 3] == 0
    assert Path(cutout.state.about["path"]).parent == cutout.inputs()


@pytest.mark.once
def test_the_main_thread_is_free_while_it_is_made(cutout, chosen, plain, window):
    """What is done in one go is small; a bound that a loaded machine keeps, far below what cutting out takes."""
    Image.open(plain).resize((1500, 1000)).save(plain)
    chosen.image.reload()
    window()
    chosen.cutout.threshold = 0.25
    longest, began = 0.0, time.process_time()
    cutout.want(bpy.context.scene, anew=True)
    while True:
        before = time.thread_time()
        more = cutout.step()
        longest = max(longest, time.thread_time() - before)
        if not more:
            break
        cutout.session.wait_for_answer(cutout.state.inquiry, 0.05) if cutout.state.inquiry else time.sleep(0.01)
    assert cutout.is_shown(chosen)
    assert longest < 0.016 * 4, f"{longest * 1000:.1f} ms of {(time.process_time() - began) * 1000:.0f}"


@pytest.mark.once
def test_an_answer_that_was_forgotten_is_asked_for_again(cutout, chosen, window, session):
    cutout.want(bpy.context.scene, anew=True)
    wait_for(lambda: cutout.step() and cutout.state.inquiry is not None, 0.0, told=lambda: cutout.state)
    session.session.inquiries.forget()
    cutout.wait()
    assert cutout.is_shown(chosen)
    assert cutout.state.note


def test_without_an_image_there_is_nothing(cutout, chosen, window):
    window()
    chosen.image = None
    window()
    assert cutout.state == cutout.Preview(follows=True)
    assert cutout.choice_of(chosen) is None


def test_disabling_leaves_nothing_behind(cutout, chosen, window, espalier):
    window()
    handlers = [*bpy.app.handlers.depsgraph_update_post, *bpy.app.handlers.save_pre, *bpy.app.handlers.undo_post]
    ours = [function for function in handlers if "espalier" in function.__module__]
    assert len(ours) == 3
    espalier.disable()
    try:
        left = [*bpy.app.handlers.depsgraph_update_post, *bpy.app.handlers.save_pre, *bpy.app.handlers.undo_post]
        left += [*bpy.app.handlers.redo_post, *bpy.app.handlers.load_post]
        assert not [function for function in left if "espalier" in function.__module__]
        assert not hasattr(bpy.types, "ESPALIER_FH_images")
        assert cutout._reader is None
        assert cutout.cutout_icon._collection is None
    finally:
        espalier.enable()
