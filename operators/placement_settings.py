# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the next asset goes and how it stands, kept in Blender's preferences: the last choice counts in all files.

The target collection alone is the scene's own (`EspalierSettings.collection`), for it is part of one .blend.
"""

from __future__ import annotations

import bpy

from . import account
from .languages import OWN

CURSOR, SURFACE, WORLD, STAND_IN = "CURSOR", "SURFACE", "WORLD", "OBJECT"
PLACES = (
    (CURSOR, "3D Cursor", "At the 3D cursor"),
    (SURFACE, "Under the Mouse", "On the surface that the next click in a 3D viewport points at"),
    (WORLD, "World Origin", "At the origin of the world"),
    (
        STAND_IN,
        "In Place of Object",
        "Inside the bounding box of the active object, with its transform, parent and collections. The object is "
        "hidden, not deleted; one that is linked from another file stays as it is",
    ),
)
TOWARDS_VIEW = "VIEW"
FACINGS = (
    ("NEG_Y", "-Y", "The front faces -Y, towards Blender's front view"),
    ("POS_Y", "+Y", "The front faces +Y"),
    ("POS_X", "+X", "The front faces +X"),
    ("NEG_X", "-X", "The front faces -X"),
    (TOWARDS_VIEW, "Towards the Viewport", "The front faces whoever looks, as the 3D viewport is turned now"),
)
BASE, CENTER = "BASE", "CENTER"
ORIGINS = (
    (BASE, "Base", "The middle of the base: it stands where it is put, and is turned and scaled from there"),
    (CENTER, "Center", "The middle of the bounding box"),
)


def _remember(_self: EspalierPlacement, context: bpy.types.Context) -> None:
    """Let Blender save the choice when it closes, as it does with what is changed in the preferences themselves."""
    context.preferences.is_dirty = True


def _shown_height(self: EspalierPlacement) -> float:
    return self.height_m / bpy.context.scene.unit_settings.scale_length


def _take_height(self: EspalierPlacement, value: float) -> None:
    self.height_m = value * bpy.context.scene.unit_settings.scale_length


class EspalierPlacement(bpy.types.PropertyGroup):
    """Where the next asset goes. `height_m` is in meters, so that 1.8 m are 1.8 m in files of any unit scale."""

    where: bpy.props.EnumProperty(
        name="Place", description="Where the next asset appears", items=PLACES, update=_remember
    )
    facing: bpy.props.EnumProperty(
        name="Front",
        translation_context=OWN,
        description="Where the front of the asset faces; in place of an object, along that object's own axes",
        items=FACINGS,
        update=_remember,
    )
    origin: bpy.props.EnumProperty(
        name="Origin",
        translation_context=OWN,
        description="Which point of the asset is its origin; in place of an object, the origin stays that object's",
        items=ORIGINS,
        update=_remember,
    )
    use_height: bpy.props.BoolProperty(
        name="Set Height",
        description="Give the asset a real height; without it, its largest side is about one unit of the scene",
        update=_remember,
    )
    height: bpy.props.FloatProperty(
        name="Height",
        description="How tall the asset is, in the units of the scene",
        unit="LENGTH",
        min=1e-6,
        soft_max=100.0,
        get=_shown_height,
        set=_take_height,
        update=_remember,
    )
    height_m: bpy.props.FloatProperty(default=1.0, min=1e-6, options={"HIDDEN"})
    align: bpy.props.BoolProperty(
        name="Align to Surface",
        description="Tilt the asset so that it stands square on a slope or a wall, instead of upright",
        update=_remember,
    )
    stretch: bpy.props.BoolProperty(
        name="Stretch to Fill",
        translation_context=OWN,
        description="Fill the whole box of the object, at the price of the asset's own proportions; without it, "
        "the asset is as large as fits into the box",
        update=_remember,
    )


def chosen() -> EspalierPlacement:
    """Return the choices that count now, in whatever file is open."""
    return account.preferences().placement
