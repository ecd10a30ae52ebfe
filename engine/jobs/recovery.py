# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a job whose Blender is gone, or whose worker is."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import EspalierError
from .job import Job, State

FREE = frozenset({"draft", "rebuild", "trellis2"})
"""Engines whose work costs nothing but time, and may therefore be done again unasked. All others may bill."""

OPEN_OUTCOME = frozenset({"remote_outcome_unknown", "job_contact_lost"})
"""Failures after which nobody here can tell whether the server has the job."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state that a job gets, and why if that is not a good one."""

    state: State
    error: EspalierError | None = None


def after_crash(job: Job, made: bool, placed: bool, free: bool, most_attempts: int) -> Verdict:
    """Decide about an unfinished `job` of an owner that is dead.

    `made`: the worker finished the asset, and it is on the disk; `placed`: it is in its place in the library already.
    `free`: the work may be done again unasked.

    A finished asset is never made again. Free work is, up to `most_attempts`. Paid work that has an id at its server is
    asked after; what was never sent to one is begun again, as it only stood in line when its Blender ended; in between,
    only the person can find out.
    """
    if job.state is State.QUEUED:
        return Verdict(State.QUEUED)
    if placed and job.state is State.FETCHING:
        return Verdict(State.READY)
    if made:
        return Verdict(State.FETCHING)
    if not free and job.remote_id:
        return Verdict(State.RUNNING)
    if not free and job.digest:
        return Verdict(State.UNKNOWN, EspalierError("job_outcome_unknown", name=job.request.name))
    if not free or job.attempts < most_attempts:
        return Verdict(State.QUEUED)
    return Verdict(State.FAILED, EspalierError("job_interrupted", name=job.request.name))


def after_loss(job: Job, begun: bool, free: bool, most_attempts: int, error: EspalierError) -> Verdict:
    """Decide about `job`, whose worker ended with `error` before it was made; `begun`: the engine had started on it.

    What has an id at its server is asked after by another worker, and what was never sent is begun again, both up to
    `most_attempts`: it may be the job that brings the workers down. Then it has failed, but for the person to decide
    where nobody knows whether a server has it.
    """
    if job.cancelling:
        return after_cancel(job)
    again = job.attempts < most_attempts
    if not free and job.remote_id:
        return Verdict(State.RUNNING) if again else Verdict(State.FAILED, error)
    if not free and job.digest:
        detail = f"{error}\n{error.detail}"
        lost = EspalierError("job_contact_lost", detail, engine=job.request.engine, name=job.request.name)
        return Verdict(State.UNKNOWN, lost)
    if error.code == "worker_died" and again and not (free and begun):
        return Verdict(State.QUEUED)  # a warm worker that died while it waited: no fault of the job
    return Verdict(State.FAILED, error)


def after_failure(job: Job, error: EspalierError) -> Verdict:
    """Decide about `job`, of which its worker says that it failed with `error`."""
    if job.cancelling:
        return after_cancel(job)
    return Verdict(State.UNKNOWN if error.code in OPEN_OUTCOME else State.FAILED, error)


def after_cancel(job: Job, ended: bool = False) -> Verdict:
    """Decide about `job`, which was given up as asked; `ended`: its server has nothing more to tell of it.

    What a server has accepted it may bill, also where it has stopped working on it.
    """
    name = job.request.name
    if job.remote_id:
        code = "job_cancelled_there" if ended else "job_cancelled_late"
        return Verdict(State.CANCELLED, EspalierError(code, name=name))
    if job.digest and not ended:
        return Verdict(State.CANCELLED, EspalierError("job_cancelled_blind", name=name))
    return Verdict(State.CANCELLED)
