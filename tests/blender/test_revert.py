# SPDX-License-Identifier: GPL-3.0-or-later
"""A rebuilt object tells what it was before, and goes back to that from the library, also after a new start."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from mathutils import Matrix

SMALL = {"remesh": False, "texture_size": "1024"}


@pytest.fixture
def made(espalier: Any, preferences: Any, picture: Path) -> bpy.types.Object:
    """The object of a finished draft of 2048 pixels, 2 m high."""
    preferences.placement.use_height, preferences.placement.height_m = True, 2.0
    bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(picture), resolution="512", texture_size="2048")
    (made,) = [item for item in bpy.data.objects if item.type == "MESH"]
    return made


def box(target: bpy.types.Object) -> np.ndarray:
    points = np.array([target.matrix_world @ vertex.co for vertex in target.data.vertices])
    return np.array([points.min(axis=0), points.max(axis=0)])


def rebuild(faces: int) -> None:
    assert bpy.ops.espalier.rebuild("EXEC_DEFAULT", decimation_target=faces, **SMALL) == {"FINISHED"}


def test_before_and_after_are_told_and_revert_goes_back_step_by_step(espalier: Any, made: bpy.types.Object) -> None:
    former = espalier.module("operators.former")
    first = dict(made["espalier"].to_dict())
    made.data.transform(Matrix.Translation((0.5, 0.0, 0.0)) @ Matrix.Rotation(0.4, 4, "Z"))
    at, faces = box(made), len(made.data.polygons)
    assert former.compared(made) == [("Faces", f"{faces:,}")]
    assert not bpy.ops.espalier.revert.poll()
    rebuild(3000)
    assert former.compared(made) == [
        ("Faces", f"{faces:,} before, {len(made.data.polygons):,} now"),
        ("Texture", "2048 px before, 1024 px now"),
    ]
    middle = len(made.data.polygons)
    rebuild(1500)
    assert former.compared(made)[0] == ("Faces", f"{middle:,} before, {len(made.data.polygons):,} now")
    assert bpy.ops.espalier.revert() == {"FINISHED"}
    assert len(made.data.polygons) == middle
    assert made["espalier"]["decimation_target"] == 3000
    assert former.compared(made)[1] == ("Texture", "2048 px before, 1024 px now")
    assert bpy.ops.espalier.revert() == {"FINISHED"}
    assert len(made.data.polygons) == faces
    assert made["espalier"].to_dict() == first
    np.testing.assert_allclose(box(made), at, atol=1e-3)
    assert not bpy.ops.espalier.revert.poll()
    assert len(bpy.data.meshes) == 1


@pytest.mark.once
def test_also_after_saving_and_opening_the_file(espalier: Any, made: bpy.types.Object, tmp_path: Path) -> None:
    faces, name = len(made.data.polygons), made.name
    rebuild(3000)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    session = espalier.module("operators.session")
    session.session.close()
    session.session = session.Session()  # as after a new start, with nothing known of earlier jobs
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    again = bpy.data.objects[name]
    bpy.context.view_layer.objects.active = again
    assert bpy.ops.espalier.revert() == {"FINISHED"}
    assert len(again.data.polygons) == faces
    images = [node.image for node in again.active_material.node_tree.nodes if getattr(node, "image", None)]
    assert images[0].size[0] == 2048


def test_one_undo_takes_it_back_and_what_is_no_longer_in_the_library_is_told(
    espalier: Any, made: bpy.types.Object
) -> None:
    first, name = made["espalier"]["job"], made.name
    rebuild(3000)
    faces = len(made.data.polygons)
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.espalier.revert("EXEC_DEFAULT", True)
    assert len(bpy.data.objects[name].data.polygons) != faces
    bpy.ops.ed.undo()
    assert len(bpy.data.objects[name].data.polygons) == faces
    shutil.rmtree(espalier.module("operators.former").library_folder(first))
    with pytest.raises(RuntimeError, match="are gone"):
        bpy.ops.espalier.revert()
    assert len(bpy.data.objects[name].data.polygons) == faces
