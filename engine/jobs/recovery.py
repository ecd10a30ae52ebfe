# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a job whose Blender is gone, or whose worker is."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import EspalierError
from .job import Job, State

FREE = frozenset({"draft", "rebuild", "trellis2"})
"""Engines whose work costs nothing but time, and may therefore be done again unasked. All others may bill."""


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
    asked after; without one it may or may not have been handed over, which only the person can find out.
    """
    if job.state is State.QUEUED:
        return Verdict(State.QUEUED)
    if placed and job.state is State.FETCHING:
        return Verdict(State.READY)
    if made:
        return Verdict(State.FETCHING)
    if free:
        if job.attempts < most_attempts:
            return Verdict(State.QUEUED)
        return Verdict(State.FAILED, EspalierError("job_interrupted", name=job.request.name))
    if job.remote_id:
        return Verdict(State.RUNNING)
    return Verdict(State.UNKNOWN, EspalierError("job_outcome_unknown", name=job.request.name))


def after_loss(job: Job, begun: bool, free: bool, most_attempts: int, error: EspalierError) -> Verdict:
    """Decide about `job`, whose worker ended with `error` before it was made; `begun`: the engine had started on it."""
    if job.cancelling and (free or not begun):
        return Verdict(State.CANCELLED)
    if not begun and error.code == "worker_died" and job.attempts < most_attempts:
        return Verdict(State.QUEUED)  # a warm worker that died while it waited: no fault of the job
    if free or not begun:
        return Verdict(State.FAILED, error)
    detail = f"{error}\n{error.detail}"
    lost = EspalierError("job_contact_lost", detail, engine=job.request.engine, name=job.request.name)
    return Verdict(State.UNKNOWN, lost)
