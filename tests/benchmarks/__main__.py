# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every benchmark of this folder, print one table and write `out/bench.json`.

    python -m tests.benchmarks [NAME ...]

Each benchmark is a process of its own whose last line of output is an object of measurements:
`{name: {"value", "unit", "peer", "ratio", "bar", "ok"}}`, of which `peer`, `ratio` and `bar` may be missing or null.
Ends with 1 if a benchmark failed or a measurement missed its bar.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.support import extension

FOLDER = Path(__file__).resolve().parent
REPORT = extension.ROOT / "out" / "bench.json"
WITHOUT_BLENDER = {
    **dict.fromkeys(("bench_bake", "bench_remesh", "bench_unwrap"), "engine-3.11"),
    **dict.fromkeys(("bench_fleet", "bench_server"), "server-3.11"),
}
"""Those that run without Blender, and the environment of each; all others run in Blender."""
IN = (sys.executable, str(extension.ROOT / "wheels" / "environments.py"), "exec")
COLUMNS = ("value", "unit", "peer", "ratio", "bar", "ok")


def main(chosen: list[str]) -> int:
    """Run the benchmarks named `chosen`, or all."""
    names = [path.stem for path in sorted(FOLDER.glob("bench_*.py"))]
    names = [name for name in names if not chosen or name.removeprefix("bench_") in chosen or name in chosen]
    if not names:
        print(f"Error: There is no benchmark called {' or '.join(chosen) or 'anything'}.", file=sys.stderr)
        return 2
    extension.prepare("bench")
    found: dict[str, dict[str, Any]] = {}
    failed = []
    for name in names:
        print(f"Measuring {name.removeprefix('bench_')}", file=sys.stderr, flush=True)
        start = time.monotonic()
        python = (*IN, WITHOUT_BLENDER[name]) if name in WITHOUT_BLENDER else (sys.executable,)
        command = [*python, "-m", f"tests.benchmarks.{name}"]
        run = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False, cwd=extension.ROOT
        )
        measurements = parse(run.stdout)
        if run.returncode != 0 or measurements is None:
            failed.append(name)
            print(f"{name} ended with {run.returncode} after {time.monotonic() - start:.0f} s:", file=sys.stderr)
            print(run.stdout[-2000:], file=sys.stderr)
        found.update(measurements or {})
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    print(table(found))
    missed = [name for name, item in found.items() if item.get("ok") is False]
    print(f"\n{len(found)} measurements, {len(missed)} past their bar, {len(failed)} benchmarks failed.")
    print(f"Written to {REPORT.relative_to(extension.ROOT)}")
    return int(bool(missed or failed))


def parse(output: str) -> dict[str, dict[str, Any]] | None:
    """Return the measurements in the last line of `output`, or None where there are none."""
    lines = output.strip().splitlines()
    try:
        data = json.loads(lines[-1])
    except (IndexError, ValueError):
        return None
    return data if isinstance(data, dict) and all(isinstance(item, dict) for item in data.values()) else None


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return the measurements as a table with aligned columns."""
    rows = [("measurement", *COLUMNS)]
    rows += [(name, *(cell(item.get(column)) for column in COLUMNS)) for name, item in found.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def cell(value: object) -> str:
    """Return how `value` is shown in the table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
