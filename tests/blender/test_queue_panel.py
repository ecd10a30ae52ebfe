# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue in the panel: its rows, what can be done with them, and whose file is not open."""

import time
from types import SimpleNamespace

import bpy
import pytest

from tests.support.drawing import drawn


@pytest.fixture
def small():
    return {"texture_size": "1024", "decimation_target": 10000, "resolution": "512"}


@pytest.fixture
def rows(espalier, session):
    """Return the module of the list, brought up to date in the background, too, where nobody draws it."""
    module = espalier.module("operators.queue_list")
    module.sync()
    return module


@pytest.fixture
def panel(espalier, rows):
    """Return a function that tells what the queue's panel draws now, None where it is not shown."""
    cls = espalier.module("panels.jobs").ESPALIER_PT_jobs

    def draw():
        rows.sync()
        if not cls.poll(bpy.context):
            return None
        return drawn(cls, bpy.context.scene, bpy.context.preferences, width=4000)

    return draw


@pytest.fixture
def told(espalier):
    """Return the module of the status bar, which has told nothing yet."""
    module = espalier.module("operators.status_bar")
    module._end()
    module._told.clear()
    return module


def _pump(session, until, limit_s=60.0):
    end = time.monotonic() + limit_s
    while not until():
        assert time.monotonic() < end, [(job.state, job.error) for job in session.known_jobs()]
        session._tick()
        time.sleep(0.01)


def _names(rows):
    return [item.name for item in bpy.context.window_manager.espalier_queue.items]


def _written(queue):
    while queue._book.writing:
        queue.step()


def test_rows_are_in_the_order_of_the_line_and_the_chosen_one_stays_chosen(closed, rows, asked, panel):
    assert panel() is None
    jobs = [closed.submit(asked(name)) for name in "abc"]
    drawing = panel()
    assert [text for text in drawing.texts if text in "abc"] == list("abc")
    assert drawing.texts.count("Waiting") == 3
    assert drawing.operators.count("espalier.cancel") == 3
    bpy.context.window_manager.espalier_queue.active = 2
    assert rows.chosen().id == jobs[2]
    assert bpy.ops.espalier.move_up(job=jobs[2]) == {"FINISHED"}
    rows.sync()
    assert _names(rows) == list("acb")
    assert rows.chosen().id == jobs[2]
    bpy.ops.espalier.cancel(job=jobs[0])
    rows.sync()
    assert _names(rows) == list("cba"), "what is cancelled comes after what waits"
    assert rows.chosen().id == jobs[2]


@pytest.mark.once
def test_the_chosen_row_follows_what_is_begun_until_another_is_chosen(closed, rows, asked):
    jobs, queue = [closed.submit(asked(name)) for name in "abcd"], bpy.context.window_manager.espalier_queue

    def begin(number, started):
        closed._book.note(closed._book.entry(jobs[number]), state="running", started=started)
        rows.sync()

    def end(number):
        closed._book.note(closed._book.entry(jobs[number]), state="imported", finished=time.time())
        rows.sync()

    rows.sync()
    assert rows.chosen().id == jobs[0]
    jobs.append(closed.submit(asked("e")))
    rows.sync()
    assert rows.chosen().id == jobs[0], "what only waits is not pushed in front"
    begin(0, 10.0)
    end(0)
    assert rows.chosen().id == jobs[0]
    begin(1, 20.0)
    assert rows.chosen().id == jobs[1], "the one that was begun last was chosen, and is again"
    queue.active = [item.job for item in queue.items].index(jobs[0])
    end(1)
    begin(2, 30.0)
    assert rows.chosen().id == jobs[0], "the person looks at another one"
    queue.active = [item.job for item in queue.items].index(jobs[2])
    end(2)
    begin(3, 40.0)
    assert rows.chosen().id == jobs[3]
    closed.clear([jobs[0], jobs[1], jobs[2]])
    rows.sync()
    assert _names(rows) == ["d", "e"]
    assert rows.chosen().id == jobs[3]


@pytest.mark.once
def test_variations_are_told_from_each_other_by_their_seeds(closed, rows, asked, panel):
    place = {"variations": {"group": "g", "index": 0, "count": 2}}
    for seed in (7, 8):
        closed.submit(asked(seed=seed), place)
    closed.submit(asked(seed=9))
    texts = panel().texts
    assert [text for text in texts if "thing" in text] == [
        "Seed 7, thing",
        "Seed 8, thing",
        "thing",
        "Seed 7, thing: Waiting",
    ]
    assert _names(rows) == ["Seed 7, thing", "Seed 8, thing", "thing"]


def test_what_has_ended_is_cleared_and_can_be_retried(closed, rows, asked, panel):
    failed, waiting = closed.submit(asked("failed")), closed.submit(asked("waiting"))
    _written(closed)
    assert not bpy.ops.espalier.clear.poll()
    closed.cancel(failed)
    _written(closed)
    drawing = panel()
    assert "Cancelled" in drawing.texts
    assert "espalier.retry" in drawing.operators
    assert bpy.ops.espalier.clear() == {"FINISHED"}
    rows.sync()
    assert _names(rows) == ["waiting"]
    assert bpy.ops.espalier.retry(job=failed) == {"FINISHED"}
    rows.sync()
    assert _names(rows) == ["waiting", "failed"]
    with pytest.raises(RuntimeError, match="queued"):
        bpy.ops.espalier.put_away(job=waiting)


def test_the_list_is_there_again_after_another_file_is_opened(espalier, closed, rows, asked):
    closed.submit(asked("a"))
    rows.sync()
    espalier.open_empty_file()
    assert _names(rows) == ["a"]


def test_another_blender_finds_the_queue_as_it_was_left(espalier, session, closed, rows, asked):
    jobs = [closed.submit(asked(name)) for name in "abc"]
    bpy.ops.espalier.move_up(job=jobs[2])
    closed.cancel(jobs[0])
    _written(closed)
    closed.clear([jobs[0]])
    session.session.close()
    queue = espalier.module("engine.jobs.queue").JobQueue
    session.session.queue = queue(session.user_folder(), lambda engine: None, slots={"draft": 0})
    session._resume()
    rows.sync()
    assert _names(rows) == ["c", "b"]


def test_what_was_done_in_an_earlier_session_is_not_listed(closed, rows, asked, monkeypatch):
    job = closed.submit(asked())
    closed.cancel(job)
    _written(closed)
    assert [each.id for each in rows.shown()] == [job]
    monkeypatch.setattr(closed, "opened", time.time() + 60)
    assert rows.shown() == []


def test_a_finished_asset_of_another_file_asks_where_to_go(
    espalier, session, rows, panel, told, picture, small, tmp_path
):
    blend = tmp_path / "street 街.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    request = espalier.module("engine.request").GenerationRequest
    job = session.submit(request.create(picture, "draft", small), bpy.context)
    espalier.open_empty_file()
    _pump(session, lambda: session.known_job(job).state == "ready")
    session._tick()
    drawing = panel()
    assert "green disc Is Finished" in drawing.texts
    assert "Other File" in drawing.texts
    assert "It belongs to street 街.blend, which is not open." in drawing.texts
    assert {"espalier.import_asset", "espalier.open_file", "espalier.put_away"} <= set(drawing.operators)
    assert told.words() == "green disc is finished and belongs to street 街.blend"
    assert not rows.clearable(), "what waits for an answer is not cleared with the rest"

    kept = blend.rename(tmp_path / "kept.blend")
    with pytest.raises(RuntimeError, match="is gone"):
        bpy.ops.espalier.open_file(job=job)
    kept.rename(blend)
    bpy.ops.espalier.open_file(job=job)
    assert bpy.data.filepath == str(blend)
    _pump(session, lambda: session.known_job(job).state == "imported")
    session._tick()
    assert told.words() == "green disc is finished"
    drawing = panel()
    assert "Done" in drawing.texts
    assert not [name for name in drawing.operators if name in ("espalier.open_file", "espalier.import_asset")]


def test_an_asset_of_a_file_that_was_never_saved_can_be_imported_here(espalier, session, panel, told, picture, small):
    request = espalier.module("engine.request").GenerationRequest
    job = session.submit(request.create(picture, "draft", small), bpy.context)
    espalier.open_empty_file()
    _pump(session, lambda: session.known_job(job).state == "ready")
    drawing = panel()
    assert "It belongs to a file that was not saved then." in drawing.texts
    assert "espalier.open_file" not in drawing.operators
    assert bpy.ops.espalier.import_asset(job=job) == {"FINISHED"}
    _pump(session, lambda: not session.session.queue.busy)
    assert [item for item in bpy.data.objects if "espalier" in item]


def test_the_status_bar_tells_what_is_news_once_and_not_for_ever(told, monkeypatch, espalier, asked):
    state = espalier.module("engine.jobs.job").State
    job = espalier.module("engine.jobs.job").Job
    labels = []
    header = SimpleNamespace(layout=SimpleNamespace(label=lambda **words: labels.append(words)))
    told.draw(header, None)
    assert labels == []
    failed = job("1", asked("vase"), state.FAILED)
    told.tell(failed)
    told.draw(header, None)
    assert labels == [{"text": "vase was not generated", "icon": "ERROR"}]
    told._end()
    told.tell(failed)
    assert told.words() == "", "it was told before"
    told.tell(job("1", asked("vase"), state.QUEUED))
    told.tell(failed)
    assert told.words(), "it failed once more"
    now = time.monotonic()
    monkeypatch.setattr(told.time, "monotonic", lambda: now + told.SHOWN_S + 0.1)
    told.draw(header, None)
    assert len(labels) == 1, "nothing stays for ever, even where no timer runs"
    told.tell(job("2", asked("vase"), state.CANCELLED))
    assert told.words() == "", "the person knows it"


def _draws(header):
    """Return what was added to a header, by the modules that it comes from."""
    added = getattr(header.draw, "_draw_funcs", [])
    return [function.__module__ for function in added if "espalier" in function.__module__]


def test_disabling_leaves_nothing_behind(espalier, addon, closed, asked):
    closed.submit(asked())
    assert [name.rpartition(".")[2] for name in _draws(bpy.types.STATUSBAR_HT_header)] == ["status_bar"]
    handlers = len(bpy.app.handlers.load_post)
    addon.unregister()
    assert _draws(bpy.types.STATUSBAR_HT_header) == []
    assert not hasattr(bpy.types.WindowManager, "espalier_queue")
    assert not hasattr(bpy.types, "ESPALIER_UL_jobs")
    assert not [each for each in bpy.app.handlers.load_post if "espalier" in each.__module__]
    addon.register()
    assert len(bpy.app.handlers.load_post) == handlers


def test_pictures_are_kept_up_to_a_number(espalier, asked, monkeypatch, picture):
    thumbnails = espalier.module("operators.thumbnails")
    monkeypatch.setattr(thumbnails, "MOST", 3)
    thumbnails.unregister()
    job, state = espalier.module("engine.jobs.job").Job, espalier.module("engine.jobs.job").State
    request = espalier.module("engine.request")

    def icon(path, engine="draft"):
        return thumbnails.icon_of(job("1", request.GenerationRequest.create(path, engine), state.QUEUED))

    icon(picture)
    first = thumbnails._pictures[str(picture)]
    for number in range(5):
        icon(f"/gone/{number}.png")  # nobody looks here whether it is there
        icon(picture)
    assert set(thumbnails._drawn) == set(thumbnails._pictures) == {str(picture), "/gone/3.png", "/gone/4.png"}
    assert thumbnails._pictures[str(picture)] is first, "what is drawn is kept"
    assert icon("https://a.example/b.png", "remote") == 0
    assert thumbnails.icon_of(job("1", request.RebuildRequest.create("/a.glb"), state.QUEUED)) == 0
    gone = espalier.module("engine.errors").EspalierError("image_missing", path="/gone/6.png")
    failed = job("1", request.GenerationRequest.create("/gone/6.png", "draft"), state.FAILED, error=gone)
    assert thumbnails.icon_of(failed) == 0, "an empty square tells nothing"
    thumbnails.unregister()
