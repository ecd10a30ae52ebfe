# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the locks: exact versions, file names and SHA-256 of every environment and of the wheels in the zips.

`requirements/NAME.in` says what is wanted, `requirements/NAME.txt` is its lock for pip, `bundle.json` lists the bundled
wheels by platform and CPython, and the manifest's list of wheels follows. Locks name no registry: pip knows its own.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import pythons
from build import write_wheel_list
from common import MANIFEST, REQUIREMENTS, WHEELS, fail, replacing, run, say
from targets import BUNDLES, ENVIRONMENTS, LACKING, PLATFORM_TAGS

DEVELOPMENT = ("linux-x64", "macos-arm64")
"""Platforms that an environment can be set up on; the first one decides the versions."""


def main() -> int:
    """Write all locks anew."""
    for name, environment in ENVIRONMENTS.items():
        say(f"Locking {name}")
        _write_lock(name, environment.python)
    bundle: dict[str, dict[str, list[dict[str, str]]]] = {}
    for platform, version in BUNDLES:
        say(f"Locking the wheels for {platform}, CPython {version}")
        requirements = REQUIREMENTS / f"bundle-{version}.in"
        found = _resolve(version, platform, ["--no-deps", *_bundled(requirements, platform)])
        if found is None:
            fail(f"There are no wheels for {platform}, CPython {version}.", f"Change {requirements.name}.")
        bundle.setdefault(platform, {})[version] = [
            {"file": item["file"], "sha256": item["sha256"]} for item in sorted(found, key=lambda item: item["file"])
        ]
    with replacing(WHEELS / "bundle.json") as path:
        path.write_text(json.dumps(bundle, indent=2) + "\n", "utf-8")
    files = sorted({item["file"] for versions in bundle.values() for items in versions.values() for item in items})
    text = write_wheel_list(MANIFEST.read_text("utf-8"), sorted(bundle), files)
    with replacing(MANIFEST) as path:
        path.write_text(text, "utf-8")
    return 0


def _bundled(requirements: Path, platform: str) -> list[str]:
    """Return the lines of `requirements` that the zips for `platform` carry."""
    lines = [line.strip() for line in requirements.read_text("utf-8").splitlines()]
    lacking = LACKING.get(platform, ())
    return [line for line in lines if line and not line.startswith("#") and line.split("==")[0] not in lacking]


def _write_lock(name: str, version: str) -> None:
    requirements = REQUIREMENTS / f"{name}.in"
    pins: dict[str, str] = {}
    hashes: dict[str, set[str]] = {}
    for platform in DEVELOPMENT:
        wanted: list[str | Path] = ["-r", requirements]
        if pins:
            wanted = ["--no-deps", *(f"{package}=={pin}" for package, pin in pins.items())]
        found = _resolve(version, platform, wanted)
        if found is None and not pins:
            fail(f"{requirements.name} cannot be resolved.", "Change it, or look at pip's words above.")
        for item in found or ():
            pins.setdefault(item["name"], item["version"])
            hashes.setdefault(item["name"], set()).add(item["sha256"])
    lines = [f"# Written by `make lock` from {requirements.name} for CPython {version}; do not edit."]
    for package in sorted(pins):
        digests = " \\\n".join(f"    --hash=sha256:{digest}" for digest in sorted(hashes[package]))
        lines.append(f"{package}=={pins[package]} \\\n{digests}")
    with replacing(REQUIREMENTS / f"{name}.txt") as path:
        path.write_text("\n".join(lines) + "\n", "utf-8")


def _resolve(version: str, platform: str, wanted: list[str | Path]) -> list[dict[str, str]] | None:
    """Return name, version, file and SHA-256 of the wheels that pip would install, or None where it finds none."""
    python = pythons.find(version)
    if python is None:
        fail(f"CPython {version} is not on this machine.", "Install it; locks are made with the Python they are for.")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        tags = [part for tag in PLATFORM_TAGS[platform] for part in ("--platform", tag)]
        command: list[str | Path] = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input"]
        command += ["--dry-run", "--ignore-installed", "--only-binary=:all:", "--target", folder, "--report", report]
        result = run([*command, "--implementation", "cp", "--python-version", version, *tags, *wanted])
        if result.returncode != 0:
            say(result.stderr.strip())
            return None
        installs: list[dict[str, Any]] = json.loads(report.read_text("utf-8"))["install"]
    return [
        {
            "name": re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(),
            "version": item["metadata"]["version"],
            "file": item["download_info"]["url"].rsplit("/", 1)[-1],
            "sha256": item["download_info"]["archive_info"]["hash"].removeprefix("sha256="),
        }
        for item in installs
    ]


if __name__ == "__main__":
    sys.exit(main())
