# SPDX-License-Identifier: GPL-3.0-or-later
"""The account's usage list: what is known of requests that nothing else is known of, and assets that it still names."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from ...errors import EspalierError
from ...offer import to_number
from .account import Account
from .client import Client, told
from .exchange import Reply
from .faults import refused
from .reading import Link, find_link, parse, read_cost, read_time

USAGE_PATH = "/v1/account/usage"
_PATIENCE_S = 10.0
_SLACK_S = 60.0
_EVENTS = 200
_IDS = ("job_id", "id", "request_id", "generation_id")
_OUTPUTS = ("output_urls", "output_url", "outputs", "urls", "output", "result")
_BALANCES = ("balance_usd", "balance", "credits_usd", "credit_balance", "credits", "remaining_usd", "available")
_LISTS = ("events", "usage", "items", "data", "requests", "records")


def usage(client: Client) -> dict[str, Any]:
    """Return `balance_usd` and `events`, the newest ones, each as `read_events` yields it."""
    reply = ask(client, USAGE_PATH)
    if not 200 <= reply.status < 300:
        raise refused(reply.status, told(reply), client.account)
    body = as_object(reply, client.account)
    return {"balance_usd": read_balance(body), "events": list(read_events(body))}


def what_is_known(client: Client, ago_s: float, ours: Collection[str]) -> str:
    """Return, as half a sentence, what the usage list says of requests since `ago_s` seconds before now.

    `ours` are the ids of jobs that are accounted for.
    """
    try:
        reply = ask(client, USAGE_PATH)
        events = list(read_events(as_object(reply, client.account))) if 200 <= reply.status < 300 else None
    except EspalierError:
        events = None
    if events is None:
        return "its usage list could not be read"
    now = read_date(reply.headers.get("Date", "")) or time.time()
    others = [event for event in events if event["job_id"] not in ours or not event["job_id"]]
    recent = [event for event in others if event["time"] is not None and event["time"] >= now - ago_s - _SLACK_S]
    if recent:
        costs = [event["cost_usd"] for event in recent if event["cost_usd"] is not None]
        names = [client.account.scrub(event["job_id"]) for event in recent if event["job_id"]]
        words = "1 request" if len(recent) == 1 else f"{len(recent)} requests"
        named = f" ({', '.join(names[:3])})" if names else ""
        if costs:
            return f"its usage list shows {words} for {sum(costs):.3f} USD since then{named}"
        return f"its usage list shows {words} since then{named}"
    dated = [event for event in others if event["time"] is not None]
    if not dated:
        return "its usage list shows no request but those that are accounted for"
    newest = max(dated, key=lambda event: float(event["time"]))
    moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(newest["time"]))
    named = f" ({client.account.scrub(newest['job_id'])})" if newest["job_id"] else ""
    return f"the newest other entry of its usage list is of {moment}{named}"


def find_output(client: Client, job_id: str) -> Link | None:
    """Return where the asset of a job is by the usage list, which knows it for longer than the job lives.

    Raises EspalierError where the server cannot be asked for now, or Cancelled.
    """
    reply = ask(client, USAGE_PATH)
    try:
        body = parse(reply.body) if 200 <= reply.status < 300 else None
    except ValueError:
        return None
    for entry in _listed(body):
        if isinstance(entry, dict) and job_id in [entry.get(name) for name in _IDS]:
            for name in _OUTPUTS:
                if (link := find_link({"data": entry.get(name)})) is not None:
                    return link
            return find_link(entry)
    return None


def read_date(text: str) -> float | None:
    """Return the seconds since 1970 that a Date header tells."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def read_balance(body: Any) -> float | None:
    """Return the balance in USD that a usage answer tells."""
    if not isinstance(body, dict):
        return None
    for owner in (body, *(body.get(name) for name in ("data", "account", "usage", "billing"))):
        if not isinstance(owner, dict):
            continue
        for name in _BALANCES:
            value = owner.get(name)
            number = to_number(value.get("usd", value.get("amount"))) if isinstance(value, dict) else to_number(value)
            if number is not None:
                return number
    return None


def read_events(body: Any) -> Iterator[dict[str, Any]]:
    """Yield the events of a usage answer: `time` (seconds since 1970), `cost_usd`, `status`, `job_id` and `model`."""
    for entry in _listed(body)[:_EVENTS]:
        if isinstance(entry, dict):
            moment = next(
                (t for k in ("created_at", "timestamp", "time", "date") if (t := read_time(entry.get(k)))), None
            )
            yield {
                "time": moment,
                "cost_usd": read_cost(entry),
                "status": _short(entry.get("status_code", entry.get("status"))),
                "job_id": _short(entry.get("job_id")),
                "model": _short(entry.get("model")),
            }


def _listed(body: Any) -> list[Any]:
    if isinstance(body, list):
        return body
    if isinstance(body, dict):
        for name in _LISTS:
            if found := _listed(body.get(name)):
                return found
    return []


def _short(value: Any) -> str:
    return str(value)[:120] if isinstance(value, (str, int)) else ""


def ask(client: Client, path: str) -> Reply:
    """Return the answer to a question that nobody waits long for."""
    return client.get(client.url(path), patience_s=_PATIENCE_S)


def as_object(reply: Reply, account: Account) -> dict[str, Any]:
    """Return the object that an answer is. Raises EspalierError `remote_unreadable`."""
    try:
        body = parse(reply.body)
    except ValueError as error:
        reason = "it is not JSON"
        raise EspalierError("remote_unreadable", account.scrub(repr(error)), host=account.host, reason=reason) from None
    if not isinstance(body, dict):
        raise EspalierError("remote_unreadable", host=account.host, reason="it is not an object")
    return body
