# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's answers in every form that is known or to be expected, and any rubbish in their place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.backends.remote.account import Account
from engine.backends.remote.client import is_ambiguous
from engine.backends.remote.exchange import Reply
from engine.backends.remote.faults import job_failed, refused
from engine.backends.remote.reading import (
    DONE,
    FAILED,
    JobState,
    Link,
    Told,
    find_link,
    parse,
    read_cost,
    read_created,
    read_error,
    read_job,
    read_time,
)
from engine.backends.remote.ticket import Ticket
from engine.backends.remote.usage import read_balance, read_events

LINK = "https://cdn.example/a.glb?sig=1"
WORDS = (
    *("job_id", "id", "data", "status", "state", "progress", "result", "output", "url", "glb_url", "error", "events"),
    *("model_glb", "b64_json", "message", "code", "detail", "usage", "cost_usd", "created_at", "completed_at"),
    *("balance", "loc", "msg", "poll_url", "job"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(WORDS) | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(JSON)
def test_nothing_that_is_json_breaks_the_reading(body: Any) -> None:
    state = read_job(body)
    assert state.phase in ("pending", "done", "failed")
    assert state.progress is None or 0.0 <= state.progress <= 1.0
    assert state.cost_usd is None or state.cost_usd >= 0.0
    if state.status:
        assert (state.phase == "done") == (state.status in DONE)
        assert (state.phase == "failed") == (state.status in FAILED)
    created = read_created(body)
    assert isinstance(created.job_id, str)
    assert isinstance(created.poll_url, str)
    link = find_link(body)
    assert link is None or bool(link.url) != bool(link.base64)
    assert isinstance(read_error(body, "").message, str)
    read_balance(body)
    for event in read_events(body):
        json.dumps(event)


@given(st.binary(max_size=200))
def test_nothing_that_is_bytes_breaks_the_parsing(data: bytes) -> None:
    try:
        parse(data)
    except ValueError:
        return


def test_nesting_is_no_way_to_break_the_parsing() -> None:
    with pytest.raises(ValueError, match="nested"):
        parse(b"[" * 200_000)


@pytest.mark.parametrize(
    ("body", "job_id"),
    [
        ({"job_id": "j1", "status": "queued"}, "j1"),
        ({"id": "j1", "status": "queued"}, "j1"),
        ({"data": {"job_id": "j1"}}, "j1"),
        ({"id": "req_9", "data": {"job_id": "j1"}}, "j1"),
        ({"job": {"id": "j1", "status": "queued"}}, "j1"),
        ({"job_id": 17}, "17"),
        ({"job_id": "j1", "result": {"data": [{"url": LINK}]}, "status": "completed"}, "j1"),
        ({"result": {"data": [{"url": LINK}]}}, ""),
        ({"id": "gen_1", "data": [{"url": LINK}]}, ""),
        ({"job_id": ""}, ""),
        ({"job_id": None}, ""),
        ({"job_id": "a\nb"}, ""),
        ({}, ""),
        ([], ""),
        ("job", ""),
    ],
)
def test_the_id_is_found(body: Any, job_id: str) -> None:
    assert read_created(body).job_id == job_id


def test_an_answer_without_an_id_is_the_result() -> None:
    created = read_created({"id": "gen_1", "data": [{"url": LINK}], "usage": {"cost_usd": 0.249}})
    assert created.state == JobState("done", link=Link(url=LINK), cost_usd=0.249)


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        *((word, "done") for word in ("completed", "succeeded", "success", "done", "Done", " COMPLETED ")),
        *((word, "failed") for word in ("failed", "error", "cancelled", "canceled", "expired", "FAILED")),
        *((word, "pending") for word in ("queued", "processing", "running", "in_progress", "warming-up", "")),
    ],
)
def test_states_are_read_without_regard_to_case(status: str, phase: str) -> None:
    assert read_job({"job_id": "j", "status": status}).phase == phase
    assert read_job({"data": {"job_id": "j", "status": status}}).phase == phase
    assert read_job({"job": {"state": status}}).phase == phase


@pytest.mark.parametrize(
    ("told", "progress"),
    [
        (0.5, 0.5), (0, 0.0), (1, 1.0), (50, 0.5), (100, 1.0), (250, 1.0), ("50%", 0.5), ("0.5", 0.5), ("1%", 0.01),
        (-1, None), ("half", None), (None, None), (True, None), (float("nan"), None), ([0.5], None),
    ],
)  # fmt: skip
def test_progress_may_be_a_percentage(told: Any, progress: float | None) -> None:
    assert read_job({"status": "running", "progress": told}).progress == progress


@pytest.mark.parametrize("holder", ["result", "output", "data"])
@pytest.mark.parametrize("nested", ["list", "data", "output", "itself", "text", "texts"])
@pytest.mark.parametrize("key", ["url", "glb_url", "model_url", "model_glb", "model_glb.url", "b64_json", "data-uri"])
def test_the_asset_is_found_wherever_it_is(holder: str, nested: str, key: str) -> None:
    expected = Link(base64="Z2xURg==") if key in ("b64_json", "data-uri") else Link(url=LINK)
    name, _, inner = key.partition(".")
    value: Any = {"b64_json": "Z2xURg==", "data-uri": "data:model/gltf-binary;base64,Z2xURg=="}.get(key, LINK)
    own: Any = {"url" if name == "data-uri" else name: {inner: value} if inner else value}
    if nested.startswith("text"):
        if key == "b64_json":
            return
        own = value
    if nested in ("list", "texts"):
        held: Any = [own, {"url": "https://cdn.example/second.glb"}]
    else:
        held = {nested: [own]} if nested in ("data", "output") else own
    assert read_job({"status": "completed", holder: held}).link == expected


def test_the_asset_may_be_in_the_body_itself() -> None:
    assert read_job({"status": "completed", "glb_url": LINK, "result": None}).link == Link(url=LINK)
    assert find_link([{"url": LINK}]) == Link(url=LINK)


def test_a_link_is_one_and_shows_itself_not() -> None:
    for text in ("ftp://x.example/a", "a.glb", "javascript:1", "", "https://[", "data:text/plain,hello"):
        assert find_link({"url": text}) is None
    assert find_link({"url": "/assets/a.glb"}) == Link(url="/assets/a.glb")
    assert LINK not in repr(read_job({"status": "done", "url": LINK}))
    assert "Z2xURg" not in repr(Link(base64="Z2xURg=="))


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"error": {"message": "No", "code": "rate_limit_exceeded", "type": "x"}}, "No", "rate_limit_exceeded"),
        ({"error": "No"}, "No", ""),
        ({"error": {"code": "upstream_error"}}, "upstream_error", "upstream_error"),
        ({"detail": "Not Found"}, "Not Found", ""),
        ({"detail": [{"loc": ["body", "seed"], "msg": "too big"}, {"msg": "x"}]}, "seed: too big; x", ""),
        ({"message": "No", "code": 7}, "No", "7"),
        ({"errors": ["a", "b"]}, "a; b", ""),
        ({}, "", ""),
        (None, "plain words", ""),
    ],
)
def test_an_error_is_found_in_the_servers_words(body: Any, message: str, code: str) -> None:
    told = read_error(body, "plain words" if body is None else "")
    assert (told.message, told.code) == (message, code)


def test_a_web_page_is_no_message() -> None:
    assert read_error(None, "<html>502</html>") == Told()


def test_a_failed_job_tells_why() -> None:
    state = read_job({"status": "failed", "error": {"message": "No subject", "code": "bad_image", "type": "t"}})
    assert state.error == Told("No subject", "bad_image", "t")
    assert read_job({"status": "failed", "error": "No subject"}).error.message == "No subject"
    assert read_job({"status": "completed", "error": None, "url": LINK}).error == Told()


def test_the_cost_and_the_time_are_read() -> None:
    body = {
        "status": "completed", "created_at": "2026-11-22T10:00:00Z", "completed_at": "2026-11-22T10:01:30.5+00:00",
        "result": {"data": [{"url": LINK}], "usage": {"total_cost": "$0.25", "images": 1}},
    }  # fmt: skip
    state = read_job(body)
    assert (state.cost_usd, state.seconds) == (0.25, 90.5)
    assert read_cost({"cost": 1, "currency": "EUR"}) is None
    assert read_job({"status": "done", "created_at": 100, "completed_at": 50, "url": LINK}).seconds is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_700_000_000, 1_700_000_000.0), (1_700_000_000_500, 1_700_000_000.5), ("1700000000", 1_700_000_000.0),
        ("2023-11-14T22:13:20Z", 1_700_000_000.0), ("2023-11-14T22:13:20", 1_700_000_000.0),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000.0), ("soon", None), (None, None), ([], None),
    ],
)  # fmt: skip
def test_times_are_read(value: Any, seconds: float | None) -> None:
    assert read_time(value) == seconds


@given(st.text(st.characters(exclude_characters="\t", exclude_categories=("Cs",)), min_size=1))
def test_a_ticket_survives_the_ledger(job_id: str) -> None:
    if job_id.startswith("asset:"):
        return
    for ticket in (Ticket(job_id), Ticket(job_id, "/v1/async/7"), Ticket(link=LINK)):
        assert Ticket.parse(ticket.text) == ticket
    assert Ticket(job_id).text == job_id


def test_a_documented_path_needs_no_words_in_the_ledger() -> None:
    base = "https://a.example/p"
    assert Ticket.of_job("j/1", "/p/v1/jobs/j%2F1", base).text == "j/1"
    assert Ticket.of_job("j1", "", base).url(base) == "https://a.example/p/v1/jobs/j1"
    assert Ticket.of_job("j1", "/x/j1", base).url(base) == "https://a.example/x/j1"


ACCOUNT = Account.from_json({"key": "sk-empiriolabs-abcdefgh", "online": True}, {}, lambda _host: "")


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "invalid_api_key", "remote_key_invalid"),
        (401, "missing_api_key", "remote_key_missing"),
        (401, "", "remote_key_invalid"),
        (402, "insufficient_credits", "remote_credits"),
        (400, "insufficient_credits", "remote_credits"),
        (402, "", "remote_credits"),
        (403, "", "remote_forbidden"),
        (404, "model_not_found", "remote_model_missing"),
        (429, "rate_limit_exceeded", "remote_rate"),
        (429, "", "remote_rate"),
        (503, "model_unavailable", "remote_model_unavailable"),
        (502, "upstream_error", "remote_broken"),
        (500, "", "remote_broken"),
        (422, "", "remote_refused"),
        (400, "Invalid-API-Key", "remote_key_invalid"),
    ],
)
def test_each_code_of_the_table_has_its_sentence(status: int, code: str, error: str) -> None:
    message = f"Look at {ACCOUNT.key.reveal()}."
    told = refused(status, Told(message, code, ""), ACCOUNT)
    assert told.code == error
    assert ACCOUNT.key.reveal() not in f"{told} {told.detail} {told.fields}"
    if "{message}" in str(told.fields) or error != "remote_key_missing":
        assert "Look at [hidden]" in told.cause
    assert told.cause.endswith(".")
    assert ".." not in told.cause


def test_the_source_of_a_key_that_is_refused_is_told() -> None:
    assert "Espalier's preferences" in refused(401, Told(), ACCOUNT).cause


@pytest.mark.parametrize(("status", "code"), [("failed", "remote_job_failed"), ("canceled", "remote_job_stopped")])
def test_a_job_that_failed_is_told_in_the_servers_words(status: str, code: str) -> None:
    error = job_failed(JobState("failed", status, error=Told("The image shows nothing.")), ACCOUNT)
    assert error.code == code
    assert "The image shows nothing" in error.cause


@pytest.mark.parametrize(
    ("status", "body", "ambiguous"),
    [
        (500, {"error": {"code": "x"}}, True),
        (502, "<html>", True),
        (504, {}, True),
        (503, {"error": {"code": "model_unavailable"}}, False),
        (500, {"error": {"code": "insufficient_credits"}}, False),
        (408, "", True),
        (400, {}, False),
        (429, {}, False),
    ],
)
def test_which_answers_leave_open_what_became_of_a_creation(status: int, body: Any, ambiguous: bool) -> None:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    assert is_ambiguous(Reply(status, {}, data)) is ambiguous


def test_usage_is_read_however_it_is_listed() -> None:
    event = {"created_at": "2026-11-22T10:00:00Z", "cost": 0.249, "status_code": 202, "job_id": "j1", "model": "m"}
    expected = {"time": 1795341600.0, "cost_usd": 0.249, "status": "202", "job_id": "j1", "model": "m"}
    for body in ({"events": [event]}, {"data": {"items": [event]}}, {"usage": {"records": [event, 7]}}):
        assert list(read_events(body)) == [expected]
    for body in ({"balance_usd": 12.5}, {"data": {"credits": "12.5"}}, {"account": {"balance": {"usd": 12.5}}}):
        assert read_balance(body) == 12.5
    assert read_balance({"balance": None}) is None
