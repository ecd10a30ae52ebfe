# SPDX-License-Identifier: GPL-3.0-or-later
"""A result of the library as an asset of Blender: a .blend beside it, with the object marked, described and shown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bpy

from ...engine import provenance
from ...engine.errors import EspalierError
from ...engine.files import replacing
from ...engine.jobs.job import Job, State
from ...engine.request import request_from_json
from .asset import discard_asset, import_folder, properties_of
from .placement import write_properties

FILE = "asset.blend"
"""Its name in a result's folder."""
_TAG_LIMIT, _TEXT_LIMIT = 63, 1000


def write_asset_file(folder: Path, catalog: str, author: str) -> None:
    """Write `FILE` into the result `folder`: one object at the origin, in the catalog of that id, by `author`.

    The open file gets a new object for that, and loses it again; it is meant for a Blender of its own. Raises
    EspalierError `asset_missing`, `import_failed`, `request_invalid`, `disk_full` or `output_unwritable`.
    """
    job = read_job(folder)
    created = import_folder(bpy.context, folder, bpy.context.scene, job.request.name)
    try:
        account = properties_of(job)
        write_properties(created, account)
        describe(created, account, catalog, author)
        show(created, folder / "thumbnail.png")
        with replacing(folder / FILE) as partial:
            try:
                bpy.data.libraries.write(str(partial), {created}, path_remap="NONE", fake_user=True, compress=True)
            except RuntimeError as error:
                reason = "Blender could not write it"
                raise EspalierError("output_unwritable", str(error), path=folder / FILE, reason=reason) from error
    finally:
        discard_asset(created)


def read_job(folder: Path) -> Job:
    """Return the job whose result `folder` holds, as far as it tells.

    Raises EspalierError `asset_missing` or `request_invalid`.
    """
    try:
        asked = json.loads((folder / "request.json").read_bytes())
        result = json.loads((folder / "result.json").read_bytes())
    except OSError as error:
        raise EspalierError("asset_missing", repr(error), name=folder.name) from error
    except ValueError as error:
        raise EspalierError("request_invalid", repr(error), reason="it is damaged") from error
    if not isinstance(result, dict):
        raise EspalierError("request_invalid", reason="its result is not an object")
    return Job(folder.name, request_from_json(asked), State.READY, folder=folder, result=result)


def describe(created: bpy.types.Object, account: dict[str, Any], catalog: str, author: str) -> None:
    """Mark `created` as an asset, with what a person looks for it by."""
    created.asset_mark()
    data = created.asset_data
    data.catalog_id = catalog
    data.author = author
    data.description = description(account)[:_TEXT_LIMIT]
    data.license = license_note(account)
    for tag in tags(account):
        data.tags.new(tag.encode()[:_TAG_LIMIT].decode(errors="ignore"), skip_if_exists=True)


def description(account: dict[str, Any]) -> str:
    """Return what the asset browser tells of an asset: from what, by whom, when, and what was set."""
    before = provenance.generation(account)
    image = provenance.file_name(str(before.get("image", "")))
    lines = [f"Made from {image}" if image else "Made by Espalier"]
    maker = provenance.engine_label(str(before.get("engine") or account["engine"]))
    lines.append(f"Engine: {maker}" + (f", model {before['model']}" if before.get("model") else ""))
    if "seed" in before:
        lines.append(f"Seed: {before['seed']}")
    if account.get("made"):
        lines.append(f"Made: {str(account['made'])[:10]}")
    settings = [f"{each.label} {provenance.value_words(each, value)}" for each, value in provenance.changed(account)]
    if settings:
        lines.append(f"Settings: {', '.join(settings)}")
    return "\n".join(lines)


def license_note(account: dict[str, Any]) -> str:
    """Return what is known of the rights in an asset: nobody but its maker knows those of the image."""
    model = provenance.generation(account).get("model")
    return "As the image" + (f"; see the license of {model}" if model else "")


def tags(account: dict[str, Any]) -> Iterable[str]:
    """Return the tags of an asset: who made it, in which month, at which resolution."""
    before = provenance.generation(account)
    yield "Espalier"
    yield provenance.engine_label(str(before.get("engine") or account["engine"]))
    if account["engine"] != before.get("engine"):
        yield provenance.engine_label(account["engine"])
    if account.get("made"):
        yield str(account["made"])[:7]
    if before.get("resolution"):
        yield f"{before['resolution']} resolution"


def show(created: bpy.types.Object, thumbnail: Path) -> None:
    """Give `created` the picture in the file `thumbnail` as its preview, if there is one."""
    if not thumbnail.is_file():
        return
    import numpy as np  # which takes a tenth of a second, for which enabling the extension must not wait

    try:
        image = bpy.data.images.load(str(thumbnail), check_existing=False)
    except RuntimeError:
        return
    try:
        width, height = image.size
        if width and height:
            pixels = np.empty(width * height * image.channels, np.float32)
            image.pixels.foreach_get(pixels)
            pixels = pixels.reshape(height, width, image.channels)
            full = np.ones((height, width, 4), np.float32)
            full[..., : min(image.channels, 4)] = pixels[..., :4]
            preview = created.preview_ensure()
            preview.image_size = (width, height)
            preview.image_pixels_float.foreach_set(full.reshape(-1))
    finally:
        bpy.data.images.remove(image)
