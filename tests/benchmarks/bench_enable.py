# SPDX-License-Identifier: GPL-3.0-or-later
"""What the enabled extension adds to Blender's start, and that nothing runs while nobody uses it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

RUNS = 7
BAR_MS = 50.0

# As at Blender's start: it has looked after wheels and compatibility once for all extensions, and then enables each.
PROBE = """
import json, sys, threading, time
import bpy, addon_utils
before = set(sys.modules)
wall, cpu = time.perf_counter(), time.process_time()
assert addon_utils.enable("bl_ext.user_default.espalier", refresh_handled=True) is not None
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
heavy = {"numpy", "PIL", "scipy", "sqlite3", "requests"} & (set(sys.modules) - before)
print(json.dumps({"wall": wall * 1e3, "cpu": cpu * 1e3, "threads": threading.active_count(), "heavy": sorted(heavy)}))
"""


def main() -> None:
    """Print the median of the milliseconds that `enable` takes in a fresh process, whose modules are compiled."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    probes = []
    for _ in range(1 + RUNS):
        command = [sys.executable, "-c", PROBE]
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
        probes.append(json.loads(next(line for line in result.stdout.splitlines() if line.startswith("{"))))
    del probes[0]  # it compiled the modules
    value = statistics.median(probe["wall"] for probe in probes)
    print(f"of which on the processor: {statistics.median(probe['cpu'] for probe in probes):.0f} ms")
    quiet = all(probe["threads"] == 1 and not probe["heavy"] for probe in probes)
    if not quiet:
        print(f"Enabling starts something or imports something heavy: {probes[0]}", file=sys.stderr)
    row = {"value": value, "unit": "ms", "peer": None, "ratio": None, "bar": BAR_MS, "ok": quiet and value <= BAR_MS}
    print(json.dumps({"enable_ms": row}))


if __name__ == "__main__":
    main()
