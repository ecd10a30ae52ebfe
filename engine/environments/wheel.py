# SPDX-License-Identifier: GPL-3.0-or-later
"""What the name of a wheel tells: package, version, for which Pythons and platforms (PEP 427); its list's hashes."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .platforms import LINUX, MACOS, WINDOWS

_PLATFORMS = {
    LINUX: re.compile(r"(any|(linux|manylinux\w+)_x86_64)"),
    WINDOWS: re.compile(r"(any|win_amd64)"),
    MACOS: re.compile(r"(any|macosx_\d+_\d+_(arm64|universal2))"),
}


@dataclass(frozen=True)
class WheelName:
    """The parts of the name `file`; `name` is normalized as PEP 503 says."""

    file: str
    name: str
    version: str
    pythons: tuple[str, ...]
    abis: tuple[str, ...]
    platforms: tuple[str, ...]

    def runs(self, python: str, platform: str) -> bool:
        """Tell whether it can be installed for CPython `python` on `platform`."""
        return self._suits_python(python) and self.runs_on(platform)

    def runs_on(self, platform: str) -> bool:
        """Tell whether it is built for `platform`."""
        pattern = _PLATFORMS.get(platform, re.compile("any"))
        return any(pattern.fullmatch(tag) for tag in self.platforms)

    def _suits_python(self, python: str) -> bool:
        major, _, minor = python.partition(".")
        own = f"cp{major}{minor}"
        if own in self.pythons and {own, "abi3", "none"} & set(self.abis):
            return True
        if "abi3" in self.abis:
            return any(_minor(tag, f"cp{major}") <= int(minor) for tag in self.pythons)
        return "none" in self.abis and any(tag in (f"py{major}", f"py{major}{minor}") for tag in self.pythons)


def normalized(name: str) -> str:
    """Return the name of a package as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_wheel(file: str) -> WheelName | None:
    """Return what the file name tells, None where it is not that of a wheel."""
    parts = file.removesuffix(".whl").split("-")
    if not file.endswith(".whl") or len(parts) not in (5, 6):
        return None
    tags = (tuple(part.split(".")) for part in parts[-3:])
    return WheelName(file, normalized(parts[0]), parts[1], *tags)


def record_hash(digest: str, algorithm: str = "sha256") -> str:
    """Return a file's hash, given in hexadecimal digits, as a wheel's RECORD has it."""
    return f"{algorithm}=" + base64.urlsafe_b64encode(bytes.fromhex(digest)).decode("ascii").rstrip("=")


def version_key(version: str) -> tuple[tuple[int, str], ...]:
    """Return what sorts versions of one package: pre-releases before the release, local builds after it."""
    public, _, local = version.lower().partition("+")
    return (*_parts(public), (0, ""), *_parts(local))


def _parts(text: str) -> Iterator[tuple[int, str]]:
    for part in re.findall(r"\d+|[a-z]+", text):
        yield (int(part), "") if part.isdigit() else (0 if part == "post" else -1, part)


def _minor(tag: str, prefix: str) -> int:
    rest = tag.removeprefix(prefix)
    return int(rest) if tag.startswith(prefix) and rest.isdigit() else 1 << 30
