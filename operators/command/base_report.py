# SPDX-License-Identifier: GPL-3.0-or-later
"""How every command tells what it does: lines and one live line for a person, or a line of JSON per event."""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from itertools import accumulate
from typing import Any, TextIO

from ...engine.errors import EspalierError
from . import NAME


class BaseReport:
    """Tells `stream` events as JSON lines, or text. `live`: it is a terminal, whose last line may change."""

    def __init__(self, stream: TextIO, as_json: bool) -> None:
        self._stream = stream
        self._json = as_json
        self.live = not as_json and stream.isatty()

    def _event(self, event: str, **fields: Any) -> None:
        """Tell a program; a person sees nothing of it."""
        if self._json:
            self._write(json.dumps({"event": event, **fields}, ensure_ascii=False))

    def _print(self, text: str) -> None:
        """Tell a person, in the place of the live line; a program sees nothing of it."""
        if not self._json:
            self._clear()
            self._write(text)

    def _draw(self, line: str) -> None:
        """Let the live line of a terminal be `line`, as far as there is room."""
        room = shutil.get_terminal_size().columns - 1
        widths = accumulate(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)
        fitting = "".join(letter for letter, width in zip(line, widths, strict=True) if width <= room)
        self._stream.write(f"\r\x1b[K{fitting}")
        self._stream.flush()

    def _clear(self) -> None:
        """Take the live line away, so that something else can be told."""
        if self.live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _complain(self, event: str, about: str, error: EspalierError, **fields: Any) -> None:
        """Tell of `error`: as `event`, and on standard error, where what it is `about` goes first."""
        self._clear()
        told = {"code": error.code, "cause": error.cause, "remedy": error.remedy, "detail": error.detail}
        self._event(event, **fields, **told)
        print(f"{NAME}: {about}: {error}" if about else f"{NAME}: {error}", file=sys.stderr, flush=True)
        if error.code == "internal":
            print(error.detail, file=sys.stderr, flush=True)

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()
