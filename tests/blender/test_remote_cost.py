# SPDX-License-Identifier: GPL-3.0-or-later
"""What the remote engine costs and takes: shown before it is pressed, asked above a limit, kept to."""

from types import SimpleNamespace

import bpy
import pytest

from tests.support.drawing import drawn


def _main(espalier):
    """Return what the panel draws."""
    panel = espalier.module("panels.sidebar").ESPALIER_PT_main
    return drawn(panel, bpy.context.scene, bpy.context.preferences)


@pytest.mark.once
def test_the_price_is_the_tables_until_the_server_tells_another(espalier, server, preferences, session):
    pricing = espalier.module("operators.pricing")
    preferences.base_url = ""
    assert pricing.price("remote", "1024") == espalier.module("engine.parameters").PRICE_USD["1024"]
    assert pricing.price("draft", "1024") == 0.0
    preferences.base_url = server.url
    assert pricing.price("remote", "1024") is None, "a server of one's own has not told"
    described = server.book.model()
    described["pricing_rows"] = [{"resolution": "1024", "price_usd": 0.111}]
    server.book.model = lambda: described
    pricing.refresh()
    assert pricing.price("remote", "1024", 10) == pytest.approx(1.11)
    assert pricing.price("remote", "512") is None
    pricing.refresh()
    assert len(server.requests("GET", "/v1/models/")) == 1, "it is asked once"
    preferences.base_url = "https://proxy.example.com"
    assert pricing.price("remote", "1024") == 0.249, "what one server told does not count for another"


def test_the_panel_shows_price_limit_and_spending(espalier, server, preferences, session, picture):
    settings = bpy.context.scene.espalier
    assert not any("USD" in text for text in _main(espalier).texts)
    settings.engine = "remote"
    preferences.base_url = ""
    shown = _main(espalier)
    assert "About 17 s on an H100, 0.249 USD (list price)" in shown.texts
    assert "Allow Online Access" in " ".join(shown.texts)
    assert "screen.userpref_show" in shown.operators
    preferences.base_url = server.url
    described = server.book.model()
    next(p for p in described["supported_parameters"] if p["name"] == "resolution")["choices"] = ["512", "1024"]
    server.book.model = lambda: described
    espalier.module("operators.pricing").refresh()
    assert bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(picture), resolution="512") == {"FINISHED"}
    settings.resolution = "512"
    shown = _main(espalier)
    assert [text for text in shown.texts if text.endswith(", 0.025 USD")]
    assert [text for text in shown.texts if "spent" in text] == ["0.025 USD spent"] * 2
    assert "Server: only 512, 1024" in shown.texts
    assert "screen.userpref_show" not in shown.operators


@pytest.mark.once
def test_the_settings_keep_to_what_the_server_takes(espalier, server, session, picture):
    described = server.book.model()
    for parameter in described["supported_parameters"]:
        if parameter["name"] == "ss_sampling_steps":
            parameter["maximum"] = 20
        if parameter["name"] == "resolution":
            parameter["choices"] = ["512", "1024"]
    server.book.model = lambda: described
    settings = bpy.context.scene.espalier
    settings.ss_sampling_steps = 50
    settings.engine = "remote"
    espalier.module("operators.pricing").refresh()
    settings.resolution = "1536"
    assert (settings.resolution, settings.pipeline_type) == ("1024", "1024_cascade")
    settings.ss_sampling_steps = 60
    assert settings.ss_sampling_steps == 20
    settings.engine = "draft"
    settings.ss_sampling_steps = 60
    assert settings.ss_sampling_steps == 60
    settings.engine = "remote"
    bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(picture), resolution="512")
    (job,) = server.book.jobs.values()
    assert job.payload["ss_sampling_steps"] == 20
    bpy.ops.espalier.dismiss("EXEC_DEFAULT")
    assert session.session.notice == "Sparse Structure Steps is 20: the server takes 1 to 20."
    bpy.ops.espalier.dismiss("EXEC_DEFAULT", what="notice")
    assert not session.session.notice


@pytest.mark.once
def test_above_the_limit_the_person_is_asked(espalier, server, preferences, picture):
    generate = espalier.module("operators.generate").ESPALIER_OT_generate
    asked, done = [], []
    stub = SimpleNamespace(
        _chosen=lambda context: ("remote", {"resolution": "1536"}),
        _placement=lambda context: {},
        _count=lambda context: 1,
        execute=lambda context: done.append(True) or {"FINISHED"},
        bl_label=generate.bl_label,
    )
    manager = SimpleNamespace(invoke_confirm=lambda *a, **words: asked.append(words) or {"RUNNING_MODAL"})
    context = SimpleNamespace(window_manager=manager)
    preferences.base_url = ""
    assert generate.invoke(stub, context, None) == {"FINISHED"}
    assert not asked
    preferences.ask_above_usd = 0.4
    assert generate.invoke(stub, context, None) == {"RUNNING_MODAL"}
    assert asked[0]["title"] == "Spend 0.499 USD?"
    assert len(done) == 1
    preferences.ask_above_usd = 0.499
    assert generate.invoke(stub, context, None) == {"FINISHED"}, "as much as the limit is not above it"
