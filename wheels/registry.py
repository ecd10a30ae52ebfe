# SPDX-License-Identifier: GPL-3.0-or-later
"""uv, and what pip is told of the registry in words that uv understands."""

from __future__ import annotations

import functools
import os
import re
import sys
import zipfile
from pathlib import Path

import fetch
from common import CACHE, alone, replacing, run
from targets import this_platform

_VARIABLES = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY"}
"""pip's setting -> the variable by which uv is told the same, unless it is told so already."""


def environment() -> dict[str, str]:
    """Return the environment for uv, in which it knows the default registry, or the person's mirror, and no other."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    told = {variable: _pip_settings()[name] for name, variable in _VARIABLES.items() if name in _pip_settings()}
    return {**told, **kept, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_CONFIG": "1"}


def folders() -> list[Path]:
    """Return the folders with wheels that pip is told to look into."""
    return [path for path in map(Path, _pip_settings().get("find-links", "").split()) if path.is_dir()]


@functools.cache
def uv() -> Path | None:
    """Return the program uv, from the very wheel that the zip for this platform carries; None where there is none."""
    platform = this_platform()
    wheel = next((path for path in fetch.carried(platform) if path.name.startswith("uv-")), None)
    if wheel is None:
        return None
    program = CACHE / wheel.stem / ("uv.exe" if platform.startswith("windows") else "uv")
    with alone("uv"):
        if not os.access(program, os.X_OK):
            with zipfile.ZipFile(wheel) as archive, replacing(program) as path:
                member = next(name for name in archive.namelist() if name.endswith(f".data/scripts/{program.name}"))
                path.write_bytes(archive.read(member))
            program.chmod(0o755)
    return program


@functools.cache
def _pip_settings() -> dict[str, str]:
    """Return pip's settings of this machine by their names; what its environment says wins."""
    listing = run([sys.executable, "-m", "pip", "config", "list"]).stdout
    found = re.findall(r"(?m)^(global|install|:env:)\.([a-z-]+)='(.*)'$", listing)
    order = ("global", "install", ":env:")
    return {key: value.replace(r"\n", " ") for _, key, value in sorted(found, key=lambda each: order.index(each[0]))}
