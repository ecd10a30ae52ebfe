# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading prepared arrays: one buffer for all of them, and no number that Blender could crash on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...engine.errors import EspalierError
from ...engine.mesh.layout import DESCRIPTION, VERSION


class PreparedFolder:
    """The folder that `engine.mesh.prepare` wrote: `description` is its JSON, `read` gives its arrays.

    An array is valid until the next one is read: all share one buffer, because fresh memory for each costs more time
    than reading does.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.description = self._describe()
        self.vertices, self.faces, self.edges = (self._count(key) for key in ("vertices", "faces", "edges"))
        longest = max(3 * self.vertices, 6 * self.faces, 2 * self.edges)
        self._buffer = np.empty(4 * longest, dtype=np.uint8)

    def refuse(self, reason: str) -> EspalierError:
        """Return the failure of an asset whose prepared files cannot be used."""
        return EspalierError("import_failed", name=self.name, reason=reason)

    def has(self, array: str) -> bool:
        """Tell whether the folder holds `array`."""
        return (self.folder / f"{array}.npy").is_file()

    def read(self, array: str, dtype: str, shape: tuple[int, ...], below: int | None = None) -> npt.NDArray[Any]:
        """Return `array`, writable and until the next call; every number is from 0 to `below`, where that is given.

        Raises EspalierError `import_failed` for another type, another shape, a file cut off or a number out of range.
        """
        with (self.folder / f"{array}.npy").open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise self.refuse(f"{array} is of an unknown version")
            found, by_column, kind = np.lib.format.read_array_header_1_0(file)
            if found != shape or by_column or kind != np.dtype(dtype):
                raise self.refuse(f"{array} is {kind} {found} in place of {dtype} {shape}")
            size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
            block = self._buffer[:size]
            if file.readinto(block) != size:
                raise self.refuse(f"{array} is cut off")
        values = block.view(kind).reshape(shape)
        if below is not None and len(values) and not (values.min() >= 0 and values.max() < below):
            raise self.refuse(f"{array} names something that is not there")
        return values

    def _describe(self) -> Mapping[str, Any]:
        description = json.loads((self.folder / DESCRIPTION).read_text("utf-8"))
        if description["version"] != VERSION:
            raise self.refuse(f"it was prepared by another version ({description['version']})")
        return description

    def _count(self, key: str) -> int:
        count = self.description[key]
        if not isinstance(count, int) or not 0 < count < 2**31:
            raise self.refuse(f"{key} cannot be {count}")
        return count
