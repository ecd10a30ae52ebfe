# SPDX-License-Identifier: GPL-3.0-or-later
"""A click in a 3D viewport says where an asset is to stand. All other events go to whom they are meant for."""

from __future__ import annotations

import json
from typing import Any

import bpy

from . import placement_settings as settings
from .languages import msgid, say
from .viewing import surface_at, viewport_at

ASK = msgid("Click where the asset is to stand. Esc: Cancel")
PLACE_PROPERTY = bpy.props.FloatVectorProperty(
    name="Place",
    description="Point of a surface, in world space, that the asset is to stand on, whatever is chosen under Placement",
    subtype="XYZ",
    options={"SKIP_SAVE", "HIDDEN"},
)
NORMAL_PROPERTY = bpy.props.FloatVectorProperty(
    name="Normal",
    description="Direction in which that surface faces",
    subtype="XYZ",
    default=(0.0, 0.0, 1.0),
    options={"SKIP_SAVE", "HIDDEN"},
)


def picked(operator: bpy.types.Operator) -> dict[str, Any]:
    """Return what `operator` was told of a place, as `placing.snapshot` takes it."""
    if not operator.properties.is_property_set("place"):
        return {}
    return {"location": tuple(operator.place), "normal": tuple(operator.normal)}


def is_due(operator: bpy.types.Operator) -> bool:
    """Tell whether the person wants to point at the place for what `operator` makes, and has not done so."""
    return settings.chosen().where == settings.SURFACE and not picked(operator)


def pick(operator: bpy.types.Operator, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
    """Invoke `operator` again with the surface under the mouse; where that is over no viewport, with the next click."""
    given = _given(operator)
    found = under_mouse(context, event)
    if found is not None:
        return _invoke(operator.bl_idname, {**given, **found})
    return handed_on(bpy.ops.espalier.pick_place("INVOKE_DEFAULT", then=operator.bl_idname, given=json.dumps(given)))


def handed_on(result: set[str]) -> set[str]:
    """Return what an operator has to return that left its work to another one, which returned `result`.

    Where that one waits for events the first does not: Blender would never free it.
    """
    return {"INTERFACE"} if "RUNNING_MODAL" in result else result


def _given(operator: bpy.types.Operator) -> dict[str, Any]:
    """Return what was set on `operator` itself, as plain data."""
    names = [known.identifier for known in operator.properties.bl_rna.properties if not known.is_readonly]
    return {name: getattr(operator, name) for name in names if operator.properties.is_property_set(name)}


def under_mouse(context: bpy.types.Context, event: bpy.types.Event) -> dict[str, Any] | None:
    """Return `place` and `normal` of the surface that the mouse points at; None where it is over no 3D viewport."""
    found = viewport_at(context.window, event.mouse_x, event.mouse_y)
    if found is None:
        return None
    area, region = found
    pixel = (event.mouse_x - region.x, event.mouse_y - region.y)
    point, normal = surface_at(context, area.spaces.active, region, pixel)
    return {"place": tuple(point), "normal": tuple(normal)}


def _invoke(name: str, given: dict[str, Any]) -> set[str]:
    module, _, verb = name.partition("_OT_")
    operator = getattr(getattr(bpy.ops, module.lower()), verb)
    try:
        return operator("INVOKE_DEFAULT", **given) & {"FINISHED", "CANCELLED"} or {"FINISHED"}
    except RuntimeError:  # it has told the person already
        return {"CANCELLED"}


class ESPALIER_OT_pick_place(bpy.types.Operator):
    """Click where the asset is to stand"""

    bl_idname = "espalier.pick_place"
    bl_label = "Pick Place"
    # Not undoable: it changes nothing; what it starts has its own undo step.
    bl_options = {"INTERNAL"}

    then: bpy.props.StringProperty(options={"SKIP_SAVE", "HIDDEN"})
    given: bpy.props.StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Wait for the click."""
        context.window.cursor_modal_set("CROSSHAIR")
        context.workspace.status_text_set(say(ASK))
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Take a click in a viewport, and Esc or a right click as no; let all else through."""
        if event.value != "PRESS" or event.type not in {"LEFTMOUSE", "RIGHTMOUSE", "ESC"}:
            return {"PASS_THROUGH"}
        if event.type != "LEFTMOUSE":
            self.cancel(context)
            return {"CANCELLED"}
        found = under_mouse(context, event)
        if found is None:
            return {"PASS_THROUGH"}
        self.cancel(context)
        return _invoke(self.then, {**json.loads(self.given), **found})

    def cancel(self, context: bpy.types.Context) -> None:
        """Give back the mouse cursor and the status bar."""
        context.window.cursor_modal_restore()
        context.workspace.status_text_set(None)
