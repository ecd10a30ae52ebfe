# SPDX-License-Identifier: GPL-3.0-or-later
"""Cutting charts in two: those that cannot be laid flat, and those too large to be packed well."""

from __future__ import annotations

import numpy as np

from .charts import connected_charts, renumber
from .flatten import Flat, Float, Index, Patchwork, cut_out

LARGEST_SHARE = 1.0 / 40.0
HALVINGS = 6
CRUMB_FACES = 12
CRUMB_ROUNDS = 4
"""Pieces of fewer faces that fall off where a chart is halved go to the larger piece beside them."""


def halve_largest(positions: Float, faces: Index, flat: Flat) -> Flat:
    """Return the charts with those cut that hold more than LARGEST_SHARE of the whole, laid out as they were."""
    work = flat.work
    place = np.zeros((len(faces), 3, 2))
    place[work.source] = flat.uv[work.corners]
    labels = np.full(len(faces), -1, dtype=np.int64)
    labels[work.source] = work.face_chart
    pairs = _meeting(work)
    for _ in range(HALVINGS):
        area = np.bincount(labels[work.source], work.area)
        large = labels.copy()
        large[(labels < 0) | (area[labels] <= LARGEST_SHARE * work.area.sum())] = -1
        if not (large >= 0).any():
            break
        parts = halve(positions, faces, pairs, large)
        labels = renumber(np.where(parts >= 0, len(area) + parts, labels))
    parted = cut_out(positions, faces, pairs, labels)
    uv = np.empty((len(parted.vertex_chart), 2))
    uv[parted.corners] = place[parted.source]
    return Flat(parted, uv)


def _meeting(work: Patchwork) -> Index:
    """Return the pairs of half-edges of the source's faces that meet inside a chart."""
    start, end = work.corners.ravel(), np.roll(work.corners, -1, axis=1).ravel()
    key = np.minimum(start, end) * len(work.vertex_chart) + np.maximum(start, end)
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    original = (3 * work.source[:, None] + np.arange(3)).ravel()
    return np.stack((original[order[same]], original[order[same + 1]]), axis=1)


def halve(positions: Float, faces: Index, pairs: Index, labels: Index) -> Index:
    """Return the labels with each chart cut by a plane across its longest extent."""
    labels = renumber(labels)
    kept = np.flatnonzero(labels >= 0)
    chart = labels[kept]
    count = int(chart.max()) + 1
    centre = positions[faces[kept]].mean(axis=1)
    number = np.bincount(chart, minlength=count)
    mean = np.stack([np.bincount(chart, centre[:, k], count) for k in range(3)], axis=1) / number[:, None]
    centre -= mean[chart]
    moment = np.empty((count, 3, 3))
    for i in range(3):
        for j in range(3):
            moment[:, i, j] = np.bincount(chart, centre[:, i] * centre[:, j], count)
    axis = np.linalg.eigh(moment)[1][:, :, 2]
    along = np.einsum("ij,ij->i", centre, axis[chart])
    order = np.lexsort((along, chart))
    rank = np.empty(len(kept), dtype=np.int64)
    rank[order] = np.arange(len(kept))
    rank -= (np.cumsum(number) - number)[chart]
    half = labels.copy()
    half[kept] = 2 * chart + (rank >= number[chart] // 2)
    return _gather_crumbs(connected_charts(half, pairs), labels, pairs)


def _gather_crumbs(parts: Index, parents: Index, pairs: Index) -> Index:
    """Return `parts` with those of a few faces joined to a larger part of the same parent, if one lies beside them."""
    one, two = pairs.T // 3
    beside = (parents[one] == parents[two]) & (parents[one] >= 0)
    one, two = one[beside], two[beside]
    whole = np.tile(np.bincount(parents[parents >= 0])[parents[one]], 2)
    for _ in range(CRUMB_ROUNDS):
        size = np.bincount(parts[parts >= 0])
        a, b = parts[one], parts[two]
        a, b = np.concatenate((a, b)), np.concatenate((b, a))
        joins = (size[a] < CRUMB_FACES) & (8 * size[a] < whole) & (size[b] > size[a])
        if not joins.any():
            break
        a, b = a[joins], b[joins]
        key, number = np.unique(a * len(size) + b, return_counts=True)
        a, b = np.divmod(key, len(size))
        order = np.lexsort((size[b], number, a))
        last = order[np.flatnonzero(np.concatenate((np.diff(a[order]) != 0, [True])))]
        become = np.arange(len(size))
        become[a[last]] = b[last]
        parts = renumber(np.where(parts >= 0, become[parts], -1))
    return parts
