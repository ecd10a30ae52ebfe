# SPDX-License-Identifier: GPL-3.0-or-later
"""Every text that a person can read in the interface, as it is looked up to be translated: with where it is written.

Texts stand in the code in one of these ways, which are all that is looked for:

- as `text`, `heading` or `placeholder` of a layout's call, where Blender itself translates them;
- as the first argument of `say`, `told` or `msgid` of `operators/languages`, the last of which only marks them;
- in classes that Blender has registered: labels, tooltips, properties, and the items of enums;
- in the engine's tables (parameters, errors, stages ...);
- anywhere else in the engine, where sentences and reasons of several words are written, with fields in braces for what
  an f-string puts in.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = ("text", "heading", "placeholder")
"""Keywords of a layout's calls whose literals Blender translates."""
MARKED = ("say", "told", "msgid")
"""Functions of `operators/languages` whose first argument is looked up."""
SILENT = (
    *("batch", "server", "kernels", "batch_errors.py", "server_errors.py", "doctor.py", "messages.py", "aside.py"),
    *("parameters.py", "environment_errors.py", "launch.py", "process.py", "faults.py", "book.py", "index.py"),
    *("handover.py", "catalog.py", "schema.py"),
)
"""Folders and files of the engine whose words are for the command line, the log or the programmer, all in English."""
SINGLE = ("act", "expected", "reason")
"""Fields of errors that can be a single word."""
RAISED = ("ValueError", "TypeError", "RuntimeError", "Secret")
"""What is raised for programmers; a person reads the reason only where one of `HEARD` takes it."""
UNSHOWN = frozenset(
    {
        *("connection broken: IncompleteRead", "gzip, deflate", "no space left", "os error 28", "os error 112"),
        *(
            "os error 122",
            "quota exceeded",
            "can't allocate memory",
            "out of memory",
            "no nvidia driver",
            "export: {facts}",
        ),
        *("Bearer {reveal}", "looked in {folders}", "the compiled exporter failed: {error}"),
        *(
            "{algorithm} {found} in place of {digest}",
            "SHA-256 {found} in place of {sha256}",
            "{size} bytes in place of",
        ),
        *("dict[str, Any]", "tuple[float, float, float]", "tuple[float, float, float, float]", "timed out"),
        *("Name or service not known", "nodename nor servname", "getaddrinfo failed", "No address associated"),
        *("Temporary failure in name resolution", "Failed to resolve", "reset by peer", "forcibly closed"),
        *("without response", "EOF occurred", "self signed", "unable to get local issuer", "not yet valid"),
        *(
            "ostname mismatch",
            "doesn't match",
            "IP address mismatch",
            "record layer failure",
            "not valid yet",
            "Built with DINOv3",
        ),
        "the index states {sha256} in place of {sha256_2}",
    }
)
"""What the engine looks for in the words of others, sends to a server, or writes to a log."""
NO_WORDS = re.compile(
    r"^(BEGIN|DELETE|SELECT|INSERT|UPDATE|CREATE|ALTER|PRAGMA)\b|\n|%s|^id, |^(worker|parent) [a-z]+$"
    r"|\((MIT|Apache 2\.0|[\w ]+License)\)$",
    re.IGNORECASE,
)
_SEVERAL = re.compile(r"[A-Za-z']{2,}[,:;]? \(?[A-Za-z{]{2,}")


def _name(node: ast.expr, taken: set[str]) -> str:
    """Return what a field of a template is called: as what is put in, without what formats it."""
    while True:
        if isinstance(node, ast.Call) and node.args and not isinstance(node.args[0], ast.Starred):
            node = node.args[0]
        elif isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.Subscript):
            node = node.value
        elif isinstance(node, ast.BinOp):
            node = node.left
        else:
            break
    found = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else "value"
    name, number = found.strip("_").lower(), 2
    while name in taken:
        name, number = f"{found.strip('_').lower()}_{number}", number + 1
    taken.add(name)
    return name


def template_of(node: ast.expr) -> str | None:
    """Return the text of a literal, of an f-string with named fields in braces, None of anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if not isinstance(node, ast.JoinedStr):
        return None
    taken: set[str] = set()
    parts = [
        str(part.value) if isinstance(part, ast.Constant) else f"{{{_name(part.value, taken)}}}"
        for part in node.values
        if isinstance(part, (ast.Constant, ast.FormattedValue))
    ]
    return "".join(parts)


def literals(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the literals that an argument can be: itself, or both sides of a condition."""
    if isinstance(node, ast.IfExp):
        yield from literals(node.body)
        yield from literals(node.orelse)
    else:
        yield node


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls of a file with the last name of what is called."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def sources(*rooms: str) -> Iterator[Path]:
    """Yield the files of rooms of the extension, those of the command line aside."""
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            if not {"command", "shipped"} & set(path.relative_to(ROOT).parts):
                yield path


def _where(path: Path, node: ast.expr) -> str:
    return f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"


def has_words(text: str) -> bool:
    """Tell whether there is something to translate: letters that are no unit alone."""
    return bool(re.search(r"[A-Za-z]{2,}", re.sub(r"\{\w*\}|\d+ (MB|GB|px|s|min)\b", "", text)))


def in_code() -> Iterator[tuple[str, str]]:
    """Yield the texts that stand in panels and operators, and where."""
    for path in sources("operators", "panels"):
        for name, call in _calls(path):
            marked = call.args[:1] if name in MARKED else []
            drawn = [word.value for word in call.keywords if word.arg in LAYOUT and not _is_property(call)]
            for node in (each for argument in (*marked, *drawn) for each in literals(argument)):
                text = template_of(node) if isinstance(node, ast.Constant) else None
                if text and (node in marked or has_words(text)):
                    yield text, _where(path, node)


def _is_property(call: ast.Call) -> bool:
    return ast.unparse(call.func).startswith("bpy.props")


def in_engine() -> Iterator[tuple[str, str]]:
    """Yield the sentences and reasons that the engine writes, as templates, and where."""
    for path in sources("engine"):
        if set(SILENT) & set(path.relative_to(ROOT).parts):
            continue
        tree = _tree(path)
        silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                silent |= {id(part) for part in ast.walk(node) if part is not node and isinstance(part, ast.Constant)}
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISED:
                silent |= {id(part) for argument in node.args for part in ast.walk(argument)}
        for node in ast.walk(tree):
            if isinstance(node, (ast.Constant, ast.JoinedStr)) and id(node) not in silent:
                text = template_of(node)
                if text and _SEVERAL.search(text) and text not in UNSHOWN and not NO_WORDS.search(text):
                    yield text, _where(path, node)


def in_tables() -> Iterator[tuple[str, str]]:
    """Yield the texts of the engine's tables, of which many are single words, and the table."""
    from engine import batch_errors, errors, offer, parameters, provenance, server_errors
    from engine.environments.profiles import PROFILES
    from engine.jobs.job import State
    from engine.request import REBUILD

    for code, (_exit, cause, remedy) in errors.CATALOGUE.items():
        if code not in batch_errors.BATCH and code not in server_errors.SERVER:
            yield cause, f"error {code}: cause"
            if remedy != "{suggestion}":
                yield remedy, f"error {code}: remedy"
    for engine in parameters.ENGINES:
        yield engine.label, f"engine {engine.name}"
        yield engine.help, f"engine {engine.name}: help"
    for group in parameters.GROUPS:
        yield group.label, f"group {group.name}"
    for parameter in (*parameters.SETTINGS, *parameters.REBUILD_SETTINGS):
        yield parameter.label, f"parameter {parameter.name}"
        yield offer.full_label(parameter), f"parameter {parameter.name} with its group"
        yield parameter.help, f"parameter {parameter.name}: help"
        for label in parameter.choice_labels.values():
            yield label, f"parameter {parameter.name}: choice"
        for reason in parameter.ignored_by.values():
            yield reason, f"parameter {parameter.name}: why it is ignored"
    for state in State:
        yield state.value, "state of a job"
    switch = next(parameter for parameter in parameters.SETTINGS if parameter.kind == "boolean")
    for value in (True, False):
        yield provenance.value_words(switch, value), "a switch as Made With shows it"
    yield provenance.engine_label(REBUILD), "engine of what was rebuilt"
    for profile in PROFILES.values():
        yield profile.label, f"environment {profile.name}"
        yield profile.purpose, f"environment {profile.name}: purpose"


def in_stages() -> Iterator[tuple[str, str]]:
    """Yield the labels of the stages of jobs and of installations, and the words that fill errors."""
    for path in sources("engine"):
        if {"server", "batch"} & set(path.parts):
            continue
        for name, call in _calls(path):
            if name in ("Stage", "report") and call.args:
                node = call.args[1 if name == "Stage" else 0] if len(call.args) > 1 else call.args[0]
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and has_words(node.value):
                    yield node.value, _where(path, node)
            for word in call.keywords:
                if word.arg in SINGLE and isinstance(word.value, ast.Constant) and isinstance(word.value.value, str):
                    yield word.value.value, _where(path, word.value)


def in_presets() -> Iterator[tuple[str, str]]:
    """Yield the names of the presets that are shipped, as Blender shows them, and their reasons."""
    for path in sorted((ROOT / "operators" / "shipped" / "presets").rglob("*.py")):
        yield path.stem.replace("_", " "), f"preset {path.name}"
        reason = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        if reason:
            yield reason, f"preset {path.name}: reason"


def in_classes(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Yield the labels, tooltips, properties and items of the classes that the extension `module` registers."""
    languages = import_module(f"{module.__name__}.operators.languages")
    for cls in classes(module):
        name = cls.__name__
        if label := getattr(cls, "bl_label", ""):
            yield label, name
        if "_OT_" in name:
            yield getattr(cls, "bl_description", "") or cls.__doc__ or "", f"{name}: tooltip"
        for known in languages.properties(cls):
            where = f"{name}.{known.identifier}"
            if known.name != known.identifier and not known.is_hidden:
                yield known.name, where
            yield known.description, f"{where}: tooltip"
            for item in known.enum_items_static if known.type == "ENUM" else ():
                if item.name != item.identifier:  # names that are shown as they are
                    yield item.name, f"{where}: {item.identifier}"
                yield item.description, f"{where}: {item.identifier}: tooltip"


def classes(module: ModuleType) -> Iterator[Any]:
    """Yield the classes that the extension `module` registers."""
    for room in ("operators", "panels"):
        yield from import_module(f"{module.__name__}.{room}").CLASSES


def collect(module: ModuleType) -> Mapping[str, str]:
    """Return each text, and the first place where it was found. `module` is the enabled extension."""
    found: dict[str, str] = {}
    for text, where in in_code():
        found.setdefault(text, where)
    for texts in (in_tables(), in_stages(), in_presets(), in_engine()):
        for text, where in texts:
            if has_words(text):
                found.setdefault(text, where)
    # What is put together when a class is made is found again by its templates.
    languages = import_module(f"{module.__name__}.operators.languages")
    patterns = [pattern for _template, pattern in languages.templates(found)]
    for text, where in in_classes(module):
        for line in text.split(languages.LINES):
            if has_words(line) and line not in found and not any(pattern.fullmatch(line) for pattern in patterns):
                found[line] = where
    return found
