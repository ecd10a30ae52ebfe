# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the Hugging Face client: which files a cache already has, and what the hub states of the others.

Runs only in the child on an environment's own Python, which has `huggingface_hub`.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..addresses import host_of, origin
from ..errors import EspalierError
from ..files import digest_of
from .hub_faults import Portal, as_failure, transient
from .hub_transfer import Expected, git_hash

_GIT, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")
_TRIES = 3
_PAUSE_S = 0.3
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A file that is wanted, as it crosses the pipe: of the hub's `repo`, or at `url`; `target` is its place."""

    key: str
    repo: str
    revision: str
    path: str
    url: str
    size: int | None
    sha256: str | None
    target: str


@dataclass(frozen=True, slots=True)
class Stated:
    """What the hub states of a file: what it has to be, and from where it comes just now."""

    expected: Expected
    location: str


class Hub:
    """The Hugging Face client, with an endpoint and a token of its own. Raises ImportError where it is missing."""

    def __init__(self, endpoint: str, token: str, ca_bundle: str) -> None:
        self._client: Any = import_module("huggingface_hub")
        self._endpoint = endpoint
        self._token = token or None
        if ca_bundle:
            self._trust(ca_bundle)

    @property
    def session(self) -> Any:
        """The client's own HTTP session: its proxy, its certificates, its offline mode."""
        return import_module("huggingface_hub.utils").get_session()

    def cached(self, wish: Wish) -> Path | None:
        """Return where the person's own Hugging Face cache has the file, if it has."""
        found = self._client.try_to_load_from_cache(wish.repo, wish.path, revision=wish.revision)
        return Path(found) if isinstance(found, str) and Path(found).is_file() else None

    def ask(self, wish: Wish) -> Stated:
        """Return what the hub states of a file. Raises EspalierError `weights_gated`, `weights_changed`, ..."""
        url = self._client.hf_hub_url(wish.repo, wish.path, revision=wish.revision, endpoint=self._endpoint)
        for attempt in range(_TRIES):
            try:
                told = self._client.get_hf_file_metadata(url, token=self._token, timeout=_PATIENCE_S)
                if told.commit_hash is None:
                    raise Portal("no commit is stated")
                break
            except Exception as error:
                if attempt + 1 == _TRIES or not transient(error):
                    raise as_failure(error, url, wish.key, wish.repo) from error
                time.sleep(_PAUSE_S * 2**attempt)
        etag, size = told.etag or "", told.size
        changed = told.commit_hash != wish.revision or (wish.size is not None and size != wish.size)
        if wish.sha256 is not None and _SHA256.fullmatch(etag):
            changed = changed or etag != wish.sha256
        if changed or size is None:
            raise EspalierError("weights_changed", repr(told), host=host_of(url), file=wish.key)
        if wish.sha256 is not None:
            return Stated(Expected(size, wish.sha256), told.location)
        if _SHA256.fullmatch(etag):
            return Stated(Expected(size, etag), told.location)
        if not _GIT.fullmatch(etag):
            raise EspalierError("weights_wrong", host=host_of(url), file=wish.key, reason="no hash is stated for it")
        return Stated(Expected(size, git=etag), told.location)

    def headers_for(self, location: str) -> dict[str, str]:
        """Return the headers to fetch `location` with: the token goes to the endpoint alone."""
        token = self._token if origin(location) == origin(self._endpoint) else False
        headers: dict[str, str] = import_module("huggingface_hub.utils").build_hf_headers(token=token)
        return headers

    def _trust(self, ca_bundle: str) -> None:
        """Trust the certificates in `ca_bundle` beside those of the system, on every platform."""
        context = ssl.create_default_context()
        try:
            folder = os.path.isdir(ca_bundle)
            context.load_verify_locations(*((None, ca_bundle) if folder else (ca_bundle,)))
        except OSError as error:
            reason = "it does not exist" if isinstance(error, FileNotFoundError) else "it holds no certificates"
            raise EspalierError("environment_ca", repr(error), path=ca_bundle, reason=reason) from error
        before = self.session
        kind = next(base for base in type(before).__mro__ if base.__name__ == "Client")
        hooks = before.event_hooks
        self._client.set_client_factory(
            lambda: kind(verify=context, event_hooks=hooks, follow_redirects=True, timeout=None)
        )


def right_hash(path: Path, wish: Wish, progress: Callable[[int], None]) -> str:
    """Return the SHA-256 of the cached file `path`, or "" where it is not what `wish` asks for.

    Where the hash is not known, the cache's own name for the file counts, which is its hash. Where a cache cannot make
    links it has no such names, and the pinned revision must do.
    """
    try:
        size = path.stat().st_size
        if size == 0 or (wish.size is not None and size != wish.size):
            return ""
        sha256 = digest_of(path, progress)
        name = os.path.basename(os.path.realpath(path))
        wanted = wish.sha256 or (name if _SHA256.fullmatch(name) else sha256)
        if wish.sha256 is None and _GIT.fullmatch(name) and git_hash(path) != name:
            return ""
    except OSError:
        return ""
    return sha256 if sha256 == wanted else ""


def configure(variables: Mapping[str, str]) -> None:
    """Set what the Hugging Face client reads from the environment; call it before the client is imported."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        os.environ.pop(name, None)
    os.environ.update(variables)
