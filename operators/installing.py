# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done to an environment: install, verify, repair, remove, cancel. None of it is part of the .blend."""

from __future__ import annotations

import bpy

from ..engine.errors import EspalierError
from . import environments, session
from .environment_rows import expected
from .environments import BY_PROFILE, KINDS
from .languages import say, sentence
from .text import draw_wrapped

WIDTH = 520
MOST_LICENSES = 16


class _ProfileOperator:
    # Not undoable: an environment is no part of the .blend.
    bl_options = {"REGISTER"}

    profile: bpy.props.EnumProperty(
        name="Environment",
        items=[(kind.profile, kind.label, kind.purpose) for kind in KINDS],
        options={"SKIP_SAVE", "HIDDEN"},
    )
    act = ""

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One task at a time."""
        if environments.state.working:
            cls.poll_message_set(say("Another task on the environments is under way"))
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Start and return at once, the panel shows how it goes; in background mode wait until it is done."""
        try:
            environments.begin(self.act, self.profile, self.agreed())
            if bpy.app.background:
                environments.wait()
                if environments.state.error is not None:
                    raise environments.state.error
        except EspalierError as error:
            environments.state.profile, environments.state.error = self.profile, error
            session.redraw()
            self.report({"ERROR"}, sentence(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def agreed(self) -> list[str]:
        """Return the names of the licenses that the person agrees to with this."""
        return []


class _Building(_ProfileOperator):
    """What shows sizes and licenses first."""

    accept: bpy.props.StringProperty(
        name="Accept", description="Names of licenses that you accept, separated by commas", options={"SKIP_SAVE"}
    )
    ticked: bpy.props.BoolVectorProperty(size=MOST_LICENSES, options={"SKIP_SAVE", "HIDDEN"})

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Show what it takes, and the licenses that have not been accepted yet."""
        environments.look(self.profile)
        environments.find_unagreed(self.profile)
        label, act = say(BY_PROFILE[self.profile].label), say(self.bl_label)
        return context.window_manager.invoke_props_dialog(
            self, width=WIDTH, title=say("{action} {environment}", action=act, environment=label), confirm_text=act
        )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the size, then each license with its link and a checkbox."""
        from ..engine.environments.licences import OPTIONAL

        layout = self.layout
        status = environments.known(self.profile)
        if status is not None:
            draw_wrapped(layout.column(align=True), context, expected(status), WIDTH)
        for index, license in enumerate(environments.state.unagreed):
            box = layout.box()
            box.label(text=license.title, translate=False)
            column = box.column(align=True)
            for words in (say("For {parts}.", parts=say(license.covers)), say(license.text)):
                draw_wrapped(column, context, words, WIDTH)
            row = box.row()
            optional = license.name in OPTIONAL
            row.prop(self, "ticked", index=index, text="I accept it (optional)" if optional else "I accept it")
            row.operator("wm.url_open", text="Read It", icon="URL").url = license.url

    def agreed(self) -> list[str]:
        """Return what was ticked in the dialog or named by a script."""
        named = [name.strip() for name in self.accept.split(",") if name.strip()]
        shown = environments.state.unagreed
        return [*named, *(license.name for license, ticked in zip(shown, self.ticked, strict=False) if ticked)]


class ESPALIER_OT_install_environment(_Building, bpy.types.Operator):
    """Install this into a place of its own, which Blender's own Python never notices. Blender stays usable meanwhile"""

    bl_idname = "espalier.install_environment"
    bl_label = "Install"
    act = "install"


class ESPALIER_OT_repair_environment(_Building, bpy.types.Operator):
    """Build this anew where something of it is missing or changed; what was downloaded is used again"""

    bl_idname = "espalier.repair_environment"
    bl_label = "Repair"
    act = "repair"


class ESPALIER_OT_verify_environment(_ProfileOperator, bpy.types.Operator):
    """Compare every file of this with what was installed. Nothing is changed"""

    bl_idname = "espalier.verify_environment"
    bl_label = "Verify"
    act = "verify"


class ESPALIER_OT_remove_environment(_ProfileOperator, bpy.types.Operator):
    """Delete this and what was downloaded for it"""

    bl_idname = "espalier.remove_environment"
    bl_label = "Remove"
    act = "remove"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first: it takes a while to have it again."""
        return context.window_manager.invoke_confirm(
            self,
            event,
            title=say("Remove {environment}?", environment=say(BY_PROFILE[self.profile].label)),
            message=say("It would have to be installed again before it can be used"),
            confirm_text=say(self.bl_label),
            icon="QUESTION",
        )


class ESPALIER_OT_cancel_environment(bpy.types.Operator):
    """Stop this. What is downloaded stays, and the next time goes on from there"""

    bl_idname = "espalier.cancel_environment"
    bl_label = "Cancel"
    # Not undoable: an environment is no part of the .blend.
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There must be something to stop."""
        return environments.state.working

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Stop it and return at once."""
        environments.cancel()
        return {"FINISHED"}


class ESPALIER_OT_look_at_environments(bpy.types.Operator):
    """See anew how the engines stand"""

    bl_idname = "espalier.look_at_environments"
    bl_label = "Look Again"
    # Not undoable: it changes nothing.
    bl_options = {"REGISTER"}

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Look, which takes some milliseconds."""
        environments.look()
        return {"FINISHED"}


class ESPALIER_OT_dismiss_environment(bpy.types.Operator):
    """Hide this message"""

    bl_idname = "espalier.dismiss_environment"
    bl_label = "Dismiss"
    # Not undoable: it changes nothing.
    bl_options = {"REGISTER"}

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Forget how the last task ended."""
        environments.dismiss()
        return {"FINISHED"}


OPERATORS = (
    ESPALIER_OT_install_environment,
    ESPALIER_OT_repair_environment,
    ESPALIER_OT_verify_environment,
    ESPALIER_OT_remove_environment,
    ESPALIER_OT_cancel_environment,
    ESPALIER_OT_look_at_environments,
    ESPALIER_OT_dismiss_environment,
)
