# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that environments are made with: uv, unpacked from the wheel that comes with the extension."""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import EspalierError
from ..files import digest_of, make_folder, replacing
from ..workers.launch import QUIET
from .places import Places
from .platforms import this_platform
from .wheel import parse_wheel, record_hash, version_key

_BINARIES = ("uv", "uv.exe")
_KEPT = ("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE")
_HOMES = ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")
_LOOK_S = 0.05
_WORDS = 4000
if sys.platform == "win32":
    _NO_WINDOW = subprocess.CREATE_NO_WINDOW
else:
    _NO_WINDOW = 0


def unpack_uv(places: Places) -> Path:
    """Return the program uv in `places.tools`, unpacked and verified by the wheel's own list of hashes.

    Raises EspalierError `environment_tool`, `disk_full`, `output_unwritable`.
    """
    wheel = _find(places)
    try:
        with zipfile.ZipFile(wheel) as archive:
            name, stated = _entry(archive)
            target = places.tools / wheel.name.split("-")[1] / Path(name).name
            if _hash(target) == stated:
                return target
            data = archive.read(name)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _unusable(f"{wheel.name} is damaged", error) from error
    if record_hash(hashlib.sha256(data).hexdigest()) != stated:
        raise _unusable(f"its file in {wheel.name} is not the one that its list names")
    make_folder(target.parent)
    with replacing(target) as partial:
        partial.write_bytes(data)
        partial.chmod(0o755)
    return target


def run_tool(
    command: Sequence[str | Path], work: Path, check: Callable[[], None], limit_s: float = 3600.0
) -> tuple[int, str]:
    """Run `command` and return its exit code and what it said; `check` may raise, which ends it.

    It knows nothing of the person's settings: its home and its temporary files lie in `work`.
    Raises OSError where it cannot be started.
    """
    said = work / "said.txt"
    with said.open("w+b") as stream:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=clean_environment(work),
            cwd=work,
            creationflags=_NO_WINDOW,
        )
        until = time.monotonic() + limit_s
        try:
            while process.poll() is None:
                check()
                if time.monotonic() > until:
                    process.kill()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - _WORDS))
        return process.returncode, stream.read().decode("utf-8", "replace")


def clean_environment(work: Path) -> dict[str, str]:
    """Return an environment without any setting of the person's, whose home and temporary folder lie in `work`."""
    kept: Mapping[str, str] = {name: os.environ[name] for name in _KEPT if name in os.environ}
    home, temporary = work / "home", work / "tmp"
    for folder in (home, temporary):
        make_folder(folder)
    places = {**dict.fromkeys(_HOMES, str(home)), **dict.fromkeys(_TEMPORARY, str(temporary))}
    return {**kept, **places, **QUIET}


def _find(places: Places) -> Path:
    platform = this_platform()
    found = []
    for folder in places.bundled:
        for path in folder.glob("uv-*.whl"):
            name = parse_wheel(path.name)
            if name is not None and name.name == "uv" and name.runs_on(platform):
                found.append((version_key(name.version), path))
    if not found:
        raise _unusable("it did not come with this Espalier for this platform")
    return max(found)[1]


def _entry(archive: zipfile.ZipFile) -> tuple[str, str]:
    """Return the name of the program in the wheel, and the hash that the wheel's list states of it."""
    listing = next(name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
    for row in csv.reader(archive.read(listing).decode("utf-8").splitlines()):
        if row and row[0].rpartition("/")[2] in _BINARIES and ".data/scripts/" in row[0]:
            return row[0], row[1]
    raise KeyError("no program in it")


def _hash(path: Path) -> str:
    try:
        return record_hash(digest_of(path))
    except OSError:
        return ""


def _unusable(reason: str, error: Exception | None = None) -> EspalierError:
    return EspalierError("environment_tool", repr(error) if error else "", reason=reason)
