# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that appear whole or not at all, and survive a power cut once they are there."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import EspalierError

_BLOCK = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`, to be written by the caller; it becomes `path` when the block ends well.

    The file is on the disk, and not only in a cache, before it takes its name. When the block raises, or wrote
    nothing, `path` is left as it was and nothing else stays behind.

    Raises EspalierError `disk_full` or `output_unwritable`.
    """
    path = Path(path)
    partial = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        yield partial
        sync_file(partial)
        os.replace(partial, path)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def copy_whole(source: Path, target: Path) -> None:
    """Copy the file `source` to `target`, whose folder is made if need be. Raises EspalierError as `replacing`."""
    make_folder(target.parent)
    with replacing(target) as partial:
        shutil.copyfile(source, partial)


def ensure_writable(path: Path) -> None:
    """See to it, before any work is done, that a file `path` can be written; its folder is made if need be.

    Raises EspalierError `disk_full` or `output_unwritable`.
    """
    make_folder(path.parent)
    if path.is_dir():
        raise EspalierError("output_unwritable", path=path, reason="it is a folder")
    if path.exists() and not os.access(path, os.W_OK):
        raise EspalierError("output_unwritable", path=path, reason="permission denied")
    probe = path.with_name(f".{secrets.token_hex(8)}")
    try:
        probe.write_bytes(b"\0")
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it. Raises EspalierError `disk_full` or `output_unwritable`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(path: Path, error: OSError) -> EspalierError:
    """Return the failure that a person meets when writing `path` ended with `error`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EspalierError("disk_full", path=path)
    text = (error.strerror or "the system refused").strip().rstrip(".")
    return EspalierError("output_unwritable", detail=repr(error), path=path, reason=text[:1].lower() + text[1:])


def digest_of(
    path: Path, progress: Callable[[int], None] = lambda _: None, algorithm: str = "sha256", before: bytes = b""
) -> str:
    """Return the hash of `before` and the file `path` in hexadecimal digits.

    `progress` is told the bytes that are read after each MiB, and may raise. Raises OSError, and ValueError where
    there is no such algorithm.
    """
    found, done = hashlib.new(algorithm, before, usedforsecurity=False), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
            done += len(block)
            progress(done)
    return found.hexdigest()


def sync_file(path: Path) -> None:
    """Bring the contents of `path` to the disk."""
    # Windows flushes only a file that is open for writing.
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring the names in `folder` to the disk."""
    if os.name == "nt":  # a folder cannot be opened there; NTFS journals the rename
        return
    with suppress(OSError):  # some network file systems refuse; the names themselves are in place
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
