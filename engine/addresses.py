# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses: which lie on this machine or its network, and where a key may go."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urljoin, urlsplit

_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".lan")
_SINGLE_LABEL = re.compile(r"[a-z][a-z0-9-]*")
_SHARED = ipaddress.ip_network("100.64.0.0/10")
_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]


def origin(url: str) -> Origin:
    """Return scheme, host and port of `url`; an address without a host, or that cannot be read, has none."""
    try:
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        return scheme, (parts.hostname or "").lower().rstrip("."), parts.port or _PORTS.get(scheme, 0)
    except ValueError:
        return "", "", 0


def host_of(url: str) -> str:
    """Return the host of `url` as it is shown to a person, with its port where that is not the usual one."""
    scheme, host, port = origin(url)
    return host if port == _PORTS.get(scheme) else f"{host}:{port}"


def is_private(url: str) -> bool:
    """Tell, without asking anyone, whether `url` names this machine or one of a private network.

    Names count where the public DNS cannot hold them: `localhost`, single labels, and the suffixes that are set aside
    for private use (RFC 6761, 6762, 8375; `.internal` by ICANN).
    """
    host = origin(url)[1]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return bool(_SINGLE_LABEL.fullmatch(host)) or host.endswith(_PRIVATE_SUFFIXES)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_link_local:
        return True
    if isinstance(address, ipaddress.IPv4Address) and address in _SHARED:
        return True
    return address.is_private and not address.is_unspecified


def is_loopback(url: str) -> bool:
    """Tell whether `url` names this very machine, which no proxy can stand for."""
    host = origin(url)[1]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def may_carry_key(base: str, target: str) -> bool:
    """Tell whether the key for `base` may go to `target`: the same origin, or the same host grown to https."""
    (scheme, host, port), there = origin(base), origin(target)
    if not host or (scheme, host, port) == there:
        return bool(host)
    return (scheme, port) == ("http", 80) and there == ("https", host, 443)


def poll_path(base: str, told: str) -> str:
    """Return the path and query at which the server at `base` says that a job is polled, or "" for another host's."""
    if not told or any(ord(letter) <= 32 for letter in told):
        return ""
    path = urlsplit(base).path
    if told.startswith("/") and not told.startswith("//") and path and not told.startswith(f"{path}/"):
        told = path + told
    target = urljoin(f"{base}/", told)
    parts = urlsplit(target)
    if origin(target) != origin(base) or "@" in parts.netloc or not parts.path.strip("/"):
        return ""
    return parts.path + (f"?{parts.query}" if parts.query else "")


def at_origin(base: str, path: str) -> str:
    """Return the address of an absolute `path` on the server of `base`."""
    parts = urlsplit(base)
    return f"{parts.scheme}://{parts.netloc}{path}"
