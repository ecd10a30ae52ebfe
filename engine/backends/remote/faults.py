# SPDX-License-Identifier: GPL-3.0-or-later
"""From what went wrong at the server, or on the way there, to the sentence that a person is told."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import requests

from ...errors import EspalierError
from ...network import reason_in, why, why_untrusted
from .account import Account
from .reading import STOPPED, JobState, Told

MODEL = "trellis-2-4b"
_CREDITS = ("insufficient_credit", "insufficient_fund", "insufficient_balance", "payment_required", "quota_exceeded")
_CODES = {
    "missing_api_key": "remote_key_missing",
    "invalid_api_key": "remote_key_invalid",
    "model_not_found": "remote_model_missing",
    "rate_limit_exceeded": "remote_rate",
    "model_unavailable": "remote_model_unavailable",
    "upstream_error": "remote_broken",
}
_STATUSES = {401: "remote_key_invalid", 402: "remote_credits", 403: "remote_forbidden", 429: "remote_rate"}


def refused(status: int, told: Told, account: Account) -> EspalierError:
    """Return the failure for an answer with an HTTP error: by its code, else by its status.

    `told` is in the server's words, of which only scrubbed ones are shown.
    """
    word = re.sub(r"[^a-z0-9]+", "_", told.code.lower()).strip("_")
    code = _CODES.get(word) or _STATUSES.get(status, "remote_broken" if status >= 500 else "remote_refused")
    if any(name in word for name in _CREDITS):
        code = "remote_credits"
    if code == "remote_key_invalid" and not account.key:
        code = "remote_key_missing"
    if status == 404 and code == "remote_refused" and "model" in told.message.lower():
        code = "remote_model_missing"
    return EspalierError(
        code,
        detail=account.scrub(f"HTTP {status} {told.code} {told.kind}"),
        host=account.host,
        source=account.key_source,
        status=status,
        model=MODEL,
        message=quoted(told, account),
    )


def quoted(told: Told, account: Account) -> str:
    """Return the server's own message as it ends a sentence, or "" where it has none."""
    words = account.scrub(told.message).rstrip(" .!")
    return f": {words}" if words else ""


def job_failed(state: JobState, account: Account) -> EspalierError:
    """Return the failure for a job that the server has given up."""
    code = "remote_job_stopped" if state.status in STOPPED else "remote_job_failed"
    return EspalierError(
        code,
        detail=account.scrub(f"{state.status} {state.error.code} {state.error.kind}"),
        host=account.host,
        status=account.scrub(state.status),
        message=quoted(state.error, account),
    )


def unreachable(error: Exception, account: Account, host: str = "") -> EspalierError:
    """Return the failure for an exchange with `host` (by default the server) that ended with `error`."""
    host = host or account.host
    text = repr(error)
    detail = account.scrub(text)
    if isinstance(error, requests.exceptions.ProxyError):
        return EspalierError("remote_proxy", detail, host=host, reason=reason_in(text, "it refuses"))
    if isinstance(error, requests.exceptions.SSLError):
        return EspalierError("remote_tls", detail, host=host, reason=why_untrusted(error))
    return EspalierError("remote_unreachable", detail, host=host, reason=why(error))


def redirected(target: str, account: Account) -> EspalierError:
    """Return the failure for a redirect to where the key must not go."""
    parts = urlsplit(target)
    shown = account.scrub(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    return EspalierError("remote_redirected", host=account.host, target=shown)
