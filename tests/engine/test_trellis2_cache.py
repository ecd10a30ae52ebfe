# SPDX-License-Identifier: GPL-3.0-or-later
"""Finished stages on the disk: found again bit by bit, never beyond the limit, and never in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed in this environment")
pytest.importorskip("safetensors", reason="safetensors is not installed in this environment")

from engine.backends.trellis2.cache import SUFFIX, Cache, Entry, clear, digest, make_room, size  # noqa: E402

LARGE = 1 << 30


def entry(fill: int = 1, count: int = 100) -> Entry:
    return Entry({"a": torch.full((count,), fill, dtype=torch.float16), "b": torch.arange(4).bool()}, {"n": fill})


def kept(folder: Path) -> list[str]:
    return sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "stages", LARGE)
    assert cache.load("x") is None
    cache.store("x", entry(3))
    found = Cache(tmp_path / "stages", LARGE).load("x")
    assert found is not None
    assert found.facts == {"n": 3}
    assert torch.equal(found.tensors["a"], entry(3).tensors["a"])
    assert found.tensors["b"].dtype == torch.bool


def test_names_depend_on_all_inputs() -> None:
    names = {
        digest(stage, inputs)
        for stage in ("shape", "texture")
        for inputs in ({"seed": 1}, {"seed": 2}, {"seed": 1, "fast": True}, {"seed": 1, "steps": [1, 2]})
    }
    assert len(names) == 8
    assert digest("shape", {"a": 1, "b": 2}) == digest("shape", {"b": 2, "a": 1})


@pytest.mark.parametrize("at", [0, 31, 32, 40, 200, -1])
def test_damage_is_a_miss_and_is_removed(tmp_path: Path, at: int) -> None:
    cache = Cache(tmp_path, LARGE)
    cache.store("x", entry())
    path = tmp_path / f"x{SUFFIX}"
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))
    assert cache.load("x") is None
    assert not path.exists()
    cache.store("x", entry())
    path.write_bytes(path.read_bytes()[:50])
    assert cache.load("x") is None


def test_the_one_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, LARGE)
    for index, name in enumerate("abc"):
        cache.store(name, entry())
        os.utime(tmp_path / f"{name}{SUFFIX}", (index, index))
    assert cache.load("a") is not None
    one = size(tmp_path) // 3
    Cache(tmp_path, 3 * one).store("d", entry())
    assert kept(tmp_path) == ["a", "c", "d"]
    assert size(tmp_path) <= 3 * one


def test_what_is_larger_than_the_limit_is_not_kept_and_costs_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 2000)
    cache.store("a", entry())
    cache.store("b", entry(count=5000))
    assert kept(tmp_path) == ["a"]
    assert cache.problem is None


def test_clearing_leaves_what_is_not_ours(tmp_path: Path) -> None:
    Cache(tmp_path, LARGE).store("a", entry())
    (tmp_path / f".half{SUFFIX}").write_bytes(b"x")
    (tmp_path / "times.json").write_text("{}")
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["times.json"]
    assert size(tmp_path) == 0
    clear(tmp_path / "nowhere")
    make_room(tmp_path / "nowhere", 0)


def test_no_disk_is_told_once_and_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file" / "stages", LARGE)
    cache.store("a", entry())
    cache.store("b", entry())
    assert cache.load("a") is None
    assert (tmp_path / "file").read_text() == "in the way"
    assert cache.problem is not None
    assert cache.problem.code == "output_unwritable"


def test_without_a_folder_nothing_is_kept() -> None:
    cache = Cache(None, LARGE)
    cache.store("a", entry())
    assert cache.load("a") is None
