# SPDX-License-Identifier: GPL-3.0-or-later
"""Arranging flat charts on one square page without overlap, with gutters between them.

Up to a few thousand charts are nested into each other by shape (uvunwrap's packer, which is compiled); more are laid in
rows. Each chart is turned, moved and scaled as a whole, in float64, so nothing that was true of its shape is lost; the
packer evens out the areas of the charts, which changes their scales by some thousandths.
"""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..progress import Run
from .flatten import Float, Patchwork
from .shelves import pack_boxes

Complex = npt.NDArray[np.complex128]
NESTED_CHARTS = 400
"""Up to this many charts fill each other's concavities; more are folded into rows that follow their outlines."""
FOLDED_CHARTS = 6000
"""More charts than this are packed by their boxes."""
ANGLES = 24
POLL_S = 0.01
SLACK_TEXELS = 0.05


def pack(work: Patchwork, uv: Float, page: int, gutter: int, run: Run | None = None) -> Float:
    """Return float64 (N, 2): where the vertices of the charts lie on a page of `page` x `page` texels, in texels.

    `uv` (N, 2): the charts, each in place and size of its own, in the unit of the surface. Charts stay
    `gutter` texels apart. Raises EspalierError if there are more charts than room.
    """
    charts = work.charts
    if charts <= FOLDED_CHARTS:
        nested = _nest(work, uv, page, gutter, "shape" if charts <= NESTED_CHARTS else "fast", run)
        if nested is not None:
            return nested
    uv = _turn(work, uv)
    low, high = _bounds(work, uv)
    scale, corner = pack_boxes(high - low, page, gutter)
    chart = work.vertex_chart
    return (uv - low[chart]) * scale + corner[chart]


def _bounds(work: Patchwork, uv: Float) -> tuple[Float, Float]:
    """Return the lower and the upper corner of each chart's box."""
    start = work.vertex_start[:-1]
    return np.minimum.reduceat(uv, start, axis=0), np.maximum.reduceat(uv, start, axis=0)


def _turn(work: Patchwork, uv: Float) -> Float:
    """Return `uv` with each chart turned so that its box is as small as can be, wider than high, and begins at zero."""
    best = np.full(work.charts, np.inf)
    angle = np.zeros(work.charts)
    for turn in np.arange(ANGLES) * (np.pi / 2 / ANGLES):
        low, high = _bounds(work, uv @ _rotation(turn))
        area = (high - low).prod(axis=1)
        better = area < best * (1.0 - 1e-9)
        best[better], angle[better] = area[better], turn
    c, s = np.cos(angle)[work.vertex_chart], np.sin(angle)[work.vertex_chart]
    turned = np.stack((uv[:, 0] * c - uv[:, 1] * s, uv[:, 0] * s + uv[:, 1] * c), axis=1)
    low, high = _bounds(work, turned)
    size = high - low
    tall = (size[:, 1] > size[:, 0])[work.vertex_chart]
    turned -= low[work.vertex_chart]
    quarter = np.stack((size[work.vertex_chart, 1] - turned[:, 1], turned[:, 0]), axis=1)
    return np.where(tall[:, None], quarter, turned)


def _rotation(angle: float) -> Float:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, s], [-s, c]])


def _nest(
    work: Patchwork, uv: Float, page: int, gutter: int, how: Literal["shape", "fast"], run: Run | None
) -> Float | None:
    """Return the charts as uvunwrap arranges them, or None where it is missing or does not take them as they are."""
    try:
        import uvunwrap
    except ImportError:  # it has no wheel for every platform
        return None
    flat = uv - uv.reshape(-1, 2)[work.vertex_start[:-1]][work.vertex_chart]
    apart = np.linspace(0.0, float(np.abs(flat).max(initial=0.0)), work.charts)  # lest it weld one chart to another
    solid = np.column_stack((flat, apart[work.vertex_chart])).astype(np.float32)
    mesh = uvunwrap.Mesh(solid, work.corners.astype(np.uint32), existing_uvs=flat.astype(np.float32))
    job = uvunwrap.start([mesh], page_size=page, padding=gutter, packing=how)
    try:
        while not job.done:
            if run is not None:
                run.check()
            time.sleep(POLL_S)
        atlas = job.result()
    except uvunwrap.UnwrapError:
        return None
    finally:
        job.cancel()
    if atlas.page_count != 1 or max(atlas.width, atlas.height) > page:
        return None
    placed = np.frombuffer(atlas.meshes[0].corner_uvs, dtype=np.float32).astype(np.float64).reshape(-1, 3, 2)
    placed = placed * (atlas.width, atlas.height)
    return _follow(work, uv, placed)


def _follow(work: Patchwork, uv: Float, placed: Float) -> Float | None:
    """Return `uv` moved as the `placed` corners (F, 3, 2) were: each chart by a turn, a scale and a shift.

    None if some chart was moved in another way.
    """
    before = uv[:, 0] + 1j * uv[:, 1]
    after = np.empty(len(uv), dtype=complex)
    after[work.corners] = placed[..., 0] + 1j * placed[..., 1]
    chart, number = work.vertex_chart, np.diff(work.vertex_start)

    def mean(values: Complex) -> Complex:
        result: Complex = np.add.reduceat(values, work.vertex_start[:-1]) / number
        return result

    centre, target = mean(before), mean(after)
    offset = before - centre[chart]
    size = np.maximum(mean(np.abs(offset) ** 2).real, 1e-300)
    turn = mean(offset.conj() * (after - target[chart])) / size
    point = offset * turn[chart] + target[chart]
    if not np.abs(point - after).max() < SLACK_TEXELS:
        return None
    result: Float = np.stack((point.real, point.imag), axis=1)
    return result
