# SPDX-License-Identifier: GPL-3.0-or-later
"""The locks of the environments that the extension builds for a person: one for each profile, CPython and platform.

Most packages come from the default registry. Those of `EXPLICIT` come from one page or file each and from nowhere
else: their names on the registry are free for strangers, so it is not even asked for them. Where a page cannot be
reached, what was locked before stays, or the package is written down as not yet locked, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import explicit
import resolve
from common import LOCKS, REQUIREMENTS, fail, replacing, say
from explicit import Source
from targets import PROFILES, PYTHONS

_EXTENSIONS = "https://pozzettiandrea.github.io/cuda-wheels/cu128/torch2.9/"
_TORCH = "https://download.pytorch.org/whl/cu128/"
_PYTORCH = "https://pytorch.org/"
_TRELLIS2 = "https://github.com/microsoft/TRELLIS.2"
_COMMIT = "5565d240c4a494caaf9ece7a554542b76ffa36d3"

_JIANFENG = "https://github.com/JeffreyXiang"

EXPLICIT: Mapping[str, tuple[Source, ...]] = {
    "cpu": (),
    "cuda": (
        Source("cumesh", "0.0.1+cu128torch2.9", f"{_EXTENSIONS}cumesh/", "MIT", f"{_JIANFENG}/CuMesh"),
        Source("flex-gemm", "1.0.0+cu128torch2.9", f"{_EXTENSIONS}flex-gemm/", "MIT", f"{_JIANFENG}/FlexGEMM"),
        Source(
            "nvdiffrast",
            "0.4.0+cu128torch2.9",
            f"{_EXTENSIONS}nvdiffrast/",
            "NVIDIA Source Code License, research or evaluation purposes only",
            "https://github.com/NVlabs/nvdiffrast",
        ),
        Source("o-voxel", "0.0.1+cu128torch2.9", f"{_EXTENSIONS}o-voxel/", "MIT", _TRELLIS2),
        Source("trellis2", f"0+{_COMMIT[:12]}", f"{_TRELLIS2}/archive/{_COMMIT}.zip", "MIT", _TRELLIS2),
        Source("torch", "2.9.1+cu128", f"{_TORCH}torch/", "BSD-3-Clause", _PYTORCH, ("windows-x64",)),
        Source("torchvision", "0.24.1+cu128", f"{_TORCH}torchvision/", "BSD-3-Clause", _PYTORCH, ("windows-x64",)),
    ),
}
"""Profile -> what it takes from elsewhere. The registry's own PyTorch for Windows is built without CUDA."""

TAGS = {
    "linux-x64": (
        *(f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)),
        *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"),
    ),
    "macos-arm64": ("macosx_13_0_arm64",),
    "windows-x64": ("win_amd64",),
}
"""Blender's name of a platform -> the wheel tags that an environment there can load, the preferred first."""


def path(profile: str, version: str, platform: str) -> Path:
    """Return where the lock of a profile lies."""
    return LOCKS / f"{profile}-{version}-{platform}.json"


def write() -> list[resolve.Wheel]:
    """Write all locks anew and return the wheels of the registry that are in them."""
    everything: list[resolve.Wheel] = []
    for profile, platforms in PROFILES.items():
        for platform in platforms:
            for version in PYTHONS:
                say(f"Locking the environment {profile} for {platform}, CPython {version}")
                target = path(profile, version, platform)
                before = json.loads(target.read_text("utf-8")) if target.exists() else {}
                requirements = (REQUIREMENTS / f"{profile}.in").read_text("utf-8").splitlines()
                lock, wheels = make(profile, version, platform, _absolute(requirements), EXPLICIT[profile], before)
                with replacing(target) as file:
                    file.write_text(json.dumps(lock, indent=2) + "\n", "utf-8")
                everything += wheels
    return everything


def make(
    profile: str,
    version: str,
    platform: str,
    requirements: Sequence[str],
    sources: Sequence[Source],
    before: Mapping[str, Any],
) -> tuple[dict[str, Any], list[resolve.Wheel]]:
    """Return the lock of one profile for CPython `version` on `platform`, and its wheels of the registry.

    `before` is the lock that it follows, empty where there is none yet.

    `sources` without platforms never reach the registry in any way; those for some platforms are resolved there, for
    what they need, and then taken from their own source on these.
    """
    old = {item["name"]: item for item in before.get("packages", ())}
    own = {source.name: source for source in sources if not source.platforms or platform in source.platforms}
    hidden = [source.name for source in sources if not source.platforms]
    kept = {name: item["version"] for name, item in old.items() if item["source"] == "registry" and name not in own}
    kept |= {name: source.version.partition("+")[0] for name, source in own.items() if name not in hidden}
    found = resolve.wheels(version, platform, TAGS[platform], requirements, before=kept, without=hidden)
    if found is None:
        fail(f"{profile}.in cannot be resolved for {platform}, CPython {version}.", "Change it, or look above.")
    packages: list[dict[str, Any]] = [
        {
            "name": wheel.name,
            "version": wheel.version,
            "source": "registry",
            "file": wheel.file,
            "sha256": wheel.sha256,
            "size": wheel.size if wheel.size is not None else explicit.size(wheel.url),
        }
        for wheel in found
        if wheel.name not in own
    ]
    packages += [explicit.entry(source, version, platform, old.get(source.name)) for source in own.values()]
    packages.sort(key=lambda item: str(item["name"]))
    return {"profile": profile, "python": version, "platform": platform, "packages": packages}, found


def _absolute(lines: Sequence[str]) -> list[str]:
    """Return requirement lines with the files that they include named whole."""
    return [f"-r {REQUIREMENTS / line[3:].strip()}" if line.startswith("-r ") else line for line in lines]
