# SPDX-License-Identifier: GPL-3.0-or-later
"""One .blend of all assets of a batch, marked as assets: a library for the asset browser."""

from __future__ import annotations

import array
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import bpy

from ...engine.batch.records import Record
from ...engine.batch.rows import thumbnail_of
from ...engine.errors import EspalierError
from ...engine.files import replacing
from ..scene.asset import discard_asset
from ..scene.placement import read_properties


def write_library(path: Path, output: Path, records: Sequence[Record]) -> int:
    """Write the objects of `records` as the .blend `path` and return how many; their parts below `output` go then.

    What has no part any more is taken from the file that is there. All assets are in memory at once while it is
    written. Raises EspalierError, with the file as it was.
    """
    wanted = [record for record in records if record.part]
    fresh = [record for record in wanted if (output / record.part).is_file()]
    if not fresh:
        return 0
    made: list[bpy.types.Object] = []
    try:
        kept = {record.job: record for record in wanted if record not in fresh}
        if kept and path.is_file():
            made += [item for item in _objects(path) if _dress(item, kept, output)]
        new = {record.job: record for record in fresh}
        for record in fresh:
            made += [item for item in _objects(output / record.part) if _dress(item, new, output)]
        members = [member for item in made for member in (item, *item.children_recursive)]
        with replacing(path) as partial:
            bpy.data.libraries.write(str(partial), set(members), path_remap="NONE", fake_user=True, compress=True)
    except RuntimeError as error:
        reason = "Blender could not write it"
        raise EspalierError("output_unwritable", detail=str(error), path=path, reason=reason) from error
    finally:
        for item in made:
            discard_asset(item)
    for record in fresh:
        (output / record.part).unlink(missing_ok=True)
    _remove_empty(output / PurePosixPath(fresh[0].part).parts[0])
    return len(made)


def _objects(path: Path) -> list[bpy.types.Object]:
    """Return the objects of a .blend that hang below no other, brought into the open file."""
    with bpy.data.libraries.load(str(path), link=False) as (there, here):
        here.objects = list(there.objects)
    return [item for item in here.objects if item is not None and item.parent is None]


def _dress(item: bpy.types.Object, records: dict[str, Record], output: Path) -> bool:
    """Mark an object as an asset, with the thumbnail of its record; remove one that is of none, and tell so."""
    record = records.get(str(read_properties(item).get("job", "")))
    if record is None:
        discard_asset(item)
        return False
    item.hide_render = False
    if item.asset_data is None:
        item.asset_mark()
    item.asset_data.description = PurePosixPath(record.image).name
    item.asset_data.tags.new(record.engine, skip_if_exists=True)
    if (level := read_properties(item).get("level")) is not None:
        item.asset_data.tags.new(f"LOD{level}", skip_if_exists=True)
    _set_preview(item, output / thumbnail_of(PurePosixPath(record.stem)))
    return True


def _set_preview(item: bpy.types.Object, picture: Path) -> None:
    """Give an object the picture that the asset browser shows: there is nobody to render one."""
    if not picture.is_file():
        return
    image = bpy.data.images.load(str(picture))
    try:
        pixels = array.array("f", bytes(4 * len(image.pixels)))
        image.pixels.foreach_get(pixels)
        preview = item.preview_ensure()
        preview.image_size = image.size
        preview.image_pixels_float.foreach_set(pixels)
    finally:
        bpy.data.images.remove(image)


def _remove_empty(folder: Path) -> None:
    """Remove `folder` and those below it, as far as they hold nothing."""
    for below in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        if not any(below.iterdir()):
            below.rmdir()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
