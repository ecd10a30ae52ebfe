# SPDX-License-Identifier: GPL-3.0-or-later
"""Which weights are there: an index of where each file lies, how large it is and what its hash is.

A file lies in the folder of weights or, where the person has it already, in the Hugging Face cache: the index alone
knows. It is a file of JSON beside the weights, written anew whenever a file has been fetched or found to be right.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..files import make_folder, replacing
from .places import Places
from .weights_catalogue import WeightFile

VARIABLE = "ESPALIER_WEIGHTS"
"""Names the folder of weights, for whoever wants it elsewhere, and for an engine's process."""
_FILE = "weights.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that is there: where, of which revision, how many bytes, with which SHA-256, and whether it was damaged."""

    path: str
    revision: str
    size: int
    sha256: str
    damaged: bool = False

    def fits(self, file: WeightFile) -> bool:
        """Tell, by a glance at its size, whether it is `file` and still there."""
        right = self.revision == file.revision and file.size in (None, self.size) and not self.damaged
        right = right and file.sha256 in (None, self.sha256)
        try:
            return right and os.stat(self.path).st_size == self.size
        except OSError:
            return False


def folder(places: Places) -> Path:
    """Return the folder of weights: what ESPALIER_WEIGHTS says, else the one in `places`."""
    chosen = os.environ.get(VARIABLE, "").strip()
    return Path(chosen) if chosen else places.root / "weights"


def read_index(places: Places) -> dict[str, Entry]:
    """Return the index by the files' keys; one that cannot be read is empty, and what is there is found anew."""
    entries: dict[str, Entry] = {}
    base = folder(places)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        for key, told in json.loads((base / _FILE).read_text("utf-8")).items():
            with contextlib.suppress(KeyError, TypeError, ValueError):
                path = base / str(told["path"])  # an absolute path, of a cache, stays itself
                entries[key] = Entry(
                    str(path), str(told["revision"]), int(told["size"]), str(told["sha256"]), bool(told["damaged"])
                )
    return entries


def write_index(places: Places, entries: Mapping[str, Entry]) -> None:
    """Write the index; paths below the folder are kept relative to it, so that it can be moved.

    Raises EspalierError `disk_full` or `output_unwritable`.
    """
    base = folder(places)
    make_folder(base)
    told = {}
    for key, entry in sorted(entries.items()):
        path = Path(entry.path)
        inside = path.is_relative_to(base)
        told[key] = {**asdict(entry), "path": path.relative_to(base).as_posix() if inside else entry.path}
    with replacing(base / _FILE) as partial:
        partial.write_text(json.dumps(told, indent=1), "utf-8")


def missing(entries: Mapping[str, Entry], files: Iterable[WeightFile]) -> list[WeightFile]:
    """Return those of `files` that are not there as they should be, by a glance."""
    return [file for file in files if file.key not in entries or not entries[file.key].fits(file)]


def remove_index(places: Places) -> None:
    """Remove the index. Raises OSError."""
    (folder(places) / _FILE).unlink(missing_ok=True)
