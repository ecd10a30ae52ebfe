# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock a package that has a source of its own: a page of links, as package indexes have them, or the very file."""

from __future__ import annotations

import hashlib
import html
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag, urljoin

from common import say
from resolve import normalized

if TYPE_CHECKING:
    from profiles import Source

OUT_OF_REACH = "The index host could not be reached when this lock was made."
NOT_THERE = "The index had no wheel of this version for this platform and CPython when this lock was made."
TIMEOUT_S = 30.0
MARKS = {
    "linux-x64": r"(many)?linux\w*_x86_64",
    "macos-arm64": r"macosx_\w+_(arm64|universal2)",
    "windows-x64": "win_amd64",
}
    "linux-x64": r"(many)?linux\w*_x86_64",
    "macos-arm64": r"macosx_\w+_(arm64|universal2)",
    "windows-x64": "win_amd64",
}


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
    with _open(urllib.request.Request(url, method="HEAD")) as answer:
        length = answer.headers.get("Content-Length")
    if length is None:
        raise OSError(f"{url} does not tell its size")
    return int(length)


def _find(source: Source, version: str, platform: str) -> tuple[str, str, int] | None:
    """Return file name, SHA-256 and size; the file is read whole, so that all three are true."""
    if source.url.endswith("/"):
        wanted = next((link for link in _links(source.url) if _fits(link, source, version, platform)), None)
    else:
        wanted = source.url
    if wanted is None:
        return None
    url, fragment = urldefrag(wanted)
    digest, length = _measure(url)
    if fragment.startswith("sha256=") and fragment.removeprefix("sha256=") != digest:
        raise OSError(f"{url} is not the file that its page announces")
    return _name(url), digest, length


def _links(page: str) -> Iterator[str]:
    with _open(urllib.request.Request(page, headers={"Accept": "text/html"})) as answer:
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


def _measure(url: str) -> tuple[str, int]:
    digest, length = hashlib.sha256(), 0
    with _open(urllib.request.Request(url)) as answer:
        while block := answer.read(1 << 20):
            digest.update(block)
            length += len(block)
    return digest.hexdigest(), length


def _open(request: urllib.request.Request) -> Any:
    file = os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT")
    context = ssl.create_default_context(cafile=file or None)
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context)
    except (urllib.error.URLError, ValueError) as error:
        raise OSError(str(error)) from error
