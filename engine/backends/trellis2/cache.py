# SPDX-License-Identifier: GPL-3.0-or-later
"""Finished stages on the disk: each under a digest of everything that it came from, the oldest leaving first."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import EspalierError
from ...files import replacing, unwritable

VERSION = 1
"""Goes into every digest: raised when a stage comes to mean something else."""
SUFFIX = ".stage"
_DIGEST = 32


def digest(stage: str, inputs: Mapping[str, Any]) -> str:
    """Return the name of what `stage` makes of `inputs`, plain JSON data."""
    text = json.dumps([VERSION, stage, inputs], sort_keys=True, ensure_ascii=True)
    return f"{stage}-{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a stage made: `tensors` by name, and `facts`, plain JSON data."""

    tensors: Mapping[str, Any]
    facts: Mapping[str, Any]


class Cache:
    """Entries in `folder`, at most `limit` bytes of them. Without a folder nothing is kept."""

    def __init__(self, folder: Path | None, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self.problem: EspalierError | None = None
        """Why something could not be kept, if so; nothing else suffers from it."""

    def load(self, name: str) -> Entry | None:
        """Return the entry called `name`, or None; one that is damaged is removed."""
        if self._folder is None:
            return None
        from safetensors.torch import load

        path = self._folder / f"{name}{SUFFIX}"
        try:
            data = path.read_bytes()
        except OSError:
            return None
        body = data[_DIGEST:]
        if hashlib.sha256(body).digest() != data[:_DIGEST]:
            path.unlink(missing_ok=True)
            return None
        length = int.from_bytes(body[:8], "little")
        facts = json.loads(json.loads(body[8 : 8 + length])["__metadata__"]["facts"])
        with suppress(OSError):
            os.utime(path)
        return Entry(load(body), facts)

    def store(self, name: str, entry: Entry) -> None:
        """Keep `entry` as `name`, and let the oldest go where that is too much; see `problem`."""
        if self._folder is None:
            return
        from safetensors.torch import save

        plain = {key: value.detach().cpu().contiguous() for key, value in entry.tensors.items()}
        body = save(plain, {"facts": json.dumps(dict(entry.facts))})
        if _DIGEST + len(body) > self._limit:
            return
        make_room(self._folder, self._limit - _DIGEST - len(body))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with replacing(self._folder / f"{name}{SUFFIX}") as partial, partial.open("wb") as file:
                file.write(hashlib.sha256(body).digest())
                file.write(body)
        except (EspalierError, OSError) as error:
            self.problem = error if isinstance(error, EspalierError) else unwritable(self._folder, error)
            self._folder = None


def size(folder: Path) -> int:
    """Return how many bytes the entries in `folder` take."""
    return sum(_size(path) for path in _entries(folder))


def clear(folder: Path) -> None:
    """Remove all entries in `folder`, and what an interrupted run has left there."""
    make_room(folder, 0)
    if folder.is_dir():
        for path in folder.glob(f".*{SUFFIX}"):
            with suppress(OSError):
                path.unlink()


def make_room(folder: Path, most: int) -> None:
    """Remove the entries in `folder` that were not used for longest, until at most `most` bytes are left."""
    entries = sorted(_entries(folder), key=_age)
    total = sum(map(_size, entries))
    for path in entries:
        if total <= most:
            return
        total -= _size(path)
        with suppress(OSError):
            path.unlink()


def _entries(folder: Path) -> list[Path]:
    return [path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith(".")] if folder.is_dir() else []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
