# SPDX-License-Identifier: GPL-3.0-or-later
"""What a batch is given: a folder, a pattern, or a manifest; each becomes a list of entries in a fixed order."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import EspalierError
from .manifest import read_manifest

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
"""Endings of what a folder is searched for; a pattern or a manifest may name others."""
MANIFESTS = frozenset({".csv", ".tsv", ".json"})
HERE = PurePosixPath()
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Entry:
    """An image as it was named. `folder` is where its asset goes below the output, `line` its line in the manifest.

    `settings` are parameters as they were written, not looked at yet; `engine` and `name` are empty if not named.
    """

    image: str
    folder: PurePosixPath = HERE
    line: int = 0
    name: str = ""
    engine: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    error: EspalierError | None = None


def gather(given: str, output: Path) -> list[Entry]:
    """Return the entries of `given`: a folder (with those below it), a pattern, a manifest or one image.

    What lies in the folder `output` is left out, for it was made by an earlier run.

    Raises EspalierError `batch_input_missing`, `batch_empty`, `arguments_invalid` or as `read_manifest`.
    """
    path = Path(given).expanduser().absolute()
    if path.is_dir():
        if _same(path, output):
            raise EspalierError("arguments_invalid", reason="The output cannot be the folder of the images itself")
        entries = list(_below(path, _walk(path), output))
    elif path.is_file() and path.suffix.lower() in MANIFESTS:
        entries = [_listed(line, cells, path.parent, error) for line, cells, error in read_manifest(path)]
    elif path.is_file():
        entries = [Entry(str(path))]
    elif glob.has_magic(given):
        base = _fixed_part(path)
        found = (Path(name) for name in glob.iglob(str(path), recursive=True))
        entries = list(_below(base, (name for name in found if name.is_file()), output))
    else:
        raise EspalierError("batch_input_missing", path=path)
    if not entries:
        raise EspalierError("batch_empty", path=path)
    return entries


def take_share(count: int, shard: tuple[int, int] | None) -> range:
    """Return which of `count` entries a shard (I, N) works on: each N-th, beginning with the I-th."""
    return range(count) if shard is None else range(shard[0] - 1, count, shard[1])


def read_shard(text: str) -> tuple[int, int]:
    """Return (I, N) of "I/N". Raises EspalierError `arguments_invalid`."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        reason = f"{text} is not a share of the work like 1/4, the first of four"
        raise EspalierError("arguments_invalid", reason=reason)
    return int(match[1]), int(match[2])


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the images below `folder`, without those whose name or folder begins with a point."""
    for top, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGES:
                yield Path(top, name)


def _below(base: Path, found: Iterable[Path], output: Path) -> Iterator[Entry]:
    """Yield an entry for each image, in the order in which a person would count them."""
    inside = output.resolve()
    for path in sorted(set(found), key=_natural):
        if path.resolve().is_relative_to(inside) and not base.resolve().is_relative_to(inside):
            continue
        relative = path.relative_to(base) if path.is_relative_to(base) else Path(path.name)
        folder = HERE if ".." in relative.parts else PurePosixPath(relative.parent.as_posix())
        yield Entry(str(path), folder)


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Return a key that puts 2 before 10 and does not depend on the machine."""
    text = path.as_posix()
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(text.casefold())], text


def _fixed_part(pattern: Path) -> Path:
    """Return the folder above the first part of `pattern` that has a wildcard."""
    parts: list[str] = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def _listed(line: int, cells: Mapping[str, Any], base: Path, error: EspalierError | None) -> Entry:
    """Return the entry of a row of a manifest, whose images are relative to the manifest's own folder."""
    named = {name: cells.get(name, "") for name in ("image", "name", "engine")}
    for name, value in named.items():
        if not isinstance(value, str):
            error = error or EspalierError("parameter_type", name=name, value=value, expected="a text")
            named[name] = ""
        else:
            named[name] = value.strip()
    image = named["image"]
    if image and "://" not in image:
        image = str(base / Path(image).expanduser())
    settings = {name: value for name, value in cells.items() if name not in named}
    return Entry(image, HERE, line, named["name"], named["engine"], settings, error)


def _same(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()
