# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import EspalierError


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
        _flush(partial)
        os.replace(partial, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> EspalierError:
    """Return the failure that a person meets when writing `path` ended with `error`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EspalierError("disk_full", path=path)
    return EspalierError("output_unwritable", detail=repr(error), path=path, reason=_reason(error))


def _reason(error: OSError) -> str:
    text = (error.strerror or "the system refused").strip().rstrip(".")
    return text[:1].lower() + text[1:]


def _flush(path: Path) -> None:
    # Windows flushes only a file that is open for writing.
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there; NTFS journals the rename
        return
    with suppress(OSError):  # some network file systems refuse; the rename itself has been done
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
