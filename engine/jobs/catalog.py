# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogs of the library's folder, in the file that Blender's asset browser reads and writes too."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import Path

from ..files import replacing

CATALOGS = "blender_assets.cats.txt"
_ROOT = "Espalier"
_SPACE = uuid.UUID("8a5b1f0e-3f5d-4a64-9a3c-0d6f2f6f7b41")
_START = "# Catalogs of an asset library, one a line: UUID:path/of/catalog:Simple Name\n\nVERSION 1\n\n"
_FORBIDDEN = str.maketrans({":": "-", "\\": "-", "/": "-"})


def catalog_id(label: str) -> str:
    """Return the id of the catalog of an engine that people know as `label`: the same everywhere and for ever."""
    return _id(_path(label))


def ensure_catalogs(folder: Path, labels: Iterable[str]) -> None:
    """See to it that `folder` has a catalog for each of `labels`, and the one that holds them.

    What a person has added, moved or renamed stays.

    Raises EspalierError `disk_full` or `output_unwritable`, and OSError or ValueError for a file that cannot be read.
    """
    path = folder / CATALOGS
    text = path.read_text("utf-8") if path.is_file() else _START
    known = {line.partition(":")[0].strip() for line in text.splitlines()}
    # Blender adds the catalog above others where it is missing, and then asks to save it.
    wanted = dict.fromkeys((_ROOT, *map(_path, labels)))
    missing = [each for each in wanted if _id(each) not in known]
    if missing:
        lines = (f"{_id(each)}:{each}:{each.replace('/', '-')}\n" for each in missing)
        with replacing(path) as partial:
            partial.write_text(text if text.endswith("\n") else f"{text}\n", "utf-8")
            with partial.open("a", encoding="utf-8") as file:
                file.writelines(lines)


def _id(path: str) -> str:
    return str(uuid.uuid5(_SPACE, path))


def _path(label: str) -> str:
    return f"{_ROOT}/{label.translate(_FORBIDDEN).strip()}"
