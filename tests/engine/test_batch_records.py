# SPDX-License-Identifier: GPL-3.0-or-later
"""What a batch remembers: done rows by content and settings, a journal that a kill cannot take, the report, money."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from engine.batch.budget import Budget
from engine.batch.inputs import gather
from engine.batch.pace import Pace, duration
from engine.batch.records import DONE, FAILED, Journal, Known, Record, load, match, report_name
from engine.batch.results import Results
from engine.batch.rows import Row, Wanted, content_of, differing, validate
from engine.batch_errors import FAILS_ALL
from engine.errors import CATALOGUE, EspalierError


def rows_of(folder: Path, output: Path, lods: tuple[str, ...] = (), **settings: object) -> list[Row]:
    """Return the rows of all images in `folder`."""
    rows, faults = validate(gather(str(folder), output), "draft", settings, ["draft"], lods)
    assert not faults
    return rows


def made(row: Row, stem: str, output: Path, wanted: Wanted | None = None, **changes: Any) -> Record:
    """Return the record of a row whose files have been written."""
    wanted = wanted or Wanted()
    output.mkdir(exist_ok=True)
    files = {name: path.as_posix() for name, path in wanted.files(PurePosixPath(stem)).items()}
    for name in files.values():
        (output / name).write_bytes(b"asset")
    record = Record(
        row.number, row.request.image, row.request.name, "draft", DONE, 0, row.key(content_of(row.request.image))
    )
    return replace(record, stem=stem, bytes=5 * len(files), files=files, **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two images of different content."""
    path = tmp_path / "in"
    path.mkdir()
    for name in ("a", "b"):
        (path / f"{name}.png").write_bytes(name.encode())
    return path


def test_what_stops_a_batch_is_in_the_catalogue() -> None:
    assert CATALOGUE.keys() > FAILS_ALL
    assert not [code for code in FAILS_ALL if code.startswith(("image_", "parameter_"))]


def test_a_row_is_known_by_content_and_settings_and_not_by_its_name(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    first, second = rows_of(folder, output, seed=1)
    records = [made(first, "a", output), made(second, "b", output)]
    (folder / "a.png").rename(folder / "z.png")
    (folder / "b.png").write_bytes(b"another picture")
    known = match(rows_of(folder, output, seed=1), records, Wanted(), output)
    assert known.done == {2: records[0]}
    assert known.others == [records[1]]
    # The draft engine uses no seed, so that another one gives the same asset; the texture is another.
    assert match(rows_of(folder, output, seed=2), records, Wanted(), output).done
    assert not match(rows_of(folder, output, texture_size="1024"), records, Wanted(), output).done
    assert not match(rows_of(folder, output, ("1000",)), records, Wanted((1000,)), output).done


@pytest.mark.parametrize("told", [{"fast": True}, {"background": "u2netp"}])
def test_what_the_cuda_engine_is_told_beside_the_request_makes_another_asset(
    told: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    entries, engines = gather(str(folder), output), ["draft", "trellis2"]
    usual, other = (validate(entries, "trellis2", {}, engines, told=more)[0] for more in ({}, told))
    records = [made(usual[0], "a", output), made(usual[1], "b", output)]
    assert match(usual, records, Wanted(), output).done.keys() == {1, 2}
    assert not match(other, records, Wanted(), output).done
    assert (differing(usual[0]), differing(other[0])) == ({}, told)
    assert usual[0].key("a") == validate(entries, "trellis2", {}, engines)[0][0].key("a")
    draft = [validate(entries, "draft", {}, engines, told=more)[0][0].key("a") for more in ({}, told)]
    assert draft[0] == draft[1], "the draft engine is told nothing more"


def test_each_record_stands_for_one_row(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (folder / "b.png").write_bytes(b"a")
    rows = rows_of(folder, output)
    record = made(rows[0], "a", output)
    known = match(rows, [record], Wanted(), output)
    assert list(known.done) == [1]
    assert known.others == []
    assert match(rows, [record, replace(record, row=2)], Wanted(), output).done.keys() == {1, 2}


@pytest.mark.parametrize("damage", ["gone", "short", "preview"])
def test_what_lacks_a_file_is_made_again_under_its_name(folder: Path, tmp_path: Path, damage: str) -> None:
    output = tmp_path / "out"
    rows = rows_of(folder, output)
    record = made(rows[0], "a", output)
    wanted = Wanted(preview=damage == "preview")
    if damage == "gone":
        (output / "a.glb").unlink()
    elif damage == "short":
        (output / "a.glb").write_bytes(b"ass")
    known = match(rows, [record], wanted, output)
    assert not known.done
    assert {number: stem.as_posix() for number, stem in known.stems.items()} == {1: "a"}


def test_an_image_that_cannot_be_read_has_no_key(folder: Path, tmp_path: Path) -> None:
    rows = rows_of(folder, tmp_path / "out")
    (folder / "a.png").unlink()
    known = match(rows, [Record(1, "", "", "draft", DONE, key="")], Wanted(), tmp_path / "out")
    assert known.keys[1] == ""
    assert not known.done


def test_a_torn_journal_loses_only_its_last_line(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    rows = rows_of(folder, output)
    journal = Journal(output, "report")
    records = [made(row, row.request.name, output) for row in rows]
    journal.begin([])
    journal.add(records[0])
    journal.add(replace(records[1], state=FAILED))
    journal.close()
    with journal.path.open("a") as file:
        file.write('{"row": 2, "ima')
    assert load(output) == [records[0]]
    journal.path.write_text(journal.path.read_text().replace('"row": 1', '"row": [', 1))
    with pytest.raises(EspalierError) as caught:
        load(output)
    assert caught.value.code == "batch_report_damaged"


def test_the_report_is_whole_after_every_asset_and_journal_and_report_agree(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    rows = rows_of(folder, output)
    records = [made(row, row.request.name, output) for row in rows]
    output.mkdir(exist_ok=True)
    waiting = [replace(record, state="waiting", files={}, bytes=0) for record in records]
    results = Results(output, "report", {"input": "in", "engine": "draft"}, waiting)
    results.begin()
    assert load(output) == []
    results.put(records[0])
    assert load(output) == [records[0]]  # as after a kill
    results.put(records[1])
    results.finish()
    assert sorted(path.name for path in output.glob("*report*")) == ["report.csv", "report.html", "report.json"]
    assert not list(output.glob(".*"))
    assert load(output) == records
    data = json.loads((output / "report.json").read_text("utf-8"))
    assert data["counts"] == {"done": 2, "failed": 0, "skipped": 0, "waiting": 0}
    assert data["finished"]


def test_all_shards_are_remembered_and_other_files_left_alone(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    rows = rows_of(folder, output)
    for number, row in enumerate(rows, 1):
        record = made(row, row.request.name, output)
        results = Results(output, report_name((number, 2)), {}, [record])
        results.begin()
        results.finish()
    (output / "report-old.json").write_text("not ours")
    assert {record.name for record in load(output)} == {"a", "b"}
    assert {record.name for record in load(output, "report-2-of-2")} == {"b"}
    (output / "report.json").write_text("{}")
    with pytest.raises(EspalierError):
        load(output)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_holds_what_names_say_and_runs_none_of_it(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    row = rows_of(folder, output)[0]
    evil = "<script>alert(1)</script> & #1%"
    done = made(row, "椅子", output, notices=["<b>"], faces=1234)
    done = replace(done, name=evil, files={"glb": "椅子 #1%.glb"})
    failed = Record(
        2, f"/x/{evil}.png", "=1+1", "draft", FAILED, error={"code": "c", "cause": f"{evil}.", "remedy": "R."}
    )
    results = Results(output, "report", {"input": evil, "engine": "draft"}, [done, failed])
    results.finish()
    page = _Page()
    page.feed((output / "report.html").read_text("utf-8"))
    assert "script" not in page.tags
    assert page.text.count(evil) >= 3
    assert "%E6%A4%85%E5%AD%90%20%231%25.glb" in page.links
    assert "1,234 faces" in page.text
    lines = list(csv.DictReader(io.StringIO((output / "report.csv").read_text("utf-8-sig"))))
    assert [line["state"] for line in lines] == ["done", "failed"]
    assert lines[1]["name"] == "'=1+1"
    assert lines[1]["cause"] == f"{evil}."
    assert json.loads((output / "report.json").read_text("utf-8"))["rows"][0]["name"] == evil


def test_a_report_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    results = Results(tmp_path / "gone", "report", {}, [])
    with pytest.raises(EspalierError) as caught:
        results.begin()
    assert caught.value.code == "output_unwritable"


def test_a_budget_is_never_exceeded_by_what_may_still_be_billed() -> None:
    budget = Budget(0.75)
    budget.hold(1, 0.249)
    budget.hold(2, 0.249)
    budget.hold(3, 0.25)
    with pytest.raises(EspalierError) as caught:
        budget.hold(4, 0.025)
    assert caught.value.code == "batch_budget_reached"
    budget.settle(1, None)  # nobody knows, so it counts
    with pytest.raises(EspalierError):
        budget.hold(4, 0.025)
    budget.settle(2, 0.0)  # never sent
    budget.hold(4, 0.025)
    budget.settle(3, 0.9)
    with pytest.raises(EspalierError):
        budget.hold(5, 0.0001)
    with pytest.raises(EspalierError) as caught:
        budget.hold(5, None)
    assert caught.value.code == "batch_budget_unpriced"
    assert budget.held == pytest.approx(0.249 + 0.9 + 0.025)
    Budget(None).hold(1, None)


def test_exact_budgets_hold_what_they_say() -> None:
    budget = Budget(0.3)
    for row in range(3):
        budget.hold(row, 0.1)  # 0.1 three times is more than 0.3 in binary
    with pytest.raises(EspalierError):
        budget.hold(3, 0.1)


def test_the_pace_follows_what_has_just_been() -> None:
    pace = Pace(100.0)
    assert pace.rate() is None
    assert pace.remaining_s(5, 101.0) is None
    for second in range(1, 101):
        pace.note(100.0 + second)
    for count in range(1, 61):
        pace.note(200.0 + count * 4)
    assert pace.rate() == pytest.approx(0.25)
    assert pace.remaining_s(10, 440.0) == pytest.approx(40.0)
    assert pace.remaining_s(10, 442.0) == pytest.approx(38.0)
    assert pace.remaining_s(1, 999.0) is None  # it takes longer than the last ones, nobody knows how long
    assert [duration(s) for s in (8, 89, 240, 7500)] == ["8 s", "89 s", "4 min", "2 h 05 min"]


def test_settings_are_told_as_they_differ(folder: Path, tmp_path: Path) -> None:
    row = rows_of(folder, tmp_path, resolution="512")[0]
    assert differing(row) == {"resolution": "512", "pipeline_type": "512"}
    assert Known().done == {}
