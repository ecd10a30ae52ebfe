# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock a package that has a source of its own: a page of links, as package indexes have them, or the very file."""

from __future__ import annotations

import html
import importlib
import os
import re
import shutil
import ssl
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from common import ROOT, say, sha256
from resolve import normalized

sys.path.append(str(ROOT))
repack = importlib.import_module("engine.environments.repack")

OUT_OF_REACH = "The index host could not be reached when this lock was made."
NOT_THERE = "The index had no wheel of this version for this platform and CPython when this lock was made."
TIMEOUT_S = 30.0
MARKS = {
    "linux-x64": r"(many)?linux\w*_x86_64",
    "macos-arm64": r"macosx_\w+_(arm64|universal2)",
    "windows-x64": "win_amd64",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A package with a source of its own, on some `platforms`, or on all where there are none.

    `url` is its page of links (with a slash at the end), its very wheel, or a zip of its repository to repack.
    """

    name: str
    version: str
    url: str
    license: str = ""
    home: str = ""
    platforms: tuple[str, ...] = ()


def entry(source: Source, version: str, platform: str, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the package of a lock for `source`: locked, or as `before` where that still holds, or with its reason."""
    item: dict[str, Any] = {"name": source.name, "version": source.version, "source": source.url}
    try:
        found = _find(source, version, platform)
        why = "" if found else NOT_THERE
    except OSError as error:
        say(f"    {source.url}: {error}")
        found, why = None, OUT_OF_REACH
    if found:
        return {**item, "file": found[0], "sha256": found[1], "size": found[2]}
    if before and before["sha256"] and all(before[key] == item[key] for key in item):
        return dict(before)
    return {**item, "file": None, "sha256": None, "size": None, "why": why}


def size(url: str) -> int:
    """Return how many bytes the file at `url` has, as its server says; raises OSError where it does not."""
    with opened(urllib.request.Request(url)) as answer:  # not HEAD, which some servers refuse; the body is left unread
        length = answer.headers.get("Content-Length")
    if length is None:
        raise OSError(f"{url} does not tell its size")
    return int(length)


def download(item: Mapping[str, Any], version: str, platform: str, target: Path) -> None:
    """Fetch the file of a locked package from its own source to `target`; raises OSError where it is another one."""
    source = Source(item["name"], item["version"], item["source"])
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        found = _fetch(source, version, platform, Path(folder))
        if found is None or (found.name, sha256(found)) != (item["file"], item["sha256"]):
            raise OSError(f"{source.url} does not have the file that the lock names")
        found.replace(target)


def _find(source: Source, version: str, platform: str) -> tuple[str, str, int] | None:
    """Return file name, SHA-256 and size; the file is read whole, so that all three are true."""
    with tempfile.TemporaryDirectory() as folder:
        found = _fetch(source, version, platform, Path(folder))
        return (found.name, sha256(found), found.stat().st_size) if found else None


def _fetch(source: Source, version: str, platform: str, folder: Path) -> Path | None:
    """Return the wheel of `source`, fetched into `folder`, or None where its page has none that fits."""
    if source.url.endswith(".zip"):
        wheel = folder / repack.wheel_name(source.name, source.version)
        _save(source.url, archive := folder / "source.zip")
        try:
            repack.repack(archive, wheel, source.name, source.version)
        except ValueError as error:
            raise OSError(str(error)) from error
        return wheel
    wanted = source.url
    if source.url.endswith("/"):
        links = (link for link in _links(source.url) if _fits(link, source, version, platform))
        if (wanted := next(links, "")) == "":
            return None
    url, fragment = urldefrag(wanted)
    wheel = folder / _name(url)
    _save(url, wheel)
    if fragment.startswith("sha256=") and fragment.removeprefix("sha256=") != sha256(wheel):
        raise OSError(f"{url} is not the file that its page announces")
    return wheel


def _links(page: str) -> Iterator[str]:
    with opened(urllib.request.Request(page, headers={"Accept": "text/html"})) as answer:
        text, base = answer.read().decode("utf-8", "replace"), answer.url
    for link in re.findall(r"""href=["']([^"']+\.whl[^"']*)["']""", text):
        yield urljoin(base, html.unescape(link))


def _fits(link: str, source: Source, version: str, platform: str) -> bool:
    parts = _name(urldefrag(link).url).removesuffix(".whl").split("-")
    if len(parts) != 5 or normalized(parts[0]) != source.name or parts[1] != source.version:
        return False
    tag = f"cp{version.replace('.', '')}"
    pure = parts[2:] == ["py3", "none", "any"]
    return pure or (parts[2] == parts[3] == tag and re.fullmatch(MARKS[platform], parts[4].split(".")[0]) is not None)


def _name(url: str) -> str:
    return unquote(url.rsplit("/", 1)[-1])


def _save(url: str, target: Path) -> None:
    with opened(urllib.request.Request(url)) as answer, target.open("wb") as file:
        shutil.copyfileobj(answer, file, 1 << 20)


def opened(request: urllib.request.Request) -> Any:
    """Return the answer to `request`; raises OSError where there is none."""
    file = os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT")
    context = ssl.create_default_context(cafile=file or None)
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context)
    except (urllib.error.URLError, ValueError) as error:
        raise OSError(str(error)) from error
