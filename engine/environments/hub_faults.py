# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Hugging Face client and its connections raise, as failures that a person can meet."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from ..addresses import host_of
from ..errors import EspalierError
from ..network import reason_in, why_untrusted

TOKENS = "https://huggingface.co/settings/tokens"
LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of a host that is busy or broken for now."""
_BROKEN = {"TimeoutException", "NetworkError", "RemoteProtocolError"}
_NETWORK = (ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError)


class Portal(Exception):
    """The answer is a page for people."""


def transient(error: BaseException) -> bool:
    """Tell whether another try may help: the connection failed, and not because of who is at its other end."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if tls(error) is not None or names & {"ProxyError", "OfflineModeIsEnabled"}:
        return False
    status = status_of(error)
    if status is not None:
        return status in LATER
    return bool(names & _BROKEN) or isinstance(error, (EOFError, *_NETWORK))


def on_disk(error: BaseException) -> bool:
    """Tell whether the system refused to write or read a file."""
    return isinstance(error, OSError) and error.errno is not None and not isinstance(error, _NETWORK)


def status_of(error: BaseException) -> int | None:
    """Return the status of the answer that `error` is about, or None for one without an answer."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def tls(error: BaseException) -> str | None:
    """Return why a certificate was refused, or None where none was."""
    for link in chain(error):
        if isinstance(link, Exception) and (isinstance(link, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in str(link)):
            return why_untrusted(link)
    return None


def why(error: BaseException) -> str:
    """Return in words why a connection failed."""
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return reason_in("timed out", "")
    return reason_in(" ".join(repr(link) for link in chain(error)), "the connection failed")


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield `error` and what it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def as_failure(error: Exception, url: str, file: str, repo: str = "") -> EspalierError:
    """Return what to say about `error`, met while `file` (of the hub's `repo`) was fetched from `url`."""
    if isinstance(error, EspalierError):
        return error
    host, detail = host_of(url), repr(error)
    names = {kind.__name__ for kind in type(error).__mro__}
    status = status_of(error)
    if "OfflineModeIsEnabled" in names:
        return EspalierError("weights_offline", detail, host=host, file=file)
    if "GatedRepoError" in names:
        return EspalierError("weights_gated", detail, host=host, repo=repo, page=f"https://huggingface.co/{repo}")
    if {"RepositoryNotFoundError", "RevisionNotFoundError", "EntryNotFoundError"} & names or status in (404, 410):
        return EspalierError("weights_gone", detail, host=host, file=file)
    if status == 401:
        return EspalierError("weights_token", detail, host=host, page=TOKENS)
    if status is not None:
        return EspalierError("weights_refused", detail, host=host, file=file, status=status)
    if isinstance(error, Portal) or "FileMetadataError" in names:
        return EspalierError("weights_portal", detail, host=host)
    if "ProxyError" in names:
        return EspalierError("weights_proxy", detail, host=host, reason=_proxy(error))
    reason = tls(error)
    if reason is not None:
        return EspalierError("weights_tls", detail, host=host, reason=reason)
    if not transient(error):
        return EspalierError("internal", detail, reason=type(error).__name__, log="")
    return EspalierError("weights_unreachable", detail, host=host, reason=why(error))


def _proxy(error: BaseException) -> str:
    if "407" in str(error):
        return "it asks for a user name and a password"
    return why(error)
