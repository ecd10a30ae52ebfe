# SPDX-License-Identifier: GPL-3.0-or-later
"""All wheels of an environment in one place: what is here is checked by its hash, and the rest is fetched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ..addresses import host_of
from ..errors import EspalierError
from ..files import digest_of
from . import repack
from .connection import Connection
from .download import Expected, download
from .folders import long
from .index import locate
from .lock import Lock, Package
from .places import Places
from .wheelhouse import Report, Wheel, find_wheel, shelf

CHECKING, DOWNLOADING = "Checking what is here", "Downloading"
_SOURCE = "-source.zip"
_ZIP = b"PK\x03\x04"


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


def _check_present(lock: Lock, places: Places, report: Report) -> dict[str, Wheel]:
    """Return the wheels that are here and right; a download that is not is removed."""
    here: dict[str, Wheel] = {}
    total = sum(package.size or 0 for package in lock.packages)
    done = 0
    for package in lock.packages:
        report(CHECKING, done, total)
        while (path := find_wheel(package, places)) is not None:
            found = digest_of(path, partial(_still, report, done, total))
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
    if package.source.endswith(".zip"):
        return _fetch_source(package, places, connection, report)
    link = locate(package, lock, connection)
    path = long(shelf(package, places) / link.file)
    expected = Expected(package.size, package.sha256 or link.sha256 or None, magic=_ZIP)
    download(link.url, path, link.file, expected, connection, report)
    return Wheel(package, path, package.sha256 or digest_of(path, lambda _: connection.check()))


def _fetch_source(package: Package, places: Places, connection: Connection, report: Callable[[int], None]) -> Wheel:
    """Return a wheel made of the zip of a package's repository, where its authors publish nothing else."""
    folder, name = long(shelf(package, places)), repack.wheel_name(package.name, package.version)
    archive, path = folder / f"{package.name}{_SOURCE}", folder / name
    host = host_of(package.source)
    download(package.source, archive, name, Expected(magic=_ZIP), connection, report)
    try:
        repack.repack(archive, path, package.name, package.version)
    except (OSError, ValueError) as error:
        path.unlink(missing_ok=True)
        reason = f"{package.name} could not be taken out of it"
        raise EspalierError("environment_wrong_file", repr(error), host=host, name=name, reason=reason) from error
    finally:
        archive.unlink(missing_ok=True)
    found = digest_of(path, lambda _: connection.check())
    if package.sha256 not in (None, found):
        path.unlink()
        detail = f"SHA-256 {found} in place of {package.sha256}"
        raise EspalierError("environment_wrong_file", detail, host=host, name=name, reason="its files are others")
    return Wheel(package, path, found)


def _still(report: Report, before: int, total: int, _read: int) -> None:
    report(CHECKING, before, total)


def _tell(report: Report, before: int, total: int, size: int) -> None:
    report(DOWNLOADING, before + size, max(total, before + size))
