# SPDX-License-Identifier: GPL-3.0-or-later
"""Prices and limits out of a server's description of the model, however it is worded; and what is asked, clamped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.offer import LISTED, Limit, full_label, read_offer
from engine.parameters import BY_NAME, INTERVALS, PRICE_USD, SETTINGS
from engine.request import complete_parameters


def offer_of(*described: object, rows: object = None):
    return read_offer({"supported_parameters": list(described), "pricing_rows": rows})


@pytest.mark.parametrize(
    "rows",
    [
        [{"resolution": "512", "price_usd": 0.03}, {"resolution": 1024, "price_usd": 0.2}],
        [{"name": "Resolution 512", "price": "$0.03"}, {"name": "Resolution 1024", "price": "0.2 USD per asset"}],
        [{"label": "512³ voxels", "unit": "asset", "amount": 0.03}, {"label": "1024³ voxels", "amount": "0.20"}],
        [{"when": {"resolution": "512"}, "usd": 0.03}, {"when": {"pipeline_type": "1024_cascade"}, "usd": 0.2}],
        [{"tier": "512", "price": {"amount": "0.03", "currency": "USD"}}, {"tier": "1024", "price": {"usd": 0.2}}],
        {"512": 0.03, "1024": {"price_usd": "0.2"}},
    ],
)
def test_prices_are_read_however_the_rows_are_worded(rows):
    offer = offer_of(rows=rows)
    assert offer.prices == {"512": 0.03, "1024": 0.2, "1536": PRICE_USD["1536"]}
    assert offer.told == {"512", "1024"}, "the third is still our own"
    assert not LISTED.told


@pytest.mark.parametrize(
    "rows",
    [
        None,
        "free",
        [None, 3, []],
        [{"resolution": "1024"}],
        [{"resolution": "1024", "price_usd": "on request"}],
        [{"resolution": "1024", "price_usd": True}],
        [{"resolution": "1024", "price_usd": -1}],
        [{"resolution": "1024", "price_usd": float("nan")}],
        [{"resolution": "1024", "price": 0.2, "currency": "EUR"}],
        [{"label": "512 to 1024", "price_usd": 0.2}],
        [{"texture_size": "1024", "price_usd": 0.2}],
        [{"label": "asset", "price_usd": 1024}],
    ],
)
def test_a_price_that_cannot_be_read_leaves_the_tables(rows):
    assert offer_of(rows=rows).prices == PRICE_USD


def test_of_two_prices_for_a_resolution_the_higher_is_told():
    rows = [{"resolution": "512", "price_usd": price} for price in (0.02, 0.05, 0.03)]
    assert offer_of(rows=rows).prices["512"] == 0.05


@pytest.mark.parametrize(
    "described",
    [
        {"name": "ss_sampling_steps", "minimum": 2, "maximum": 50},
        {"name": "ss_sampling_steps", "min": "2", "max": "50"},
        {"key": "ss_sampling_steps", "range": [2, 50]},
        {"id": "ss_sampling_steps", "range": "2-50"},
        {"parameter": "ss_sampling_steps", "range": "2 \u2013 50"},
        {"name": "ss_sampling_steps", "range": {"min": 2, "max": 50}},
        {"name": "ss_sampling_steps", "range": [1, 64], "minimum": 2, "maximum": 50},
        {"name": "ss_sampling_steps", "schema": {"ge": 1.5, "le": 50.5}},
    ],
)
def test_a_narrower_range_limits_however_it_is_worded(described):
    offer = offer_of(described)
    assert offer.limits["ss_sampling_steps"] == Limit(2, 50)
    assert offer.limited("ss_sampling_steps", 64) == 50
    assert isinstance(offer.limited("ss_sampling_steps", 64), int)
    assert offer.limited("ss_sampling_steps", 1) == 2
    assert offer.limited("ss_sampling_steps", 12) == 12


def test_descriptions_may_come_as_an_object():
    for wrap in (lambda members: members, lambda members: {"type": "object", "properties": members}):
        offer = read_offer({"supported_parameters": wrap({"seed": {"maximum": 1000}})})
        assert offer.limits == {"seed": Limit(0, 1000)}


@pytest.mark.parametrize(
    "described",
    [
        {"name": "seed", "minimum": -5, "maximum": 2**40},
        {"name": "seed", "minimum": 9, "maximum": 3},
        {"name": "seed", "range": "any"},
        {"name": "seed", "minimum": True},
        {"name": "not_ours", "maximum": 1},
        {"name": "verbose", "maximum": 0},
        {"name": "resolution", "choices": ["512", "1024", "1536", "2048"]},
        {"name": "resolution", "choices": ["4096"]},
        {"maximum": 3},
        "seed",
        None,
    ],
)
def test_what_does_not_narrow_our_range_is_no_limit(described):
    assert not offer_of(described).limits


def test_limits_that_no_interval_can_satisfy_are_dropped():
    start, end = INTERVALS[0]
    assert not offer_of({"name": start, "minimum": 0.8}, {"name": end, "maximum": 0.5}).limits


def test_a_choice_that_is_not_offered_becomes_the_next_lower_with_its_pipeline():
    offer = offer_of({"name": "resolution", "enum": [512, 1024]})
    taken, told = offer.clamp(complete_parameters({"resolution": "1536"}))
    assert (taken["resolution"], taken["pipeline_type"]) == ("1024", "1024_cascade")
    assert told == ["Resolution is 1024: the server takes only 512, 1024."]


def test_the_sentence_tells_parameters_of_one_label_apart():
    taken, told = offer_of({"name": "shape_slat_sampling_steps", "maximum": 50}).clamp(
        complete_parameters({"shape_slat_sampling_steps": 64})
    )
    assert taken["shape_slat_sampling_steps"] == 50
    assert told == ["Shape Steps is 50: the server takes 1 to 50."]
    assert full_label(BY_NAME["remesh"]) == "Remesh"


def test_nothing_is_told_where_nothing_was_changed():
    values = complete_parameters({})
    assert LISTED.clamp(values) == (values, [])


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(list(BY_NAME)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_LIMITS = st.fixed_dictionaries(
    {},
    optional={
        parameter.name: st.fixed_dictionaries({}, optional={"minimum": st.floats(-2, 60), "maximum": st.floats(-2, 60)})
        for parameter in SETTINGS
        if parameter.kind in ("integer", "number")
    },
)


@given(_ANY, _ANY)
def test_no_description_is_too_odd_to_read(parameters, rows):
    offer = read_offer({"supported_parameters": parameters, "pricing_rows": rows})
    assert offer.prices.keys() == PRICE_USD.keys()
    assert read_offer(parameters).prices.keys() == PRICE_USD.keys()


@given(_LIMITS, st.data())
def test_what_is_clamped_is_valid_and_within_every_limit(limits, data):
    offer = read_offer({"supported_parameters": limits})
    asked = {}
    for start, end in INTERVALS:
        asked[start], asked[end] = sorted(data.draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    taken, told = offer.clamp(complete_parameters(asked))
    assert complete_parameters(taken) == taken
    for name, limit in offer.limits.items():
        assert limit.minimum <= taken[name] <= limit.maximum, name
    assert bool(told) == (taken != complete_parameters(asked))
    assert offer.clamp(taken) == (taken, [])
