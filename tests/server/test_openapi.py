# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the OpenAPI page allows, and much that it does not, is answered without a failure of the server's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from tests.server.harness import Served

OPERATIONS = (
    *("GET /health", "GET /metrics", "POST /v1/3d/generations", "GET /v1/jobs", "GET /v1/jobs/{job_id}"),
    *("DELETE /v1/jobs/{job_id}", "GET /v1/models", "GET /v1/models/{model}", "GET /assets/{signed}/asset.glb"),
)
EXAMPLES = 30


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, Any]]]:
    """A server that is asked a lot, and what its page says of each operation."""
    root = tmp_path_factory.mktemp("openapi") / "root"
    with Served(root, tokens=True, requests_per_minute=10**6, body_s=10.0, fetch_s=1.0) as served:
        schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
        found = [operation.ok() for operation in schema.get_all_operations()]
        yield served, {f"{operation.method.upper()} {operation.path}": operation for operation in found}


def test_every_route_is_documented(api: tuple[Served, dict[str, Any]]) -> None:
    assert set(api[1]) == set(OPERATIONS)


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_makes_the_server_fail(api: tuple[Served, dict[str, Any]], operation: str, mode: Any) -> None:
    served, operations = api
    told: set[int] = set()

    @given(case=operations[operation].as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    def check(case: Any) -> None:
        response = case.call(headers={"x-api-key": served.token})
        told.add(response.status_code)
        if not (operation == "GET /health" and response.status_code == 503):
            case.validate_response(response, checks=[not_a_server_error])

    try:
        check()
    except Exception as error:
        if type(error).__name__ not in ("Unsatisfiable", "NoExamples"):
            raise
        assert mode is GenerationMode.NEGATIVE  # an operation without anything that could be wrong
        return
    assert told
    assert max(told) < 500
