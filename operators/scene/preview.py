# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of an asset, rendered with Cycles on the processor: it needs no graphics card and no display."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...engine.errors import EspalierError
from ...engine.files import replacing
from .framing import measure
from .rollback import Rollback
from .studio import build_studio

_SAMPLES, _SAMPLES_UNDENOISED = 10, 64
_LIMIT_S = 20.0


def render_preview(target: bpy.types.Object, path: Path, size: int = 768) -> None:
    """Render `target` and what hangs below it as the PNG file `path`, `size` pixels on each side.

    It is done in a scene of its own that is gone afterwards; the open scene, its settings and its selection stay as
    they are. The file appears whole or not at all.

    Raises EspalierError `preview_failed`, `disk_full` or `output_unwritable`.
    """
    objects = [target, *target.children_recursive]
    extent = measure(objects)
    if extent is None:
        raise EspalierError("preview_failed", reason="there is no mesh to show")
    temporary = Rollback()
    try:
        scene = build_studio(f"{target.name} Preview", objects, extent, temporary)
        _set_up(scene, size)
        with replacing(path) as partial:
            scene.render.filepath = str(partial)
            bpy.ops.render.render(write_still=True, scene=scene.name)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = "Cycles is not available" if isinstance(error, (TypeError, AttributeError)) else "Cycles stopped"
        raise EspalierError("preview_failed", detail=repr(error), reason=reason) from error
    finally:
        bpy.data.batch_remove(temporary.made())


def _set_up(scene: bpy.types.Scene, size: int) -> None:
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    render.resolution_x = render.resolution_y = size
    render.resolution_percentage = 100
    render.use_file_extension = False
    render.use_compositing = render.use_sequencer = False
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode = "RGB"
    render.image_settings.compression = 60
    # AgX, the default, fades saturated colors; these lights stay within what Standard can show.
    scene.display_settings.display_device = "sRGB"
    scene.view_settings.view_transform = "Standard"
    scene.view_settings.look = "None"
    cycles.device = "CPU"
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 1, 2
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.use_adaptive_sampling = cycles.use_light_tree = False  # neither pays with few samples and lights
    cycles.denoising_prefilter = "FAST"
    cycles.use_denoising = _has_denoiser(scene)
    cycles.samples = _SAMPLES if cycles.use_denoising else _SAMPLES_UNDENOISED
    cycles.time_limit = _LIMIT_S


def _has_denoiser(scene: bpy.types.Scene) -> bool:
    try:
        scene.cycles.denoiser = "OPENIMAGEDENOISE"
    except TypeError:  # a Blender built without it does not offer the choice
        return False
    return True
