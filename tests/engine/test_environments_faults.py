# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever happens to an installation: it is told, nothing stays half-made, and Repair brings the environment back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from engine.environments import connection as connections
from engine.environments import folders, platforms
from engine.environments.platforms import this_platform
from engine.environments.stamp import NAME, python_of, read_stamp, write_stamp
from engine.environments.status import Condition, status
from engine.environments.tools import unpack_uv
from engine.environments.verify import records
from engine.environments.wheel import parse_wheel
from engine.errors import EspalierError
from engine.progress import Cancelled
from tests.engine.environment_harness import CLOSED, House
from tests.support.index_server import Fault, serving
from tests.support.tiny_wheels import ROOT, write_lock

pytestmark = pytest.mark.once

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
STAGES = (
    "Checking what is here", "Downloading", "Making the environment", "Installing", "Verifying files",
    "Loading packages", "first rename", "second rename",
)  # fmt: skip
KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from engine.environments import folders
from engine.environments.main import run
from engine.environments.order import Order
from engine.environments.places import Places
from engine.environments.sources import Sources
root, uv, locks, url, when, number = sys.argv[2:]
renames = []
rename = folders._rename
def die():
    os.kill(os.getpid(), int(number))
def renamed(source, target):
    renames.append(source)
    if when == ("first rename", "second rename")[len(renames) - 1]:
        die()
    rename(source, target)
folders._rename = renamed
def report(stage, done, total):
    if stage == when and (stage != "Downloading" or done > total // 2):
        die()
places = Places(Path(root), (Path(uv),), Path(locks))
run(Order("repair" if "rename" in when else "install", "cpu"), places, Sources(url), report, lambda: None)
"""


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PAUSES_S", (0.01, 0.01))
    monkeypatch.setattr("engine.environments.download.PAUSES_S", (0.01, 0.01))


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path, payload=20_000)
    made.lock()
    return made


def failure(house: House, index: str, act: str = "install", **more: object) -> EspalierError:
    """Return how `act` fails; nothing half-made is at work then."""
    with pytest.raises(EspalierError) as caught:
        house.run(act, index, **more)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        *((Fault("/files/rembg", "cut", times=-1, at=part / 5), "offline") for part in range(5)),
        (Fault("/files/", "damaged", times=-1), "wrong_file"),
        (Fault("/files/", "truncated", times=-1), "wrong_file"),
        (Fault("/files/", "portal", times=-1), "portal"),
        (Fault("/simple/", "portal", times=-1), "portal"),
        (Fault("/simple/scipy/", "status", times=-1), "not_offered"),
        (Fault("/simple/", "status", times=-1, status=503), "refused"),
    ],
    ids=lambda value: f"{value.kind} {value.at} of {value.part}" if isinstance(value, Fault) else value,
)  # fmt: skip
def test_faults_of_the_network(house: House, fault: Fault, code: str) -> None:
    with serving(house.offer) as index:
        index.resumable = not (fault.kind == "cut" and fault.at)
        index.faults = [fault]
        assert failure(house, index.url).code == f"environment_{code}"
        assert house.status.condition is Condition.INSTALLABLE
        assert not folders.leftovers(house.places, "cpu")
        index.faults, index.resumable = [], True
        house.run("repair", index.url)
    assert house.ready()


def test_no_network_and_then_one(house: House) -> None:
    assert failure(house, CLOSED).code == "environment_offline"
    with serving(house.offer) as index:
        house.run("install", index.url)
    assert house.ready()


@pytest.mark.parametrize("when", STAGES)
def test_killed_in_the_middle(house: House, when: str) -> None:
    with serving(house.offer) as index:
        if "rename" in when:
            house.run("install", index.url)
            (house.places.environment("cpu") / NAME).write_text("{")
        arguments = (ROOT, house.places.root, house.places.bundled[0], house.places.locks, index.url, when, int(KILL))
        done = subprocess.run(
            [sys.executable, "-c", KILLED, *map(str, arguments)], capture_output=True, text=True, check=False
        )
        assert done.returncode != 0, done
        assert not done.stderr, done.stderr
        files = index.asked_for("/files/")
        found = house.status
        assert found.condition is not Condition.READY
        if when == "Installing":
            assert found.why is not None
            assert found.why.code == "environment_interrupted"
        house.run("repair", index.url)
        if when != "Downloading" and files:
            assert index.asked_for("/files/") == len(house.wheels)
        for path, offset in index.ranges:
            assert offset > 0, path
    assert house.ready()
    assert "as they were installed" in house.run("verify", CLOSED)[0]


def test_cancelled_in_the_middle(house: House) -> None:
    def cancel(stage: str, done: int, total: int) -> None:
        if stage == when:
            raise Cancelled

    with serving(house.offer) as index:
        for when in STAGES[:6]:  # noqa: B007
            with pytest.raises(Cancelled):
                house.run("install", index.url, cancel)
            assert house.status.condition is Condition.INSTALLABLE
            assert not folders.leftovers(house.places, "cpu")
        house.run("install", index.url)
    assert house.ready()


def test_what_is_deleted_or_changed_by_hand_is_seen_and_repaired(house: House) -> None:
    folder = house.places.environment("cpu")
    with serving(house.offer) as index:
        house.run("install", index.url)
    modules = records(folder)["rembg"].parent.parent

    def change(path: Path) -> None:
        # A file of the environment may be one with that of another: it is replaced, as an editor does.
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data + b"#")

    acts = {
        "environment_python_gone": lambda: python_of(folder).unlink(),
        "environment_stamp": lambda: (folder / NAME).write_text('{"packages": []}'),
        "": lambda: shutil.rmtree(folder),
    }
    for code, act in acts.items():
        act()
        found = house.status
        assert (found.condition is Condition.INSTALLABLE) == (not code)
        assert code == (found.why.code if found.why else "")
        if code:
            assert failure(house, CLOSED, "verify").code == code
        house.run("repair", CLOSED)
        assert house.ready()
    for harm in (
        lambda: change(modules / "rembg" / "__init__.py"),
        lambda: (modules / "rembg_data.bin").unlink(),
        lambda: shutil.rmtree(records(folder)["rembg"].parent),
    ):
        harm()
        assert house.status.condition is Condition.READY  # nobody has looked yet
        assert failure(house, CLOSED, "verify").code == "environment_damaged"
        found = house.status
        assert found.condition is Condition.BROKEN
        assert found.why is not None
        assert found.why.code == "environment_damaged"
        assert failure(house, CLOSED, "verify").code == "environment_damaged"
        house.run("repair", CLOSED)
        assert house.ready()
    assert "Nothing is wrong" in house.run("repair", CLOSED)[0]
    shutil.rmtree(folder)
    assert failure(house, CLOSED, "verify").code == "environment_missing"
    house.run("remove", CLOSED)


def test_a_download_that_went_bad_on_the_disk_is_fetched_again(house: House) -> None:
    with serving(house.offer) as index:
        house.run("install", index.url)
        (kept,) = house.places.downloads.rglob(house.wheels["rembg"].name)
        kept.write_bytes(bytes(kept.stat().st_size))
        shutil.rmtree(house.places.environment("cpu"))
        index.asked.clear()
        house.run("install", index.url)
        assert [path for path in index.asked if "files" in path] == [f"/files/rembg/{kept.name}"]
    assert house.ready()


def test_another_python_after_an_upgrade(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = house.places.locks / f"cpu-{platforms.this_python()}-{platforms.this_platform()}.json"
    with serving(house.offer) as index:
        house.run("install", index.url)
    import json

    write_lock(house.places.locks, "cpu", json.loads(packages.read_text())["packages"], "3.99")
    found = status("cpu", house.places, "3.99")
    assert (found.condition, found.python) == (Condition.BROKEN, None)
    assert found.why is not None
    assert found.why.code == "environment_other_python"
    assert found.download_bytes == 0
    # And the other way round: the one that is there was made for the Blender of before.
    folder = house.places.environment("cpu")
    write_stamp(folder, replace(read_stamp(folder, "cpu"), python="3.99", base=str(house.folder / "python3.99")))
    assert house.status.condition is Condition.BROKEN
    house.run("repair", CLOSED)
    assert house.ready()
    write_stamp(folder, replace(read_stamp(folder, "cpu"), base=str(house.folder / "gone")))
    found = house.status
    assert found.why is not None
    assert found.why.code == "environment_python_gone"
    house.run("repair", CLOSED)
    assert house.ready()


def test_a_package_that_does_not_load_is_not_taken_into_use(house: House, tmp_path: Path) -> None:
    from tests.support.tiny_wheels import tiny_wheel

    text = "raise ImportError('libGL.so.1: cannot open shared object file')\n"
    name = "onnxruntime"
    bad = tiny_wheel(tmp_path / "bad", name, modules={f"{name}/__init__.py": text})
    house.lock(wheels={**house.wheels, name: bad})
    good = house.offer.files[name]
    with serving(house.offer) as index:
        house.offer.files[name] = {}
        house.offer.add(name, bad)
        told = failure(house, index.url)
        assert told.code == "environment_imports"
        assert "libGL.so.1" in told.cause
        assert house.status.condition is Condition.INSTALLABLE
        house.offer.files[name] = good
        house.lock()
        house.run("install", index.url)
    assert house.ready()


def test_one_that_is_in_use_is_replaced_the_next_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(house.offer) as index:
        house.run("install", index.url)
        (house.places.environment("cpu") / NAME).write_text("{")

        def refuse(source: Path, target: Path) -> None:
            raise PermissionError(13, "The process cannot access the file")

        with monkeypatch.context() as patch:
            patch.setattr(folders, "_rename", refuse)
            told = failure(house, index.url, "repair")
        assert told.code == "environment_in_use"
        assert house.status.condition is Condition.BROKEN
        asked = len(index.asked)
        made = []
        house.run("repair", CLOSED, lambda *told: made.append(told))
        assert not made  # it had been made already
        assert len(index.asked) == asked
    assert house.ready()


def test_two_at_once(house: House) -> None:
    with serving(house.offer) as index, folders.held(house.places):
        for act in ("install", "verify", "repair", "remove"):
            assert failure(house, index.url, act).code == "environment_busy"
        assert not index.asked
    with serving(house.offer) as index:
        house.run("install", index.url)
    assert house.ready()


def test_a_place_with_any_letters(tmp_path: Path) -> None:
    house = House(tmp_path, name="räum mit 50% #1 & 'so' 部屋 комната")
    with serving(house.offer) as index:
        house.lock()
        house.run("install", index.url)
    assert house.ready()
    assert house.status.python is not None
    subprocess.run([house.status.python, "-I", "-c", "import rembg"], check=True)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """Put a small file system in memory at `folder`; the test is skipped where that is not allowed."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "espalier-test", str(folder)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system in memory can be mounted only by root on Linux")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("when", ["Downloading", "Making the environment", "Installing"])
def test_a_full_disk(house: House, tmp_path: Path, when: str) -> None:
    with mounted(tmp_path / "small", "size=96m") as small, serving(house.offer) as index:
        house.places = replace(house.places, root=small / "root")
        filler = small / "filler"

        def fill(stage: str, done: int, total: int) -> None:
            if stage == when and not filler.exists():
                with filler.open("wb", buffering=0) as file:
                    for size in (1 << 20, 1 << 12, 1):
                        try:
                            while True:
                                file.write(bytes(size))
                        except OSError:
                            continue

        with pytest.raises(EspalierError) as caught:
            house.run("install", index.url, fill)
        assert caught.value.code == "disk_full", (caught.value, caught.value.detail)
        assert house.status.condition is Condition.INSTALLABLE
        filler.unlink()
        house.run("repair", index.url)
        assert house.ready()


def test_too_little_space_is_told_before_anything_is_fetched(house: House, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=50m") as small, serving(house.offer) as index:
        house.places = replace(house.places, root=small / "root")
        told = failure(house, index.url)
        assert told.code == "environment_space"
        assert "MB" in told.cause
        assert not index.asked


def test_a_folder_that_may_not_be_written(house: House, tmp_path: Path) -> None:
    with mounted(tmp_path / "fixed", "size=1m,ro") as fixed, serving(house.offer) as index:
        house.places = replace(house.places, root=fixed / "root")
        told = failure(house, index.url)
        assert told.code == "output_unwritable"
        assert "read-only" in told.cause
        assert house.status.condition is Condition.INSTALLABLE
        assert not index.asked


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else(house: House, tmp_path: Path) -> None:
    place = tmp_path / "theirs"
    place.mkdir(mode=0o555)
    house.places = replace(house.places, root=place / "root")
    assert failure(house, CLOSED).code == "output_unwritable"


def test_a_program_uv_that_is_missing_or_damaged_is_told(house: House, tmp_path: Path) -> None:
    real = house.places
    shutil.rmtree(real.tools)
    house.places = replace(real, bundled=(tmp_path / "none",))
    assert failure(house, CLOSED).code == "environment_tool"
    (tmp_path / "none").mkdir()
    found = ((path, parse_wheel(path.name)) for path in real.bundled[0].glob("uv-*.whl"))
    (wheel,) = (path for path, name in found if name is not None and name.runs_on(this_platform()))
    data = bytearray(wheel.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "none" / wheel.name).write_bytes(data)
    assert failure(house, CLOSED).code == "environment_tool"
    house.places = real
    program = unpack_uv(real)
    program.unlink()
    program.write_bytes(b"something else")
    assert unpack_uv(real).stat().st_size > 10**6
    with serving(house.offer) as index:
        house.run("install", index.url)
    assert house.ready()
