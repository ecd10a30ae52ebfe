# SPDX-License-Identifier: GPL-3.0-or-later
"""What the next asset will take, as it is told beforehand: time, memory, and what would fit."""

import time
from types import SimpleNamespace

import bpy
import pytest

from tests.support.drawing import Drawing

GIB = 1 << 30


@pytest.fixture
def small():
    return {"texture_size": "1024", "decimation_target": 10000, "resolution": "512"}


def _pump(session, until, limit_s=60.0):
    end = time.monotonic() + limit_s
    while not until():
        assert time.monotonic() < end, [(job.state, job.error) for job in session.known_jobs()]
        session._tick()
        time.sleep(0.01)


@pytest.fixture
def forecast(espalier, preferences):
    """Return the forecast, on a machine whose graphics memory can be set."""
    module = espalier.module("operators.forecast")
    before = module.graphics.free, module.graphics.total
    yield module
    module.graphics.free, module.graphics.total = before


def test_the_time_is_that_of_earlier_jobs_once_there_are_some(espalier, session, forecast, picture, small):
    settings = bpy.context.scene.espalier
    settings.resolution, settings.texture_size, settings.decimation_target = "512", "1024", 10000
    assert forecast.forecast(settings).words == "About 1 s on two cores"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpy.utils, "extension_path_user", lambda *_a, **_k: pytest.fail("drawing looks at the disk"))
        forecast.forecast(settings)
    request = espalier.module("engine.request").GenerationRequest
    job = session.submit(request.create(picture, "draft", small), bpy.context)
    assert forecast.forecast(settings).words.endswith(", after 1 other")
    _pump(session, lambda: session.known_job(job).state == "imported")
    words = forecast.forecast(settings).words
    assert words.startswith("About ")
    assert "cores" not in words
    settings.texture_size = "4096"
    assert forecast.forecast(settings).words.startswith("Roughly ")
    settings.resolution = "1536"
    assert forecast.forecast(settings).words == "About 4 s on two cores"


@pytest.mark.once
def test_what_is_below_the_forecast_does_not_move_as_jobs_come(espalier, closed, forecast, asked):
    text = espalier.module("operators.text")
    settings = bpy.context.scene.espalier
    for engine in ("draft", "trellis2", "remote"):
        settings.engine = engine
        told = []
        for _ in range(3):
            told.append(forecast.forecast(settings))
            closed.submit(asked(engine=engine))
        assert len({each.longest for each in told}) == 1
        for width in range(160, 900, 40):
            region = SimpleNamespace(width=width)
            context = SimpleNamespace(preferences=bpy.context.preferences, region=region)
            heights = set()
            for each in told:
                drawing = Drawing()
                text.draw_wrapped(drawing, context, each.words, longest=each.longest)
                heights.add(len(drawing.texts))
            assert len(heights) == 1, (engine, width)


MEMORY = [
    (80, 80, "1024", "", "About 17 s on an H100, 21 of 80 GB free", None),
    (11, 24, "1024", "", "About 35 s on an H100, 10 of 11 GB free", None),
    (7, 8, "1024", "", "About 2 min on an H100, 6 of 7 GB free", None),
    (7, 24, "1536", "", "About 7 min on an H100", "Choose the resolution 1024, which would fit."),
    (3, 24, "512", "", "", "Close other programs"),
    (3, 4, "512", "", "", "Choose the remote engine"),
    (12, 24, "512", "resident", "", "Set Memory Plan to Automatic"),
]


@pytest.mark.parametrize(("free", "total", "resolution", "plan", "words", "remedy"), MEMORY)
def test_memory_is_told_and_what_would_fit(
    forecast, preferences, monkeypatch, free, total, resolution, plan, words, remedy
):
    monkeypatch.delenv("ESPALIER_PLAN", raising=False)
    preferences.memory_plan = plan or "automatic"
    settings = bpy.context.scene.espalier
    settings.engine, settings.resolution = "trellis2", resolution
    forecast.graphics.free, forecast.graphics.total = free * GIB, total * GIB
    told = forecast.forecast(settings)
    assert words in told.words
    if remedy is None:
        assert told.problem is None
    else:
        assert f"and {free} GB are free" in told.problem.cause
        assert told.problem.remedy.startswith(remedy)


def test_memory_that_nobody_can_tell_is_no_problem(forecast, monkeypatch):
    monkeypatch.delenv("ESPALIER_PLAN", raising=False)
    settings = bpy.context.scene.espalier
    settings.engine, settings.resolution = "trellis2", "1024"
    forecast.graphics.free = forecast.graphics.total = None
    told = forecast.forecast(settings)
    assert told.words.endswith("at least 6 GB of graphics memory")
    assert told.problem is None


def test_the_free_memory_is_looked_up_in_a_thread(espalier, session, forecast, monkeypatch):
    doctor = espalier.module("engine.backends.trellis2.doctor")
    monkeypatch.setattr(doctor, "driver", lambda: {"gpu": "a card", "total_mb": 24576, "free_mb": 20480})
    forecast.look().join(10)
    assert forecast.take()
    assert (forecast.graphics.free, forecast.graphics.total) == (20 * GIB, 24 * GIB)
    forecast.look().join(10)
    assert not forecast.take(), "it is no news"
    session.session.queue = SimpleNamespace(holds=lambda engine: engine == "trellis2", close=lambda: None)
    assert forecast.look() is None, "what its own worker holds is there for the next job"
    session.session.queue = None
    monkeypatch.setattr(doctor, "driver", lambda: {"error": "no devices were found"})
    forecast.look().join(10)
    assert forecast.take()
    assert forecast.graphics.free is None
