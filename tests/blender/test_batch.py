# SPDX-License-Identifier: GPL-3.0-or-later
"""`batch`, in this process: many images in, files and a report out, whatever happens in between."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import bpy
import pytest
from PIL import Image, ImageDraw

from tests.support import extension

SMALL = ["--resolution", "512", "--texture-size=1024", "--jobs=1"]
"""For images of which a worker makes one sooner than a second worker starts."""


def draw(path, number=0):
    """Write an image of a rectangle, another one for each number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGBA", (96, 96))
    ImageDraw.Draw(image).rectangle((20, 24, 70 - number, 76), fill=(200, 60 + 10 * number, 40, 255))
    image.save(path)
    return path


@pytest.fixture
def main(espalier):
    return espalier.module("operators.command").main


@pytest.fixture
def folder(tmp_path):
    """Return a folder of three images."""
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        draw(tmp_path / "in" / name, number)
    return tmp_path / "in"


@pytest.fixture
def library(espalier):
    """Return the folder in which the queue keeps what it makes."""
    return espalier.module("operators.session").user_folder() / "library"


def events(capfd):
    """Return the events that were printed since the last look."""
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def report(output):
    """Return the report that was written."""
    return json.loads((output / "report.json").read_text("utf-8"))


def files(output, suffix=".glb"):
    """Return the files of one kind below the output."""
    return sorted(path.relative_to(output).as_posix() for path in output.rglob(f"*{suffix}"))


def test_a_folder_becomes_assets_and_a_report_and_is_not_made_twice(main, tmp_path, library, capfd):
    source, output = tmp_path / "in", tmp_path / "out"
    for number, name in enumerate(("x/chair.png", "y/chair.png", "y/椅子.png")):
        draw(source / name, number)
    shutil.copy(source / "x/chair.png", source / "x/chair.webp")
    (source / "bad.png").write_bytes(b"this is not an image")
    arguments = ["batch", str(source), "-o", str(output), *SMALL, "--jobs", "2"]
    assert main(arguments) == 3
    told = capfd.readouterr()
    assert "5 images" in told.out
    assert "4 of 5 assets are there, 1 failed" in told.out
    assert "bad.png is not an image" in told.err
    assert files(output) == ["x/chair.glb", "x/chair_2.glb", "y/chair.glb", "y/椅子.glb"]
    assert len(files(output / "thumbnails", ".png")) == 4
    assert sorted(path.name for path in output.iterdir() if path.is_file()) == [
        *("report.csv", "report.html", "report.json"),
    ]
    assert not list(library.iterdir()), "the disk holds everything twice"
    assert report(output)["counts"] == {"done": 4, "failed": 1, "skipped": 0, "waiting": 0}

    draw(source / "bad.png", 3)
    (source / "y/椅子.png").rename(source / "stool.png")
    before = {name: (output / name).stat().st_mtime_ns for name in files(output)}
    assert main([*arguments, "--resume", "--json"]) == 0
    told = events(capfd)
    assert told[0] == {"event": "begin", "images": 5, "done": 4}
    assert [Path(event["image"]).name for event in told if event["event"] == "ready"] == ["bad.png"]
    assert told[-1]["ready"] == 5
    assert {name: (output / name).stat().st_mtime_ns for name in before} == before
    assert not [item for item in bpy.data.objects if item.type == "MESH"]


@pytest.mark.once
def test_wrong_rows_are_all_told_before_anything_starts(main, folder, tmp_path, library, capfd):
    manifest = folder / "list.csv"
    manifest.write_text("image;texture_size;seed\na.png;1024;1\nb.png;700;x\ngone.png;1024;1\n", "utf-8")
    assert main(["batch", str(manifest), "-o", str(tmp_path / "out")]) == 2
    told = capfd.readouterr().err.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in told[:-1]] == [
        *("list.csv, line 3", "list.csv, line 3", "list.csv, line 4"),
    ]
    assert "2 of 3 rows" in told[-1]
    assert not library.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["batch"], "INPUT"),
        (["batch", "x.png"], "--output"),
        (["batch", "nothing-here", "-o", "out"], "There is nothing at"),
        (["batch", "*.nothing", "-o", "out"], "There is no image at"),
        (["batch", "x", "-o", "out", "--shard", "3/2"], "is not a share of the work"),
        (["batch", "x", "-o", "out", "--jobs", "0"], "--jobs takes"),
        (["batch", "x", "-o", "out", "--budget-usd", "nan"], "--budget-usd takes"),
        (["batch", "x", "-o", "out", "--blend", "x.txt"], "does not end in .blend"),
        (["batch", "x", "-o", "out", "--keep-going", "--fail-fast"], "not allowed with"),
        (["batch", "x", "-o", "out", "--textur_size", "1024"], "Did you mean texture_size?"),
    ],
)
def test_wrong_arguments_give_exit_code_2(main, arguments, sentence, capfd):
    assert main(arguments) == 2
    assert sentence in capfd.readouterr().err


@pytest.mark.once
def test_an_output_that_cannot_be_written_is_told_before_any_work(main, folder, tmp_path, capfd):
    (tmp_path / "file").write_text("in the way")
    assert main(["batch", str(folder), "-o", str(tmp_path / "file" / "out")]) == 1
    assert "cannot be written" in capfd.readouterr().err


@pytest.mark.once
def test_a_link_does_not_lead_out_of_the_output(main, tmp_path, capfd):
    draw(tmp_path / "in" / "x" / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "x").symlink_to(tmp_path / "elsewhere")
    assert main(["batch", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *SMALL]) == 3
    assert "a link leads out of" in capfd.readouterr().err
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.once
def test_shards_make_everything_once_side_by_side(main, folder, tmp_path, capfd):
    output = tmp_path / "out"
    shutil.copy(folder / "a.png", folder / "A.webp")  # the two would have one name on some systems
    for shard, count in (("1/2", 2), ("2/2", 2)):
        assert main(["batch", str(folder), "-o", str(output), "--shard", shard, "--json", *SMALL]) == 0
        assert events(capfd)[-1]["ready"] == count
    assert sorted(name.casefold() for name in files(output)) == ["a.glb", "a_2.glb", "b.glb", "c.glb"]
    assert {path.name for path in output.glob("*.json")} == {"report-1-of-2.json", "report-2-of-2.json"}
    assert main(["batch", str(folder), "-o", str(output), "--resume", "--json", *SMALL]) == 0
    assert events(capfd)[0]["done"] == 4


@pytest.mark.once
def test_fail_fast_begins_nothing_more(main, folder, tmp_path, capfd):
    (folder / "a.png").write_bytes(b"this is not an image")
    for number in range(5):
        draw(folder / f"d{number}.png", number)
    arguments = ["batch", str(folder), "-o", str(tmp_path / "out"), "--fail-fast", "--json", *SMALL]
    assert main(arguments) == 3
    counts = report(tmp_path / "out")["counts"]
    assert counts["failed"] == 1
    assert counts["skipped"] >= 3
    assert counts["waiting"] == 0


@pytest.mark.once
def test_ctrl_c_finishes_what_runs_and_the_next_run_goes_on(main, espalier, folder, tmp_path, capfd, monkeypatch):
    for number in range(2):
        draw(folder / f"d{number}.png", number)
    told = espalier.module("operators.command.batch_report").BatchReport
    came_out = told.came_out

    def press(self, record):
        came_out(self, record)
        if self._done == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(told, "came_out", press)
    arguments = ["batch", str(folder), "-o", str(tmp_path / "out"), "--json", *SMALL]
    before = signal.getsignal(signal.SIGINT)
    assert main(arguments) == 3
    assert signal.getsignal(signal.SIGINT) == before
    ended = events(capfd)[-1]
    assert ended["failed"] == 0
    assert 1 <= ended["ready"] <= 5
    assert ended["skipped"] == 5 - ended["ready"]
    assert len(files(tmp_path / "out")) == ended["ready"]
    monkeypatch.undo()
    assert main([*arguments, "--resume"]) == 0
    assert events(capfd)[0]["done"] == ended["ready"]


@pytest.mark.once
def test_ctrl_c_twice_stops_what_runs(main, espalier, folder, tmp_path, capfd, monkeypatch):
    told = espalier.module("operators.command.batch_report").BatchReport
    pressed = []

    def press(self, running):
        if running and len(pressed) < 2:
            pressed.append(running)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(told, "tick", press)
    assert main(["batch", str(folder), "-o", str(tmp_path / "out"), "--resolution", "1536", "--jobs=1", "--json"]) == 3
    assert not files(tmp_path / "out")
    assert report(tmp_path / "out")["counts"]["done"] == 0


@pytest.mark.once
def test_a_full_disk_stops_the_batch_and_loses_nothing(main, espalier, folder, tmp_path, capfd, monkeypatch):
    module = espalier.module("operators.command.batch_deliver")

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    for number in range(3):
        draw(folder / f"d{number}.png", number)
    monkeypatch.setattr(module.os, "link", full)
    monkeypatch.setattr(module.shutil, "copyfile", full)
    arguments = ["batch", str(folder), "-o", str(tmp_path / "out"), "--json", *SMALL]
    assert main(arguments) == 3
    rows = report(tmp_path / "out")["rows"]
    failed = {row["image"]: row["job"] for row in rows if row["state"] == "failed"}
    assert failed
    assert {row["error"]["code"] for row in rows if row["state"] == "failed"} == {"disk_full"}
    assert sum(row["state"] == "skipped" for row in rows) == 6 - len(failed) > 0
    assert not files(tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))
    monkeypatch.undo()
    ledger = espalier.module("engine.jobs.ledger").Ledger
    monkeypatch.setattr(ledger, "history", lambda self, limit: [])  # as after many jobs of other times
    assert main([*arguments, "--resume"]) == 0
    again = {row["job"] for row in report(tmp_path / "out")["rows"]}
    assert len(again) == 6
    assert set(failed.values()) <= again, "one was made a second time"
    assert len(files(tmp_path / "out")) == 6


@pytest.mark.once
def test_what_is_told_beside_the_request_counts_whether_asked_for_or_preferred(
    espalier, preferences, folder, tmp_path, monkeypatch
):
    for name in ("ESPALIER_FAST", "ESPALIER_BACKGROUND_MODEL"):
        monkeypatch.delenv(name, raising=False)
    batch, parse = espalier.module("operators.command.batch"), espalier.module("operators.command.arguments").parse
    arguments = ["batch", str(folder), "-o", str(tmp_path / "out"), "--engine", "trellis2"]

    def told(*more):
        options = parse([*arguments, *more])
        with espalier.module("operators.trellis2").fast(options.fast):
            return [row.told for row in batch._rows(options, None)[0]]

    assert (told(), told("--fast")) == ([{}] * 3, [{"fast": True}] * 3)
    preferences.fast_mode = True
    assert told() == [{"fast": True}] * 3
    preferences.background_model = "u2netp"
    assert told() == [{"fast": True, "background": "u2netp"}] * 3


@pytest.mark.once
def test_a_kill_loses_nothing(folder, tmp_path):
    for number in range(2):
        draw(folder / f"d{number}.png", number)
    output = tmp_path / "out"
    command = [sys.executable, "-m", "tests.support.command", "batch", str(folder), "-o", str(output), "--json", *SMALL]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=extension.ROOT)
    came_out = 0
    for line in process.stdout:
        came_out += line.startswith('{"event": "ready"')
        if came_out == 2:
            process.kill()
            break
    process.communicate()
    assert came_out == 2
    again = subprocess.run([*command, "--resume"], stdout=subprocess.PIPE, text=True, cwd=extension.ROOT, check=False)
    assert again.returncode == 0
    told = [json.loads(line) for line in again.stdout.splitlines() if line.startswith("{")]
    assert 2 <= told[0]["done"] < 5
    assert told[-1]["ready"] == 5
    assert len(files(output)) == 5
    assert len({row["job"] for row in report(output)["rows"]}) == 5


def test_one_blend_holds_all_assets_and_grows_with_the_next_run(main, folder, tmp_path, capfd):
    output, blend = tmp_path / "out", tmp_path / "out" / "all.blend"
    (folder / "c.png").rename(tmp_path / "c.png")
    arguments = ["batch", str(folder), "-o", str(output), "--blend", str(blend), "--resume", *SMALL]
    assert main(arguments) == 0
    (tmp_path / "c.png").rename(folder / "c.png")
    assert main(arguments) == 0
    assert sorted(path.name for path in output.iterdir() if path.suffix not in (".glb",)) == [
        *("all.blend", "report.csv", "report.html", "report.json", "thumbnails"),
    ]
    with bpy.data.libraries.load(str(blend), assets_only=True) as (there, _):
        assert sorted(there.objects) == ["a", "b", "c"]
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    assert {item.name for item in bpy.data.objects} == {"a", "b", "c"}
    for item in bpy.data.objects:
        assert item.asset_data is not None
        assert any(item.preview.image_pixels_float)
        assert all(slot.material.node_tree for slot in item.material_slots)
    assert all(image.packed_file for image in bpy.data.images if image.users)


def test_a_row_has_settings_of_its_own_and_all_that_is_wanted(main, espalier, folder, tmp_path, library, monkeypatch):
    execute = espalier.module("operators.command.execute")
    seen = []

    def quick(asset, path):  # in place of half a minute on a processor; `generate` is tested with the real one
        seen.append((asset.name, len(asset.data.polygons)))
        Image.new("RGBA", (8, 8)).save(path)

    monkeypatch.setattr(execute, "render_preview", quick)
    rows = [{"image": "a.png", "name": "椅子", "Texture Size": 1024}]
    (folder / "list.json").write_text(json.dumps(rows), "utf-8")
    output = tmp_path / "out"
    arguments = ["batch", str(folder / "list.json"), "-o", str(output), "--texture_size", "2048", "--remesh", "false"]
    arguments += ["--resolution=512", "--jobs=1", "--blend", "--preview", "--lods", "800,200"]
    assert main(arguments) == 0
    (row,) = report(output)["rows"]
    assert row["texture_size"] == 1024
    assert row["settings"] == {"resolution": "512", "pipeline_type": "512", "texture_size": "1024", "remesh": False}
    names = {"glb": "椅子.glb", "lod1": "椅子_lod1.glb", "blend": "椅子.blend", "preview": "椅子_preview.png"}
    assert row["files"] == names
    assert set(names.values()) <= {path.name for path in output.iterdir()}
    ((name, faces),) = seen
    assert name == "椅子_LOD0"
    assert 0 < faces <= 840
    assert not list(library.iterdir())
    bpy.ops.wm.open_mainfile(filepath=str(output / "椅子.blend"))
    levels = {item.name: item["espalier"]["level"] for item in bpy.data.objects if item.type == "MESH"}
    assert levels == {"椅子_LOD0": 0, "椅子_LOD1": 1}


@pytest.mark.once
def test_a_budget_is_kept_and_what_is_paid_for_is_not_paid_twice(main, server, folder, tmp_path, capfd):
    arguments = ["batch", str(folder), "-o", str(tmp_path / "out"), "--engine", "remote", "--json", *SMALL]
    assert main([*arguments, "--budget-usd", "0.06"]) == 3
    told = events(capfd)
    assert told[0] == {"event": "price", "assets": 3, "usd": 0.075}
    assert [event["code"] for event in told if event["event"] == "skipped"] == ["batch_budget_reached"]
    assert server.billed == 2
    assert report(tmp_path / "out")["usd"] == pytest.approx(0.05)
    assert main([*arguments, "--budget-usd", "0.03", "--resume"]) == 0
    assert server.billed == 3


@pytest.mark.once
def test_nothing_is_spent_above_the_limit_unasked(main, server, preferences, folder, tmp_path, capfd):
    preferences.ask_above_usd = 0.04
    arguments = ["batch", str(folder), "-o", str(tmp_path / "out"), "--engine", "remote", *SMALL]
    assert main(arguments) == 2
    assert main([*arguments, "--budget-usd", "0.06"]) == 2
    assert server.billed == 0
    assert main([*arguments, "--budget-usd", "0.03"]) == 3
    assert server.billed == 1


@pytest.mark.once
def test_a_batch_stops_where_every_image_would_fail_alike(main, server, folder, tmp_path, capfd):
    for number in range(6):
        draw(folder / f"d{number}.png", number)
    server.book.balance = 0.03
    arguments = ["batch", str(folder), "-o", str(tmp_path / "out"), "--engine", "remote", "--json", *SMALL]
    assert main(arguments) == 3
    rows = report(tmp_path / "out")["rows"]
    assert {row["error"] and row["error"]["code"] for row in rows} == {None, "remote_credits", "batch_stopped"}
    assert sum(row["state"] == "skipped" for row in rows) >= 3


@pytest.mark.once
def test_nothing_begins_without_the_environment_of_its_engine(main, folder, tmp_path, capfd):
    assert main(["batch", str(folder), "-o", str(tmp_path / "out"), "--engine", "trellis2"]) == 1
    assert "The environment cuda " in capfd.readouterr().err
    assert not list((tmp_path / "out").iterdir())
