# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the default registry which wheels satisfy some requirements: uv finds the versions, pip the file of each.

Only the default registry (or the person's mirror of it) is asked: further indexes and folders that pip may be configured
with are left out, because a lock that says "registry" must mean it.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fetch
import pythons
from common import CACHE, fail, run, say
from targets import this_platform

SYSTEMS = {
    "linux-x64": "x86_64-manylinux_2_28",
    "macos-arm64": "aarch64-apple-darwin",
    "macos-x64": "x86_64-apple-darwin",
    "windows-x64": "x86_64-pc-windows-msvc",
}
"""Blender's name of a platform -> uv's, which decides the environment markers."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel of the registry: PEP 503 name, version, file name, SHA-256 as hexadecimal digits, bytes, address."""

    name: str
    version: str
    file: str
    sha256: str
    size: int | None
    url: str


def normalized(name: str) -> str:
    """Return a package's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(
    version: str,
    platform: str,
    requirements: Sequence[str],
    before: Mapping[str, str],
    without: Iterable[str] = (),
) -> dict[str, tuple[str, dict[str, int]]] | None:
    """Return name -> (version, file -> bytes) of `requirements` and all they need, or None where there is no solution.

    A version in `before` is kept as long as the requirements allow it, so that a lock changes only for a reason. The
    packages `without` are dropped wherever they are asked for: the registry never hears their names.
    """
    python = pythons.find(version)
    if python is None:
        fail(f"CPython {version} is not on this machine.", "Install it; locks are made with the Python they are for.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted, dropped, output = folder / "wanted.in", folder / "dropped.txt", folder / "pylock.toml"
        wanted.write_text("\n".join(requirements) + "\n", "utf-8")
        dropped.write_text("\n".join(without) + "\n", "utf-8")
        if before:
            output.write_text(_as_pylock(before), "utf-8")
        command = [_uv(), "pip", "compile", "-q", "--no-config", "--no-header", "--no-annotate", "--python", python]
        command += ["--only-binary", ":all:", "--cache-dir", CACHE / "uv-cache", "--excludes", dropped]
        command += ["--python-version", version, "--python-platform", SYSTEMS[platform]]
        result = run([*command, "--format", "pylock.toml", "-o", output, wanted], _environment())
        if result.returncode != 0:
            say(result.stderr.strip())
            return None
        packages: list[dict[str, Any]] = tomllib.loads(output.read_text("utf-8")).get("packages", [])
    return {
        normalized(item["name"]): (
            item["version"],
            {unquote(wheel["url"].rsplit("/", 1)[-1]): wheel.get("size") for wheel in item.get("wheels", ())},
        )
        for item in packages
    }


def wheels(
    version: str, tags: Sequence[str], pins: Iterable[str], sizes: Mapping[str, int] | None = None
) -> list[Wheel] | None:
    """Return the wheel that pip would install on `tags` for each of `pins` ("name==version"), None where it finds none.

    Dependencies are not followed.
    """
    python = pythons.find(version)
    if python is None:
        fail(f"CPython {version} is not on this machine.", "Install it; locks are made with the Python they are for.")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command: list[str | Path] = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input"]
        command += ["--dry-run", "--ignore-installed", "--only-binary=:all:", "--no-deps", "--target", folder]
        command += ["--report", report, "--implementation", "cp", "--python-version", version]
        command += [part for tag in tags for part in ("--platform", tag)]
        result = run([*command, *pins], _environment())
        if result.returncode != 0:
            say(result.stderr.strip())
            return None
        installs: list[dict[str, Any]] = json.loads(report.read_text("utf-8"))["install"]
    found = []
    for item in installs:
        url = item["download_info"]["url"]
        file = unquote(url.rsplit("/", 1)[-1])
        digest = item["download_info"]["archive_info"]["hash"].removeprefix("sha256=")
        name = normalized(item["metadata"]["name"])
        found.append(Wheel(name, item["metadata"]["version"], file, digest, (sizes or {}).get(file), url))
    return sorted(found, key=lambda wheel: wheel.name)


def _as_pylock(pins: Mapping[str, str]) -> str:
    packages = "".join(f'[[packages]]\nname = "{name}"\nversion = "{pins[name]}"\n\n' for name in sorted(pins))
    return f'lock-version = "1.0"\ncreated-by = "uv"\n\n{packages}'


@functools.cache
def _settings() -> dict[str, str]:
    """Return pip's own settings that say where the default registry is and how to reach it."""
    listing = run([sys.executable, "-m", "pip", "config", "list"]).stdout
    names = {"index-url": "PIP_INDEX_URL", "cert": "PIP_CERT", "proxy": "PIP_PROXY"}
    found = re.findall(r"(?m)^(?:global|install|:env:)\.([a-z-]+)='(.*)'$", listing)
    return {names[key]: value for key, value in found if key in names}


def _environment() -> dict[str, str]:
    """Return the environment for uv and pip, in which both know the default registry and no other source."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    settings = _settings()
    kept |= {"PIP_CONFIG_FILE": os.devnull, **settings}
    for ours, others in (("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), ("PIP_CERT", "SSL_CERT_FILE")):
        if ours in settings:
            kept.setdefault(others, settings[ours])
    return kept


@functools.cache
def _uv() -> Path:
    """Return the program uv, from the very wheel that the zip for this platform carries."""
    platform = this_platform()
    wheel = next((path for path in fetch.carried(platform) if path.name.startswith("uv-")), None)
    if wheel is None:
        fail(f"There is no uv for {platform}.", "Run make lock on one of the platforms that have environments.")
    program = CACHE / wheel.stem / ("uv.exe" if platform.startswith("windows") else "uv")
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            member = next(name for name in archive.namelist() if name.endswith(f".data/scripts/{program.name}"))
            program.write_bytes(archive.read(member))
        program.chmod(0o755)
    return program
