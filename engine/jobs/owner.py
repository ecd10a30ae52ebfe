# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Blender a job belongs to: each queue holds a locked file of its own, and the lock ends with its process."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from ..locking import lock, unlock

SUFFIX = ".lock"


class Owner:
    """A new owner among those of `folder`, alive until `release` or the end of the process. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.id = uuid.uuid4().hex
        self._folder = folder
        self._path = folder / f"{self.id}{SUFFIX}"
        while True:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            # Someone looking for dead owners may have locked the new file for a moment, or removed it.
            if lock(self._descriptor) and self._in_place():
                return
            os.close(self._descriptor)

    def alive(self, owner: str) -> bool:
        """Tell whether `owner` (this or another one) still runs; the file of a dead one is removed."""
        if owner == self.id:
            return True
        path = self._folder / f"{owner}{SUFFIX}"
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        except PermissionError:  # on Windows, a file that is just being removed
            return True
        try:
            dead = lock(descriptor)
            if dead:
                unlock(descriptor)
        finally:
            os.close(descriptor)
        if dead:
            with contextlib.suppress(OSError):
                path.unlink()
        return not dead

    def sweep(self) -> None:
        """Remove the files of all dead owners."""
        for path in self._folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):
                self.alive(path.stem)

    def release(self) -> None:
        """Let other owners adopt what this one leaves."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _in_place(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False
