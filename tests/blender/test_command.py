# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, in this process: arguments, files, exit codes, what is printed."""

import json
import os
import re
import signal
import threading

import bpy
import pytest
from PIL import Image, ImageDraw


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "red square.png"
    image = Image.new("RGBA", (200, 200))
    ImageDraw.Draw(image).rectangle((40, 60, 160, 150), fill=(220, 60, 40, 255))
    image.save(path)
    return path


@pytest.fixture
def main(espalier):
    return espalier.module("operators.command").main


SMALL = ["--resolution", "512", "--texture-size=1024"]


def test_an_image_becomes_a_glb_a_blend_and_a_preview(main, picture, tmp_path, capfd):
    out = tmp_path / "out folder"
    glb, blend, preview = out / "a.glb", out / "a.blend", out / "a.png"
    arguments = [str(picture), "-o", str(glb), "--blend", str(blend), "--preview", str(preview), *SMALL]
    assert main(["generate", *arguments]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["a.blend", "a.glb", "a.png"]
    assert glb.read_bytes()[:4] == b"glTF"
    assert Image.open(preview).size[0] >= 512
    text = capfd.readouterr().out
    for word in ("engine", "Draft", "vertices", "faces", "1024 x 1024", "a.glb", "a.blend", "a.png", " s\n"):
        assert word in text, word
    assert not [o for o in bpy.data.objects if o.type == "MESH"]
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    (made,) = [o for o in bpy.context.scene.objects if o.type == "MESH"]
    assert made.name == "red square"
    assert made.visible_get()
    assert all(i.packed_file for i in bpy.data.images if i.type == "IMAGE" and i.users)


@pytest.mark.once
def test_several_images_one_bad_gives_exit_code_1_and_keeps_the_good(main, picture, tmp_path, capfd):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"this is not an image")
    out = tmp_path / "out"
    assert main(["generate", str(picture), str(bad), "-o", str(out), *SMALL]) == 1
    assert [p.name for p in out.iterdir()] == ["red square.glb"]
    captured = capfd.readouterr()
    assert "bad.png is not an image in a format that can be read. Use a PNG" in captured.err
    assert "1 of 2" in captured.out


@pytest.mark.once
def test_json_is_one_event_a_line_and_nothing_else(main, picture, tmp_path, capfd):
    assert main(["generate", str(picture), "-o", str(tmp_path / "x.glb"), "--json", *SMALL]) == 0
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    names = [event["event"] for event in events]
    assert names[0] == "submitted"
    assert names[-2:] == ["ready", "done"]
    assert "progress" in names
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions)
    assert events[-2]["files"]["glb"] == str(tmp_path / "x.glb")
    assert events[-1] == {"event": "done", "ready": 1, "failed": 0}


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], None),
        (["generate"], "IMAGE"),
        (["paint"], "invalid choice"),
        (["generate", "a.png", "--resolution", "700"], "resolution cannot be 700. Choose one of 512, 1024, 1536."),
        (["generate", "a.png", "--decimation_target", "5"], "Give a value from 10000 to 1000000."),
        (["generate", "a.png", "--seed", "many"], "seed cannot be many. Give a whole number."),
        (["generate", "a.png", "--remesh", "perhaps"], "Give true or false."),
        (["generate", "a.png", "--textur_size", "1024"], "Did you mean texture_size?"),
        (["generate", "a.png", "--colour=red"], "There is no parameter called colour."),
        (["generate", "a.png", "--engine", "steam"], "There is no engine called steam. Choose one of draft"),
        (["generate", "a.png", "-o", "x.obj"], "does not end in .glb"),
        (["generate", "a.png", "b/a.png", "-o", "out/"], "one file"),
        (["generate", "a.png", "--resolution", "512", "--pipeline_type", "1536_cascade"], "does not produce"),
        (["generate", "a.png", "--ss_guidance_interval_start", "0.9", "--ss-guidance-interval-end", "0.2"], "above"),
    ],
)
def test_wrong_arguments_give_exit_code_2_and_what_to_do(main, arguments, sentence, capfd):
    code = main(arguments)
    captured = capfd.readouterr()
    if sentence is None:
        assert code == 0
        assert "generate" in captured.out
    else:
        assert code == 2
        assert sentence in captured.err
        assert captured.err.startswith("espalier: ")


def test_help_lists_every_parameter_with_range_and_default(main, espalier, capfd):
    assert main(["generate", "--help"]) == 0
    text = " ".join(capfd.readouterr().out.split())
    for parameter in espalier.module("engine.parameters").SETTINGS:
        default = str(parameter.default).lower() if parameter.kind == "boolean" else str(parameter.default)
        expected = f"default {default}"
        if parameter.minimum is not None:
            expected = f"{parameter.minimum} to {parameter.maximum}; {expected}"
        assert re.search(rf"--{parameter.name}(?![\w-]).{{1,300}}?{re.escape(expected)}\b", text), parameter.name


@pytest.mark.once
def test_an_unwritable_output_is_told_before_any_work(main, picture, tmp_path, capfd):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert main(["generate", str(picture), "-o", str(blocked / "x.glb")]) == 1
    err = capfd.readouterr().err
    assert "cannot be written" in err
    assert "Choose a place that you may write to." in err


def test_ctrl_c_cancels_what_runs_and_leaves_nothing(main, espalier, picture, tmp_path, capfd):
    before = signal.getsignal(signal.SIGINT)
    timer = threading.Timer(0.6, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    out = tmp_path / "out"
    assert main(["generate", str(picture), "-o", str(out / "x.glb"), "--resolution", "1536"]) == 1
    timer.join()
    assert "was stopped. Run it again" in capfd.readouterr().err
    assert not list(out.iterdir())
    assert signal.getsignal(signal.SIGINT) == before


def test_a_handler_that_is_blenders_own_stays_out_of_the_way(main, picture, tmp_path, monkeypatch):
    real = signal.signal

    def without_previous(number, handler):
        real(number, handler)  # as signal.signal does, it refuses None

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(signal, "signal", without_previous)
    assert main(["generate", str(picture), "-o", str(tmp_path / "x.glb"), *SMALL]) == 0
    real(signal.SIGINT, before)
