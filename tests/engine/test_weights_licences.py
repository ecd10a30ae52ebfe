# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of weights is sound, and licenses are told in words, asked for, and remembered in their wording."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engine.environments import licences
from engine.environments.places import Places
from engine.environments.weights_catalogue import FILES, TRELLIS2, wanted
from engine.errors import EspalierError
from engine.imaging import removal


def test_the_table_of_weights() -> None:
    files = wanted(("cpu", "cuda"))
    assert len({file.key for file in files}) == len(files)
    for file in files:
        assert (file.size is None) == (file.sha256 is None)
        assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert bool(file.repo) == bool(re.fullmatch(r"[0-9a-f]{40}", file.revision))
        assert file.size is not None or (file.repo and file.path.endswith(".json")), "only small files are unknown"
        assert not file.place.is_absolute()
        assert ".." not in file.place.parts
    numbers = {file.path.removesuffix(".safetensors") for file in TRELLIS2 if file.path.endswith(".safetensors")}
    shapes = {file.path.removesuffix(".json") for file in TRELLIS2 if file.path.endswith(".json")}
    assert {name for name in numbers if name.startswith("ckpts/")} == {n for n in shapes if n.startswith("ckpts/")}
    assert 14.9e9 < sum(file.size or 0 for file in TRELLIS2 if "microsoft" in file.repo) < 15.1e9
    assert {Path(file.key).stem for file in files if not file.repo} == set(removal.MODELS)


def test_every_license_is_told_in_words() -> None:
    names = [item.name for item in licences.LICENCES]
    assert len(set(names)) == len(names)
    for item in licences.LICENCES:
        assert item.url.startswith("https://")
        assert item.text.endswith(".")
        assert item.covers
    assert {file.license for file in wanted(tuple(FILES))} <= set(names)
    assert licences.licence("dinov3").notice == "Built with DINOv3"
    assert "evaluation only" in licences.licence("nvdiffrast").text
    assert "MIT" in licences.licence("trellis2").title
    assert [item.name for item in licences.needed("cpu")] == []
    assert [item.name for item in licences.needed("cuda")] == ["trellis2", "nvdiffrast"]
    assert [item.name for item in licences.needed("weights", ("cpu",))] == ["isnet", "u2net"]
    assert [item.name for item in licences.needed("weights")] == ["trellis2", "dinov3", "birefnet", "isnet", "u2net"]


def test_what_was_accepted_is_remembered_with_its_date_and_wording(tmp_path: Path) -> None:
    places = Places(tmp_path / "root")
    assert licences.accepted(places) == frozenset()
    with pytest.raises(EspalierError) as caught:
        licences.require(places, licences.needed("weights"))
    assert caught.value.code == "license_not_accepted"
    assert caught.value.exit_code == 2
    assert "--accept trellis2" in caught.value.remedy
    assert "https://" in caught.value.remedy
    licences.accept(places, ["trellis2", "dinov3"])
    licences.accept(places, [])
    assert licences.accepted(places) == {"trellis2", "dinov3"}
    licences.require(places, licences.needed("cuda"))  # nvdiffrast is not a must
    [path] = (tmp_path / "root").iterdir()
    kept = json.loads(path.read_text("utf-8"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", kept["dinov3"]["accepted"])
    kept["dinov3"]["version"] = "of an older wording"
    path.write_text(json.dumps(kept), "utf-8")
    assert licences.accepted(places) == {"trellis2"}
    licences.accept(places, ["dinov3"])
    assert licences.accepted(places) == {"trellis2", "dinov3"}
    for rubbish in (b"", b"[]", b"\xff", b'{"dinov3": 7}'):
        path.write_bytes(rubbish)
        assert licences.accepted(places) == frozenset()


def test_there_is_no_other_license(tmp_path: Path) -> None:
    with pytest.raises(EspalierError) as caught:
        licences.accept(Places(tmp_path), ["trellis2", "gpl"])
    assert caught.value.code == "license_unknown"
    assert "dinov3" in caught.value.remedy
    assert licences.accepted(Places(tmp_path)) == frozenset()
