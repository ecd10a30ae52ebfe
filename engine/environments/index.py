# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the file of a package lies: read from the one index that may be asked for it, in HTML (PEP 503) or JSON (691).

The default index, or a mirror of it, is asked for packages of the registry alone. All others have a source of their
own, and nobody else is asked for them, since strangers hold or can claim their names elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

from ..addresses import host_of
from ..errors import EspalierError
from .connection import Connection, is_safe
from .lock import REGISTRY, Lock, Package
from .wheel import parse_wheel, version_key

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.6, text/html;q=0.5, */*;q=0.1"
_FILES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".egg")
_SIGNS = ("pypi:repository-version", "links for", "simple index")


@dataclass(frozen=True)
class Link:
    """A file that an index offers; `sha256` is empty where the index does not state it."""

    file: str
    url: str
    sha256: str = ""


def locate(package: Package, lock: Lock, connection: Connection) -> Link:
    """Return where the file of `package` lies, by its own source alone. Raises EspalierError."""
    url = package.source
    if package.source == REGISTRY:
        url = f"{connection.sources.index_url.rstrip('/')}/{package.name}/"
    elif package.source.endswith(".whl"):
        return Link(unquote(urlsplit(url).path).rpartition("/")[2], url)
    links = list(read_index(*connection.page(url, package.name, ACCEPT), package.name))
    found = [link for link in links if link.file == package.file]
    if not package.locked:
        found = _suitable(package, lock, links)
    if not found:
        name = package.file or f"a wheel of {package.name} {package.version} for Python {lock.python}"
        raise EspalierError("environment_not_offered", host=host_of(url), name=name)
    link = found[-1]
    if package.locked and link.sha256 not in ("", package.sha256):
        detail = f"the index states {link.sha256} in place of {package.sha256}"
        reason = "the index itself states another hash"
        raise EspalierError("environment_wrong_file", detail, host=host_of(url), name=package.file, reason=reason)
    if not package.locked and not is_safe(link.url):
        raise EspalierError("environment_insecure", name=package.name, host=host_of(link.url))
    return link


def read_index(text: str, kind: str, url: str, name: str) -> Iterator[Link]:
    """Yield the files of an index page. Raises EspalierError `environment_portal` for a page that is none."""
    if "json" in kind:
        try:
            for item in json.loads(text)["files"]:
                hashes = item.get("hashes") or {}
                yield Link(item["filename"], urljoin(url, item["url"]), str(hashes.get("sha256", "")).lower())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EspalierError("environment_portal", repr(error), host=host_of(url), name=name) from error
        return
    anchors = _Anchors()
    anchors.feed(text)
    base = urljoin(url, anchors.base)
    links = []
    for target in anchors.targets:
        try:
            parts = urlsplit(urljoin(base, target))
        except ValueError:
            continue
        file = unquote(parts.path).rpartition("/")[2]
        algorithm, _, digest = parts.fragment.partition("=")
        if file.endswith(_FILES):
            links.append(Link(file, parts._replace(fragment="").geturl(), digest if algorithm == "sha256" else ""))
    if not links and not any(sign in text.lower() for sign in _SIGNS):
        raise EspalierError("environment_portal", host=host_of(url), name=name)
    yield from links


def _suitable(package: Package, lock: Lock, links: list[Link]) -> list[Link]:
    """Return the wheels of `links` that can be `package`, the best last. Never anything that would have to be built."""
    found = []
    for link in links:
        wheel = parse_wheel(link.file)
        if wheel is None or wheel.name != package.name or not wheel.runs(lock.python, lock.platform):
            continue
        if package.version in ("", wheel.version, wheel.version.partition("+")[0]):
            found.append((version_key(wheel.version), link))
    return [link for _, link in sorted(found, key=lambda item: item[0])]


class _Anchors(HTMLParser):
    """Collects the targets of links, and the address that they are relative to."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get("href")
        if tag == "a" and target:
            self.targets.append(target)
        elif tag == "base" and target:
            self.base = target
