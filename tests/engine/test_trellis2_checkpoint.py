# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of weights are found and checked before anything loads: missing, cut off, changed, of another version."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from engine.backends.trellis2 import checkpoint as checkpoints
from engine.backends.trellis2.checkpoint import DINOV3, REVISIONS, STAGE_MODELS, TRELLIS2
from engine.errors import EspalierError

WANTED = sorted({name for kind in STAGE_MODELS.values() for names in kind.values() for name in names})


def write_tensor(path: Path, values: bytes = b"abcdefgh") -> Path:
    """Write a safetensors file of one tensor of bytes."""
    header = json.dumps({"x": {"dtype": "U8", "shape": [len(values)], "data_offsets": [0, len(values)]}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header + values)
    return path


def snapshot(root: Path, name: str, revision: str = "1") -> Path:
    folder = root / f"models--{name.replace('/', '--')}" / "snapshots" / revision
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a checkpoint of files that hold nothing of use, laid out as a cache of Hugging Face."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "nobody"))
    root = tmp_path / "weights"
    main = snapshot(root, TRELLIS2, REVISIONS[TRELLIS2])
    for name in WANTED:
        write_tensor(main / "ckpts" / f"{name}.safetensors")
        (main / "ckpts" / f"{name}.json").write_text(json.dumps({"name": "X", "args": {}}))
    models = {name: f"ckpts/{name}" for name in WANTED}
    (main / "pipeline.json").write_text(json.dumps({"args": {"models": models}}))
    features = snapshot(root, DINOV3)
    write_tensor(features / "model.safetensors")
    (features / "config.json").write_text("{}")
    return root


def check(root: Path, remembered: Path | None = None) -> list[float]:
    told: list[float] = []
    checkpoints.check(checkpoints.read(root), tuple(WANTED), remembered, told.append)
    return told


def main_of(root: Path) -> Path:
    return snapshot(root, TRELLIS2, REVISIONS[TRELLIS2])


def test_a_whole_checkpoint_passes(root: Path) -> None:
    told = check(root)
    assert told[-1] == pytest.approx(1.0)
    assert told == sorted(told)


def test_plain_folders_and_the_persons_own_cache_are_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(root))
    assert checkpoints.read(None).models.keys() == set(WANTED)
    plain = root.parent / "plain"
    plain.mkdir()
    os.rename(main_of(root), plain / "TRELLIS.2-4B")
    monkeypatch.setenv("HF_HUB_CACHE", str(root.parent / "nobody"))
    os.rename(snapshot(root, DINOV3), plain / "vit_large_patch16_dinov3.lvd1689m")
    assert check(plain)


def test_a_model_may_lie_in_another_repository(root: Path) -> None:
    main, name = main_of(root), "sparse_structure_decoder"
    other = snapshot(root, "microsoft/TRELLIS-image-large")
    (other / "ckpts").mkdir()
    for ending in (".json", ".safetensors"):
        os.rename(main / "ckpts" / f"{name}{ending}", other / "ckpts" / f"dec{ending}")
    described = json.loads((main / "pipeline.json").read_text())
    described["args"]["models"][name] = "microsoft/TRELLIS-image-large/ckpts/dec"
    (main / "pipeline.json").write_text(json.dumps(described))
    assert checkpoints.read(root).models[name].weights == other / "ckpts" / "dec.safetensors"
    check(root)


def test_another_revision_is_not_taken_for_the_pinned_one(root: Path) -> None:
    os.rename(main_of(root), main_of(root).with_name("0" * 40))
    with pytest.raises(EspalierError) as caught:
        checkpoints.read(root)
    assert caught.value.code == "trellis2_weights_none"


@pytest.mark.parametrize("repository", [TRELLIS2, DINOV3])
def test_weights_that_are_not_there(root: Path, repository: str) -> None:
    folder = root / f"models--{repository.replace('/', '--')}"
    folder.rename(root / "elsewhere")
    with pytest.raises(EspalierError) as caught:
        checkpoints.read(root)
    assert caught.value.code == "trellis2_weights_none"
    assert repository in caught.value.cause
    assert "install weights" in caught.value.remedy


@pytest.mark.parametrize("name", WANTED)
@pytest.mark.parametrize("ending", [".json", ".safetensors"])
def test_each_missing_file_is_named(root: Path, name: str, ending: str) -> None:
    (main_of(root) / "ckpts" / f"{name}{ending}").unlink()
    with pytest.raises(EspalierError) as caught:
        check(root)
    assert caught.value.code == "trellis2_weights_missing"
    assert f"{name}{ending}" in caught.value.cause


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-1], "of"),
        (lambda data: data + b"x", "of"),
        (lambda data: data[:20], "header"),
        (lambda data: b"", "header"),
        (lambda data: b"<html>Sign in</html>", "header"),
        (lambda data: data[:8] + b"\xff" * (len(data) - 8), "header"),
        (lambda data: (2).to_bytes(8, "little") + b"[]" + data, "header"),
    ],
    ids=["cut", "longer", "short", "empty", "page", "garbled", "list"],
)
def test_each_damaged_file_is_named(root: Path, change: Any, reason: str) -> None:
    for path in (
        main_of(root) / "ckpts" / "tex_slat_decoder.safetensors",
        snapshot(root, DINOV3) / "model.safetensors",
    ):
        before = path.read_bytes()
        path.write_bytes(change(before))
        with pytest.raises(EspalierError) as caught:
            check(root)
        assert caught.value.code == "trellis2_weights_damaged"
        assert str(path) in caught.value.cause
        assert reason in caught.value.cause
        path.write_bytes(before)
    check(root)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"args": {}}', '{"args": {"models": {}}}', "\x00"])
def test_a_damaged_description_of_the_pipeline(root: Path, text: str) -> None:
    (main_of(root) / "pipeline.json").write_text(text)
    with pytest.raises(EspalierError) as caught:
        checkpoints.read(root)
    assert caught.value.code == "trellis2_weights_damaged"


def test_a_blob_must_have_the_digest_that_it_is_named_by(root: Path) -> None:
    path = main_of(root) / "ckpts" / "tex_slat_decoder.safetensors"
    blobs = main_of(root).parents[1] / "blobs"
    blobs.mkdir()
    blob = blobs / hashlib.sha256(path.read_bytes()).hexdigest()
    os.rename(path, blob)
    path.symlink_to(blob)
    check(root)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(bytes(data))
    with pytest.raises(EspalierError, match="SHA-256"):
        check(root)


def test_sums_beside_the_files_count_and_are_checked_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = main_of(root) / "ckpts" / "shape_slat_decoder.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (main_of(root) / "SHA256SUMS").write_text(f"{digest}  ckpts/{path.name}\n")
    hashed: list[Path] = []
    before = checkpoints.digest_of
    monkeypatch.setattr(checkpoints, "digest_of", lambda path, tell: hashed.append(path) or before(path, tell))
    remembered = root / "kept" / "verified.json"
    check(root, remembered)
    check(root, remembered)
    assert hashed == [path]
    write_tensor(path, b"stuvwxyz")
    os.utime(path, ns=(1, 1))
    with pytest.raises(EspalierError, match="SHA-256"):
        check(root, remembered)
    remembered.write_text("{")
    write_tensor(path)
    check(root, remembered)
    assert json.loads(remembered.read_text())


def test_checking_can_be_stopped(root: Path) -> None:
    class Stop(Exception):
        pass

    def tell(fraction: float) -> None:
        raise Stop

    with pytest.raises(Stop):
        checkpoints.check(checkpoints.read(root), tuple(WANTED), None, tell)


def test_an_index_tells_where_files_lie_and_what_their_digest_is(root: Path) -> None:
    path = main_of(root) / "ckpts" / "shape_slat_decoder.safetensors"
    moved = root.parent / "cache" / "elsewhere.safetensors"
    moved.parent.mkdir()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    os.rename(path, moved)
    entry = {"path": str(moved), "revision": "x", "size": 1, "sha256": digest}
    (root / "weights.json").write_text(json.dumps({f"{TRELLIS2}/ckpts/{path.name}": entry, "rubbish": 3}))
    check(root)
    assert checkpoints.read(root).models["shape_slat_decoder"].weights == moved
    write_tensor(moved, b"stuvwxyz")
    with pytest.raises(EspalierError, match="SHA-256"):
        check(root)
