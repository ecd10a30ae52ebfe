# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines' environments as this Blender knows them, and the one task at a time that works on one of them.

What is drawn is what was seen when they were last looked at; drawing reads no disk. A task goes on in a process of its
own while Blender is used, also when another file is opened; it ends with Blender, or with the add-on, and what it has
downloaded stays for the next one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import bpy

from ..engine.environments.profiles import CPU, CUDA, PROFILES, WEIGHTS
from ..engine.errors import EspalierError
from ..engine.files import unwritable
from . import account, session
from .account import PACKAGE
from .languages import msgid

if TYPE_CHECKING:
    from ..engine.environments.licences import Licence
    from ..engine.environments.places import Places
    from ..engine.environments.sources import Sources
    from ..engine.environments.status import Status
    from ..engine.environments.task import Task
    from ..engine.workers.launch import Launch
    from .trellis2 import Obstacle

FOLDER = "environments"
"""Where they lie in the extension's user folder, unless the person chose another place."""
LOOK_AFTER_S = 1.0
STEP_S = 0.1
SLEEP_S = 0.02
STOPPED = msgid("It was stopped; what is downloaded is kept, and the next time goes on from there.")
WORKING = ("install", "repair")
"""What needs space, time and perhaps the network."""


class Kind(NamedTuple):
    """One environment: what the engine that it is for is called, what it does, and the engines of jobs that use it."""

    profile: str
    label: str
    purpose: str
    engines: tuple[str, ...]


ENGINES = {CPU: ("draft",), CUDA: ("trellis2",)}
KINDS = (
    *(Kind(each.name, each.label, each.purpose, ENGINES[each.name]) for each in PROFILES.values()),
    Kind(
        WEIGHTS,
        msgid("Weights"),
        msgid("What the models have learned; the engines above need it"),
        ("draft", "trellis2"),
    ),
)
BY_PROFILE = {kind.profile: kind for kind in KINDS}


@dataclass(slots=True)
class Environments:
    """`known` is how each stood when it was last looked at; `error` and `told` are about the task that ended last.

    `unagreed` are the licenses that a dialog shows, `obstacle` is what keeps TRELLIS.2 from running.
    """

    known: dict[str, Status] = field(default_factory=dict)
    unagreed: tuple[Licence, ...] = ()
    obstacle: Obstacle | None = None
    task: Task | None = None
    act: str = ""
    profile: str = ""
    error: EspalierError | None = None
    told: tuple[str, ...] = ()

    @property
    def working(self) -> bool:
        """Whether a task is under way."""
        return self.task is not None


state = Environments()


def places() -> Places:
    """Return where the environments lie and where wheels came with the zip. Makes nothing, reads nothing."""
    from ..engine.environments.places import Places  # here, for enabling must not wait for it

    chosen = account.preferences().environments_folder
    root = bpy.path.abspath(chosen) if chosen else bpy.utils.extension_path_user(PACKAGE, path=FOLDER)
    return Places(Path(root), (Path(__file__).resolve().parents[1] / "wheels",))


def sources() -> Sources:
    """Return where packages and weights come from: the preferences, else the environment variables, else the usual."""
    from ..engine.environments.sources import Sources

    chosen = account.preferences()
    return Sources.from_environment(
        index_url=chosen.index_url,
        ca_bundle=bpy.path.abspath(chosen.index_ca) if chosen.index_ca else "",
        proxy=chosen.proxy,
        hub_url=chosen.hub_url,
        hub_token=chosen.hub_token,
        allow_unlocked=chosen.allow_unlocked,
    )


def look(profile: str = "") -> None:
    """See how the environments stand, or the one of `profile`: some milliseconds of reading."""
    from ..engine.environments.status import status
    from . import trellis2  # which looks through this module

    where = places()
    for kind in KINDS:
        if profile in ("", kind.profile):
            state.known[kind.profile] = status(kind.profile, where)
    if profile != CPU and CUDA in state.known:
        state.obstacle = trellis2.find_obstacle(state.known[CUDA], where)
    session.redraw()


def known(profile: str) -> Status | None:
    """Return how an environment stood when it was last looked at, None if it never was. For drawing."""
    return state.known.get(profile)


def fresh(profile: str) -> Status:
    """Look at one environment and return how it stands."""
    look(profile)
    return state.known[profile]


def begin(act: str, profile: str, accepted: Iterable[str] = (), origin: Sources | None = None) -> None:
    """Start a task and return at once. `accepted` names the licenses that the person has agreed to.

    `origin` is where it comes from, by default as the preferences and the environment say.

    Raises EspalierError where another task is under way, a job uses what would be taken from it, a license has not been
    accepted, or the network is needed and may not be used.
    """
    from ..engine.environments import licences
    from ..engine.environments.task import Order, Task

    kind = BY_PROFILE[profile]
    if state.working:
        raise EspalierError("install_busy", label=BY_PROFILE[state.profile].label)
    users = [job for job in session.known_jobs() if job.active and job.request.engine in kind.engines]
    if users and act in ("repair", "remove"):
        raise EspalierError("environment_in_use", profile=profile, reason=msgid("a job needs it"))
    where, origin, accepted = places(), origin or sources(), tuple(accepted)
    if act in WORKING:
        licences.accept(where, accepted)
        licences.require(where, _licences(profile, where))
        ensure_online(profile, where, origin)
    try:
        where.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(where.root, error) from error
    # What is in use cannot be exchanged on every system, and an idle worker uses it.
    session.renew(kind.engines)
    state.act, state.profile, state.error, state.told = act, profile, None, ()
    state.task = Task(Order(act, profile, accepted), where, origin)
    watch()
    session.redraw()


def ensure_online(profile: str, where: Places, origin: Sources) -> None:
    """See to it that what is still missing of an environment may be fetched, now.

    Raises EspalierError `install_offline` or, where the command line decided, `install_locked`.
    """
    if bpy.app.online_access:
        return
    from ..engine.addresses import host_of, is_private
    from ..engine.environments.contacts import contacts

    host = next((host_of(url) for url in contacts(profile, where, origin) if not is_private(url)), "")
    if host:
        code = "install_locked" if bpy.app.online_access_override else "install_offline"
        raise EspalierError(code, label=BY_PROFILE[profile].label, host=host)


def find_unagreed(profile: str) -> tuple[Licence, ...]:
    """Return the licenses that have to be accepted before `profile` is installed, and have not been yet."""
    from ..engine.environments import licences

    where = places()
    accepted = licences.accepted(where)
    state.unagreed = tuple(each for each in _licences(profile, where) if each.name not in accepted)
    return state.unagreed


def dismiss() -> None:
    """Forget how the last task ended."""
    state.error, state.told = None, ()
    session.redraw()


def cancel() -> None:
    """Stop the task at once; what it has downloaded stays for the next one."""
    if state.task is not None:
        state.task.cancel()
        session.redraw()


def step() -> bool:
    """Take what the task has said; tell whether it is still under way."""
    task = state.task
    if task is None:
        return False
    before = task.stage, task.done_bytes, task.fraction
    task.step()
    if task.finished:
        _end(task)
    elif before != (task.stage, task.done_bytes, task.fraction):
        session.redraw()
    return state.working


def wait() -> None:
    """Step until the task has ended. For background use alone: there, timers do not run."""
    while step():
        time.sleep(SLEEP_S)


def watch() -> None:
    """See to it that the timer runs. There is none in background mode: Blender would not call it."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=STEP_S, persistent=True)


def launch_of(engine: str) -> Launch:
    """Return how a worker of `engine` is started: in its environment where that is ready, else in Blender's Python.

    TRELLIS.2 cannot run there: raises EspalierError with what keeps it from running, and `python_missing`.
    """
    launch = nearest_launch(engine)
    if engine in BY_PROFILE[CUDA].engines and state.obstacle is not None:
        raise state.obstacle.error
    return launch


def nearest_launch(engine: str) -> Launch:
    """Return how `engine` is started, or, where its environment is not ready, how it would be in Blender's Python.

    Raises EspalierError `python_missing`.
    """
    from ..engine.environments.status import Condition
    from ..engine.environments.weights_index import VARIABLE, folder
    from ..engine.workers.launch import Launch, current_launch
    from . import trellis2

    own = current_launch()
    kind = next((kind for kind in KINDS if engine in kind.engines), None)
    if kind is None:
        return own
    status = fresh(kind.profile)  # what was seen last may have been deleted since
    variables = {VARIABLE: str(folder(places()))}
    if engine == trellis2.ENGINE:
        variables = trellis2.settings().to_environment()
        own = replace(own, env=variables)
    if status.condition is not Condition.READY or status.python is None:
        return own
    return Launch(str(status.python), own.paths[:1], variables)


def close() -> None:
    """End the task, if there is one, and forget what was seen."""
    global state
    if state.task is not None:
        state.task.close()
    state = Environments()


def _licences(profile: str, where: Places) -> tuple[Licence, ...]:
    """Return the licenses of what is fetched for `profile`; for the weights, of those that an environment here uses."""
    from ..engine.environments import licences, weights

    return licences.needed(profile, tuple(weights.environments(where)))


def _end(task: Task) -> None:
    """Note how a task ended, and see what has become of the environments."""
    state.task = None
    state.error, state.told = task.error, tuple(task.words)
    if task.cancelled and task.error is None:
        state.told = (STOPPED,)
    if state.error is not None and state.error.detail:
        print(f"Espalier: {state.error.code}: {state.error.detail}")
    task.close()
    session.renew(BY_PROFILE[state.profile].engines)
    look()


def _tick() -> float | None:
    try:
        return STEP_S if step() else None
    except Exception:
        # Blender would drop the timer without a word, and the bar would stand still for ever.
        close()
        session.crashed(msgid("the installation stopped"))
        return None


def _look_once() -> None:
    try:
        look()
    except EspalierError as error:
        state.error = error


def register() -> None:
    """Look at the environments once Blender has started: enabling must not wait for it."""
    if not bpy.app.background:
        bpy.app.timers.register(_look_once, first_interval=LOOK_AFTER_S, persistent=True)


def unregister() -> None:
    """Stop the timers and the task."""
    for timer in (_tick, _look_once):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    close()
