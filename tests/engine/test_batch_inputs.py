# SPDX-License-Identifier: GPL-3.0-or-later
"""What a batch is given: folders, patterns, manifests; all that is wrong is told at once, with its lines."""

from __future__ import annotations

import codecs
import json
import os
from pathlib import Path, PurePosixPath

import pytest

from engine.batch.inputs import gather, read_shard, take_share
from engine.batch.naming import LONGEST, Names, file_name, is_file_name
from engine.batch.rows import Wanted, by_error, name_rows, validate
from engine.errors import EspalierError


def touch(path: Path, content: bytes = b"x") -> Path:
    """Write a small file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def images(given: str | Path, output: Path) -> list[str]:
    """Return the names of what is found, in its order."""
    return [Path(entry.image).name for entry in gather(str(given), output)]


def test_a_folder_gives_its_images_in_the_order_of_counting(tmp_path: Path) -> None:
    for name in ("10.png", "2.PNG", "b/1.jpg", "b/.hidden.png", ".git/x.png", "notes.txt", "椅子.webp"):
        touch(tmp_path / "in" / name)
    touch(tmp_path / "in" / "out" / "2_preview.png")
    found = gather(str(tmp_path / "in"), tmp_path / "in" / "out")
    assert [Path(entry.image).name for entry in found] == ["2.PNG", "10.png", "1.jpg", "椅子.webp"]
    assert [entry.folder.as_posix() for entry in found] == [".", ".", "b", "."]


def test_a_pattern_gives_what_it_matches_below_its_fixed_part(tmp_path: Path) -> None:
    for name in ("in/a/1.png", "in/b/1.png", "in/b/2.jpg", "out/1_preview.png"):
        touch(tmp_path / name)
    assert images(tmp_path / "**" / "*.png", tmp_path / "out") == ["1.png", "1.png"]
    found = gather(str(tmp_path / "in" / "*" / "1.png"), tmp_path / "out")
    assert [entry.folder.as_posix() for entry in found] == ["a", "b"]
    assert images(tmp_path / "in" / "b" / "2.jpg", tmp_path / "out") == ["2.jpg"]


@pytest.mark.parametrize(
    ("given", "code"), [("nothing", "batch_input_missing"), ("*.png", "batch_empty"), ("empty", "batch_empty")]
)
def test_what_holds_no_image_is_told(tmp_path: Path, given: str, code: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EspalierError) as caught:
        gather(str(tmp_path / given), tmp_path / "out")
    assert caught.value.code == code
    assert caught.value.exit_code == 2


def test_the_folder_of_the_images_is_not_the_output(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    with pytest.raises(EspalierError, match="cannot be the folder of the images"):
        gather(str(tmp_path), tmp_path)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_is_read_as_spreadsheets_write_it(tmp_path: Path, separator: str) -> None:
    touch(tmp_path / "a, b.png")
    touch(tmp_path / "c.png")
    lines = [
        ("image", "name", "texture-size"),
        ('"a, b.png"', '"two\r\nlines"', "1024"),
        ("c.png", "", ""),
        ("", "", ""),
    ]
    text = "\ufeff" + "\r\n".join(separator.join(cells) for cells in lines)
    path = touch(tmp_path / "list.csv", text.encode())
    first, second = gather(str(path), tmp_path / "out")
    assert (first.image, first.line, first.settings) == (str(tmp_path / "a, b.png"), 2, {"texture_size": "1024"})
    assert first.name == "two\nlines"
    assert (second.image, second.line, second.settings) == (str(tmp_path / "c.png"), 4, {})


def test_a_json_list_is_read_with_the_lines_of_its_objects(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    text = json.dumps([{"image": "a.png", "seed": 7, "remesh": False, "name": None}, {"image": "a.png"}], indent=1)
    path = touch(tmp_path / "list.json", text.encode())
    first, second = gather(str(path), tmp_path / "out")
    assert first.settings == {"seed": 7, "remesh": False}
    assert first.name == ""
    assert (first.line, second.line) == (2, 8)
    rows, faults = validate([first, second], "draft", {"seed": "9"}, ["draft"])
    assert not faults
    assert [row.request.parameters["seed"] for row in rows] == [7, 9]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"picture\nx.png\n", "no column called image, only picture"),
        ("a.csv", b"image,seed,seed\nx.png,1,2\n", "the column seed twice"),
        ("a.csv", b"image\n\xff\xfe.png\n", "not UTF-8"),
        ("a.csv", b"", "it is empty"),
        ("a.csv", b'image\n"x.png\n', "line 2"),
        ("a.json", b'{"image": "x.png"}', "not a list"),
        ("a.json", b'[{"image": "x.png"},\n 3]', "line 2 holds no object"),
        ("a.json", b'[{"image": "x.png"}\n {"image": "y.png"}]', "line 2"),
        ("a.json", b"[", "line 1"),
        ("a.json", b"[]]", "nothing after the list"),
        ("a.json", b"[" * 100_000, "line 1 holds no object|nested too deeply"),
    ],
)
def test_a_manifest_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = touch(tmp_path / name, content)
    with pytest.raises(EspalierError, match=reason) as caught:
        gather(str(path), tmp_path / "out")
    assert caught.value.code == "manifest_unreadable"


def test_a_manifest_is_read_as_spreadsheets_write_it(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    text = "Image\tName\tTexture Size\r\na.png\tgro\xdf\t1024\r\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be"):
        content = text.encode(encoding)
        path = touch(tmp_path / "list.tsv", codecs.BOM_UTF16_BE + content if encoding == "utf-16-be" else content)
        (entry,) = gather(str(path), tmp_path / "out")
        assert (entry.name, entry.line, entry.settings) == ("groß", 2, {"texture_size": "1024"})


def test_what_is_no_text_is_no_image_and_no_name(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    rows = [{"image": ["a.png"]}, {"image": "a.png", "name": 5}, {"image": "a.png", "engine": True}, {"name": "x"}]
    path = touch(tmp_path / "list.json", ",\n".join(map(json.dumps, rows)).join("[]").encode())
    made, faults = validate(gather(str(path), tmp_path / "out"), "draft", {}, ["draft"])
    assert not made
    assert [(fault.line, fault.error.code) for fault in faults] == [
        *((line, "parameter_type") for line in (1, 2, 3)),
        (4, "image_none"),
    ]


def test_all_that_is_wrong_is_told_at_once_with_its_lines(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    text = """image,name,engine,seed,texture_size,remesh,sede
a.png,,,1,1024,true,
a.png,,,many,700,true,
gone.png,,,1,1024,perhaps,
a.png,../../up,,1,1024,true,
a.png,,steam,1,1024,true,
,,,1,1024,true,
https://example.com/a.png,,,1,1024,true,
a.png,,,1,1024,true,4
a.png,,,1,1024,true,4
a.png,,,1,1024,true,,too,many
"""
    touch(tmp_path / "list.csv", text.encode())
    rows, faults = validate(gather(str(tmp_path / "list.csv"), tmp_path / "out"), "draft", {}, ["draft"])
    assert [row.line for row in rows] == [2]
    assert {(fault.line, fault.error.code) for fault in faults} == {
        *((3, "parameter_type"), (3, "parameter_choice"), (4, "image_missing"), (4, "parameter_type")),
        *((5, "manifest_name"), (6, "engine_unknown"), (7, "image_none"), (8, "image_not_a_file")),
        *((9, "parameter_unknown"), (10, "parameter_unknown"), (11, "manifest_cells")),
    }
    assert [lines for lines, fault in by_error(faults) if fault.error.code == "parameter_unknown"] == ["9-10"]


def test_an_address_is_right_for_the_remote_engine_alone(tmp_path: Path) -> None:
    path = touch(tmp_path / "list.csv", b"image,engine\nhttps://example.com/a%20b.png?x=1,remote\n")
    rows, faults = validate(gather(str(path), tmp_path / "out"), "draft", {}, ["draft", "remote"])
    assert not faults
    assert (rows[0].request.image, rows[0].request.name) == ("https://example.com/a%20b.png?x=1", "a b")


def test_what_is_wrong_with_the_defaults_is_wrong_at_once(tmp_path: Path) -> None:
    entries = gather(str(touch(tmp_path / "a.png")), tmp_path / "out")
    for defaults, engine, code in (
        ({"texture_size": "7"}, "draft", "parameter_choice"),
        ({"resolution": "512", "pipeline_type": "1536_cascade"}, "draft", "pipeline_mismatch"),
        ({}, "steam", "engine_unknown"),
    ):
        with pytest.raises(EspalierError) as caught:
            validate(entries, engine, defaults, ["draft"])
        assert caught.value.code == code
    with pytest.raises(EspalierError) as caught:
        validate(entries, "draft", {}, ["draft"], ["many"])
    assert caught.value.code == "lods_invalid"


def test_shards_share_all_work_once() -> None:
    assert read_shard(" 2/3 ") == (2, 3)
    assert list(take_share(5, None)) == [0, 1, 2, 3, 4]
    taken = [number for shard in range(1, 4) for number in take_share(10, (shard, 3))]
    assert sorted(taken) == list(range(10))
    for text in ("0/3", "4/3", "1", "a/b", "1/0", "-1/2", "1/2/3", "\uff11/\uff12"):
        with pytest.raises(EspalierError, match="is not a share"):
            read_shard(text)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("red chair", "red chair"),
        ("椅子", "椅子"),
        ("../../etc/passwd", "_.._.._etc_passwd"),
        ("..", "Asset"),
        ("a\\b:c*", "a_b_c_"),
        ("con", "_con"),
        ("LPT1.old", "_LPT1.old"),
        (".hidden", "_.hidden"),
        ("dot. ", "dot"),
        ("e\u0301", "é"),
        ("\x00\x1f", "Asset"),
        ("", "Asset"),
    ],
)
def test_every_name_is_one_of_a_file_in_its_folder(name: str, safe: str) -> None:
    assert file_name(name) == safe
    assert is_file_name(safe)
    assert len(os.fsencode(file_name("椅" * 300))) <= LONGEST


def test_names_never_clash_and_never_take_an_image(tmp_path: Path) -> None:
    for name in ("in/x/a.png", "in/x/a.jpg", "in/x/A.webp", "in/y/a.png", "in/x/a_2.png", "in/x/a_lod1.png"):
        touch(tmp_path / name)
    entries = gather(str(tmp_path / "in"), tmp_path / "out")
    rows, _ = validate(entries, "draft", {}, ["draft"], ["2000", "1000"])
    wanted = Wanted(rows[0].lods, preview=True)
    stems = name_rows(rows, Names(wanted.all_files, [PurePosixPath("y/A_preview.png")]))
    files = [path.as_posix().casefold() for stem in stems.values() for path in wanted.all_files(stem)]
    assert len(set(files)) == len(files)
    assert not any(name == "y/a_preview.png" for name in files)
    by_image = {
        Path(row.request.image).name: stems[row.number].as_posix() for row in rows if "y" not in str(row.folder)
    }
    assert by_image["a.jpg"] == "x/a"
    assert len(set(map(str.casefold, by_image.values()))) == 5
    assert stems == name_rows(rows, Names(wanted.all_files, [PurePosixPath("y/A_preview.png")]))
