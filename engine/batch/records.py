# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each row, on disk at once: a line of a journal an asset, so that a kill loses nothing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from ..errors import EspalierError
from ..files import unwritable
from .rows import Row, Wanted, content_of, thumbnail_of

KIND = "espalier batch report"
WAITING, DONE, FAILED, SKIPPED = "waiting", "done", "failed", "skipped"
_REPORT = re.compile(r"report(-[0-9]+-of-[0-9]+)?\.json")
_JOURNAL = re.compile(r"\.report(-[0-9]+-of-[0-9]+)?\.journal")


@dataclass(frozen=True, slots=True)
class Record:
    """One row in the report. `files` are relative to the output; `error` is {code, cause, remedy} of one that failed.

    `part` is what was, or is to be, put into the one .blend of all assets.
    `seconds` is what the engine worked, `bytes` the size of all files, `usd` what was billed as far as is known.
    """

    row: int
    image: str
    name: str
    engine: str
    state: str = WAITING
    line: int = 0
    key: str = ""
    stem: str = ""
    job: str = ""
    seconds: float | None = None
    vertices: int | None = None
    faces: int | None = None
    texture_size: int | None = None
    usd: float | None = None
    bytes: int = 0
    part: str = ""
    files: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    error: dict[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Record:
        """Return the record that `to_json` described. Raises ValueError, TypeError or KeyError where it is none."""
        if not isinstance(data, dict) or not isinstance(data.get("files"), dict):
            raise ValueError("not a record")
        names = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in names})


def report_name(shard: tuple[int, int] | None) -> str:
    """Return the name of the report of a shard, or of the whole."""
    return "report" if shard is None else f"report-{shard[0]}-of-{shard[1]}"


class Journal:
    """The lines that a run has added so far, in a hidden file of `output` that goes once the report is whole."""

    def __init__(self, output: Path, name: str) -> None:
        self.path = output / f".{name}.journal"
        self._file: TextIO | None = None

    def add(self, record: Record) -> None:
        """Write a line, and see it on the disk. Raises EspalierError `disk_full` or `output_unwritable`."""
        try:
            if self._file is None:
                self._file = self.path.open("w", encoding="utf-8", newline="\n")
            self._file.write(json.dumps(record.to_json()) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error

    def begin(self, records: Iterable[Record]) -> None:
        """Begin anew with what is known already. Raises EspalierError as `add`."""
        self.close()
        lines = "".join(json.dumps(record.to_json()) + "\n" for record in records)
        try:
            fresh = self.path.with_name(f"{self.path.name}.new")
            with fresh.open("w", encoding="utf-8", newline="\n") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, self.path)
            self._file = self.path.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def remove(self) -> None:
        """Remove the file: what it holds is in the report now."""
        self.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def load(output: Path, only: str = "") -> list[Record]:
    """Return what was done in `output` by earlier runs, of all shards or of the report `only`; the newest of each job.

    Raises EspalierError `batch_report_damaged`. The last line of a journal may be torn by a kill, and is left out then.
    """
    found: dict[tuple[str, str], Record] = {}
    paths = sorted(output.iterdir()) if output.is_dir() else []
    # Journals last: they are newer than the report of the same run.
    for path in sorted(paths, key=lambda path: path.name.startswith(".")):
        report, journal = _REPORT.fullmatch(path.name), _JOURNAL.fullmatch(path.name)
        if not (report or journal) or (only and path.name not in (f"{only}.json", f".{only}.journal")):
            continue
        try:
            text = path.read_text("utf-8")
            for record in _journal(text) if journal else _report(text):
                if record.state == DONE:
                    found[record.stem, record.key] = record
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise EspalierError("batch_report_damaged", repr(error), path=path) from error
    return list(found.values())


def _report(text: str) -> list[Record]:
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise ValueError("not a report")
    return [Record.from_json(item) for item in data["rows"]]


def _journal(text: str) -> list[Record]:
    whole = text[: text.rfind("\n") + 1]
    return [Record.from_json(json.loads(line)) for line in whole.splitlines()]


@dataclass(frozen=True, slots=True)
class Known:
    """What earlier runs tell of the rows of this one, by their numbers.

    `done` are the records of rows that need nothing more, `stems` the names of those that lack a file, `keys` the keys
    of all; `others` are records of no row.
    """

    done: dict[int, Record] = field(default_factory=dict)
    stems: dict[int, PurePosixPath] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict)
    others: list[Record] = field(default_factory=list)


def match(rows: Sequence[Row], earlier: Sequence[Record], wanted: Wanted, output: Path) -> Known:
    """Return what the records `earlier` tell of `rows`.

    A row is done where a record has its key, which is of content and settings, and all the files wanted now are there,
    whole. Each record stands for one row.
    """
    known = Known()
    left: dict[str, list[Record]] = {}
    for record in earlier:
        left.setdefault(record.key, []).append(record)
    for row in rows:
        content = content_of(row.request.image)
        known.keys[row.number] = key = row.key(content) if content else ""
        alike = left.get(key, []) if key else []
        whole = next((record for record in alike if _whole(record, wanted, output)), None)
        if whole is not None:
            known.done[row.number] = whole
            alike.remove(whole)
        elif alike and alike[0].stem:
            known.stems[row.number] = PurePosixPath(alike.pop(0).stem)
    known.others.extend(record for records in left.values() for record in records)
    return known


def _whole(record: Record, wanted: Wanted, output: Path) -> bool:
    """Tell whether the files of a done record are there, as long as they were."""
    stem = PurePosixPath(record.stem)
    names = {name: path.as_posix() for name, path in wanted.files(stem).items()}
    if not record.stem or any(record.files.get(name) != path for name, path in names.items()):
        return False
    library = wanted.library
    if library is not None and not (record.part and ((output / record.part).is_file() or library.is_file())):
        return False
    try:
        return record.bytes == sum((output / name).stat().st_size for name in record.files.values())
    except OSError:
        return False


def files_of(records: Iterable[Record]) -> list[PurePosixPath]:
    """Return the files of `records` and their thumbnails: names that others may not get."""
    found = [PurePosixPath(name) for record in records for name in record.files.values()]
    return [*found, *(thumbnail_of(PurePosixPath(record.stem)) for record in records if record.stem)]
