# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the tests in every environment whose CPython is on this machine, and say what was skipped and why.

    python tests/support/everything.py

Prints a line for each part at the end, and ends with 1 if any part failed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    "engine-3.11": ("the engine with NumPy 1.26", "tests/engine", "3.11"),
    "engine-3.13": ("the engine with NumPy 2", "tests/engine", "3.13"),
    "bpy-4.2": ("the add-on in Blender 4.2", "tests/blender", "3.11"),
    "bpy-4.5": ("the add-on in Blender 4.5", "tests/blender", "3.11"),
    "bpy-5.2": ("the add-on in Blender 5.2", "tests/blender", "3.13"),
}
NO_TESTS = 5
"""Exit status of pytest when it found nothing to run: a failure here, for each part has tests."""


def main() -> int:
    """Run all parts, one after another: they measure time, and share the machine badly."""
    scripts = [sys.executable, ROOT / "wheels" / "environments.py"]
    listing = subprocess.run([*scripts, "list"], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    here = listing.stdout.split()
    failed, lines = False, []
    for name, (what, folder, version) in PARTS.items():
        if name not in here:
            lines.append(f"SKIPPED  {what}: CPython {version} with its venv module is not on this machine")
            continue
        print(f"== {what}", flush=True)
        start = time.monotonic()
        command = [*scripts, "exec", name, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder, *sys.argv[1:]]
        status = subprocess.run(command, stdin=subprocess.DEVNULL, check=False, cwd=ROOT).returncode
        failed |= status != 0
        word = {0: "passed  ", NO_TESTS: "NO TESTS"}.get(status, "FAILED  ")
        lines.append(f"{word} {what} ({time.monotonic() - start:.0f} s)")
    print("", *lines, sep="\n", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
