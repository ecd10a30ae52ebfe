# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender as a module links shared libraries of the desktop that a bare Debian lacks; get them without being root.

The packages, with all that they depend on and the system has not, are downloaded with apt's own lists kept in the
checkout and unpacked there; nothing outside the checkout changes. Commands then run with LD_LIBRARY_PATH.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from common import CACHE, alone, fail, run, say

PACKAGES: Mapping[str, str] = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libGLX.so.0": "libglx0",
    "libICE.so.6": "libice6",
    "libOpenGL.so.0": "libopengl0",
    "libSM.so.6": "libsm6",
    "libX11.so.6": "libx11-6",
    "libXcursor.so.1": "libxcursor1",
    "libXext.so.6": "libxext6",
    "libXfixes.so.3": "libxfixes3",
    "libXi.so.6": "libxi6",
    "libXinerama.so.1": "libxinerama1",
    "libXrandr.so.2": "libxrandr2",
    "libXrender.so.1": "libxrender1",
    "libXt.so.6": "libxt6",
    "libXxf86vm.so.1": "libxxf86vm1",
    "libdecor-0.so.0": "libdecor-0-0",
    "libgomp.so.1": "libgomp1",
    "libwayland-client.so.0": "libwayland-client0",
    "libxkbcommon.so.0": "libxkbcommon0",
}
"""Shared library -> the package of Debian and Ubuntu that holds it."""

FOLDER = CACHE / "libraries"
TREE = FOLDER / "tree"


def variables(site_packages: Path) -> dict[str, str]:
    """Return the environment variables that the `bpy` in `site_packages` needs to load on this machine."""
    if not sys.platform.startswith("linux"):
        return {}
    missing = _missing(site_packages, {})
    if not missing:
        return {}
    with alone("libraries"):
        found = _variables()
        missing = _missing(site_packages, found)
        if missing:
            _fetch(missing)
            found = _variables()
            missing = _missing(site_packages, found)
    if missing:
        _give_up(missing)
    return found


def _variables() -> dict[str, str]:
    folders = sorted({path.parent.as_posix() for path in TREE.glob("**/*.so*")})
    given = os.environ.get("LD_LIBRARY_PATH", "")
    return {"LD_LIBRARY_PATH": os.pathsep.join([*folders, *([given] if given else [])])} if folders else {}


def _missing(site_packages: Path, found: Mapping[str, str]) -> list[str]:
    """Return the shared libraries that the dynamic linker does not find for Blender's module."""
    result = run(["ldd", site_packages / "bpy" / "__init__.so"], {**os.environ, **found})
    return sorted(set(re.findall(r"^\s*(\S+) => not found", result.stdout, re.MULTILINE)))


def _fetch(missing: list[str]) -> None:
    packages = sorted({PACKAGES[library] for library in missing if library in PACKAGES})
    if not packages or not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        _give_up(missing)
    say(f"Fetching shared libraries that Blender needs and this machine lacks ({', '.join(missing)})")
    for part in ("lists/partial", "archives/partial"):
        (FOLDER / part).mkdir(parents=True, exist_ok=True)
    options = {
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "true",
        "Dir::Cache": FOLDER,
        "Dir::Cache::archives": FOLDER / "archives",
        "Dir::State::lists": FOLDER / "lists",
    }
    apt = ["apt-get", "-q", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]
    update = run([*apt, "update"])
    install = run([*apt, "install", "--yes", "--download-only", "--no-install-recommends", *packages])
    if install.returncode != 0:
        _give_up(missing, update.stderr + install.stderr)
    for archive in sorted((FOLDER / "archives").glob("*.deb")):
        unpack = run(["dpkg-deb", "--extract", archive, TREE])
        if unpack.returncode != 0:
            _give_up(missing, unpack.stderr)


def _give_up(missing: list[str], detail: str = "") -> None:
    packages = " ".join(sorted({PACKAGES.get(library, library) for library in missing}))
    fail(
        f"Blender's module needs shared libraries that this machine lacks: {', '.join(missing)}.",
        f"Install these packages with your system's package manager: {packages}.",
        detail,
    )
