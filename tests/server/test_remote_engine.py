# SPDX-License-Identifier: GPL-3.0-or-later
"""The remote engine against this server: its own tests, and one job from end to end with the draft engine."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import EspalierError
from engine.jobs.job import State
from engine.jobs.queue import JobQueue
from engine.mesh.glb import read_glb
from engine.request import GenerationRequest
from engine.server.desk import FORMAT
from engine.workers.launch import current_launch
from tests.engine.queue_harness import drive
from tests.engine.remote_harness import generate
from tests.server.harness import ROOT, Served, made
from tests.server.served_api import ServedApi

SUITE = {
    "test_remote_faults": (
        *("test_a_creation_whose_answer_is_lost_is_not_repeated", "test_a_creation_is_understood"),
        *("test_a_creation_that_the_server_fails_at_is_not_repeated", "test_a_refused_creation_is_told_at_once"),
        *("test_a_creation_that_is_too_early_is_repeated", "test_a_creation_without_an_answer_ends"),
        *("test_nothing_is_sent_to_a_server_that_is_not_there", "test_a_server_that_comes_back_is_asked_again"),
        *("test_a_redirection_takes_the_key_nowhere", "test_a_redirection_to_the_same_server_is_followed"),
        *("test_a_poll_that_goes_wrong_is_repeated", "test_a_minute_of_trouble_passes", "test_retry_after_is_honored"),
        *("test_a_server_that_restarts_does_not_matter", "test_a_poll_that_is_never_answered_is_given_up"),
        *("test_a_job_is_taken_up_again_by_its_id", "test_a_download_goes_on_where_it_broke_off"),
        *("test_a_download_that_breaks_off_again_and_again", "test_a_cancel_is_heard_at_once"),
    ),
    "test_remote_forms": (
        *("test_no_key_asks_nobody", "test_every_parameter_is_sent", "test_a_large_picture_is_made_smaller"),
        *("test_a_prepared_picture_stays_as_it_is", "test_a_photo_is_sent_upright"),
    ),
}
"""The tests that are about the documented server, and not about the words or the inside of another one."""
MODULES = {name: importlib.import_module(f"tests.engine.{name}") for name in SUITE}
for module, tests in SUITE.items():
    for test in tests:
        globals()[test] = getattr(MODULES[module], test)


@pytest.fixture(scope="module", autouse=True)
def in_the_place_of_the_scripted_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have the suite's tests meet this server."""
    folder = tmp_path_factory.mktemp("suite")
    launch = made(folder / "backend")
    with (
        Served(folder / "root", launch, tokens=True, slots=4, requests_per_minute=10**6) as inner,
        pytest.MonkeyPatch.context() as patch,
    ):
        ServedApi.inner, ServedApi.takes = inner, folder / "backend" / "takes"
        for module in MODULES.values():
            patch.setattr(module, "ApiServer", ServedApi)
        yield


def test_generations_from_end_to_end(drafting: Served, tmp_path: Path) -> None:
    """An artist's queue, the remote engine in its worker, this server, the draft engine in its own, and back."""
    launch = current_launch(ROOT)
    account = {
        "base_url": drafting.url, "key": drafting.token, "ca_bundle": "", "max_side": 1024, "online": False,
        "shared": str(tmp_path / "shared"), "requests_per_minute": 1000,
    }  # fmt: skip
    queue = JobQueue(tmp_path / "artist", lambda engine: launch, account=lambda engine: account)
    try:
        parameters = {"resolution": "512", "texture_size": "1024"}
        image = ROOT / "tests" / "data" / "rocket.png"
        for response_format in ("url", "b64_json"):
            told = {**parameters, "response_format": response_format}
            queue.submit(GenerationRequest.create(image, "remote", told))
        drive(queue, lambda: not queue.busy)
        there = {job.placement[FORMAT]: job for job in asyncio.run(drafting.desk.jobs("first"))[:2]}
        assert there.keys() == {"url", "b64_json"}
        for done in queue.jobs():
            assert done.state is State.READY, done.error
            assert done.folder is not None
            mesh, _ = read_glb(done.folder / "asset.glb")
            assert len(mesh.faces) > 1000
            made = there[str(done.request.parameters["response_format"])]
            assert made.folder is not None
            assert (made.folder / "asset.glb").read_bytes() == (done.folder / "asset.glb").read_bytes()
            assert made.request.parameters == {**done.request.parameters}
    finally:
        queue.close()


def test_a_servers_failure_reaches_the_person(tmp_path: Path) -> None:
    with ServedApi(job_s=12, scale=120) as server:
        outcome = generate(server, tmp_path, seed=666)
        assert isinstance(outcome.error, EspalierError)
        assert outcome.error.code == "remote_job_failed"
        assert "No subject stands out" in outcome.told()
