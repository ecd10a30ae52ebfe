# SPDX-License-Identifier: GPL-3.0-or-later
"""One file, fetched to a temporary name, resumed where it broke off, also by a later run, and checked by its hash."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import requests

from ..addresses import host_of
from ..errors import EspalierError
from ..files import digest_of, make_folder, sync_file, sync_folder, unwritable
from ..network import NETWORK, blocks
from .connection import PAUSES_S, Broken, Connection, is_safe

PART = ".part"
_RANGE = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+|\*)", re.IGNORECASE)
_ENOUGH = 65_536


@dataclass(frozen=True)
class Expected:
    """What a file must be: its `size` in bytes, hash in hexadecimal digits, and first bytes; unset, it may be any."""

    size: int | None = None
    digest: str | None = None
    algorithm: Literal["sha256", "md5"] = "sha256"
    magic: bytes = b""


def download(
    url: str,
    path: Path,
    name: str,
    expected: Expected,
    connection: Connection,
    report: Callable[[int], None],
    anew: bool = True,
) -> None:
    """Fetch `url` to `path`, which appears only once it is whole and right; `name` is what a person calls it.

    What is fetched stays beside `path` for the next time when `report`, which is told the bytes that are here and may
    raise, or the connection ends it. With `anew`, a file that was put together of several parts and is wrong is fetched
    once more from its beginning, as it may have changed between two parts.

    Raises EspalierError `environment_wrong_file`, `environment_portal`, `environment_offline` and the like,
    `disk_full`, `output_unwritable`.
    """
    make_folder(path.parent)
    part = path.with_name(f"{path.name}{PART}")
    tries = 0
    while True:
        before = _size(part)
        try:
            if expected.size is None or before < expected.size:
                _attempt(url, part, name, expected, connection, report)
            break
        except Broken as error:
            gained = _size(part) - before
            tries = 0 if gained >= min(_ENOUGH, (expected.size or _ENOUGH) // 50 + 1) else tries + 1
            if tries > len(PAUSES_S):
                raise error.told from error
            connection.wait(PAUSES_S[max(tries - 1, 0)])
    try:
        _check(part, name, expected, host_of(url), connection.check)
    except EspalierError:
        part.unlink(missing_ok=True)
        if not (before and anew):
            raise
        download(url, path, name, expected, connection, report, anew=False)
        return
    try:
        sync_file(part)
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _attempt(
    url: str, part: Path, name: str, expected: Expected, connection: Connection, report: Callable[[int], None]
) -> None:
    """Fetch what is missing of `part`, as far as the connection holds."""
    offset = _size(part)
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    with connection.open(url, name, headers) as response:
        host = host_of(response.url)
        if expected.digest is None and is_safe(url) and not is_safe(response.url):
            raise EspalierError("environment_insecure", name=name, host=host)
        if offset and not _continues(response, offset):
            offset = 0
        if response.status_code == 416:
            part.unlink(missing_ok=True)
            raise Broken(EspalierError("environment_wrong_file", host=host, name=name, reason="it is shorter"))
        total = _announced(response, offset)
        if expected.size is not None and total not in (None, expected.size):
            raise _wrong_size(response, name, host, total, expected)
        try:
            _write(response, part, offset, name, expected, report)
        except NETWORK as error:
            raise connection.fault(error, url) from error
        if _size(part) < (expected.size if expected.size is not None else total or 0):
            raise Broken(EspalierError("environment_offline", host=host, reason="the connection was closed"))


def _continues(response: requests.Response, offset: int) -> bool:
    match = _RANGE.match(response.headers.get("Content-Range", ""))
    return response.status_code == 206 and match is not None and int(match[1]) == offset


def _announced(response: requests.Response, offset: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    if response.headers.get("Content-Encoding", "identity") != "identity" or not length.isdigit():
        return None
    return offset + int(length)


def _wrong_size(
    response: requests.Response, name: str, host: str, total: int | None, expected: Expected
) -> EspalierError:
    if "html" in response.headers.get("Content-Type", "").lower():
        return EspalierError("environment_portal", host=host, name=name)
    reason = f"it has {total} bytes in place of {expected.size}"
    return EspalierError("environment_wrong_file", host=host, name=name, reason=reason)


def _write(
    response: requests.Response, part: Path, offset: int, name: str, expected: Expected, report: Callable[[int], None]
) -> None:
    """Write what comes from `offset` on. Raises one of NETWORK, or EspalierError."""
    try:
        file = part.open("r+b" if offset else "wb", buffering=0)
    except OSError as error:
        raise unwritable(part, error) from error
    size = offset
    with file:
        file.seek(offset)
        for block in blocks(response):
            if not size and expected.magic:
                _look(block, name, expected.magic, host_of(response.url))
            size += len(block)
            if expected.size is not None and size > expected.size:
                reason = f"it has more than {expected.size} bytes"
                raise EspalierError("environment_wrong_file", host=host_of(response.url), name=name, reason=reason)
            view = memoryview(block)
            try:
                while view:
                    view = view[file.write(view) :]
            except OSError as error:
                raise unwritable(part, error) from error
            report(size)


def _look(block: bytes, name: str, magic: bytes, host: str) -> None:
    """Refuse a file that does not begin as it should. Raises EspalierError."""
    if block.lstrip()[:1] == b"<":
        raise EspalierError("environment_portal", host=host, name=name)
    if block[: len(magic)] != magic[: len(block)]:
        raise EspalierError("environment_wrong_file", host=host, name=name, reason="it does not begin as such files do")


def _check(part: Path, name: str, expected: Expected, host: str, check: Callable[[], None]) -> None:
    size = _size(part)
    if expected.size is not None and size != expected.size:
        reason = f"it has {size} bytes in place of {expected.size}"
        raise EspalierError("environment_wrong_file", host=host, name=name, reason=reason)
    if expected.digest is not None:
        try:
            found = digest_of(part, lambda _: check(), expected.algorithm)
        except OSError as error:
            raise unwritable(part, error) from error
        if found != expected.digest:
            detail = f"{expected.algorithm} {found} in place of {expected.digest}"
            raise EspalierError("environment_wrong_file", detail, host=host, name=name, reason="its hash is another")
