# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scripted server is to do wrong, where, when and how often."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

KINDS = {
    "any": {
        "reset_before": "reset the connection once the headers are read, before the body",
        "reset_during": "reset it with half of the body read",
        "reset_after": "read all, do nothing, reset",
        "reset_answered": "do what was asked, then reset instead of answering",
        "cut_answer": "do what was asked, answer half, then reset",
        "stall": "say nothing for VALUE seconds, then do what was asked and answer",
        "stall_answered": "do what was asked, say nothing for VALUE seconds, then reset",
        "slow": "do what was asked, and answer a byte every VALUE seconds",
        "status": "answer the HTTP status VALUE, do nothing",
        "redirect": "answer 307 to VALUE: an address, or `foreign` or `self` (the same path there)",
        "garbage": "do what was asked, answer HTML",
        "empty": "do what was asked, answer nothing with 200",
        "not_http": "do what was asked, answer bytes that are not HTTP",
        "gzip": "do what was asked, answer with gzip",
        "chunked": "do what was asked, answer in chunks without a length",
    },
    "poll": {
        "lost": "know nothing of the job from now on",
        "failed": "say that the job failed, from now on, with the code VALUE",
        "fresh": "give a fresh address of the asset (they live until `expire`)",
    },
    "asset": {
        "cut": "reset at the fraction VALUE of what was asked for",
        "close": "close in good order at the fraction VALUE of what was asked for",
        "no_range": "answer all with 200, whatever part was asked for",
        "wrong_range": "answer another part than the one that was asked for",
        "refuse_range": "answer 416",
        "changed": "answer another file, with another ETag, from now on",
        "longer": "announce VALUE bytes more than there are, then close",
        "shorter": "announce VALUE bytes less than there are",
        "declared": "send a GLB whose header tells VALUE bytes more than it has",
        "truncated": "send the first fraction VALUE of the GLB as if it were all",
        "corrupt": "send a GLB of the right length with a broken description",
        "picture": "send a PNG file",
        "huge": "send a GLB of VALUE bytes",
        "huge_chunked": "send a GLB of VALUE bytes without telling how many",
        "huge_gzip": "send a GLB of VALUE zero bytes, compressed",
        "expire": "all addresses of assets expire",
    },
}
"""Where -> kind -> what happens. The kinds of `any` happen everywhere."""

PLACES = ("create", "poll", "asset", "model", "usage", "cancel", "health")


@dataclass
class Fault:
    """At the place `at`, let `skip` requests pass, then do `kind` wrong with the next `times` (-1: with all)."""

    at: str
    kind: str
    value: float | int | str = 0
    times: int = 1
    skip: int = 0
    retry_after: str = ""
    happened: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if self.at not in PLACES or self.kind not in {**KINDS["any"], **KINDS.get(self.at, {})}:
            raise ValueError(f"There is no fault {self.at}:{self.kind}")


class Script:
    """The faults that are still to come, of all threads of a server."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)
        self._lock = threading.Lock()

    def add(self, *faults: Fault) -> None:
        """Let these happen, too."""
        with self._lock:
            self._faults += faults

    def clear(self) -> None:
        """Let all be well from now on."""
        with self._lock:
            self._faults.clear()

    def next(self, at: str) -> Fault | None:
        """Return what is to go wrong with a request that came in at `at`, and count it."""
        with self._lock:
            for fault in self._faults:
                if fault.at != at or 0 <= fault.times <= fault.happened:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.happened += 1
                return fault
        return None


def parse(text: str) -> Fault:
    """Return the fault that `text` describes: `create:status=503*20`, `asset:cut=0.5`, `poll:lost`."""
    at, _, rest = text.partition(":")
    rest, _, times = rest.partition("*")
    kind, _, value = rest.partition("=")
    number = value.replace(".", "", 1).isdigit()
    return Fault(at, kind, float(value) if number else value, int(times or 1))
