# SPDX-License-Identifier: GPL-3.0-or-later
"""What is chosen under Placement holds for the asset when it arrives: place, front, height, origin, collection."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mathutils import Euler, Matrix, Vector

from tests.support import extension

FILE = "this file"
FRONTS = {"NEG_Y": (0, -1, 0), "POS_Y": (0, 1, 0), "POS_X": (1, 0, 0), "NEG_X": (-1, 0, 0)}


@pytest.fixture(autouse=True)
def _fresh(preferences: Any) -> None:
    """Each test has an empty scene and the default choices."""


def placing() -> Any:
    return extension.module("operators.placing")


def chosen() -> Any:
    return extension.module("operators.placement_settings").chosen()


def an_asset(width: float = 0.6, depth: float = 0.4, height: float = 0.9) -> bpy.types.Object:
    """Return a box as an asset comes from the library; its first vertex is the middle of its front, at the base."""
    mesh = bpy.data.meshes.new("Asset")
    x, y = width / 2, depth / 2
    corners = [(0, -y, 0), *((a, b, c) for c in (0, height) for a, b in ((-x, -y), (x, -y), (x, y), (-x, y)))]
    mesh.from_pydata(corners, [], [(1, 2, 3, 4), (5, 6, 7, 8)])
    return bpy.data.objects.new("Asset", mesh)


def put(place: dict[str, Any], asset: bpy.types.Object | None = None, **options: Any) -> bpy.types.Object:
    """Put an asset where a snapshot says that went through the ledger."""
    asset = asset or an_asset()
    kept = json.loads(json.dumps(place))
    placing().arrange(bpy.context, asset, kept, placing().scene_of(kept, bpy.context), FILE, **options)
    bpy.context.view_layer.update()
    return asset


def asked(**options: Any) -> dict[str, Any]:
    return placing().snapshot(bpy.context, FILE, **options)


def world(target: bpy.types.Object) -> np.ndarray:
    return np.array([target.matrix_world @ vertex.co for vertex in target.data.vertices])


def test_by_default_it_stands_at_the_cursor_as_it_was_made() -> None:
    bpy.context.scene.cursor.location = (1, 2, 3)
    made = put(asked())
    assert (tuple(made.location), tuple(made.rotation_euler), tuple(made.scale)) == ((1, 2, 3), (0, 0, 0), (1, 1, 1))
    assert world(made)[:, 2].min() == pytest.approx(3.0)
    assert np.ptp(world(made)[:, 2]) == pytest.approx(0.9)


def test_a_snapshot_of_an_older_version_still_counts() -> None:
    made = put({"file": FILE, "blend": "", "scene": "Scene", "collection": "", "location": [4.0, 5.0, 6.0]})
    assert (tuple(made.location), tuple(made.rotation_euler)) == ((4, 5, 6), (0, 0, 0))


@pytest.mark.parametrize("facing", FRONTS)
def test_the_front_faces_as_chosen(facing: str) -> None:
    chosen().where, chosen().facing = "WORLD", facing
    bpy.context.scene.cursor.location = (9, 9, 9)
    made = put(asked())
    assert tuple(made.location) == (0, 0, 0)
    np.testing.assert_allclose(world(made)[0], 0.2 * np.array(FRONTS[facing]), atol=1e-6)


@pytest.mark.parametrize("system", ["METRIC", "IMPERIAL", "NONE"])
@pytest.mark.parametrize("scale", [1.0, 0.01, 0.001, 100.0])
def test_the_height_is_real_in_scenes_of_any_unit_scale(scale: float, system: str) -> None:
    units = bpy.context.scene.unit_settings
    units.system, units.scale_length = system, scale
    chosen().use_height = True
    chosen().height = 1.8 / scale
    assert chosen().height_m == pytest.approx(1.8)
    made = put(asked())
    assert np.ptp(world(made)[:, 2]) * scale == pytest.approx(1.8, rel=1e-5)
    assert tuple(made.scale) == (1, 1, 1)
    units.scale_length = 1.0
    assert chosen().height == pytest.approx(1.8, rel=1e-5)


def test_without_set_height_the_height_does_not_count() -> None:
    chosen().height = 5.0
    assert np.ptp(world(put(asked()))[:, 2]) == pytest.approx(0.9)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(*[st.floats(0.05, 5.0)] * 3),
    st.tuples(*[st.floats(-50.0, 50.0)] * 3),
    st.sampled_from(sorted(FRONTS)),
    st.floats(0.01, 30.0) | st.none(),
    st.sampled_from([1.0, 0.01, 2.5]),
    st.booleans(),
    st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.1, 1)) | st.none(),
)
def test_the_box_is_where_it_was_asked_for(
    size: Any, place: Any, facing: str, height: float | None, scale: float, centered: bool, normal: Any
) -> None:
    scene = bpy.context.scene
    scene.unit_settings.scale_length = scale
    chosen().facing, chosen().origin = facing, "CENTER" if centered else "BASE"
    chosen().use_height, chosen().align = height is not None, normal is not None
    if height is not None:
        chosen().height_m = height
    scene.cursor.location = place
    up = Vector(normal).normalized() if normal else Vector((0, 0, 1))
    surface = {"location": place, "normal": tuple(up)} if normal else {}
    made = put(asked(**surface), an_asset(*size))
    factor = (height / scale / size[2]) if height is not None else 1.0
    tolerance = 1e-4 * (50.0 + factor * max(size))
    points = world(made) - np.array(place)
    along = points @ np.array(up)
    assert np.ptp(along) == pytest.approx(size[2] * factor, abs=tolerance)
    base = -size[2] * factor / 2 if centered and not normal else 0.0
    assert along.min() == pytest.approx(base, abs=tolerance)
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    expected = np.array(up) * (base + size[2] * factor / 2)
    np.testing.assert_allclose(middle, expected, atol=tolerance)
    origin = np.array(made.matrix_world.translation) - np.array(place)
    np.testing.assert_allclose(
        origin, np.array(up) * (size[2] * factor / 2 if centered and normal else 0), atol=tolerance
    )
    if not normal:
        front = points[0] - middle
        np.testing.assert_allclose(front[:2], factor * size[1] / 2 * np.array(FRONTS[facing][:2]), atol=tolerance)
    bpy.data.objects.remove(made)


def test_on_a_slope_it_stands_upright_unless_it_is_to_be_aligned() -> None:
    slope = (0.0, -1.0, 1.0)
    upright = put(asked(location=(0, 0, 0), normal=slope))
    assert tuple(upright.rotation_euler) == (0, 0, 0)
    chosen().align = True
    tilted = put(asked(location=(0, 0, 0), normal=slope))
    np.testing.assert_allclose(tilted.matrix_world.col[2].xyz, np.array(slope) / math.sqrt(2), atol=1e-6)


def test_a_place_that_was_pointed_at_wins_over_what_is_chosen() -> None:
    chosen().where = "WORLD"
    assert tuple(put(asked(location=(1, 1, 1), normal=(0, 0, 1))).location) == (1, 1, 1)
    chosen().where = "OBJECT"
    assert tuple(put(asked(location=(2, 1, 1), normal=(0, 0, 1))).location) == (2, 1, 1)


def test_the_chosen_collection_is_the_scenes_own_choice() -> None:
    scene = bpy.context.scene
    wanted, inner = bpy.data.collections.new("Props"), bpy.data.collections.new("Inner")
    scene.collection.children.link(wanted)
    wanted.children.link(inner)
    scene.espalier.collection = inner
    assert put(asked()).users_collection == (inner,)
    elsewhere = bpy.data.collections.new("Of Another Scene")
    scene.espalier.collection = elsewhere
    assert put(asked()).users_collection == (scene.collection,)


def test_it_stays_with_its_scene_while_another_is_shown() -> None:
    place = asked()
    other = bpy.data.scenes.new("Other")
    bpy.context.window_manager.windows[0].scene = other
    made = put(place)
    assert made.users_scene == (bpy.data.scenes["Scene"],)


def test_the_last_choice_outlives_the_file() -> None:
    bpy.context.preferences.is_dirty = False
    chosen().where, chosen().facing, chosen().origin = "WORLD", "POS_X", "CENTER"
    assert bpy.context.preferences.is_dirty
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    assert (chosen().where, chosen().facing, chosen().origin) == ("WORLD", "POS_X", "CENTER")


class Viewport:
    """A 3D viewport of 800 x 600 pixels that looks along `rotation`'s -Z at the origin, `away` from it."""

    def __init__(self, rotation: tuple[float, float, float], away: float = 10.0, perspective: bool = True) -> None:
        self.turn = Euler(rotation).to_quaternion()
        matrix = Matrix.LocRotScale(self.turn @ Vector((0, 0, away)), self.turn, None).inverted()
        near, far = 0.1, 1000.0
        if perspective:
            depth = (far + near) / (far - near), 2 * far * near / (far - near)
            lens = Matrix(((2, 0, 0, 0), (0, 8 / 3, 0, 0), (0, 0, -depth[0], -depth[1]), (0, 0, -1, 0)))
        else:
            lens = Matrix(((0.2, 0, 0, 0), (0, 0.8 / 3, 0, 0), (0, 0, -1 / far, 0), (0, 0, 0, 1)))
        data = SimpleNamespace(
            view_rotation=self.turn,
            view_matrix=matrix,
            perspective_matrix=lens @ matrix,
            is_perspective=perspective,
            view_perspective="PERSP" if perspective else "ORTHO",
            view_location=Vector(),
            view_distance=away,
        )
        self.region = SimpleNamespace(width=800, height=600, data=data)
        areas = bpy.context.window_manager.windows[0].screen.areas
        self.space = next(area.spaces.active for area in areas if area.type == "VIEW_3D")

    def surface(self, x: float = 400, y: float = 300) -> tuple[Vector, Vector]:
        return extension.module("operators.viewing").surface_at(bpy.context, self.space, self.region, (x, y))


def wall(name: str, y: float) -> bpy.types.Object:
    """Add a wall across the view from the front, at the depth `y`."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([(-2, y, -2), (2, y, -2), (2, y, 2), (-2, y, 2)], [], [(0, 1, 2, 3)])
    made = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(made)
    bpy.context.view_layer.update()
    return made


@pytest.mark.parametrize("perspective", [True, False])
def test_the_nearest_surface_that_is_seen_counts(perspective: bool) -> None:
    view = Viewport((math.pi / 2, 0, 0), perspective=perspective)
    far, near = wall("Far", 3.0), wall("Near", -3.0)
    point, normal = view.surface()
    np.testing.assert_allclose(point, (0, -3, 0), atol=1e-4)
    np.testing.assert_allclose(normal, (0, -1, 0), atol=1e-6)
    near.data.flip_normals()
    bpy.context.view_layer.update()
    np.testing.assert_allclose(view.surface()[1], (0, -1, 0), atol=1e-6)
    near.display_type = "WIRE"
    assert view.surface()[0].y == pytest.approx(3.0, abs=1e-4)
    near.display_type = "TEXTURED"
    near.hide_set(True)
    assert view.surface()[0].y == pytest.approx(3.0, abs=1e-4)
    far.hide_viewport = True
    assert view.surface()[0].y != pytest.approx(3.0, abs=1e-4)


def test_beside_all_objects_it_is_the_floor_and_towards_the_sky_as_far_as_the_cursor() -> None:
    view = Viewport((math.radians(60), 0, 0))
    point, normal = view.surface()
    np.testing.assert_allclose([point, normal], [(0, 0, 0), (0, 0, 1)], atol=1e-3)
    bpy.context.scene.cursor.location = (0, 5, 0)
    level = Viewport((math.radians(90), 0, 0))
    sky, up = level.surface(400, 500)
    assert sky.z > 0.5
    assert sky.y == pytest.approx(5.0, abs=1e-3)
    assert tuple(up) == (0, 0, 1)


@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize("yaw", [0.0, 0.6, math.pi / 2, -2.0])
def test_towards_the_viewport(yaw: float, perspective: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    viewing = extension.module("operators.viewing")
    chosen().facing = "VIEW"
    for tilt, expected in ((1.2, yaw), (0.0, yaw), (math.pi / 2, yaw)):
        view = Viewport((tilt, 0, yaw), perspective=perspective)
        monkeypatch.setattr(viewing, "_view_of", lambda _context, data=view.region.data: data)
        made = put(asked())
        assert math.remainder(made.rotation_euler.z - expected, 2 * math.pi) == pytest.approx(0.0, abs=1e-4)


def test_generate_knows_a_place_that_a_script_points_at(picture: Any) -> None:
    small = {"resolution": "512", "texture_size": "1024", "filepath": str(picture)}
    assert bpy.ops.espalier.generate("EXEC_DEFAULT", place=(1.0, 2.0, 3.0), **small) == {"FINISHED"}
    (made,) = [item for item in bpy.data.objects if item.type == "MESH"]
    assert tuple(made.location) == (1, 2, 3)
    chosen().where = "OBJECT"
    made.select_set(False)
    with pytest.raises(RuntimeError, match="No object is selected whose place the asset could take"):
        bpy.ops.espalier.generate("EXEC_DEFAULT", **small)
    made.select_set(True)
    assert bpy.ops.espalier.generate("EXEC_DEFAULT", **small) == {"FINISHED"}
    assert made.hide_get()
    assert bpy.context.object != made
    np.testing.assert_allclose(bpy.context.object.matrix_world, made.matrix_world, atol=1e-6)


def test_what_was_set_on_the_operator_goes_with_it_to_the_click() -> None:
    properties = bpy.context.window_manager.operator_properties_last("espalier.generate")
    properties.seed, properties.resolution, properties.remesh = 5, "512", False
    pressed = SimpleNamespace(properties=properties, seed=5, resolution="512", remesh=False)
    try:
        given = extension.module("operators.picking")._given(pressed)
    finally:
        for name in ("seed", "resolution", "remesh"):
            properties.property_unset(name)
    assert json.loads(json.dumps(given)) == {"seed": 5, "resolution": "512", "remesh": False}
