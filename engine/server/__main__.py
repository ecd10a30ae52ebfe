# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m engine.server --engine draft --host 127.0.0.1 --port 8191, and `token add|list|remove`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..backends import available
from ..errors import EspalierError
from .app import create_app
from .desk import Desk
from .log import set_up
from .metrics import Metrics
from .serve import Server
from .settings import MEGABYTE, Settings
from .tokens import Tokens, ensure_safe

ROOT = Path.home() / ".espalier-server"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve, or change the list of tokens; return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["token"]:
            return _token(words[1:])
        settings = settings_from(words)
        ensure_safe(settings)
        set_up()
        metrics = Metrics()
        desk = Desk(settings, metrics)
        server = Server(create_app(settings, desk, metrics), desk, settings)
        server.run()
        return 0 if server.started else 1
    except EspalierError as error:
        print(f"{error.cause}\n{error.remedy}", file=sys.stderr)
        return error.exit_code


def settings_from(words: Sequence[str]) -> Settings:
    """Return the settings that a command line gives."""
    usual = Settings(ROOT)
    parser = argparse.ArgumentParser(prog="python -m engine.server", description=__doc__)
    add = parser.add_argument
    engines = [engine for engine in available() if engine != "remote"]
    add("--engine", choices=engines, default=usual.engine, help="what makes the assets")
    add("--host", default=usual.host, help="address to listen on; other than loopback needs a token")
    add("--port", type=int, default=usual.port)
    add("--root", type=Path, default=ROOT, help="folder of jobs, assets and tokens")
    add("--public-url", default="", help="what assets' addresses begin with, behind a proxy")
    add("--slots", type=int, default=usual.slots, help="jobs side by side")
    add("--keep-hours", type=float, default=usual.keep_s / 3600, help="for how long finished jobs are kept")
    add("--requests-per-minute", type=int, default=usual.requests_per_minute, help="of one token")
    add("--queue", type=int, default=usual.most_of_token, help="unfinished jobs of one token")
    add("--queue-in-all", type=int, default=usual.most_in_all, help="unfinished jobs of all tokens")
    add("--body-mb", type=int, default=usual.body_bytes // MEGABYTE, help="most of a request")
    add("--body-seconds", type=float, default=usual.body_s, help="within which a request must have come")
    add("--image-mb", type=int, default=usual.image_bytes // MEGABYTE, help="most of an image file")
    add("--image-megapixels", type=int, default=usual.image_pixels // 1_000_000)
    add("--drain-seconds", type=float, default=usual.drain_s, help="how long a stop waits for running jobs")
    add("--connections", type=int, default=usual.connections, help="most at a time")
    add("--allow-private-images", action="store_true", help="fetch images from private networks too")
    told = parser.parse_args(words)
    return Settings(
        root=told.root.absolute(),
        engine=told.engine,
        host=told.host,
        port=told.port,
        public_url=told.public_url,
        slots=max(told.slots, 1),
        keep_s=told.keep_hours * 3600,
        body_bytes=told.body_mb * MEGABYTE,
        body_s=told.body_seconds,
        image_bytes=told.image_mb * MEGABYTE,
        image_pixels=told.image_megapixels * 1_000_000,
        private_images=told.allow_private_images,
        requests_per_minute=told.requests_per_minute,
        most_of_token=told.queue,
        most_in_all=told.queue_in_all,
        drain_s=told.drain_seconds,
        connections=told.connections,
    )


def _token(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m engine.server token", description="Who may use the server.")
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("act", choices=("add", "list", "remove"))
    parser.add_argument("name", nargs="?", default="")
    told = parser.parse_args(words)
    tokens = Tokens(told.root.absolute() / "tokens.json")
    if told.act == "list":
        print("\n".join(tokens.names()))
    elif told.act == "add":
        print(tokens.add(told.name))
        print("Keep it: only its hash is stored, so it is never shown again.", file=sys.stderr)
    else:
        tokens.remove(told.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
