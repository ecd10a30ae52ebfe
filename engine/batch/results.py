# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a batch: JSON for programs, CSV for spreadsheets, an HTML contact sheet for eyes."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import EspalierError
from ..files import replacing
from .records import DONE, FAILED, KIND, SKIPPED, WAITING, Journal, Record
from .sheet import contact_sheet

VERSION = 1
SHARE = 0.01
"""How much of the time writing the whole report may take while the batch runs; the journal has all at once."""
COLUMNS = (
    *("row", "line", "state", "name", "image", "engine"),
    *("seconds", "vertices", "faces", "texture_size", "usd", "bytes"),
    *("code", "cause", "remedy", "glb", "settings", "job"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Results:
    """What is known of all rows, kept in `output` under `name`. `about` says what the batch was asked for."""

    def __init__(self, output: Path, name: str, about: Mapping[str, Any], records: Sequence[Record]) -> None:
        self._base = output / name
        self._about = {"kind": KIND, "version": VERSION, **about, "started": _now(), "finished": None}
        self._records = list(records)
        self._places = {record.row: index for index, record in enumerate(records) if record.row}
        self._journal = Journal(output, name)
        self._next = 0.0

    def begin(self) -> None:
        """Write down what is known before the batch begins. Raises EspalierError if that cannot be written."""
        self._journal.begin(record for record in self._records if record.state == DONE)
        self.write()

    def put(self, record: Record) -> None:
        """Note what became of a row: in the journal now, in the report as soon as that is due.

        Raises EspalierError `disk_full` or `output_unwritable`; the record is in the next report all the same.
        """
        self._records[self._places[record.row]] = record
        if record.state in (DONE, FAILED):
            self._journal.add(record)
        if time.monotonic() >= self._next:
            self.write()

    def of(self, row: int) -> Record:
        """Return the record of a row."""
        return self._records[self._places[row]]

    @property
    def records(self) -> list[Record]:
        """All records, those of other images last."""
        return list(self._records)

    def count(self) -> Counter[str]:
        """Return how many rows of this batch are in each state."""
        return Counter(record.state for record in self._records if record.row)

    def write(self) -> None:
        """Write the three files, each whole or not at all. Raises EspalierError."""
        began = time.monotonic()
        records = self.records
        counts = self.count()
        spent = [record.usd for record in records if record.usd is not None]
        summary = {
            **self._about,
            "counts": {state: counts[state] for state in (DONE, FAILED, SKIPPED, WAITING)},
            "usd": round(sum(spent), 4) if spent else None,
        }
        rows = ",\n".join(json.dumps(record.to_json(), ensure_ascii=False) for record in records)
        head = json.dumps(summary, ensure_ascii=False, indent=1)[:-2]
        self._put(".json", f'{head},\n "rows": [\n{rows}\n]}}\n')
        self._put(".csv", "\ufeff" + as_csv(records))
        self._put(".html", contact_sheet(summary, records))
        now = time.monotonic()
        self._next = now + (now - began) / SHARE

    def finish(self) -> None:
        """Write the report for the last time, and let go of the journal. Raises EspalierError."""
        self._about["finished"] = _now()
        try:
            self.write()
        except EspalierError:
            self._journal.close()
            raise
        self._journal.remove()

    def _put(self, suffix: str, text: str) -> None:
        with replacing(self._base.with_name(self._base.name + suffix)) as partial:
            partial.write_text(text, "utf-8", newline="")


def as_csv(records: Iterable[Record]) -> str:
    """Return the records as CSV with a header. A text that a spreadsheet would take for a formula gets a quote."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for record in records:
        data = {**record.to_json(), **(record.error or {}), "glb": record.files.get("glb", "")}
        data["settings"] = " ".join(f"{name}={value}" for name, value in record.settings.items())
        writer.writerow(_cell(data.get(name)) for name in COLUMNS)
    return stream.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return value


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
