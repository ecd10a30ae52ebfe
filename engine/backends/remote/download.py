# SPDX-License-Identifier: GPL-3.0-or-later
"""The finished asset: to a temporary name, resumed where it broke off, checked, then renamed."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import requests

from ...addresses import host_of
from ...errors import EspalierError
from ...network import NETWORK, blocks, why
from .client import Client
from .exchange import attend, safe_asset
from .faults import unreachable
from .partial import Invalid, Oversize, Partial
from .schedule import backoff, retry_after, wait

_TRIES = 6
_FIRM_TRIES = 3
_ENOUGH = 65_536
_FOREVER_S = 7 * 86_400.0
BASE64_BLOCK = 4 * 2**18


class Gone(Exception):
    """The address is no good (any more): `status` is what its host answered."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Short(Exception):
    """The answer ended before the file did, or was not the part that was asked for."""


class _Refused(Exception):
    """The host is busy or broken: worth another try after `seconds`, or after a back-off."""

    def __init__(self, status: int, seconds: float | None) -> None:
        super().__init__(f"status {status}")
        self.seconds = seconds


_TRANSIENT: tuple[type[Exception], ...] = (*NETWORK, _Short, _Refused)


def fetch(url: str, path: Path, client: Client, progress: Callable[[float], None]) -> None:
    """Download the GLB at `url` to `path`, which appears whole or not at all; `progress` gets fractions and may raise.

    Raises Gone for an address that is not good any more, Cancelled, or EspalierError `remote_asset_refused`,
    `remote_asset_large`, `remote_asset_invalid`, `remote_download`, `remote_tls`, `disk_full` and the like.
    """
    account, clock = client.account, client.clock
    host = host_of(url)
    if not safe_asset(account.base, url):
        raise EspalierError("remote_asset_refused", target=account.scrub(url))
    tries, invalid, moved = 0, 0, clock.now()
    with Partial(path, client.limits.asset_bytes) as partial:
        while True:
            before, seconds = partial.size, None
            try:
                _attempt(url, partial, client, progress)
                client.check()
                partial.finish()
                return
            except Oversize as error:
                limit = client.limits.asset_bytes >> 20
                raise EspalierError("remote_asset_large", detail=repr(error), host=host, limit=limit) from error
            except Invalid as error:
                partial.restart()
                invalid += 1
                if invalid >= _FIRM_TRIES:
                    raise EspalierError("remote_asset_invalid", host=host, reason=error) from error
            except _TRANSIENT as error:
                client.line.drop()
                tries += 1
                if partial.size - before >= min(_ENOUGH, (partial.declared or _ENOUGH) // 50):
                    tries, moved = 0, clock.now()
                firm = isinstance(error, requests.exceptions.SSLError) and tries >= _FIRM_TRIES
                if firm or (tries >= _TRIES and clock.now() - moved > client.limits.download_s):
                    raise _lost(error, client, host) from error
                seconds = error.seconds if isinstance(error, _Refused) else None
            wait(clock, backoff(tries + invalid) if seconds is None else seconds, client.check)


def unpack(text: str, path: Path, client: Client) -> None:
    """Write the GLB that is in base64 `text` to `path`. Raises as `store`."""
    store((base64.b64decode(part, validate=True) for part in _parts(text)), path, client)


def store(blocks: Iterable[bytes], path: Path, client: Client) -> None:
    """Write the GLB that came inside an answer to `path`, which appears whole or not at all.

    Raises EspalierError `remote_asset_large`, `remote_asset_invalid`, `disk_full` and the like, or Cancelled.
    """
    host = client.account.host
    try:
        with Partial(path, client.limits.asset_bytes) as partial:
            turn = partial.turn()
            for block in blocks:
                client.check()
                partial.write(turn, block)
            partial.finish()
    except Oversize as error:
        limit = client.limits.asset_bytes >> 20
        raise EspalierError("remote_asset_large", detail=repr(error), host=host, limit=limit) from error
    except (Invalid, ValueError) as error:
        reason = str(error) if isinstance(error, Invalid) else "its base64 is damaged"
        raise EspalierError("remote_asset_invalid", detail=repr(error), host=host, reason=reason) from error


def _parts(text: str) -> Iterator[str]:
    """Yield base64 text in parts that can be decoded by themselves; line breaks, as some write them, are left out."""
    plain = "".join(text.split())
    for start in range(0, len(plain), BASE64_BLOCK):
        yield plain[start : start + BASE64_BLOCK]


def _lost(error: Exception, client: Client, host: str) -> EspalierError:
    told = unreachable(error, client.account, host)
    if told.code in ("remote_tls", "remote_proxy"):
        return told
    reason = why(error)
    if isinstance(error, _Short):
        reason = "the connection kept breaking off"
    elif isinstance(error, _Refused):
        reason = f"it answers with {error}"
    return EspalierError("remote_download", detail=told.detail, host=host, reason=reason)


def _attempt(url: str, partial: Partial, client: Client, progress: Callable[[float], None]) -> None:
    """Fetch what is missing, as far as the connection holds."""
    limits = client.limits
    mark = [time.monotonic(), float(partial.received)]

    def check() -> None:
        now = time.monotonic()
        if now - mark[0] >= limits.stall_s:
            if partial.received - mark[1] < limits.slowest:
                raise requests.exceptions.Timeout("timed out: it came too slowly")
            mark[:] = [now, float(partial.received)]
        progress(partial.fraction)

    # A thread that was given up must not write into the file that the next one writes.
    turn = partial.turn()
    attend(lambda stop: _receive(url, partial, turn, client, stop), check, _FOREVER_S)


def _receive(url: str, partial: Partial, turn: int, client: Client, stop: threading.Event) -> None:
    headers = {"Accept": "model/gltf-binary, */*;q=0.5", "Accept-Encoding": "identity"}
    offset = partial.size if partial.resumable else 0
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if partial.validator:
            headers["If-Range"] = partial.validator
    response = client.line.open("GET", url, headers=headers, api=False, read_s=client.limits.stall_s)
    with response:
        if stop.is_set():
            return
        begin = _begin(response, partial, offset)
        if begin is None:
            return
        partial.begin(turn, begin)
        try:
            for block in blocks(response):
                if stop.is_set() or not partial.write(turn, block):
                    return
        except NETWORK:
            if not partial.is_whole:
                raise
    if not partial.is_whole:
        # Where a part was asked for and all came anew, there is no more of it than that.
        if partial.has_all_that_was_announced and (begin < offset or not partial.resumable):
            raise Invalid("it is cut off")
        raise _Short("the answer ended early")


def _begin(response: requests.Response, partial: Partial, offset: int) -> int | None:
    """Return where the answer's first byte belongs, or None where the file is whole already."""
    status = response.status_code
    if status in (408, 425, 429) or status >= 500:
        raise _Refused(status, retry_after(response.headers.get("Retry-After")))
    if status == 416 and offset:
        if partial.is_whole:
            return None
        ends = response.headers.get("Content-Range", "").rpartition("/")[2] == str(partial.size)
        partial.restart(plain=True)
        raise Invalid("it is cut off") if ends else _Short("the part that is missing is not there")
    if status not in (200, 206):
        raise Gone(status)
    if not partial.note(response.status_code, response.headers, offset):
        partial.restart(plain=True)
        raise _Short("another part was sent than the one that was asked for")
    return offset if status == 206 else 0
