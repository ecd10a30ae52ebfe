# SPDX-License-Identifier: GPL-3.0-or-later
"""Write NOTICES.md: the license and home of every package that the zips carry or that an environment fetches.

Both are read from the package's own metadata, of which a few kilobytes are fetched from the middle of its wheel. What
NOTICES.md says already of a package and version is not fetched again.
"""

from __future__ import annotations

import email.parser
import email.policy
import io
import json
import re
import urllib.request
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.message import Message

import explicit
from common import LOCKS, WHEELS, replacing, say
from profiles import EXPLICIT
from resolve import Wheel, normalized

FILE = WHEELS / "NOTICES.md"
HEAD = """<!-- Written by `make lock`; do not edit. -->
# Third-party notices

Espalier itself is GPL-3.0-or-later. Its zips carry the packages marked *zip*, unchanged, with their license texts
inside the wheels. The environments `cpu` and `cuda` fetch the others when a person installs them; each is under its own
license.

| package | version | license | home | in |
| --- | --- | --- | --- | --- |
"""
ROW = re.compile(r"^\| ([a-z0-9-]+) \| (\S+) \| (.+) \| (\S*) \| .+ \|$", re.MULTILINE)
LONGEST = 80
UNSTATED = "not stated; see the wheel"
PREFERRED = ("homepage", "home", "source", "source code", "repository", "github", "code", "documentation")


def write(found: Iterable[Wheel]) -> None:
    """Write the file anew; `found` are the wheels of the registry that may have to be asked."""
    places = uses()
    urls = {(wheel.name, wheel.version): wheel for wheel in found}
    known = {(name, version): (words, home) for name, version, words, home in rows()}
    known |= {(item.name, item.version): (item.license, item.home) for items in EXPLICIT.values() for item in items}
    missing = [key for key in sorted(places) if key not in known]
    if missing:
        say(f"Reading the licenses of {len(missing)} packages")
        with ThreadPoolExecutor(4) as pool:
            known |= dict(zip(missing, pool.map(lambda key: described(metadata(urls[key])), missing), strict=True))
    lines = [
        f"| {name} | {version} | {known[name, version][0]} | {known[name, version][1]} | {', '.join(sorted(where))} |\n"
        for (name, version), where in sorted(places.items())
    ]
    with replacing(FILE) as path:
        path.write_text(HEAD + "".join(lines), "utf-8")


def rows() -> list[tuple[str, str, str, str]]:
    """Return name, version, license and home of each package in the file as it is."""
    return ROW.findall(FILE.read_text("utf-8")) if FILE.exists() else []


def uses() -> dict[tuple[str, str], set[str]]:
    """Return (name, version) of every locked package -> where it is used: the zip, or environments by their names."""
    bundle = json.loads((WHEELS / "bundle.json").read_text("utf-8"))
    carried = json.loads((WHEELS / "carried.json").read_text("utf-8"))
    items = [item for versions in bundle.values() for items in versions.values() for item in items]
    items += [item for platform in carried.values() for item in platform]
    found: dict[tuple[str, str], set[str]] = {}
    for item in items:
        name, version, *_ = item["file"].split("-")
        found.setdefault((normalized(name), version), set()).add("zip")
    for path in LOCKS.glob("*.json"):
        lock = json.loads(path.read_text("utf-8"))
        for item in lock["packages"]:
            found.setdefault((item["name"], item["version"]), set()).add(lock["profile"])
    return found


def described(message: Message) -> tuple[str, str]:
    """Return license and home as a package's metadata state them, each on one line."""
    classifiers = [
        line.split(" :: ")[-1] for line in message.get_all("Classifier", ()) if line.startswith("License ::")
    ]
    text = " ".join((message.get("License") or "").split())
    stated = message.get("License-Expression") or (text if 0 < len(text) <= LONGEST else "")
    words = stated or ", ".join(name for *_, name in classifiers if name != "OSI Approved") or text[:LONGEST].strip()
    pages: Mapping[str, str] = {
        label.strip().lower(): address.strip()
        for label, _, address in (line.partition(",") for line in message.get_all("Project-URL", ()))
    }
    home = next((pages[label] for label in PREFERRED if label in pages), next(iter(pages.values()), ""))
    home = (message.get("Home-page") or "").strip() or home
    return words.replace("|", "/") or UNSTATED, home if re.fullmatch(r"https?://[^\s|]+", home) else ""


def metadata(wheel: Wheel) -> Message:
    """Return the METADATA of a wheel, without fetching all of it where its server can send a part."""
    with zipfile.ZipFile(io.BufferedReader(_Remote(wheel.url), 1 << 16)) as archive:
        name = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        text = archive.read(name).decode("utf-8", "replace")
    return email.parser.Parser(policy=email.policy.compat32).parsestr(text, headersonly=True)


class _Remote(io.RawIOBase):
    """A file on a server, read by ranges."""

    def __init__(self, url: str) -> None:
        self.url, self.size, self.position = url, explicit.size(url), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        end = min(self.position + len(buffer), self.size)
        if end <= self.position:
            return 0
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={self.position}-{end - 1}"})
        with explicit.opened(request) as answer:
            if answer.status == 206:
                part = answer.read()
            else:
                answer.read(self.position)
                part = answer.read(end - self.position)
        buffer[: len(part)] = part
        self.position += len(part)
        return len(part)
