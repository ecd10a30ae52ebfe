# SPDX-License-Identifier: GPL-3.0-or-later
"""What an engine made before it was simplified, kept beside the asset: the mesh and the volume that colors it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import EspalierError
from ..files import replacing
from .model import Mesh
from .morton import order_in_space
from .volume import SparseVolume

FULL = "full.npz"
"""The file's name in a result's folder."""


def save_full(
    path: Path,
    positions: npt.NDArray[Any],
    faces: npt.NDArray[Any],
    coords: npt.NDArray[Any],
    attributes: npt.NDArray[Any],
    resolution: int,
) -> None:
    """Write mesh and volume to `path`, whole or not at all.

    `positions` (V, 3) in the unit cube about the origin in glTF's frame, `faces` (F, 3); voxels of 1 / `resolution`
    from the cube's lowest corner at `coords` (N, 3), with `attributes` (N, 6) as `SparseVolume` has them, 0 to 1.

    Raises EspalierError `disk_full` or `output_unwritable`.
    """
    kept = np.clip(np.nan_to_num(attributes.astype(np.float32)) * 255, 0, 255).round().astype(np.uint8)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            positions=positions.astype(np.float32),
            faces=faces.astype(np.uint32),
            coords=coords.astype(np.int16),
            attributes=kept,
            resolution=np.int64(resolution),
        )


def load_full(path: Path) -> tuple[Mesh, SparseVolume]:
    """Return the mesh, in the order of space, and the volume in `path`. Raises EspalierError `mesh_invalid`."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in ("positions", "faces", "coords", "attributes", "resolution")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise EspalierError("mesh_invalid", str(error), reason=f"{path.name} beside it is damaged") from None
    volume = volume_of(found["coords"].astype(np.int32), found["attributes"], int(found["resolution"]))
    return in_space(found["positions"], found["faces"]), volume


def in_space(positions: npt.NDArray[Any], faces: npt.NDArray[Any]) -> Mesh:
    """Return the mesh with its vertices and faces in the order of space, in which a rebuild is fastest."""
    vertices, ordered, _ = order_in_space(positions, faces)
    return Mesh(positions[vertices].astype(np.float32), ordered.astype(np.uint32))


def volume_of(coords: npt.NDArray[Any], attributes: npt.NDArray[Any], resolution: int) -> SparseVolume:
    """Return the volume of voxels in the unit cube about the origin."""
    return SparseVolume(coords, attributes, np.full(3, -0.5), 1 / resolution)
