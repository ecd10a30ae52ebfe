# SPDX-License-Identifier: GPL-3.0-or-later
"""The child that fetches weights, on an environment's own Python: one order, told as it goes, ended with its parent.

The order is a RunJob: `request` holds what is wanted, and `account` what may be secret, the token and the proxy. The
child tells `Moved` as bytes come, an `Answer` for each file that is there and right, and `Result` or `Failed`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ..errors import EspalierError
from ..files import make_folder
from ..progress import REPORT_INTERVAL_S
from ..workers import tether
from ..workers.channel import Channel
from ..workers.messages import Answer, Failed, MessageError, Moved, Result, RunJob
from .hub_faults import as_failure
from .hub_files import Hub, Stated, Wish, configure, right_hash
from .hub_transfer import Expected, fetch, part_of
from .places import Places
from .wheelhouse import ensure_space

JOB = "weights"
SPARE = 64 << 20
"""Bytes that are left free on the disk."""


class Teller:
    """Tells the parent what happens, and how far it is not too often."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._stage, self._told = "", 0.0

    def moved(self, stage: str, done: int, total: int) -> None:
        """Tell that `done` of `total` bytes are dealt with."""
        now = time.monotonic()
        if stage != self._stage or done >= total or now - self._told >= REPORT_INTERVAL_S:
            self._stage, self._told = stage, now
            self._channel.send(Moved(JOB, stage, done, total))

    def have(self, wish: Wish, path: Path | str, size: int, sha256: str) -> None:
        """Tell that the file of `wish` is whole and right at `path`."""
        self._channel.send(Answer(wish.key, {"path": str(path), "size": size, "sha256": sha256}))


def main() -> None:
    """Carry out the one order; the second argument is the parent's process number (see `workers.launch`)."""
    channel = Channel()
    tether.tie(int(sys.argv[2]))
    orders: SimpleQueue[RunJob] = SimpleQueue()
    threading.Thread(target=_listen, args=(channel, orders), name="orders", daemon=True).start()
    order = orders.get()
    request, account = order.request, order.account
    configure({**request["variables"], **account["variables"]})
    try:
        _carry_out(request, account["token"], Teller(channel))
    except EspalierError as error:
        _fail(channel, error)
    except ImportError as error:
        reason = f"{error.name} is missing"
        _fail(channel, EspalierError("weights_client_missing", repr(error), profile=request["profile"], reason=reason))
    except Exception as error:
        traceback.print_exc()
        _fail(channel, as_failure(error, request["endpoint"], "the weights"))
    else:
        channel.send(Result(JOB, {}))
    sys.stderr.flush()
    os._exit(0)  # a connection that hangs must not keep the process


def _fail(channel: Channel, error: EspalierError) -> None:
    channel.send(Failed(JOB, error.to_json()))


def _listen(channel: Channel, orders: SimpleQueue[RunJob]) -> None:
    """Take the order, and end this process when its parent is gone."""
    try:
        for order in channel.orders():
            if isinstance(order, RunJob):
                orders.put(order)
    except (MessageError, OSError):
        traceback.print_exc()
    tether.end()


def _carry_out(request: Mapping[str, Any], token: str, teller: Teller) -> None:
    hub = Hub(request["endpoint"], token, request["ca_bundle"])
    wishes = [Wish(**wish) for wish in request["wishes"]]
    missing = _adopt(hub, wishes, teller)
    if not missing:
        return
    folder = Path(request["folder"])
    make_folder(folder)
    teller.moved("Asking for sizes", 0, 0)
    stated = {wish.key: hub.ask(wish) for wish in missing if wish.repo}
    expected = {wish.key: stated[wish.key].expected if wish.repo else _plain(wish) for wish in missing}
    total = sum(item.size for item in expected.values())
    done = sum(_present(wish, expected[wish.key]) for wish in missing)
    ensure_space(Places(folder), total - done + SPARE)
    teller.moved("Downloading", done, total)
    for wish in missing:
        done -= _present(wish, expected[wish.key])
        sha256 = _fetch(hub, wish, expected[wish.key], stated.get(wish.key), teller, done, total)
        done += expected[wish.key].size
        teller.have(wish, wish.target, expected[wish.key].size, sha256)


def _adopt(hub: Hub, wishes: list[Wish], teller: Teller) -> list[Wish]:
    """Use the files of the person's own Hugging Face cache that are right; return the wishes that are left."""
    cached = {wish.key: path for wish in wishes if wish.repo and (path := hub.cached(wish)) is not None}
    total, done, left = sum(wish.size or 0 for wish in wishes if wish.key in cached), 0, []
    for wish in wishes:
        path = cached.get(wish.key)
        if path is None:
            left.append(wish)
            continue
        sha256 = right_hash(path, wish, partial(_checked, teller, done, total))
        if sha256:
            teller.have(wish, path, path.stat().st_size, sha256)
        else:
            left.append(wish)
        done += wish.size or 0
    return left


def _checked(teller: Teller, before: int, total: int, read: int) -> None:
    teller.moved("Checking the Hugging Face cache", before + read, total)


def _plain(wish: Wish) -> Expected:
    assert wish.size is not None, wish.key
    return Expected(wish.size, wish.sha256 or "")


def _present(wish: Wish, expected: Expected) -> int:
    part = part_of(Path(wish.target), expected)
    return min(part.stat().st_size, expected.size) if part.exists() else 0


def _fetch(
    hub: Hub, wish: Wish, expected: Expected, stated: Stated | None, teller: Teller, before: int, total: int
) -> str:
    """Download one file; an address that the hub gave is used once, as such addresses expire."""
    fresh = [stated] if stated is not None else []

    def locate() -> tuple[str, Mapping[str, str]]:
        if not wish.repo:
            return wish.url, {}
        location = (fresh.pop() if fresh else hub.ask(wish)).location
        return location, hub.headers_for(location)

    def progress(done: int) -> None:
        teller.moved("Downloading", before + done, total)

    return fetch(hub.session, locate, Path(wish.target), expected, wish.key, progress)
