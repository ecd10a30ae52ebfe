# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each of the 35 parameters goes upstream: the call, its keyword, and the unit it wants."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ...parameters import PARAMETERS, PIPELINE_OF_RESOLUTION, Value

Call = Literal["run", "sparse_structure", "shape_slat", "tex_slat", "to_glb", "none"]


@dataclass(frozen=True, slots=True)
class Place:
    """One keyword of an upstream call. `part` is the place in a keyword that takes several values."""

    call: Call
    keyword: str
    convert: Callable[[Any], Any] = lambda value: value
    part: int | None = None


_SAMPLERS: Final[Mapping[str, Call]] = {"ss": "sparse_structure", "shape_slat": "shape_slat", "tex_slat": "tex_slat"}
"""Prefix of our names -> the sampler whose parameters they are."""
_OF_A_SAMPLER: Final = {
    "sampling_steps": ("steps", None),
    "guidance_strength": ("guidance_strength", None),
    "guidance_rescale": ("guidance_rescale", None),
    "guidance_interval_start": ("guidance_interval", 0),
    "guidance_interval_end": ("guidance_interval", 1),
    "rescale_t": ("rescale_t", None),
}

MAPPING: Final[Mapping[str, Place]] = {
    "image": Place("run", "image"),
    "resolution": Place("run", "pipeline_type", lambda value: PIPELINE_OF_RESOLUTION[str(value)]),
    "pipeline_type": Place("run", "pipeline_type"),
    "seed": Place("run", "seed"),
    "preprocess_image": Place("run", "preprocess_image"),
    "max_num_tokens": Place("run", "max_num_tokens"),
    **{
        f"{prefix}_{ours}": Place(call, theirs, part=part)
        for prefix, call in _SAMPLERS.items()
        for ours, (theirs, part) in _OF_A_SAMPLER.items()
    },
    "texture_size": Place("to_glb", "texture_size", int),
    "decimation_target": Place("to_glb", "decimation_target"),
    "remesh": Place("to_glb", "remesh"),
    "remesh_band": Place("to_glb", "remesh_band"),
    "remesh_project": Place("to_glb", "remesh_project"),
    "uv_unwrap_angle_threshold_deg": Place("to_glb", "mesh_cluster_threshold_cone_half_angle_rad", math.radians),
    "uv_unwrap_refine_iterations": Place("to_glb", "mesh_cluster_refine_iterations"),
    "uv_unwrap_global_iterations": Place("to_glb", "mesh_cluster_global_iterations"),
    "uv_unwrap_smooth_strength": Place("to_glb", "mesh_cluster_smooth_strength"),
    "response_format": Place("none", ""),
    # A sampler has a `verbose` of its own, which the pipeline sets: given again it would be a duplicate keyword.
    "verbose": Place("to_glb", "verbose"),
}
"""Our parameter -> its place upstream, in the order of the table of parameters."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The keywords of each upstream call. `run` also holds the image's path as `image`."""

    run: dict[str, Any] = field(default_factory=dict)
    sparse_structure: dict[str, Any] = field(default_factory=dict)
    shape_slat: dict[str, Any] = field(default_factory=dict)
    tex_slat: dict[str, Any] = field(default_factory=dict)
    to_glb: dict[str, Any] = field(default_factory=dict)


def arguments(image: str, parameters: Mapping[str, Value]) -> Arguments:
    """Return what upstream is called with for `image` and all other `parameters` of a request."""
    values: dict[str, Any] = {"image": image, **parameters}
    made = Arguments()
    for parameter in PARAMETERS:
        place = MAPPING[parameter.name]
        if place.call == "none":
            continue
        keywords: dict[str, Any] = getattr(made, place.call)
        value = place.convert(values[parameter.name])
        if place.part is None:
            keywords[place.keyword] = value
        else:
            pair = list(keywords.get(place.keyword, (0.0, 1.0)))
            pair[place.part] = value
            keywords[place.keyword] = tuple(pair)
    return made
