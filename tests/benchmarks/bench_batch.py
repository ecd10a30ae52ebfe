# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a batch's time goes by outside the engine, and whether its memory and its disk stay flat.

Cut-outs of the project's own, each turned a little so that none is like another, with settings of a blockout;
`ESPALIER_BENCH_COUNT` says how many, 60 if nothing does. `batch_outside_share` is the part of the time of all workers,
from a worker's first job to its last, in which it had none: from the line that says that one is made to the line that
gives it the next. `batch_growth_mb` is by how much the
memory of Blender and its workers was larger in the last third of the time than in the second; `batch_kept_mb` is what
the library kept of the assets.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.support import extension

COUNT = int(os.environ.get("ESPALIER_BENCH_COUNT", "60"))
PICTURES = ("mushroom.webp", "mug.png", "rocket.png")
SETTINGS = ("--resolution", "1024", "--texture_size", "1024")
OUTSIDE_BAR = 0.05
GROWTH_BAR_MB = 64.0
KEPT_BAR_MB = 1.0
SAMPLE_S = 0.5


def make_pictures(folder: Path) -> None:
    """Write the images into `folder`."""
    from PIL import Image  # one of the extension's own wheels

    folder.mkdir()
    sources = []
    for name in PICTURES:
        image = Image.open(extension.ROOT / "tests" / "data" / name).convert("RGBA")
        image.thumbnail((768, 768))
        sources.append(image)
    for number in range(COUNT):
        turned = sources[number % len(sources)].rotate(number * 0.7, Image.Resampling.BICUBIC, expand=True)
        turned.save(folder / f"{number:05}.png", compress_level=1)


def resident_mb() -> float:
    """Return the memory of this process and of those that it started, in megabytes."""
    page = os.sysconf("SC_PAGE_SIZE")
    parents: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            sizes[int(folder.name)] = int((folder / "statm").read_text().split()[1]) * page
        except OSError:
            continue
    mine = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return sum(sizes[pid] for pid in mine if pid in sizes) / 1e6


def watch(stop: threading.Event, samples: list[float]) -> None:
    """Note the memory every half second until told to stop."""
    while not stop.wait(SAMPLE_S):
        samples.append(resident_mb())


class Clock:
    """Notes how long each worker has a job, and how long it has none. `begin` puts it between queue and workers."""

    def __init__(self) -> None:
        self.busy: list[float] = []
        self.idle: list[float] = []
        self._given: dict[str, tuple[float, int]] = {}
        self._free: dict[int, float] = {}

    def begin(self) -> None:
        """Listen to what is said to workers, and to what they say, in the threads that read it."""
        process, link = extension.module("engine.workers.process"), extension.module("engine.workers.link")
        run, decode = process.Worker.run, link.decode
        result = extension.module("engine.workers.messages").Result

        def given(worker: Any, job: str, *rest: Any) -> None:
            now = time.monotonic()
            if id(worker) in self._free:
                self.idle.append(now - self._free.pop(id(worker)))
            self._given[job] = now, id(worker)
            run(worker, job, *rest)

        def heard(*arguments: Any) -> Any:
            message = decode(*arguments)
            if isinstance(message, result) and message.job in self._given:
                now = time.monotonic()
                began, worker = self._given.pop(message.job)
                self.busy.append(now - began)
                self._free[worker] = now
            return message

        process.Worker.run, link.decode = given, heard


def told(arguments: list[str]) -> tuple[int, list[dict[str, Any]]]:
    """Run the command; return its exit code and its events."""
    events: list[dict[str, Any]] = []
    reading, writing = os.pipe()
    kept = os.dup(1)
    sys.stdout.flush()
    os.dup2(writing, 1)
    os.close(writing)

    def listen() -> None:
        with open(reading, encoding="utf-8") as stream:
            events.extend(json.loads(line) for line in stream)

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        code = extension.module("operators.command").main(arguments)
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        listener.join()
    return code, events


def main() -> None:
    """Measure, and print the measurements as the last line."""
    extension.enable()
    library = extension.module("operators.session").user_folder() / "library"
    before = size_mb(library)
    clock = Clock()
    clock.begin()
    samples: list[float] = []
    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(stop, samples))
    with tempfile.TemporaryDirectory(prefix="espalier batch ") as folder:
        make_pictures(Path(folder) / "images")
        watcher.start()
        began = time.monotonic()
        code, events = told(["batch", f"{folder}/images", "-o", f"{folder}/out", "--json", *SETTINGS])
        wall = time.monotonic() - began
        stop.set()
        watcher.join()
        glbs = len(list((Path(folder) / "out").glob("*.glb")))
    ready = [event for event in events if event["event"] == "ready"]
    if code != 0 or len(ready) != COUNT or glbs != COUNT:
        raise SystemExit(f"exit code {code}, {len(ready)} ready and {glbs} files of {COUNT}: {events[-1:]}")
    workers = len(os.sched_getaffinity(0))
    if len(clock.busy) != COUNT or len(clock.idle) < COUNT - workers:
        raise SystemExit(f"{len(clock.busy)} jobs and {len(clock.idle)} pauses were seen of {COUNT}")
    outside = sum(clock.idle) / (sum(clock.idle) + sum(clock.busy))
    third = len(samples) // 3
    growth = statistics.median(samples[-third:]) - statistics.median(samples[third : 2 * third])
    kept = size_mb(library) - before
    load = os.getloadavg()[0]
    print(
        f"pauses of {1000 * statistics.median(clock.idle):.1f} ms, jobs of {statistics.median(clock.busy):.2f} s",
        file=sys.stderr,
    )
    print(
        f"{COUNT} images in {wall:.1f} s with {workers} workers, {60 * COUNT / wall:.0f} a minute, "
        f"{max(samples):.0f} MB at most, load {load:.1f}",
        file=sys.stderr,
    )
    measured = {
        "batch_outside_share": (outside, "of time", OUTSIDE_BAR),
        "batch_growth_mb": (growth, "MB", GROWTH_BAR_MB),
        "batch_kept_mb": (kept, "MB", KEPT_BAR_MB),
        "batch_images_per_minute": (60 * COUNT / wall, "1/min", None),
        "batch_peak_mb": (max(samples), "MB", None),
    }
    result = {
        name: {"value": round(value, 4), "unit": unit, "bar": bar, "ok": bar is None or value <= bar}
        for name, (value, unit, bar) in measured.items()
    }
    print(json.dumps(result))


def size_mb(folder: Path) -> float:
    """Return the size of all files below `folder` in megabytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
