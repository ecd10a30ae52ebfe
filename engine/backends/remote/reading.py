# SPDX-License-Identifier: GPL-3.0-or-later
"""A tolerant reading of the server's answers, whose every word is not documented: pure functions on JSON values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from ...offer import to_number

Phase = Literal["pending", "done", "failed"]

DONE = frozenset({"completed", "complete", "succeeded", "success", "done", "finished"})
STOPPED = frozenset({"cancelled", "canceled", "expired"})
FAILED = frozenset({"failed", "failure", "error", "errored"}) | STOPPED
_WRAPPERS = ("data", "job", "result", "response")
_HOLDERS = ("result", "output", "data")
_URLS = ("url", "glb_url", "model_url")
_COSTS = ("cost_usd", "total_cost_usd", "price_usd", "amount_usd", "usd", "total_cost", "cost", "price", "amount")
_DEEPEST = 6


@dataclass(frozen=True, slots=True)
class Told:
    """What an error answer says, in the server's own words."""

    message: str = ""
    code: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """Where the asset is: an address to download from, or base64 text, of which `repr` shows nothing."""

    url: str = field(default="", repr=False)
    base64: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class JobState:
    """What an answer says of a job. `progress` is 0 to 1; `seconds` is how long it took by the server's own clock."""

    phase: Phase
    status: str = ""
    progress: float | None = None
    link: Link | None = None
    error: Told = Told()
    cost_usd: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """The answer to a creation: the job's id ("" where the answer is the result itself) and where to poll it."""

    job_id: str
    poll_url: str
    state: JobState


def parse(data: bytes) -> Any:
    """Return the JSON value in `data`. Raises ValueError for anything else, however it is broken."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_created(body: Any) -> Created:
    """Return what the answer to a creation says; without an id and without a link it says nothing of use."""
    owner = next((o for o in _unwrapped(body) if _identifier(o, "job_id")), None)
    owner = owner or next((o for o in _unwrapped(body) if _identifier(o, "id") and not _is_asset(o)), {})
    outer = body if isinstance(body, dict) else {}
    poll = next((o["poll_url"] for o in (owner, outer) if isinstance(o.get("poll_url"), str)), "")
    return Created(_identifier(owner, "job_id") or _identifier(owner, "id"), poll, read_job(body))


def read_job(body: Any) -> JobState:
    """Return what an answer says of its job."""
    job = next((o for o in _unwrapped(body) if isinstance(o.get("status", o.get("state")), str)), None)
    outer = body if isinstance(body, dict) else {}
    told = job if job is not None else outer
    status = str(told.get("status", told.get("state")) or "").strip().lower() if job is not None else ""
    link = find_link(told) or find_link(body)
    error = read_error(told if told.get("error") else outer, "")
    phase: Phase = "pending"
    if status in FAILED:
        phase = "failed"
    elif status in DONE:
        phase = "done"
    elif not status:  # an answer without a state is that of a server that answers once it is done
        phase = "done" if link else "failed" if outer.get("error") else "pending"
    return JobState(
        phase,
        status,
        _progress(told.get("progress", outer.get("progress"))),
        link,
        error if phase == "failed" else Told(),
        _cost(told) if job is not None else _cost(outer),
        _duration(told),
    )


def find_link(body: Any) -> Link | None:
    """Return where the asset is: in `result`, `output`, `data` or the body; there in `data[0]`, `output[0]`, itself."""
    if isinstance(body, list):
        return _first(body, 0)
    if not isinstance(body, dict):
        return None
    for name in _HOLDERS:
        if (link := _held(body.get(name), 0)) is not None:
            return link
    return _own(body)


def _held(value: Any, depth: int) -> Link | None:
    """Return the link in the value of a holder: a list, an object, or the address itself."""
    if depth > _DEEPEST:
        return None
    if isinstance(value, str):
        return _as_link(value)
    if isinstance(value, list):
        return _first(value, depth)
    if not isinstance(value, dict):
        return None
    for name in ("data", "output", "result"):
        if (link := _held(value.get(name), depth + 1)) is not None:
            return link
    return _own(value)


def _first(values: list[Any], depth: int) -> Link | None:
    return _held(values[0], depth + 1) if values else None


def _own(owner: Mapping[str, Any]) -> Link | None:
    """Return the link that an object itself holds."""
    nested = owner.get("model_glb")
    candidates = [*(owner.get(name) for name in _URLS), nested.get("url") if isinstance(nested, dict) else nested]
    for value in candidates:
        if isinstance(value, str) and (link := _as_link(value)) is not None:
            return link
    inside = owner.get("b64_json")
    return Link(base64=inside) if isinstance(inside, str) and inside else None


def _as_link(text: str) -> Link | None:
    """Return the link that a text is: an address, whole or a path of the server's, or a data URI."""
    text = text.strip()
    if text[:5].lower() == "data:":
        head, comma, data = text.partition(",")
        return Link(base64=data) if comma and head.lower().endswith(";base64") and data else None
    try:
        scheme = urlsplit(text).scheme.lower()
    except ValueError:
        return None
    if scheme in ("http", "https") or (not scheme and text.startswith("/")):
        return Link(url=text)
    return None


def read_error(body: Any, text: str) -> Told:
    """Return what an error answer says: in `error`, an object or a text, `detail`, `message`, or all of the text."""
    if isinstance(body, dict):
        code, kind = _word(body.get("code")), _word(body.get("type"))
        error = body.get("error")
        if isinstance(error, dict):
            inner = next((_sentence(error.get(k)) for k in ("message", "detail", "error", "msg") if error.get(k)), "")
            found = _word(error.get("code")) or code
            return Told(inner or found, found, _word(error.get("type")) or kind)
        for name in ("error", "detail", "message", "errors", "error_message", "title"):
            if sentence := _sentence(body.get(name)):
                return Told(sentence, code, kind)
    return Told("" if _is_markup(text) else text.strip())


def _sentence(value: Any) -> str:
    """Return the words in an error's value: a text, or a validator's list of objects with `loc` and `msg`."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return "; ".join(words for item in value[:5] if (words := _sentence(item)))
    if isinstance(value, dict):
        words = next((str(value[k]).strip() for k in ("msg", "message", "detail") if isinstance(value.get(k), str)), "")
        where = value.get("loc")
        names = [str(part) for part in where if part != "body"] if isinstance(where, list) else []
        return f"{'.'.join(names)}: {words}" if names and words else words
    return ""


def _unwrapped(body: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the body and the objects that may wrap what it says."""
    if isinstance(body, dict):
        yield body
        for name in _WRAPPERS:
            inner = body.get(name)
            if isinstance(inner, dict):
                yield inner


def _identifier(owner: Mapping[str, Any], name: str) -> str:
    value = owner.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = value.strip() if isinstance(value, str) else ""
    return text if len(text) <= 512 and text.isprintable() else ""


def _is_asset(owner: Mapping[str, Any]) -> bool:
    """Tell whether an object is the result itself, whose `id` names no job."""
    return not isinstance(owner.get("status", owner.get("state")), str) and find_link(owner) is not None


def _is_markup(text: str) -> bool:
    return text.lstrip()[:1] == "<"


def _word(value: Any) -> str:
    return str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _progress(value: Any) -> float | None:
    """Return a fraction from a fraction, a percentage (above 1), or either as a text."""
    if isinstance(value, str):
        percent = value.strip().endswith("%")
        number = to_number(value.strip().rstrip("%"))
        value = number / 100.0 if percent and number is not None and number <= 1.0 else number
    number = to_number(value)
    if number is None or number < 0.0:
        return None
    return min(number if number <= 1.0 else number / 100.0, 1.0)


def read_cost(owner: Any) -> float | None:
    """Return the cost in USD that an object of a bill names."""
    if not isinstance(owner, dict) or str(owner.get("currency") or "USD").upper() not in ("USD", "US$", "$"):
        return None
    for name in _COSTS:
        value = owner.get(name)
        if isinstance(value, dict):
            return read_cost(value)
        number = to_number(value.strip().lstrip("$")) if isinstance(value, str) else to_number(value)
        if number is not None and number >= 0.0:
            return number
    return None


def _cost(body: Mapping[str, Any]) -> float | None:
    """Return what the answer says that the job cost, in USD, at its top or in a `usage` on the way to the asset."""
    for owner in (body, *(body.get(name) for name in (*_HOLDERS, "billing"))):
        inner = owner[0] if isinstance(owner, list) and owner else owner
        if isinstance(inner, dict):
            for bill in (inner.get("usage"), inner.get("billing"), inner):
                if (cost := read_cost(bill)) is not None:
                    return cost
    return None


def _duration(job: Mapping[str, Any]) -> float | None:
    begin, end = read_time(job.get("created_at")), read_time(job.get("completed_at"))
    return end - begin if begin is not None and end is not None and 0.0 <= end - begin < 86_400.0 else None


def read_time(value: Any) -> float | None:
    """Return seconds since 1970 from such seconds (or milliseconds) or an ISO 8601 text; without a zone it is UTC."""
    number = to_number(value)
    if number is not None:
        return number / 1000.0 if number > 1e11 else number
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
