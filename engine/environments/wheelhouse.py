# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheels of an environment: those that came with the extension, those that were fetched before, and the rest."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import EspalierError
from ..words import size_words
from .folders import erase
from .lock import Lock, Package
from .places import Places
from .wheel import parse_wheel

Report = Callable[[str, int, int], None]
Check = Callable[[], None]

_UNLOCKED = "unlocked"


@dataclass(frozen=True)
class Wheel:
    """The wheel of `package` at `path`, with the hash that it really has."""

    package: Package
    path: Path
    sha256: str

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.path.stat().st_size


def find_wheel(package: Package, places: Places) -> Path | None:
    """Return where a wheel of `package` lies already, by name and size alone, without reading it."""
    if not package.locked:
        found = (path for path in shelf(package, places).glob("*.whl") if _is_version(path, package))
        return next(iter(sorted(found)), None)
    assert package.file is not None
    for path in (*(folder / package.file for folder in places.bundled), shelf(package, places) / package.file):
        with suppress(OSError):
            if path.stat().st_size == package.size:
                return path
    return None


def unpacked_bytes(wheels: list[Wheel]) -> int:
    """Return how many bytes are in `wheels` once they are unpacked. Raises EspalierError for one that is damaged."""
    total = 0
    for wheel in wheels:
        try:
            with zipfile.ZipFile(wheel.path) as archive:
                total += sum(item.file_size for item in archive.infolist())
        except (OSError, zipfile.BadZipFile) as error:
            name, reason = wheel.path.name, "it is not a wheel"
            told = EspalierError("environment_wrong_file", repr(error), host="the index", name=name, reason=reason)
            raise told from error
    return total


def ensure_space(places: Places, need: int) -> None:
    """See to it that `need` bytes are free. Raises EspalierError `environment_space`."""
    free = shutil.disk_usage(places.root).free
    if free < need:
        raise EspalierError("environment_space", need=size_words(need), free=size_words(free), path=places.root)


def prune(places: Places, locks: list[Lock]) -> None:
    """Remove what was downloaded and is of no use for any of `locks`."""
    keep = {shelf(package, places) for lock in locks for package in lock.packages}
    for folder in _shelves(places):
        if folder not in keep:
            erase(folder)


def _shelves(places: Places) -> Iterator[Path]:
    for folder in places.downloads.glob("*"):
        if folder.name == _UNLOCKED:
            yield from folder.glob("*")
        elif folder.is_dir():
            yield folder


def shelf(package: Package, places: Places) -> Path:
    """Return the folder of a package's downloads; half a hash, as Windows does not like long paths."""
    if package.sha256 is None:
        return places.downloads / _UNLOCKED / package.name
    return places.downloads / package.sha256[:16]


def _is_version(path: Path, package: Package) -> bool:
    wheel = parse_wheel(path.name)
    return wheel is not None and package.version in ("", wheel.version, wheel.version.partition("+")[0])
