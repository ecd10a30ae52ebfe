# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of files that never clash, never leave their folder, and exist on every system."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")
LONGEST = 150
"""Bytes of a name in UTF-8 at most: file systems take 255, and what follows a name (_lod1.glb) needs some."""


def is_file_name(name: str) -> bool:
    """Tell whether `name` is the same on every system, with nothing to be replaced."""
    return name == file_name(name)


def file_name(name: str) -> str:
    """Return `name` as the name of a file on every system: without separators, reserved words and endless length."""
    text = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", name)).strip()
    text = text.encode("utf-8", "replace")[:LONGEST].decode("utf-8", "ignore").rstrip(". ")
    if not text.strip("._ "):
        return "Asset"
    return f"_{text}" if _DEVICES.match(text) or text.startswith(".") else text


class Names:
    """Gives out the stems of output files, each once, as file systems compare them.

    `files_of` returns all files of an asset, by its stem. `taken` are files that nobody may get.
    """

    def __init__(
        self, files_of: Callable[[PurePosixPath], Iterable[PurePosixPath]], taken: Iterable[PurePosixPath] = ()
    ) -> None:
        self._files_of = files_of
        self._taken = {_folded(path) for path in taken}
        self._given: dict[str, int] = {}

    def give(self, folder: PurePosixPath, name: str) -> PurePosixPath:
        """Return the stem `name` in `folder`, or NAME_2, NAME_3 and so on where its files are taken."""
        home = PurePosixPath(*(file_name(part) for part in folder.parts))
        plain = file_name(name)
        key = _folded(home / plain)
        count = self._given.get(key, 0) + 1
        while not self.take(self._files_of(stem := home / (plain if count == 1 else f"{plain}_{count}"))):
            count += 1
        self._given[key] = count
        return stem

    def take(self, files: Iterable[PurePosixPath]) -> bool:
        """Take all of `files`, or none if one of them is taken; tell which."""
        wanted = {_folded(path) for path in files}
        if wanted & self._taken:
            return False
        self._taken |= wanted
        return True


def _folded(path: PurePosixPath) -> str:
    return unicodedata.normalize("NFC", path.as_posix()).casefold()
