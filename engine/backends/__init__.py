# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines that this version has, by name. A backend's module is imported only by the worker that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

from ..parameters import ENGINES

if TYPE_CHECKING:
    from .base import Backend

MODULES: Mapping[str, str] = {
    "draft": ".draft",
    "rebuild": ".rebuild",
    "remote": ".remote",
    "trellis2": ".trellis2",
}
"""Engine -> module below this package whose `create()` returns its Backend."""


def available() -> tuple[str, ...]:
    """Return the names of the engines that this version can run and a person can choose."""
    return tuple(engine.name for engine in ENGINES if engine.name in MODULES)


def create(engine: str) -> Backend:
    """Return a new backend for `engine`, one of `MODULES`."""
    return cast("Backend", import_module(MODULES[engine], __package__).create())
