# SPDX-License-Identifier: GPL-3.0-or-later
"""A .blend that holds only an asset and what it uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy

from ...engine.errors import EspalierError
from ...engine.files import replacing
from .rollback import Rollback
from .world import build_world


def save_blend(path: Path, *assets: bpy.types.Object) -> None:
    """Write `assets` and all that they use, and nothing else of the open file, as the compressed .blend `path`.

    The file opens with a scene of its own in which they stand as they do now, the first one active, and those that no
    render shows hidden. The open file stays as it is. The file appears whole or not at all.

    Raises EspalierError `disk_full` or `output_unwritable`.
    """
    with _stage(assets) as scene, replacing(path) as partial:
        try:
            bpy.data.libraries.write(str(partial), {scene}, path_remap="NONE", fake_user=False, compress=True)
        except RuntimeError as error:
            reason = "Blender could not write it"
            raise EspalierError("output_unwritable", detail=str(error), path=path, reason=reason) from error


@contextmanager
def _stage(assets: tuple[bpy.types.Object, ...]) -> Iterator[bpy.types.Scene]:
    """Yield a temporary scene with `assets`, what hangs below them and an even light; it is gone afterwards."""
    temporary = Rollback()
    try:
        scene = bpy.data.scenes.new(assets[0].name)
        temporary.add(scene)
        scene.world = build_world("World", (1.0, 1.0, 1.0), 0.5, temporary)  # else a rendered view would be black
        for asset in assets:
            for member in (asset, *asset.children_recursive):
                scene.collection.objects.link(member)
        view_layer = scene.view_layers[0]
        for asset in assets:
            asset.select_set(True, view_layer=view_layer)
            asset.hide_set(asset.hide_render, view_layer=view_layer)
        view_layer.objects.active = assets[0]
        yield scene
    finally:
        bpy.data.batch_remove(temporary.made())
