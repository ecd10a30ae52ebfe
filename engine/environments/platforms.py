# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine and this Python are called in the names of locks, and whether a graphics card can be used."""

from __future__ import annotations

import os
import platform as system
import sys
from pathlib import Path

LINUX, WINDOWS, MACOS = "linux-x64", "windows-x64", "macos-arm64"
_MACHINES = {"x86_64": "x64", "amd64": "x64", "arm64": "arm64", "aarch64": "arm64"}
_SYSTEMS = {"linux": "linux", "win32": "windows", "darwin": "macos"}
_LABELS = {"linux": "Linux", "windows": "Windows", "macos": "macOS"}
_PROCESSORS = {"x64": "Intel or AMD processors", "arm64": "ARM processors"}
_DRIVER = {
    "linux": ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg"),
    "win32": (r"{SystemRoot}\System32\nvcuda.dll",),
}


def this_platform() -> str:
    """Return the name of this machine's platform, such as `linux-x64`."""
    machine = system.machine().lower()
    return f"{_SYSTEMS.get(sys.platform, sys.platform)}-{_MACHINES.get(machine, machine)}"


def this_python() -> str:
    """Return the version of this Python as locks name it, such as `3.11`."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def described(platform: str) -> str:
    """Return `platform` as a person calls it."""
    name, _, machine = platform.partition("-")
    return f"{_LABELS.get(name, name)} with {_PROCESSORS.get(machine, machine)}"


def has_gpu_driver() -> bool:
    """Tell whether NVIDIA's driver is on this machine, or ESPALIER_ASSUME_GPU says that it will be."""
    if os.environ.get("ESPALIER_ASSUME_GPU"):
        return True
    folder = os.environ.get("SYSTEMROOT", r"C:\Windows")
    return any(Path(path.format(SystemRoot=folder)).exists() for path in _DRIVER.get(sys.platform, ()))
