# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the virtual environments under `.venv/` from their locks, and run commands in them.

    python wheels/environments.py make NAME...         set up what is missing or out of date
    python wheels/environments.py exec NAME ARGS...    set up, then become that environment's Python with ARGS
    python wheels/environments.py list                 print the names whose CPython is on this machine

An environment counts as made once its stamp, a digest of lock and Python, has been written as the last step; anything
else found in its place is removed first, so that an interrupted set-up does no harm.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import libraries
import pythons
import registry
from common import CACHE, ENVIRONMENTS, REQUIREMENTS, alone, fail, run, say
from targets import ENVIRONMENTS as KNOWN


def main() -> int:
    """Do what the command line asks for; see the module's own words."""
    match sys.argv[1:]:
        case ["make", *names] if names:
            for name in names:
                make(name)
        case ["exec", name, *arguments]:
            python = make(name)
            found = libraries.variables(_site_packages(name)) if name.startswith("bpy-") else {}
            os.execve(python, [str(python), *arguments], {**os.environ, **found})
        case ["list"]:
            print(*(name for name, wanted in KNOWN.items() if pythons.find(wanted.python)), sep="\n")
        case _:
            say(__doc__ or "")
            return 2
    return 0


def make(name: str) -> Path:
    """Return the Python of the environment `name`, which is set up first where it is missing or out of date."""
    if name not in KNOWN:
        fail(f"There is no environment {name}.", f"Choose among {', '.join(KNOWN)}.")
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    lock = REQUIREMENTS / f"{name}.txt"
    stamp = folder / "stamp"
    digest = hashlib.sha256(f"{folder}\n{lock.read_text('utf-8')}".encode()).hexdigest()
    if _is_made(stamp, digest, python):
        return python
    with alone(name):
        if _is_made(stamp, digest, python):
            return python
        wanted = KNOWN[name]
        base = pythons.find(wanted.python)
        if base is None:
            fail(
                f"CPython {wanted.python} with its venv module was not found, and {name} needs it.",
                f"Install Python {wanted.python} (on Debian: python{wanted.python} python{wanted.python}-venv).",
            )
        say(f"Setting up {wanted.what}")
        shutil.rmtree(folder, ignore_errors=True)
        created = run([base, "-m", "venv", folder])
        if created.returncode != 0:
            detail = created.stdout + created.stderr
            fail("The virtual environment could not be made.", "Install python3-venv, then try again.", detail)
        _install(python, lock, [link for link in wanted.links if _answers(link)])
        stamp.write_text(digest, "utf-8")
    return python


def _install(python: Path, lock: Path, links: Sequence[str]) -> None:
    """Install a lock: by uv, which takes a fraction of pip's time; by pip where there is no uv or it fails."""
    exactly = ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", lock]
    exactly += [part for link in links for part in ("--find-links", link)]
    if program := registry.uv():
        command = [program, "pip", "install", "-q", "--python", python, "--compile-bytecode"]
        command += ["--cache-dir", CACHE / "uv-cache", *exactly]
        command += [part for folder in registry.folders() for part in ("--find-links", folder)]
        installed = run(command, registry.environment())
        if installed.returncode == 0:
            return
        say(f"Going on with pip, as uv could not install {lock.name}: {installed.stderr.strip()}")
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input"]
    installed = run([*command, *exactly])
    if installed.returncode != 0:
        fail(f"{lock.name} could not be installed.", "Check the network, then try again.", installed.stderr)


def _answers(link: str) -> bool:
    """Tell whether a page can be had: pip would try one that cannot for ten seconds with each package."""
    try:
        with urllib.request.urlopen(link, timeout=20.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        say(f"Going on without {link}, which does not answer.")
        return False


def _is_made(stamp: Path, digest: str, python: Path) -> bool:
    return stamp.exists() and stamp.read_text("utf-8") == digest and python.exists()


def _site_packages(name: str) -> Path:
    return ENVIRONMENTS / name / "lib" / f"python{KNOWN[name].python}" / "site-packages"


if __name__ == "__main__":
    sys.exit(main())
