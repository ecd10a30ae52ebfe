# SPDX-License-Identifier: GPL-3.0-or-later
"""The weights of the engines that are installed: fetched, verified, repaired, removed, and found."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from ..errors import EspalierError
from ..files import digest_of, unwritable
from ..words import size_words
from . import hub, licences
from .folders import held
from .order import Order
from .places import Places
from .sources import Sources
from .status import Condition, Status, status
from .weights_catalogue import FILES, WeightFile, wanted
from .weights_index import Entry, folder, missing, read_index, remove_index, write_index

__all__ = ["background_model", "environments", "folder", "locate", "run", "status_of"]

PROFILE = "weights"
Report = Callable[[str, int, int], None]
Check = Callable[[], None]


def environments(places: Places) -> dict[str, Path]:
    """Return the environments whose engines use weights and that can be used, with the Python of each."""
    found = {name: status(name, places) for name in FILES}
    return {name: told.python for name, told in found.items() if told.python is not None}


def status_of(places: Places) -> Status:
    """Return how the weights stand that the installed environments need; in milliseconds, nothing is hashed."""
    files = wanted(tuple(environments(places)))
    if not files:
        why = EspalierError("weights_no_environment")
        return Status(PROFILE, Condition.IMPOSSIBLE, why, 0, 0, None, ())
    entries = read_index(places)
    lacking = missing(entries, files)
    size = sum(file.size or 0 for file in files)
    if not lacking:
        return Status(PROFILE, Condition.READY, None, 0, size, None, ())
    left = sum((file.size or 0) - _partial(places, file) for file in lacking)
    lost = [file for file in lacking if file.key in entries]
    if lost:
        return Status(PROFILE, Condition.BROKEN, _incomplete(lost, files, entries), left, size, None, ())
    return Status(PROFILE, Condition.INSTALLABLE, None, left, size, None, ())


def locate(places: Places, repo: str, path: str) -> Path | None:
    """Return where the file `path` of the hub's `repo` lies, or None where it is not there."""
    key = f"{repo}/{path}"
    entry = read_index(places).get(key)
    known = next((file for files in FILES.values() for file in files if file.key == key), None)
    return Path(entry.path) if entry is not None and known is not None and entry.fits(known) else None


def background_model(places: Places, name: str) -> Path | None:
    """Return where the model `name` of background removal lies, or None where it is not there."""
    return locate(places, "rembg", f"{name}.onnx")


def run(order: Order, places: Places, sources: Sources, report: Report, check: Check) -> list[str]:
    """Carry out `order` and return what came of it, in sentences.

    `report` is told stage, bytes done and bytes in all; it and `check` may raise Cancelled, and what is fetched so far
    stays. Raises EspalierError `license_not_accepted` and `weights_no_environment` before anything is done, and others
    of `weights_errors`.
    """
    with held(places, PROFILE):
        if order.act == "remove":
            return _remove(places)
        found = environments(places)
        files = wanted(tuple(found))
        if not files:
            raise EspalierError("weights_no_environment")
        if order.act == "verify":
            return _verify(places, files, report, check)
        licences.accept(places, order.accepted)
        licences.require(places, licences.needed(PROFILE, tuple(found)))
        if order.act == "repair":
            with contextlib.suppress(EspalierError):
                _verify(places, files, report, check)
        name = max(found, key=list(FILES).index)
        return _install(places, files, (name, found[name]), sources, report, check)


def _install(
    places: Places, files: tuple[WeightFile, ...], python: tuple[str, Path], sources: Sources, report: Report,
    check: Check,
) -> list[str]:  # fmt: skip
    entries = read_index(places)
    base = folder(places)
    lacking = missing(entries, files)
    fetched = found = 0

    def have(file: WeightFile, path: Path, size: int, sha256: str) -> None:
        nonlocal fetched, found
        own = path.is_relative_to(base)
        fetched, found = fetched + size * own, found + size * (not own)
        entries[file.key] = Entry(str(path), file.revision, size, sha256)
        write_index(places, entries)

    for file in lacking:
        check()
        target = base / file.place
        if target.is_file():
            if _matches(target, file, report, check) and file.sha256 is not None:
                have(file, target, target.stat().st_size, file.sha256)
            else:
                _unlink(target)
    kept, fetched = fetched, 0
    lacking = missing(entries, files)
    if lacking:
        hub.fetch(lacking, base, python, sources, places.log, report, check, have)
    total = sum(entries[file.key].size for file in files)
    words = [f"The weights are complete: {len(files)} files, {size_words(total)}."]
    if fetched:
        words.append(f"{size_words(fetched)} were downloaded.")
    if kept:
        words.append(f"{size_words(kept)} were there already.")
    if found:
        words.append(f"{size_words(found)} were found in the Hugging Face cache and are used from there.")
    return words


def _verify(places: Places, files: tuple[WeightFile, ...], report: Report, check: Check) -> list[str]:
    """Hash every file; what is damaged is remembered. Raises EspalierError `weights_incomplete`, `weights_damaged`."""
    entries = read_index(places)
    lacking = missing(entries, files)
    there = [file for file in files if file not in lacking]
    total, done, damaged = sum(entries[file.key].size for file in there), 0, []
    for file in there:
        entry = entries[file.key]
        if not _hashes_to(Path(entry.path), entry.sha256, report, check, done, total):
            damaged.append(file)
            entries[file.key] = Entry(entry.path, entry.revision, entry.size, entry.sha256, damaged=True)
        done += entry.size
    if damaged:
        write_index(places, entries)
    if lacking:
        raise _incomplete(lacking, files, entries)
    if damaged:
        raise EspalierError("weights_damaged", count=len(damaged), total=len(files), file=damaged[0].key)
    return [f"All {len(files)} files of the weights are as they should be ({size_words(total)})."]


def _remove(places: Places) -> list[str]:
    """Remove the files that were fetched here; those of the Hugging Face cache stay."""
    base = folder(places)
    freed = 0
    try:
        remove_index(places)
        for file in wanted(tuple(FILES)):
            target = base / file.place
            for path in (target, *target.parent.glob(f".{target.name}.*.part")):
                if path.is_file():
                    freed += path.stat().st_size
                    path.unlink()
            with contextlib.suppress(OSError):  # not empty, or not there
                target.parent.rmdir()
        for path in sorted(base.glob("*/*"), reverse=True):
            with contextlib.suppress(OSError):
                path.rmdir()
        for path in base.glob("*"):
            with contextlib.suppress(OSError):
                path.rmdir()
        with contextlib.suppress(OSError):
            base.rmdir()
    except OSError as error:
        raise unwritable(base, error) from error
    return [f"The weights are removed; {size_words(freed)} are free again."]


def _incomplete(lost: list[WeightFile], files: tuple[WeightFile, ...], entries: dict[str, Entry]) -> EspalierError:
    code = "weights_damaged" if all(file.key in entries and entries[file.key].damaged for file in lost) else ""
    return EspalierError(code or "weights_incomplete", count=len(lost), total=len(files), file=lost[0].key)


def _matches(path: Path, file: WeightFile, report: Report, check: Check) -> bool:
    """Tell whether `path`, of which the index knows nothing, is `file`; without a known hash it is not taken."""
    if file.sha256 is None or path.stat().st_size != file.size:
        return False
    return _hashes_to(path, file.sha256, report, check, 0, file.size)


def _hashes_to(path: Path, sha256: str, report: Report, check: Check, done: int, total: int) -> bool:
    def progress(read: int) -> None:
        check()
        report("Verifying", done + read, total)

    try:
        return digest_of(path, progress) == sha256
    except OSError:
        return False


def _partial(places: Places, file: WeightFile) -> int:
    """Return how many bytes of `file` an earlier download has left."""
    target = folder(places) / file.place
    with contextlib.suppress(OSError):
        found = [part.stat().st_size for part in target.parent.glob(f".{target.name}.*.part")]
        return min(max(found, default=0), file.size or 0)
    return 0


def _unlink(path: Path) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        raise unwritable(path, error) from error
