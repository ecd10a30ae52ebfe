# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that Blender itself has: the Image Editor's, the render, and what a 3D viewport shows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import bpy

from ..engine.errors import EspalierError
from . import cutout, picking, session
from .languages import say, sentence

LONGEST = 1024
"""Pixels on the longest side of a capture: what the models look at."""
CAPTURE = "Viewport"


def active_image(context: bpy.types.Context) -> bpy.types.Image | None:
    """Return the image of the Image Editor that `context` is in."""
    space = context.space_data
    return space.image if space is not None and space.type == "IMAGE_EDITOR" else None


class ESPALIER_OT_generate_image(bpy.types.Operator):
    """Turn this image into a textured object, with the settings of the Espalier panel"""

    bl_idname = "espalier.generate_image"
    bl_label = "Generate 3D"
    # Not undoable: it submits a job; the import that follows is the undo step.
    bl_options = {"REGISTER"}

    image: bpy.props.StringProperty(
        name="Image", description="Name of an image of this file; empty for the Image Editor's", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """In an Image Editor there has to be an image; scripts name one."""
        space = context.space_data
        if space is not None and space.type == "IMAGE_EDITOR" and space.image is None:
            cls.poll_message_set(say("Open an image in this editor"))
            return False
        return bpy.ops.espalier.generate.poll()

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Let Generate ask before something is spent."""
        return self._generate(context, "INVOKE_DEFAULT")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Choose the image in the panel, where it is then seen, and generate."""
        return self._generate(context, "EXEC_DEFAULT")

    def _generate(self, context: bpy.types.Context, how: str) -> set[str]:
        image = bpy.data.images.get(self.image) if self.image else active_image(context)
        if image is None:
            return session.refuse(self, EspalierError("image_none"))
        if context.scene.espalier.image != image:
            context.scene.espalier.image = image
        try:
            return picking.handed_on(bpy.ops.espalier.generate(how))
        except RuntimeError as error:
            # Generate has told the person already; its report is raised here.
            known = session.session.error
            self.report({"ERROR"}, sentence(known) if known is not None else str(error).removeprefix("Error: ").strip())
            return {"CANCELLED"}


class ESPALIER_OT_use_render(bpy.types.Operator):
    """Use the latest render for the next generation"""

    bl_idname = "espalier.use_render"
    bl_label = "Use Render"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Choose the render result in the panel; it is read when it is used."""
        image = next((image for image in bpy.data.images if image.type == "RENDER_RESULT"), None)
        if image is None:
            return session.refuse(self, EspalierError("render_none"))
        context.scene.espalier.image = image
        cutout.want(context.scene, anew=True)
        return {"FINISHED"}


class ESPALIER_OT_capture_viewport(bpy.types.Operator):
    """Use what this 3D viewport shows for the next generation, without overlays and on a transparent background"""

    bl_idname = "espalier.capture_viewport"
    bl_label = "Capture Viewport"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Draw the viewport once more into an image of the .blend, and choose that in the panel."""
        try:
            area = _viewport(context)
            image = _capture(context, area)
        except EspalierError as error:
            return session.refuse(self, error)
        context.scene.espalier.image = image
        return {"FINISHED"}


def _viewport(context: bpy.types.Context) -> bpy.types.Area:
    """Return the 3D viewport of `context`, or else the largest in its window. Raises EspalierError `viewport_none`."""
    areas = [] if bpy.app.background or context.window is None else list(context.window.screen.areas)
    viewports = [area for area in areas if area.type == "VIEW_3D"]
    if not viewports:
        raise EspalierError("viewport_none")
    if context.area in viewports:
        return context.area
    return max(viewports, key=lambda area: area.width * area.height)


def _capture(context: bpy.types.Context, area: bpy.types.Area) -> bpy.types.Image:
    """Return a packed image of what `area` shows, LONGEST pixels on its longest side. Raises EspalierError."""
    import gpu
    import numpy as np

    space = area.spaces.active
    region = next(region for region in area.regions if region.type == "WINDOW")
    scale = LONGEST / max(region.width, region.height)
    width, height = math.ceil(region.width * scale), math.ceil(region.height * scale)
    view = space.region_3d
    try:
        screen = gpu.types.GPUOffScreen(width, height)
    except Exception as error:
        raise EspalierError("viewport_none", detail=repr(error)) from error
    try:
        with _bare(space):
            screen.draw_view3d(
                context.scene,
                context.view_layer,
                space,
                region,
                view.view_matrix,
                view.window_matrix,
                do_color_management=True,
                draw_background=False,
            )
        read = screen.texture_color.read()
        read.dimensions = width * height * 4
        pixels = np.array(read, np.float32).reshape(height, width, 4)
    finally:
        screen.free()
    return _image_of(pixels)


@contextmanager
def _bare(space: bpy.types.SpaceView3D) -> Iterator[None]:
    """Let `space` be drawn without overlays meanwhile."""
    before = space.overlay.show_overlays
    space.overlay.show_overlays = False
    try:
        yield
    finally:
        space.overlay.show_overlays = before


def _image_of(pixels: object) -> bpy.types.Image:
    """Return a new packed image of `pixels`, which are bytes or fractions, colors premultiplied by alpha."""
    import numpy as np

    values = np.asarray(pixels, np.float32)
    if values.max(initial=0.0) > 1.0:
        values = values / 255.0
    alpha = values[..., 3:]
    straight = np.concatenate([values[..., :3] / np.maximum(alpha, 1e-6), alpha], axis=2).clip(0.0, 1.0)
    height, width = straight.shape[:2]
    image = bpy.data.images.new(CAPTURE, width, height, alpha=True)
    image.pixels.foreach_set(np.ascontiguousarray(straight, np.float32).ravel())
    image.update()
    image.pack()
    return image


class ESPALIER_OT_show_cutout(bpy.types.Operator):
    """Show anew what the engine will see of the image"""

    bl_idname = "espalier.show_cutout"
    bl_label = "Show Cut-Out"
    # Not undoable: it changes nothing in the .blend.
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Have it made; in the background there is nobody to see it."""
        cutout.want(context.scene, anew=True)
        return {"FINISHED"}


OPERATORS = (
    ESPALIER_OT_generate_image,
    ESPALIER_OT_use_render,
    ESPALIER_OT_capture_viewport,
    ESPALIER_OT_show_cutout,
)


def _draw_image_menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator_context = "INVOKE_DEFAULT"
    self.layout.operator("espalier.generate_image", icon="MESH_MONKEY")


def _draw_view_menu(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator("espalier.capture_viewport", icon="RESTRICT_VIEW_OFF")


def register() -> None:
    """Put the entries into Blender's own menus."""
    bpy.types.IMAGE_MT_image.append(_draw_image_menu)
    bpy.types.VIEW3D_MT_view.append(_draw_view_menu)


def unregister() -> None:
    """Take them out again."""
    bpy.types.VIEW3D_MT_view.remove(_draw_view_menu)
    bpy.types.IMAGE_MT_image.remove(_draw_image_menu)
