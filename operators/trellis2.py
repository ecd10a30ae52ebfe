# SPDX-License-Identifier: GPL-3.0-or-later
"""TRELLIS.2 on this machine's GPU: how a person wants it to run, what keeps it from running, its finished stages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import bpy

from ..engine.environments.profiles import CUDA, WEIGHTS
from ..engine.errors import EspalierError
from ..engine.request import TEXTURE_SEED
from . import account, environments, session
from .languages import LINES, msgid, sentence

if TYPE_CHECKING:
    from ..engine.backends.trellis2.settings import Settings
    from ..engine.environments.places import Places
    from ..engine.environments.status import Status

ENGINE = "trellis2"
AUTOMATIC = "automatic"
"""The memory plan that is chosen by how much is free."""
_ACTS = {"installable": "install", "broken": "repair", "impossible": ""}
"""Condition of an environment -> what helps."""
_ABSENT = ("trellis2_weights_none", "trellis2_weights_missing")

FOLLOWS = -1
"""The texture seed in the panel that stands for none of its own."""

_stages_bytes: int | None = None


class Obstacle(NamedTuple):
    """Why TRELLIS.2 cannot run, and what helps: `act` ("install", "repair", or "" for nothing) on `profile`."""

    error: EspalierError
    profile: str
    act: str


def settings() -> Settings:
    """Return what the worker is told: the environment variables that are set, else the preferences.

    Raises EspalierError where the extension's own folder cannot be made.
    """
    from ..engine.backends.trellis2.settings import Settings
    from ..engine.environments import licences, weights_index

    chosen, where = account.preferences(), environments.places()
    usual = Settings(
        cache=session.user_folder() / "cache" / "stages",
        cache_gb=chosen.stage_cache_gb,
        fast=chosen.fast_mode,
        plan="" if chosen.memory_plan == AUTOMATIC else chosen.memory_plan,
        background=chosen.background_model,
    )
    # A license counts only once it has been accepted here.
    known = {"weights": weights_index.folder(where), "licences": licences.accepted(where)}
    return replace(Settings.from_environment(usual=usual), **known)


def find_obstacle(environment: Status, where: Places) -> Obstacle | None:
    """Return what keeps TRELLIS.2 from running in `environment` with the weights that are there.

    It reads the headers of the weights, some milliseconds; whether they are damaged inside is seen by the first job.
    """
    from ..engine.backends.trellis2 import checkpoint
    from ..engine.environments.status import Condition, status
    from ..engine.environments.weights_index import folder

    if environment.condition is not Condition.READY or environment.python is None:
        why = environment.why or EspalierError("environment_missing", profile=CUDA)
        return Obstacle(why, CUDA, _ACTS.get(environment.condition, ""))
    try:
        checkpoint.look(folder(where))
    except EspalierError as error:
        if error.code in _ABSENT and status(WEIGHTS, where).condition is Condition.INSTALLABLE:
            return Obstacle(EspalierError(_ABSENT[0], error.detail, model=checkpoint.TRELLIS2), WEIGHTS, "install")
        return Obstacle(error, WEIGHTS, "repair")
    return None


def known_obstacle(engine: str) -> Obstacle | None:
    """Return what keeps `engine` from running, if it is TRELLIS.2, as it was last looked at. For drawing."""
    return environments.state.obstacle if engine == ENGINE else None


def may_generate(operator: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Tell whether nothing is known to keep the chosen engine from running; if so, `operator` shows it. For `poll`.

    In the background, where nobody sees it, the operator itself tells.
    """
    obstacle = known_obstacle(context.scene.espalier.engine)
    if obstacle is None or bpy.app.background:
        return True
    operator.poll_message_set(sentence(obstacle.error))
    return False


def ensure_ready() -> None:
    """Look whether TRELLIS.2 can run. Raises EspalierError with what keeps it from that."""
    environments.look(CUDA)
    obstacle = environments.state.obstacle
    if obstacle is not None:
        raise obstacle.error


def texture_seed_property(**options: Any) -> Any:
    """Return the Blender property that shows the texture seed."""
    return bpy.props.IntProperty(
        name=TEXTURE_SEED.label,
        description=LINES.join(
            [
                TEXTURE_SEED.help,
                msgid("The shape comes from the Stage Cache if it is still there"),
                msgid("{value}: it follows from the Seed").format(value=FOLLOWS),
            ]
        ),
        default=FOLLOWS,
        min=FOLLOWS,
        **options,
    )


def texture_seed(owner: bpy.types.PropertyGroup, engine: str) -> int | None:
    """Return the texture seed that `owner` asks `engine` for, None for none of its own."""
    return owner.texture_seed if engine == ENGINE and owner.texture_seed != FOLLOWS else None


def notices() -> tuple[str, ...]:
    """Return what has to be shown wherever TRELLIS.2 is at work."""
    from ..engine.environments import licences

    return licences.notices(CUDA)


@contextmanager
def fast(wanted: bool) -> Iterator[None]:
    """Let workers that start meanwhile run in fast mode if that is `wanted`, else as they would."""
    from ..engine.backends.trellis2.settings import FAST

    before = os.environ.get(FAST)
    if wanted:
        os.environ[FAST] = "1"
    try:
        yield
    finally:
        if wanted:
            os.environ.pop(FAST)
            if before is not None:
                os.environ[FAST] = before


def renew() -> None:
    """Let the next job have a worker that knows the preferences as they are now."""
    session.renew((ENGINE,))


def stages_bytes() -> int | None:
    """Return how many bytes the finished stages took when they were last measured, None if they never were."""
    return _stages_bytes


def measure_stages() -> None:
    """See how many bytes the finished stages take: one look at each file."""
    from ..engine.backends.trellis2.cache import size

    global _stages_bytes
    _stages_bytes = size(_stages_folder())
    session.redraw()


def clear_stages() -> None:
    """Remove all finished stages."""
    from ..engine.backends.trellis2.cache import clear

    clear(_stages_folder())
    measure_stages()


def at_work() -> bool:
    """Tell whether a job of TRELLIS.2 waits or runs."""
    return any(job.active and job.request.engine == ENGINE for job in session.known_jobs())


def _stages_folder() -> Path:
    folder = settings().cache
    assert folder is not None
    return folder
