# SPDX-License-Identifier: GPL-3.0-or-later
"""How the subject is to be cut out of the panel's image: the settings, and what is chosen as plain data."""

from __future__ import annotations

from typing import Any, NamedTuple

import bpy

from ..engine.environments.weights_catalogue import BACKGROUND_MODELS
from ..engine.imaging.choices import ALPHA, AUTOMATIC, BACKDROP, KEPT, LARGEST_THRESHOLD, MASK, MODEL
from .languages import msgid

MAKER = "draft"
"""The engine whose worker makes cut-outs. It works with the outline itself; the others look at a picture."""
FOUND = {
    ALPHA: msgid("By the image's own transparency"),
    MODEL: msgid("By {model}"),
    BACKDROP: msgid("By the plain backdrop"),
    MASK: msgid("By your mask"),
    KEPT: msgid("As it is"),
}
"""How a subject was found, in words."""


def _items() -> list[tuple[str, str, str]]:
    models = [
        (
            name,
            name,
            msgid("A model that comes with Background Removal and its weights, {size} MB").format(
                size=f"{(file.size or 0) / 1e6:.0f}"
            ),
        )
        for name, file in BACKGROUND_MODELS.items()
    ]
    return [
        (
            AUTOMATIC,
            "Automatic",
            "As the engine finds it: by transparency, else by a model, else by a plain backdrop",
        ),
        *models,
        (BACKDROP, "Plain Backdrop", "By the color along the border; no model is needed"),
    ]


def changed(self: Any, _context: bpy.types.Context) -> None:
    """Show what has become of the cut-out, once a setting of it has changed. For `update`."""
    from . import cutout  # which looks at what is chosen through this module

    cutout.want(self.id_data)


def image_changed(self: Any, _context: bpy.types.Context) -> None:
    """Show the cut-out of another image. For `update`."""
    from . import cutout

    cutout.want(self.id_data, anew=True)


class EspalierCutout(bpy.types.PropertyGroup):
    """How the subject is cut out of the panel's image before the engine sees it."""

    background: bpy.props.EnumProperty(
        name="Background",
        description="What finds the subject where the image has no transparency of its own",
        items=_items(),
        default=AUTOMATIC,
        update=changed,
    )
    threshold: bpy.props.FloatProperty(
        name="Threshold",
        description="What is less opaque than this goes: raise it where a haze of the background is left",
        min=0.0,
        max=LARGEST_THRESHOLD,
        default=0.0,
        subtype="FACTOR",
        update=changed,
    )
    mask: bpy.props.PointerProperty(
        type=bpy.types.Image,
        name="Mask",
        description="The image whose transparency is used in place of what was found",
        update=changed,
    )
    mask_of: bpy.props.PointerProperty(type=bpy.types.Image, name="Image of the Mask", options={"HIDDEN"})


class Choice(NamedTuple):
    """What is chosen in a scene, as plain data: cheap enough to be compared whenever the panel is drawn."""

    image: str
    background: str
    threshold: float
    keep: bool
    inflates: bool
    mask: str

    @property
    def unmade(self) -> bool:
        """Whether the engine gets the image itself, and finds the subject as it always does."""
        return self.keep or (self.background == AUTOMATIC and self.threshold == 0.0 and not self.mask)


def choice_of(settings: Any) -> Choice | None:
    """Return what is chosen in `settings` (EspalierSettings), None without an image. For drawing."""
    if settings.image is None:
        return None
    chosen, mask = settings.cutout, mask_of(settings)
    return Choice(
        settings.image.name_full,
        chosen.background,
        round(chosen.threshold, 4),
        not settings.preprocess_image,
        settings.engine == MAKER,
        mask.name_full if mask is not None else "",
    )


def mask_of(settings: Any) -> bpy.types.Image | None:
    """Return the mask that was painted for the image that is chosen now."""
    chosen = settings.cutout
    return chosen.mask if chosen.mask is not None and chosen.mask_of == settings.image else None
