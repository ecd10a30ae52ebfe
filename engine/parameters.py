# SPDX-License-Identifier: GPL-3.0-or-later
"""THE table of generation parameters.

The panel's properties, the command line's flags, the remote payload, the local engine's arguments and the server's
schema are all generated from `PARAMETERS`; a parameter is written down nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

Kind = Literal["image", "enum", "integer", "number", "boolean"]
Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine a person can choose: `name` as in requests, `label` and `help` as shown."""

    name: str
    label: str
    help: str


ENGINES: Final = (
    Engine("draft", "Draft", "A blockout from the outline of the subject, in seconds, on any machine, offline"),
    Engine("trellis2", "TRELLIS.2 on This GPU", "TRELLIS.2-4B on an NVIDIA GPU of this machine"),
    Engine("remote", "Remote API", "TRELLIS.2-4B on a server, for a key and a price an asset"),
)


@dataclass(frozen=True, slots=True)
class Group:
    """A sub-panel of parameters."""

    name: str
    label: str


GROUPS: Final = (
    Group("main", "Generate"),
    Group("sparse_structure", "Sparse Structure"),
    Group("shape", "Shape"),
    Group("texture", "Texture"),
    Group("mesh", "Mesh Export"),
    Group("uv", "UV Unwrap"),
    Group("advanced", "Advanced"),
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One generation parameter.

    `ignored_by` maps the name of each engine that does not honour it to the reason, which completes the sentence
    "The ... engine ignores it: ...". `choice_labels` are what is shown for choices that are not shown as they are.
    """

    name: str
    kind: Kind
    group: str
    label: str
    help: str
    default: Value | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    choice_labels: Mapping[str, str] = field(default_factory=dict)
    ignored_by: Mapping[str, str] = field(default_factory=dict)

    def honoured_by(self, engine: str) -> bool:
        """Tell whether a change of this parameter can change what `engine` makes."""
        return engine not in self.ignored_by


_NO_SAMPLER = {"draft": "it inflates the outline and samples nothing"}
_NO_EXPORT = {"draft": "it lays out its own grid of quads, which needs no remeshing"}
_NO_UNWRAP = {"draft": "its two charts, front and back, are fixed"}


def _sampler(
    prefix: str, group: str, subject: str, strength: float, rescale: float, interval_end: float, rescale_t: float
) -> tuple[Parameter, ...]:
    """Return the six parameters of one flow sampler (sparse structure, shape SLat or texture SLat)."""
    interval = f"the guidance interval of the {subject} sampler, on its path from noise (1) to result (0)"
    return (
        Parameter(
            f"{prefix}_sampling_steps", "integer", group, "Steps",
            f"Steps of the {subject} sampler: more take longer and settle finer detail",
            12, 1, 64, ignored_by=_NO_SAMPLER,
        ),
        Parameter(
            f"{prefix}_guidance_strength", "number", group, "Guidance",
            f"How strictly the {subject} follows the image: raise it when it drifts, lower it when it looks harsh",
            strength, 0.0, 20.0, ignored_by=_NO_SAMPLER,
        ),
        Parameter(
            f"{prefix}_guidance_rescale", "number", group, "Guidance Rescale",
            f"Pulls the {subject} back towards its unguided spread, against the exaggeration of strong guidance",
            rescale, 0.0, 2.0, ignored_by=_NO_SAMPLER,
        ),
        Parameter(
            f"{prefix}_guidance_interval_start", "number", group, "Interval Start",
            f"Lower end of {interval}",
            0.6, 0.0, 1.0, ignored_by=_NO_SAMPLER,
        ),
        Parameter(
            f"{prefix}_guidance_interval_end", "number", group, "Interval End",
            f"Upper end of {interval}",
            interval_end, 0.0, 1.0, ignored_by=_NO_SAMPLER,
        ),
        Parameter(
            f"{prefix}_rescale_t", "number", group, "Rescale T",
            f"Shifts the {subject} sampler's steps towards the noisy end, where the coarse form is decided",
            rescale_t, 0.0, 20.0, ignored_by=_NO_SAMPLER,
        ),
    )  # fmt: skip


PARAMETERS: Final[tuple[Parameter, ...]] = (
    Parameter("image", "image", "main", "Image", "The picture of the subject, best with a transparent background"),
    Parameter(
        "resolution", "enum", "main", "Resolution",
        "Size of the grid that the shape is built on: higher is slower and shows finer detail",
        "1024", choices=("512", "1024", "1536"),
    ),
    Parameter(
        "pipeline_type", "enum", "advanced", "Pipeline",
        "Which chain of models makes the asset; it follows the resolution",
        "1024_cascade", choices=("512", "1024_cascade", "1536_cascade"),
        choice_labels={"1024_cascade": "1024 Cascade", "1536_cascade": "1536 Cascade"},
        ignored_by={"draft": "it has one way of making an asset"},
    ),
    Parameter(
        "seed", "integer", "main", "Seed",
        "Start of the random numbers: the same seed and settings give the same asset, another seed a variation",
        42, 0, 2147483647, ignored_by={"draft": "it uses no random numbers"},
    ),
    Parameter(
        "preprocess_image", "boolean", "advanced", "Prepare Image",
        "Cut the subject out of its background and centre it; switch off for an image that is already prepared",
        True,
    ),
    Parameter(
        "max_num_tokens", "integer", "advanced", "Token Limit",
        "Most sparse voxels that the fine stages may work on; a subject that needs more is made at a lower resolution",
        49152, 1024, 131072, ignored_by=_NO_SAMPLER,
    ),
    *_sampler("ss", "sparse_structure", "sparse structure", 7.5, 0.7, 1.0, 5.0),
    *_sampler("shape_slat", "shape", "shape", 7.5, 0.5, 1.0, 3.0),
    *_sampler("tex_slat", "texture", "texture", 1.0, 0.0, 0.9, 3.0),
    Parameter(
        "texture_size", "enum", "main", "Texture Size",
        "Width and height of each texture in pixels",
        "2048", choices=("1024", "2048", "4096"),
    ),
    Parameter(
        "decimation_target", "integer", "mesh", "Target Faces",
        "About how many triangles the finished mesh has",
        500000, 10000, 1000000,
    ),
    Parameter(
        "remesh", "boolean", "mesh", "Remesh",
        "Rebuild the surface as one clean closed mesh before it is unwrapped and textured",
        True, ignored_by=_NO_EXPORT,
    ),
    Parameter(
        "remesh_band", "number", "mesh", "Remesh Band",
        "Width in voxels of the remeshed band around the surface; raise it to 2 when thin parts come out doubled",
        1.0, 0.0, 5.0, ignored_by=_NO_EXPORT,
    ),
    Parameter(
        "remesh_project", "number", "mesh", "Project Back",
        "How far the remeshed surface is drawn back onto the original: 0 stays smooth, 1 lies on it",
        0.9, 0.0, 1.0, ignored_by=_NO_EXPORT,
    ),
    Parameter(
        "uv_unwrap_angle_threshold_deg", "number", "uv", "Chart Angle",
        "Half-angle in degrees of the normals that one UV chart may hold: smaller gives more charts, less stretch",
        90.0, 1.0, 180.0, ignored_by=_NO_UNWRAP,
    ),
    Parameter(
        "uv_unwrap_refine_iterations", "integer", "uv", "Refine Iterations",
        "Rounds of moving faces between neighbouring UV charts",
        0, 0, 10, ignored_by=_NO_UNWRAP,
    ),
    Parameter(
        "uv_unwrap_global_iterations", "integer", "uv", "Global Iterations",
        "Rounds of growing all UV charts anew from their centres",
        1, 0, 10, ignored_by=_NO_UNWRAP,
    ),
    Parameter(
        "uv_unwrap_smooth_strength", "number", "uv", "Smoothing",
        "How strongly the borders between UV charts are straightened",
        1.0, 0.0, 10.0, ignored_by=_NO_UNWRAP,
    ),
    Parameter(
        "response_format", "enum", "advanced", "Response Format",
        "How a server hands over the asset: as an address to download from, or inside its answer",
        "url", choices=("url", "b64_json"), choice_labels={"url": "Address", "b64_json": "Inside the Answer"},
        ignored_by={"draft": "it runs on this machine", "trellis2": "it runs on this machine"},
    ),
    Parameter(
        "verbose", "boolean", "advanced", "Verbose Export",
        "Write the steps of the mesh export to the log",
        False, ignored_by={"draft": "its export has no log of its own"},
    ),
)  # fmt: skip

REBUILD_NAMES: Final = (
    *("resolution", "texture_size", "decimation_target", "remesh", "remesh_band", "remesh_project"),
    *("uv_unwrap_angle_threshold_deg", "uv_unwrap_refine_iterations"),
    *("uv_unwrap_global_iterations", "uv_unwrap_smooth_strength"),
)
"""The parameters of the table above that a rebuild of a finished asset has too."""

REBUILD_PARAMETERS: Final[tuple[Parameter, ...]] = (
    Parameter(
        "normal_map", "enum", "mesh", "Normal Map",
        "Keep the source's relief in a normal map: auto does where less than half of its faces are left",
        "auto", choices=("auto", "on", "off"), choice_labels={"auto": "Auto", "on": "On", "off": "Off"},
    ),
    Parameter(
        "drop_inner_shells", "boolean", "mesh", "Drop Inner Shells",
        "Leave out what lies inside the surface, where nobody can see it; only Remesh can tell",
        True,
    ),
    Parameter(
        "texture_format", "enum", "mesh", "Texture Format",
        "PNG keeps every pixel and is read everywhere; WebP is several times smaller",
        "png", choices=("png", "webp"), choice_labels={"png": "PNG", "webp": "WebP"},
    ),
)  # fmt: skip
"""What only a rebuild has."""

FACES_LEAST: Final = 100
"""A rebuild goes down to fewer faces than a generation may ask for."""

REBUILD_SETTINGS: Final[tuple[Parameter, ...]] = (
    *(
        replace(p, minimum=FACES_LEAST) if p.name == "decimation_target" else p
        for p in PARAMETERS
        if p.name in REBUILD_NAMES
    ),
    *REBUILD_PARAMETERS,
)
"""All parameters of a rebuild."""

BY_NAME: Final[Mapping[str, Parameter]] = {parameter.name: parameter for parameter in PARAMETERS}
SETTINGS: Final[tuple[Parameter, ...]] = tuple(p for p in PARAMETERS if p.kind != "image")
"""All parameters but the image itself: those that have a default."""

PRICE_USD: Final[Mapping[str, float]] = {"512": 0.025, "1024": 0.249, "1536": 0.499}
"""What the vendor's remote API asks for an asset of each resolution; its `pricing_rows` take precedence."""

PIPELINE_OF_RESOLUTION: Final[Mapping[str, str]] = {"512": "512", "1024": "1024_cascade", "1536": "1536_cascade"}

INTERVALS: Final[tuple[tuple[str, str], ...]] = tuple(
    (name, name.removesuffix("_start") + "_end") for name in BY_NAME if name.endswith("_interval_start")
)
"""Pairs of parameters (start, end) of which the first must not exceed the second."""
