# SPDX-License-Identifier: GPL-3.0-or-later
"""TRELLIS.2 in the interface: what the worker is told, and what a person is told where it is not ready."""

import json
from types import SimpleNamespace

import bpy
import pytest

from tests.support.drawing import Drawing, drawn

VARIABLES = ("FAST", "PLAN", "BACKGROUND_MODEL", "STAGES", "STAGES_GB", "WEIGHTS", "LICENCES", "DEVICE")
NOTICE = "Built with DINOv3"


@pytest.fixture
def environments(espalier, preferences, tmp_path, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(f"ESPALIER_{name}", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "nowhere"))
    preferences.environments_folder = str(tmp_path / "environments")
    module = espalier.module("operators.environments")
    module.close()
    yield module
    espalier.module("operators.environments").close()


@pytest.fixture
def trellis2(espalier, environments):
    return espalier.module("operators.trellis2")


@pytest.fixture
def stand(espalier, environments, monkeypatch, tmp_path):
    """Return a function that says how the environment cuda, and the weights, stand on the disk."""
    table = espalier.module("engine.environments.status")
    error = espalier.module("engine.errors").EspalierError

    def set_(condition, code="", weights="installable", **fields):
        def status(profile, _places):
            ready = profile == "cuda" and condition == "ready"
            found = {"cuda": condition, "weights": weights}.get(profile, "installable")
            why = error(code, **fields) if code and profile == "cuda" else None
            python = tmp_path / "python" if ready else None
            return table.Status(profile, table.Condition(found), why, 0, 0, python, ())

        monkeypatch.setattr(table, "status", status)
        environments.look()

    return set_


@pytest.fixture
def weights(espalier, tmp_path):
    """Write files that look like the published weights, and return their folder."""
    table = espalier.module("engine.backends.trellis2.checkpoint")
    root = tmp_path / "environments" / "weights"
    folder, features = root / table.TRELLIS2, root / table.DINOV3
    names = sorted({name for kind in table.STAGE_MODELS.values() for names in kind.values() for name in names})
    (folder / "ckpts").mkdir(parents=True)
    features.mkdir(parents=True)
    args = {"models": {name: f"ckpts/{name}" for name in names}}
    (folder / "pipeline.json").write_text(json.dumps({"args": args}), "utf-8")
    for path in (*(folder / "ckpts" / name for name in names), features / "model"):
        path.with_name(f"{path.name}.json").write_text("{}", "utf-8")
        path.with_name(f"{path.name}.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (features / "config.json").write_text("{}", "utf-8")
    return root


@pytest.fixture
def main(espalier):
    return espalier.module("operators.command").main


@pytest.fixture
def shown(espalier):
    """Return a function that tells what the main panel draws now, with TRELLIS.2 chosen."""
    bpy.context.scene.espalier.engine = "trellis2"
    panel = espalier.module("panels.sidebar").ESPALIER_PT_main
    return lambda: drawn(panel, bpy.context.scene, bpy.context.preferences, width=4000)


STATES = [
    ("installable", "", {}, "cuda is not installed", "espalier install cuda.", "install"),
    ("installable", "environment_interrupted", {}, "was interrupted", "Press Install", "install"),
    ("broken", "environment_python_gone", {}, "is gone", "espalier install cuda --repair", "repair"),
    ("impossible", "environment_no_gpu", {}, "NVIDIA graphics card", "remote engine", ""),
    ("impossible", "environment_platform", {"platform": "macOS"}, "cannot run on macOS", "remote engine", ""),
]


@pytest.mark.parametrize(("condition", "code", "fields", "cause", "remedy", "act"), STATES)
def test_where_it_is_not_ready_everyone_says_why(
    espalier, environments, trellis2, stand, shown, picture, tmp_path, main, capfd, monkeypatch,
    condition, code, fields, cause, remedy, act,
):  # fmt: skip
    error = espalier.module("engine.errors").EspalierError
    stand(condition, code, profile="cuda", **fields)
    with pytest.raises(error) as caught:
        environments.launch_of("trellis2")
    assert cause in caught.value.cause
    assert remedy in caught.value.remedy
    # The panel, with the button that helps
    drawing = shown()
    assert caught.value.cause in drawing.texts
    assert caught.value.remedy in drawing.texts
    buttons = [name for name in drawing.operators if name.endswith("_environment")]
    assert buttons == ([f"espalier.{act}_environment"] if act else [])
    assert NOTICE in drawing.texts
    # Generate, beforehand in the interface and at once in a script
    operator = espalier.module("operators.generate").ESPALIER_OT_generate
    with pytest.raises(RuntimeError, match=cause):
        bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(picture))
    assert espalier.module("operators.session").known_jobs() == [], "nothing is queued that cannot run"
    told = []
    for module in ("operators.generate", "operators.trellis2"):
        monkeypatch.setattr(espalier.module(module), "bpy", SimpleNamespace(app=_Window, ops=bpy.ops))
    stub = SimpleNamespace(poll_message_set=told.append)
    assert not operator.poll.__func__(stub, bpy.context)
    assert told == [str(caught.value)]
    bpy.context.scene.espalier.engine = "draft"
    assert operator.poll.__func__(stub, bpy.context)
    # The command line
    assert main(["generate", str(picture), "-o", str(tmp_path / "a.glb"), "--engine", "trellis2"]) == 1
    told = capfd.readouterr().err
    assert f"{caught.value.cause} {caught.value.remedy}" in told
    assert not (tmp_path / "a.glb").exists()


class _Window:
    background = False


def test_missing_weights_are_told_with_install(environments, trellis2, stand, shown, picture, tmp_path, main, capfd):
    stand("ready")
    drawing = shown()
    assert any("weights of microsoft/TRELLIS.2-4B are not on this machine" in text for text in drawing.texts)
    assert drawing.operators.count("espalier.install_environment") == 1
    assert environments.state.obstacle.profile == "weights"
    assert main(["generate", str(picture), "-o", str(tmp_path / "a.glb"), "--engine", "trellis2"]) == 1
    assert "espalier install weights" in capfd.readouterr().err


def test_partly_fetched_weights_are_installed_and_damaged_ones_repaired(environments, stand, shown, weights):
    stand("ready")
    assert environments.state.obstacle is None
    victim = next(weights.rglob("shape_slat_decoder.safetensors"))
    victim.unlink()
    stand("ready")
    assert environments.state.obstacle.act == "install", "the rest is fetched"
    stand("ready", weights="broken")
    assert environments.state.obstacle.act == "repair"
    assert "espalier.repair_environment" in shown().operators
    victim.write_bytes(b"short")
    stand("ready")
    assert environments.state.obstacle.error.code == "trellis2_weights_damaged"
    assert environments.state.obstacle.act == "repair"


def test_where_it_is_ready_nothing_is_in_the_way(environments, trellis2, stand, shown, weights, tmp_path):
    stand("ready")
    drawing = shown()
    assert NOTICE in drawing.texts
    assert "TRELLIS.2 Is Not Ready" not in drawing.texts
    launch = environments.launch_of("trellis2")
    assert launch.python == str(tmp_path / "python")
    assert len(launch.paths) == 1
    assert launch.env["ESPALIER_WEIGHTS"] == str(weights)


def test_a_task_on_what_is_missing_is_shown_in_place_of_the_button(environments, stand, shown):
    stand("installable")
    task = SimpleNamespace(stage="Downloading", done_bytes=5, total_bytes=10, fraction=0.5, close=lambda: None)
    environments.state.task, environments.state.profile, environments.state.act = task, "cuda", "install"
    drawing = shown()
    assert "espalier.cancel_environment" in drawing.operators
    assert "espalier.install_environment" not in drawing.operators


def test_what_the_button_failed_with_is_told_beside_it(espalier, environments, stand, shown):
    stand("installable")
    error = espalier.module("engine.errors").EspalierError
    environments.state.profile, environments.state.error = "cuda", error("install_offline", label="x", host="pypi.org")
    drawing = shown()
    assert environments.state.error.remedy in drawing.texts
    assert "espalier.install_environment" in drawing.operators


def test_other_engines_are_not_bothered(environments, stand, shown):
    stand("installable")
    shown()
    bpy.context.scene.espalier.engine = "draft"
    drawing = shown()
    assert NOTICE not in drawing.texts
    assert not [name for name in drawing.operators if name.endswith("_environment")]
    environments.launch_of("draft")


def test_the_worker_is_told_what_the_preferences_say(environments, stand, weights, preferences, session, monkeypatch):
    stand("ready")
    told = environments.launch_of("trellis2").env
    assert (told["ESPALIER_FAST"], told["ESPALIER_PLAN"]) == ("0", "")
    assert told["ESPALIER_BACKGROUND_MODEL"] == "birefnet-general"
    assert told["ESPALIER_STAGES"] == str(session.user_folder() / "cache" / "stages")
    assert told["ESPALIER_STAGES_GB"] == "20.0"
    preferences.fast_mode, preferences.memory_plan, preferences.background_model = True, "lean", "u2netp"
    preferences.stage_cache_gb = 3.5
    told = environments.launch_of("trellis2").env
    assert (told["ESPALIER_FAST"], told["ESPALIER_PLAN"]) == ("1", "lean")
    assert (told["ESPALIER_BACKGROUND_MODEL"], told["ESPALIER_STAGES_GB"]) == ("u2netp", "3.5")
    for name, value in (("FAST", "0"), ("PLAN", "staged"), ("BACKGROUND_MODEL", "isnet-general-use"), ("STAGES", "x")):
        monkeypatch.setenv(f"ESPALIER_{name}", value)
        assert environments.launch_of("trellis2").env[f"ESPALIER_{name}"] == value, "the environment comes first"
    monkeypatch.setenv("ESPALIER_LICENCES", "nvdiffrast")
    assert environments.launch_of("trellis2").env["ESPALIER_LICENCES"] == "", "it was not accepted"


def test_a_changed_preference_counts_from_the_next_job(environments, preferences, session):
    renewed = []
    session.session.queue = SimpleNamespace(renew=renewed.append, close=lambda: None)
    preferences.fast_mode = True
    preferences.memory_plan = "resident"
    assert renewed == ["trellis2"] * 2


def test_fast_on_the_command_line_is_for_that_command(
    espalier, environments, stand, weights, trellis2, picture, main, capfd, monkeypatch
):
    stand("ready")
    told = []
    launch_of = environments.launch_of

    def launch(engine):
        told.append(launch_of(engine).env["ESPALIER_FAST"])
        raise espalier.module("engine.errors").EspalierError("python_missing")

    monkeypatch.setattr(environments, "launch_of", launch)
    arguments = ["generate", str(picture), "-o", str(picture.parent / "a.glb")]
    main([*arguments, "--engine", "trellis2", "--fast"])
    main([*arguments, "--engine", "trellis2"])
    assert told == ["1", "0"]
    capfd.readouterr()
    assert main([*arguments, "--fast"]) == 2
    assert "--engine trellis2" in capfd.readouterr().err


def test_a_texture_seed_goes_with_the_request(
    espalier, environments, stand, weights, shown, picture, session, monkeypatch
):
    stand("ready")
    settings = bpy.context.scene.espalier
    settings.engine = "draft"
    panel = espalier.module("panels.sidebar").ESPALIER_PT_main
    draw = lambda: drawn(panel, bpy.context.scene, bpy.context.preferences)  # noqa: E731
    assert "texture_seed" not in draw().properties, "no other engine has one"
    settings.engine = "trellis2"
    assert "texture_seed" in draw().properties
    asked = []
    error = espalier.module("engine.errors").EspalierError

    def submit(request, *_args, **_options):
        asked.append(request.texture_seed)
        raise error("python_missing")

    monkeypatch.setattr(session, "submit", submit)

    def generate(**options):
        with pytest.raises(RuntimeError):
            bpy.ops.espalier.generate(filepath=str(picture), **options)

    generate()
    settings.texture_seed = 11
    generate()
    generate(engine="draft")
    generate(texture_seed=3)
    generate(texture_seed=-1)
    settings.texture_seed = -1
    assert asked == [None, 11, None, 3, None]


def test_a_texture_seed_on_the_command_line(espalier, environments, picture, main, capfd):
    parse = espalier.module("operators.command.arguments").parse
    arguments = ["generate", str(picture), "-o", str(picture.parent / "a.glb")]
    for flag in ("--texture_seed", "--texture-seed"):
        (item,) = parse([*arguments, "--engine", "trellis2", flag, "9"]).items
        assert item.request.texture_seed == 9
    assert parse([*arguments, "--engine", "trellis2"]).items[0].request.texture_seed is None
    assert main([*arguments, "--texture_seed", "9"]) == 2
    assert "--engine trellis2" in capfd.readouterr().err
    assert main([*arguments, "--engine", "trellis2", "--texture_seed", "red"]) == 2
    assert "texture_seed" in capfd.readouterr().err


def test_the_preferences_offer_it_and_name_variables_that_come_first(espalier, environments, preferences, monkeypatch):
    table = espalier.module("operators.preferences")
    drawing = Drawing()
    table._draw_trellis2(drawing, preferences)
    assert drawing.properties == ["fast_mode", "memory_plan", "background_model", "stage_cache_gb"]
    assert not any("environment variable" in text for text in drawing.texts)
    monkeypatch.setenv("ESPALIER_PLAN", "lean")
    drawing = Drawing()
    table._draw_trellis2(drawing, preferences)
    assert any("ESPALIER_PLAN" in text for text in drawing.texts)
    plans = [item.identifier for item in preferences.bl_rna.properties["memory_plan"].enum_items]
    assert plans == ["automatic", "resident", "staged", "lean"]
    models = [item.identifier for item in preferences.bl_rna.properties["background_model"].enum_items]
    assert tuple(models) == espalier.module("engine.imaging.removal").MODELS


def test_the_stage_cache_is_measured_when_asked_and_cleared(espalier, environments, trellis2, session, monkeypatch):
    monkeypatch.setattr(trellis2, "_stages_bytes", None)
    table = espalier.module("operators.preferences")
    folder = session.user_folder() / "cache" / "stages"
    folder.mkdir(parents=True)
    (folder / "shape-1.stage").write_bytes(bytes(3_000_000))
    (folder / "times.json").write_text("{}", "utf-8")

    def texts():
        drawing = Drawing()
        table._draw_trellis2(drawing, environments.account.preferences())
        assert "espalier.clear_stages" in drawing.operators
        return drawing.texts

    assert "Not measured yet" in texts(), "drawing looks at no file"
    assert bpy.ops.espalier.measure_stages() == {"FINISHED"}
    assert "3 MB in use" in texts()
    job = SimpleNamespace(active=True, request=SimpleNamespace(engine="trellis2"))
    with monkeypatch.context() as patch:
        patch.setattr(session, "known_jobs", lambda: [job])
        assert not bpy.ops.espalier.clear_stages.poll()
    assert bpy.ops.espalier.clear_stages() == {"FINISHED"}
    assert [path.name for path in folder.iterdir()] == ["times.json"]
    assert "0 bytes in use" in texts()


def test_after_a_job_the_stage_cache_is_measured(environments, trellis2, session, monkeypatch):
    monkeypatch.setattr(trellis2, "_stages_bytes", None)
    job = SimpleNamespace(
        id="a", active=False, state="cancelled", error=None, request=SimpleNamespace(engine="trellis2")
    )
    session.session.queue = SimpleNamespace(
        step=lambda: [job], answers=dict, jobs=list, delay_s=lambda: 0.1, busy=False, warm=False, close=lambda: None
    )
    session._tick()
    assert trellis2.stages_bytes() == 0


def test_the_doctor_tells_the_environment_the_settings_and_the_notice(stand, main, capfd, monkeypatch):
    monkeypatch.setenv("ESPALIER_PLAN", "lean")
    stand("broken", "environment_python_gone", profile="cuda")
    assert main(["doctor", "--json"]) == 1
    found = {event.get("subject"): event for event in map(json.loads, capfd.readouterr().out.splitlines())}
    assert found["Environment"]["verdict"] == "fault"
    assert "--repair" in found["Environment"]["remedy"]
    assert "memory plan lean" in found["Settings"]["found"]
    assert found["Notice"]["found"] == NOTICE
