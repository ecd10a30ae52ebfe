# SPDX-License-Identifier: GPL-3.0-or-later
"""What the OpenAPI page says of bodies and answers, beside what FastAPI reads from the routes themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from .order import body_schema

_ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "type"],
            "properties": {name: {"type": "string"} for name in ("code", "message", "type")},
        }
    },
}
ERROR: dict[str, Any] = {"description": "Refused", "content": {"application/json": {"schema": _ERROR_SCHEMA}}}
"""An answer that tells of an error."""
ERRORS: dict[int | str, dict[str, Any]] = dict.fromkeys((400, 401, 403, 404, 429), ERROR)
"""The answers that each route with a key may give."""
_JOB_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["job_id", "status", "poll_url", "created_at"],
    "properties": {name: {"type": "string"} for name in ("job_id", "status", "poll_url", "created_at")},
}
_JOB: dict[str, Any] = {"description": "Accepted", "content": {"application/json": {"schema": _JOB_SCHEMA}}}
CREATE_ANSWERS: dict[int | str, dict[str, Any]] = {**ERRORS, 408: ERROR, 413: ERROR, 415: ERROR, 503: ERROR, 202: _JOB}
"""The answers to a creation."""
_KEYS: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
KEYED: dict[str, Any] = {"security": [{name: []} for name in _KEYS]}
"""What a route is given that needs a key, which `access.Access` reads: FastAPI's own readers would, at each request."""


def document_keys(app: FastAPI) -> None:
    """Let the page of `app` say what the keys in KEYED are."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        page: dict[str, Any] = described()
        page.setdefault("components", {})["securitySchemes"] = _KEYS
        return page

    app.openapi = openapi  # type: ignore[method-assign]


def generation_body() -> dict[str, Any]:
    """Return the request body of a creation, made from the parameter table."""
    return {
        "required": True,
        "content": {
            "application/json": {"schema": body_schema(form=False)},
            "multipart/form-data": {"schema": body_schema(form=True)},
        },
    }
