# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor: it never fails itself, and names one remedy for each fault."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.backends.trellis2 import doctor
from engine.backends.trellis2.doctor import PACKAGES, REQUIRED, Finding, examine, inspect, judge
from engine.errors import EspalierError

ROOT = Path(__file__).resolve().parents[2]
GOOD: dict[str, Any] = {
    "python": "3.11.9",
    "executable": "/somewhere/python",
    "system": "linux",
    "packages": {name: {"version": "1.0", "from": "/somewhere"} for name in PACKAGES},
    "driver": {"version": "570.1", "gpu": "A Card", "total_mb": 81920, "free_mb": 80000},
    "torch": {
        "version": "2.9.1", "cuda": "12.8", "gpu": "A Card", "capability": [9, 0], "built_for": ["sm_90"],
        "free": 80 * 10**9, "total": 82 * 10**9,
    },
    "device": {"chosen": "A Card"},
    "compiler": "/usr/bin/gcc",
    "weights": {"bytes": 15 * 10**9, "at": "/somewhere/weights"},
    "disk": {"at": "/somewhere", "free": 100 * 10**9},
}  # fmt: skip


def faults(**changes: Any) -> list[Finding]:
    return [one for one in judge({**GOOD, **changes}) if one.verdict == "fault"]


def told(code: str, **fields: object) -> dict[str, Any]:
    return {"error": EspalierError(code, **fields).to_json()}


def lacking(*names: str) -> dict[str, Any]:
    return {**GOOD["packages"], **dict.fromkeys(names)}


def test_a_good_machine_has_no_fault() -> None:
    assert faults() == []
    assert all(one.verdict == "ok" and one.found for one in judge(GOOD))


@pytest.mark.parametrize(
    ("changes", "subject", "remedy"),
    [
        *(({"packages": lacking(name)}, name, "install cuda") for name in REQUIRED),
        ({"packages": lacking("transformers", "timm")}, "Image features", "install cuda"),
        ({"device": told("trellis2_no_gpu")}, "Device", "remote engine"),
        ({"device": told("trellis2_torch_cpu", version="2.9.1+cpu")}, "Device", "--repair"),
        ({"device": told("trellis2_driver", cuda="12.8")}, "Device", "Update the NVIDIA driver"),
        ({"device": told("trellis2_architecture", gpu="X", capability="6.1", built="sm_90")}, "Device", "sm_90"),
        ({"device": {"error": "RuntimeError: odd"}}, "Device", "--repair"),
        ({"compiler": None}, "C compiler", "apt install gcc"),
        ({"weights": told("trellis2_weights_none", model="X")}, "Weights", "install weights"),
        ({"weights": told("trellis2_weights_damaged", path="x", reason="y")}, "Weights", "install weights"),
        ({"disk": {"at": "/somewhere", "free": 10}}, "Disk", "Free some space"),
        ({"failed": "it ended with code 1"}, "Python", "install cuda"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_each_fault_has_one_remedy(changes: dict[str, Any], subject: str, remedy: str) -> None:
    found = faults(**changes)
    assert [one.subject for one in found] == [subject]
    assert remedy in found[0].remedy
    assert found[0].found


def test_one_cause_is_one_fault() -> None:
    assert [one.subject for one in faults(packages=lacking("torch", "transformers", "timm"))] == ["torch"]


def test_what_has_a_stand_in_is_no_fault() -> None:
    changes = {"packages": lacking("flash_attn", "o_voxel", "nvdiffrast", "xformers", "timm"), "driver": None}
    assert faults(**changes) == []
    notes = {one.subject for one in judge({**GOOD, **changes}) if one.verdict == "note"}
    assert notes == {"flash_attn", "o_voxel", "nvdiffrast", "xformers", "timm", "NVIDIA driver"}
    assert faults(compiler=None, packages=lacking("flex_gemm")) == []


@pytest.mark.parametrize("lost", [name for name in GOOD if name != "python"])
def test_it_never_fails_for_what_could_not_be_found_out(lost: str) -> None:
    for value in ({"error": "OSError: odd"}, None, {}, [], "x"):
        assert judge({**GOOD, lost: value})
    assert judge({name: value for name, value in GOOD.items() if name != lost})


def test_this_machine_can_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("ESPALIER_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("CC", sys.executable)
    found = inspect()
    json.dumps(found)
    assert found["compiler"] == sys.executable, "it is found without PyTorch too"
    assert found.keys() >= {"python", "packages", "driver", "torch", "device", "compiler", "weights", "disk"}
    assert "trellis2_weights_none" in json.dumps(found["weights"])
    lines = judge(found)
    assert any(one.subject == "Weights" and one.verdict == "fault" for one in lines)
    assert all(one.remedy for one in lines if one.verdict == "fault")


def test_another_python_is_asked(tmp_path: Path) -> None:
    variables = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "ESPALIER_WEIGHTS": str(tmp_path)}
    found = examine(sys.executable, (str(ROOT),), variables)
    assert "failed" not in found
    assert Path(found["executable"]).exists()


def test_a_python_that_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot be started" in examine(str(tmp_path / "none"), (str(ROOT),), os.environ)["failed"]
    assert "ended with code" in examine(sys.executable, (str(tmp_path),), os.environ)["failed"]
    monkeypatch.setattr(doctor, "PATIENCE_S", 0.01)
    assert "did not answer" in examine(sys.executable, (str(ROOT),), os.environ)["failed"]
