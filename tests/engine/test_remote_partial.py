# SPDX-License-Identifier: GPL-3.0-or-later
"""An asset that comes in pieces, in turns, packed or spoilt: it gets its name whole and sound, or not at all."""

from __future__ import annotations

import errno
import gzip
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.backends.remote.partial import Invalid, Oversize, Partial
from engine.errors import EspalierError

LIMIT = 100_000


def glb(payload: int = 500, description: bytes | None = None) -> bytes:
    text = json.dumps({"asset": {"version": "2.0"}}).encode() if description is None else description
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", payload, 0x004E4942) + bytes(payload)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


GLB = glb()


def receive(path: Path, data: bytes) -> None:
    with Partial(path, LIMIT) as partial:
        if data:
            put(partial, data)
        partial.finish()


def put(partial: Partial, data: bytes) -> None:
    assert partial.write(partial.turn(), data)


@given(st.lists(st.integers(1, 200), max_size=20), st.lists(st.integers(0, 600), max_size=4), st.booleans())
def test_any_pieces_make_the_file(tmp_path_factory: Any, cuts: list[int], breaks: list[int], packed: bool) -> None:
    """It breaks off at each of `breaks`, and goes on from what is here, or from the start where it must."""
    path = tmp_path_factory.mktemp("partial") / "asset.glb"
    sent = gzip.compress(GLB) if packed else GLB
    with Partial(path, LIMIT) as partial:
        for stop in [*breaks, len(sent)]:
            offset = partial.size if partial.resumable else 0
            turn = partial.turn()
            partial.begin(turn, offset)
            here, sizes = offset, iter(cuts)
            while here < min(stop, len(sent)):
                size = min(next(sizes, 64), min(stop, len(sent)) - here)
                assert partial.write(turn, sent[here : here + size])
                here += size
            assert partial.fraction <= 1.0
        assert partial.is_whole
        partial.finish()
    assert path.read_bytes() == GLB
    assert [item.name for item in path.parent.iterdir()] == ["asset.glb"]


@given(st.binary(max_size=400))
def test_rubbish_never_gets_the_name(tmp_path_factory: Any, data: bytes) -> None:
    path = tmp_path_factory.mktemp("partial") / "asset.glb"
    with pytest.raises((Invalid, Oversize)):
        receive(path, data)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (GLB[:-1], "cut off"),
        (GLB + b"\0", "more follows"),
        (b"\x89PNG\r\n", "image"),
        (b"<html>", "web page"),
        (b'{"error": 1}', "text"),
        (b"oops", "does not start"),
        (b"", "cut off"),
        (gzip.compress(GLB)[:60], "cut off"),
        (gzip.compress(GLB)[:12] + bytes(60), "compression"),
        (glb(description=b"{"), "description"),
        (glb(description=b"[1]"), "description"),
        (glb(description=b"{}"), "description"),
        (glb(description=b"[" * 90_000), "description"),
        (struct.pack("<4sIIII", b"glTF", 2, 20, 0, 0x004E4942), "first chunk"),
        (struct.pack("<4sIIII", b"glTF", 2, 20, 400, 0x4E4F534A), "first chunk"),
        (struct.pack("<4sII", b"glTF", 2, 12), "cut off"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises((Invalid, Oversize), match=reason):
        receive(tmp_path / "asset.glb", data)
    assert list(tmp_path.iterdir()) == []


def test_an_asset_that_is_too_large_is_refused_before_it_comes(tmp_path: Path) -> None:
    with Partial(tmp_path / "asset.glb", LIMIT) as partial:
        with pytest.raises(Oversize):
            partial.note(200, {"Content-Length": str(LIMIT + 1)}, 0)
        with pytest.raises(Oversize):
            put(partial, struct.pack("<4sII", b"glTF", 2, LIMIT + 1))


def test_a_bomb_is_counted_as_it_is_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(GLB[:8] + struct.pack("<I", LIMIT) + bytes(50_000_000))
    assert len(bomb) < LIMIT
    with Partial(tmp_path / "asset.glb", LIMIT) as partial, pytest.raises((Invalid, Oversize)):
        put(partial, bomb)


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({"Content-Range": f"bytes 100-{len(GLB) - 1}/{len(GLB)}", "ETag": '"a"'}, True),
        ({"Content-Range": f"bytes 100-{len(GLB) - 1}/*", "ETag": '"a"'}, True),
        ({"Content-Range": f"bytes 100-{len(GLB) - 1}/{len(GLB)}"}, True),
        ({"Content-Range": f"bytes 90-{len(GLB) - 1}/{len(GLB)}", "ETag": '"a"'}, False),
        ({"Content-Range": f"bytes 100-{len(GLB) - 1}/{len(GLB) + 7}", "ETag": '"a"'}, False),
        ({"Content-Range": f"bytes 100-{len(GLB) - 1}/{len(GLB)}", "ETag": '"b"'}, False),
        ({"Content-Range": f"bytes 100-{len(GLB) - 1}/{len(GLB)}", "Content-Encoding": "gzip"}, False),
        ({}, False),
    ],
)
def test_only_the_part_that_was_asked_for_is_taken(tmp_path: Path, headers: dict[str, str], taken: bool) -> None:
    with Partial(tmp_path / "asset.glb", LIMIT) as partial:
        assert partial.note(200, {"Content-Length": str(len(GLB)), "ETag": '"a"'}, 0)
        put(partial, GLB[:100])
        assert partial.validator == '"a"'
        assert partial.note(206, headers, 100) is taken


def test_a_weak_etag_says_nothing_of_bytes(tmp_path: Path) -> None:
    with Partial(tmp_path / "asset.glb", LIMIT) as partial:
        partial.note(200, {"ETag": 'W/"a"', "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0)
        assert partial.validator == "Sun, 06 Nov 1994 08:49:37 GMT"


def test_one_who_was_given_up_writes_nothing_any_more(tmp_path: Path) -> None:
    with Partial(tmp_path / "asset.glb", LIMIT) as partial:
        old = partial.turn()
        assert partial.write(old, GLB[:40])
        new = partial.turn()
        assert not partial.write(old, b"late")
        partial.begin(old, 0)
        assert partial.size == 40
        assert partial.write(new, GLB[40:])
        partial.finish()
    assert (tmp_path / "asset.glb").read_bytes() == GLB
    assert not partial.write(new, b"later still")


def test_a_full_disk_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = Partial(tmp_path / "asset.glb", LIMIT)

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(file, name)

        def write(self, _data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    file = partial._file
    monkeypatch.setattr(partial, "_file", Full())
    with partial, pytest.raises(EspalierError) as caught:
        put(partial, GLB)
    assert caught.value.code == "disk_full"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(EspalierError) as caught:
        Partial(tmp_path / "none" / "asset.glb", LIMIT)
    assert caught.value.code == "output_unwritable"
