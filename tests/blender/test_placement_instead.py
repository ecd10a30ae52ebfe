# SPDX-License-Identifier: GPL-3.0-or-later
"""An asset in place of an object: inside its box whatever its transform and its parents', and that object untouched."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mathutils import Euler, Matrix, Vector

from tests.support import extension

FILE = "this file"
PROPERTIES = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def _fresh(preferences: Any) -> None:
    """Each test has an empty scene and the default choices."""


def placing() -> Any:
    return extension.module("operators.placing")


def boxed(low: Any, high: Any, name: str = "Box") -> bpy.types.Object:
    """Return an object, in no collection, that is a box; vertex 0 is its lowest corner, 1, 2, 4 lie along X, Y, Z."""
    mesh = bpy.data.meshes.new(name)
    corners = [tuple(high[axis] if number >> axis & 1 else low[axis] for axis in range(3)) for number in range(8)]
    faces = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    mesh.from_pydata(corners, [], faces)
    return bpy.data.objects.new(name, mesh)


def an_asset(width: float, depth: float, height: float) -> bpy.types.Object:
    """Return an asset as it comes from the library: its origin in the middle of its base."""
    return boxed((-width / 2, -depth / 2, 0.0), (width / 2, depth / 2, height), "Asset")


def linked(target: bpy.types.Object, home: bpy.types.Collection | None = None) -> bpy.types.Object:
    """Link `target` into a collection, and let it be selected and active alone."""
    (home or bpy.context.scene.collection).objects.link(target)
    layer = bpy.context.view_layer
    for other in layer.objects.selected[:]:
        other.select_set(False)
    layer.objects.active = target
    target.select_set(True)
    layer.update()
    return target


def put(asset: bpy.types.Object, **changes: Any) -> str:
    """Put `asset` in place of the active object, through a snapshot as a job keeps it."""
    place = {**placing().snapshot(bpy.context, FILE, where="OBJECT"), **changes}
    return placing().arrange(bpy.context, asset, place, bpy.context.scene, FILE)


def world(target: bpy.types.Object) -> np.ndarray:
    """Return the vertices of `target` in world space, (V, 3)."""
    matrix = np.array(target.matrix_world, float)
    points = np.array([vertex.co for vertex in target.data.vertices], float)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def box(target: bpy.types.Object) -> np.ndarray:
    """Return the lowest and the highest corner of `target` in world space, (2, 3)."""
    points = world(target)
    return np.array([points.min(axis=0), points.max(axis=0)])


def within(points: np.ndarray, matrix: Matrix) -> np.ndarray:
    """Return world space points in the frame `matrix`."""
    inverse = np.linalg.inv(np.array(matrix, float))
    return points @ inverse[:3, :3].T + inverse[:3, 3]


def sides(asset: bpy.types.Object) -> np.ndarray:
    """Return the three edges of an asset's box at its first corner, in world space, (3, 3)."""
    corners = world(asset)
    return corners[[1, 2, 4]] - corners[0]


length = st.floats(0.05, 8.0)
sized = st.tuples(length, length, length)
factor = st.floats(0.3, 3.0) | st.floats(-3.0, -0.3)
scaled = st.tuples(factor, factor, st.floats(0.3, 3.0))
turned = st.tuples(*[st.floats(-3.1, 3.1)] * 3)
shifted = st.tuples(*[st.floats(-5.0, 5.0)] * 3)
transform = st.tuples(shifted, turned, scaled)
places = st.tuples(shifted, sized, transform, st.lists(transform, max_size=2))


def build(where: Any) -> bpy.types.Object:
    """Return a box of the artist's own below some parents; several parents with uneven scales shear it."""
    clear()
    low, size, own, parents = where
    old = boxed(low, [a + b for a, b in zip(low, size, strict=True)], "Old")
    above = None
    for location, rotation, scale in [*parents, own]:
        one = old if (location, rotation, scale) is own else bpy.data.objects.new("Parent", None)
        if one is not old:
            bpy.context.scene.collection.objects.link(one)
        one.parent = above
        one.location, one.rotation_euler, one.scale = location, rotation, scale
        if above is not None:
            one.matrix_parent_inverse = (
                Matrix.Translation((0.3, -0.2, 0.1)) @ Euler((0.1, 0.2, 0.3)).to_matrix().to_4x4()
            )
        above = one
    return linked(old)


def clear() -> None:
    """Remove what an earlier example has left."""
    bpy.data.batch_remove([*bpy.data.objects, *bpy.data.meshes])
    bpy.context.view_layer.update()


@PROPERTIES
@given(places, sized, st.floats(-3.2, 3.2))
def test_it_is_as_large_as_fits_and_keeps_its_proportions(where: Any, size: Any, turn: float) -> None:
    old = build(where)
    asset = an_asset(*size)
    assert put(asset, turn=turn) == "Old is hidden"
    low, high = (np.array(corner) for corner in (where[0], np.add(where[0], where[1])))
    inside = within(world(asset), old.matrix_world)
    room = 3e-3 * (high - low)
    assert (inside.min(axis=0) >= low - room).all()
    assert (inside.max(axis=0) <= high + room).all()
    filled = np.ptp(inside, axis=0) / (high - low)
    assert filled.max() == pytest.approx(1.0, abs=3e-3)
    assert inside[:, 2].min() == pytest.approx(low[2], abs=room[2])
    edges = sides(asset)
    lengths = np.linalg.norm(edges, axis=1)
    np.testing.assert_allclose(lengths / lengths.max(), np.array(size) / max(size), rtol=3e-3)
    cosines = (edges / lengths[:, None]) @ (edges / lengths[:, None]).T
    np.testing.assert_allclose(cosines, np.eye(3), atol=3e-3)
    assert np.linalg.det(edges) > 0
    np.testing.assert_allclose(asset.matrix_world.translation, old.matrix_world.translation, rtol=1e-4, atol=1e-3)
    assert asset.parent == old.parent


@PROPERTIES
@given(places, sized, st.sampled_from([0, 1, 2, 3]))
def test_stretched_it_fills_the_whole_box_with_the_very_transform(where: Any, size: Any, quarter: int) -> None:
    old = build(where)
    asset = an_asset(*size)
    extension.module("operators.placement_settings").chosen().stretch = True
    put(asset, turn=quarter * np.pi / 2)
    low, high = (np.array(corner) for corner in (where[0], np.add(where[0], where[1])))
    inside = within(world(asset), old.matrix_world)
    np.testing.assert_allclose(inside.min(axis=0), low, atol=3e-3 * (high - low).max())
    np.testing.assert_allclose(inside.max(axis=0), high, atol=3e-3 * (high - low).max())
    np.testing.assert_array_equal(np.array(asset.matrix_world), np.array(old.matrix_world))
    assert (tuple(asset.location), tuple(asset.scale)) == (tuple(old.location), tuple(old.scale))
    middle = sum((vertex.co for vertex in asset.data.vertices), Vector()) / 8
    assert all(face.normal.dot(face.center - middle) > 0 for face in asset.data.polygons)


def test_transform_parent_and_collections_are_taken_and_the_object_is_hidden() -> None:
    scene = bpy.context.scene
    props, blockout = bpy.data.collections.new("Props"), bpy.data.collections.new("Blockout")
    for home in (props, blockout):
        scene.collection.children.link(home)
    parent = bpy.data.objects.new("Rig", None)
    scene.collection.objects.link(parent)
    old = boxed((-1, -1, -1), (1, 1, 1), "Cube")
    props.objects.link(old)
    old.parent, old.rotation_mode = parent, "QUATERNION"
    old.location, old.scale = (1.0, 2.0, 3.0), (2.0, 2.0, 2.0)
    linked(old, blockout)
    child = bpy.data.objects.new("Child", None)
    scene.collection.objects.link(child)
    child.parent = old
    asset = an_asset(1.0, 1.0, 1.0)
    assert put(asset) == "Cube is hidden"
    assert set(asset.users_collection) == {props, blockout}
    assert (asset.parent, asset.rotation_mode) == (parent, "QUATERNION")
    assert (tuple(asset.location), tuple(asset.scale)) == ((1, 2, 3), (2, 2, 2))
    assert box(asset) == pytest.approx(np.array([(-1, 0, 1), (3, 4, 5)]), abs=1e-5)
    assert (old.hide_get(), old.hide_render, old.name, old.parent, child.parent) == (True, True, "Cube", parent, old)
    assert set(old.users_collection) == {props, blockout}
    assert asset.visible_get()
    assert list(bpy.context.view_layer.objects.selected) == [asset]
    assert bpy.context.view_layer.objects.active == asset


def test_below_a_bone() -> None:
    scene = bpy.context.scene
    rig = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    linked(rig)
    bpy.ops.object.mode_set(mode="EDIT")
    bone = rig.data.edit_bones.new("Hand")
    bone.head, bone.tail = (0, 0, 1), (0, 1, 2)
    bpy.ops.object.mode_set(mode="OBJECT")
    rig.scale = (2.0, 1.0, 1.0)
    old = boxed((0, 0, 0), (1, 1, 1), "Held")
    old.parent, old.parent_type, old.parent_bone = rig, "BONE", "Hand"
    linked(old)
    asset = an_asset(1.0, 1.0, 1.0)
    put(asset, stand_in={**placing().snapshot(bpy.context, FILE, where="OBJECT")["stand_in"], "stretch": True})
    assert (asset.parent, asset.parent_type, asset.parent_bone) == (rig, "BONE", "Hand")
    np.testing.assert_allclose(np.array(asset.matrix_world), np.array(old.matrix_world), atol=1e-5)
    np.testing.assert_allclose(sorted(map(tuple, world(asset))), sorted(map(tuple, world(old))), atol=1e-4)
    assert scene.collection in asset.users_collection


def test_a_constraint_has_moved_the_object() -> None:
    goal = bpy.data.objects.new("Goal", None)
    goal.location = (7.0, 0.0, 0.0)
    bpy.context.scene.collection.objects.link(goal)
    old = boxed((-1, -1, 0), (1, 1, 2), "Old")
    old.constraints.new("COPY_LOCATION").target = goal
    linked(old)
    asset = an_asset(1.0, 1.0, 1.0)
    put(asset)
    assert box(asset) == pytest.approx(np.array([(6, -1, 0), (8, 1, 2)]), abs=1e-5)


def test_modifiers_count_for_the_box() -> None:
    old = boxed((0, 0, 0), (1, 1, 1), "Old")
    array = old.modifiers.new("Array", "ARRAY")
    array.count = 3
    linked(old)
    asset = an_asset(3.0, 1.0, 1.0)
    put(asset)
    assert box(asset) == pytest.approx(np.array([(0, 0, 0), (3, 1, 1)]), abs=1e-5)


@pytest.mark.parametrize("flat", [(1, 1, 0), (1, 0, 1), (0, 1, 1), (0, 0, 1), (0, 0, 0)])
@pytest.mark.parametrize("how", ["mesh", "scale"])
def test_a_side_without_length_does_not_count(flat: tuple[int, int, int], how: str) -> None:
    ends = (flat, (1, 1, 1)) if how == "mesh" else ((1, 1, 1), flat)
    old = boxed((0, 0, 0), [2 * value for value in ends[0]], "Flat")
    old.scale = ends[1]
    old.location = (5.0, 0.0, 1.0)
    linked(old)
    asset = an_asset(1.0, 1.0, 1.0)
    put(asset)
    points = world(asset)
    size = np.ptp(points, axis=0)
    assert np.isfinite(points).all()
    expected = 2.0 if any(flat) else 1.0
    np.testing.assert_allclose(size, (expected,) * 3, rtol=1e-4)
    assert points[:, 2].min() == pytest.approx(1.0, abs=1e-4)


def test_an_empty_stands_for_its_own_size_and_for_what_it_shows() -> None:
    empty = bpy.data.objects.new("Spot", None)
    empty.empty_display_size = 2.0
    linked(empty)
    asset = an_asset(1.0, 1.0, 2.0)
    put(asset)
    np.testing.assert_allclose(
        [world(asset).min(axis=0), world(asset).max(axis=0)], [(-1, -1, -2), (1, 1, 2)], atol=1e-5
    )
    shown = bpy.data.collections.new("Tree")
    shown.objects.link(boxed((1, 1, 0), (3, 3, 2), "Trunk"))
    instance = bpy.data.objects.new("Instance", None)
    instance.instance_type, instance.instance_collection = "COLLECTION", shown
    instance.location = (10.0, 0.0, 0.0)
    linked(instance)
    other = an_asset(1.0, 1.0, 1.0)
    put(other)
    np.testing.assert_allclose(
        [world(other).min(axis=0), world(other).max(axis=0)], [(11, 1, 0), (13, 3, 2)], atol=1e-5
    )


def test_several_objects_below_an_empty_take_a_place_too() -> None:
    linked(boxed((-2, -2, 0), (2, 2, 4), "Old"))
    family = bpy.data.objects.new("Asset", None)
    for side in (-1.0, 1.0):
        part = an_asset(1.0, 1.0, 2.0)
        part.parent = family
        part.matrix_parent_inverse = Matrix.Translation((side / 2, 0.0, 0.0))
    put(family)
    points = np.concatenate([world(part) for part in family.children])
    np.testing.assert_allclose([points.min(axis=0), points.max(axis=0)], [(-2, -1, 0), (2, 1, 4)], atol=1e-5)


def test_a_linked_object_is_not_touched(tmp_path: Any) -> None:
    bpy.data.libraries.write(str(tmp_path / "kit.blend"), {boxed((-1, -1, 0), (1, 1, 2), "Kit")})
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with bpy.data.libraries.load(str(tmp_path / "kit.blend"), link=True) as (_found, wanted):
        wanted.objects = ["Kit"]
    old = linked(wanted.objects[0])
    asset = an_asset(1.0, 1.0, 1.0)
    assert put(asset) == "Kit stays as it is"
    assert (old.hide_get(), old.hide_render) == (False, False)
    np.testing.assert_allclose(
        [world(asset).min(axis=0), world(asset).max(axis=0)], [(-1, -1, 0), (1, 1, 2)], atol=1e-6
    )
    override = old.override_create()
    bpy.context.scene.collection.objects.link(override)
    linked_again = bpy.context.view_layer
    linked_again.objects.active = override
    override.select_set(True)
    second = an_asset(1.0, 1.0, 1.0)
    assert put(second).endswith("stays as it is")
    assert (override.hide_get(), override.hide_render) == (False, False)
    assert second.library is None


def test_the_object_was_renamed_moved_or_deleted_meanwhile() -> None:
    old = linked(boxed((-1, -1, 0), (1, 1, 2), "Old"))
    place = placing().snapshot(bpy.context, FILE, where="OBJECT")
    old.name, old.location = "Renamed", (3.0, 0.0, 0.0)
    other = linked(boxed((0, 0, 0), (9, 9, 9), "Old"))
    first, second, third = (an_asset(1.0, 1.0, 1.0) for _ in range(3))
    assert placing().arrange(bpy.context, first, place, bpy.context.scene, FILE) == "Renamed is hidden"
    assert not other.hide_get()
    assert world(first).min(axis=0)[0] == pytest.approx(2.0, abs=1e-5)
    assert placing().arrange(bpy.context, second, place, bpy.context.scene, "opened again") == "Old is hidden"
    bpy.data.objects.remove(old)
    bpy.data.objects.remove(other)
    assert placing().arrange(bpy.context, third, place, bpy.context.scene, FILE) == ""
    np.testing.assert_allclose(
        [world(third).min(axis=0), world(third).max(axis=0)], [(-1, -1, 0), (1, 1, 2)], atol=1e-5
    )
    assert third.visible_get()


@pytest.mark.parametrize("kind", ["nothing", "camera", "unselected"])
def test_without_a_place_to_take_the_remedy_is_told(kind: str) -> None:
    if kind == "camera":
        linked(bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera")))
    elif kind == "unselected":
        linked(boxed((0, 0, 0), (1, 1, 1))).select_set(False)
    with pytest.raises(extension.module("engine.errors").EspalierError) as caught:
        placing().snapshot(bpy.context, FILE, where="OBJECT")
    assert caught.value.code == "placement_no_object"


def test_a_hidden_collection_of_the_object_would_hide_the_asset() -> None:
    home = bpy.data.collections.new("Guides")
    bpy.context.scene.collection.children.link(home)
    old = linked(boxed((-1, -1, 0), (1, 1, 2), "Old"), home)
    place = placing().snapshot(bpy.context, FILE, where="OBJECT")
    bpy.context.view_layer.layer_collection.children["Guides"].hide_viewport = True
    asset = an_asset(1.0, 1.0, 1.0)
    placing().arrange(bpy.context, asset, place, bpy.context.scene, FILE)
    assert asset.visible_get()
    assert asset.users_collection == (bpy.context.scene.collection,)
    assert old.users_collection == (home,)
