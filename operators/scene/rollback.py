# SPDX-License-Identifier: GPL-3.0-or-later
"""Data-blocks that stay only when everything went well."""

from __future__ import annotations

from types import TracebackType

import bpy

_OF_THE_WINDOW = (bpy.types.Screen, bpy.types.WorkSpace, bpy.types.WindowManager)
"""Not data of the scene, and not to be removed."""


class Rollback:
    """Remembers new data-blocks; when its `with` block raises, they are removed again.

    `watch` covers what an operator makes out of sight: everything that was not there before.
    """

    def __init__(self, watch: bool = False) -> None:
        self._made: list[bpy.types.ID] = []
        self._before = {block.session_uid for block in _all_blocks()} if watch else None

    def __enter__(self) -> Rollback:
        return self

    def add(self, block: bpy.types.ID) -> None:
        """Remember `block` as new."""
        self._made.append(block)

    def made(self) -> list[bpy.types.ID]:
        """Return the new data-blocks, in the order of `bpy.data` where they are watched."""
        if self._before is None:
            return list(self._made)
        return [block for block in _all_blocks() if block.session_uid not in self._before]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            bpy.data.batch_remove(self.made())


def _all_blocks() -> list[bpy.types.ID]:
    """Return every data-block of this file that an import could make, once."""
    names = (p.identifier for p in bpy.data.bl_rna.properties if p.type == "COLLECTION")
    # By id, because newer versions have a collection of all data-blocks besides those of each type.
    blocks = {block.session_uid: block for name in names for block in getattr(bpy.data, name)}
    return [block for block in blocks.values() if not isinstance(block, _OF_THE_WINDOW)]
