# SPDX-License-Identifier: GPL-3.0-or-later
"""The one button: an image becomes a textured object."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..engine.errors import EspalierError
from ..engine.jobs.job import Job, State
from ..engine.parameters import SETTINGS
from ..engine.request import GenerationRequest
from . import session
from .image import image_file
from .settings import add_parameters, engine_items


class ESPALIER_OT_generate(bpy.types.Operator):
    """Turn the image into a textured object at the 3D cursor. Blender stays usable meanwhile"""

    bl_idname = "espalier.generate"
    bl_label = "Generate"
    # Not undoable: it submits a job; the import that follows is the undo step.
    bl_options = {"REGISTER"}

    filepath: bpy.props.StringProperty(
        name="Image File",
        description="The image to use instead of the one in the panel",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )
    engine: bpy.props.EnumProperty(
        name="Engine", description="Who makes the asset", items=engine_items(), options={"SKIP_SAVE"}
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Submit and return at once; in background mode wait until the object is in the scene."""
        try:
            job = session.submit(self._request(context), context)
            if bpy.app.background:
                self._finish(session.wait_for(job))
        except EspalierError as error:
            session.fail(error)
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def _request(self, context: bpy.types.Context) -> GenerationRequest:
        """Return the scene's settings, with what was set on the operator itself in their place."""
        settings = context.scene.espalier
        given = {p.name: getattr(self, p.name) for p in SETTINGS if self.properties.is_property_set(p.name)}
        values = settings.values()
        if given:
            for follower, leader in (("pipeline_type", "resolution"), ("resolution", "pipeline_type")):
                if leader in given and follower not in given:
                    del values[follower]
        values.update(given)
        engine = self.engine if self.properties.is_property_set("engine") else settings.engine
        if self.filepath:
            path = Path(bpy.path.abspath(self.filepath))
            return GenerationRequest.create(path, engine, values)
        if settings.image is None:
            raise EspalierError("image_none")
        path = image_file(settings.image, context.scene, session.user_folder() / "inputs")
        return GenerationRequest.create(path, engine, values, name=Path(settings.image.name).stem)

    def _finish(self, job: Job) -> None:
        if job.error is not None:
            raise job.error
        if job.state is State.READY:
            bpy.ops.espalier.import_asset("EXEC_DEFAULT", job=job.id)


add_parameters(ESPALIER_OT_generate, with_updates=False, options={"SKIP_SAVE"})
