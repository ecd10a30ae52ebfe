# SPDX-License-Identifier: GPL-3.0-or-later
"""The one button: an image becomes a textured object."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy

from ..engine.errors import EspalierError
from ..engine.parameters import PIPELINE_OF_RESOLUTION, SETTINGS, Value
from ..engine.request import GenerationRequest, is_url
from . import account, cutout, picking, placing, pricing, session, trellis2
from .languages import msgid, say
from .settings import RESOLUTION_OF_PIPELINE, add_parameters, engine_items

BILLED = msgid("The server bills each asset that it accepts, also one that you cancel")


class Generation:
    """What an operator needs that asks for assets: image, engine and settings, the place, the price.

    Not undoable: it submits jobs; the imports that follow are the undo steps.
    """

    bl_options = {"REGISTER"}

    filepath: bpy.props.StringProperty(
        name="Image File",
        description="The image to use instead of the one in the panel; for the remote engine also an address (URL)",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )
    engine: bpy.props.EnumProperty(
        name="Engine", description="Who makes the asset", items=engine_items(), options={"SKIP_SAVE"}
    )
    texture_seed: trellis2.texture_seed_property(options={"SKIP_SAVE"})
    place: picking.PLACE_PROPERTY
    normal: picking.NORMAL_PROPERTY

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Tell beforehand what the engine lacks. In the background, where nobody sees it, `execute` tells."""
        if not bpy.app.background and cutout.unfinished(context.scene.espalier):
            cls.poll_message_set(say("The cut-out is still being made"))
            return False
        return trellis2.may_generate(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first for the place where that is a click, and where it costs more than is to be spent unasked."""
        try:
            self._placement(context)
        except EspalierError as error:
            return session.refuse(self, error)
        if picking.is_due(self):
            return picking.pick(self, context, event)
        engine, values = self._chosen(context)
        price = pricing.price(engine, str(values["resolution"]), self._count(context))
        if pricing.to_ask(price):
            return pricing.confirm(self, context, event, price, BILLED)
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Submit and return at once; in background mode wait until what was made is in the scene."""
        try:
            jobs = self._submit(context)
            if bpy.app.background:
                for job in jobs:
                    session.finish(job)
        except EspalierError as error:
            return session.refuse(self, error)
        return {"FINISHED"}

    def _submit(self, context: bpy.types.Context) -> list[str]:
        """Hand over what is asked for and return the jobs. Raises EspalierError."""
        placement = self._placement(context)
        request, notice = self._request(context)
        return [session.submit(request, context, placement, notice)]

    def _count(self, _context: bpy.types.Context) -> int:
        """Return how many assets are asked for."""
        return 1

    def _placement(self, context: bpy.types.Context) -> dict[str, Any]:
        """Return where it is to appear: where it was pointed at, else as chosen. Raises EspalierError."""
        return placing.snapshot(context, session.session.file, **picking.picked(self))

    def _chosen(self, context: bpy.types.Context) -> tuple[str, dict[str, Value]]:
        """Return engine and settings: the scene's, with what was set on the operator itself in their place."""
        settings = context.scene.espalier
        given = {p.name: getattr(self, p.name) for p in SETTINGS if self.properties.is_property_set(p.name)}
        values = settings.values()
        if "resolution" in given and "pipeline_type" not in given:
            values["pipeline_type"] = PIPELINE_OF_RESOLUTION[given["resolution"]]
        elif "pipeline_type" in given and "resolution" not in given:
            values["resolution"] = RESOLUTION_OF_PIPELINE[given["pipeline_type"]]
        values.update(given)
        return self.engine if self.properties.is_property_set("engine") else settings.engine, values

    def _request(self, context: bpy.types.Context) -> tuple[GenerationRequest, str]:
        """Return what is asked for as the engine takes it, and what is to be told of that. Raises EspalierError."""
        engine, values = self._chosen(context)
        texture_seed = trellis2.texture_seed(
            self if self.properties.is_property_set("texture_seed") else context.scene.espalier, engine
        )
        image, name = self._image(context, bool(values["preprocess_image"]))
        return request_for(engine, values, image, name, texture_seed)

    def _image(self, context: bpy.types.Context, prepare: bool) -> tuple[str | Path, str]:
        """Return the file or address of the image, and what the asset is called: empty, as the file."""
        settings = context.scene.espalier
        if is_url(self.filepath):
            return self.filepath, ""
        if self.filepath:
            return Path(bpy.path.abspath(self.filepath)), ""
        if settings.image is None:
            raise EspalierError("image_none")
        return cutout.input_file(settings, context.scene, prepare), Path(settings.image.name).stem


def request_for(
    engine: str, values: Mapping[str, Value], image: str | Path, name: str = "", texture_seed: int | None = None
) -> tuple[GenerationRequest, str]:
    """Return the request for `image` as `engine` takes it now, and what is to be told of that. Raises EspalierError."""
    told: list[str] = []
    if engine == account.ENGINE:
        account.ensure_online()
        pricing.refresh()
        values, told = pricing.offer().clamp(values)
    elif engine == trellis2.ENGINE:
        trellis2.ensure_ready()
    return GenerationRequest.create(image, engine, values, name, texture_seed), " ".join(told)


add_parameters(Generation, with_updates=False, options={"SKIP_SAVE"})


class ESPALIER_OT_generate(Generation, bpy.types.Operator):
    """Turn the image into a textured object, placed as chosen under Placement. Blender stays usable meanwhile"""

    bl_idname = "espalier.generate"
    bl_label = "Generate"
