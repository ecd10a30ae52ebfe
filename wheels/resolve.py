# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the default registry, by uv, which wheels satisfy some requirements: name, version, file, hash and size of each.

Only the default registry (or the person's mirror of it) is asked: further indexes and folders that pip may be
configured with are left out, because a lock that says "registry" must mean it.
"""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pythons
import registry
from common import CACHE, fail, run, say

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


def wheels(
    version: str,
    platform: str,
    tags: Sequence[str],
    requirements: Sequence[str],
    *,
    closure: bool = True,
    before: Mapping[str, str] | None = None,
    without: Iterable[str] = (),
) -> list[Wheel] | None:
    """Return the wheels of `requirements` and, for their `closure`, of all they need; None where there is no solution.

    A version in `before` is kept as long as the requirements allow it, so that a lock changes only for a reason. The
    packages `without` are dropped wherever they are asked for: the registry never hears their names. `tags` are the
    platform tags that can be loaded, the preferred first.
    """
    python = pythons.find(version)
    if python is None:
        fail(f"CPython {version} is not on this machine.", "Install it; locks are made with the Python they are for.")
    program = registry.uv()
    if program is None:
        fail("There is no uv for this platform.", "Run make lock on one of the platforms that have environments.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted, dropped, output = folder / "wanted.in", folder / "dropped.txt", folder / "pylock.toml"
        wanted.write_text("\n".join(requirements) + "\n", "utf-8")
        dropped.write_text("\n".join(without) + "\n", "utf-8")
        if before:
            output.write_text(_as_pylock(before), "utf-8")
        command: list[str | Path] = [program, "pip", "compile", "-q", "--no-header", "--no-annotate"]
        command += ["--python", python]
        command += ["--only-binary", ":all:", "--cache-dir", CACHE / "uv-cache", "--excludes", dropped]
        command += ["--python-version", version, "--python-platform", SYSTEMS[platform]]
        command += [] if closure else ["--no-deps"]
        result = run([*command, "--format", "pylock.toml", "-o", output, wanted], registry.environment())
        if result.returncode != 0:
            say(result.stderr.strip())
            return None
        packages: list[dict[str, Any]] = tomllib.loads(output.read_text("utf-8")).get("packages", [])
    found = []
    for item in packages:
        wheel = _best([_wheel(item, file) for file in item.get("wheels", ())], version, tags)
        if wheel is None:
            say(f"{item['name']} {item['version']} has no wheel for {platform}, CPython {version}")
            return None
        found.append(wheel)
    return sorted(found, key=lambda wheel: wheel.name)


def _wheel(package: Mapping[str, Any], file: Mapping[str, Any]) -> Wheel:
    """Return a wheel as uv's lock describes it; its size is None where the index does not tell."""
    url: str = file["url"]
    name = unquote(url.rsplit("/", 1)[-1])
    size = file.get("size")
    return Wheel(normalized(package["name"]), package["version"], name, file["hashes"]["sha256"], size, url)


def _best(candidates: Sequence[Wheel], version: str, tags: Sequence[str]) -> Wheel | None:
    """Return the wheel that an installer would prefer: for this CPython first, then the closest platform tag."""
    ranked = [(rank, wheel) for wheel in candidates if (rank := _rank(wheel.file, int(version[2:]), tags)) is not None]
    return min(ranked, key=lambda pair: (pair[0], pair[1].file))[1] if ranked else None


def _rank(file: str, minor: int, tags: Sequence[str]) -> tuple[int, int] | None:
    """Return how far a wheel is from the ideal, or None where it cannot be loaded."""
    python, abi, platforms = file.removesuffix(".whl").split("-")[-3:]
    pythons_, places = python.split("."), [_place(platform, tags) for platform in platforms.split(".")]
    place = min((found for found in places if found is not None), default=None)
    if place is None:
        return None
    if f"cp3{minor}" in pythons_ and abi == f"cp3{minor}":
        return 0, place
    if abi == "abi3" and (oldest := int(python.removeprefix("cp3"))) <= minor:
        return 1 + minor - oldest, place
    if abi == "none" and {"py3", f"py3{minor}", f"cp3{minor}"} & set(pythons_):
        return 100, place
    return None


def _place(platform: str, tags: Sequence[str]) -> int | None:
    """Return how far down a platform tag stands among `tags`; a Mac loads what was built for an older system, too."""
    if platform == "any":
        return 1_000_000
    if platform in tags:
        return tags.index(platform)
    newest, found = (re.fullmatch(r"macosx_(\d+)_(\d+)_(\w+)", tag) for tag in (tags[0], platform))
    if newest and found and found[3] in (newest[3], "universal2"):
        ours, theirs = ((int(match[1]), int(match[2])) for match in (newest, found))
        if theirs <= ours:
            return 1000 + 100 * (ours[0] - theirs[0]) + abs(ours[1] - theirs[1]) + 50 * (found[3] == "universal2")
    return None


def _as_pylock(pins: Mapping[str, str]) -> str:
    packages = "".join(f'[[packages]]\nname = "{name}"\nversion = "{pins[name]}"\n\n' for name in sorted(pins))
    return f'lock-version = "1.0"\ncreated-by = "uv"\n\n{packages}'
