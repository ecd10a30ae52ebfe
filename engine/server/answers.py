# SPDX-License-Identifier: GPL-3.0-or-later
"""What is answered: the documented fields, and none besides."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse

from ..errors import EspalierError
from ..jobs.job import Job, State
from ..parameters import PARAMETERS, PRICE_USD
from .order import described
from .settings import MODEL

GLB = "model/gltf-binary"
_WORDS: Mapping[State, str] = {
    State.QUEUED: "queued",
    State.SUBMITTING: "processing",
    State.RUNNING: "processing",
    State.FETCHING: "processing",
    State.READY: "completed",
    State.IMPORTED: "completed",
    State.FAILED: "failed",
    State.UNKNOWN: "failed",
    State.CANCELLED: "cancelled",
}
_STATUS: Mapping[str, tuple[int, str]] = {
    "server_key_missing": (401, "missing_api_key"),
    "server_key_invalid": (401, "invalid_api_key"),
    "server_host": (403, "forbidden"),
    "server_rate": (429, "rate_limit_exceeded"),
    "server_queue": (429, "rate_limit_exceeded"),
    "server_full": (503, "model_unavailable"),
    "server_draining": (503, "model_unavailable"),
    "server_body_large": (413, "invalid_request"),
    "server_body_slow": (408, "invalid_request"),
    "server_body_type": (415, "invalid_request"),
    "server_model_unknown": (404, "model_not_found"),
    "server_job_unknown": (404, "job_not_found"),
    "server_link_invalid": (403, "forbidden"),
    "server_link_expired": (410, "asset_expired"),
    "server_failure": (500, "upstream_error"),
    **dict.fromkeys(
        ("server_store_missing", "server_store_refused", "server_store_unknown", "server_store_down"),
        (503, "upstream_error"),
    ),
    **dict.fromkeys(("disk_full", "output_unwritable", "ledger_busy", "ledger_damaged"), (503, "upstream_error")),
}
"""Failure -> status and code; all others are the fault of the request."""
_INVALID = (400, "invalid_request")


class Answer(JSONResponse):
    """JSON that holds ASCII alone: a text of half a surrogate pair, sent in a request, can be told back."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def refusal(error: EspalierError, headers: Mapping[str, str] | None = None) -> Answer:
    """Return the answer to a request that is refused because of `error`."""
    status, code = _STATUS.get(error.code, _INVALID)
    kind = "server_error" if status >= 500 else "invalid_request_error"
    told = {"code": code, "message": words(error), "type": kind}
    return Answer({"error": told}, status, headers=dict(headers or {}))


def words(error: EspalierError) -> str:
    """Return the two sentences of a failure without the folders of this machine."""
    fields = {
        name: Path(value).name if name in ("path", "log") or Path(value).is_absolute() else value
        for name, value in error.fields.items()
    }
    return str(EspalierError(error.code, **fields))


def created(job: Job) -> dict[str, Any]:
    """Return the answer to a creation."""
    return {
        "job_id": job.id,
        "status": word(job),
        "poll_url": f"/v1/jobs/{job.id}",
        "created_at": stamp(job.created),
    }


def state(job: Job, result: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a poll is answered; `result` is for a finished job."""
    error = None
    if word(job) == "failed" and job.error is not None:
        error = {"message": words(job.error), "type": "generation_error", "code": job.error.code}
    return {
        "job_id": job.id,
        "status": word(job),
        "progress": 1.0 if job.state in (State.READY, State.IMPORTED) else round(job.fraction, 4),
        "created_at": stamp(job.created),
        "completed_at": stamp(job.finished) if job.finished and not job.active else None,
        "result": dict(result) if result is not None else None,
        "error": error,
    }


def result(url: str | None = None, glb: Path | None = None) -> dict[str, Any]:
    """Return the result of a finished job: its address, or its file inside. Waits for the disk. Raises OSError."""
    data: dict[str, Any] = {"url": url} if glb is None else {"b64_json": base64.b64encode(glb.read_bytes()).decode()}
    return {"data": [{**data, "content_type": GLB}], "usage": {"images": 1}}


def model() -> dict[str, Any]:
    """Return the description of the model, from the parameter table. Nothing is billed here."""
    return {
        "id": MODEL,
        "object": "model",
        "capabilities": ["image-to-3d"],
        "supported_parameters": [described(parameter) for parameter in PARAMETERS],
        "pricing_rows": [{"resolution": name, "price_usd": 0.0, "unit": "asset"} for name in PRICE_USD],
    }


def word(job: Job) -> str:
    """Return the documented word for where a job is."""
    return "cancelled" if job.cancelling else _WORDS[job.state]


def stamp(seconds: float) -> str:
    """Return a time (seconds since 1970) as ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
