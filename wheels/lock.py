# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the locks: exact versions, file names and SHA-256 of everything that is installed anywhere.

`requirements/NAME.in` says what is wanted. `requirements/NAME.txt` is the lock of a development environment, for pip;
`bundle.json` lists the wheels that Blender installs from the zips, by platform and CPython, and the manifest's list
follows; `carried.json` lists those that only lie in the zips; `engine/environments/locks/` has the environments that
the extension builds for a person; `NOTICES.md` names the license of each. Locks name no registry: it is asked for where
pip is told to look. What is locked already stays as it is for as long as the requirements allow it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import notices
import profiles
import resolve
from build import write_wheel_list
from common import MANIFEST, REQUIREMENTS, WHEELS, fail, replacing, say
from targets import BUNDLES, ENVIRONMENTS, LACKING, PLATFORM_TAGS, PROFILES, PYTHONS

DEVELOPMENT = ("linux-x64", "macos-arm64")
"""Platforms that an environment can be set up on; the first one decides the versions."""


def main() -> int:
    """Write all locks anew."""
    found = _write_carried()
    for name, environment in ENVIRONMENTS.items():
        say(f"Locking {name}")
        _write_lock(name, environment.python)
    found += _write_bundle()
    found += profiles.write()
    notices.write(found)
    return 0


def _write_carried() -> list[resolve.Wheel]:
    """Lock what the zips carry as plain files, for the platforms that have environments, and return it."""
    everything: list[resolve.Wheel] = []
    carried: dict[str, list[dict[str, str]]] = {}
    for platform in sorted({platform for platforms in PROFILES.values() for platform in platforms}):
        pins = _lines(REQUIREMENTS / "carried.in")
        found = resolve.wheels(PYTHONS[0], platform, PLATFORM_TAGS[platform], pins, closure=False)
        if found is None:
            fail(f"There is no wheel of {' '.join(pins)} for {platform}.", "Change carried.in.")
        carried[platform] = [{"file": wheel.file, "sha256": wheel.sha256} for wheel in found]
        everything += found
    _write_json(WHEELS / "carried.json", carried)
    return everything


def _write_bundle() -> list[resolve.Wheel]:
    """Lock what Blender installs from the zips, list it in the manifest, and return it."""
    everything: list[resolve.Wheel] = []
    bundle: dict[str, dict[str, list[dict[str, str]]]] = {}
    for platform, version in BUNDLES:
        say(f"Locking the wheels for {platform}, CPython {version}")
        requirements = REQUIREMENTS / f"bundle-{version}.in"
        lacking = LACKING.get(platform, ())
        pins = [line for line in _lines(requirements) if line.split("==")[0] not in lacking]
        found = resolve.wheels(version, platform, PLATFORM_TAGS[platform], pins, closure=False)
        if found is None:
            fail(f"There are no wheels for {platform}, CPython {version}.", f"Change {requirements.name}.")
        bundle.setdefault(platform, {})[version] = [
            {"file": wheel.file, "sha256": wheel.sha256} for wheel in sorted(found, key=lambda wheel: wheel.file)
        ]
        everything += found
    _write_json(WHEELS / "bundle.json", bundle)
    files = sorted({item["file"] for versions in bundle.values() for items in versions.values() for item in items})
    text = write_wheel_list(MANIFEST.read_text("utf-8"), sorted(bundle), files)
    with replacing(MANIFEST) as path:
        path.write_text(text, "utf-8")
    return everything


def _write_lock(name: str, version: str) -> None:
    """Lock a development environment; what is locked now stays as long as the requirements allow it."""
    requirements, target = REQUIREMENTS / f"{name}.in", REQUIREMENTS / f"{name}.txt"
    described = ENVIRONMENTS[name]
    before = dict(re.findall(r"(?m)^([a-z0-9-]+)==([^\s+]+)", target.read_text("utf-8"))) if target.exists() else {}
    pins: dict[str, str] = {}
    hashes: dict[str, set[str]] = {}
    for platform in DEVELOPMENT:
        wanted = [f"{package}=={pin}" for package, pin in pins.items()] or [f"-r {requirements}"]
        tags = PLATFORM_TAGS[platform]
        found = resolve.wheels(
            version, platform, tags, wanted, closure=not pins, before=before, without=described.without
        )
        if found is None and not pins:
            fail(f"{requirements.name} cannot be resolved.", "Change it, or look at the words above.")
        for wheel in found or ():
            pins.setdefault(wheel.name, wheel.version)
            hashes.setdefault(wheel.name, set()).add(wheel.sha256)
    for package, (label, digests) in described.builds.items():
        pins[package] += label
        hashes[package] = set(digests)
    lines = [f"# Written by `make lock` from {requirements.name} for CPython {version}; do not edit."]
    for package in sorted(pins):
        digests = " \\\n".join(f"    --hash=sha256:{digest}" for digest in sorted(hashes[package]))
        lines.append(f"{package}=={pins[package]} \\\n{digests}")
    with replacing(target) as path:
        path.write_text("\n".join(lines) + "\n", "utf-8")


def _lines(requirements: Path) -> list[str]:
    """Return the requirements that a file lists, without its comments."""
    lines = (line.strip() for line in requirements.read_text("utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _write_json(target: Path, content: object) -> None:
    with replacing(target) as path:
        path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
