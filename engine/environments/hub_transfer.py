# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes of one file: to a name of their own, resumed where they broke off, hashed, then renamed.

The Hugging Face client keeps nothing of a download that was interrupted, and a file may be 2.6 GB; so the client finds
the file and its session fetches it, but what has come is kept here.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..addresses import host_of
from ..errors import EspalierError
from ..files import digest_of, make_folder, sync_file, sync_folder, unwritable
from .hub_faults import LATER, Portal, as_failure, on_disk, transient

_TRIES = 5
_PAUSE_S = 0.25
_PATIENCE_S = 30.0
_RANGE = re.compile(r"bytes\s+(\d+)-\d+/(\d+|\*)", re.IGNORECASE)

Locate = Callable[[], tuple[str, Mapping[str, str]]]
"""Returns the address to fetch from and the headers to send; asked anew for each try, as addresses expire."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a file has to be: its size in bytes, and its SHA-256 or, for one that is plain in git, its git hash."""

    size: int
    sha256: str = ""
    git: str = ""


class _Later(Exception):
    """The host is busy, or the address has expired; `seconds` is how long it wants to be left alone."""

    def __init__(self, status: int, seconds: float | None = None) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.seconds = seconds


class _Wrong(Exception):
    """What came cannot be the file; the argument says why."""


def part_of(target: Path, expected: Expected) -> Path:
    """Return the name under which the bytes for `target` lie until they are all there; it tells their version."""
    return target.with_name(f".{target.name}.{(expected.sha256 or expected.git)[:12]}.part")


def git_hash(path: Path) -> str:
    """Return the hash by which git knows the file `path`. Raises OSError."""
    return digest_of(path, algorithm="sha1", before=b"blob %d\0" % path.stat().st_size)


def fetch(
    session: Any, locate: Locate, target: Path, expected: Expected, file: str, progress: Callable[[int], None]
) -> str:
    """Download to `target` and return the file's SHA-256; `progress` is told the bytes that are there.

    `session` is a client of httpx's kind, `file` the name in messages. Raises EspalierError `weights_wrong`,
    `weights_unreachable` and the like, `disk_full` or `output_unwritable`.
    """
    make_folder(target.parent)
    part = part_of(target, expected)
    for other in target.parent.glob(f".{target.name}.*.part"):
        if other != part:
            other.unlink(missing_ok=True)
    try:
        sha256 = _complete(session, locate, part, expected, file, progress)
        sync_file(part)
        os.replace(part, target)
    except OSError as error:
        raise unwritable(target, error) from error
    sync_folder(target.parent)
    return sha256


def _complete(
    session: Any, locate: Locate, part: Path, expected: Expected, file: str, progress: Callable[[int], None]
) -> str:
    """Bring `part` to what is expected, in as many tries as it takes, and return its SHA-256."""
    tries = wrong = best = 0
    url = ""
    while True:
        try:
            if _size(part) != expected.size or not part.exists():
                url, headers = locate()
                with part.open("ab", buffering=0) as stream:
                    _receive(session, url, headers, stream, expected.size, progress)
            return _checked(part, expected)
        except _Wrong as error:
            part.unlink()
            wrong += 1
            if wrong > 1:
                raise EspalierError("weights_wrong", host=host_of(url), file=file, reason=error) from error
        except Exception as error:
            later = isinstance(error, _Later)
            if on_disk(error):
                raise
            size = _size(part)
            tries = 1 if size > best else tries + 1
            best = max(best, size)
            if tries > _TRIES or not (later or transient(error)):
                if isinstance(error, _Later):
                    host = host_of(url)
                    raise EspalierError("weights_refused", host=host, file=file, status=error.status) from error
                raise as_failure(error, url, file) from error
            pause = error.seconds if isinstance(error, _Later) else None
            time.sleep(_PAUSE_S * 2 ** (tries - 1) if pause is None else min(pause, 60.0))


def _checked(part: Path, expected: Expected) -> str:
    """Return the SHA-256 of the whole file `part`. Raises _Wrong."""
    size = _size(part)
    if size != expected.size:
        raise _Wrong(f"it has {size} bytes instead of {expected.size}")
    sha256 = digest_of(part)
    if (sha256 != expected.sha256) if expected.sha256 else (git_hash(part) != expected.git):
        raise _Wrong("its hash differs")
    return sha256


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _receive(
    session: Any, url: str, headers: Mapping[str, str], stream: BinaryIO, size: int, progress: Callable[[int], None]
) -> None:
    """Append to `stream` what is missing of `size` bytes, as far as the connection holds."""
    offset = stream.seek(0, os.SEEK_END)
    if offset > size:
        raise _Wrong("it is too long")
    asked = {**headers, "Accept-Encoding": "identity"}
    if offset:
        asked["Range"] = f"bytes={offset}-"
    with session.stream("GET", url, headers=asked, timeout=_PATIENCE_S, follow_redirects=True) as response:
        offset = _begin(response, stream, offset)
        progress(offset)
        encoded = response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity")
        for block in response.iter_bytes() if encoded else response.iter_raw():
            if offset + len(block) > size:  # more than it can be: the check will refuse it
                stream.write(block[: size + 1 - offset])
                return
            _write(stream, block)
            offset += len(block)
            progress(offset)
    if offset < size:
        raise EOFError("the answer ended early")


def _write(stream: BinaryIO, block: bytes) -> None:
    """Write all of `block`: without a buffer, one call need not."""
    view = memoryview(block)
    while view:
        view = view[stream.write(view) or 0 :]


def _begin(response: Any, stream: BinaryIO, offset: int) -> int:
    """Return where the answer's first byte belongs; what is behind it in `stream` is cut off."""
    status = response.status_code
    if status in LATER:
        seconds = response.headers.get("Retry-After", "")
        raise _Later(status, float(seconds) if seconds.isdigit() else None)
    if status == 416 and offset:
        raise _Wrong("it is cut off")
    if status in (401, 403):  # an address that was signed for a while
        raise _Later(status)
    if status not in (200, 206):
        response.raise_for_status()
        raise _Later(status)
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise Portal("a web page came instead of the file")
    match = _RANGE.match(response.headers.get("Content-Range", ""))
    if status == 206 and match and int(match[1]) == offset:
        return offset
    stream.truncate(0)
    if status == 206:
        raise _Later(status)
    return 0
