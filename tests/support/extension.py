# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the extension from its zip into a user folder and enable it in `bpy`, as Blender itself does."""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
MODULE = "bl_ext.user_default.espalier"
USERS = ROOT / ".cache" / "users"


def build_zip(output: Path = ROOT / "dist") -> Path:
    """Return the zip of this tree for this platform and this CPython, built anew where something changed."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [sys.executable, ROOT / "wheels" / "build.py", "--python", version, "--output", output]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    if result.returncode != 0:
        raise SystemExit(result.returncode)
    return Path(result.stdout.strip())


def install(user_resources: Path, archive: Path) -> Path:
    """Unzip `archive` into the user folder and return where; one that is installed already is left alone."""
    folder = user_resources / "extensions" / "user_default"
    target, stamp = folder / "espalier", folder / ".espalier-zip"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if target.is_dir() and stamp.is_file() and stamp.read_text("utf-8") == digest:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unzip-") as temporary:
        with zipfile.ZipFile(archive) as file:
            file.extractall(temporary)
        Path(temporary).chmod(0o755)
        Path(temporary).rename(target)
        Path(temporary).mkdir()
    stamp.write_text(digest, "utf-8")
    return target


def temporary_user() -> Path:
    """Return an empty user folder that is removed when this process ends; those of killed processes go now."""
    USERS.mkdir(parents=True, exist_ok=True)
    for folder in USERS.glob("pid-*"):
        if not Path("/proc", folder.name.split("-")[1]).exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=USERS, prefix=f"pid-{os.getpid()}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def use(user_resources: Path) -> None:
    """Make `user_resources` this process's user folder; it only counts before the first `import bpy`."""
    if "bpy" in sys.modules:
        raise RuntimeError("bpy has been imported already, with another user folder")
    user_resources.mkdir(parents=True, exist_ok=True)
    os.environ["BLENDER_USER_RESOURCES"] = str(user_resources)


def enable() -> str:
    """Enable the installed extension, for which Blender unpacks its wheels, and return the name of its module.

    Raises what the extension raises on import or in `register`, or ImportError where Blender refuses it.
    """
    import bpy  # noqa: I001  (it puts Blender's own modules on the path)
    import addon_utils

    leave_early(bpy.app.version)
    failures: list[BaseException] = []
    if addon_utils.enable(MODULE, default_set=True, handle_error=failures.append) is None:
        raise failures[0] if failures else ImportError(f"Blender refused to enable {MODULE}")
    return MODULE


@cache
def leave_early(version: tuple[int, int, int]) -> None:
    """End the process before the destructors of bpy 4.2, which call a Python that is gone when add-ons have panels.

    Handlers of exit run last in, first out: output is flushed, then the process ends with the status it was given.
    """
    if version >= (4, 5) or not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    libc.on_exit(libc._exit, None)
    libc.__cxa_atexit(libc.fflush, None, None)


def disable() -> None:
    """Disable the extension again."""
    import addon_utils

    addon_utils.disable(MODULE, default_set=True)


def module(name: str = "") -> ModuleType:
    """Return a module of the enabled extension: `module("engine.errors")`, or the extension itself."""
    return importlib.import_module(f"{MODULE}.{name}" if name else MODULE)


def prepare(purpose: str) -> Path:
    """Build, install and choose the user folder for `purpose`, one for each CPython; call it before `import bpy`."""
    user_resources = USERS / f"{purpose}-{sys.version_info.major}.{sys.version_info.minor}"
    install(user_resources, build_zip())
    use(user_resources)
    return user_resources


def pump(until: Callable[[], object]) -> None:
    """Call the timer of the jobs as Blender would, until `until()` holds."""
    session = module("operators.session")
    end = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < end, [(job.state, job.error) for job in session.known_jobs()]
        time.sleep(min(session._tick() or 0.01, 0.02))
