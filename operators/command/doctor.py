# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender -b -c espalier doctor`: whether the CUDA engine can generate on this machine, and if not, what to do."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TextIO

from ...engine.backends.trellis2.doctor import Finding, examine, is_package_lacking, judge
from ...engine.environments.profiles import CUDA
from ...engine.errors import FAILURE
from .. import environments, trellis2
from .report import private_stdout

COLUMNS = 110
_MARKS = {"ok": "ok", "note": "note", "fault": "FAULT"}


def add_command(commands: Any, epilog: str) -> Any:
    """Add `doctor` to the sub-commands of a parser, and return its own."""
    command = commands.add_parser(
        "doctor",
        help="tell whether TRELLIS.2 can run on this machine, and what to do if not",
        description="Look at driver, GPU, memory, PyTorch, packages, compiler, weights and disk; name a remedy for "
        "each fault.",
        epilog=epilog.replace("all came out", "TRELLIS.2 can run"),
        allow_abbrev=False,
    )
    command.add_argument("--json", action="store_true", help="print one line of JSON per finding, and nothing else")
    return command


@dataclass(frozen=True, slots=True)
class Checkup:
    """A parsed command."""

    json: bool


def run(asked: Checkup) -> int:
    """Print what was found; return 0 if generation can run, else 1."""
    launch = environments.nearest_launch(trellis2.ENGINE)
    looked = judge(examine(launch.python, launch.paths, {**os.environ, **launch.env}))
    environment = _environment()
    if environment.verdict == "fault":
        # One cause is one fault: what an environment that is not there lacks follows from that.
        looked = [replace(one, verdict="note") if is_package_lacking(one) else one for one in looked]
    found = [environment, *looked, _settings(), *(Finding("Notice", notice) for notice in trellis2.notices())]
    faults = [one for one in found if one.verdict == "fault"]
    with private_stdout() as stream:
        for one in found:
            _print(stream, one, asked.json)
        if asked.json:
            stream.write(json.dumps({"event": "done", "faults": len(faults)}) + "\n")
        else:
            stream.write(f"\n{_closing(faults)}\n")
    return FAILURE if faults else 0


def _environment() -> Finding:
    """Return how the environment stands, in which alone TRELLIS.2 runs."""
    obstacle = environments.state.obstacle
    if obstacle is not None and obstacle.profile == CUDA:
        return Finding("Environment", obstacle.error.cause, "fault", obstacle.error.remedy)
    return Finding("Environment", f"It is installed in {environments.places().environment(CUDA)}")


def _settings() -> Finding:
    """Return how TRELLIS.2 is to run here."""
    chosen = trellis2.settings()
    fast = "on" if chosen.fast else "off"
    words = f"fast mode {fast}, memory plan {chosen.plan or trellis2.AUTOMATIC}, background model {chosen.background}"
    return Finding("Settings", f"{words}, stage cache at most {chosen.cache_gb:g} GB in {chosen.cache}")


def _print(stream: TextIO, one: Finding, as_json: bool) -> None:
    if as_json:
        stream.write(json.dumps({"event": "finding", **asdict(one)}, ensure_ascii=False) + "\n")
        return
    stream.write(f"{_MARKS[one.verdict]:<6}{one.subject:<16}{one.found}\n")
    if one.remedy and one.verdict == "fault":
        indent = " " * 22
        stream.write(textwrap.fill(one.remedy, COLUMNS, initial_indent=indent, subsequent_indent=indent) + "\n")


def _closing(faults: Sequence[Finding]) -> str:
    if not faults:
        return "TRELLIS.2 can run on this machine."
    count = "One fault keeps" if len(faults) == 1 else f"{len(faults)} faults keep"
    return f"{count} TRELLIS.2 from running on this machine."
