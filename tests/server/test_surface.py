# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented surface: every path, exactly the documented fields, and the table's own validation."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
import requests

from engine.offer import read_offer
from engine.parameters import PARAMETERS, SETTINGS
from engine.server.app import ASSET_PATH
from engine.server.settings import MODEL
from tests.server.harness import Served, body, image_uri, large_enough, made
from tests.support.api_assets import finished_asset
from tests.support.waiting import wait_for

CREATE = "/v1/3d/generations"
POLLED = {"job_id", "status", "progress", "created_at", "completed_at", "result", "error"}


def refused(answer: requests.Response, status: int, code: str) -> str:
    """Check that an answer is the documented envelope, and return its message."""
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert set(told) == {"error"}
    assert set(told["error"]) == {"code", "message", "type"}
    assert told["error"]["code"] == code
    return str(told["error"]["message"])


def test_the_documented_way(served: Served) -> None:
    answer = served.ask("POST", CREATE, json=body())
    assert answer.status_code == 202
    told = answer.json()
    assert set(told) == {"job_id", "status", "poll_url", "created_at"}
    assert told["status"] in ("queued", "processing", "completed")
    assert set(served.ask("GET", told["poll_url"]).json()) == POLLED
    done = served.ended(told["job_id"])
    assert (done["status"], done["progress"], done["error"]) == ("completed", 1.0, None)
    assert set(done["result"]) == {"data", "usage"}
    (asset,) = done["result"]["data"]
    assert set(asset) == {"url", "content_type"}
    assert served.ended(told["job_id"])["result"] == done["result"], "the address stays the same"
    whole = requests.get(asset["url"], timeout=30)
    assert whole.content == finished_asset()
    assert whole.headers["content-type"] == asset["content_type"] == "model/gltf-binary"
    part = requests.get(asset["url"], headers={"Range": "bytes=10-19"}, timeout=30)
    assert (part.status_code, part.content) == (206, finished_asset()[10:20])
    assert requests.head(asset["url"], timeout=30).headers["content-length"] == str(len(finished_asset()))


def test_the_asset_comes_inside_where_that_was_asked(served: Served) -> None:
    done = served.ended(served.create(response_format="b64_json"))
    (asset,) = done["result"]["data"]
    assert set(asset) == {"b64_json", "content_type"}
    assert base64.b64decode(asset["b64_json"]) == finished_asset()


def test_a_form_does_as_json_does(served: Served) -> None:
    fields = {"model": MODEL, "seed": "7", "remesh": "false", "ss_guidance_strength": "3.5", "resolution": "512"}
    files = {"image": ("../../etc/passwd\0.png", large_enough(), "image/png")}
    answer = served.ask("POST", CREATE, data=fields, files=files)
    assert answer.status_code == 202, answer.text
    job = asyncio.run(served.desk.job("first", answer.json()["job_id"]))
    values = job.request.parameters
    assert (values["seed"], values["remesh"], values["ss_guidance_strength"]) == (7, False, 3.5)
    assert Path(job.request.origin).is_relative_to(served.settings.root / "inputs")
    assert served.ended(job.id)["status"] == "completed"
    wait_for(lambda: not Path(job.request.origin).exists())  # the image is not kept longer than its job needs it
    answer = served.ask("POST", CREATE, files={"model": (None, MODEL), "image_url": (None, image_uri())})
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("parameter", [p for p in SETTINGS if p.kind != "boolean"], ids=lambda p: p.name)
def test_each_parameter_is_checked_by_the_table(served: Served, parameter: Any) -> None:
    wrong: list[Any] = [True, None, [], {}, "nonsense"]
    if parameter.kind == "enum":
        wrong += [1024, "2048x"]
    else:
        wrong += ["5", parameter.minimum - 1, parameter.maximum + 1]
        wrong += [1.5] if parameter.kind == "integer" else []
    for value in wrong:
        message = refused(served.ask("POST", CREATE, json=body(**{parameter.name: value})), 400, "invalid_request")
        assert parameter.name in message


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": "other"}, 404, "model_not_found"),
        ({"model": None}, 404, "model_not_found"),
        ({"image": None}, 400, "invalid_request"),
        ({"image": "chair.png"}, 400, "invalid_request"),
        ({"image": "file:///etc/passwd"}, 400, "invalid_request"),
        ({"image": "data:image/png;base64,%%%"}, 400, "invalid_request"),
        ({"image": "data:text/html;base64,AAAA"}, 400, "invalid_request"),
        ({"image": 5}, 400, "invalid_request"),
        ({"image_url": image_uri()}, 400, "invalid_request"),
        ({"steps": 5}, 400, "invalid_request"),
        ({"x" * 5000: 5}, 400, "invalid_request"),
        ({"resolution": "512", "pipeline_type": "1024_cascade"}, 400, "invalid_request"),
        ({"ss_guidance_interval_start": 0.9, "ss_guidance_interval_end": 0.1}, 400, "invalid_request"),
        ({"seed": 10**30}, 400, "invalid_request"),
        ({"seed": "\ud800"}, 400, "invalid_request"),
        ({"remesh": 1}, 400, "invalid_request"),
    ],
)
def test_what_is_wrong_is_refused(served: Served, change: dict[str, Any], status: int, code: str) -> None:
    before = len(asyncio.run(served.desk.jobs("first")))
    message = refused(served.ask("POST", CREATE, json=body(**change)), status, code)
    assert message.endswith(".")
    assert len(message) < 500
    assert len(asyncio.run(served.desk.jobs("first"))) == before
    assert str(served.settings.root) not in message


def test_a_failure_is_told_without_the_folders_of_the_machine(served: Served) -> None:
    done = served.ended(served.create(seed=666))
    assert done["status"] == "failed"
    assert set(done["error"]) == {"message", "type", "code"}
    assert done["error"]["code"] == "image_no_subject"
    assert str(served.settings.root) not in str(done)


def test_jobs_are_listed_newest_first_and_by_pages(served: Served) -> None:
    created = [served.create() for _ in range(3)]
    told = served.ask("GET", "/v1/jobs?limit=2").json()
    assert [job["job_id"] for job in told["data"]] == created[:0:-1]
    assert told["has_more"]
    told = served.ask("GET", f"/v1/jobs?limit=1&after={created[1]}").json()
    assert [job["job_id"] for job in told["data"]] == [created[0]]
    assert set(told["data"][0]) == POLLED
    for query in ("limit=0", "limit=x", "limit=1000", "after=" + "x" * 100):
        refused(served.ask("GET", f"/v1/jobs?{query}"), 400, "invalid_request")


def test_a_job_is_cancelled(tmp_path: Path) -> None:
    with Served(tmp_path / "root", made(tmp_path / "backend", takes_s=600)) as served:
        running, waiting = served.create(), served.create()
        for job in (waiting, running):
            answer = served.ask("DELETE", f"/v1/jobs/{job}")
            assert (answer.status_code, answer.json()) == (200, {"job_id": job, "status": "cancelled"})
            assert served.ended(job)["status"] == "cancelled"
        assert served.ask("DELETE", f"/v1/jobs/{running}").json()["status"] == "cancelled"


def test_the_model_is_described_by_the_table(served: Served) -> None:
    model = served.ask("GET", f"/v1/models/{MODEL}").json()
    assert set(model) == {"id", "object", "capabilities", "supported_parameters", "pricing_rows"}
    assert [p["name"] for p in model["supported_parameters"]] == [p.name for p in PARAMETERS]
    offer = read_offer(model)
    assert (offer.limits, set(offer.prices.values())) == ({}, {0.0})
    assert served.ask("GET", "/v1/models").json() == {"object": "list", "data": [model]}
    refused(served.ask("GET", "/v1/models/other"), 404, "model_not_found")


def test_what_needs_no_key(served: Served) -> None:
    assert served.ask("GET", "/health", token="").json() == {"status": "ok"}
    assert served.ask("GET", "/docs", token="").status_code == 200
    schema = served.ask("GET", "/openapi.json", token="").json()
    properties = schema["paths"][CREATE]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert set(properties) == {"model", "image_url", *(p.name for p in PARAMETERS)}
    operations = {(path, name): one for path, page in schema["paths"].items() for name, one in page.items()}
    keyed = [{name: []} for name in schema["components"]["securitySchemes"]]
    assert [list(one) for one in keyed] == [["bearer"], ["x-api-key"]]
    assert {path for (path, _), one in operations.items() if one.get("security") != keyed} == {"/health", ASSET_PATH}
    assert served.ask("GET", "/v1/nothing", token="").json() == {"detail": "Not Found"}


def test_metrics_count(served: Served) -> None:
    served.ended(served.create())
    text = served.ask("GET", "/metrics").text
    assert 'espalier_requests_total{method="POST",route="/v1/3d/generations",status="202"}' in text
    assert 'espalier_jobs{state="ready"}' in text
    assert served.ask("GET", "/metrics", token="").status_code == 401
