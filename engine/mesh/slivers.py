# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding charts that came out thinner than a few texels, and a neighbour that each could belong to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .charts import Topology, connected
from .flatten import Float, Index

LEAST_TEXELS = 5.0
"""Charts narrower than this are thin; packing may shrink them a little."""
DIRECTIONS = 16
SPECK_TEXELS = 1.0
"""A chart of less than a texel in all, cut from a larger component, is not worth a place and two gutters."""
SMALL_COMPONENT_TEXELS = 100.0
"""A component of fewer texels, a closed speck below six texels across say, is thin itself."""


def thin_charts(labels: Index, place: Float, least: float) -> npt.NDArray[np.bool_]:
    """Return bool (charts,): whether the chart is narrower than `least` in some direction.

    `labels` int64 (F,), `place` float64 (F, 3, 2): the corners of the faces in the plane.
    """
    count = int(labels.max(initial=-1)) + 1
    extent = np.stack([_extent(labels, place[..., k], count) for k in range(2)], axis=1)
    thin: npt.NDArray[np.bool_] = np.bincount(labels, _areas(place), count) <= least * np.hypot(*extent.T)
    member = np.flatnonzero(thin[labels])  # the others have too much area for their length
    narrowest = np.full(count, np.inf)
    for angle in np.arange(DIRECTIONS) * (np.pi / DIRECTIONS):
        along = place[member, :, 0] * np.cos(angle) + place[member, :, 1] * np.sin(angle)
        narrowest = np.minimum(narrowest, _extent(labels[member], along, count))
    return thin & (narrowest < least)


def _extent(labels: Index, values: Float, count: int) -> Float:
    """Return the difference between the greatest and the least of `values` (F, 3) of each label, -inf for none."""
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    for k in range(3):
        np.minimum.at(low, labels, values[:, k])
        np.maximum.at(high, labels, values[:, k])
    result: Float = high - low
    return result


def thin_joined(labels: Index, place: Float, topo: Topology, texel: float, choice: int) -> Index:
    """Return int64 (F,): a label for each thin chart together with a neighbour, -1 elsewhere.

    `choice` 0 is the neighbour that it borders on most, 1 the next, and so on around. Charts of
    components that are as small as that themselves are left alone.
    """
    count = int(labels.max(initial=-1)) + 1
    one, two = topo.pairs.T // 3
    thin = thin_charts(labels, place, LEAST_TEXELS * texel)
    if thin.any():
        thin &= _roomy(labels, place, topo, texel)
    if not thin.any():
        return np.full(len(labels), -1, dtype=np.int64)
    a, b = np.concatenate((labels[one], labels[two])), np.concatenate((labels[two], labels[one]))
    length = np.concatenate((topo.length, topo.length))
    beside = (a != b) & thin[a]
    key, packed = np.unique(a[beside] * count + b[beside], return_inverse=True)
    shared = np.bincount(packed, length[beside], len(key))
    a, b = np.divmod(key, count)
    order = np.lexsort((shared, ~thin[b], a))  # a chart that is not thin before one that is
    begin = np.flatnonzero(np.concatenate(([True], np.diff(a[order]) != 0))) if len(order) else order
    number = np.diff(begin, append=len(order))
    last = order[begin + number - 1 - choice % np.maximum(number, 1)]
    target = np.arange(count)
    target[a[last]] = b[last]
    for _ in range(8):  # thin charts that lead to thin charts
        target = target[target]
    taking_part = np.zeros(count, dtype=bool)
    taking_part[a[last]] = True
    taking_part[target[a[last]]] = True
    return np.where(taking_part[labels], target[labels], -1)


def without_specks(labels: Index, place: Float, topo: Topology, texel: float) -> Index:
    """Return `labels` with -1 for charts that are smaller than a texel although their component is not."""
    speck = np.bincount(labels, _areas(place)) < SPECK_TEXELS * texel**2
    if speck.any():
        speck &= _roomy(labels, place, topo, texel)
    return np.where(speck[labels], -1, labels)


def _areas(place: Float) -> Float:
    edge = place[:, 1:] - place[:, :1]
    area: Float = 0.5 * np.abs(edge[:, 0, 0] * edge[:, 1, 1] - edge[:, 0, 1] * edge[:, 1, 0])
    return area


def _roomy(labels: Index, place: Float, topo: Topology, texel: float) -> npt.NDArray[np.bool_]:
    """Return bool (charts,): whether the component of each chart has more than SMALL_COMPONENT_TEXELS."""
    component = connected(np.zeros(len(labels), dtype=np.int64), topo.pairs // 3)
    large = np.bincount(component, _areas(place))[component] > SMALL_COMPONENT_TEXELS * texel**2
    return np.bincount(labels, large) > 0
