# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scripts of this folder share: where things are, how they speak, how they run other programs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
WHEELS = ROOT / "wheels"
REQUIREMENTS = WHEELS / "requirements"
ENVIRONMENTS = ROOT / ".venv"
CACHE = ROOT / ".cache"
DIST = ROOT / "dist"
MANIFEST = ROOT / "blender_manifest.toml"
LOCKS = ROOT / "engine" / "environments" / "locks"


def say(line: str) -> None:
    """Tell the person what is going on, on stderr, so that stdout stays the command's own."""
    print(line, file=sys.stderr, flush=True)


def fail(cause: str, remedy: str, detail: str = "") -> NoReturn:
    """End with one sentence of cause and one of remedy; `detail` (another program's last words) comes before them."""
    if detail.strip():
        say("\n".join(f"    {line}" for line in detail.strip().splitlines()[-12:]))
    say(f"Error: {cause} {remedy}")
    raise SystemExit(1)


def run(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `command` without a terminal and return what it said; its exit status is the caller's to judge."""
    return subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=ROOT,
        env=None if env is None else dict(env),
    )


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest() -> dict[str, Any]:
    """Return the extension's manifest."""
    return tomllib.loads(MANIFEST.read_text("utf-8"))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends well, and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """Let one process at a time into the block: two terminals may set up the same environment."""
    ENVIRONMENTS.mkdir(exist_ok=True)
    with (ENVIRONMENTS / f".{name}.lock").open("w") as file:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
