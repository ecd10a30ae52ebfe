# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the OpenAPI page allows, and much that it does not, is answered without a failure of the server's own."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation.modes import GenerationMode

from tests.server.harness import Served, image_uri


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    root = tmp_path_factory.mktemp("openapi") / "root"
    with Served(root, tokens=True, requests_per_minute=10**6, body_s=10.0, fetch_s=1.0) as served:
        schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
        schema.config.generation.update(modes=list(GenerationMode))
        schema.token = served.token
        schema.jobs = [served.create(image=image_uri())]
        yield schema


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_nothing_makes_the_server_fail(case, api) -> None:  # type: ignore[no-untyped-def]
    case.call_and_validate(headers={"x-api-key": api.token}, checks=[not_a_server_error])


def test_every_route_is_documented(api) -> None:  # type: ignore[no-untyped-def]
    paths = {f"{result.ok().method.upper()} {result.ok().path}" for result in api.get_all_operations()}
    assert paths == {
        *("GET /health", "GET /metrics", "POST /v1/3d/generations", "GET /v1/jobs", "GET /v1/jobs/{job_id}"),
        *("DELETE /v1/jobs/{job_id}", "GET /v1/models", "GET /v1/models/{model}", "GET /assets/{signed}/asset.glb"),
    }
