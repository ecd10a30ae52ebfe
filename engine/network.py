# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong on the way to a server, and how a person is told why."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import requests

BLOCK = 65_536
SMALL_BLOCK = 8192

NETWORK: tuple[type[Exception], ...] = (
    requests.RequestException,
    getattr(requests.exceptions, "BaseHTTPError", OSError),  # urllib3's own, which requests lets through here and there
    http.client.HTTPException,
    OSError,
    ValueError,
)
"""What a connection raises that fails on the way."""
_REASONS = (
    ("Name or service not known", "its name is not known"),
    ("nodename nor servname", "its name is not known"),
    ("getaddrinfo failed", "its name is not known"),
    ("No address associated", "its name is not known"),
    ("Temporary failure in name resolution", "its name could not be looked up"),
    ("Failed to resolve", "its name could not be looked up"),
    ("refused", "the connection was refused"),
    ("unreachable", "there is no way to its network"),
    ("reset by peer", "the connection was reset"),
    ("forcibly closed", "the connection was reset"),
    ("aborted", "the connection was closed"),
    ("without response", "the connection was closed"),
    ("IncompleteRead", "the connection was closed"),
    ("broken", "the connection was closed"),
    ("EOF occurred", "the connection was closed"),
    ("timed out", "it did not answer in time"),
)
_TLS_REASONS = (
    ("self-signed", "its certificate is not signed by an authority that is known here"),
    ("self signed", "its certificate is not signed by an authority that is known here"),
    ("unable to get local issuer", "its certificate is not signed by an authority that is known here"),
    ("expired", "its certificate has expired"),
    ("not yet valid", "its certificate is not valid yet"),
    ("ostname mismatch", "its certificate belongs to another address"),
    ("doesn't match", "its certificate belongs to another address"),
    ("IP address mismatch", "its certificate belongs to another address"),
    ("WRONG_VERSION_NUMBER", "it does not speak https there"),
    ("record layer failure", "it does not speak https there"),
)


class TooLarge(Exception):
    """An answer is longer than any that could be right."""


class TooSlow(requests.exceptions.Timeout):
    """An answer did not come to its end within its time, or came so slowly that it never would."""


def why(error: Exception) -> str:
    """Return, in a person's words, why an exchange failed."""
    if isinstance(error, (requests.exceptions.Timeout, socket.timeout)):
        return "it did not answer in time"
    if isinstance(error, TooLarge):
        return "its answer is too long"
    return reason_in(repr(error), "the connection failed")


def why_untrusted(error: Exception) -> str:
    """Return, in a person's words, why a server's certificate was not accepted."""
    return _find(repr(error), _TLS_REASONS, "the encrypted connection failed")


def reason_in(text: str, fallback: str) -> str:
    """Return, in a person's words, what a library's `text` says of a connection that failed, else `fallback`."""
    return _find(text, _REASONS, fallback)


def _find(text: str, table: tuple[tuple[str, str], ...], fallback: str) -> str:
    return next((words for sign, words in table if sign.lower() in text.lower()), fallback)


def blocks(response: requests.Response) -> Iterator[bytes]:
    """Yield what comes as it comes, so that nothing is lost of what came before a connection broke."""
    read = getattr(response.raw, "read1", None)
    if read is None or response.headers.get("Content-Encoding"):
        yield from response.iter_content(SMALL_BLOCK)
        return
    while block := read(BLOCK):
        yield block
