# SPDX-License-Identifier: GPL-3.0-or-later
"""The draft engine's stages, from image file to GLB."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from ...errors import EspalierError
from ...files import replacing
from ...imaging import clipboard, cutout
from ...imaging.choices import CLIPBOARD, CUT_OUT
from ...imaging.framing import VISIBLE, Frame, crop, picture_frame, subject_frame
from ...imaging.read import read_image, reduce_to
from ...imaging.subject import cut_out, has_outline
from ...mesh.glb import Material, Mesh, Texture, write_glb
from ...progress import Cancelled, Run, Stage
from ...request import GenerationRequest, Request
from ..base import Asset
from .cells import tile
from .charts import Charts, lay_out
from .outline import MARGIN, Outline, round_cells, trace, working_alpha
from .rim import weave
from .surface import Front, close, inflate, rows_for
from .texture import base_color, encode, metallic_roughness, translucent

THUMBNAIL_SIDE = 256
CELLS_PER_RESOLUTION = 0.5
"""Cells along the subject's longest side to a unit of `resolution`: 256, 512 and 768 for 512, 1024 and 1536."""
QUESTIONS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    CUT_OUT: cutout.answer,
    CLIPBOARD: clipboard.answer,
}
"""What can be asked outside a job, for whichever engine: this one's worker can start anywhere and has the models."""
_WAIT_S = 0.05


@dataclass(frozen=True, slots=True)
class _Subject:
    """The cut-out image, the square of it that becomes the unit cube, and whether to fill that cube."""

    image: Image.Image
    frame: Frame
    fill: bool


class DraftBackend:
    """Inflates the subject's outline and projects the image on front and back."""

    name = "draft"
    version = "1.0"
    stages = (
        Stage("read", "Reading Image", 5),
        Stage("cut_out", "Finding Subject", 8),
        Stage("outline", "Tracing Outline", 12),
        Stage("inflate", "Inflating", 45),
        Stage("texture", "Painting Texture", 20),
        Stage("write", "Writing Asset", 10),
    )

    def generate(self, request: Request, folder: Path, run: Run) -> Asset:
        """Make the asset inside `folder`. Raises Cancelled, or EspalierError for the image, memory or the disk."""
        assert isinstance(request, GenerationRequest)
        settings = request.parameters
        size = int(str(settings["texture_size"]))
        prepare = bool(settings["preprocess_image"])
        with run.stage("read"):
            image = read_image(request.image, longest=size)
        with run.stage("cut_out"):
            subject = _find(request.image, image, prepare, run)
        with run.stage("outline"):
            most = int(str(settings["decimation_target"]))
            cells = round(int(str(settings["resolution"])) * CELLS_PER_RESOLUTION)
            outline, used, specks = _outline(request.image, subject, cells, most, run)
            charts = lay_out(*_bounds(outline, used), size)
            blend = translucent(subject.image)
        stop = threading.Event()
        # The picture is resampled and encoded on the second core while the surface is made on the first.
        with _Aside(stop) as aside:
            painting = aside.begin(_paint, subject, charts, blend, stop)
            with run.stage("inflate"):
                front = inflate(outline, used, _counted(run, 14))
                mesh = _mesh(front, charts, subject.fill)
            with run.stage("texture"):
                textures = _await(painting, run)
        with run.stage("write"):
            asset = _write(request, folder, mesh, textures, blend, run)
        notices = []
        if used < cells:
            notices.append(f"The grid was lowered from {cells} to {used} cells to keep to {most:,} faces.")
        if specks:
            what = "1 speck" if specks == 1 else f"{specks} specks"
            notices.append(f"{what} smaller than a cell of the grid left out.")
        facts: dict[str, Any] = {
            "vertices": len(mesh.positions),
            "faces": len(mesh.faces),
            "texture_size": size,
            "alpha_mode": "BLEND" if blend else "OPAQUE",
            "cells": used,
        }
        return Asset(asset, folder / "thumbnail.png", tuple(notices), facts)

    def ask(
        self,
        question: str,
        account: Mapping[str, Any],
        cancelled: Callable[[], bool],
        about: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """Answer what the panel asks of images before anything is generated (see `QUESTIONS`). Raises EspalierError."""
        if question not in QUESTIONS:
            raise EspalierError("question_unanswered", engine=self.name, question=question)
        return QUESTIONS[question](about)

    def close(self) -> None:
        """Release what is held between jobs."""
        metallic_roughness.cache_clear()


class _Aside:
    """One thread beside the engine's; leaving the block tells it to stop and waits until it has."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="draft-texture")

    def __enter__(self) -> _Aside:
        return self

    def begin(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self._pool.submit(work, *arguments)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _find(path: str, image: Image.Image, prepare: bool, run: Run) -> _Subject:
    """Return the subject, cut out and framed. Raises EspalierError where there is none, Cancelled."""
    if prepare:
        cut = cut_out(image, path, run.progress)
        # All that lies inside the outline is kept, glass included; the mesh is scaled to its own extent anyway.
        frame = subject_frame(np.asarray(cut.getchannel("A")), VISIBLE)
        if frame is None:
            raise EspalierError("image_transparent", path=path)
        return _Subject(cut, frame, True)
    alpha = np.asarray(image.getchannel("A"))
    if subject_frame(alpha) is None:
        raise EspalierError("image_transparent", path=path)
    if not has_outline(alpha):
        raise EspalierError("image_opaque", path=path)
    return _Subject(image, picture_frame(image.size), False)


def _outline(path: str, subject: _Subject, cells: int, most: int, run: Run) -> tuple[Outline, int, int]:
    """Return the outline, on how many cells, and the specks left out: the finest grid of at most `most` faces."""
    while True:
        field, specks = working_alpha(subject.image, subject.frame, cells)
        run.progress(0.6)
        outline = trace(field)
        if not outline.inside.any():
            raise EspalierError("image_no_subject", path=path)
        run.progress(0.8)
        interior = tile(outline, np.zeros(outline.inside.shape))
        faces = 2 * (len(interior.triangles) + len(weave(outline, interior.cut, rows_for(cells)).triangles))
        run.progress(0.9)
        if faces <= most or cells <= 32:
            return outline, cells, specks
        cells = min(round_cells(cells * math.sqrt(most / faces)), cells - 16)


def _bounds(outline: Outline, cells: int) -> tuple[Any, Any]:
    """Return the least and greatest x and y of the outline in frame units, Y up."""
    middle = MARGIN + cells / 2.0
    row, column = np.nonzero(~np.isnan(outline.right))
    x = (column + outline.right[row, column].astype(np.float64) - middle) / cells
    row, column = np.nonzero(~np.isnan(outline.down))
    y = (middle - row - outline.down[row, column].astype(np.float64)) / cells
    return np.array([x.min(), y.min()]), np.array([x.max(), y.max()])


def _counted(run: Run, expected: int) -> Callable[[], None]:
    """Return a function that reports progress each time it is called, about `expected` times in all."""
    count = 0

    def turn() -> None:
        nonlocal count
        count += 1
        run.progress(min(count / expected, 1.0))

    return turn


def _mesh(front: Front, charts: Charts, fill: bool) -> Mesh:
    """Return the closed mesh with texture coordinates; `fill` scales its longest side to 1 about the origin."""
    positions, faces, normals = close(front)
    uvs = np.concatenate(charts.uvs(front.positions[:, :2]))
    if fill:
        low, high = positions.min(axis=0).astype(np.float64), positions.max(axis=0).astype(np.float64)
        positions = ((positions - (low + high) / 2) / (high - low).max()).astype(np.float32)
        # Rounding must not reach out of the unit cube.
        np.clip(positions, -0.5, 0.5, out=positions)
    return Mesh(positions, faces, normals, uvs)


def _paint(subject: _Subject, charts: Charts, blend: bool, stop: threading.Event) -> tuple[Texture, Texture, bytes]:
    """Return base colour, metallic-roughness and thumbnail. Raises Cancelled once `stop` is set."""

    def check() -> None:
        if stop.is_set():
            raise Cancelled

    color = base_color(subject.image, subject.frame, charts, blend, check)
    check()
    small = reduce_to(crop(subject.image, subject.frame)[0], THUMBNAIL_SIDE)
    return color, metallic_roughness(charts.size), encode(small, 6)


def _await(painting: Future[Any], run: Run) -> tuple[Texture, Texture, bytes]:
    """Return what `painting` made, looking for a cancel while it works."""
    while True:
        run.check()
        try:
            result: tuple[Texture, Texture, bytes] = painting.result(timeout=_WAIT_S)
            return result
        except TimeoutError:
            if painting.done():  # the work itself raised it
                raise


def _write(
    request: GenerationRequest,
    folder: Path,
    mesh: Mesh,
    textures: tuple[Texture, Texture, bytes],
    blend: bool,
    run: Run,
) -> Path:
    """Write `asset.glb` and `thumbnail.png` into `folder` and return the former's path."""
    color, constants, thumbnail = textures
    material = Material(
        name=request.name,
        base_color=color,
        metallic_roughness=constants,
        alpha_mode="BLEND" if blend else "OPAQUE",
    )
    path = folder / "asset.glb"
    write_glb(path, mesh, material, name=request.name)
    run.progress(0.8)
    with replacing(folder / "thumbnail.png") as partial:
        partial.write_bytes(thumbnail)
    return path
