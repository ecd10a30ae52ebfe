# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line with the remote engine, against a real server on loopback."""

import json

import pytest

from tests.support.api_server import KEY

pytestmark = pytest.mark.once


@pytest.fixture
def main(espalier):
    return espalier.module("operators.command").main


SMALL = ["--engine", "remote", "--resolution", "512", "--texture-size=1024"]


def test_the_command_makes_files_through_the_server(main, server, picture, tmp_path, capfd):
    out = tmp_path / "out"
    arguments = ["generate", str(picture), "-o", str(out / "a.glb"), "--blend", str(out / "a.blend"), *SMALL]
    assert main(arguments) == 0
    assert sorted(p.name for p in out.iterdir()) == ["a.blend", "a.glb"]
    text = capfd.readouterr().out
    assert "1 asset costs 0.025 USD" in text
    assert "cost" in text.split("green disc\n")[1]
    assert KEY not in text
    assert server.billed == 1


def test_the_command_takes_an_address_as_its_image(main, server, tmp_path, capfd):
    address = "https://images.example.com/a%20chair.png?token=1"
    assert main(["generate", address, "-o", str(tmp_path), "--json", *SMALL]) == 0
    (job,) = server.book.jobs.values()
    assert job.payload["image"] == address
    assert (tmp_path / "a chair.glb").read_bytes()[:4] == b"glTF"
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert events[0] == {"event": "price", "assets": 1, "usd": 0.025}
    assert events[-1] == {"event": "done", "ready": 1, "failed": 0}


def test_the_command_does_not_spend_above_the_limit_unasked(main, server, preferences, picture, tmp_path, capfd):
    preferences.ask_above_usd = 0.02
    arguments = ["generate", str(picture), "-o", str(tmp_path / "a.glb"), *SMALL]
    assert main(arguments) == 2
    assert "0.025 USD" in (told := capfd.readouterr().err)
    assert "--yes" in told
    assert server.billed == 0
    assert main([*arguments, "--yes"]) == 0
    assert server.billed == 1


def test_the_command_refuses_without_online_access(main, preferences, picture, tmp_path, capfd):
    assert main(["generate", str(picture), "-o", str(tmp_path / "a.glb"), *SMALL]) == 1
    assert "System > Network" in capfd.readouterr().err
