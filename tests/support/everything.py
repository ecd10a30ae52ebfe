# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the tests in every environment whose CPython is on this machine, and say what was skipped and why.

    python tests/support/everything.py [--summary FILE] [--once] [pytest arguments]

Ends with what each part came to, pytest's own closing lines, which also go into FILE, and with 1 if any part failed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    "engine-3.11": ("the engine with NumPy 1.26", "tests/engine", "3.11"),
    "engine-3.13": ("the engine with NumPy 2", "tests/engine", "3.13"),
    "torch-3.11": (
        "the CUDA engine on the processor",
        "tests/engine/test_trellis2_*.py tests/engine/test_kernels_*.py",
        "3.11",
    ),
    "bpy-4.2": ("the add-on in Blender 4.2", "tests/blender", "3.11"),
    "bpy-4.5": ("the add-on in Blender 4.5", "tests/blender", "3.11"),
    "bpy-5.2": ("the add-on in Blender 5.2", "tests/blender", "3.13"),
    "server-3.11": ("the server", "tests/server", "3.11"),
}
AGAIN = {"engine-3.13": "engine-3.11", "bpy-4.2": "bpy-4.5", "bpy-5.2": "bpy-4.5"}
"""Part -> the part that runs what is marked `once`, where its CPython is on this machine too; for `--once`."""
NOT_AGAIN = ("-m", "not registry and not once")
CLOSING = re.compile(r"^(=+ )?.*\b(passed|failed|error|errors|no tests ran|deselected)\b.* in [\d.]+s.*$")
ENVIRONMENTS = (sys.executable, str(ROOT / "wheels" / "environments.py"))


def main() -> int:
    """Run all parts, one after another: some measure time, and would share the machine badly."""
    parser = argparse.ArgumentParser(description="Run the tests in every environment of this machine.")
    parser.add_argument("--summary", type=Path, help="also write the closing lines to this file")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help="run these parts; by default, all")
    parser.add_argument("--once", action="store_true", help="test in one environment what is marked so")
    options, arguments = parser.parse_known_args()
    listing = subprocess.run([*ENVIRONMENTS, "list"], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    here = listing.stdout.split()
    failed, lines = False, []
    for name, (what, places, version) in PARTS.items():
        if options.only and name not in options.only:
            continue
        if name not in here:
            lines.append(f"SKIPPED {what}: CPython {version} with its venv module is not on this machine")
            continue
        print(f"=== {what}", flush=True)
        fewer = options.once and AGAIN.get(name) in here
        if fewer:
            lines.append(f"LEFT OUT of {what}: what is marked `once`, which {AGAIN[name]} runs")
        status, closing = run(name, [*found(places), *(NOT_AGAIN if fewer else ()), *arguments])
        failed |= status != 0
        lines += [f"{what}:", closing]
    text = "\n".join(lines)
    print(f"\n{text}", flush=True)
    if options.summary:
        options.summary.write_text(f"{text}\n", "utf-8")
    return int(failed)


def found(places: str) -> list[str]:
    """Return the folders, and the files that fit the patterns, among `places`, which blanks divide."""
    every = [[place] if "*" not in place else sorted(map(str, ROOT.glob(place))) for place in places.split()]
    return [place for some in every for place in some]


def run(environment: str, arguments: list[str]) -> tuple[int, str]:
    """Run pytest, pass its output on as it comes, and return its exit status and its closing line."""
    command = [*ENVIRONMENTS, "exec", environment, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    closing = ""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace", cwd=ROOT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if CLOSING.match(line):
                closing = line.rstrip()
    return process.returncode, closing or f"pytest ended with {process.returncode} and no closing line"


if __name__ == "__main__":
    sys.exit(main())
