# SPDX-License-Identifier: GPL-3.0-or-later
"""A request is validated once, completes itself, and survives JSON unchanged."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import USAGE, EspalierError
from engine.parameters import BY_NAME, ENGINES, INTERVALS, SETTINGS, Parameter, Value
from engine.request import GenerationRequest, asset_name, complete_parameters, parse_value

NUMBERS = [parameter for parameter in SETTINGS if parameter.kind in ("integer", "number")]
ENUMS = [parameter for parameter in SETTINGS if parameter.kind == "enum"]
RUBBISH = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.lists(st.integers())


def values(parameter: Parameter) -> st.SearchStrategy[Value]:
    """Return a strategy of all values that `parameter` takes."""
    if parameter.kind == "boolean":
        return st.booleans()
    if parameter.kind == "enum":
        return st.sampled_from(parameter.choices)
    assert parameter.minimum is not None
    assert parameter.maximum is not None
    if parameter.kind == "integer":
        return st.integers(int(parameter.minimum), int(parameter.maximum))
    return st.floats(parameter.minimum, parameter.maximum)


FREE = [p for p in SETTINGS if p.name != "pipeline_type" and not p.name.endswith(("_interval_start", "_interval_end"))]
GIVEN = st.fixed_dictionaries({}, optional={parameter.name: values(parameter) for parameter in FREE})


def code_of(parameters: dict[str, object]) -> EspalierError:
    with pytest.raises(EspalierError) as caught:
        complete_parameters(parameters)
    return caught.value


@given(GIVEN, st.sampled_from([engine.name for engine in ENGINES]), st.text(max_size=30))
def test_a_request_survives_json(given_parameters: dict[str, Value], engine: str, name: str) -> None:
    request = GenerationRequest.create(Path("photo.png").absolute(), engine, given_parameters, name)
    again = GenerationRequest.from_json(json.loads(json.dumps(request.to_json())))
    assert again == request
    assert again.digest() == request.digest()
    assert set(request.parameters) == {parameter.name for parameter in SETTINGS}
    assert all(request.parameters[key] == value for key, value in given_parameters.items())


@given(GIVEN)
def test_the_digest_tells_requests_apart(given_parameters: dict[str, Value]) -> None:
    plain = GenerationRequest.create("/a.png", "draft")
    other = GenerationRequest.create("/a.png", "draft", given_parameters)
    assert (plain.digest() == other.digest()) == (dict(plain.parameters) == dict(other.parameters))


@pytest.mark.parametrize("parameter", NUMBERS, ids=lambda parameter: parameter.name)
def test_the_ends_of_a_range_are_in_it_and_beyond_is_not(parameter: Parameter) -> None:
    assert parameter.minimum is not None
    assert parameter.maximum is not None
    step = 1 if parameter.kind == "integer" else 1e-6
    for inside in (parameter.minimum, parameter.maximum):
        assert parse_value(parameter, inside) == inside
        assert parse_value(parameter, str(int(inside))) == int(inside)
    for outside in (parameter.minimum - step, parameter.maximum + step):
        error = code_of({parameter.name: outside})
        assert error.code == "parameter_range"
        assert parameter.name in error.cause
        assert error.exit_code == USAGE


@pytest.mark.parametrize("parameter", NUMBERS, ids=lambda parameter: parameter.name)
@pytest.mark.parametrize("value", ["", "ten", "1e", None, True, float("nan"), float("inf"), [1], "0x10"])
def test_what_is_no_number_is_refused(parameter: Parameter, value: object) -> None:
    assert code_of({parameter.name: value}).code == "parameter_type"


@pytest.mark.parametrize("parameter", ENUMS, ids=lambda parameter: parameter.name)
@pytest.mark.parametrize("value", ["", "2", "1024 ", True, None, 1.5, 7])
def test_only_a_choice_is_taken(parameter: Parameter, value: object) -> None:
    if isinstance(value, str) and value.strip() in parameter.choices:
        assert parse_value(parameter, value) == value.strip()
    else:
        error = code_of({parameter.name: value})
        assert error.code == "parameter_choice"
        assert all(choice in error.remedy for choice in parameter.choices)


@pytest.mark.parametrize(("word", "value"), [("true", True), ("No", False), ("ON", True), ("0", False), (True, True)])
def test_booleans_are_read_from_words(word: object, value: bool) -> None:
    assert parse_value(BY_NAME["remesh"], word) is value


@pytest.mark.parametrize("value", ["", "maybe", 1, 0.0, None])
def test_other_words_are_no_booleans(value: object) -> None:
    assert code_of({"remesh": value}).code == "parameter_type"


def test_a_misspelt_parameter_gets_a_suggestion() -> None:
    assert "texture_size" in code_of({"texture_sise": 1}).remedy
    assert code_of({"image": "a.png"}).code == "parameter_unknown"
    assert "--help" in code_of({"zzz": 1}).remedy


@pytest.mark.parametrize(("start", "end"), INTERVALS)
def test_an_interval_that_is_upside_down_is_refused(start: str, end: str) -> None:
    error = code_of({start: 0.9, end: 0.8})
    assert error.code == "interval_order"
    assert complete_parameters({start: 0.5, end: 0.5})[start] == 0.5


def test_the_resolution_and_the_pipeline_follow_each_other() -> None:
    assert complete_parameters({"resolution": "512"})["pipeline_type"] == "512"
    assert complete_parameters({"pipeline_type": "1536_cascade"})["resolution"] == "1536"
    assert complete_parameters({})["pipeline_type"] == "1024_cascade"
    assert code_of({"resolution": "512", "pipeline_type": "1536_cascade"}).code == "pipeline_mismatch"


@given(st.dictionaries(st.sampled_from([*BY_NAME, "none_such"]), RUBBISH, max_size=4))
def test_rubbish_is_refused_with_a_known_error_or_taken_in_the_right_type(data: dict[str, object]) -> None:
    complete: dict[str, Value] = {}
    with contextlib.suppress(EspalierError):
        complete = complete_parameters(data)
    for name, value in complete.items():
        kind = BY_NAME[name].kind
        assert isinstance(value, {"boolean": bool, "enum": str, "integer": int}.get(kind, (int, float))), name
        assert kind == "boolean" or not isinstance(value, bool)
        assert kind != "enum" or value in BY_NAME[name].choices


@given(RUBBISH | st.dictionaries(st.sampled_from(["image", "engine", "name", "parameters", "x"]), RUBBISH))
def test_a_stored_request_that_is_rubbish_is_an_error_a_person_can_meet(data: object) -> None:
    with pytest.raises(EspalierError):
        GenerationRequest.from_json(data)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("photo.png", "photo"),
        ("/a b/老 椅子.v2.jpg", "老 椅子.v2"),
        ("C:\\images\\chair.webp", "chair"),
        ("https://example.org/i/old%20chair.png?w=1#x", "old chair"),
        ("https://example.org/", "Asset"),
        ("/x/.png", ".png"),
    ],
)
def test_an_asset_is_called_after_its_image(image: str, name: str) -> None:
    assert asset_name(image) == name


def test_no_image_and_no_engine_are_refused() -> None:
    for image, engine, code in (("  ", "draft", "image_none"), ("a.png", "dream", "engine_unknown")):
        with pytest.raises(EspalierError) as caught:
            GenerationRequest.create(image, engine)
        assert caught.value.code == code


def test_a_request_cannot_be_changed() -> None:
    request = GenerationRequest.create("a.png", "draft")
    assert Path(request.image).is_absolute()
    with pytest.raises(AttributeError):
        request.engine = "remote"  # type: ignore[misc]
    with pytest.raises(TypeError):
        request.parameters["seed"] = 1  # type: ignore[index]
