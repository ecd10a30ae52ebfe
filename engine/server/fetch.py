# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetching an image from an address that somebody else chose, without becoming their way into a private network.

A host's name is looked up once, every address that it has must be public, and the connection goes to one of those very
addresses: what the name says a moment later (DNS rebinding) is never asked. Each redirect begins anew.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore

from ..errors import EspalierError

REDIRECTS = 5
_MOVED = (301, 302, 303, 307, 308)
_LONGEST = 4096
_UNICAST = ipaddress.ip_network("2000::/3")
_TRANSLATED = tuple(map(ipaddress.ip_network, ("2002::/16", "2001::/32")))
"""6to4 and Teredo: an IPv4 address is inside, and a gateway may go there."""
_ASSIGNED = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24")))
"""Of the IETF's protocols, which some versions of Python count as global."""


class Refused(Exception):
    """An address is not one that may be asked."""


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the public internet, and nothing but that."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # with a scope, fe80::1%eth0
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip not in _UNICAST or any(ip in network for network in _TRANSLATED):
            return False
    elif any(ip in network for network in _ASSIGNED):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only, or with `private` to any."""

    def __init__(self, private: bool = False) -> None:
        self._private = private
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return a connection to one of the addresses that `host` has now. Raises Refused or httpcore's errors."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        if not addresses or not (self._private or all(map(is_public, addresses))):
            raise Refused(host)
        failure: httpcore.NetworkError | httpcore.TimeoutException = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.NetworkError, httpcore.TimeoutException) as error:
                failure = error
        raise failure

    async def connect_unix_socket(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        """Refuse."""
        raise Refused("a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._inner.sleep(seconds)


async def fetch(url: str, most_bytes: int, timeout_s: float, private: bool = False) -> bytes:
    """Return what lies at `url`, at most `most_bytes`, within `timeout_s` for all redirects together.

    Raises EspalierError `server_fetch_refused`, `server_fetch_failed` or `server_image_large`.
    """
    host = "that address"
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpcore.AsyncConnectionPool(network_backend=PublicNetwork(private), retries=0) as pool,
        ):
            for _ in range(REDIRECTS + 1):
                parts = _checked(url)
                host = (parts.hostname or "")[:100]
                async with pool.stream("GET", url, headers=_HEADERS | {"Host": _host_header(parts)}) as response:
                    target = _header(response, b"location")
                    if response.status in _MOVED and target:
                        url = urljoin(url, target)
                        continue
                    if response.status != 200:
                        raise EspalierError(
                            "server_fetch_failed", host=host, reason=f"it answers with {response.status}"
                        )
                    return await _body(response, most_bytes)
            raise EspalierError("server_fetch_failed", host=host, reason="it redirects too often")
    except Refused:
        raise EspalierError("server_fetch_refused", host=host) from None
    except (TimeoutError, httpcore.TimeoutException) as error:
        raise EspalierError("server_fetch_failed", repr(error), host=host, reason="it takes too long") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise EspalierError("server_fetch_failed", repr(error), host=host, reason="the connection failed") from error
    except (OSError, ValueError, TypeError) as error:
        raise EspalierError("server_fetch_failed", repr(error), host=host, reason="it is no usable address") from error


_HEADERS: dict[bytes | str, bytes | str] = {
    "User-Agent": "Espalier",
    "Accept": "image/*",
    "Accept-Encoding": "identity",
}


def _checked(url: str) -> Any:
    """Return the parts of an address that may be asked. Raises Refused or ValueError."""
    if len(url) > _LONGEST or any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        raise ValueError("not an address")
    parts = urlsplit(url)
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.port == 0:
        raise Refused(url)
    url.encode("ascii")
    return parts


def _host_header(parts: Any) -> str:
    return str(parts.netloc)


def _header(response: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), "")


async def _body(response: httpcore.Response, most_bytes: int) -> bytes:
    data = bytearray()
    async for block in response.aiter_stream():
        data += block
        if len(data) > most_bytes:
            raise EspalierError("server_image_large", limit=most_bytes >> 20)
    return bytes(data)
