# SPDX-License-Identifier: GPL-3.0-or-later
"""What the library takes, what of it may go, its catalogs, and what is written down of how an asset was made."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from engine import provenance
from engine.errors import EspalierError
from engine.jobs import catalog, upkeep
from engine.jobs.job import State
from engine.mesh.glb import read_glb, write_glb
from engine.mesh.glb_extras import read_extras, write_extras
from engine.mesh.model import Material
from engine.request import GenerationRequest, RebuildRequest
from engine.workers.execute import _embed as embed
from engine.workers.execute import execute
from engine.workers.launch import current_launch
from tests.engine.queue_harness import drive, open_queue
from tests.support.meshes import bumpy_sphere

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
MUG = ROOT / "tests" / "data" / "mug.png"
SMALL = {"resolution": "512", "texture_size": "1024"}


def result(folder: Path, job: str, made: float, size: int) -> None:
    (folder / job / "import").mkdir(parents=True)
    (folder / job / "import" / "position.npy").write_bytes(b"\0" * (size - 2))
    (folder / job / "result.json").write_text("{}")
    os.utime(folder / job / "result.json", (made, made))


def test_what_is_old_or_too_much_goes_oldest_first_and_what_is_needed_stays(tmp_path: Path) -> None:
    for number in range(6):
        result(tmp_path, f"job{number}", 1000.0 + number, 1000)
    (tmp_path / "job9-1.partial").mkdir()
    (tmp_path / "not a result").mkdir()
    found = upkeep.measure(tmp_path)
    assert [(each.job, each.made, each.size) for each in found] == [
        (f"job{number}", 1000.0 + number, 1000) for number in range(6)
    ]
    assert upkeep.surplus(found, (), 0.0, 0) == []
    assert [each.job for each in upkeep.surplus(found, {"job1"}, 1003.0, 0)] == ["job0", "job2"]
    assert [each.job for each in upkeep.surplus(found, {"job0"}, 0.0, 4000)] == ["job1", "job2"]
    assert [each.job for each in upkeep.surplus(found, (), 1001.0, 4500)] == ["job0", "job1"]
    assert upkeep.discard(tmp_path, ["job0", "job2", "gone"]) == 2000
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("job1", "job3", "job4", "job5", "job9-1.partial", "not a result")
    ]


def test_a_library_that_may_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result(tmp_path, "job", 1.0, 10)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(upkeep.os, "replace", refuse)
    with pytest.raises(EspalierError, match="cannot be written: permission denied"):
        upkeep.discard(tmp_path, ["job"])
    assert [(each.job, each.size) for each in upkeep.measure(tmp_path)] == [("job", 10)]


def test_what_unfinished_jobs_start_from_is_wanted(tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert upkeep.wanted(root / "ledger.sqlite3", root / "library") == set()
    launch = current_launch(ROOT)
    queue = open_queue(root, launch)
    try:
        placed, waiting = (queue.submit(GenerationRequest.create(MUG, "draft", SMALL)) for _ in range(2))
        drive(queue)
        assert queue.job(placed).state is queue.job(waiting).state is State.READY
        queue.mark_imported(placed)
        drive(queue)
        assert upkeep.wanted(root / "ledger.sqlite3", root / "library") == {waiting}
        queue.mark_imported(waiting)
        rebuild = queue.submit(RebuildRequest.create(root / "library" / placed / "asset.glb"))
        drive(queue, lambda: not queue._book.unsettled)
        assert upkeep.wanted(root / "ledger.sqlite3", root / "library") == {placed, rebuild}
        queue.cancel(rebuild)
        drive(queue)
        assert upkeep.wanted(root / "ledger.sqlite3", root / "library") == set()
        assert {each.job for each in upkeep.measure(root / "library")} == {placed, waiting}
    finally:
        queue.close()


def test_catalogs_are_added_and_a_persons_own_stay(tmp_path: Path) -> None:
    catalog.ensure_catalogs(tmp_path, ["Draft", "Remote: API/x"])
    path = tmp_path / catalog.CATALOGS
    first = path.read_text("utf-8")
    assert "VERSION 1" in first.splitlines()
    assert [line.split(":")[1] for line in first.splitlines()[4:]] == [
        *("Espalier", "Espalier/Draft", "Espalier/Remote- API-x")
    ]
    assert f"{catalog.catalog_id('Draft')}:Espalier/Draft:Espalier-Draft" in first.splitlines()
    assert f"{catalog.catalog_id('Remote: API/x')}:Espalier/Remote- API-x:Espalier-Remote- API-x" in first.splitlines()
    moved = first.replace(":Espalier/Draft:", ":我的/草稿:") + "d2ee3d5c-0d3e-4c4f-9d27-6a2c5a8d1b11:Mine:Mine"
    path.write_text(moved, "utf-8")
    stamp = path.stat().st_mtime_ns
    catalog.ensure_catalogs(tmp_path, ["Draft"])
    assert path.stat().st_mtime_ns == stamp
    catalog.ensure_catalogs(tmp_path, ["Draft", "Rebuild"])
    assert path.read_text("utf-8").startswith(moved + "\n")
    assert path.read_text("utf-8").splitlines()[-1].startswith(catalog.catalog_id("Rebuild"))


def test_extras_are_replaced_and_all_else_stays(tmp_path: Path) -> None:
    positions, faces, normals, uvs = bumpy_sphere(3)
    from engine.mesh.model import Mesh

    path = tmp_path / "a.glb"
    write_glb(path, Mesh(positions, faces, normals, uvs), Material(), extras={"theirs": [1, None]})
    assert read_extras(path) == {}
    before = read_glb(path)
    assert write_extras(path, {"image": "椅子.png", "seed": 7})
    assert write_extras(path, {"image": "椅子.png", "seed": 8})
    assert read_extras(path) == {"image": "椅子.png", "seed": 8}
    after = read_glb(path)
    for one, other in zip((before[0].positions, before[0].faces), (after[0].positions, after[0].faces), strict=True):
        assert (one == other).all()
    assert b'"theirs":[1,null]' in path.read_bytes()
    assert [item.name for item in tmp_path.iterdir()] == ["a.glb"]


def test_the_file_of_another_writer_is_left_alone(tmp_path: Path) -> None:
    positions, faces, normals, uvs = bumpy_sphere(2)
    from engine.mesh.model import Mesh

    path = tmp_path / "a.glb"
    write_glb(path, Mesh(positions, faces, normals, uvs), Material())
    path.write_bytes(path.read_bytes().replace(b'"Espalier"', b'"Trimeshy"'))
    before = path.read_bytes()
    assert not write_extras(path, {"seed": 7})
    assert path.read_bytes() == before


@pytest.mark.parametrize("data", [b"", b"glTF" + b"\0" * 30, b"glTF\2\0\0\0\x20\0\0\0\4\0\0\0JSON[]  ", b"x" * 99])
def test_what_is_no_glb_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.glb").write_bytes(data)
    with pytest.raises(EspalierError, match="not a valid GLB"):
        read_extras(tmp_path / "a.glb")


def made(request: GenerationRequest | RebuildRequest, folder: Path) -> dict[str, object]:
    from engine.backends import create  # the factory that a worker uses
    from engine.backends.base import JobRun
    from engine.progress import Stage
    from engine.workers.handover import PREPARE

    backend = create(request.engine)
    return execute(
        backend, request, folder, JobRun((*backend.stages, Stage(PREPARE, "Preparing", 1)), lambda progress: None)
    )


def test_a_result_keeps_its_image_and_says_how_it_was_made(tmp_path: Path) -> None:
    image = tmp_path / "secret client" / "杯子.png"
    image.parent.mkdir()
    shutil.copyfile(MUG, image)
    request = GenerationRequest.create(image, "draft", {**SMALL, "seed": 7})
    kept = made(request, tmp_path / "one")
    assert (tmp_path / "one" / "image" / "杯子.png").read_bytes() == MUG.read_bytes()
    extras = read_extras(tmp_path / "one" / "asset.glb")
    assert (extras["image"], extras["engine"], extras["seed"], extras["made"]) == ("杯子.png", "draft", 7, kept["made"])
    assert set(request.parameters) < set(extras)
    assert b"secret client" not in (tmp_path / "one" / "asset.glb").read_bytes()

    rebuild = RebuildRequest.create(
        tmp_path / "one" / "asset.glb", {"remesh": False, "normal_map": "off", **SMALL}, [800, 200]
    )
    rebuilt = made(rebuild, tmp_path / "two")
    origin = rebuilt["origin"]
    assert isinstance(origin, dict)
    assert (origin["image"], origin["seed"], origin["engine"]) == (str(image), 7, "draft")
    for level in ("asset.glb", "lods/1/asset.glb"):
        extras = read_extras(tmp_path / "two" / level)
        assert (extras["engine"], extras["lods"], extras["origin"]["image"]) == ("rebuild", [800, 200], "杯子.png")
        assert "source" not in extras
        assert b"secret client" not in (tmp_path / "two" / level).read_bytes()

    (tmp_path / "three").mkdir()
    shutil.copyfile(tmp_path / "two" / "asset.glb", tmp_path / "three" / "given away.glb")
    again = made(RebuildRequest.create(tmp_path / "three" / "given away.glb", rebuild.parameters), tmp_path / "four")
    assert again["origin"] == json.loads(json.dumps(provenance.public(origin)))


def test_a_file_that_cannot_be_read_is_not_the_end_of_a_paid_result(tmp_path: Path) -> None:
    text = b'{"asset":{"generator":"Espalier"}' + b" " * 2**23 + b"}"
    data = b"glTF" + (2).to_bytes(4, "little") + (20 + len(text)).to_bytes(4, "little")
    data += len(text).to_bytes(4, "little") + b"JSON" + text
    (tmp_path / "asset.glb").write_bytes(data)
    embed(GenerationRequest.create(MUG, "remote"), {}, tmp_path)
    assert (tmp_path / "asset.glb").read_bytes() == data


def test_an_account_tells_what_differs_and_what_may_be_told() -> None:
    request = GenerationRequest.create("/pictures/a.png", "trellis2", {"resolution": "1536", "seed": 3})
    account = provenance.account_of(request, {"made": "2026-01-02", "facts": {"cost_usd": 0.25, "model": "m"}})
    assert (account["cost_usd"], account["model"]) == (0.25, "m")
    told = [(parameter.name, value) for parameter, value in provenance.changed(account)]
    assert told == [("resolution", "1536"), ("pipeline_type", "1536_cascade")]
    assert provenance.public(account)["image"] == "a.png"
    assert "cost_usd" not in provenance.public(account)
    draft = provenance.account_of(GenerationRequest.create("a.png", "draft", {"remesh": False, "seed": 3}), {})
    assert list(provenance.changed(draft)) == []
    nothing = provenance.account_of(request, {"facts": {"cost_usd": float("nan"), "model": ""}, "made": ""})
    assert not {"cost_usd", "model", "made"} & set(nothing)


@pytest.mark.parametrize(
    ("name", "safe"),
    [("椅子", "椅子"), ("a/b:c", "a_b_c"), ("CON", "_CON"), ("com1.x", "_com1.x"), (" . ", "_"), ("x" * 99, "x" * 60)],
)
def test_a_name_that_every_system_takes(name: str, safe: str) -> None:
    assert provenance.safe_name(name) == safe


@pytest.mark.parametrize(
    ("image", "name"),
    [("C:\\a\\b.png", "b.png"), ("/a/b.png", "b.png"), ("https://x.y/p/%E6%9D%AF.png?k=1", "杯.png")],
)
def test_the_file_name_of_an_image(image: str, name: str) -> None:
    assert provenance.file_name(image) == name
