# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetching weights with an environment's own Python, which has the Hugging Face client: the parent's side of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ..addresses import is_loopback, origin
from ..errors import EspalierError
from ..workers.launch import Launch, bootstrap
from ..workers.link import Exit, Garbage, Link
from ..workers.log import Log
from ..workers.messages import Answer, Failed, Message, Moved, Result, RunJob, encode
from .hub_child import JOB
from .hub_files import Wish
from .sources import DEFAULT_HUB, Sources
from .weights_catalogue import WeightFile, rembg_url

_PROGRAM = "engine.environments.hub_child"
_STEP_S = 0.02
_SECRET = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "EMPIRIOLABS_API_KEY")
_QUIET = ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_UPDATE_CHECK")


def fetch(
    files: Sequence[WeightFile],
    folder: Path,
    python: tuple[str, Path],
    sources: Sources,
    log: Path,
    report: Callable[[str, int, int], None],
    check: Callable[[], None],
    have: Callable[[WeightFile, Path, int, str], None],
) -> None:
    """Bring `files` into `folder`, or find them in the person's Hugging Face cache; `have` is told of each.

    `python` is an environment's name and its interpreter. Whatever `report`, `check` and `have` raise ends the child at
    once; what it had fetched stays for the next time. Raises EspalierError of `weights_errors`.
    """
    name, interpreter = python
    endpoint = checked_endpoint(sources)
    named = {file.key: file for file in files}
    request = {
        "profile": name,
        "folder": str(folder),
        "endpoint": endpoint,
        "ca_bundle": sources.ca_bundle,
        "wishes": [asdict(_wish(file, folder)) for file in files],
        "variables": _variables(endpoint),
    }
    account = {"token": sources.hub_token, "variables": _proxy(sources)}
    package = str(Path(__file__).resolve().parents[2])
    launch = Launch(str(interpreter), (package,), script=bootstrap(_PROGRAM))
    environment = {key: value for key, value in launch.environment(1).items() if key not in _SECRET}
    link = Link(launch.command("weights"), environment, Log(log))
    link.send(encode(RunJob(JOB, request, str(folder), account=account)))
    try:
        _follow(link, named, report, check, have)
    finally:
        link.kill()
        while not isinstance(link.receive(), Exit):
            time.sleep(_STEP_S)


def checked_endpoint(sources: Sources) -> str:
    """Return the address of the hub. Raises EspalierError `weights_endpoint_invalid`."""
    url = sources.hub_url.rstrip("/")
    scheme, host, _ = origin(url)
    reason = ""
    if not host or scheme not in ("http", "https") or "@" in url:
        reason = "it is not the address of a server"
    elif sources.hub_token and scheme == "http" and not is_loopback(url):
        reason = "without https, anyone on the way could read the token"
    if reason:
        raise EspalierError("weights_endpoint_invalid", url=url.rpartition("@")[2], reason=reason)
    return url


def _follow(
    link: Link,
    named: Mapping[str, WeightFile],
    report: Callable[[str, int, int], None],
    check: Callable[[], None],
    have: Callable[[WeightFile, Path, int, str], None],
) -> None:
    """Pass on what the child says until it has done its work."""
    while True:
        check()
        message: Message | Garbage | Exit | None = link.receive()
        if message is None:
            time.sleep(_STEP_S)
        elif isinstance(message, Moved):
            report(message.stage, message.done, message.total)
        elif isinstance(message, Answer):
            told = message.answer
            have(named[message.id], Path(told["path"]), int(told["size"]), str(told["sha256"]))
        elif isinstance(message, Failed):
            raise EspalierError.from_json(message.error)
        elif isinstance(message, Result):
            return
        elif isinstance(message, Exit | Garbage):
            raise EspalierError("weights_stopped", link.last_words(), reason=message.reason)


def _wish(file: WeightFile, folder: Path) -> Wish:
    url = "" if file.repo else f"{rembg_url()}/{file.path}"
    return Wish(file.key, file.repo, file.revision, file.path, url, file.size, file.sha256, str(folder / file.place))


def _variables(endpoint: str) -> dict[str, str]:
    """Return what the Hugging Face client is to read from its environment.

    Its own faster protocol is off: it goes to other hosts than the endpoint, past mirrors and proxies, and cannot go on
    where it broke off. A token that the person has stored for the client is for the hub itself, not for a mirror.
    """
    variables = dict.fromkeys((*_QUIET, "HF_HUB_DISABLE_XET"), "1")
    if endpoint != DEFAULT_HUB:
        variables["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1"
    return {**variables, "HF_ENDPOINT": endpoint}


def _proxy(sources: Sources) -> dict[str, str]:
    if not sources.proxy:
        return {}
    return dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), sources.proxy)
