# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the remote engine share: one job in this process, against a server on loopback."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from engine.backends.base import Asset, JobRun
from engine.backends.remote.backend import RemoteBackend
from engine.backends.remote.exchange import Limits
from engine.errors import EspalierError
from engine.progress import Progress
from engine.request import GenerationRequest
from tests.engine.backends_for_tests.remote_scaled import ScaledClock
from tests.support.api_server import ApiServer

SCALE = 120.0
"""A minute of the API in half a second of ours."""
IMPATIENT = Limits(connect_s=5.0, read_s=2.5, answer_s=4.0, create_s=4.0, cancel_s=2.0, stall_s=2.0, slowest=200)
"""For a server on this machine, on which other tests may run."""


class Hand:
    """A clock that only moves when somebody waits on it or moves it."""

    def __init__(self, start: float = 1000.0) -> None:
        self.time = start
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


def nothing() -> None:
    """Let everything go on."""


class RecordedRun(JobRun):
    """A run that remembers what the backend had written down, in order, and what it told of its progress."""

    def __init__(self, backend: Any, account: dict[str, Any], remote_id: str, cancelled: Callable[[], bool]) -> None:
        self.told: list[Progress] = []
        super().__init__(backend.stages, self.told.append, cancelled)
        self.account, self.remote_id = account, remote_id
        self.written: list[tuple[str, str]] = []

    def submitting(self, digest: str) -> None:
        self.written.append(("submitting", digest))

    def accepted(self, remote_id: str) -> None:
        self.written.append(("accepted", remote_id))

    def ended(self) -> None:
        self.written.append(("ended", ""))


@dataclass
class Outcome:
    """How a job ended: with an asset or with a failure of the catalogue."""

    run: RecordedRun
    asset: Asset | None = None
    error: EspalierError | None = None
    data: bytes = b""
    left: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> list[str]:
        """The remote ids that were written down."""
        return [remote_id for what, remote_id in self.run.written if what == "accepted"]

    @property
    def state(self) -> str:
        """What the queue makes of it: ready, failed, unknown, or resumable (there is an id to ask after)."""
        last = self.run.written[-1][0] if self.run.written else "resumed" if self.run.remote_id else ""
        failed = {"submitting": "unknown", "accepted": "resumable", "resumed": "resumable"}.get(last, "failed")
        return "ready" if self.asset else failed

    @property
    def code(self) -> str:
        """The failure's code, "" for an asset."""
        return self.error.code if self.error else ""

    def told(self) -> str:
        """All that a person or a log could get to see of the failure."""
        return "" if self.error is None else f"{self.error} {self.error.detail} {json.dumps(self.error.to_json())}"


def picture(folder: Path, size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Path:
    """Write a small image."""
    path = folder / f"picture-{size[0]}x{size[1]}-{mode}.png"
    image = Image.linear_gradient("L").resize(size).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.radial_gradient("L").resize(size))
    image.save(path)
    return path


def generate(
    server: ApiServer,
    folder: Path,
    *,
    remote_id: str = "",
    image: str = "",
    cancelled: Callable[[], bool] = lambda: False,
    clock: Any = None,
    account: dict[str, Any] | None = None,
    backend: Any = None,
    **parameters: Any,
) -> Outcome:
    """Make one asset with the remote engine in this process."""
    name = parameters.pop("name", "out")
    backend = backend or RemoteBackend(clock or ScaledClock(server.clock.scale), IMPATIENT)
    run = RecordedRun(backend, account or server.account(folder / "shared"), remote_id, cancelled)
    request = GenerationRequest.create(image or str(picture(folder)), "remote", parameters)
    out = folder / name
    out.mkdir()
    outcome = Outcome(run)
    try:
        outcome.asset = backend.generate(request, out, run)
        outcome.data = outcome.asset.glb.read_bytes()
    except EspalierError as error:
        outcome.error = error
    outcome.left = sorted(path.name for path in out.iterdir())
    assert not server.leaks(), server.leaks()
    assert server.key not in outcome.told()
    return outcome


def delivered(outcome: Outcome, server: ApiServer, glb: bytes | None = None) -> None:
    """Check that the asset is here, whole, and was paid for once."""
    assert outcome.error is None, outcome.told()
    assert outcome.data == (server.glb if glb is None else glb)
    assert outcome.data[:4] == b"glTF"
    assert struct.unpack("<I", outcome.data[8:12])[0] == len(outcome.data)
    assert server.billed == 1
    assert set(outcome.left) <= {"asset.glb", "thumbnail.png"}


def posts(server: ApiServer) -> int:
    """Return how many times a generation was asked for."""
    return len(server.requests("POST", "/v1/3d/generations"))
