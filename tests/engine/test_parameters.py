# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of parameters is exactly the published one, and says of each what a person needs to know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.parameters import (
    BY_NAME,
    ENGINES,
    GROUPS,
    INTERVALS,
    PARAMETERS,
    PIPELINE_OF_RESOLUTION,
    SETTINGS,
    Parameter,
)

PUBLISHED = json.loads((Path(__file__).resolve().parents[1] / "data" / "parameters.json").read_text("utf-8"))


def test_there_are_all_35_in_the_published_order() -> None:
    assert len(PUBLISHED) == 35
    assert [parameter.name for parameter in PARAMETERS] == [item["name"] for item in PUBLISHED]
    assert len(BY_NAME) == 35
    assert [parameter.name for parameter in SETTINGS] == [item["name"] for item in PUBLISHED if item["type"] != "image"]


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda item: item["name"])
def test_each_parameter_is_the_published_one(published: dict[str, object]) -> None:
    parameter = BY_NAME[str(published["name"])]
    assert parameter.kind == published["type"]
    assert parameter.default == published.get("default")
    assert type(parameter.default) is type(published.get("default"))
    assert parameter.minimum == published.get("minimum")
    assert parameter.maximum == published.get("maximum")
    assert list(parameter.choices) == published.get("choices", [])
    assert (parameter.default is None) == published["required"]


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
def test_each_parameter_can_be_drawn_and_explained(parameter: Parameter) -> None:
    assert parameter.group in {group.name for group in GROUPS}
    assert parameter.label
    assert parameter.label[0].isupper()
    assert parameter.help[0].isupper()
    assert not parameter.help.endswith(".")
    for engine, reason in parameter.ignored_by.items():
        assert engine in {e.name for e in ENGINES}
        assert reason[0].islower()
        assert not reason.endswith(".")
    if parameter.kind == "enum":
        assert parameter.default in parameter.choices
    if parameter.kind in ("integer", "number"):
        assert parameter.minimum is not None
        assert parameter.maximum is not None
        assert isinstance(parameter.default, (int, float))
        assert parameter.minimum <= parameter.default <= parameter.maximum


def test_labels_are_unique_within_a_group() -> None:
    seen = [(parameter.group, parameter.label) for parameter in PARAMETERS]
    assert len(set(seen)) == len(seen)


def test_some_engine_honours_each_parameter() -> None:
    for parameter in PARAMETERS:
        assert set(parameter.ignored_by) < {engine.name for engine in ENGINES}, parameter.name


def test_the_resolution_and_the_pipeline_go_together() -> None:
    assert tuple(PIPELINE_OF_RESOLUTION) == BY_NAME["resolution"].choices
    assert tuple(PIPELINE_OF_RESOLUTION.values()) == BY_NAME["pipeline_type"].choices
    assert PIPELINE_OF_RESOLUTION[str(BY_NAME["resolution"].default)] == BY_NAME["pipeline_type"].default


def test_each_interval_has_both_its_ends() -> None:
    assert len(INTERVALS) == 3
    for start, end in INTERVALS:
        assert (BY_NAME[start].minimum, BY_NAME[start].maximum) == (BY_NAME[end].minimum, BY_NAME[end].maximum)
