# SPDX-License-Identifier: GPL-3.0-or-later
"""Make an extension repository: the zips of all platforms and the `index.json` that Blender reads.

    python wheels/repository.py [FOLDER] [--platform PLATFORM|this|all] [--tool PYTHON]

The index is written by Blender's own tool, PYTHON being one that has Blender as a module, and its answer to duplicates
or broken zips is ours.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import environments
from build import build
from common import DIST, fail, run, say
from targets import BUNDLES, this_platform


def main() -> int:
    """Write the repository into the folder on the command line, or into dist/repository."""
    parser = argparse.ArgumentParser(description="Make an extension repository.")
    parser.add_argument("folder", nargs="?", type=Path, default=DIST / "repository")
    parser.add_argument("--platform", default="all")
    parser.add_argument("--tool", type=Path)
    arguments = parser.parse_args()
    platform = this_platform() if arguments.platform == "this" else arguments.platform
    pairs = [(name, version) for name, version in BUNDLES if platform in ("all", name)]
    if not pairs:
        fail(f"There is no zip for {platform}.", f"Choose among {', '.join(sorted({name for name, _ in BUNDLES}))}.")
    folder = arguments.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, version in pairs:
        shutil.copyfile(archive := build(name, version, DIST), folder / archive.name)
    python = arguments.tool or environments.make("bpy-4.5")
    result = run([python, blender_ext(python), "server-generate", "--repo-dir", folder])
    words = result.stdout + result.stderr
    if result.returncode != 0 or "error" in words.lower() or "warn" in words.lower():
        fail("Blender's tool did not accept the zips.", "Look at its words above.", words)
    index = folder / "index.json"
    listing = json.loads(index.read_text("utf-8"))
    listing["data"].sort(key=lambda item: item["archive_url"])
    index.write_text(json.dumps(listing, indent=2) + "\n", "utf-8")
    say(f"Wrote {index}")
    return 0


def blender_ext(python: Path) -> Path:
    """Return Blender's command line tool for extensions inside the environment of `python`."""
    pattern = "lib/python*/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"
    return next(python.parent.parent.glob(pattern))


if __name__ == "__main__":
    sys.exit(main())
