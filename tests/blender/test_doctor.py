# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor inside Blender: it says what is missing for TRELLIS.2, with a remedy, and never fails itself."""

import json

import pytest

pytestmark = pytest.mark.once


@pytest.fixture
def main(espalier):
    return espalier.module("operators.command").main


@pytest.fixture(autouse=True)
def nobodys_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("ESPALIER_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("ESPALIER_ASSUME_GPU", "1")


def test_a_machine_without_the_engine_is_told_what_to_do(main, capfd):
    assert main(["doctor"]) == 1
    text = capfd.readouterr().out
    assert "FAULT Environment" in text
    assert "note  trellis2" in text  # one cause is one fault
    assert "blender -b -c espalier install cuda" in " ".join(text.split())
    assert "blender -b -c espalier install weights" in " ".join(text.split())
    assert text.rstrip().endswith("\n2 faults keep TRELLIS.2 from running on this machine.")


def test_json_is_one_finding_a_line(main, capfd):
    assert main(["doctor", "--json"]) == 1
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["finding"] * (len(events) - 1) + ["done"]
    faults = [event for event in events[:-1] if event["verdict"] == "fault"]
    assert events[-1]["faults"] == len(faults) > 0
    assert all(event["remedy"] for event in faults)
    assert {"System", "torch", "Weights", "Disk"} <= {event["subject"] for event in events[:-1]}


def test_wrong_arguments_and_help(main, capfd):
    assert main(["doctor", "--sideways"]) == 2
    assert main(["doctor", "--help"]) == 0
    assert "driver, GPU" in capfd.readouterr().out


def test_the_engine_is_offered_and_says_what_it_lacks(main, tmp_path, capfd):
    from PIL import Image

    path = tmp_path / "a.png"
    Image.new("RGBA", (64, 64), (200, 30, 30, 255)).save(path)
    assert main(["generate", str(path), "-o", str(tmp_path / "a.glb"), "--engine", "trellis2"]) == 1
    assert "install cuda" in capfd.readouterr().err
