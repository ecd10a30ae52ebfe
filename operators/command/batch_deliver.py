# SPDX-License-Identifier: GPL-3.0-or-later
"""From a finished job of a batch to its files in the output, without a second copy on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ...engine.batch.records import DONE, Record
from ...engine.batch.rows import Wanted, part_of, thumbnail_of
from ...engine.errors import EspalierError
from ...engine.files import make_folder, replacing
from ...engine.jobs.job import Job
from ...engine.jobs.library import ASSET
from ...engine.mesh.layout import level_folder

THUMBNAIL = "thumbnail.png"


def deliver(job: Job, source: Job, record: Record, wanted: Wanted, output: Path) -> Record:
    """Write all files of a row, and return its record as done.

    `source` is the job that generated the asset, `job` the one that made what is wanted of it, the same where nothing
    was rebuilt. Raises EspalierError; files that are written by then stay, and are written again the next time.
    """
    if job.folder is None:
        raise EspalierError("asset_missing", name=record.name)
    stem = PurePosixPath(record.stem)
    files = wanted.files(stem)
    seconds = sum(source.result.get("stages", {}).values())
    if job is not source:
        seconds += sum(job.result.get("stages", {}).values())
    _move(job.folder / ASSET, output / files["glb"], output, record.name)
    for level in range(1, len(wanted.lods)):
        _move(level_folder(job.folder, level) / ASSET, output / files[f"lod{level}"], output, record.name)
    for folder in (job.folder, source.folder):
        if folder is not None and (folder / THUMBNAIL).is_file():
            _move(folder / THUMBNAIL, output / thumbnail_of(stem), output, record.name)
            break
    part = part_of(stem) if wanted.library is not None else None
    _write_scenes(job, wanted, {name: output / path for name, path in files.items()}, part and output / part, output)
    result = job.result
    return replace(
        record,
        state=DONE,
        job=job.id,
        part=part.as_posix() if part else "",
        seconds=round(seconds, 4),
        vertices=result.get("vertices"),
        faces=result.get("faces"),
        texture_size=result.get("texture_size"),
        usd=source.result.get("facts", {}).get("cost_usd"),
        bytes=sum((output / path).stat().st_size for path in files.values()),
        files={name: path.as_posix() for name, path in files.items()},
        notices=[str(notice) for notice in (*source.result.get("notices", ()), *_rebuilt(job, source))],
        error=None,
    )


def discard(job: Job) -> None:
    """Remove the library's copy of a job whose files are all in the output."""
    if job.folder is not None:
        shutil.rmtree(job.folder, ignore_errors=True)


def _rebuilt(job: Job, source: Job) -> tuple[object, ...]:
    return tuple(job.result.get("notices", ())) if job is not source else ()


def _write_scenes(job: Job, wanted: Wanted, files: dict[str, Path], part: Path | None, output: Path) -> None:
    """Write what needs Blender: the .blend of the asset or its part of the one of all, and the preview."""
    from .execute import write_scene

    blend = part or files.get("blend")
    for path in (blend, files.get("preview")):
        if path is not None:
            _prepare(path, output)
    write_scene(job, blend, files.get("preview"), max(len(wanted.lods) - 1, 0), _untimed)


@contextmanager
def _untimed(_name: str, _text: str) -> Iterator[None]:
    yield


def _move(source: Path, target: Path, output: Path, name: str) -> None:
    """Give the file `source` the name `target`, too, which costs no space; where that cannot be, copy it."""
    _prepare(target, output)
    if not source.is_file():
        raise EspalierError("asset_missing", name=name)
    with replacing(target) as partial:
        try:
            os.link(source, partial)
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(source, partial)


def _prepare(path: Path, output: Path) -> None:
    """Make the folder of `path`, and see that it is below `output`, wherever links lead. Raises EspalierError."""
    make_folder(path.parent)
    if not path.parent.resolve().is_relative_to(output.resolve()):
        raise EspalierError("output_unwritable", path=path, reason=f"a link leads out of {output}")
