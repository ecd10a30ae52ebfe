# SPDX-License-Identifier: GPL-3.0-or-later
"""The cut-out of the panel's image as it is made: its preview, and the file that goes to the engine.

It is made by the draft engine's worker, which starts on any machine and has the background models, for all engines.
What the main thread does is read pixels that only Blender has, and hand over a picture of some hundred pixels.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from ..engine.errors import EspalierError
from ..engine.imaging.choices import AUTOMATIC, CUT_OUT, SIDE, Order
from . import cutout_icon, session
from .cutout_settings import MAKER, Choice, choice_of
from .image import image_file, keep, reading
from .inquiry import Inquiry
from .languages import msgid
from .mask import mask_file

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

STEP_S = 0.05
WAIT_S = 300.0
"""How long is waited in the background: the largest model takes a slow processor minutes."""


def inputs() -> Path:
    """Return the folder of images that were handed to an engine and are no files of the person's own."""
    return session.user_folder() / "inputs"


def cache() -> Path:
    """Return the folder of cut-outs, which the worker keeps small."""
    return session.user_folder() / "cache" / "cutouts"


@dataclass(slots=True)
class Preview:
    """What is known. `shown` is the choice that `note` or `error` is about, `about` what was asked for it.

    `source` is the image that was read last, with its file. `follows` is whether something was chosen since the file
    was opened, so that the picture follows what is chosen from then on.
    """

    follows: bool = False
    scene: str = ""
    wanted: bool = False
    anew: bool = False
    asked: Choice | None = None
    about: dict[str, Any] = field(default_factory=dict)
    reading: Future[Path] | None = None
    inquiry: Inquiry | None = None
    source: tuple[str, Path] | None = None
    shown: Choice | None = None
    note: dict[str, Any] = field(default_factory=dict)
    error: EspalierError | None = None
    icon: int = 0

    @property
    def busy(self) -> bool:
        """Whether something is being read or made."""
        return self.reading is not None or self.inquiry is not None

    @property
    def waiting(self) -> bool:
        """Whether another picture is going to be shown."""
        return self.busy or self.wanted


state = Preview()
_reader: ThreadPoolExecutor | None = None


def is_shown(settings: Any) -> bool:
    """Tell whether what is known is about what is chosen. For drawing."""
    return state.shown is not None and state.shown == choice_of(settings)


def unfinished(settings: Any) -> bool:
    """Tell whether the engine would have to wait for the cut-out. For `poll`."""
    choice = choice_of(settings)
    return state.waiting and choice is not None and not choice.unmade


def want(scene: bpy.types.Scene, anew: bool = False) -> None:
    """Have the preview of what is chosen in `scene` made, soon; `anew`: the image's own pixels may have changed.

    In the background, where nobody sees it, nothing is done.
    """
    if bpy.app.background:
        return
    state.follows, state.scene, state.wanted, state.anew = True, scene.name, True, state.anew or anew
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=STEP_S, persistent=True)
    session.redraw()


def input_file(settings: Any, scene: bpy.types.Scene, prepare: bool) -> Path:
    """Return the file that an engine gets of the panel's image: the cut-out where one was chosen, else the image.

    `prepare` is whether the engine is to prepare the image, as with `preprocess_image`. Raises EspalierError for the
    image or the cut-out, or `cutout_pending` where it is not made yet; in the background it is waited for.
    """
    file = image_file(settings.image, scene, inputs())
    choice = choice_of(settings)
    assert choice is not None
    if not prepare or choice.unmade:
        return file
    choice = choice._replace(keep=False)
    about = _about(settings, choice, file)
    if state.about != about or state.busy or not (state.note or state.error):
        state.scene, state.source, state.wanted, state.anew = scene.name, (choice.image, file), False, False
        _ask(choice, about)
        if not bpy.app.background:
            want(scene)
            raise EspalierError("cutout_pending", name=settings.image.name)
        wait()
    if state.error is not None:
        raise state.error
    return keep(Path(state.note["cut"]).read_bytes(), ".png", inputs())


def wait() -> None:
    """Wait until what was asked is answered. For background use alone."""
    end = time.monotonic() + WAIT_S
    while step():
        if time.monotonic() > end:
            raise EspalierError("question_unanswered", engine=MAKER, question=CUT_OUT)
        if state.inquiry is not None:
            session.wait_for_answer(state.inquiry, STEP_S)


def step() -> bool:
    """Take what was read or answered, and begin what is wanted; tell whether there is more to come."""
    if state.reading is not None and state.reading.done():
        _was_read(state.reading)
    inquiry = state.inquiry
    if inquiry is not None and session.session.inquiries.of(CUT_OUT) is not inquiry:
        state.inquiry, state.wanted = None, True  # forgotten, with all that was asked before
    elif inquiry is not None and not inquiry.waiting:
        _take(inquiry)
    if state.wanted and not state.busy:
        _begin()
    return state.waiting


def forget() -> None:
    """Forget what is shown; what is still to come belongs to another file."""
    global state
    state = Preview()
    cutout_icon.close()


def _begin() -> None:
    """Read the image that is chosen now, in a thread as far as that can be."""
    scene = bpy.data.scenes.get(state.scene)
    choice = choice_of(scene.espalier) if scene is not None else None
    state.wanted = False
    if scene is None or choice is None:
        forget()
        state.follows = True
        session.redraw()
        return
    state.asked = choice
    try:
        if state.source is not None and state.source[0] == choice.image and not state.anew:
            _ask(choice, _about(scene.espalier, choice, state.source[1]))
        else:
            state.anew = False
            state.reading = _thread().submit(reading(scene.espalier.image, scene, inputs()))
    except EspalierError as error:
        _show(choice, error)


def _was_read(done: Future[Path]) -> None:
    state.reading = None
    scene = bpy.data.scenes.get(state.scene)
    choice = state.asked
    assert choice is not None
    try:
        file = done.result()
        state.source = choice.image, file
        if scene is None or choice_of(scene.espalier) != choice:
            state.wanted = True  # chosen differently while it was read
            return
        _ask(choice, _about(scene.espalier, choice, file))
    except EspalierError as error:
        _show(choice, error)


def _about(settings: Any, choice: Choice, file: Path) -> dict[str, Any]:
    """Return what is asked, as plain data. "stamp" tells a file that was changed since from what it was."""
    mask, width = "", 0
    if choice.mask and not choice.keep:
        path, width = mask_file(settings.cutout.mask, cache())
        mask = str(path)
    background, threshold = (AUTOMATIC, 0.0) if choice.keep else (choice.background, choice.threshold)
    order = Order(str(file), background, threshold, choice.keep, choice.inflates, mask, width)
    try:
        found = file.stat()
        stamp = [found.st_mtime_ns, found.st_size]
    except OSError:
        stamp = []  # it is the reading that tells
    return {**asdict(order), "folder": str(cache()), "stamp": stamp}


def _ask(choice: Choice, about: dict[str, Any]) -> None:
    """Ask the worker, unless that is known."""
    if about == state.about and state.note:
        _show(choice)
        return
    state.asked, state.about, state.note, state.error = choice, about, {}, None
    name = session.session.open_queue().ask(MAKER, CUT_OUT, about)
    state.inquiry = session.session.inquiries.begin(CUT_OUT, name)
    session.watch()


def _take(inquiry: Inquiry) -> None:
    state.inquiry = None
    assert state.asked is not None
    if inquiry.error is not None:
        _show(state.asked, inquiry.error)
        return
    state.note = dict(inquiry.answer)
    _show(state.asked)


def _show(choice: Choice, error: EspalierError | None = None) -> None:
    state.shown, state.error, state.icon = choice, error, 0
    if error is None:
        try:
            state.icon = cutout_icon.show(Path(state.note["preview"]), SIDE)
        except (OSError, ValueError) as fault:
            state.error = EspalierError("image_damaged", detail=repr(fault), path=state.note["preview"])
            state.note = {}  # else it would never be asked for again
    session.redraw()


def _thread() -> ThreadPoolExecutor:
    global _reader
    if _reader is None:
        from concurrent.futures import ThreadPoolExecutor  # with logging, for which enabling must not wait

        _reader = ThreadPoolExecutor(1, thread_name_prefix="espalier-image")
    return _reader


def _tick() -> float | None:
    try:
        return STEP_S if step() else None
    except Exception:
        # Blender would drop the timer without a word, and Generate would stay disabled for ever.
        forget()
        session.crashed(msgid("the cut-out stopped"))
        return None


@bpy.app.handlers.persistent
def _file_opened(*_args: object) -> None:
    forget()


@bpy.app.handlers.persistent
def _undone(scene: bpy.types.Scene, *_args: object) -> None:
    if state.follows and state.shown != choice_of(scene.espalier):
        want(scene, anew=True)


@bpy.app.handlers.persistent
def _painted(scene: bpy.types.Scene, graph: bpy.types.Depsgraph) -> None:
    """Let the preview follow the brush. At the end of a stroke Blender tells that an image changed, but not which."""
    if state.shown is None or not graph.id_type_updated("IMAGE") or not is_shown(scene.espalier):
        return
    dirty = scene.espalier.image.is_dirty
    if dirty or state.shown.mask:
        want(scene, anew=dirty)


HANDLERS = (
    (bpy.app.handlers.load_post, _file_opened),
    (bpy.app.handlers.undo_post, _undone),
    (bpy.app.handlers.redo_post, _undone),
    (bpy.app.handlers.depsgraph_update_post, _painted),
)


def register() -> None:
    """Listen for opened files, undo and strokes of a brush."""
    for handlers, function in HANDLERS:
        handlers.append(function)


def unregister() -> None:
    """Stop listening, and give up what is shown and what is under way."""
    global _reader
    for handlers, function in reversed(HANDLERS):
        handlers.remove(function)
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    if _reader is not None:
        _reader.shutdown(wait=False, cancel_futures=True)
        _reader = None
    forget()
