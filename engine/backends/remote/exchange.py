# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP exchange: bounded in time and size, given up at once when nobody wants it, the key only where it belongs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from ... import __version__
from ...addresses import is_loopback, is_private, may_carry_key, origin
from ...network import BLOCK, NETWORK, TooLarge, TooSlow
from .account import Account, Secret
from .faults import redirected

BROKEN: tuple[type[Exception], ...] = (*NETWORK, TooLarge)
"""What an exchange raises that brings no answer."""
REDIRECTS = 5
_MOVED = (301, 302, 303, 307, 308)
_LOOK_S = 0.05
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Limits:
    """What an exchange may take, in seconds of the world and in bytes.

    `create_s` lies above the 15 minutes after which the platform itself gives up a request. An asset that comes with
    fewer than `slowest` bytes in `stall_s` seconds is asked for anew.
    """

    connect_s: float = 10.0
    read_s: float = 40.0
    answer_s: float = 120.0
    create_s: float = 930.0
    cancel_s: float = 3.0
    stall_s: float = 40.0
    slowest: int = 16_384
    answer_bytes: int = 256 * 2**20
    asset_bytes: int = 512 * 2**20
    patience_s: float = 1200.0
    """Seconds of the injected clock for which a server that fails is asked again and again."""
    download_s: float = 180.0
    """Seconds of the injected clock for which an asset is asked for again and again, while nothing more of it comes."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Bearer(AuthBase):
    """Puts the key into the header. Being an `auth`, it also keeps requests from adding one of a .netrc."""

    def __init__(self, key: Secret | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.pop("Authorization", None)
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return request


class Line:
    """Connections to the server of `account` and to where its assets lie, for one thread at a time."""

    def __init__(self, account: Account, limits: Limits) -> None:
        self.account, self.limits = account, limits
        self._session: requests.Session | None = None

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def drop(self) -> None:
        """Leave the connections to the exchange that is still under way on them, and use others from now on."""
        self._session = None

    def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        api: bool = True,
        fresh: bool = False,
        read_s: float | None = None,
    ) -> requests.Response:
        """Return an answer of which only the headers were read; redirects are followed as far as they may be.

        `api` is whether the API itself is asked: then the key goes along and no other host is accepted. Else an asset
        is fetched, with the key only from the server's own origin. `fresh` takes a connection that is new, for one
        that was kept may be dead, and nobody could tell whether it carried the request.

        Raises EspalierError `remote_redirected`, or one of NETWORK.
        """
        session = _new_session() if fresh else self._session
        if session is None:
            session = self._session = _new_session()
        for _ in range(REDIRECTS + 1):
            keyed = may_carry_key(self.account.base, url)
            response = session.request(
                method,
                url,
                data=body,
                headers=dict(headers or {}),
                auth=_Bearer(self.account.key if keyed else None),
                timeout=(self.limits.connect_s, self.limits.read_s if read_s is None else read_s),
                allow_redirects=False,
                stream=True,
                verify=self.account.ca_bundle or True,
                proxies={"http": "", "https": ""} if is_loopback(url) else None,
            )
            target = response.headers.get("Location", "")
            if response.status_code not in _MOVED or not target:
                return response
            response.close()
            target = urljoin(url, target)
            repeats = method == "GET" or response.status_code in (307, 308)
            if not repeats or not self._may_follow(url, target, api):
                raise redirected(target, self.account)
            if body is not None:
                body = body.again()
            url = target
        raise requests.TooManyRedirects(f"more than {REDIRECTS} redirects")

    def _may_follow(self, url: str, target: str, api: bool) -> bool:
        if api:
            return may_carry_key(self.account.base, target)
        return safe_asset(self.account.base, target) and not (origin(url)[0] == "https" != origin(target)[0])

    def exchange(self, method: str, url: str, **options: Any) -> Reply:
        """Return the whole answer. Raises as `open`, or TooLarge."""
        with self.open(method, url, **options) as response:
            most = self.limits.answer_bytes
            if int(response.headers.get("Content-Length") or 0) > most:
                raise TooLarge(f"more than {most} bytes")
            parts, size = [], 0
            for part in response.iter_content(BLOCK):
                parts.append(part)
                size += len(part)
                if size > most:
                    raise TooLarge(f"more than {most} bytes")
            expected = response.headers.get("Content-Length", "")
            if not response.headers.get("Content-Encoding") and expected.isdigit() and size < int(expected):
                raise requests.exceptions.ConnectionError("connection broken: IncompleteRead")
            return Reply(response.status_code, response.headers, b"".join(parts))


def _new_session() -> requests.Session:
    session = requests.Session()
    session.headers.update(
        {"User-Agent": f"Espalier/{__version__}", "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
    )
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=4, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def safe_asset(base: str, url: str) -> bool:
    """Tell whether an asset of the server at `base` may be fetched from `url`.

    Never unencrypted where the server itself is encrypted, and never from the person's own network on the word of a
    server that does not belong to it.
    """
    scheme, host, _ = origin(url)
    if scheme not in ("http", "https") or not host:
        return False
    if origin(url) == origin(base):
        return True
    if scheme == "http" and origin(base)[0] == "https":
        return False
    return is_private(base) or not is_private(url)


def attend(work: Callable[[threading.Event], _T], check: Callable[[], None], limit_s: float) -> _T:
    """Return what `work` returns, while looking after it: `check` may raise, and then `work` goes on unheeded.

    `work` runs in a thread of its own, for neither a name that is looked up nor an answer that comes byte by byte can
    be given up otherwise; the event that it receives is set once nobody waits for it any more.

    Raises what `work` and `check` raise, and TooSlow after `limit_s` seconds.
    """
    stop, done = threading.Event(), threading.Event()
    result: list[_T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work(stop))
        except BaseException as error:
            failure.append(error)
        finally:
            done.set()

    check()
    thread = threading.Thread(target=run, name="exchange", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # the system has no more threads: nothing was sent
        raise requests.exceptions.ConnectionError(str(error)) from error
    until = time.monotonic() + limit_s
    try:
        while not done.wait(_LOOK_S):
            check()
            if time.monotonic() > until:
                raise TooSlow("timed out")
    except BaseException:
        stop.set()
        raise
    if failure:
        raise failure[0]
    return result[0]
