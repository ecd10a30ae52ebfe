# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheels of an environment: those that came with the extension, those that were fetched before, and the rest."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..errors import EspalierError
from .connection import Connection
from .download import Expected, digest_of, download
from .folders import erase, long
from .index import locate
from .lock import Lock, Package
from .places import Places
from .wheel import parse_wheel

Report = Callable[[str, int, int], None]
Check = Callable[[], None]

CHECKING, DOWNLOADING = "Checking what is here", "Downloading"
_ZIP = b"PK\x03\x04"
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
        found = (path for path in _shelf(package, places).glob("*.whl") if _is_version(path, package))
        return next(iter(sorted(found)), None)
    assert package.file is not None
    for path in (*(folder / package.file for folder in places.bundled), _shelf(package, places) / package.file):
        with suppress(OSError):
            if path.stat().st_size == package.size:
                return path
    return None


def gather(lock: Lock, places: Places, connection: Connection, report: Report) -> list[Wheel]:
    """Return a wheel of every package of `lock`, each with the right hash, fetched where it is not here yet.

    Raises EspalierError, or Cancelled from `report`.
    """
    here = _check_present(lock, places, report)
    missing = [package for package in lock.packages if package.name not in here]
    total = sum(package.size or 0 for package in missing)
    done = 0
    for package in missing:
        wheel = _fetch(package, lock, places, connection, partial(_tell, report, done, total))
        here[package.name] = wheel
        done += wheel.size if package.size is None else package.size
        total += wheel.size if package.size is None else 0
        report(DOWNLOADING, done, total)
    return [here[package.name] for package in lock.packages]


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


def size_words(size: float) -> str:
    """Return a number of bytes as people say it."""
    for unit in ("bytes", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def prune(places: Places, locks: list[Lock]) -> None:
    """Remove what was downloaded and is of no use for any of `locks`."""
    keep = {_shelf(package, places) for lock in locks for package in lock.packages}
    for folder in _shelves(places):
        if folder not in keep:
            erase(folder)


def _shelves(places: Places) -> Iterator[Path]:
    for folder in places.downloads.glob("*"):
        if folder.name == _UNLOCKED:
            yield from folder.glob("*")
        elif folder.is_dir():
            yield folder


def _shelf(package: Package, places: Places) -> Path:
    """Return the folder of a package's downloads; half a hash, as Windows does not like long paths."""
    if package.sha256 is None:
        return places.downloads / _UNLOCKED / package.name
    return places.downloads / package.sha256[:16]


def _is_version(path: Path, package: Package) -> bool:
    wheel = parse_wheel(path.name)
    return wheel is not None and package.version in ("", wheel.version, wheel.version.partition("+")[0])


def _check_present(lock: Lock, places: Places, report: Report) -> dict[str, Wheel]:
    """Return the wheels that are here and right; a download that is not is removed."""
    here: dict[str, Wheel] = {}
    total = sum(package.size or 0 for package in lock.packages)
    done = 0
    for package in lock.packages:
        report(CHECKING, done, total)
        while (path := find_wheel(package, places)) is not None:
            found = digest_of(path, partial(report, CHECKING, done, total))
            if package.sha256 in (None, found):
                here[package.name] = Wheel(package, path, found)
                break
            if not path.is_relative_to(places.downloads):
                # Not ours to remove: it is as if it were not there.
                places = replace(places, bundled=tuple(folder for folder in places.bundled if folder != path.parent))
                continue
            path.unlink()
        done += package.size or 0
    return here


def _fetch(
    package: Package, lock: Lock, places: Places, connection: Connection, report: Callable[[int], None]
) -> Wheel:
    link = locate(package, lock, connection)
    path = long(_shelf(package, places) / link.file)
    expected = Expected(package.size, package.sha256 or link.sha256 or None, magic=_ZIP)
    download(link.url, path, link.file, expected, connection, report)
    return Wheel(package, path, package.sha256 or digest_of(path, connection.check))


def _tell(report: Report, before: int, total: int, size: int) -> None:
    report(DOWNLOADING, before + size, max(total, before + size))
