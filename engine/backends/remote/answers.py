# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to the server outside any job: whose key it is, what the model takes and costs, what was used."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import EspalierError
from ...files import replacing
from ...offer import read_offer
from .account import Account
from .client import Client, told
from .exchange import Reply
from .faults import MODEL, refused
from .reading import parse, read_cost, read_time, to_number

MODEL_PATH = f"/v1/models/{MODEL}"
USAGE_PATH = "/v1/account/usage"
CACHED_S = 86_400.0
_PATIENCE_S = 10.0
_EVENTS = 200
_TEXT = 2000
_BALANCES = ("balance_usd", "balance", "credits_usd", "credit_balance", "credits", "remaining_usd", "available")
_LISTS = ("events", "usage", "items", "data", "requests", "records")


def answer(question: str, client: Client) -> dict[str, Any]:
    """Return the answer to "account", "model" or "usage". Raises EspalierError, or what the client's check raises."""
    if question == "account":
        return _account(client)
    if question == "model":
        return _model(client)
    if question == "usage":
        return usage(client)
    raise ValueError(f"there is no question {question!r}")


def _account(client: Client) -> dict[str, Any]:
    """Return who answers, which key it took, and the balance where it tells one."""
    account = client.account
    reply = _get(client, USAGE_PATH)
    balance = None
    if reply.status in (404, 405):
        reply = _get(client, MODEL_PATH)
    elif 200 <= reply.status < 300:
        balance = read_balance(_json(reply, account))
    if not 200 <= reply.status < 300:
        raise refused(reply.status, told(reply), account)
    _json(reply, account)
    return {
        "host": account.host,
        "key_source": account.key_source if account.key else "nowhere, for none is set",
        "balance_usd": balance,
    }


def _model(client: Client) -> dict[str, Any]:
    """Return the server's description of the model, which is kept for a day."""
    account = client.account
    path = _cache(account)
    if path is not None and (kept := _read_cache(path)) is not None:
        return {**kept, "cached": True}
    reply = _get(client, MODEL_PATH)
    if not 200 <= reply.status < 300:
        raise refused(reply.status, told(reply), account)
    body = _json(reply, account)
    inner = body.get("data")
    described: dict[str, Any] = inner if isinstance(inner, dict) else body
    wanted = ("supported_parameters", "pricing_rows", "capabilities")
    found = {name: described[name] for name in wanted if name in described}
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                partial.write_text(json.dumps({"at": time.time(), "model": found}), "utf-8")
        except (OSError, EspalierError):
            return {**found, "cached": False}
    return {**found, "cached": False}


def priced(account: Account, resolution: str) -> tuple[float, str] | None:
    """Return what an asset costs in USD, and whose figure that is, as far as it is known without asking."""
    path = _cache(account)
    offer = read_offer(_read_cache(path) if path is not None else None)
    if resolution in offer.told:
        return offer.prices[resolution], "price list of the server"
    return (offer.prices[resolution], "price list") if account.is_vendors else None


def usage(client: Client) -> dict[str, Any]:
    """Return `balance_usd` and `events`, the newest ones, each as `read_events` yields it."""
    reply = _get(client, USAGE_PATH)
    if not 200 <= reply.status < 300:
        raise refused(reply.status, told(reply), client.account)
    body = _json(reply, client.account)
    return {"balance_usd": read_balance(body), "events": list(read_events(body))}


def what_is_known(client: Client, since: float) -> str:
    """Return, as half a sentence, what the usage list says of requests since `since` (seconds since 1970)."""
    try:
        events = usage(client)["events"]
    except EspalierError:
        return "its usage list could not be read"
    times = [event for event in events if event["time"] is not None]
    if len(times) < len(events):
        return f"its usage list has {len(events)} entries without a time"
    recent = [event for event in times if event["time"] >= since - 60.0]
    if not recent:
        return "its usage list shows no request of the last minutes"
    costs = [event["cost_usd"] for event in recent if event["cost_usd"] is not None]
    names = [event["job_id"] for event in recent if event["job_id"]]
    words = "1 request" if len(recent) == 1 else f"{len(recent)} requests"
    bill = f" for {sum(costs):.3f} USD" if costs else ""
    named = f" ({', '.join(names[:3])})" if names else ""
    return f"its usage list shows {words}{bill} since then{named}"


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


def _get(client: Client, path: str) -> Reply:
    return client.get(client.url(path), patience_s=_PATIENCE_S)


def _json(reply: Reply, account: Account) -> dict[str, Any]:
    try:
        body = parse(reply.body)
    except ValueError as error:
        reason = "it is not JSON"
        raise EspalierError("remote_unreadable", account.scrub(repr(error)), host=account.host, reason=reason) from None
    if not isinstance(body, dict):
        raise EspalierError("remote_unreadable", host=account.host, reason="it is not an object")
    return body


def _cache(account: Account) -> Path | None:
    if account.shared is None:
        return None
    name = hashlib.sha256(account.base.encode()).hexdigest()[:20]
    return account.shared / f"model-{name}.json"


def _read_cache(path: Path) -> dict[str, Any] | None:
    """Return the description that was kept less than a day ago, by the clock of the wall, in either direction."""
    try:
        kept = json.loads(path.read_text("utf-8"))
        age = time.time() - float(kept["at"])
        found = kept["model"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) and 0.0 <= age < CACHED_S else None
