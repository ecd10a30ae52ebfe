# SPDX-License-Identifier: GPL-3.0-or-later
"""A log file that several workers share and that never grows beyond a few megabytes."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path


class Log:
    """Appends lines to `path`; when it is full it becomes `name.1.log`, and the oldest of `keep` files is dropped.

    The file is opened for each write, so that another Blender may rotate it meanwhile. A log that cannot be written
    is not a reason to stop a worker: such errors are swallowed.
    """

    def __init__(self, path: Path, limit: int = 1_000_000, keep: int = 3) -> None:
        self.path = path
        self._limit = limit
        self._keep = keep
        self._lock = threading.Lock()

    def write(self, who: str, lines: list[str]) -> None:
        """Append `lines`, each with the time and `who` wrote it. May be called from any thread."""
        head = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {who}  "
        data = "".join(f"{head}{line}\n" for line in lines).encode("utf-8", "backslashreplace")[-self._limit :]
        with self._lock, contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self._size() + len(data) > self._limit:
                self._rotate()
            with self.path.open("ab", buffering=0) as file:
                file.write(data)

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _rotate(self) -> None:
        names = [self.path, *(self.path.with_suffix(f".{n}{self.path.suffix}") for n in range(1, self._keep))]
        for older, newer in zip(reversed(names), list(reversed(names))[1:], strict=False):
            with contextlib.suppress(FileNotFoundError):
                os.replace(newer, older)
