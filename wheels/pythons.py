# SPDX-License-Identifier: GPL-3.0-or-later
"""Find a CPython of a given version by running the candidates: a shim on the PATH may exist and still not run."""

from __future__ import annotations

import glob
import os
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from common import run

PROBE = "import sys, ensurepip, venv; print(sys.implementation.name, '%d.%d' % sys.version_info[:2], sys.executable)"


@cache
def find(version: str) -> str | None:
    """Return the executable of a CPython `version` ("3.11") that can make virtual environments, or None."""
    for candidate in _candidates(version):
        if not shutil.which(candidate):
            continue
        try:
            probe = run([candidate, "-I", "-c", PROBE])
        except OSError:
            continue
        words = probe.stdout.split(maxsplit=2)
        if probe.returncode == 0 and words[:2] == ["cpython", version]:
            return words[2].strip()
    return None


def _candidates(version: str) -> Iterator[str]:
    name = f"python{version}"
    yield sys.executable
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield str(Path(folder) / name)
    yield from (f"/usr/bin/{name}", f"/usr/local/bin/{name}")
    home = Path.home()
    pyenv = os.environ.get("PYENV_ROOT", str(home / ".pyenv"))
    uv = os.environ.get("UV_PYTHON_INSTALL_DIR", str(home / ".local/share/uv/python"))
    for pattern in (
        f"{pyenv}/versions/{version}.*/bin/{name}",
        f"{uv}/cpython-{version}.*/bin/{name}",
        f"/opt/*/bin/{name}",
        f"/Library/Frameworks/Python.framework/Versions/{version}/bin/{name}",
        f"/opt/homebrew/bin/{name}",
    ):
        yield from sorted(glob.glob(pattern), reverse=True)
    yield "python3"
