# SPDX-License-Identifier: GPL-3.0-or-later
"""Find texts that panels and operators show in English whatever the language is, by reading their code.

Where a text is shown there may stand: a literal where Blender itself looks it up; a call of what translates; a call of
a function of ours, whose results are looked at in the same way; a name, of which all that it is set to in that function
is looked at; and what others have named (an attribute), which Blender must be told to leave alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from .strings import LAYOUT, ROOT, has_words, literals, sources, template_of

TRANSLATING = frozenset({"say", "told", "sentence", "sentences", "pgettext_iface"})
SHOWING = {"draw_wrapped": 2, "draw_note": 1, "report": 1, "poll_message_set": 0, "status_text_set": 0}
"""Function -> which of its arguments is shown as it is."""
OTHERS = frozenset({"str", "basename", "size_words", "removeprefix", "strip", "told_by", "next", "map", "get"})
"""Functions that give what has no words of ours, or pass on what they are given, which is looked at."""
DRAWING = ("label", "operator", "prop", "prop_enum", "progress", "menu", "row", "column", "template_list")


@cache
def _trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text("utf-8")) for path in sources("operators", "panels")}


@cache
def _functions() -> dict[str, tuple[tuple[Path, ast.FunctionDef], ...]]:
    found: dict[str, list[tuple[Path, ast.FunctionDef]]] = {}
    for path, tree in _trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                found.setdefault(node.name, []).append((path, node))
    return {name: tuple(each) for name, each in found.items()}


def unwrapped(trees: Mapping[Path, ast.Module] | None = None) -> list[str]:
    """Return where something is shown that is not translated, and what it is: in `trees`, by default in all files."""
    found: set[str] = set()
    for path, tree in (trees or _trees()).items():
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for node in ast.walk(function):
                if isinstance(node, ast.Call):
                    for shown, by_blender in _shown(node):
                        for part in literals(shown):
                            found.update(_problems(path, function, part, by_blender, frozenset()))
    return sorted(found)


def _shown(call: ast.Call) -> Iterator[tuple[ast.expr, bool]]:
    """Yield what a call shows, and whether Blender looks it up."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name in SHOWING and len(call.args) > SHOWING[name]:
        yield call.args[SHOWING[name]], False
    if name in DRAWING:
        left = any(word.arg == "translate" for word in call.keywords)
        for word in call.keywords:
            if word.arg in LAYOUT:
                yield word.value, not left


def _problems(
    path: Path, function: ast.FunctionDef, node: ast.expr, by_blender: bool, seen: frozenset[str]
) -> Iterator[str]:
    where = f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"
    if isinstance(node, (ast.Constant, ast.JoinedStr)):
        text = template_of(node)
        if text and has_words(text) and not (by_blender and isinstance(node, ast.Constant)):
            yield f"{where}: {text}"
    elif isinstance(node, (ast.BinOp, ast.Starred)):
        if any(isinstance(part, ast.Constant) and has_words(str(part.value)) for part in ast.walk(node)):
            yield f"{where}: {ast.unparse(node)}"
    elif isinstance(node, ast.IfExp):
        for part in literals(node):
            yield from _problems(path, function, part, by_blender, seen)
    elif isinstance(node, ast.Name):
        if node.id not in seen:
            for value in _set_to(function, node.id):
                for part in literals(value):
                    yield from _problems(path, function, part, by_blender, seen | {node.id})
    elif isinstance(node, (ast.List, ast.Tuple, ast.ListComp, ast.GeneratorExp)):
        for part in node.elts if isinstance(node, (ast.List, ast.Tuple)) else [node.elt]:
            yield from _problems(path, function, part, False, seen)
    elif isinstance(node, ast.Call):
        yield from _of_call(path, function, node, where, seen)


def _of_call(path: Path, function: ast.FunctionDef, node: ast.Call, where: str, seen: frozenset[str]) -> Iterator[str]:
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    if name in TRANSLATING:
        return
    if name in OTHERS or name == "join":
        for argument in node.args:
            yield from _problems(path, function, argument, False, seen)
    elif name not in _functions():
        yield f"{where}: {ast.unparse(node)}"
    elif name not in seen:
        for home, called in _functions()[name]:
            for part in ast.walk(called):
                if isinstance(part, (ast.Return, ast.Yield)) and part.value is not None:
                    values = part.value.elts[:1] if isinstance(part.value, ast.Tuple) else [part.value]
                    for each in (each for value in values for each in literals(value)):
                        yield from _problems(home, called, each, False, seen | {name})


def _set_to(function: ast.FunctionDef, name: str) -> Iterator[ast.expr]:
    """Yield what a name is set to in a function, that of each of several at once where they are written out."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id == name:
                    yield node.value
                elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    for each, value in zip(target.elts, node.value.elts, strict=True):
                        if isinstance(each, ast.Name) and each.id == name:
                            yield value
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            yield node.value
