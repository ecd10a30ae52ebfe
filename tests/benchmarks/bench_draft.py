# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the draft engine takes from image to GLB once it is warm: 1024 x 1024 RGBA, textures of 2048.

`draft_warm_s` is the median of five runs after two that warm it, over the two cut-outs that differ most in outline;
`draft_cpu_s` is the processor time of the same, of all threads together.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.support import extension

PICTURES = ("mushroom.webp", "mug.png")
WARM_UP, ROUNDS = 2, 5
BAR_S = 2.0


def main() -> None:
    """Print the measurements as a line of JSON."""
    extension.enable()
    progress = extension.module("engine.progress")
    request = extension.module("engine.request").GenerationRequest
    backend = extension.module("engine.backends").create("draft")
    wall: dict[str, list[float]] = {name: [] for name in PICTURES}
    processor: dict[str, list[float]] = {name: [] for name in PICTURES}
    for _ in range(WARM_UP + ROUNDS):
        for name in PICTURES:
            job = request.create(extension.ROOT / "tests" / "data" / name, "draft", {"texture_size": "2048"})
            run = progress.Run(backend.stages, lambda told: None)
            with tempfile.TemporaryDirectory() as folder:
                began, began_cpu = time.perf_counter(), time.process_time()
                backend.generate(job, Path(folder), run)
                wall[name].append(time.perf_counter() - began)
                processor[name].append(time.process_time() - began_cpu)
            stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in run.timings.items())
            print(f"{name}: {wall[name][-1]:.2f} s ({stages})", file=sys.stderr)
    backend.close()
    slowest = max(statistics.median(times[WARM_UP:]) for times in wall.values())
    busiest = max(statistics.median(times[WARM_UP:]) for times in processor.values())
    result = {
        "draft_warm_s": {"value": round(slowest, 3), "unit": "s", "bar": BAR_S, "ok": slowest <= BAR_S},
        "draft_cpu_s": {"value": round(busiest, 3), "unit": "s"},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
