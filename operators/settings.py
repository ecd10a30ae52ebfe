# SPDX-License-Identifier: GPL-3.0-or-later
"""The parameter table as Blender properties: on the scene for the panel, on the operator for scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import bpy

from ..engine.backends import available
from ..engine.parameters import (
    BY_NAME,
    ENGINES,
    INTERVALS,
    PIPELINE_OF_RESOLUTION,
    REBUILD_PARAMETERS,
    SETTINGS,
    Parameter,
    Value,
)
from . import environments, forecast, pricing, trellis2
from .account import ENGINE
from .cutout_settings import EspalierCutout, changed, image_changed
from .languages import LINES, msgid

RESOLUTION_OF_PIPELINE = {pipeline: resolution for resolution, pipeline in PIPELINE_OF_RESOLUTION.items()}


def engine_items() -> list[tuple[str, str, str]]:
    """Return the enum items of the engines that this version can run."""
    names = available()
    return [(engine.name, engine.label, engine.help) for engine in ENGINES if engine.name in names]


def tooltip(parameter: Parameter) -> str:
    """Return what a setting does and, for each engine that ignores it, why."""
    ignored = [engine for engine in ENGINES if engine.name in available() and not parameter.honoured_by(engine.name)]
    template = msgid("The {engine} engine ignores it: {reason}")
    reasons = [template.format(engine=engine.label, reason=parameter.ignored_by[engine.name]) for engine in ignored]
    return LINES.join([parameter.help, *reasons])


def property_of(parameter: Parameter, update: Callable[[Any, Any], None] | None = None, **options: Any) -> Any:
    """Return the Blender property that shows `parameter`."""
    common: dict[str, Any] = {
        "name": parameter.label,
        "description": tooltip(parameter),
        "default": parameter.default,
        "update": update,
        **options,
    }
    if parameter.kind == "boolean":
        return bpy.props.BoolProperty(**common)
    if parameter.kind == "enum":
        labels = parameter.choice_labels
        items = [(choice, labels.get(choice, choice), "") for choice in parameter.choices]
        return bpy.props.EnumProperty(items=items, **common)
    if parameter.kind == "integer":
        return bpy.props.IntProperty(min=int(parameter.minimum), max=int(parameter.maximum), **common)
    factor = (parameter.minimum, parameter.maximum) == (0.0, 1.0)
    return bpy.props.FloatProperty(
        min=parameter.minimum,
        max=parameter.maximum,
        subtype="FACTOR" if factor else "NONE",
        precision=2,
        step=5 if factor else 10,
        **common,
    )


def _follow_resolution(self: EspalierSettings, _context: bpy.types.Context) -> None:
    wanted = PIPELINE_OF_RESOLUTION[self.resolution]
    if self.pipeline_type != wanted:
        self.pipeline_type = wanted


def _follow_pipeline(self: EspalierSettings, _context: bpy.types.Context) -> None:
    wanted = RESOLUTION_OF_PIPELINE[self.pipeline_type]
    if self.resolution != wanted:
        self.resolution = wanted


def _end_of(start: str, end: str) -> tuple[Callable[[Any, Any], None], Callable[[Any, Any], None]]:
    """Return the updates that keep the start of a guidance interval at or below its end."""

    def start_moved(self: EspalierSettings, _context: bpy.types.Context) -> None:
        if getattr(self, start) > getattr(self, end):
            setattr(self, end, getattr(self, start))

    def end_moved(self: EspalierSettings, _context: bpy.types.Context) -> None:
        if getattr(self, end) < getattr(self, start):
            setattr(self, start, getattr(self, end))

    return start_moved, end_moved


def _follow_server(name: str) -> Callable[[Any, Any], None]:
    """Return the update that keeps a setting within what the remote engine's server takes."""

    def changed(self: EspalierSettings, _context: bpy.types.Context) -> None:
        value = plain_value(self, BY_NAME[name])
        taken = pricing.offer().limited(name, value) if self.engine == ENGINE else value
        if taken != value:
            setattr(self, name, taken)

    return changed


def _all_of(*updates: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def changed(self: EspalierSettings, context: bpy.types.Context) -> None:
        for update in updates:
            update(self, context)

    return changed


def _engine_chosen(self: EspalierSettings, context: bpy.types.Context) -> None:
    """See what an engine charges, lacks, or sees of the image, where somebody is going to look at it."""
    if bpy.app.background:
        return
    changed(self, context)
    if self.engine == ENGINE:
        pricing.refresh()
    elif self.engine == trellis2.ENGINE:
        environments.look()
        forecast.watch()


def _updates() -> dict[str, Callable[[Any, Any], None]]:
    updates: dict[str, Callable[[Any, Any], None]] = {
        "resolution": _follow_resolution,
        "pipeline_type": _follow_pipeline,
        "preprocess_image": changed,
    }
    for start, end in INTERVALS:
        updates[start], updates[end] = _end_of(start, end)
    for name in (parameter.name for parameter in SETTINGS if parameter.kind != "boolean"):
        follow = _follow_server(name)
        updates[name] = _all_of(follow, updates[name]) if name in updates else follow
    return updates


def plain_value(owner: Any, parameter: Parameter) -> Value:
    """Return the property of `owner` that shows `parameter` as plain data, floats rounded to what the panel shows."""
    value: Value = getattr(owner, parameter.name)
    # A Blender float has 32 bits: 0.7 would come back as 0.699999988.
    return float(f"{value:.6g}") if parameter.kind == "number" else value


LODS_PROPERTY = bpy.props.StringProperty(
    name="Levels",
    description="Faces of each level of detail, separated by commas, for example 200000, 50000, 10000. They come as a "
    "collection of one object a level; empty for one mesh in the place of the selected object's own",
    options={"SKIP_SAVE"},  # by operators that were given one; files keep it
)

VARIATIONS_PROPERTY = bpy.props.IntProperty(
    name="Variations",
    description="How many seeds of the image are generated",
    default=4,
    min=2,
    max=16,
    options={"SKIP_SAVE"},  # by operators that were given one; files keep it
)


def _may_hold(self: EspalierSettings, collection: bpy.types.Collection) -> bool:
    """Tell whether new objects of this scene can go to `collection`."""
    theirs = collection.library is not None or collection.override_library is not None
    return not theirs and collection in self.id_data.collection.children_recursive


class EspalierSettings(bpy.types.PropertyGroup):
    """What the next generation in this scene is made from, and how."""

    image: bpy.props.PointerProperty(
        type=bpy.types.Image,
        name=BY_NAME["image"].label,
        description=BY_NAME["image"].help,
        update=image_changed,
    )
    cutout: bpy.props.PointerProperty(type=EspalierCutout)
    engine: bpy.props.EnumProperty(
        name="Engine", description="Who makes the asset", items=engine_items(), update=_engine_chosen
    )
    lods: LODS_PROPERTY
    texture_seed: trellis2.texture_seed_property()
    variations: VARIATIONS_PROPERTY
    collection: bpy.props.PointerProperty(
        type=bpy.types.Collection,
        name="Collection",
        description="Where new assets of this scene go; empty for the active collection",
        poll=_may_hold,
    )

    def values(self) -> dict[str, Value]:
        """Return every setting as plain data, floats rounded to what the panel shows."""
        values: dict[str, Value] = {}
        for parameter in SETTINGS:
            values[parameter.name] = plain_value(self, parameter)
        return values


def add_parameters(cls: type, with_updates: bool, table: Sequence[Parameter] = SETTINGS, **options: Any) -> None:
    """Give `cls` one annotated property for each parameter of `table`."""
    updates = _updates() if with_updates else {}
    for parameter in table:
        cls.__annotations__[parameter.name] = property_of(parameter, updates.get(parameter.name), **options)


add_parameters(EspalierSettings, with_updates=True)
add_parameters(EspalierSettings, with_updates=False, table=REBUILD_PARAMETERS)
