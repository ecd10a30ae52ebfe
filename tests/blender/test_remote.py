# SPDX-License-Identifier: GPL-3.0-or-later
"""The remote engine from Blender's side, against a real server on loopback: objects, prices, keys, and what is told."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import bpy
import pytest

from tests.support.api_book import PRICES
from tests.support.api_faults import Fault
from tests.support.api_forms import FORMS
from tests.support.api_server import KEY
from tests.support.drawing import drawn
from tests.support.extension import pump

VENDOR = "https://api.empiriolabs.ai"


def _submit(espalier, picture, **parameters):
    request = espalier.module("engine.request").GenerationRequest.create(picture, "remote", parameters)
    return espalier.module("operators.session").submit(request, bpy.context)


def test_an_image_becomes_an_object_and_the_server_is_told_everything(espalier, server, session, picture):
    server.form = FORMS["documented"]
    settings = {"resolution": "512", "seed": 7, "ss_guidance_strength": 6.5, "texture_size": "1024"}
    assert not bpy.app.online_access, "none is needed for this machine"
    assert bpy.ops.espalier.generate("EXEC_DEFAULT", engine="remote", filepath=str(picture), **settings) == {"FINISHED"}
    (made,) = [o for o in bpy.data.objects if o.type == "MESH"]
    assert made.name == "green disc"
    assert made["espalier"]["engine"] == "remote"
    assert made["espalier"]["seed"] == 7
    (job,) = server.book.jobs.values()
    table = espalier.module("engine.parameters")
    assert {p.name for p in table.PARAMETERS} | {"model"} == set(job.payload)
    assert job.payload["image"].startswith("data:image/")
    for name, value in {**settings, "pipeline_type": "512"}.items():
        assert job.payload[name] == value, name
    assert session.spent().session == pytest.approx(PRICES["512"])
    assert session.spent().all == pytest.approx(PRICES["512"])


def test_the_image_of_the_panel_is_sent_also_where_it_has_no_file(espalier, server):
    image = bpy.data.images.new("painted", 128, 128, alpha=True)
    pixels = [0.0] * (128 * 128 * 4)
    for y in range(32, 96):
        for x in range(32, 96):
            pixels[4 * (128 * y + x) : 4 * (128 * y + x) + 4] = (0.9, 0.3, 0.1, 1.0)
    image.pixels.foreach_set(pixels)
    bpy.context.scene.espalier.image = image
    bpy.context.scene.espalier.engine = "remote"
    assert bpy.ops.espalier.generate("EXEC_DEFAULT", resolution="512") == {"FINISHED"}
    assert [o.name for o in bpy.data.objects if o.type == "MESH"] == ["painted"]


@pytest.mark.once
def test_without_online_access_nothing_is_sent_and_the_preference_is_named(espalier, preferences, session, picture):
    preferences.api_key = KEY
    assert not bpy.app.online_access
    with pytest.raises(RuntimeError, match=r"System > Network"):
        bpy.ops.espalier.generate("EXEC_DEFAULT", engine="remote", filepath=str(picture))
    assert session.session.error.code == "remote_offline"
    assert not session.known_jobs()
    with pytest.raises(RuntimeError, match="Allow Online Access"):
        bpy.ops.espalier.test_key("EXEC_DEFAULT")
    assert session.session.queue is None, "not even a worker was started"


@pytest.mark.once
def test_where_the_command_line_decided_that_is_named(espalier, preferences, monkeypatch):
    account = espalier.module("operators.account")
    app = SimpleNamespace(online_access=False, online_access_override=True)
    monkeypatch.setattr(account, "bpy", SimpleNamespace(app=app, context=bpy.context))
    assert "--offline-mode" in account.problem().remedy


def test_enabling_does_not_import_what_only_the_remote_engine_needs():
    program = (
        "import bpy, sys; from tests.support import extension; name = extension.enable();"
        "print([m for m in sys.modules if m.startswith(f'{name}.engine.backends.remote')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.once
def test_online_access_is_looked_at_when_the_job_is_handed_over(espalier, preferences, session, picture):
    """A job of an earlier time, or one that waited, meets the preference as it is then."""
    preferences.api_key = KEY
    _submit(espalier, picture)
    pump(lambda: not session.known_jobs()[0].active)
    assert session.known_jobs()[0].error.code == "remote_offline"


@pytest.mark.once
@pytest.mark.parametrize(
    ("address", "code"),
    [("http://api.example.com", "remote_url_insecure"), ("https://user:pw@example.com", "remote_url_invalid")],
)
def test_an_unsafe_address_is_refused_with_the_reason(espalier, preferences, session, picture, address, code):
    preferences.base_url = address
    with pytest.raises(RuntimeError):
        bpy.ops.espalier.generate("EXEC_DEFAULT", engine="remote", filepath=str(picture))
    assert session.session.error.code == code
    assert "pw" not in str(session.session.error)


@pytest.mark.once
def test_the_address_in_the_environment_comes_first(espalier, preferences, monkeypatch):
    account = espalier.module("operators.account")
    assert account.address() == VENDOR
    preferences.base_url = "https://proxy.example.com/"
    assert account.address() == "https://proxy.example.com"
    monkeypatch.setenv("ESPALIER_API_URL", "http://localhost:9")
    assert account.address() == "http://localhost:9"
    assert account.nearby()


def test_the_key_is_in_the_preferences_alone(espalier, server, session, user_resources, picture, tmp_path, capfd):
    bpy.ops.espalier.generate("EXEC_DEFAULT", engine="remote", filepath=str(picture), resolution="512")
    bpy.ops.espalier.test_key("EXEC_DEFAULT")
    blend = tmp_path / "scene.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend), compress=False)
    bpy.ops.wm.save_userpref()
    session.session.close()
    captured = capfd.readouterr()
    assert KEY not in captured.out + captured.err
    roots = (user_resources, tmp_path, session.user_folder())
    files = [path for root in roots for path in root.rglob("*") if path.is_file()]
    assert blend in files
    assert any(path.name == "ledger.sqlite3" for path in files)
    assert {path.name for path in files if KEY.encode() in path.read_bytes()} == {"userpref.blend"}
    secret = [p.identifier for p in espalier.module("operators.account").preferences().bl_rna.properties
              if p.subtype == "PASSWORD"]  # fmt: skip
    assert secret == ["api_key", "hub_token"]
    for owner in (bpy.types.Scene.bl_rna.properties["espalier"].fixed_type, bpy.ops.espalier.generate.get_rna_type()):
        assert not {name for name in dict(owner.properties) if "key" in name or "url" in name}


@pytest.mark.once
def test_a_worker_is_not_started_with_the_key(espalier, server, session, picture):
    if not os.path.isdir("/proc/self"):
        pytest.skip("there is no /proc to look into")
    server.form = FORMS["documented"]
    _submit(espalier, picture, resolution="512")
    pump(lambda: session.known_jobs()[0].remote_id)
    children = [
        pid
        for pid in os.listdir("/proc")
        if pid.isdigit() and f"\nPPid:\t{os.getpid()}\n" in _read(f"/proc/{pid}/status")
    ]
    assert children
    for pid in children:
        assert KEY not in _read(f"/proc/{pid}/cmdline")
        assert KEY not in _read(f"/proc/{pid}/environ")
    session.session.queue.cancel(session.known_jobs()[0].id)
    pump(lambda: not session.known_jobs()[0].active)


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def test_test_key_tells_who_answers_and_what_is_left(espalier, server, preferences, session, monkeypatch):
    testing = espalier.module("operators.key")
    assert bpy.ops.espalier.test_key("EXEC_DEFAULT") == {"FINISHED"}
    lines = testing.told(session.session.inquiries.of("account").answer)
    assert lines[0].startswith("127.0.0.1:")
    assert "Espalier's preferences" in lines[0]
    assert lines[1] == "Balance: 1000.00 USD"
    assert server.billed == 0
    preferences.api_key = "sk-empiriolabs-wrong"
    with pytest.raises(RuntimeError, match=r"does not accept the API key from Espalier's preferences"):
        bpy.ops.espalier.test_key("EXEC_DEFAULT")
    monkeypatch.setenv("EMPIRIOLABS_API_KEY", "sk-empiriolabs-alsowrong")
    session.session.close()  # a worker's environment is that of its start
    with pytest.raises(RuntimeError, match=r"from the environment variable EMPIRIOLABS_API_KEY") as caught:
        bpy.ops.espalier.test_key("EXEC_DEFAULT")
    assert "alsowrong" not in str(caught.value)


@pytest.mark.once
def test_a_lost_answer_is_shown_with_what_is_known_and_never_repeated(espalier, server, session, picture):
    server.script.add(Fault("create", "reset_answered"))
    job = _submit(espalier, picture, resolution="512")
    pump(lambda: not session.known_jobs()[0].active)
    assert session.known_job(job).state == "unknown"
    assert server.billed == 1
    shown = drawn(espalier.module("panels.jobs").ESPALIER_PT_jobs, bpy.context.scene, bpy.context.preferences)
    assert "green disc: Outcome Unknown" in shown.texts
    words = " ".join(shown.texts)
    assert "It was sent at" in words
    assert "billed again" in words
    assert {"espalier.retry", "espalier.check_usage", "espalier.put_away"} <= set(shown.operators)
    bpy.ops.espalier.check_usage("EXEC_DEFAULT")
    inquiry = session.session.inquiries.of("usage")
    pump(lambda: not inquiry.waiting)
    assert inquiry.error is None
    sentences = espalier.module("operators.checking").known(session.known_job(job))
    assert "The account's usage lists" in sentences[-1]
    shown = drawn(espalier.module("panels.jobs").ESPALIER_PT_jobs, bpy.context.scene, bpy.context.preferences)
    assert "espalier.fetch" in shown.operators
    asked = []
    manager = SimpleNamespace(invoke_confirm=lambda *a, **words: asked.append(words) or {"RUNNING_MODAL"})
    retry = espalier.module("operators.jobs").ESPALIER_OT_retry
    stub = SimpleNamespace(job=job, bl_label=retry.bl_label)
    assert retry.invoke(stub, SimpleNamespace(window_manager=manager), None) == {"RUNNING_MODAL"}
    assert "bill it again" in asked[0]["message"]
    bpy.ops.espalier.put_away("EXEC_DEFAULT", job=job)
    pump(lambda: session.known_job(job).state == "failed" and not session.session.queue.busy)
    assert server.billed == 1


@pytest.mark.once
def test_an_asset_whose_answer_was_lost_is_fetched_and_not_paid_for_again(espalier, server, session, picture):
    server.form = FORMS["documented"]
    espalier.module("operators.pricing").refresh()
    _submit(espalier, picture, resolution="512")
    pump(lambda: session.known_jobs()[0].state in ("ready", "imported"))
    server.script.add(Fault("create", "reset_answered"))
    job = _submit(espalier, picture, resolution="512")
    pump(lambda: session.known_job(job).state == "unknown")
    with pytest.raises(RuntimeError, match="does not tell which"):
        bpy.ops.espalier.fetch("EXEC_DEFAULT", job=job)
    bpy.ops.espalier.check_usage("EXEC_DEFAULT")
    pump(lambda: not session.session.inquiries.awaited)
    bpy.ops.espalier.fetch("EXEC_DEFAULT", job=job)
    pump(lambda: session.known_job(job).state in ("ready", "imported"))
    assert server.billed == 2
    second = list(server.book.jobs)[1]
    assert session.known_job(job).result["facts"]["remote_id"] == second
    assert session.spent().all == pytest.approx(2 * PRICES["512"])


@pytest.mark.once
def test_cancelling_tells_that_it_may_be_billed(espalier, server, session, picture):
    server.form, server.book.job_s = FORMS["documented"], 600.0
    job = _submit(espalier, picture, resolution="512")
    pump(lambda: bool(session.known_job(job).remote_id))
    cancel = espalier.module("operators.jobs").ESPALIER_OT_cancel
    assert "may still be billed" in cancel.description(bpy.context, SimpleNamespace(job=job))
    before = time.monotonic()
    bpy.ops.espalier.cancel("EXEC_DEFAULT", job=job)
    pump(lambda: not session.known_job(job).active)
    assert time.monotonic() - before < 5.0
    assert session.known_job(job).state == "cancelled"
    # "There", if the server answered the cancel within the moment that it has; "late" on a busy machine.
    assert session.session.error.code in {"job_cancelled_there", "job_cancelled_late"}
    assert "bill it" in session.session.error.cause
    shown = drawn(espalier.module("panels.sidebar").ESPALIER_PT_main, bpy.context.scene, bpy.context.preferences)
    assert "Cancelled" in shown.texts
    assert "espalier.retry" in shown.operators


@pytest.mark.once
def test_a_failure_of_the_server_is_told_with_its_remedy(espalier, server, session, picture):
    server.book.balance = 0.01
    with pytest.raises(RuntimeError, match=r"(?s)balance of 0\.01 USD is too low.*Top up"):
        bpy.ops.espalier.generate("EXEC_DEFAULT", engine="remote", filepath=str(picture))
    assert session.session.error.code == "remote_credits"
    assert session.spent().all == 0.0
