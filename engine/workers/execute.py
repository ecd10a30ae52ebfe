# SPDX-License-Identifier: GPL-3.0-or-later
"""One job in the child: a folder that is written whole or not at all, and every failure as one of the catalogue's."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import __version__, provenance
from ..backends.base import Asset, Backend, JobRun
from ..errors import EspalierError
from ..files import replacing, sync_file, sync_folder, unwritable
from ..mesh.glb_extras import read_extras, write_extras
from ..progress import Run
from ..request import GenerationRequest, Request, is_url, request_from_json
from .handover import PREPARE, REMOTE_ID

ASSET = "asset.glb"
THUMBNAIL = "thumbnail.png"
REQUEST = "request.json"
RESULT = "result.json"
IMPORT = "import"
IMAGE = "image"
"""The folder with a copy of the image, called like the asset."""

_LOOK_S = 0.1
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EROFS, errno.EPERM)
_preparing = threading.Lock()


def execute(backend: Backend, request: Request, folder: Path, run: JobRun) -> dict[str, Any]:
    """Make the result of `request` in `folder`, and return its result.json.

    The folder is emptied first. `result.json` is written last, once all else is on the disk: a folder that holds it
    is whole. `run` knows the stages of `backend`, and PREPARE after them.

    Raises Cancelled, or whatever goes wrong (see `as_failure`); the folder is then gone.
    """
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        _keep_image(request, folder)
        asset = backend.generate(request, folder, run)
        _put_in_place(asset, folder)
        with run.stage(PREPARE), _one_at_a_time(run):
            facts = _prepare(folder, run)
        result = _describe(backend, asset, facts, run.timings) | _origin(request)
        _embed(request, result, folder)
        (folder / REMOTE_ID).unlink(missing_ok=True)
        (folder / REQUEST).write_bytes(_as_json(request.to_json()))
        text = _as_json(result)
        for path in sorted(folder.rglob("*")):
            run.check()
            sync_folder(path) if path.is_dir() else sync_file(path)
        with replacing(folder / RESULT) as partial:
            partial.write_bytes(text)
        return result
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _one_at_a_time(run: Run) -> Iterator[None]:
    """Wait until no other job of this process is at it: many that come in together would need all memory."""
    while not _preparing.acquire(timeout=_LOOK_S):
        run.check()
    try:
        yield
    finally:
        _preparing.release()


def _keep_image(request: Request, folder: Path) -> None:
    """Keep the image that the asset is made from. One that cannot be read is what the backend then complains of."""
    if isinstance(request, GenerationRequest) and not is_url(request.image):
        source = Path(request.image)
        kept = folder / IMAGE / (provenance.safe_name(request.name) + source.suffix.lower())
        with contextlib.suppress(OSError):
            if source.is_file():
                kept.parent.mkdir()
                shutil.copyfile(source, kept)


def _origin(request: Request) -> dict[str, Any]:
    """Return the account of the asset that a rebuild starts from: of the result beside it, else of the file itself."""
    if isinstance(request, GenerationRequest):
        return {}
    source = Path(request.source)
    try:
        before = json.loads(source.with_name(REQUEST).read_bytes())
        kept = provenance.account_of(request_from_json(before), json.loads(source.with_name(RESULT).read_bytes()))
    except (OSError, ValueError, AttributeError, EspalierError):
        try:
            kept = read_extras(source)
        except (OSError, EspalierError):
            kept = {}
    origin = kept.get(provenance.ORIGIN, kept)
    return {provenance.ORIGIN: origin} if origin else {}


def _embed(request: Request, result: dict[str, Any], folder: Path) -> None:
    """Write into the files of the asset, if they are of our own writing, how they were made.

    One that cannot be read here may still be one that Blender's importer reads: nothing is lost for that.
    """
    account = provenance.public(provenance.account_of(request, result))
    for path in sorted(folder.rglob(ASSET)):
        try:
            # A server of our own has told already how it was made: what it delivered stays as it is.
            if not read_extras(path):
                write_extras(path, account)
        except EspalierError as error:
            if error.code != "glb_invalid":
                raise


def _put_in_place(asset: Asset, folder: Path) -> None:
    """Give the files of `asset` the names that the library knows."""
    for path, name in ((asset.glb, ASSET), (asset.thumbnail, THUMBNAIL)):
        if path is not None and path != folder / name:
            os.replace(path, folder / name)


def _prepare(folder: Path, run: Run) -> dict[str, Any]:
    """Write the arrays for the importer, and return their facts; without them Blender's own importer does the work."""
    from ..mesh.prepare import prepare  # needs NumPy, which a worker that only waits does not

    try:
        return prepare(folder / ASSET, folder / IMPORT, run)
    except EspalierError as error:
        if error.code != "glb_unsupported":
            raise
        return {}


def _describe(backend: Backend, asset: Asset, facts: dict[str, Any], timings: dict[str, float]) -> dict[str, Any]:
    known = {**asset.facts, **facts}
    top = ("vertices", "faces", "texture_size", "alpha_mode")
    return {
        "engine": backend.name,
        "engine_version": backend.version,
        "espalier_version": __version__,
        provenance.MADE: provenance.now(),
        "stages": {name: round(seconds, 4) for name, seconds in timings.items()},
        **{name: known.get(name) for name in top},
        "notices": list(asset.notices),
        "facts": {name: value for name, value in known.items() if name not in top},
    }


def _as_json(data: dict[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=True, allow_nan=False, indent=1).encode("ascii")


def as_failure(error: BaseException, engine: str, folder: Path) -> EspalierError:
    """Return the failure that a person is told of for `error`, raised by a job in `folder` or by loading the engine."""
    if isinstance(error, EspalierError):
        return error
    detail = "".join(traceback.format_exception(error))[-20_000:]
    if isinstance(error, MemoryError):
        return EspalierError("memory_full", detail, engine=engine)
    if isinstance(error, ModuleNotFoundError):
        return EspalierError("module_missing", detail, module=error.name or str(error), engine=engine)
    if isinstance(error, OSError):
        path = error.filename if isinstance(error.filename, str) else str(folder)
        ours = Path(path).is_relative_to(folder.parent)
        if error.errno == errno.ENOMEM:
            return EspalierError("memory_full", detail, engine=engine)
        if error.errno in _FULL or (error.errno in _REFUSED and ours):
            told = unwritable(Path(path), error)
            return EspalierError(told.code, detail, **told.fields)
    return EspalierError("internal", detail, reason=traceback.format_exception_only(error)[-1].strip(), log="")
