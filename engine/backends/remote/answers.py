# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to the server outside any job: whose key it is, what the model takes and costs, what was used."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...errors import EspalierError
from ...files import replacing
from ...offer import read_offer
from .account import Account
from .client import Client, told
from .faults import MODEL, refused
from .ticket import Ticket
from .usage import USAGE_PATH, as_object, ask, read_balance, usage

MODEL_PATH = f"/v1/models/{MODEL}"
CACHED_S = 86_400.0


def answer(question: str, client: Client, about: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Return the answer to a question (see `RemoteBackend.ask`).

    Raises EspalierError, or what the client's check raises.
    """
    if question == "account":
        return _account(client)
    if question == "model":
        return _model(client)
    if question == "usage":
        return usage(client)
    if question == "cancel":
        return {"stopped": _cancel(client, str(about.get("server", "")), Ticket.parse(str(about.get("remote_id", ""))))}
    raise ValueError(f"there is no question {question!r}")


def _cancel(client: Client, server: str, ticket: Ticket) -> bool:
    """Ask the server to stop a job that it has; tell whether it says that it did."""
    base = client.account.base
    return bool(ticket.job_id) and server in ("", base) and client.cancel(ticket.url(base))


def _account(client: Client) -> dict[str, Any]:
    """Return who answers, which key it took, and the balance where it tells one."""
    account = client.account
    reply = ask(client, USAGE_PATH)
    balance = None
    if reply.status in (404, 405):
        reply = ask(client, MODEL_PATH)
    elif 200 <= reply.status < 300:
        balance = read_balance(as_object(reply, account))
    if not 200 <= reply.status < 300:
        raise refused(reply.status, told(reply), account)
    as_object(reply, account)
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
    reply = ask(client, MODEL_PATH)
    if not 200 <= reply.status < 300:
        raise refused(reply.status, told(reply), account)
    body = as_object(reply, account)
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
