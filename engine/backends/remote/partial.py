# SPDX-License-Identifier: GPL-3.0-or-later
"""A GLB that is coming in: its bytes so far, what its own header says of it, and whether it is whole and sound."""

from __future__ import annotations

import json
import os
import re
import struct
import threading
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ...files import sync_file, sync_folder, unwritable

_MAGIC, _GZIP = b"glTF", b"\x1f\x8b"
_JSON = 0x4E4F534A
_JSON_LIMIT = 64 * 2**20
_RANGE = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+|\*)", re.IGNORECASE)
_BLOCK = 1 << 20


class Invalid(Exception):
    """What came is not a GLB; the argument completes "it is not a GLB file: ..."."""


class Oversize(Exception):
    """The asset is larger than any that is wanted."""


class Partial:
    """The file beside `path` into which an asset is written; `finish` gives it its name.

    Attempts take turns: only the latest may write, so that one that was given up does no harm when it wakes.
    Bytes that come compressed are unpacked here, and count as they are unpacked.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.size = 0
        self.received = 0
        self.total: int | None = None
        self.validator = ""
        self._limit = limit
        self._name = path.with_name(f".{path.name}.part")
        self._lock = threading.Lock()
        self._turn = 0
        self._head = self._first = b""
        self._plain = False
        self._encoded = False
        self._unpack: zlib._Decompress | None = None
        try:
            self._file = self._name.open("wb+")
        except OSError as error:
            raise unwritable(path, error) from error

    def __enter__(self) -> Partial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._turn += 1
            self._file.close()
        with suppress(OSError):
            self._name.unlink(missing_ok=True)

    @property
    def declared(self) -> int | None:
        """The length that the GLB's own header tells, once it is here."""
        return struct.unpack_from("<I", self._head, 8)[0] if len(self._head) >= 12 else None

    @property
    def is_whole(self) -> bool:
        """Whether as many bytes are here as the GLB itself says that it has."""
        return self.declared is not None and self.size >= self.declared

    @property
    def resumable(self) -> bool:
        """Whether a part of the file can be asked for."""
        return not (self._plain or self._encoded or self._unpack is not None)

    @property
    def fraction(self) -> float:
        """How much is here, 0 to 1."""
        total = self.declared or self.total
        return min(self.size / total, 1.0) if total else 0.0

    def turn(self) -> int:
        """Return the turn of a new attempt, which ends all earlier ones."""
        with self._lock:
            self._turn += 1
            return self._turn

    def note(self, status: int, headers: Mapping[str, str], offset: int) -> bool:
        """Take note of what an answer's headers say; tell whether it is what was asked for. Raises Oversize."""
        with self._lock:
            return self._note(status, headers, offset)

    def _note(self, status: int, headers: Mapping[str, str], offset: int) -> bool:
        validator = headers.get("ETag", "")
        if not validator or validator.startswith("W/"):
            validator = headers.get("Last-Modified", "")
        length = headers.get("Content-Length", "")
        encoding = headers.get("Content-Encoding", "identity").strip().lower()
        self._encoded = encoding not in ("", "identity")
        if status == 206:
            match = _RANGE.match(headers.get("Content-Range", ""))
            total = int(match[3]) if match and match[3] != "*" else None
            same = validator == self.validator or not self.validator or not validator
            known = (None, self.total, self.declared)
            if not match or int(match[1]) != offset or not same or total not in known or self._encoded:
                return False
        else:
            total = int(length) if length.isdigit() and not self._encoded else None
            self.validator = validator
        self.total = total
        if (total or 0) > self._limit:
            raise Oversize(f"{total} bytes")
        return True

    def begin(self, turn: int, offset: int) -> None:
        """Write from `offset` on, where what is here so far is kept only up to there."""
        with self._lock:
            if turn == self._turn:
                self._cut(offset)

    def write(self, turn: int, block: bytes) -> bool:
        """Add bytes; tell whether this attempt still counts. Raises Invalid, Oversize, or EspalierError."""
        with self._lock:
            if turn != self._turn:
                return False
            self.received += len(block)
            if self.size == 0 and self._unpack is None:
                block = self._first + block
                self._first = block if len(block) < len(_GZIP) else b""
                if self._first:
                    return True
                if block.startswith(_GZIP):
                    self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                while block:
                    if self._unpack is None:
                        plain, block = block, b""
                    else:
                        plain = self._unpack.decompress(block, _BLOCK)
                        block = self._unpack.unconsumed_tail
                    self._add(plain)
            except zlib.error as error:
                raise Invalid("its compression is damaged") from error
        return True

    def _add(self, plain: bytes) -> None:
        if len(self._head) < 12:
            self._head = (self._head + plain)[:12]
            if not _MAGIC.startswith(self._head[:4]):
                raise Invalid(_kind(plain))
        if (self.declared or 0) > self._limit:
            raise Oversize(f"{self.declared} bytes by its own header")
        if self.declared is not None and self.size + len(plain) > self.declared:
            raise Invalid("more follows after its end")
        if self.size + len(plain) > self._limit:
            raise Oversize(f"more than {self._limit} bytes")
        try:
            self._file.write(plain)
        except OSError as error:
            raise unwritable(self.path, error) from error
        self.size += len(plain)

    @property
    def has_all_that_was_announced(self) -> bool:
        """Whether the answer was complete by its own account."""
        return self.total is not None and self.size >= self.total

    def restart(self, plain: bool = False) -> None:
        """Forget what is here; with `plain`, ask for no part of the file any more."""
        with self._lock:
            self._cut(0)
            self._plain = self._plain or plain
            self.total, self.validator, self._encoded = None, "", False

    def _cut(self, offset: int) -> None:
        try:
            self._file.seek(offset)
            self._file.truncate()
        except OSError as error:
            raise unwritable(self.path, error) from error
        self.size = offset
        if offset == 0:
            self._head, self._first, self._unpack = b"", b"", None

    def finish(self) -> None:
        """Check the file and give it its name. Raises Invalid, or EspalierError for the disk."""
        if not self.is_whole:
            raise Invalid("it is cut off")
        try:
            self._file.flush()
            self._check()
            sync_file(self._name)
            self._file.close()
            os.replace(self._name, self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _check(self) -> None:
        """Check the container and its description; what the description describes is the reader's concern."""
        self._file.seek(0)
        head = self._file.read(20)
        if len(head) < 20:
            raise Invalid("it is cut off")
        length, kind = struct.unpack_from("<II", head, 12)
        if kind != _JSON or length > self.size - 20:
            raise Invalid("its first chunk is not JSON")
        if length > _JSON_LIMIT:
            raise Oversize("a description of more than 64 MB")
        try:
            document = json.loads(self._file.read(length))
        except (ValueError, RecursionError) as error:
            raise Invalid("its description is damaged") from error
        if not isinstance(document, dict) or not isinstance(document.get("asset"), dict):
            raise Invalid("its description is damaged")


def _kind(data: bytes) -> str:
    """Return what bytes that are no GLB look like, as it completes a sentence."""
    start = data.lstrip()[:1]
    if data.startswith((b"\x89PNG", b"\xff\xd8", b"RIFF")):
        return "it is an image"
    if start == b"<":
        return "it is a web page"
    if start in (b"{", b"["):
        return "it is a text"
    return "it does not start as GLB does" if data else "it is empty"
