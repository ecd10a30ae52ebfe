# SPDX-License-Identifier: GPL-3.0-or-later
"""What is built for whom: the environments of this project, and the platforms and CPythons that the zips serve."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment: the CPython it needs and what to tell the person while it is made.

    `without` are packages that are left out although others ask for them. `builds` are, by package, another build of
    the locked version than the registry's, which lies behind one of the `links`: its local label, such as `+cpu`, and
    the hashes of its wheels.
    """

    python: str
    what: str
    without: tuple[str, ...] = ()
    builds: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    links: tuple[str, ...] = ()


ENVIRONMENTS = {
    "engine-3.11": Environment("3.11", "the engine with NumPy 1.26 and the development tools (120 MB, once)"),
    "engine-3.13": Environment("3.13", "the engine with NumPy 2 (80 MB, once)"),
    "torch-3.11": Environment(
        "3.11",
        "PyTorch for the processor, to test the CUDA engine (1 GB, once)",
        without=(
            *("cuda-bindings", "cuda-toolkit", "nvidia-cudnn-cu13", "nvidia-cusparselt-cu13", "nvidia-nccl-cu13"),
            *("nvidia-nvshmem-cu13", "torchvision", "triton"),
        ),
        # The build for the processor alone: the registry's wants a gigabyte of CUDA beside it.
        builds={"torch": ("+cpu", ("6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",))},
        links=("https://download.pytorch.org/whl/cpu/torch/",),
    ),
    "server-3.11": Environment("3.11", "the server with its development tools (400 MB, once)"),
    "bpy-4.2": Environment("3.11", "Blender 4.2.23 as a Python module (340 MB, once)"),
    "bpy-4.5": Environment("3.11", "Blender 4.5.15 as a Python module (350 MB, once)"),
    "bpy-5.2": Environment("3.13", "Blender 5.2.3 as a Python module (360 MB, once)"),
}

PLATFORM_TAGS = {
    "linux-x64": (
        *("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
        *("manylinux_2_5_x86_64", "manylinux1_x86_64"),
    ),
    "macos-arm64": ("macosx_12_0_arm64", "macosx_11_0_arm64"),
    "macos-x64": ("macosx_10_14_x86_64", "macosx_10_13_x86_64", "macosx_10_10_x86_64", "macosx_10_9_x86_64"),
    "windows-x64": ("win_amd64",),
}
"""Blender's name of a platform -> the wheel tags that its builds can load, the preferred first."""

BUNDLES = (
    ("linux-x64", "3.11"),
    ("linux-x64", "3.13"),
    ("macos-arm64", "3.11"),
    ("macos-arm64", "3.13"),
    ("macos-x64", "3.11"),
    ("windows-x64", "3.11"),
    ("windows-x64", "3.13"),
)
"""One zip each. Blender's builds with CPython 3.13 no longer exist for Macs with Intel processors."""

LACKING = {"macos-x64": ("fast-simplification", "libigl", "uvunwrap")}
"""Blender's name of a platform -> packages that its zips go without, because libigl is no longer built for it.

Rebuild Mesh is not offered there; everything else is.
"""

PYTHONS = ("3.11", "3.13")
"""The CPythons of the Blenders that are supported."""

OLDEST_BLENDER = {"3.11": "4.2.0", "3.13": "4.3.0"}
"""CPython -> the oldest Blender that its zips are for.

From 4.2.23 and 4.3.2 on Blender is known to choose by the CPython of the wheels. No 4.2 has 3.13, so one that does not
choose is never offered the wrong zip.
"""

PROFILES = {
    "cpu": ("linux-x64", "macos-arm64", "windows-x64"),
    "cuda": ("linux-x64", "windows-x64"),
}
"""Environment that the extension builds for a person -> platforms that it is offered on."""


def this_platform() -> str:
    """Return Blender's name of the platform that this script runs on."""
    system = {"linux": "linux", "darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    return f"{system}-{machine}"
