# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill this folder with the wheels that the zips carry, exactly those of the locks; what is there is not fetched.

`bundle.json` lists those that Blender installs, `carried.json` those that only lie in the zip.

python wheels/fetch.py [PLATFORM ...]
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from common import CACHE, WHEELS, fail, run, say, sha256
from targets import BUNDLES


def main() -> int:
    """Fetch for the platforms on the command line, or for all."""
    chosen = sys.argv[1:]
    known = {platform for platform, _ in BUNDLES}
    for platform in chosen:
        if platform not in known:
            fail(f"There is no platform {platform}.", f"Choose among {', '.join(sorted(known))}.")
    for platform, version in BUNDLES:
        if not chosen or platform in chosen:
            wheels(platform, version)
            carried(platform)
    return 0


def wheels(platform: str, version: str) -> list[Path]:
    """Return the verified wheels for `platform` and CPython `version`, fetched where they are missing."""
    lock: dict[str, dict[str, list[dict[str, str]]]] = json.loads((WHEELS / "bundle.json").read_text("utf-8"))
    return _verified(lock[platform][version], version)


def carried(platform: str) -> list[Path]:
    """Return the verified wheels that the zips for `platform` carry as plain files, fetched where they are missing."""
    lock: dict[str, list[dict[str, str]]] = json.loads((WHEELS / "carried.json").read_text("utf-8"))
    return _verified(lock.get(platform, ()), "3.11")


def wheel(file: str, digest: str, version: str) -> Path:
    """Return the verified wheel `file` of the registry, fetched for CPython `version` where it is missing."""
    return _verified([{"file": file, "sha256": digest}], version)[0]


def _verified(lock: Sequence[Mapping[str, str]], version: str) -> list[Path]:
    """Return the wheels of a lock; those that are missing are fetched together, as pip takes its time to start."""
    missing = [item for item in lock if not _is_here(item)]
    if missing:
        _fetch(missing, version)
    return [WHEELS / item["file"] for item in lock]


def _is_here(item: Mapping[str, str]) -> bool:
    path = WHEELS / item["file"]
    return path.exists() and sha256(path) == item["sha256"]


def _fetch(items: Sequence[Mapping[str, str]], version: str) -> None:
    """Fetch wheels for CPython `version` from the registry."""
    requirements, tags = [], set()
    for item in items:
        say(f"Fetching {item['file']}")
        name, release, *_, platforms = item["file"].removesuffix(".whl").split("-")
        requirements.append(f"{name}=={release} --hash=sha256:{item['sha256']}")
        tags.update(platforms.split("."))
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text("\n".join(requirements) + "\n", "utf-8")
        command: list[str | Path] = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
        command += ["--no-input", "--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", folder]
        command += ["--implementation", "cp", "--python-version", version, "--abi", f"cp{version.replace('.', '')}"]
        command += [part for tag in sorted(tags) for part in ("--platform", tag)]
        result = run([*command, "-r", wanted])
        for item in items:
            fetched = Path(folder) / item["file"]
            if result.returncode != 0 or not fetched.exists():
                fail(f"{fetched.name} could not be fetched.", "Check the network, then try again.", result.stderr)
            if sha256(fetched) != item["sha256"]:
                remedy = "Fetch again; if it happens twice, run make lock."
                fail(f"{fetched.name} is not the file that the lock names.", remedy)
            fetched.replace(WHEELS / item["file"])


if __name__ == "__main__":
    sys.exit(main())
