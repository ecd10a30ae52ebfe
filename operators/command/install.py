# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender -b -c espalier install cpu|cuda|weights`: the environments without a window."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...engine.errors import EspalierError
from .. import environments, session
from ..environment_rows import expected
from ..environments import BY_PROFILE, KINDS, WORKING
from .install_report import InstallReport
from .interrupt import interruptible
from .report import private_stdout

if TYPE_CHECKING:
    from ...engine.environments.sources import Sources
    from ...engine.environments.status import Status

ACTS = ("repair", "verify", "remove")
AGREED = ("y", "yes")


@dataclass(frozen=True, slots=True)
class Installation:
    """A parsed command. `act` is `list` where nothing is to be done; `yes`: size and time are agreed to."""

    act: str
    profiles: tuple[str, ...]
    accepted: tuple[str, ...]
    yes: bool
    allow_unlocked: bool
    index_url: str
    ca_bundle: str
    json: bool


def add_command(commands: Any, epilog: str) -> argparse.ArgumentParser:
    """Add `install` to the sub-commands of a parser, and return its own."""
    kinds = "; ".join(f"{kind.profile}: {kind.label}" for kind in KINDS)
    command: argparse.ArgumentParser = commands.add_parser(
        "install",
        help="install, verify, repair or remove the environments of engines",
        description="Install what an engine needs into a place of its own; what is downloaded is kept, so that the "
        "same command goes on where it was stopped.",
        epilog=epilog,
        allow_abbrev=False,
    )
    command.add_argument("profiles", nargs="*", metavar="ENVIRONMENT", help=kinds)
    act = command.add_mutually_exclusive_group()
    act.add_argument("--list", action="store_const", const="list", dest="act", help="tell how each stands, and end")
    helps = {
        "repair": "build it anew; what was downloaded is used again",
        "verify": "compare every file with what was installed",
        "remove": "delete it",
    }
    for name in ACTS:
        act.add_argument(f"--{name}", action="store_const", const=name, dest="act", help=helps[name])
    command.add_argument("--yes", action="store_true", help="do not ask before the download, or before removing")
    command.add_argument(
        "--accept", action="extend", nargs="+", default=[], metavar="LICENSE", help="accept these licenses, by name"
    )
    command.add_argument(
        "--allow-unlocked", action="store_true", help="install also packages without a locked hash, from their source"
    )
    command.add_argument("--index-url", default="", metavar="URL", help="a mirror of the Python package index")
    command.add_argument("--ca-bundle", default="", metavar="FILE", help="certificate authorities (PEM) for downloads")
    command.add_argument("--json", action="store_true", help="print one line of JSON per event, and nothing else")
    return command


def read(known: argparse.Namespace) -> Installation:
    """Return what the parsed arguments ask for. Raises EspalierError, exit code 2."""
    act = known.act or "install"
    profiles = tuple(dict.fromkeys(known.profiles)) or (tuple(BY_PROFILE) if act == "list" else ())
    names = ", ".join(BY_PROFILE)
    if not profiles:
        raise EspalierError("arguments_invalid", reason=f"Nothing is named; the environments are {names}")
    for profile in profiles:
        if profile not in BY_PROFILE:
            raise EspalierError("environment_unknown", name=profile, known=names)
    ca_bundle = str(Path(known.ca_bundle).expanduser().absolute()) if known.ca_bundle else ""
    accepted = tuple(known.accept)
    chosen = known.yes, known.allow_unlocked, known.index_url, ca_bundle, known.json
    return Installation(act, profiles, accepted, *chosen)


def run(asked: Installation) -> int:
    """Do it for one environment after the other; return the exit code. One failure does not stop the others."""
    failed = 0
    with private_stdout() as stream:
        report = InstallReport(stream, asked.json)
        for profile in asked.profiles:
            try:
                _one(asked, profile, report)
            except EspalierError as error:
                failed = max(failed, error.exit_code)
                report.failed(profile, error)
                if error.code == "install_stopped":
                    break
    environments.close()
    session.session.close()
    return failed


def _one(asked: Installation, profile: str, report: InstallReport) -> None:
    """Do what is asked with one environment. Raises EspalierError."""
    status = environments.fresh(profile)
    if asked.act == "list":
        report.stands(profile, status)
        return
    if status.condition == "impossible" and status.why is not None and asked.act != "remove":
        raise status.why
    if asked.act == "install" and status.condition == "ready":
        report.ended(profile, asked.act, [f"{BY_PROFILE[profile].label} is installed already."])
        return
    if asked.act != "verify":
        report.stands(profile, status)
        _agree(asked, profile, status, report)
    environments.begin(asked.act, profile, asked.accepted, _sources(asked))
    stopped = False
    with interruptible() as interrupted:
        while environments.step():
            if interrupted() and not stopped:
                stopped = True
                environments.cancel()
            if environments.state.task is not None and not stopped:
                report.progress(profile, environments.state.task)
            time.sleep(environments.SLEEP_S)
    if environments.state.error is not None:
        raise environments.state.error
    if stopped:
        raise EspalierError("install_stopped", profile=profile)
    report.ended(profile, asked.act, environments.state.told)


def _agree(asked: Installation, profile: str, status: Status, report: InstallReport) -> None:
    """See to it that the person wants it: licenses are shown, and on a terminal a question is asked.

    Raises EspalierError `install_unasked` where nobody can be asked and `--yes` was not given, `install_declined`.
    """
    if asked.act in WORKING:
        for licence in environments.find_unagreed(profile):
            if licence.name not in asked.accepted:
                report.licence(licence)
    if asked.yes:
        return
    what = expected(status) if asked.act in WORKING else "It would have to be installed again."
    if asked.json or not (report.live and sys.stdin is not None and sys.stdin.isatty()):
        raise EspalierError("install_unasked", act=asked.act, profile=profile, what=what)
    report.ask(f"{what} {asked.act.capitalize()} {BY_PROFILE[profile].label}? [y/N] ")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        answer = sys.stdin.readline().strip().lower()
    except KeyboardInterrupt:
        answer = ""
    finally:
        if before is not None:  # None is a handler of Blender's own, which Python cannot put back
            signal.signal(signal.SIGINT, before)
    if answer not in AGREED:
        raise EspalierError("install_declined", profile=profile)


def _sources(asked: Installation) -> Sources:
    """Return where to fetch from: the preferences, with what the command names in their place."""
    named = {"index_url": asked.index_url, "ca_bundle": asked.ca_bundle, "allow_unlocked": asked.allow_unlocked}
    return replace(environments.sources(), **{name: value for name, value in named.items() if value})
