# SPDX-License-Identifier: GPL-3.0-or-later
"""What crosses the pipe comes out as it went in, and nothing else gets through."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.workers.messages import (
    FROM_CHILD,
    LINE_LIMIT,
    TO_CHILD,
    Accepted,
    Answer,
    Ask,
    CancelJob,
    CancelledJob,
    Failed,
    Heartbeat,
    Hello,
    Message,
    MessageError,
    Reached,
    Result,
    RunJob,
    Shutdown,
    Started,
    Submitting,
    Written,
    decode,
    encode,
)

ALL = {**TO_CHILD, **FROM_CHILD}

# File names on Linux need not be Unicode: Python then has lone surrogates in them.
texts = st.text(st.characters(exclude_categories=()))
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, plain, max_size=5)
messages = st.one_of(
    st.builds(RunJob, texts, objects, texts, texts, objects, objects, texts),
    st.builds(CancelJob, texts),
    st.builds(Written, texts),
    st.builds(Ask, texts, texts, objects),
    st.builds(Shutdown),
    st.builds(Hello, st.integers(0, 10**6), texts, texts, st.integers(0, 2**31), texts),
    st.builds(Started, texts),
    st.builds(Reached, texts, texts, texts, st.floats(0, 1), texts),
    st.builds(Submitting, texts, texts, texts),
    st.builds(Accepted, texts, texts),
    st.builds(Answer, texts, objects, objects),
    st.builds(Heartbeat),
    st.builds(Result, texts, objects),
    st.builds(Failed, texts, objects, st.booleans()),
    st.builds(CancelledJob, texts, st.booleans()),
)


@given(messages)
def test_round_trip(message: Message) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert decode(line, ALL) == message


@given(st.binary(max_size=200))
@example(b"\xff\xfe\n")
@example(b"[" * 100_000 + b"\n")
@example(b'{"a":' * 50_000 + b"1" + b"}" * 50_000)
@example(b'{"type":"heartbeat","type":5}')
@example(b'{"type":["heartbeat"]}')
@example(b"9" * 10_000)
@example(b"NaN\n")
def test_noise_is_refused(line: bytes) -> None:
    with pytest.raises(MessageError):
        decode(line, ALL)


@given(st.sampled_from(sorted(ALL)), objects)
def test_objects_with_other_fields_are_refused_or_are_messages(name: str, data: dict[str, Any]) -> None:
    line = json.dumps({**data, "type": name}).encode()
    try:
        message = decode(line, ALL)
    except MessageError:
        return
    assert decode(encode(message), ALL) == message


@given(messages, st.data())
def test_a_changed_byte_never_crashes(message: Message, data: st.DataObject) -> None:
    line = bytearray(encode(message))
    line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(line), ALL)
    except MessageError:
        return
    assert type(decoded) in ALL.values()


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"progress","job":"a","stage":"s","label":"l","fraction":1.5}',
        b'{"type":"progress","job":"a","stage":"s","label":"l","fraction":-0.1}',
        b'{"type":"progress","job":"a","stage":"s","label":"l","fraction":NaN}',
        b'{"type":"progress","job":"a","stage":"s","label":"l","fraction":1e999}',
        b'{"type":"progress","job":"a","stage":"s","label":"l","fraction":true}',
        b'{"type":"progress","job":"a","stage":"s","label":"l","fraction":' + b"1" * 400 + b"}",
        b'{"type":"started","job":5}',
        b'{"type":"started"}',
        b'{"type":"started","job":"a","more":1}',
        b'{"type":"hello","protocol":1.0,"engine":"e","version":"v","pid":1,"python":"p"}',
        b'{"type":"hello","protocol":true,"engine":"e","version":"v","pid":1,"python":"p"}',
        b'{"type":"result","job":"a","result":[]}',
        b'{"type":"cancelled","job":"a","ended":1}',
        b'{"type":"accepted","job":"a","remote_id":null}',
        b'{"type":"answer","id":7}',
        b'{"type":"written","job":"a"}',
        b'{"type":"run","job":"a","request":{},"folder":"f"}',
        b'{"type":"burn"}',
        b'{"job":"a"}',
    ],
)
def test_wrong_types_and_ranges_are_refused(line: bytes) -> None:
    with pytest.raises(MessageError):
        decode(line, FROM_CHILD)


def test_the_length_of_a_line_is_limited() -> None:
    fits = encode(Result("a", {"text": "x" * (LINE_LIMIT - 100)}))
    assert decode(fits, FROM_CHILD) == Result("a", {"text": "x" * (LINE_LIMIT - 100)})
    with pytest.raises(MessageError):
        encode(Result("a", {"text": "x" * LINE_LIMIT}))
    with pytest.raises(MessageError):
        decode(fits[:-1] + b" " * 100 + b"\n", FROM_CHILD)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, b"bytes"])
def test_what_json_cannot_hold_is_not_sent(value: object) -> None:
    with pytest.raises(MessageError):
        encode(Result("a", {"value": value}))


def test_optional_fields_may_be_left_out() -> None:
    line = b'{"type":"progress","job":"a","stage":"s","label":"l","fraction":1}'
    assert decode(line, FROM_CHILD) == Reached("a", "s", "l", 1.0)


def test_a_secret_is_in_no_message_about_a_message() -> None:
    order = RunJob("a", {}, "f", account={"key": "sk-secret"})
    question = Ask("1", "account", {"key": "sk-secret"})
    assert "sk-secret" not in f"{order!r} {question!r}"
    with pytest.raises(MessageError) as caught:
        decode(b'{"type":"ask","id":"1","question":"account","account":"sk-secret"}', TO_CHILD)
    assert "sk-secret" not in str(caught.value)
    with pytest.raises(MessageError) as caught:
        encode(RunJob("a", {}, "f", account={"key": "sk-secret", "more": b"bytes"}))
    assert "sk-secret" not in str(caught.value)
