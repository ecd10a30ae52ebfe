# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever Blender holds as an Image reaches the engine as a file with the same pixels, and stays as it was."""

import io

import bpy
import numpy as np
import pytest
from PIL import Image


def _state(image):
    return image.source, image.is_dirty, image.filepath_raw, image.file_format, image.packed_file is not None


@pytest.fixture
def image_file(espalier):
    module = espalier.module("operators.image")
    return module.image_file


@pytest.fixture
def picture(tmp_path):
    """A file of 12 x 8 pixels, each of its own colour, half of them see-through."""
    rows = np.zeros((8, 12, 4), np.uint8)
    rows[..., 0] = np.arange(12) * 20
    rows[..., 1] = np.arange(8)[:, None] * 30
    rows[..., 3] = np.where(np.arange(12) < 6, 255, 100)
    path = tmp_path / "图片 one.png"
    Image.fromarray(rows).save(path)
    return path, rows


def test_a_file_on_disk_is_used_as_it_is(image_file, picture, tmp_path):
    path, _ = picture
    image = bpy.data.images.load(str(path))
    assert image_file(image, bpy.context.scene, tmp_path / "inputs") == path
    assert not (tmp_path / "inputs").exists()


def test_a_missing_file_keeps_its_name_for_the_error(image_file, tmp_path):
    image = bpy.data.images.new("gone", 4, 4)
    image.source, image.filepath_raw = "FILE", str(tmp_path / "gone.png")
    assert image_file(image, bpy.context.scene, tmp_path / "inputs") == tmp_path / "gone.png"


def test_a_packed_image_is_written_byte_for_byte(image_file, picture, tmp_path):
    path, _ = picture
    image = bpy.data.images.load(str(path))
    image.pack()
    data = path.read_bytes()
    path.unlink()
    before = _state(image)
    written = image_file(image, bpy.context.scene, tmp_path / "inputs")
    assert written.read_bytes() == data
    assert _state(image) == before


def test_painted_pixels_are_used_and_stay_unsaved(image_file, picture, tmp_path):
    path, rows = picture
    image = bpy.data.images.load(str(path))
    image.pixels[0:4] = (1.0, 0.0, 1.0, 1.0)
    image.update()
    before = _state(image)
    assert before[1]
    written = np.asarray(Image.open(image_file(image, bpy.context.scene, tmp_path / "inputs")))
    expected = rows.copy()
    expected[-1, 0] = (255, 0, 255, 255)
    assert np.array_equal(written, expected)
    assert _state(image) == before


def test_a_generated_image_is_used_and_stays_generated(image_file, tmp_path):
    image = bpy.data.images.new("generated", 6, 4, alpha=True)
    image.pixels = [0.2, 0.4, 0.6, 0.8] * 24
    before = _state(image)
    written = image_file(image, bpy.context.scene, tmp_path / "inputs")
    assert np.asarray(Image.open(written))[2, 3].tolist() == [51, 102, 153, 204]
    assert _state(image) == before
    assert image_file(image, bpy.context.scene, tmp_path / "inputs") == written


def test_a_render_is_used_with_the_scenes_settings_untouched(image_file, tmp_path):
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    scene.render.resolution_x = scene.render.resolution_y = 32
    scene.render.film_transparent = True
    scene.render.image_settings.file_format = "JPEG"
    scene.render.image_settings.color_mode = "RGB"
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    bpy.ops.render.render()
    image = bpy.data.images["Render Result"]
    written = image_file(image, scene, tmp_path / "inputs")
    picture = Image.open(io.BytesIO(written.read_bytes()))
    assert picture.size == (32, 32)
    assert picture.mode == "RGBA"
    assert np.asarray(picture)[..., 3].max() == 0
    assert scene.render.image_settings.file_format == "JPEG"
    assert scene.render.image_settings.color_mode == "RGB"


def test_a_film_is_refused_with_a_remedy(image_file, espalier, tmp_path):
    errors = espalier.module("engine.errors")
    image = bpy.data.images.new("film", 4, 4)
    image.source = "MOVIE"
    with pytest.raises(errors.EspalierError) as caught:
        image_file(image, bpy.context.scene, tmp_path)
    assert caught.value.code == "image_not_saved"
