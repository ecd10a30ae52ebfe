# SPDX-License-Identifier: GPL-3.0-or-later
"""How a worker is started: which Python, which folders of modules, which environment."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import EspalierError

MODULES = ("numpy", "PIL", "scipy", "pyamg", "igl", "fast_simplification", "uvunwrap", "requests")
"""What the engines of Blender's own Python import beside the standard library."""

# What comes from the standard library first has its compiled form beside it; all else is compiled into a folder that
# is given. The package's folder goes first on the path and the others last, so that nothing there can hide a module of
# the standard library.
_PREPARE = """
import ctypes, dataclasses, difflib, hashlib, importlib, json, pathlib, queue, secrets, shutil, signal, sys, threading
import traceback, typing, urllib.parse
sys.dont_write_bytecode, sys.pycache_prefix = not sys.argv[3], sys.argv[3] or None
sys.path.insert(0, sys.argv[4])
sys.path += [path for path in sys.argv[5:] if path not in sys.path]
"""


def bootstrap(program: str) -> str:
    """Return the script of a child that runs `main` of the module `program`."""
    return f"{_PREPARE}from {program} import main\nmain()\n"


BOOTSTRAP = bootstrap("engine.workers.main")


@dataclass(frozen=True, slots=True)
class Launch:
    """What starts a worker: a Python, folders for its module search path (that of `engine` first), and its environment.

    `env` is added to the environment of this process. `backend` is what the child runs in place of the engine of its
    own name: `module:callable`, where the callable returns a Backend. Tests use it; a request cannot name one.
    `script` is what the child runs to begin with (see `bootstrap`).
    """

    python: str
    paths: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    backend: str = ""
    script: str = BOOTSTRAP

    def command(self, engine: str, bytecode: Path | None = None) -> list[str]:
        """Return the command line of a child for `engine`, which belongs to this process.

        The child is isolated from the person's own Python settings. Its compiled modules go into `bytecode`: never
        beside the code, which may lie in a folder that only an installer should write.
        """
        interpreter = [self.python, "-I", "-u", "-X", "utf8", "-c", self.script]
        return [*interpreter, self.backend or engine, str(os.getpid()), str(bytecode or ""), *self.paths]

    def environment(self, threads: int) -> dict[str, str]:
        """Return the child's environment: this process's, with at most `threads` threads for numerical libraries."""
        variables = dict(os.environ)
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            variables.setdefault(name, str(threads))
        return {**variables, **self.env}


@functools.cache
def current_launch(package_folder: Path | None = None) -> Launch:
    """Return the launch of a worker on this process's own Python and modules.

    `package_folder` holds the package `engine` under that very name; by default, that of this file. The answer is
    kept, so that only the first call looks at the disk.

    Raises EspalierError `python_missing`.
    """
    folder = package_folder or Path(__file__).resolve().parents[2]
    return Launch(find_python(), tuple(dict.fromkeys([str(folder), *_module_folders()])))


def find_python() -> str:
    """Return the Python of this process, or the one in ESPALIER_PYTHON. Raises EspalierError `python_missing`."""
    chosen = os.environ.get("ESPALIER_PYTHON")
    if chosen is not None:
        if not _runs(Path(chosen)):
            raise EspalierError("python_missing", detail=f"ESPALIER_PYTHON={chosen}")
        return chosen
    for candidate in _candidates():
        if _runs(candidate):
            return str(candidate)
    raise EspalierError("python_missing", detail=f"executable {sys.executable}, prefix {sys.prefix}")


def _candidates() -> Iterator[Path]:
    """Yield where the Python of this process may be; in a program that embeds Python, `sys.executable` is not it."""
    suffix = ".exe" if os.name == "nt" else ""
    names = [f"python{sys.version_info.major}.{sys.version_info.minor}", f"python{sys.version_info.major}", "python"]
    if sys.executable:
        own = Path(sys.executable)
        if own.stem.lower() == "pythonw":  # without a console it has no standard output to speak through
            yield own.with_stem("python")
        elif own.name.lower().startswith("python"):
            yield own
    for prefix in dict.fromkeys((sys.prefix, sys.exec_prefix, sys.base_prefix)):
        for folder in (Path(prefix, "bin"), Path(prefix)):
            for name in names:
                yield folder / f"{name}{suffix}"


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _module_folders() -> Iterator[str]:
    """Yield the folders in which MODULES are found, without importing them."""
    for name in MODULES:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            continue
        if spec is not None and spec.origin:
            yield str(Path(spec.origin).parent.parent)
