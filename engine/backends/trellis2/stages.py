# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of the CUDA engine as a person sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...mesh.rebuild import STAGES as REBUILD_STAGES
from ...progress import Cancelled, Run, Stage

STAGES = (
    Stage("check", "Checking Weights", 2),
    Stage("read", "Reading Image", 2),
    Stage("features", "Looking at Image", 3),
    Stage("sparse_structure", "Sampling Sparse Structure", 12),
    Stage("shape", "Sampling Shape", 34),
    Stage("decode_shape", "Decoding Shape", 6),
    Stage("texture", "Sampling Texture", 20),
    Stage("decode_texture", "Decoding Texture", 3),
    Stage("export", "Exporting Mesh", 18),
)


class Within(Run):
    """The stages of a rebuild, told as parts of the one stage that `outer` is in."""

    def __init__(self, outer: Run, check: Callable[[], None] = lambda: None) -> None:
        def cancelled() -> bool:
            check()
            try:
                outer.check()
            except Cancelled:
                return True
            return False

        super().__init__(REBUILD_STAGES, lambda told: outer.progress(told.fraction, told.label), cancelled)


class Guarded(Run):
    """A run with a deadline of its own: `check` may raise besides."""

    def __init__(self, outer: Run, check: Callable[[], None]) -> None:
        super().__init__((), lambda _: None)
        self._outer, self._extra = outer, check

    def progress(self, fraction: float, note: str = "") -> None:
        """Report to the outer run."""
        self._extra()
        self._outer.progress(fraction, note)

    def check(self) -> None:
        """Raise what either raises."""
        self._extra()
        self._outer.check()


def plain(value: Any) -> Any:
    """Return `value` with tuples as lists, as JSON has it."""
    return [plain(one) for one in value] if isinstance(value, (tuple, list)) else value
