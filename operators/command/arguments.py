# SPDX-License-Identifier: GPL-3.0-or-later
"""The command's arguments, its flags generated from the parameter table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ...engine import __version__
from ...engine.backends import available
from ...engine.errors import EspalierError
from ...engine.parameters import ENGINES, GROUPS, REBUILD_SETTINGS, SETTINGS, Parameter
from ...engine.request import TEXTURE_SEED, GenerationRequest, RebuildRequest, Request, complete_from
from .. import trellis2
from . import NAME, batch_arguments, doctor, install

_EXIT_CODES = "Exit code: 0 if all came out, 2 for wrong arguments, 1 otherwise."


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the command: what to make of it and where that goes.

    `levels` are the files of the levels of detail below the first; `blend` and `preview` may be absent.
    """

    request: Request
    glb: Path
    blend: Path | None
    preview: Path | None
    levels: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """A parsed command. `yes`: what it costs is agreed to. `fast`: TRELLIS.2 in fast mode, whatever is preferred."""

    items: tuple[Item, ...]
    json: bool
    yes: bool = False
    fast: bool = False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise EspalierError("arguments_invalid", reason=message[:1].upper() + message[1:])


def parse(argv: Sequence[str]) -> Options | install.Installation | doctor.Checkup | batch_arguments.Batch | str:
    """Return what the arguments ask for, or a text to print (help, version). Raises EspalierError, exit code 2."""
    parser, commands = _parsers()
    if not argv or list(argv) in (["-h"], ["--help"]):
        return parser.format_help().rstrip()
    if list(argv) == ["--version"]:
        return f"Espalier {__version__}"
    if argv[0] in commands and any(word in ("-h", "--help") for word in argv[1:]):
        return commands[argv[0]].format_help().rstrip()
    known, rest = parser.parse_known_args(list(argv))
    if known.command == "install" and not rest:
        return install.read(known)
    if known.command == "doctor" and not rest:
        return doctor.Checkup(known.json)
    table = REBUILD_SETTINGS if known.command == "rebuild" else SETTINGS
    if rest:
        flag = rest[0].split("=")[0]
        if flag.startswith("--") and known.command in ("generate", "batch", "rebuild"):
            complete_from(table, {flag[2:].replace("-", "_"): ""})
        raise EspalierError("arguments_invalid", reason=f"{rest[0]} is not understood")
    fast = getattr(known, "fast", False)
    if fast and known.engine != trellis2.ENGINE:
        raise EspalierError("arguments_invalid", reason=f"--fast is for --engine {trellis2.ENGINE} only")
    texture_seed = getattr(known, TEXTURE_SEED.name, None)
    if texture_seed is not None and known.engine != trellis2.ENGINE:
        raise EspalierError("arguments_invalid", reason=f"--{TEXTURE_SEED.name} is for --engine {trellis2.ENGINE} only")
    given = {p.name: getattr(known, p.name) for p in table if getattr(known, p.name) is not None}
    if known.command == "batch":
        return batch_arguments.read(known, given)
    requests: list[Request]
    if known.command == "generate":
        requests = [
            GenerationRequest.create(image, known.engine, given, texture_seed=texture_seed) for image in known.inputs
        ]
    else:
        lods = known.lods.split(",") if known.lods else ()
        requests = [RebuildRequest.create(source, given, lods) for source in known.inputs]
    glbs = _targets(requests, known.output, ".glb")
    blends = _targets(requests, known.blend, ".blend") if known.blend else [None] * len(requests)
    previews = _targets(requests, known.preview, ".png") if known.preview else [None] * len(requests)
    levels = [_levels(request, glb) for request, glb in zip(requests, glbs, strict=True)]
    items = tuple(Item(*row) for row in zip(requests, glbs, blends, previews, levels, strict=True))
    return Options(items, known.json, getattr(known, "yes", False), fast)


def _levels(request: Request, glb: Path) -> tuple[Path, ...]:
    """Return the files of the levels of detail below the first, which is `glb` itself."""
    count = len(request.lods) if isinstance(request, RebuildRequest) else 0
    return tuple(glb.with_name(f"{glb.stem}_lod{level}{glb.suffix}") for level in range(1, count))


def _targets(requests: Sequence[Request], given: str, suffix: str) -> list[Path]:
    """Return the file for each request: `given` itself where it names one, else NAME.suffix in the folder `given`."""
    target = Path(given).expanduser().absolute()
    is_folder = target.is_dir() or given.endswith(("/", "\\")) or (len(requests) > 1 and not target.suffix)
    if is_folder:
        paths = [target / f"{request.name}{suffix}" for request in requests]
    elif target.suffix.lower() != suffix:
        raise EspalierError("output_type", path=given, suffix=suffix)
    else:
        paths = [target] * len(requests)
    for path in paths:
        if paths.count(path) > 1:
            raise EspalierError("output_conflict", path=path)
    return paths


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the whole parser, and that of each command."""
    parser = _Parser(prog=NAME, description="Turn images into textured PBR meshes.", allow_abbrev=False)
    parser.add_argument("--version", action="store_true", help="print the version and end")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True, parser_class=_Parser)
    generate = commands.add_parser(
        "generate",
        help="turn images into GLB files",
        description="Turn each image into a GLB file, and if asked also into a .blend and a rendered preview.",
        epilog=_EXIT_CODES,
        usage="%(prog)s IMAGE [IMAGE ...] [-o PATH] [--blend PATH] [--preview PATH] [--PARAMETER VALUE ...]",
        allow_abbrev=False,
    )
    generate.add_argument(
        "inputs",
        nargs="+",
        metavar="IMAGE",
        help="image files (PNG, JPEG, WebP, TIFF, BMP); with --engine remote also addresses",
    )
    generate.add_argument(
        "-o", "--output", default=".", metavar="PATH", help="a .glb file, or a folder (default: here)"
    )
    names = available()
    engines = "; ".join(f"{engine.name}: {engine.help}" for engine in ENGINES if engine.name in names)
    generate.add_argument("--engine", default=names[0], metavar="NAME", help=f"{engines} (default: {names[0]})")
    generate.add_argument(
        *(f"--{TEXTURE_SEED.name}", f"--{TEXTURE_SEED.name.replace('_', '-')}"),
        metavar="VALUE",
        help=f"with --engine {trellis2.ENGINE}: {TEXTURE_SEED.help} (default: follows from the seed)",
    )
    rebuild = commands.add_parser(
        "rebuild",
        help="remesh, decimate, unwrap and bake finished GLB files",
        description="Make of each GLB file a clean one of another size, unwrapped and textured anew from the source.",
        epilog=_EXIT_CODES,
        allow_abbrev=False,
    )
    rebuild.add_argument("inputs", nargs="+", metavar="GLB", help="GLB files, of whatever origin")
    rebuild.add_argument("-o", "--output", required=True, metavar="PATH", help="a .glb file, or a folder")
    rebuild.add_argument(
        "--lods",
        metavar="FACES,...",
        help="make several levels of detail, of about as many faces each, in place of --decimation_target: "
        "the first becomes NAME.glb, the others NAME_lod1.glb, NAME_lod2.glb, ...",
    )
    for command, table in ((generate, SETTINGS), (rebuild, REBUILD_SETTINGS)):
        command.add_argument("--blend", metavar="PATH", help="also write a .blend file, or one an asset into a folder")
        command.add_argument("--preview", metavar="PATH", help="also render a .png file, or one an asset into a folder")
        command.add_argument("--json", action="store_true", help="print one line of JSON per event, and nothing else")
        _add_parameters(command, table, note_ignored=command is generate)
    batch = batch_arguments.add_command(commands)
    for command in (generate, batch):
        command.add_argument(
            "--yes", action="store_true", help="spend what it costs, also above Ask Above USD of the preferences"
        )
        command.add_argument(
            "--fast",
            action="store_true",
            help=f"with --engine {trellis2.ENGINE}: reuse what changes little between steps; an "
            "approximation (default: as the preferences say)",
        )
    _add_parameters(batch, SETTINGS, note_ignored=True)
    return parser, {
        "generate": generate,
        "batch": batch,
        "rebuild": rebuild,
        "install": install.add_command(commands, _EXIT_CODES),
        "doctor": doctor.add_command(commands, _EXIT_CODES),
    }


def _add_parameters(command: argparse.ArgumentParser, table: Sequence[Parameter], note_ignored: bool) -> None:
    """Give `command` a flag for each parameter of `table`, with underscores and with hyphens, group by group."""
    for group in GROUPS:
        members = [parameter for parameter in table if parameter.group == group.name]
        if not members:
            continue
        section = command.add_argument_group(group.label)
        for parameter in members:
            flags = dict.fromkeys((f"--{parameter.name}", f"--{parameter.name.replace('_', '-')}"))
            section.add_argument(*flags, dest=parameter.name, metavar="VALUE", help=_help(parameter, note_ignored))


def _help(parameter: Parameter, note_ignored: bool) -> str:
    if parameter.kind == "boolean":
        values, default = "true or false", str(parameter.default).lower()
    elif parameter.choices:
        values, default = ", ".join(parameter.choices), str(parameter.default)
    else:
        values, default = f"{parameter.minimum} to {parameter.maximum}", str(parameter.default)
    ignored = [name for name in available() if note_ignored and not parameter.honoured_by(name)]
    note = f"; ignored by {', '.join(ignored)}" if ignored else ""
    return f"{parameter.help} ({values}; default {default}{note})".replace("%", "%%")
