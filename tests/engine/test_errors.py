# SPDX-License-Identifier: GPL-3.0-or-later
"""Every failure has one sentence of cause and one of remedy, survives JSON, and every one that is raised is known."""

from __future__ import annotations

import ast
import json
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import CATALOGUE, FAILURE, USAGE, EspalierError

ROOT = Path(__file__).resolve().parents[2]
WORDS = st.text(max_size=40)


def fields_of(code: str) -> set[str]:
    """Return the names of the fields that the two sentences of `code` take."""
    _, cause, remedy = CATALOGUE[code]
    return {name for text in (cause, remedy) for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def raised() -> Iterator[tuple[Path, ast.Call]]:
    """Yield every place of the extension's code that makes an error with a code written out."""
    for package in ("engine", "operators", "panels"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "EspalierError":
                    yield path, node


@pytest.mark.parametrize("code", CATALOGUE)
def test_each_failure_has_a_sentence_of_cause_and_one_of_remedy(code: str) -> None:
    exit_code, cause, remedy = CATALOGUE[code]
    assert exit_code in (USAGE, FAILURE)
    filled = dict.fromkeys(fields_of(code), "x")
    for template in (cause, remedy):
        text = template.format_map(filled)
        assert template == "{suggestion}" or text.endswith((".", "?"))
        assert ". " not in text.replace("...", ""), f"more than one sentence: {text}"
        assert template[0].isupper() or template[0] == "{"
    assert {"detail", "code"}.isdisjoint(filled)


@pytest.mark.parametrize("code", CATALOGUE)
def test_each_failure_survives_json(code: str) -> None:
    error = EspalierError(code, detail="line 1\nline 2", **{name: f"<{name}>" for name in fields_of(code)})
    again = EspalierError.from_json(json.loads(json.dumps(error.to_json())))
    assert (again.code, again.cause, again.remedy, again.detail, again.exit_code, str(again)) == (
        *(error.code, error.cause, error.remedy, error.detail, error.exit_code, str(error)),
    )
    assert "{" not in error.cause + error.remedy
    assert error.detail not in str(error)


@given(st.dictionaries(WORDS, st.none() | st.integers() | WORDS | st.dictionaries(WORDS, WORDS)))
def test_rubbish_becomes_an_error_all_the_same(data: dict[str, object]) -> None:
    assert EspalierError.from_json(data).cause


@given(WORDS)
def test_a_value_with_braces_stays_a_value(path: str) -> None:
    assert EspalierError("image_missing", path="{path}" + path).cause == f"The image {{path}}{path} does not exist."


def test_every_failure_that_is_raised_is_in_the_catalogue_with_all_its_fields() -> None:
    found = 0
    for path, call in raised():
        where = f"{path.relative_to(ROOT)}:{call.lineno}"
        code = call.args[0] if call.args else None
        if not (isinstance(code, ast.Constant) and isinstance(code.value, str)):
            continue
        found += 1
        assert code.value in CATALOGUE, where
        if all(keyword.arg for keyword in call.keywords):
            given_fields = {keyword.arg for keyword in call.keywords} - {"detail"}
            assert fields_of(code.value) <= given_fields, where
    assert found > 10
