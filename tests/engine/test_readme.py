# SPDX-License-Identifier: GPL-3.0-or-later
"""What the README quotes and points to is there: messages, pictures, links, commands and their options."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from engine.errors import CATALOGUE
from engine.parameters import PARAMETERS

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")
ANY = "…"
"""What stands in the README for what depends on the case."""
FIRST_PAGE = 45
"""Lines that are seen without scrolling."""


def quoted(template: str) -> str:
    """Return a sentence as the README quotes it; what a server adds in its own words is left out."""
    fields = {name: ANY for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    return template.format_map({**fields, "message": ""} if "message" in fields else fields)


def section(heading: str) -> str:
    """Return what stands between a heading of the second level and the next one."""
    return TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows() -> list[list[str]]:
    """Return the cells of the table of messages."""
    lines = [line for line in section("When something fails").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def anchor(heading: str) -> str:
    """Return the name under which a heading is linked to."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_each_message_in_the_table_is_one_that_is_shown_with_this_remedy() -> None:
    known = {(quoted(cause), quoted(remedy)) for _, cause, remedy in CATALOGUE.values()}
    assert len(rows()) > 30
    for row in rows():
        assert len(row) == 2
        assert tuple(row) in known, row[0]
    assert len({row[0] for row in rows()}) == len(rows())


def test_the_first_page_leads_from_the_zip_to_the_object() -> None:
    first = "\n".join(TEXT.splitlines()[:FIRST_PAGE])
    steps = ["readme-first.png", "Install from", "Choose an image", "Press Generate"]
    assert sorted(steps, key=first.index) == steps


def test_each_link_leads_somewhere() -> None:
    headings = {anchor(line.lstrip("# ")) for line in TEXT.splitlines() if line.startswith("#")}
    targets = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert targets
    for target in targets:
        assert target[1:] in headings if target.startswith("#") else (ROOT / target).is_file(), target


def test_the_pictures_taken_for_it_are_all_in_it() -> None:
    taken = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/window/reference").glob("readme-*.png")}
    assert taken == set(re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT))


def test_each_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^    )make ([a-z][a-z0-9-]*)", TEXT, re.MULTILINE))
    assert {"demo", "zip", "server"} <= named <= targets


def test_each_option_of_the_command_line_exists() -> None:
    sources = [*(ROOT / "operators" / "command").glob("*.py"), *(ROOT / "engine" / "batch").glob("*.py")]
    words = {word for path in sources for word in re.findall(r'"(?:--)?([a-z][a-z_-]*)"', path.read_text("utf-8"))}
    known = {f"--{word}" for word in {*words, *(parameter.name for parameter in PARAMETERS), "help"}}
    commands = re.findall(r"^    blender .*?-c espalier (.*?)(?:  +#.*)?$", TEXT, re.MULTILINE)
    assert len(commands) > 15
    for command in commands:
        assert set(re.findall(r"--[a-z][a-z_-]*", command)) <= known, command
        assert command.split()[0] in words, command
