# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server's tests share: a server on loopback in a thread, or in a process that can be killed."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests
from PIL import Image

from engine.server.app import create_app
from engine.server.desk import Desk
from engine.server.metrics import Metrics
from engine.server.serve import Server
from engine.server.settings import MODEL, Settings
from engine.server.tokens import Tokens
from engine.workers.launch import Launch, current_launch
from tests.support.api_assets import finished_asset, picture
from tests.support.waiting import PATIENCE_S, wait_for

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = Path(__file__).resolve().parent / "backends_for_tests"


def made(folder: Path, takes_s: float = 0.0) -> Launch:
    """Return the launch of a worker that makes an asset out of nothing within `takes_s`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "takes").write_text(str(takes_s))
    glb = folder / "finished.glb"
    if not glb.exists():
        glb.write_bytes(finished_asset())
    launch = current_launch(ROOT)
    env = {
        "ESPALIER_TEST_GLB": str(glb),
        "ESPALIER_TEST_TAKES": str(folder / "takes"),
        "ESPALIER_TEST_MADE": str(folder / "made.txt"),
    }
    return replace(launch, paths=(*launch.paths, str(BACKENDS)), backend="made:create", env=env)


def image_uri(data: bytes | None = None) -> str:
    """Return a small picture as a data URI."""
    return "data:image/png;base64," + base64.b64encode(data or large_enough()).decode()


def large_enough() -> bytes:
    """Return a PNG file that an engine takes."""
    encoded = io.BytesIO()
    Image.open(io.BytesIO(picture())).resize((32, 32)).save(encoded, "PNG")
    return encoded.getvalue()


def body(**parameters: Any) -> dict[str, Any]:
    """Return the JSON of a creation."""
    return {"model": MODEL, "image": image_uri(), "resolution": "512", **parameters}


class Served:
    """A server in a thread of this process; `token` is a good one where `tokens` is set."""

    def __init__(self, root: Path, launch: Launch | None = None, *, tokens: bool = False, **settings: Any) -> None:
        self.settings = Settings(root, port=0, **settings)
        launch = launch or made(root.parent / "backend")
        self.token = Tokens(root / "tokens.json").add("first") if tokens else ""
        metrics = Metrics()
        self.desk = Desk(self.settings, metrics, lambda engine: launch)
        self.app = create_app(self.settings, self.desk, metrics)
        self.server = Server(self.app, self.desk, self.settings)
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        wait_for(lambda: self.server.started or not self._thread.is_alive())
        assert self.server.started
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop at once."""
        self.server.should_exit = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def ask(self, method: str, path: str, *, token: str | None = None, **options: Any) -> requests.Response:
        """Send a request with the token, if there is one."""
        return ask(self.url, method, path, self.token if token is None else token, **options)

    def create(self, **parameters: Any) -> str:
        """Order an asset, and return its job's id."""
        answer = self.ask("POST", "/v1/3d/generations", json=body(**parameters))
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def ended(self, job: str) -> dict[str, Any]:
        """Wait until a job is at an end, and return what is told of it."""
        return ended(self.url, job, self.token)


def ask(url: str, method: str, path: str, token: str = "", **options: Any) -> requests.Response:
    """Send one request, without a proxy."""
    with requests.Session() as session:
        session.trust_env = False
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **options.pop("headers", {})}
        return session.request(method, url + path, headers=headers, timeout=PATIENCE_S, **options)


def ended(url: str, job: str, token: str = "") -> dict[str, Any]:
    """Poll until a job is at an end, and return what is told of it."""
    told: dict[str, Any] = {}

    def over() -> bool:
        answer = ask(url, "GET", f"/v1/jobs/{job}", token)
        assert answer.status_code == 200, answer.text
        told.update(answer.json())
        return told["status"] not in ("queued", "processing")

    wait_for(over, 0.05)
    return told


class Process:
    """A server in a process of its own, started as a person starts it but for the backend."""

    def __init__(self, root: Path, takes_s: float = 0.0, *arguments: str, port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        launch = made(root.parent / "backend", takes_s)
        told = {"backend": launch.backend, "paths": list(launch.paths), "env": dict(launch.env)}
        self.log = (root.parent / "log.txt").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.server.driver", "--root", str(root), "--port", str(self.port), *arguments],
            cwd=ROOT,
            env={**os.environ, "ESPALIER_TEST_LAUNCH": json.dumps(told), "PYTHONPATH": str(ROOT)},
            stderr=self.log,
        )
        wait_for(self.answers, 0.05)

    def answers(self) -> bool:
        """Tell whether it can be asked. Fails if it has ended."""
        assert self.process.poll() is None, "the server has ended"
        try:
            return ask(self.url, "GET", "/health").status_code == 200
        except requests.ConnectionError:
            return False

    def kill(self) -> None:
        """Kill it, as a power cut does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE_S)
        self.log.close()
        return code


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def launched(told: Mapping[str, Any]) -> Launch:
    """Return the launch that a Process told its child of."""
    return replace(current_launch(ROOT), backend=told["backend"], paths=tuple(told["paths"]), env=told["env"])
