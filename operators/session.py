# SPDX-License-Identifier: GPL-3.0-or-later
"""This Blender's one JobQueue and the one timer that drives it.

Nothing is opened, started or read until a job is submitted or an earlier session left one behind.
"""

from __future__ import annotations

import time
import traceback
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from ..engine.errors import EspalierError
from ..engine.files import unwritable
from ..engine.jobs.job import Job, State
from . import account, placing
from .account import PACKAGE
from .inquiry import Inquiries, Inquiry
from .languages import msgid, say, sentence

if TYPE_CHECKING:
    from ..engine.jobs.history import Spent
    from ..engine.jobs.queue import JobQueue
    from ..engine.request import Request

LEDGER = "ledger.sqlite3"
RESUME_AFTER_S = 1.0
LOOK_AGAIN_S = 0.5
LONGEST_SLEEP_S = 0.02
DRAWN = {"VIEW_3D": "UI", "PREFERENCES": "WINDOW"}
"""Editor -> its region that shows what is in memory here."""


class Session:
    """What lives as long as the add-on is enabled.

    `file` changes whenever another .blend is opened. `held` are jobs whose import failed: they wait for the person.
    `notice` is a sentence for the panel that is no error. `inquiries` are the questions to the remote API.
    `selection` is what was selected after the last asset was placed, as `placing.selection` tells it.
    """

    def __init__(self) -> None:
        self.queue: JobQueue | None = None
        self.file = uuid.uuid4().hex
        self.error: EspalierError | None = None
        self.error_job = ""
        self.notice = ""
        self.held: set[str] = set()
        self.selection = ""
        self.inquiries = Inquiries()

    def open_queue(self, slots: Mapping[str, int] | None = None) -> JobQueue:
        """Return the queue, opened if it was not yet, with `slots` as `JobQueue` takes them. Raises EspalierError."""
        if self.queue is None:
            # Enabling the extension must not wait for SQLite, threads and processes to be imported.
            from ..engine.jobs.queue import JobQueue
            from . import environments  # which redraws through this module

            self.queue = JobQueue(user_folder(), environments.launch_of, slots=slots, account=account.of_engine)
        return self.queue

    def close(self) -> None:
        """Stop the workers; unfinished jobs stay in the ledger."""
        if self.queue is not None:
            self.queue.close()
            self.queue = None
        self.inquiries = Inquiries()


session = Session()


def user_folder() -> Path:
    """Return the extension's own folder for what it keeps. Raises EspalierError if it cannot be made."""
    try:
        return Path(bpy.utils.extension_path_user(PACKAGE, create=True))
    except OSError as error:
        raise unwritable(Path(error.filename), error) from error


def known_jobs() -> list[Job]:
    """Return the jobs as last seen, newest first, without touching disk: for drawing."""
    return session.queue.jobs() if session.queue is not None else []


def known_job(job: str) -> Job | None:
    """Return one job as last seen, without touching disk: for drawing; None where it is not known."""
    try:
        return session.queue.job(job) if session.queue is not None else None
    except EspalierError:
        return None


def spent() -> Spent:
    """Return what is known to have been billed, in USD, without touching disk: for drawing."""
    from ..engine.jobs.history import Spent  # here, for enabling must not wait for what it imports

    return session.queue.spent() if session.queue is not None else Spent()


def submit(
    request: Request, context: bpy.types.Context, placement: Mapping[str, Any] | None = None, notice: str = ""
) -> str:
    """Hand a request to the queue and return the job's id at once. Raises EspalierError.

    `placement` says where the result goes; by default where something new appears in `context`. `notice` is shown in
    the panel.
    """
    session.error, session.notice = None, notice
    job = session.open_queue().submit(request, placement or placing.snapshot(context, session.file))
    watch()
    redraw()
    return job


def renew(engines: Iterable[str]) -> None:
    """Let the next job of each of `engines` have a new worker, in the environment as it is then."""
    if session.queue is not None:
        for engine in engines:
            session.queue.renew(engine)
        watch()


def ask(question: str) -> Inquiry:
    """Ask the remote API unless an answer is awaited already, and return at once. Raises EspalierError."""
    inquiry = session.inquiries.of(question)
    if not inquiry.waiting:
        account.ensure_online()
        inquiry = session.inquiries.begin(question, session.open_queue().ask(account.ENGINE, question))
        watch()
        redraw()
    return inquiry


def may_ask(operator: type[bpy.types.Operator], question: str) -> bool:
    """Tell whether `question` may be asked anew; if not, `operator` shows why. For `poll`."""
    if session.inquiries.of(question).waiting:
        operator.poll_message_set(say("The server has been asked and has not answered yet"))
        return False
    return True


def wait_for_answer(inquiry: Inquiry, limit_s: float) -> None:
    """Advance until `inquiry` is answered, or `limit_s` seconds have passed."""
    end = time.monotonic() + limit_s
    while inquiry.waiting and time.monotonic() < end:
        advance()


def advance() -> list[Job]:
    """Step the queue, then sleep until it wants the next step; return the jobs that changed.

    For background use alone: there, timers do not run, and nobody waits for Blender to draw.
    """
    queue = session.open_queue()
    changed = queue.step()
    session.inquiries.take(queue.answers())
    time.sleep(min(queue.delay_s(), LONGEST_SLEEP_S))
    return changed


def wait_for(job: str) -> Job:
    """Advance until `job` is no longer active, and return it."""
    queue = session.open_queue()
    while queue.job(job).active:
        advance()
    return queue.job(job)


def finish(name: str) -> None:
    """Wait until a job is done, and bring what it made into the scene. For background use. Raises EspalierError."""
    job = wait_for(name)
    if job.error is not None:
        raise job.error
    if job.state is State.READY:
        bpy.ops.espalier.import_asset("EXEC_DEFAULT", job=job.id)


def settle() -> None:
    """Advance until what has been decided is also in the ledger."""
    while session.open_queue().busy:
        advance()


def fail(error: EspalierError, job: str = "") -> None:
    """Show `error` in the panel."""
    session.error, session.error_job = error, job
    if error.detail:
        print(f"Espalier: {error.code}: {error.detail}")
    redraw()


def refuse(operator: bpy.types.Operator, error: EspalierError, job: str = "") -> set[str]:
    """Show `error` in the panel and in `operator`'s report, and return what the operator then returns."""
    fail(error, job)
    operator.report({"ERROR"}, sentence(error))
    return {"CANCELLED"}


def unexpected(reason: str) -> EspalierError:
    """Return that `reason`, while an exception that nobody expects is being handled; the console tells what it was."""
    return EspalierError("internal", detail=traceback.format_exc(), reason=reason, log=msgid("the console"))


def crashed(reason: str) -> None:
    """Show what is `unexpected`."""
    fail(unexpected(reason))


def hold(job: str) -> None:
    """Do not import `job` again by itself: it failed once, and would fail at every tick."""
    session.held.add(job)


def is_waited_for(placement: Mapping[str, Any], selection: str) -> bool:
    """Tell whether the person has selected nothing else since an asset was asked for, or since the last one came."""
    return selection in (placement.get("selection") or selection, session.selection)


def watch() -> None:
    """See to it that the timer runs. There is no timer in background mode: Blender would not call it."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=0.02, persistent=True)


def redraw() -> None:
    """Draw again what shows jobs and answers: the sidebars of all 3D viewports, and open preferences."""
    from . import queue_list  # which looks at jobs through this module

    if not bpy.app.background:
        queue_list.sync()
    for window in bpy.context.window_manager.windows if bpy.context.window_manager else ():
        for area in window.screen.areas:
            shown = DRAWN.get(area.type)
            for region in area.regions if shown else ():
                if region.type == shown:
                    region.tag_redraw()


def _tick() -> float | None:
    """Step the queue for a few milliseconds; return the seconds to the next call, or None when all is quiet."""
    from . import library, status_bar, trellis2  # which look at jobs through this module

    queue = session.queue
    if queue is None:
        return None
    try:
        changed = queue.step()
        answered = session.inquiries.take(queue.answers())
        if any(job.request.engine == trellis2.ENGINE and not job.active for job in changed):
            trellis2.measure_stages()
        library.follow(changed)
        for job in changed:
            # What was cancelled and has an error may be billed all the same.
            if job.state in (State.FAILED, State.CANCELLED) and job.error is not None:
                fail(job.error, job.id)
            status_bar.tell(job)
        waiting = _import_one(queue)
    except Exception:
        # Blender would drop the timer without a word, and with it every job.
        crashed(msgid("the queue stopped"))
        return None
    if changed or answered:
        redraw()
    delay = queue.delay_s()
    if waiting:
        return min(delay, LOOK_AGAIN_S)
    return delay if queue.busy or queue.warm or session.inquiries.awaited else None


def _import_one(queue: JobQueue) -> bool:
    """Bring one finished asset into the scene that it was made for; tell whether one still waits for a good moment."""
    waiting = False
    for job in reversed(queue.jobs()):
        if job.state is not State.READY or job.id in session.held:
            continue
        if not placing.belongs_here(job.placement, session.file):
            continue
        if not placing.is_quiet():
            waiting = True
            continue
        try:
            # Never inside temp_override: Blender reads the override's dictionary after it has let go of Python's lock,
            # and the queue's threads are running then, which ends in a crash.
            bpy.ops.espalier.import_asset("EXEC_DEFAULT", True, job=job.id, unasked=True)
        except RuntimeError:
            # An operator's error report is raised here; the operator has told the person already.
            if job.id not in session.held:
                raise
        return True
    return waiting


def _resume() -> None:
    try:
        if session.open_queue().resume():
            watch()
            redraw()
    except EspalierError as error:
        fail(error)


@bpy.app.handlers.persistent
def _file_opened(*_args: object) -> None:
    session.file = uuid.uuid4().hex


def register() -> None:
    """Listen for opened files; look for jobs of an earlier session, if there ever was one, after the start."""
    bpy.app.handlers.load_post.append(_file_opened)
    if not bpy.app.background and (Path(bpy.utils.extension_path_user(PACKAGE)) / LEDGER).is_file():
        bpy.app.timers.register(_resume, first_interval=RESUME_AFTER_S, persistent=True)


def unregister() -> None:
    """Stop listening, stop the timers, stop the workers."""
    for timer in (_tick, _resume):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    bpy.app.handlers.load_post.remove(_file_opened)
    session.close()
