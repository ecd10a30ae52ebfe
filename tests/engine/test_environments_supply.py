# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages with a source of their own come from there alone, whoever holds their names elsewhere."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from engine.environments.places import LOCKS
from engine.errors import EspalierError
from tests.engine.environment_harness import House
from tests.support.index_server import Offer, serving
from tests.support.tiny_wheels import EXPLICIT, entry, tiny_wheel, write_lock

HIGHER = "99.0"


@pytest.fixture(autouse=True)
def with_a_graphics_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_ASSUME_GPU", "1")


def source_package(name: str, marker: Path) -> tuple[str, bytes]:
    """Return a package in source whose building would write `marker`."""
    folder = f"{name.replace('-', '_')}-{HIGHER}"
    setup = f"open({str(marker)!r}, 'w').write('built')\nfrom setuptools import setup\nsetup(name={name!r})\n"
    files = {
        "setup.py": setup,
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {HIGHER}\n",
        "pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n",
        "backend.py": f"open({str(marker)!r}, 'w').write('built')\n",
    }
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for path, text in files.items():
            item = tarfile.TarInfo(f"{folder}/{path}")
            item.size = len(text)
            archive.addfile(item, io.BytesIO(text.encode()))
    return f"{folder}.tar.gz", stream.getvalue()


def decoys(offer: Offer, folder: Path, marker: Path) -> None:
    """Put a higher version of each package, as a wheel and in source, into `offer`."""
    text = f"open({str(marker)!r}, 'w').write('ran')\n"
    for name in EXPLICIT:
        module = name.replace("-", "_")
        offer.add(name, tiny_wheel(folder, name, HIGHER, {f"{module}/__init__.py": text}))
        file, data = source_package(name, marker)
        offer.files[name][file] = data


@pytest.mark.parametrize("locked", [True, False], ids=["locked", "allowed without a hash"])
def test_a_higher_version_elsewhere_is_never_chosen_contacted_or_built(tmp_path: Path, locked: bool) -> None:
    marker = tmp_path / "marker"
    house = House(tmp_path, "cuda")
    # Something that asks for the packages by name, as upstream's own metadata does.
    wanting = tiny_wheel(tmp_path / "wanting", "wanting", modules={"wanting.py": ""})
    decoys(house.offer, tmp_path / "decoys", marker)
    house.offer.add("wanting", wanting)
    with serving(house.offer) as default, serving(house.own) as own:
        for name in EXPLICIT:
            file, data = source_package(name, marker)
            own.offer.files[name][file] = data
        packages = [entry("wanting", wanting)] + [
            entry(name, path if locked or name not in EXPLICIT else None, f"{own.url}{name}/")
            if name in EXPLICIT
            else entry(name, path)
            for name, path in house.wheels.items()
        ]
        write_lock(house.places.locks, "cuda", packages)
        house.accept()
        house.run("install", default.url, allow_unlocked=not locked)
        for name in EXPLICIT:
            assert not default.asked_for(name), name
            assert own.asked == sorted(set(own.asked), key=own.asked.index)
            assert own.asked_for(f"/files/{name}/") == 1
        assert not own.asked_for(".tar.gz")
        assert not default.asked_for(".tar.gz")
    assert house.ready()
    assert not marker.exists()
    installed = {path.name for path in house.places.environment("cuda").rglob("*.dist-info")}
    assert {f"{name.replace('-', '_')}-1.0.dist-info" for name in EXPLICIT} <= installed
    assert not [name for name in installed if HIGHER in name]


def test_what_its_own_source_does_not_have_is_looked_for_nowhere_else(tmp_path: Path) -> None:
    house = House(tmp_path, "cuda")
    decoys(house.offer, tmp_path / "decoys", tmp_path / "marker")
    with serving(house.offer) as default, serving(Offer()) as own:
        house.lock(own)
        house.accept()
        with pytest.raises(EspalierError) as caught:
            house.run("install", default.url)
        assert caught.value.code == "environment_not_offered"
        assert not [name for name in EXPLICIT if default.asked_for(name)]


def test_a_package_may_name_its_very_file(tmp_path: Path) -> None:
    house = House(tmp_path, "cuda")
    with serving(house.offer) as default, serving(house.own) as own:
        packages = [
            entry(name, path, f"{own.base}/files/{name}/{path.name}" if name in EXPLICIT else "registry")
            for name, path in house.wheels.items()
        ]
        write_lock(house.places.locks, "cuda", packages)
        house.accept()
        house.run("install", default.url)
        assert not own.asked_for("/simple/")
    assert house.ready()


def test_the_locks_that_come_along_give_none_of_them_to_the_registry() -> None:
    from engine.environments.lock import REGISTRY, read_lock

    locks = [read_lock(path) for path in sorted(LOCKS.glob("*.json"))]
    assert {lock.profile for lock in locks} >= {"cpu"}
    for lock in locks:
        for package in lock.packages:
            assert package.name not in EXPLICIT or package.source != REGISTRY, (lock, package)
            assert package.locked or package.why, package
