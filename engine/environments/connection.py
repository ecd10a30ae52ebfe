# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to indexes and to the hosts of packages, and what a person is told when they fail."""

from __future__ import annotations

import datetime
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import requests

from .. import __version__
from ..addresses import host_of, is_loopback, origin
from ..errors import EspalierError
from ..network import NETWORK, reason_in, why, why_untrusted
from .sources import Sources

CONNECT_S, READ_S = 15.0, 40.0
PAUSES_S = (0.3, 1.0, 3.0)
"""Seconds between tries of what fails on the way."""
_PAGE_LIMIT = 64 * 2**20
_BUSY = (408, 425, 429)
_LOOK_S = 0.05
_DATES = ("not valid yet", "expired")
_T = TypeVar("_T")


class Broken(Exception):
    """What a connection brought is not all that was asked for, and worth another try; `told` is what it comes to."""

    def __init__(self, told: EspalierError) -> None:
        super().__init__(str(told))
        self.told = told


class Connection:
    """Asks indexes and hosts as `sources` say. `check` is called often and may raise."""

    def __init__(self, sources: Sources, check: Callable[[], None]) -> None:
        self.sources, self.check = sources, check
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": f"Espalier/{__version__}", "Accept-Encoding": "identity"})
        if sources.ca_bundle:
            _try_bundle(sources.ca_bundle)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def open(self, url: str, name: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        """Return the answer to GET `url`, where `name` is what a person calls it, with only its headers read.

        Raises Broken where another try may help, EspalierError where not.
        """
        proxy = self.sources.proxy
        proxies = {"http": proxy, "https": proxy} if proxy else {"http": "", "https": ""} if is_loopback(url) else None
        try:
            response = self._session.get(
                url,
                headers=dict(headers or {}),
                timeout=(CONNECT_S, READ_S),
                stream=True,
                verify=self.sources.ca_bundle or True,
                proxies=proxies,
            )
        except NETWORK as error:
            raise self.fault(error, url) from error
        host = host_of(response.url)
        if response.status_code in _BUSY or response.status_code >= 500:
            told = EspalierError("environment_refused", host=host, name=name, status=response.status_code)
            response.close()
            raise Broken(told)
        if response.status_code == 404:
            response.close()
            raise EspalierError("environment_not_offered", host=host, name=name)
        if response.status_code not in (200, 206, 416):
            response.close()
            raise EspalierError("environment_refused", host=host, name=name, status=response.status_code)
        return response

    def page(self, url: str, name: str, accept: str) -> tuple[str, str, str]:
        """Return the text at `url`, its media type, and the address where it was found in the end.

        Raises EspalierError.
        """

        def read() -> tuple[str, str, str]:
            with self.open(url, name, {"Accept": accept, "Accept-Encoding": "gzip, deflate"}) as response:
                kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                body = bytearray()
                try:
                    for block in response.iter_content(65_536):
                        self.check()
                        body += block
                        if len(body) > _PAGE_LIMIT:
                            raise EspalierError("environment_portal", host=host_of(url), name=name)
                except NETWORK as error:
                    raise self.fault(error, url) from error
                return body.decode("utf-8", "replace"), kind, response.url

        return self.trying(read)

    def trying(self, act: Callable[[], _T]) -> _T:
        """Return what `act` returns, tried again where it raises Broken. Raises EspalierError."""
        for pause in PAUSES_S:
            try:
                return act()
            except Broken:
                self.wait(pause)
        try:
            return act()
        except Broken as error:
            raise error.told from error

    def wait(self, seconds: float) -> None:
        """Wait, while looking whether anybody still wants it."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, _LOOK_S))

    def fault(self, error: Exception, url: str) -> Exception:
        """Return what to raise for an exchange with `url` that ended with `error`: Broken where a try may help."""
        host, text = host_of(url), repr(error)
        detail = self.sources.scrub(text)
        if isinstance(error, requests.exceptions.ProxyError):
            return EspalierError("environment_proxy", detail, host=host, reason=reason_in(text, "it refuses"))
        if isinstance(error, requests.exceptions.SSLError):
            reason = why_untrusted(error)
            if reason.endswith(_DATES):
                date = datetime.date.today().isoformat()
                return EspalierError("environment_clock", detail, host=host, date=date, reason=reason)
            return EspalierError("environment_tls", detail, host=host, reason=reason)
        if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
            return EspalierError("environment_offline", detail, host=host, reason="its address cannot be read")
        return Broken(EspalierError("environment_offline", detail, host=host, reason=why(error)))


def is_safe(url: str) -> bool:
    """Tell whether nobody on the way can change what comes from `url`."""
    return origin(url)[0] == "https" or is_loopback(url)


def _try_bundle(path: str) -> None:
    """Raise EspalierError `environment_ca` where the certificates in `path` cannot be used."""
    try:
        if Path(path).is_dir():
            ssl.create_default_context(capath=path)
        else:
            ssl.create_default_context(cafile=path)
    except FileNotFoundError as error:
        raise EspalierError("environment_ca", repr(error), path=path, reason="it does not exist") from error
    except (OSError, ValueError) as error:
        raise EspalierError("environment_ca", repr(error), path=path, reason="it holds no certificates") from error
