# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test server remembers: its clock, the account, the rate, and the jobs."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.parameters import PARAMETERS, Parameter

MODEL = "trellis-2-4b"
PRICES = {"512": 0.025, "1024": 0.249, "1536": 0.499}
MATCHING = {"512": "512", "1024": "1024_cascade", "1536": "1536_cascade"}
QUEUED_SHARE = 0.15
"""The fraction of a job's time that it spends waiting for its turn."""


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class ServerClock:
    """Runs `scale` times as fast as the world; two servers may share one."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self._start, self._began = time.monotonic(), time.time()
        self.ahead_s = 0.0

    def now(self) -> float:
        """Return the seconds since the server's start, in its own time."""
        return (time.monotonic() - self._start) * self.scale + self.ahead_s

    def stamp(self, seconds: float) -> str:
        """Return a time of the server's as ISO 8601."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._began + seconds))


@dataclass
class RemoteJob:
    """One generation that was accepted, and is billed therefore. Times are the server's."""

    id: str
    payload: dict[str, Any]
    created: float
    takes_s: float
    price: float
    lost: bool = False
    failed: str = ""
    cancelled: bool = False
    delivered: int = 0
    polls: int = 0
    done_polls: int = 0

    def fraction(self, now: float) -> float:
        """Return how much of it is done."""
        return min((now - self.created) / self.takes_s, 1.0) if self.takes_s > 0 else 1.0

    def state(self, now: float) -> str:
        """Return queued, processing, completed, failed or cancelled."""
        if self.cancelled:
            return "cancelled"
        if self.failed:
            return "failed"
        fraction = self.fraction(now)
        return "completed" if fraction >= 1.0 else "queued" if fraction < QUEUED_SHARE else "processing"


@dataclass
class Book:
    """The account and its jobs. `window` is "sliding" (no minute with more than `rate` requests) or "fixed"."""

    clock: ServerClock
    key: str
    job_s: float | Callable[[int], float] = 1.0
    balance: float = 1000.0
    rate: int = 50
    window: str = "sliding"
    keeps_s: float = 3600.0
    links_s: float = 7 * 86400.0
    jobs: dict[str, RemoteJob] = field(default_factory=dict)
    throttled: int = 0
    admitted: list[tuple[float, str]] = field(default_factory=list)
    link_serial: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self._recent: deque[float] = deque()
        self._numbers = itertools.count()

    def authorize(self, headers: dict[str, str]) -> None:
        """Raise Refusal unless the request has the account's key."""
        scheme, _, told = headers.get("authorization", "").partition(" ")
        key = told.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if not key:
            raise Refusal(401, "missing_api_key", "You did not provide an API key.")
        if key != self.key:
            raise Refusal(401, "invalid_api_key", f"Incorrect API key provided: {key}.")

    def admit(self, what: str) -> None:
        """Count a request against the account's rate. Raises Refusal."""
        with self.lock:
            now = self.clock.now()
            begin = now - 60.0 if self.window == "sliding" else now // 60.0 * 60.0
            while self._recent and self._recent[0] <= begin:
                self._recent.popleft()
            if len(self._recent) >= self.rate:
                self.throttled += 1
                raise Refusal(429, "rate_limit_exceeded", f"Rate limit of {self.rate} requests per minute exceeded.")
            self._recent.append(now)
            self.admitted.append((now, what))

    def create(self, payload: Any) -> RemoteJob:
        """Accept a generation and bill it. Raises Refusal."""
        validate(payload)
        price = PRICES[payload.get("resolution", "1024")]
        with self.lock:
            if self.balance < price:
                raise Refusal(402, "insufficient_credits", f"Your balance of {self.balance:.2f} USD is too low.")
            self.balance -= price
            number = next(self._numbers)
            takes_s = self.job_s(number) if callable(self.job_s) else self.job_s
            job = RemoteJob(f"job_{number:04d}_{secrets.token_hex(4)}", payload, self.clock.now(), takes_s, price)
            self.jobs[job.id] = job
            return job

    def find(self, job_id: str) -> RemoteJob:
        """Return a job that is still remembered. Raises Refusal."""
        job = self.jobs.get(job_id)
        now = self.clock.now()
        if job is None or job.lost or now > job.created + job.takes_s + self.keeps_s:
            raise Refusal(404, "job_not_found", "Job not found or expired.")
        return job

    def link(self, job: RemoteJob) -> str:
        """Return a signed path of the job's asset, which is good until `expire` or for seven days."""
        return f"/assets/{job.id}.glb?expires={self.clock.now() + self.links_s:.3f}&signature=s{self.link_serial}"

    def expire(self) -> None:
        """Make all links that were given so far useless."""
        self.link_serial += 1

    def usage(self) -> dict[str, Any]:
        """Return the balance and what was billed, newest first."""
        events = [
            {
                "id": f"evt_{job.id}", "job_id": job.id, "model": MODEL, "status_code": 202, "cost_usd": job.price,
                "created_at": self.clock.stamp(job.created), "endpoint": "/v1/3d/generations",
            }
            for job in reversed(self.jobs.values())
        ]  # fmt: skip
        return {"balance_usd": round(self.balance, 3), "currency": "USD", "events": events}

    def model(self) -> dict[str, Any]:
        """Return what the model's page tells of its parameters and prices."""
        rows = [{"resolution": name, "price_usd": price, "unit": "asset"} for name, price in PRICES.items()]
        parameters = [_described(parameter) for parameter in PARAMETERS]
        return {
            "id": MODEL, "object": "model", "capabilities": ["image-to-3d"], "supported_parameters": parameters,
            "pricing_rows": rows,
        }  # fmt: skip


def _described(parameter: Parameter) -> dict[str, Any]:
    kinds = {"image": "string", "enum": "string", "integer": "integer", "number": "number", "boolean": "boolean"}
    told: dict[str, Any] = {"name": parameter.name, "type": kinds[parameter.kind], "default": parameter.default}
    if parameter.choices:
        told["enum"] = list(parameter.choices)
    if parameter.minimum is not None:
        told["range"] = [parameter.minimum, parameter.maximum]
    return told


def validate(payload: Any) -> None:
    """Raise Refusal for a request that the real server would not take either, as far as its documents tell."""
    if not isinstance(payload, dict):
        raise Refusal(400, "invalid_request", "The body is not a JSON object.")
    if payload.get("model") != MODEL:
        raise Refusal(404, "model_not_found", f"The model {payload.get('model')!r} does not exist.")
    image = payload.get("image") or payload.get("image_url")
    if not isinstance(image, str) or not image.startswith(("https://", "http://", "data:image/")):
        raise Refusal(400, "invalid_request", "image: a URL or a data URI is required.")
    table = {parameter.name: parameter for parameter in PARAMETERS}
    for name, value in payload.items():
        if name in ("model", "image", "image_url"):
            continue
        if name not in table:
            raise Refusal(400, "invalid_request", f"{name}: unknown parameter.")
        if not _fits(table[name], value):
            raise Refusal(400, "invalid_request", f"{name}: {value!r} is not allowed.")
    resolution, pipeline = payload.get("resolution"), payload.get("pipeline_type")
    if resolution and pipeline and MATCHING[resolution] != pipeline:
        raise Refusal(400, "invalid_request", "pipeline_type does not match resolution.")


def _fits(parameter: Parameter, value: Any) -> bool:
    if parameter.kind == "enum":
        return isinstance(value, str) and value in parameter.choices
    if parameter.kind == "boolean":
        return isinstance(value, bool)
    kinds = (int,) if parameter.kind == "integer" else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    low, high = parameter.minimum, parameter.maximum
    return (low is None or value >= low) and (high is None or value <= high)
