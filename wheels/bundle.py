# SPDX-License-Identifier: GPL-3.0-or-later
"""Build zips that carry a whole environment, for computers without a network.

    python wheels/bundle.py PROFILE [PLATFORM|this] [--python 3.11|3.13|all] [--output FOLDER]

Prints the path of each zip. The wheels lie in it as plain files beside those that Blender installs; the extension finds
them there before it looks anywhere else. What is not yet locked is refused with the reason.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import explicit
import fetch
import profiles
from build import build
from common import DIST, WHEELS, fail, say, sha256
from targets import PROFILES, PYTHONS, this_platform


def main() -> int:
    """Build what the command line asks for and print the paths."""
    parser = argparse.ArgumentParser(description="Build zips that carry a whole environment.")
    parser.add_argument("profile")
    parser.add_argument("platform", nargs="?", default="this")
    parser.add_argument("--python", default="all")
    parser.add_argument("--output", type=Path, default=DIST)
    arguments = parser.parse_args()
    profile, platform = arguments.profile, arguments.platform
    platform = this_platform() if platform == "this" else platform
    if profile not in PROFILES:
        fail(f"There is no environment {profile}.", f"Choose among {', '.join(PROFILES)}.")
    if platform not in PROFILES[profile]:
        fail(f"There is no {profile} for {platform}.", f"Choose among {', '.join(PROFILES[profile])}.")
    versions = [version for version in PYTHONS if arguments.python in ("all", version)]
    if not versions:
        fail(f"There is no zip for CPython {arguments.python}.", f"Choose among {', '.join(PYTHONS)}.")
    locks = [json.loads(profiles.path(profile, version, platform).read_text("utf-8")) for version in versions]
    for lock in locks:
        refuse_unlocked(lock)
    for lock in locks:
        print(build(platform, lock["python"], arguments.output, wheels(lock), f"-{profile}"))
    return 0


def refuse_unlocked(lock: Mapping[str, Any]) -> None:
    """End with the reason where a package of `lock` is not yet locked: its very file is not known."""
    missing = [item for item in lock["packages"] if item["sha256"] is None]
    if missing:
        detail = "\n".join(f"{item['name']} {item['version']}: {item['why']} ({item['source']})" for item in missing)
        names = ", ".join(item["name"] for item in missing)
        where = f"{lock['profile']} for {lock['platform']} and CPython {lock['python']}"
        fail(
            f"The bundle of {where} cannot be built: not yet locked are {names}.",
            "Run make lock on a machine that reaches these hosts, then try again.",
            detail,
        )


def wheels(lock: Mapping[str, Any]) -> list[Path]:
    """Return the verified wheels of an environment, fetched where they are missing, each from its own source."""
    return [_wheel(item, lock["python"], lock["platform"]) for item in lock["packages"]]


def _wheel(item: Mapping[str, Any], version: str, platform: str) -> Path:
    if item["source"] == "registry":
        return fetch.wheel(item["file"], item["sha256"], version)
    path = WHEELS / item["file"]
    if not path.exists() or sha256(path) != item["sha256"]:
        say(f"Fetching {item['file']}")
        try:
            explicit.download(item, version, platform, path)
        except OSError as error:
            fail(f"{item['file']} could not be fetched.", "Check the network, then try again.", str(error))
    return path


if __name__ == "__main__":
    sys.exit(main())
