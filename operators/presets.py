# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of settings, in Blender's own preset system: ours come with the extension, a person's own lie beside others.

A preset holds parameters and nothing else: no image, no engine, no seed, no key, no path.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import bpy
from bl_operators.presets import AddPresetBase

from ..engine.errors import EspalierError
from ..engine.files import unwritable
from ..engine.parameters import REBUILD_PARAMETERS, SETTINGS
from . import session
from .languages import say, sentence
from .settings import plain_value

SUBFOLDER = "espalier"
SHIPPED = Path(__file__).parent / "shipped"
MENU = "ESPALIER_PT_presets"
_NOT_HELD = ("seed", "preprocess_image", "response_format", "verbose")
"""Parameters of one image, or of how a person works, that no style depends on."""
HELD = tuple(p for p in (*SETTINGS, *REBUILD_PARAMETERS) if p.name not in _NOT_HELD)
"""What a preset holds; a parameter that is not in its file has its default."""
TEXTS = ("lods",)


@functools.cache
def reason(path: str) -> str:
    """Return the sentence at the beginning of the preset `path`, empty where there is none."""
    try:
        return ast.get_docstring(ast.parse(Path(path).read_text("utf-8"))) or ""
    except (OSError, ValueError, SyntaxError):
        return ""


class ESPALIER_OT_apply_preset(bpy.types.Operator):
    """Set the panel to this preset; image, engine and seed stay"""

    bl_idname = "espalier.apply_preset"
    bl_label = "Apply Preset"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """Tell what the preset is for."""
        return say(reason(properties.filepath) or cls.__doc__)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set all that a preset holds to its default, then let Blender run the preset."""
        settings = context.scene.espalier
        before = {p.name: getattr(settings, p.name) for p in HELD} | {name: getattr(settings, name) for name in TEXTS}
        for name in before:
            settings.property_unset(name)
        try:
            done = bpy.ops.script.execute_preset("EXEC_DEFAULT", filepath=self.filepath, menu_idname=MENU)
        except RuntimeError:  # Blender has told what is wrong with the file
            done = {"CANCELLED"}
        if done != {"FINISHED"}:
            for name, value in before.items():
                setattr(settings, name, value)
            return {"CANCELLED"}
        told = reason(self.filepath)
        if told:
            self.report({"INFO"}, say(told))
        session.redraw()
        return {"FINISHED"}


class ESPALIER_OT_preset_add(AddPresetBase, bpy.types.Operator):
    """Save the settings of the panel as a preset, or remove one of your own"""

    bl_idname = "espalier.preset_add"
    bl_label = "Add Espalier Preset"
    preset_menu = MENU
    preset_subdir = SUBFOLDER

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Let Blender do it, and say why it cannot be done."""
        try:
            return super().execute(context)
        except OSError as error:
            self.report({"ERROR"}, sentence(unwritable(Path(error.filename or SUBFOLDER), error)))
        except EspalierError as error:
            self.report({"ERROR"}, sentence(error))
        return {"CANCELLED"}

    def add(self, context: bpy.types.Context, filepath: str) -> None:
        """Write the preset `filepath`."""
        settings = context.scene.espalier
        values = {p.name: plain_value(settings, p) for p in HELD} | {name: getattr(settings, name) for name in TEXTS}
        lines = ["import bpy", "", "settings = bpy.context.scene.espalier", ""]
        lines += [f"settings.{name} = {value!r}" for name, value in values.items()]
        Path(filepath).write_text("\n".join(lines) + "\n", "utf-8")


OPERATORS = (ESPALIER_OT_apply_preset, ESPALIER_OT_preset_add)


def register() -> None:
    """Let Blender find the presets that come with the extension."""
    bpy.utils.register_preset_path(str(SHIPPED))


def unregister() -> None:
    """Take them away again; a person's own stay in Blender's folder of presets."""
    bpy.utils.unregister_preset_path(str(SHIPPED))
