# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the extension's zips, one for each platform and CPython: the same tree gives the same bytes on every machine.

    python wheels/build.py [--platform PLATFORM|this|all] [--python 3.11|3.13|all] [--output FOLDER]

Prints the path of each zip. It carries the wheels that Blender installs, which its manifest lists, and as plain files
those that environments are built with. Wheels are stored, being compressed already; modules and tables are compressed
with bzip2, whose output is the same everywhere, which a deflater's is not. The manifest, which other tools than Blender
look for in the zip, and the license are stored.
"""

from __future__ import annotations

import argparse
import filecmp
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import fetch
from common import DIST, MANIFEST, ROOT, WHEELS, fail, manifest, replacing, say
from targets import BUNDLES, OLDEST_BLENDER, this_platform

FILES = ("LICENSE", "__init__.py", "wheels/NOTICES.md")
PACKAGES = ("engine", "operators", "panels")
SUFFIXES = frozenset({".py", ".json", ".png", ".toml"})
EPOCH = (2000, 1, 1, 0, 0, 0)
COMPRESSED = frozenset({".py", ".json"})
LARGEST = 90_000_000
"""The most bytes that a zip may have, unless it is a bundle for work without a network."""


def main() -> int:
    """Build what the command line asks for and print the paths."""
    parser = argparse.ArgumentParser(description="Build the extension's zips.")
    parser.add_argument("--platform", default="this")
    parser.add_argument("--python", default="all")
    parser.add_argument("--output", type=Path, default=DIST)
    arguments = parser.parse_args()
    platform = this_platform() if arguments.platform == "this" else arguments.platform
    pairs = [
        (name, version)
        for name, version in BUNDLES
        if platform in ("all", name) and arguments.python in ("all", version)
    ]
    if not pairs:
        known = ", ".join(f"{name} with {version}" for name, version in BUNDLES)
        fail(f"There is no zip for {platform} with CPython {arguments.python}.", f"Choose one of: {known}.")
    for name, version in pairs:
        print(build(name, version, arguments.output))
    return 0


def build(platform: str, version: str, output: Path, offline: Sequence[Path] = (), suffix: str = "") -> Path:
    """Write the zip for `platform` and CPython `version` into `output` and return its path.

    `offline` are further wheels to carry as plain files, and `suffix` goes to the end of the zip's name. A zip that is
    there with the same bytes is left alone, its time of change too.
    """
    wheels = fetch.wheels(platform, version)
    name = f"espalier-{manifest()['version']}-{platform.replace('-', '_')}-py{version.replace('.', '')}{suffix}.zip"
    text = write_wheel_list(MANIFEST.read_text("utf-8"), [platform], [path.name for path in wheels])
    text = re.sub(r"(?m)^(blender_version_min = ).*$", rf'\1"{OLDEST_BLENDER[version]}"', text)
    text = text[: text.index("\n[build]\n")]
    members: dict[str, Path | bytes] = {path.relative_to(ROOT).as_posix(): path for path in sources()}
    members[MANIFEST.name] = text.encode()
    members.update({f"{WHEELS.name}/{path.name}": path for path in (*wheels, *fetch.carried(platform), *offline)})
    target = output.resolve() / name
    with replacing(target) as path:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for member in sorted(members):
                _add(archive, member, members[member])
        if path.stat().st_size > LARGEST and not offline:
            size = f"{path.stat().st_size / 1e6:.1f} MB"
            fail(
                f"{name} would have {size}, more than {LARGEST / 1e6:.0f}.", "Leave something out, or lock it smaller."
            )
        if target.exists() and filecmp.cmp(target, path, shallow=False):
            return target
    say(f"Built {target.name} ({target.stat().st_size / 1e6:.0f} MB)")
    return target


def _add(archive: zipfile.ZipFile, member: str, content: Path | bytes) -> None:
    info = zipfile.ZipInfo(member, EPOCH)
    info.create_system = 3
    info.external_attr = 0o100644 << 16
    if isinstance(content, bytes):
        archive.writestr(info, content)
        return
    info.file_size = content.stat().st_size
    info.compress_type = zipfile.ZIP_BZIP2 if content.suffix in COMPRESSED else zipfile.ZIP_STORED
    with content.open("rb") as source, archive.open(info, "w") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def sources() -> Iterator[Path]:
    """Yield the files of the tree that belong in the zip, all but the manifest and the wheels."""
    for name in FILES:
        yield ROOT / name
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            hidden = any(part.startswith((".", "__pycache__")) for part in path.relative_to(ROOT).parts)
            if path.is_file() and path.suffix in SUFFIXES and not hidden:
                yield path


def write_wheel_list(text: str, platforms: Sequence[str], files: Sequence[str]) -> str:
    """Return the manifest `text` with its lists of platforms and of wheels replaced."""
    lists = {"platforms": platforms, "wheels": [f"./{WHEELS.name}/{file}" for file in files]}
    for field, items in lists.items():
        body = "".join(f'  "{item}",\n' for item in items)
        text, count = re.subn(rf"(?ms)^{field} = \[.*?\]$", lambda _, f=field, b=body: f"{f} = [\n{b}]", text)
        if count != 1:
            raise ValueError(f"{MANIFEST.name} must have one list called {field}")
    return text


if __name__ == "__main__":
    sys.exit(main())
