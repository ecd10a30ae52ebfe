# SPDX-License-Identifier: GPL-3.0-or-later
"""The outside of a GLB file: its header, its two chunks, and JSON values of the type that they must have."""

from __future__ import annotations

import json
import math
import stat
import struct
from pathlib import Path
from typing import Any, NoReturn

from ..errors import EspalierError
from .glb_format import JSON_LIMIT
from .model import Bytes

Object = dict[str, Any]

ROUNDING = 1e-5
"""How far a number may lie outside of its range: some writers let a float32 of 1 become 1.0000001."""
_JSON, _BIN = 0x4E4F534A, 0x004E4942


class Reading:
    """A GLB file while it is read: its path, for errors, its JSON document and its binary chunk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.document: Object = {}
        self.binary: Bytes = memoryview(b"")
        self.images: dict[int, bytes] = {}
        """The images that were read, by their index: several materials may share one."""

    def invalid(self, reason: str) -> NoReturn:
        """Raise `glb_invalid`: the file breaks the format."""
        raise EspalierError("glb_invalid", path=self.path, reason=reason)

    def unsupported(self, reason: str) -> NoReturn:
        """Raise `glb_unsupported`: the file may be fine, but is not of the kind that is read here."""
        raise EspalierError("glb_unsupported", path=self.path, reason=reason)

    def open(self) -> None:
        """Read the file and split it. Memory is that of the file and a bounded JSON document."""
        data = self._load()
        if len(data) < 20:
            self.invalid("it is cut off")
        magic, version, length = struct.unpack_from("<4sII", data)
        if magic != b"glTF":
            self.invalid("it does not start as GLB does")
        if version != 2:
            self.unsupported(f"version {version} of GLB")
        if length > len(data):
            self.invalid("it is cut off")
        if length < len(data):
            self.invalid("more follows after its end")
        chunks = self._chunks(memoryview(data))
        if not chunks or chunks[0][0] != _JSON:
            self.invalid("its first chunk is not JSON")
        self.document = self._parse(bytes(chunks[0][1]))
        if len(chunks) > 1 and chunks[1][0] == _BIN:
            self.binary = chunks[1][1]

    def _load(self) -> bytes:
        try:
            # A pipe or a device could keep the reader waiting, or feed it, for ever.
            if not stat.S_ISREG(self.path.stat().st_mode):
                self.invalid("it is not a file")
            with self.path.open("rb") as file:
                return file.read()
        except (OSError, ValueError) as error:
            reason = "it does not exist" if isinstance(error, FileNotFoundError) else "it cannot be opened"
            raise EspalierError("glb_invalid", detail=repr(error), path=self.path, reason=reason) from error

    def _chunks(self, data: Bytes) -> list[tuple[int, Bytes]]:
        """Return the first two chunks; later ones belong to extensions and are passed over."""
        chunks: list[tuple[int, Bytes]] = []
        offset = 12
        while offset < len(data) and len(chunks) < 2:
            if offset + 8 > len(data):
                self.invalid("it is cut off")
            length, kind = struct.unpack_from("<II", data, offset)
            offset += 8
            if length > len(data) - offset:
                self.invalid("a chunk is longer than the file")
            chunks.append((kind, data[offset : offset + length]))
            offset += length
        return chunks

    def _parse(self, text: bytes) -> Object:
        if len(text) > JSON_LIMIT:
            self.unsupported(f"more than {JSON_LIMIT >> 20} MiB of JSON")
        try:
            document = json.loads(
                text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_integer
            )
        except RecursionError:
            self.invalid("its JSON is nested too deeply")
        except ValueError as error:
            raise EspalierError(
                "glb_invalid", detail=repr(error), path=self.path, reason="its JSON is broken"
            ) from None
        if not isinstance(document, dict):
            self.invalid("its JSON is not an object")
        return document

    # Values of the JSON document: `owner` is the object, `key` the member, and `where` names it in an error.

    def object(self, value: Any, where: str) -> Object:
        """Return `value` if it is a JSON object."""
        if not isinstance(value, dict):
            self.invalid(f"{where} is not an object")
        return value

    def member(self, owner: Object, key: str) -> Object:
        """Return the object `owner[key]`, empty where there is none."""
        return self.object(owner.get(key, {}), key)

    def array(self, owner: Object, key: str) -> list[Any]:
        """Return the array `owner[key]`, empty where there is none."""
        value = owner.get(key, [])
        if not isinstance(value, list):
            self.invalid(f"{key} is not an array")
        return value

    def integer(self, owner: Object, key: str, default: int | None = None, minimum: int = 0) -> int:
        """Return the whole number `owner[key]`, at least `minimum` and below 2^53."""
        value = owner.get(key, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value < 2**53:
            self.invalid(f"{key} is not a whole number from {minimum}")
        return value

    def number(
        self, owner: Object, key: str, default: float, minimum: float = -math.inf, maximum: float = math.inf
    ) -> float:
        """Return the finite number `owner[key]`, from `minimum` to `maximum`."""
        return self._number(owner.get(key, default), key, minimum, maximum)

    def numbers(
        self,
        owner: Object,
        key: str,
        default: tuple[float, ...],
        minimum: float = -math.inf,
        maximum: float = math.inf,
    ) -> tuple[float, ...]:
        """Return the finite numbers `owner[key]`, as many as `default` has."""
        if key not in owner:
            return default
        values = self.array(owner, key)
        if len(values) != len(default):
            self.invalid(f"{key} has {len(values)} numbers in place of {len(default)}")
        return tuple(self._number(value, key, minimum, maximum) for value in values)

    def _number(self, value: Any, where: str, minimum: float, maximum: float) -> float:
        low, high = minimum - ROUNDING, maximum + ROUNDING
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            self.invalid(f"{where} is not a number in its range")
        if not math.isfinite(value):
            self.invalid(f"{where} is not finite")
        return min(max(float(value), minimum), maximum)

    def text(self, owner: Object, key: str, default: str) -> str:
        """Return the text `owner[key]`, with what UTF-8 cannot hold replaced."""
        value = owner.get(key, default)
        if not isinstance(value, str):
            self.invalid(f"{key} is not a text")
        return value.encode(errors="replace").decode().replace("\0", "")

    def boolean(self, owner: Object, key: str) -> bool:
        """Return the truth value `owner[key]`, false where there is none."""
        value = owner.get(key, False)
        if not isinstance(value, bool):
            self.invalid(f"{key} is not true or false")
        return value

    def entry(self, collection: str, index: int) -> Object:
        """Return the object number `index` of the document's array `collection`."""
        entries = self.array(self.document, collection)
        if not 0 <= index < len(entries):
            self.invalid(f"it has no number {index} in {collection}")
        return self.object(entries[index], collection)


def _unique(pairs: list[tuple[str, Any]]) -> Object:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key is given twice")
    return result


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) > 300:  # beyond what a float can hold
        raise ValueError("a number is too long")
    return int(digits)
