# SPDX-License-Identifier: GPL-3.0-or-later
"""A new object in place of another one: inside its bounding box, with its transform, parent and collections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import bpy
from mathutils import Matrix, Vector

from .pose import bounds, extent, transform_mesh

WITHOUT_BOX = {"ARMATURE", "CAMERA", "LIGHT", "LIGHT_PROBE", "SPEAKER"}
"""Types of objects that take up no room."""
FLAT = 1e-5
"""Share of a box's longest side below which another side counts as none, as of a plane."""
SAME = 1e-4
"""How far a transform may be off, relative to its size, to count as the same."""


@dataclass(frozen=True)
class Box:
    """The bounding box of an object: its corners in the object's frame, and that frame in world space."""

    matrix: Matrix
    low: Vector
    high: Vector

    @property
    def center(self) -> Vector:
        """The middle of the box, in the object's frame."""
        return (self.low + self.high) / 2

    @property
    def half(self) -> Vector:
        """Half of the box's sides, in the object's frame."""
        return (self.high - self.low) / 2

    @property
    def base(self) -> Vector:
        """The middle of the base, in world space."""
        return self.matrix @ Vector((self.center.x, self.center.y, self.low.z))

    @property
    def size(self) -> float:
        """The longest side in world space."""
        return max(2 * self.half[axis] * self.matrix.col[axis].xyz.length for axis in range(3))

    def shifted(self, by: Vector) -> Box:
        """Return the box moved in world space."""
        return Box(Matrix.Translation(by) @ self.matrix, self.low, self.high)


def has_box(target: bpy.types.Object | None) -> bool:
    """Tell whether an asset could take the place of `target`."""
    return target is not None and target.type not in WITHOUT_BOX


def box_of(target: bpy.types.Object, graph: bpy.types.Depsgraph | None = None) -> Box:
    """Return the bounding box of `target`, its modifiers included where `graph` is given.

    That of an empty is the cube that it could be shown as; of one that instances a collection, what it shows.
    """
    if target.type != "EMPTY":
        seen = target.evaluated_get(graph) if graph is not None else target
        return Box(target.matrix_world.copy(), *bounds(Vector(corner) for corner in seen.bound_box))
    inside = target.instance_collection.all_objects if target.instance_type == "COLLECTION" else ()
    corners = [item.matrix_world @ Vector(corner) for item in inside if has_box(item) for corner in item.bound_box]
    if corners:
        low, high = bounds(corners)
        offset = Vector(target.instance_collection.instance_offset)
        return Box(target.matrix_world.copy(), low - offset, high - offset)
    size = target.empty_display_size
    return Box(target.matrix_world.copy(), Vector((-size,) * 3), Vector((size,) * 3))


def fill(box: Box, low: Vector, high: Vector, turn: float, stretch: bool) -> Matrix:
    """Return what brings an asset between the corners `low` and `high` into `box`, in world space.

    Its up is the box's, its front the box's -Y turned by `turn` about that. With `stretch` its box becomes the whole
    box, sheared where that is. Without, its proportions stay: it is as large as fits, in the middle, on the base of
    the box. Sides of the box that are flat do not count; it stands on a box without a height.
    """
    frame = _upright(box.matrix)
    axes, counts, center = _sound(box, frame)
    spin = Matrix.Rotation(turn, 3, "Z")
    own = (high - low) / 2
    if stretch:
        reach = _reach(spin, own)
        factors = [box.half[axis] / reach[axis] if counts[axis] and reach[axis] > 0 else 0.0 for axis in range(3)]
        known = [factor for factor in factors if factor] or [1.0]
        factors = [factor or sum(known) / len(known) for factor in factors]
        inner = Matrix.Diagonal(factors) @ spin
    else:
        inner = axes.inverted() @ frame @ spin
        reach = _reach(inner, own)
        fits = [box.half[axis] / reach[axis] for axis in range(3) if counts[axis] and reach[axis] > 0]
        inner = inner * min(fits, default=1.0)
    rise = _reach(inner, own).z
    if counts[2]:
        center.z = box.low.z + rise
    else:
        center += inner @ Vector((0.0, 0.0, own.z))
    place = Matrix.Translation(box.matrix.translation) @ (axes @ inner).to_4x4()
    return Matrix.Translation(axes @ center) @ place @ Matrix.Translation(-(low + high) / 2)


def _reach(matrix: Matrix, half: Vector) -> Vector:
    """Return half the sides of the box around a box of half sides `half` that is turned by the 3 x 3 `matrix`."""
    return Vector(sum(abs(row[axis]) * half[axis] for axis in range(3)) for row in matrix)


def _upright(matrix: Matrix) -> Matrix:
    """Return the rotation, 3 x 3, whose Z is that of `matrix` and whose X is as near to that of `matrix` as can be."""
    x, y, z = (matrix.col[axis].xyz for axis in range(3))
    least = FLAT * max(x.length, y.length, z.length)
    if z.length <= least:
        z = x.cross(y)
    z = z.normalized() if z.length > 0.0 else Vector((0.0, 0.0, 1.0))
    flat = x - z * x.dot(z)
    if flat.length <= least:
        flat = y.cross(z)
    if flat.length <= FLAT * least:
        side = Vector((1.0, 0.0, 0.0))
        flat = side - z * side.dot(z) if abs(z.x) < 0.9 else z.orthogonal()
    x = flat.normalized()
    return Matrix((x, z.cross(x), z)).transposed()


def _sound(box: Box, frame: Matrix) -> tuple[Matrix, list[bool], Vector]:
    """Return the box's axes, 3 x 3, which of its sides count, and its middle along those axes.

    Axes of no length are replaced by those of `frame`.
    """
    columns = [box.matrix.col[axis].xyz for axis in range(3)]
    least = FLAT * max(column.length for column in columns)
    sound = [column.length > least for column in columns]
    axes = [columns[axis] if sound[axis] else frame.col[axis] for axis in range(3)]
    sides = [2 * box.half[axis] * columns[axis].length for axis in range(3)]
    center = Vector(box.center[axis] if sound[axis] else 0.0 for axis in range(3))
    return Matrix(axes).transposed(), [side > FLAT * max(sides) for side in sides], center


def take_place(
    target: bpy.types.Object,
    box: Box,
    old: bpy.types.Object | None,
    view_layer: bpy.types.ViewLayer,
    turn: float = 0.0,
    stretch: bool = False,
) -> None:
    """Bring `target`, which is linked into `view_layer` and has no transform of its own, into `box` as `fill` does.

    It gets the parent of `old`, and a mesh the origin and the rotation of the box's frame. The scale as well where
    `stretch` asks for it or the frame has the same one along all axes: then its transform is the very one of `old`,
    else it is scaled within the object. Nothing of `old` is changed.
    """
    world = fill(box, *extent(target), turn, stretch)
    _take_parent(target, old, view_layer)
    if target.type != "MESH":
        _set_world(target, world, old, view_layer)
        return
    frame = box.matrix
    if not (_is_sound(frame) and (stretch or _is_even(frame))):
        frame = Matrix.Translation(frame.translation) @ _upright(frame).to_4x4()
    transform_mesh(target.data, frame.inverted() @ world)
    _set_world(target, frame, old, view_layer)


def _is_even(matrix: Matrix) -> bool:
    """Tell whether `matrix` has the same scale along all axes, and no shear."""
    inner = matrix.to_3x3()
    square = inner.transposed() @ inner
    scale = square[0][0]
    return all(
        abs(square[row][column] - (scale if row == column else 0.0)) <= SAME * scale
        for row in range(3)
        for column in range(3)
    )


def _take_parent(target: bpy.types.Object, old: bpy.types.Object | None, view_layer: bpy.types.ViewLayer) -> None:
    if old is not None and old.parent is not None:
        target.parent, target.parent_type = old.parent, old.parent_type
        target.parent_bone = old.parent_bone
        target.parent_vertices = old.parent_vertices
        target.matrix_parent_inverse = Matrix.Identity(4)
        view_layer.update()


def _set_world(
    target: bpy.types.Object, world: Matrix, old: bpy.types.Object | None, view_layer: bpy.types.ViewLayer
) -> None:
    """Give `target`, whose parent's inverse is none, the matrix `world`: through the channels of `old` where they are
    what makes it, else through its own, with the parent's inverse taking up what a parent does."""
    if old is not None:
        _copy_channels(target, old)
        view_layer.update()
        if _same(target.matrix_world, world):
            return
        _reset_channels(target)
        view_layer.update()
    if target.parent is not None:
        parent = target.matrix_world.copy()
        if _is_sound(parent):
            target.matrix_parent_inverse = parent.inverted()
        else:
            target.parent = None
    target.matrix_basis = world
    if target.parent is not None and not _same(target.matrix_basis, world):
        # A shear is no transform that an object can have by itself.
        target.matrix_parent_inverse = target.matrix_parent_inverse @ world @ target.matrix_basis.inverted()
    view_layer.update()


def _copy_channels(target: bpy.types.Object, old: bpy.types.Object) -> None:
    for name in ("rotation_mode", "location", "rotation_euler", "rotation_quaternion", "rotation_axis_angle", "scale"):
        setattr(target, name, getattr(old, name))
    for name in ("delta_location", "delta_rotation_euler", "delta_rotation_quaternion", "delta_scale"):
        setattr(target, name, getattr(old, name))
    target.matrix_parent_inverse = old.matrix_parent_inverse if old.parent is not None else Matrix.Identity(4)


def _reset_channels(target: bpy.types.Object) -> None:
    target.rotation_mode = "XYZ"
    target.delta_location = target.delta_rotation_euler = (0.0, 0.0, 0.0)
    target.delta_rotation_quaternion, target.delta_scale = (1.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    target.matrix_basis = target.matrix_parent_inverse = Matrix.Identity(4)


def _same(one: Matrix, other: Matrix) -> bool:
    """Tell whether two transforms are the same: axes as to their own length, places as to that and their distance."""
    size = max(other.col[axis].xyz.length for axis in range(3))
    far = size + other.translation.length
    near = all((one.col[axis].xyz - other.col[axis].xyz).length <= SAME * size for axis in range(3))
    return near and (one.translation - other.translation).length <= SAME * far


def _is_sound(matrix: Matrix) -> bool:
    """Tell whether `matrix` has room along each of three axes, so that it can be undone."""
    lengths = [matrix.col[axis].xyz.length for axis in range(3)]
    room = lengths[0] * lengths[1] * lengths[2]
    return min(lengths) > FLAT * max(lengths) and abs(matrix.to_3x3().determinant()) > FLAT * room


def hide(old: bpy.types.Object, view_layer: bpy.types.ViewLayer) -> bool:
    """Hide `old` in `view_layer` and in renders; tell whether it was done, as not for what another file owns."""
    if old.library is not None or old.override_library is not None or old.mode != "OBJECT":
        return False
    if old.name not in view_layer.objects or view_layer.objects[old.name] != old:
        return False
    old.hide_set(True, view_layer=view_layer)
    old.hide_render = True
    return True


def homes_of(old: bpy.types.Object, among: Sequence[bpy.types.Collection]) -> list[bpy.types.Collection]:
    """Return the collections of `old` that are `among` those of a scene and may be changed."""
    mine = [home for home in old.users_collection if home.library is None and home.override_library is None]
    return [home for home in mine if home in among]
