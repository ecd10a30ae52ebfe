# SPDX-License-Identifier: GPL-3.0-or-later
"""Queues that are killed with SIGKILL, at random moments and at every point of every transition.

Afterwards nothing is lost, nothing doubled, nothing half-made is left, and no process lives on.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.engine.queue_harness import ROOT, gone, library
from tests.support.waiting import PATIENCE_S

pytestmark = [pytest.mark.once, pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")]

POINTS = [f"{when} {state}" for state in ("queued", "submitting", "running", "fetching", "ready")
          for when in ("before-commit", "after-commit", "before-act", "after-act")]  # fmt: skip
MADE = POINTS[POINTS.index("before-commit fetching") :]
"""From here on the asset is finished, and is never made again."""
BILLED = [f"{when} {state}" for state in ("submitting", "running", "digest", "remote_id", "fetching", "ready")
          for when in ("before-commit", "after-commit", "before-act", "after-act")]  # fmt: skip
OPEN = BILLED[BILLED.index("after-commit digest") : BILLED.index("before-commit remote_id")]
"""Between the two, nobody but the server knows whether it was asked."""
SERIES = 4
KILLS_IN_A_SERIES = 11


def start(root: Path, count: int = 1, prefix: str = "job", **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "tests/engine/queue_driver.py"), str(ROOT), str(root), prefix, str(count)]
    return subprocess.Popen([*command, json.dumps(options)], stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> bool:
    """Wait for a driver's end; tell whether it got all done, False if it was killed."""
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, -9), process.returncode
    return out.endswith("done\n")


def paid(root: Path) -> Counter[str]:
    """Return how often each image was made."""
    path = root / "paid"
    return Counter(path.read_text().split() if path.exists() else [])


def check(root: Path, images: set[str], end: str = "ready") -> dict[str, list[str]]:
    """Check what must hold after all is done; return the transitions of each image's job."""
    assert gone(str(root))
    connection = sqlite3.connect(root / "ledger.sqlite3")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows = connection.execute("SELECT id, request, state FROM jobs").fetchall()
    names = {job: Path(json.loads(text)["image"]).name for job, text, _ in rows}
    assert Counter(names.values()) == Counter(images)  # each once
    assert {state for _, _, state in rows} == {end}
    moves: dict[str, list[str]] = {image: [] for image in images}
    for job, state in connection.execute("SELECT job, state FROM transitions ORDER BY job, serial"):
        moves[names[job]].append(state)
    connection.close()
    assert library(root) == (set(names) if end in ("ready", "imported") else set())
    for job in library(root):
        result = json.loads((root / "library" / job / "result.json").read_text())
        assert result["engine"] == "scripted"
        assert (root / "library" / job / "asset.glb").stat().st_size > 100
    assert list((root / "owners").iterdir()) == []
    return moves


@pytest.mark.parametrize("seed", range(SERIES))
def test_kills_at_random(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    kills = 0
    batch = 0
    images: set[str] = set()
    while kills < KILLS_IN_A_SERIES:
        batch += 1
        prefix = f"batch{batch}-"
        images |= {f"{prefix}{number}" for number in range(6)}
        while True:
            process = start(tmp_path, 6, prefix)
            assert process.stdout is not None
            process.stdout.readline()
            if kills < KILLS_IN_A_SERIES:
                time.sleep(chance.uniform(0.0, 0.35))
                process.kill()
            if finish(process):
                break
            kills += 1
    moves = check(tmp_path, images)
    made = paid(tmp_path)
    assert set(made) == images
    for image in images:
        assert moves[image].count("ready") == 1
        assert made[image] <= moves[image].count("submitting")


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_every_point(tmp_path: Path, point: str) -> None:
    assert not finish(start(tmp_path, point=point))
    assert finish(start(tmp_path))
    moves = check(tmp_path, {"job0"})["job0"]
    assert moves[-1] == "ready"
    assert moves.count("ready") == 1
    made = paid(tmp_path)["job0"]
    assert made == 1 if point in MADE else 1 <= made <= moves.count("submitting")


def known(root: Path) -> tuple[str, str]:
    """Return the state of the only job, and what the server calls it."""
    connection = sqlite3.connect(root / "ledger.sqlite3")
    (row,) = connection.execute("SELECT state, remote_id FROM jobs").fetchall()
    connection.close()
    return row  # type: ignore[no-any-return]


@pytest.mark.parametrize("point", BILLED)
def test_what_is_billed_is_ordered_once_and_delivered_or_said_to_be_unknown(tmp_path: Path, point: str) -> None:
    order: dict[str, Any] = {"free": False, "script": "orders"}
    assert not finish(start(tmp_path, point=point, **order))
    before = paid(tmp_path)["job0"]
    assert finish(start(tmp_path, **order))
    state, remote_id = known(tmp_path)
    if point in OPEN:
        assert (state, remote_id) == ("unknown", "")
        assert paid(tmp_path)["job0"] == before <= 1
        assert library(tmp_path) == set()
    else:
        assert remote_id == "r-job0"
        assert paid(tmp_path)["job0"] == 1
        check(tmp_path, {"job0"})


def test_what_is_billed_is_ordered_once_however_often_all_is_killed(tmp_path: Path) -> None:
    chance = random.Random(7)
    order: dict[str, Any] = {"free": False, "script": "orders 0.5"}
    images = {f"job{number}" for number in range(6)}
    kills = 0
    while True:
        process = start(tmp_path, 6, **order)
        assert process.stdout is not None
        process.stdout.readline()
        if kills < 8:
            time.sleep(chance.uniform(0.1, 0.6))
            process.kill()
        if finish(process):
            break
        kills += 1
    assert kills >= 3
    connection = sqlite3.connect(tmp_path / "ledger.sqlite3")
    rows = connection.execute("SELECT request, state FROM jobs").fetchall()
    connection.close()
    states = {Path(json.loads(text)["image"]).name: state for text, state in rows}
    assert set(states) == images
    assert set(states.values()) <= {"ready", "unknown"}
    made = paid(tmp_path)
    assert all(made[image] == 1 if state == "ready" else made[image] <= 1 for image, state in states.items())


@pytest.mark.parametrize("then", ["import", "cancel", "fail"])
@pytest.mark.parametrize("when", ["before-commit", "after-commit", "before-act", "after-act"])
def test_a_kill_at_every_other_end(tmp_path: Path, then: str, when: str) -> None:
    end = {"import": "imported", "cancel": "cancelled", "fail": "failed"}[then]
    assert not finish(start(tmp_path, point=f"{when} {end}", then=then))
    process = start(tmp_path, then=then)
    assert finish(process)
    if (then, when) == ("import", "before-commit"):
        end = "ready"  # known to be whole; whether it was placed is for the person to see
    check(tmp_path, {"job0"}, end)


def test_two_blenders_on_one_ledger(tmp_path: Path) -> None:
    first, second = start(tmp_path, 12, "first"), start(tmp_path, 12, "second")
    assert finish(first)
    assert finish(second)
    images = {f"{prefix}{number}" for prefix in ("first", "second") for number in range(12)}
    moves = check(tmp_path, images)
    assert paid(tmp_path) == Counter(images)
    assert all(states == ["queued", "submitting", "running", "fetching", "ready"] for states in moves.values())


def test_one_of_two_blenders_is_killed(tmp_path: Path) -> None:
    chance = random.Random(5)
    images = {f"{prefix}{number}" for prefix in ("first", "second") for number in range(6)}
    first, second = start(tmp_path, 6, "first"), start(tmp_path, 6, "second")
    assert first.stdout is not None
    first.stdout.readline()
    time.sleep(chance.uniform(0.05, 0.3))
    first.kill()
    finish(first)
    assert finish(second)
    assert finish(start(tmp_path, 6, "first"))
    moves = check(tmp_path, images)
    assert all(states.count("ready") == 1 for states in moves.values())
