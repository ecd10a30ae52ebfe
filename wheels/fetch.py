# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill this folder with the wheels that the zips carry, exactly those of the locks; what is there is not fetched.

`bundle.json` lists those that Blender installs, `carried.json` those that only lie in the zip.

python wheels/fetch.py [PLATFORM ...]
"""

from __future__ import annotations

import json
import sys
import tempfile
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
    lock: list[dict[str, str]] = json.loads((WHEELS / "bundle.json").read_text("utf-8"))[platform][version]
    return [wheel(item["file"], item["sha256"], version) for item in lock]


def carried(platform: str) -> list[Path]:
    """Return the verified wheels that the zips for `platform` carry as plain files, fetched where they are missing."""
    lock: dict[str, list[dict[str, str]]] = json.loads((WHEELS / "carried.json").read_text("utf-8"))
    return [wheel(item["file"], item["sha256"], "3.11") for item in lock.get(platform, ())]


def wheel(file: str, digest: str, version: str) -> Path:
    """Return the verified wheel `file` of the registry, fetched for CPython `version` where it is missing."""
    path = WHEELS / file
    if path.exists() and sha256(path) == digest:
        return path
    say(f"Fetching {file}")
    name, release, *_, tags = file.removesuffix(".whl").split("-")
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(f"{name}=={release} --hash=sha256:{digest}\n", "utf-8")
        command: list[str | Path] = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
        command += ["--no-input", "--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", folder]
        command += ["--implementation", "cp", "--python-version", version, "--abi", f"cp{version.replace('.', '')}"]
        command += [part for tag in tags.split(".") for part in ("--platform", tag)]
        result = run([*command, "-r", requirements])
        fetched = Path(folder) / file
        if result.returncode != 0 or not fetched.exists():
            fail(f"{file} could not be fetched.", "Check the network, then try again.", result.stderr)
        if sha256(fetched) != digest:
            fail(f"{file} is not the file that the lock names.", "Fetch again; if it happens twice, run make lock.")
        fetched.replace(path)
    return path


if __name__ == "__main__":
    sys.exit(main())
