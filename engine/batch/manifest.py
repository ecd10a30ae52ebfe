# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a manifest: CSV as spreadsheets write it, or a JSON list of objects, each row with its line in the file."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import EspalierError

Line = tuple[int, Mapping[str, Any], EspalierError | None]
"""The number of the line at which a row begins, its cells by column, and what is wrong with the line itself."""
LONGEST = 64_000_000
"""Bytes of a manifest at most; one of a million rows is smaller."""
_SEPARATORS = ",;\t"


def read_manifest(path: Path) -> list[Line]:
    """Return the rows of the CSV or JSON file `path`; empty cells and empty lines are left out.

    Names of columns are taken with capitals, hyphens and spaces, too. Raises EspalierError `manifest_unreadable`.
    """
    try:
        if path.stat().st_size > LONGEST:
            raise _unreadable(path, f"it is longer than {LONGEST // 1_000_000} MB")
        data = path.read_bytes()
        # "Unicode text" of a spreadsheet is UTF-16, and begins with a byte order mark.
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise _unreadable(path, "it is not UTF-8", error) from error
    except OSError as error:
        raise _unreadable(path, (error.strerror or "the system refused").lower(), error) from error
    if "\0" in text:
        raise _unreadable(path, "it is not a text")
    return list(_json_rows(path, text) if path.suffix.lower() == ".json" else _csv_rows(path, text))


def _csv_rows(path: Path, text: str) -> Iterator[Line]:
    """Yield the rows of a CSV; the separator is the one that the header has most of, as spreadsheets differ."""
    header = text.lstrip("\r\n").partition("\n")[0]
    separator = max(_SEPARATORS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    columns: list[str] = []
    begins = 1
    try:
        for cells in reader:
            line, begins = begins, reader.line_num + 1
            values = [cell.strip() for cell in cells]
            if not any(values):
                continue
            if not columns:
                columns = [_column(name) for name in values]
                _check_columns(path, columns)
                continue
            extra = None
            if any(values[len(columns) :]):
                extra = EspalierError("manifest_cells", count=len(values), columns=len(columns))
            named = zip(columns, values, strict=False)
            yield line, {name: value for name, value in named if name and value}, extra
    except csv.Error as error:
        raise _unreadable(path, f"line {reader.line_num}: {error}", error) from error
    if not columns:
        raise _unreadable(path, "it is empty")


def _check_columns(path: Path, columns: list[str]) -> None:
    if "image" not in columns:
        there = ", ".join(filter(None, columns))
        raise _unreadable(path, f"its header has no column called image, only {there}")
    for name in columns:
        if name and columns.count(name) > 1:
            raise _unreadable(path, f"its header has the column {name} twice")


def _json_rows(path: Path, text: str) -> Iterator[Line]:
    """Yield the objects of a JSON list; they are decoded one by one, for only so is it known where each begins."""
    decoder = json.JSONDecoder()
    at = _skip(text, 0)
    line, counted = 1, 0
    try:
        if text[at : at + 1] != "[":
            json.loads(text)
            raise _unreadable(path, "it is not a list of objects")
        at = _skip(text, at + 1)
        while text[at : at + 1] != "]":
            row, end = decoder.raw_decode(text, at)
            line, counted = line + text.count("\n", counted, at), at
            if not isinstance(row, dict):
                raise _unreadable(path, f"line {line} holds no object")
            cells = {_column(name): value for name, value in row.items() if value is not None}
            yield line, cells, None
            at = _skip(text, end)
            if text[at : at + 1] == ",":
                at = _skip(text, at + 1)
            elif text[at : at + 1] != "]":
                raise json.JSONDecodeError("expecting a comma or the end of the list", text, at)
        if _skip(text, at + 1) < len(text):
            raise json.JSONDecodeError("expecting nothing after the list", text, at + 1)
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}: {error.msg[:1].lower()}{error.msg[1:]}"
        raise _unreadable(path, reason, error) from error
    except RecursionError as error:
        raise _unreadable(path, "it is nested too deeply", error) from error


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _column(name: str) -> str:
    return name.strip().casefold().replace("-", "_").replace(" ", "_")


def _unreadable(path: Path, reason: str, error: BaseException | None = None) -> EspalierError:
    return EspalierError("manifest_unreadable", repr(error) if error else "", path=path, reason=reason)
