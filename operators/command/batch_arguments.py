# SPDX-License-Identifier: GPL-3.0-or-later
"""What `batch` takes besides the parameters of a generation."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...engine.backends import available
from ...engine.batch.inputs import read_shard
from ...engine.errors import EspalierError

PER_ASSET = ""
"""What --blend holds where it names no file."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A parsed `batch`. `library` is the one .blend of all assets, `settings` the parameters as they were typed."""

    given: str
    output: Path
    engine: str
    settings: Mapping[str, str]
    lods: tuple[str, ...]
    blend: bool
    library: Path | None
    preview: bool
    jobs: int | None
    resume: bool
    shard: tuple[int, int] | None
    budget_usd: float | None
    fail_fast: bool
    json: bool
    yes: bool
    fast: bool


def add_command(commands: Any) -> argparse.ArgumentParser:
    """Add `batch` to the sub-commands of a parser, and return its own."""
    command: argparse.ArgumentParser = commands.add_parser(
        "batch",
        help="turn a folder, a pattern or a manifest of images into GLB files, with a report",
        description="Turn every image of a folder, of a pattern or of a CSV or JSON manifest into a GLB file, and "
        "write a report as CSV, JSON and an HTML contact sheet. A manifest has a column image, and may have name, "
        "engine and any parameter.",
        epilog="Ctrl-C once finishes what runs and writes the report, twice stops. "
        "Exit code: 0 if all came out, 3 if some did not, 2 for wrong arguments, 1 if it could not begin.",
        usage="%(prog)s INPUT -o FOLDER [--resume] [--PARAMETER VALUE ...]",
        allow_abbrev=False,
    )
    command.add_argument("given", metavar="INPUT", help="a folder, a pattern in quotes, or a .csv, .tsv or .json file")
    command.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where assets and report go")
    names = available()
    command.add_argument("--engine", default=names[0], metavar="NAME", help=f"{', '.join(names)} (default: {names[0]})")
    command.add_argument("--jobs", metavar="N", help="how many run side by side (default: one a core, where it counts)")
    command.add_argument(
        "--resume", action="store_true", help="leave out what the report in FOLDER has as done with the same settings"
    )
    command.add_argument("--shard", metavar="I/N", help="work on every N-th image only, beginning with the I-th")
    command.add_argument("--lods", metavar="FACES,...", help="rebuild each asset as levels of detail of so many faces")
    command.add_argument(
        "--blend",
        nargs="?",
        const=PER_ASSET,
        metavar="FILE",
        help="also write a .blend beside each GLB; with a FILE, one .blend of all, marked as assets",
    )
    command.add_argument("--preview", action="store_true", help="also render NAME_preview.png beside each GLB")
    command.add_argument("--budget-usd", metavar="USD", help="begin nothing that could cost more than this in all")
    going = command.add_mutually_exclusive_group()
    going.add_argument("--keep-going", action="store_true", help="go on after a failure (the default)")
    going.add_argument("--fail-fast", action="store_true", help="begin nothing more after a failure")
    command.add_argument("--json", action="store_true", help="print one line of JSON per event, and nothing else")
    return command


def read(known: argparse.Namespace, settings: Mapping[str, str]) -> Batch:
    """Return what the parsed arguments ask for. Raises EspalierError, exit code 2."""
    library = None
    if known.blend:
        library = Path(known.blend).expanduser().absolute()
        if library.suffix.lower() != ".blend":
            raise EspalierError("output_type", path=known.blend, suffix=".blend")
    return Batch(
        given=known.given,
        output=Path(known.output).expanduser().absolute(),
        engine=known.engine,
        settings=dict(settings),
        lods=tuple(known.lods.split(",")) if known.lods else (),
        blend=known.blend == PER_ASSET,
        library=library,
        preview=known.preview,
        jobs=None if known.jobs is None else _jobs(known.jobs),
        resume=known.resume,
        shard=None if known.shard is None else read_shard(known.shard),
        budget_usd=None if known.budget_usd is None else _budget(known.budget_usd),
        fail_fast=known.fail_fast,
        json=known.json,
        yes=known.yes,
        fast=known.fast,
    )


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise EspalierError("arguments_invalid", reason=f"--jobs takes a whole number from 1 to 256, not {text}")
    return int(text)


def _budget(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise EspalierError("arguments_invalid", reason=f"--budget-usd takes an amount of dollars, not {text}")
    return value
