# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts about a GLB file inside it: `asset.extras` (Khronos glTF 2.0 specification, section 3.2), read and replaced.

Only the JSON chunk is parsed; meshes and textures are copied as they are.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import EspalierError
from ..files import replacing
from .glb_format import GENERATOR, JSON_LIMIT

KEY = "espalier"
"""The member of `asset.extras` that is ours; others are left alone."""
_HEADER, _CHUNK = struct.Struct("<4sII"), struct.Struct("<I4s")
_COPIED = 2**20


def read_extras(path: Path) -> dict[str, Any]:
    """Return what `write_extras` has put into the GLB `path`, empty where there is nothing of the kind.

    Raises EspalierError `glb_invalid`, and OSError where it cannot be read.
    """
    with path.open("rb") as file:
        extras = _asset(_document(file, path)).get("extras")
    found = extras.get(KEY) if isinstance(extras, dict) else None
    return found if isinstance(found, dict) else {}


def write_extras(path: Path, facts: Mapping[str, Any]) -> bool:
    """Put `facts`, plain JSON data, into the GLB `path` if Espalier has written it; tell whether it has.

    A file of another writer (a server, say) stays byte by byte as it was delivered. The file is replaced whole or not
    at all. Raises EspalierError `glb_invalid`, `disk_full` or `output_unwritable`, and OSError where it cannot be read.
    """
    with path.open("rb") as source:
        document = _document(source, path)
        asset = _asset(document)
        if asset.get("generator") != GENERATOR:
            return False
        extras = asset.get("extras")
        asset["extras"] = {**(extras if isinstance(extras, dict) else {}), KEY: dict(facts)}
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(errors="replace")
        text += b" " * (-len(text) % 4)
        rest = path.stat().st_size - source.tell()
        with replacing(path) as partial, partial.open("wb") as target:
            target.write(_HEADER.pack(b"glTF", 2, _HEADER.size + _CHUNK.size + len(text) + rest))
            target.write(_CHUNK.pack(len(text), b"JSON") + text)
            shutil.copyfileobj(source, target, _COPIED)
            source.close()  # Windows replaces no file that is open
    return True


def _document(file: BinaryIO, path: Path) -> dict[str, Any]:
    """Return the JSON document at the beginning of `file`, which then stands behind it."""
    start = file.read(_HEADER.size + _CHUNK.size)
    if len(start) < _HEADER.size + _CHUNK.size:
        raise EspalierError("glb_invalid", path=path, reason="it is cut off")
    magic, version, _ = _HEADER.unpack_from(start)
    length, kind = _CHUNK.unpack_from(start, _HEADER.size)
    if magic != b"glTF" or version != 2 or kind != b"JSON" or length > JSON_LIMIT:
        raise EspalierError("glb_invalid", path=path, reason="it does not start as GLB does")
    try:
        document = json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise EspalierError("glb_invalid", repr(error), path=path, reason="its JSON cannot be read") from error
    if not isinstance(document, dict):
        raise EspalierError("glb_invalid", path=path, reason="its JSON is not an object")
    return document


def _asset(document: dict[str, Any]) -> dict[str, Any]:
    asset = document.get("asset")
    return asset if isinstance(asset, dict) else {}
