# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of a fleet: a folder, and one that speaks S3's protocol, with the fleet's own parts over it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
import requests

from engine.errors import EspalierError
from engine.server import store as store_module
from engine.server.deployment import build
from engine.server.fleet import Plan
from engine.server.store import ASSETS, INPUTS, Store
from tests.server.harness import ROOT, ask, body, ended, image_uri
from tests.server.lone_fleet import LoneFleet
from tests.server.object_store import BUCKET, STORE, ObjectStore, forget_clients, object_store
from tests.support.waiting import wait_for

CREATE = "/v1/3d/generations"
IMAGE = image_uri((ROOT / "tests" / "data" / "rocket.png").read_bytes())


@pytest.fixture(scope="module")
def objects() -> Iterator[ObjectStore]:
    with object_store() as objects:
        yield objects


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(str(tmp_path / "root"), store=STORE, host="127.0.0.1")


def create(url: str, seed: int) -> str:
    """Order a small asset, and return its job's id."""
    order = body(seed=seed, image=IMAGE, texture_size="1024", decimation_target=10000)
    answer = ask(url, "POST", CREATE, json=order)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_files_go_in_and_out(objects: ObjectStore, tmp_path: Path, kind: str) -> None:
    store = Store(STORE if kind == "s3" else str(tmp_path / "store"))
    store.ensure()
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(100_000))
    store.put(source, ASSETS, "one.glb")
    store.get(ASSETS, "one.glb", target)
    assert target.read_bytes() == source.read_bytes()
    local = store.local(ASSETS, "one.glb", 1000.0)
    assert local.read_bytes() == source.read_bytes()
    store.remove(ASSETS, "one.glb")
    store.remove(ASSETS, "one.glb")
    with pytest.raises(FileNotFoundError):
        store.local(ASSETS, "two.glb", 1000.0).read_bytes()
    with pytest.raises(EspalierError) as failure:
        store.get(INPUTS, "nothing", target)
    assert failure.value.code == "server_store_missing"


def test_copies_have_the_same_time_everywhere_and_are_dropped(objects: ObjectStore, tmp_path: Path) -> None:
    one, two = Store(STORE), Store(STORE)
    (tmp_path / "source").write_bytes(b"asset")
    for name in ("a", "b"):
        one.put(tmp_path / "source", ASSETS, name)
    copies = [store.local(ASSETS, "a", 1000.25) for store in (one, two)]
    assert copies[0] != copies[1]
    assert {copy.stat().st_mtime for copy in copies} == {1000.25}
    with patch.object(store_module, "_COPY_S", -1.0):
        one.local(ASSETS, "b", 1000.25)
    assert [copy.exists() for copy in copies] == [False, True]
    for name in ("a", "b"):
        one.remove(ASSETS, name)
    with pytest.raises(FileNotFoundError):
        one.local(ASSETS, "a", 1000.25)


def test_what_is_wrong_with_a_store_is_told_before_anything_starts(objects: ObjectStore, tmp_path: Path) -> None:
    def refused(store: str) -> EspalierError:
        forget_clients()
        with pytest.raises(EspalierError) as failure:
            build({"root": str(tmp_path), "host": "127.0.0.1", "store": store})
        assert store in str(failure.value)
        return failure.value

    assert refused("s3://nowhere/studio").code == "server_store_missing"
    assert [one["Name"] for one in objects.client.list_buckets()["Buckets"]] == [BUCKET], "no bucket is made"
    assert refused("abc://espalier/studio").code == "server_store_unknown"
    with patch.dict(os.environ, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}):
        assert refused(STORE).code == "server_store_down"
    with objects.asking_for_a_key():
        assert refused(STORE).code == "server_store_refused"
        with patch.dict(os.environ, objects.key):
            forget_clients()
            build({"root": str(tmp_path), "host": "127.0.0.1", "store": STORE})
    forget_clients()
    assert objects.names(ASSETS) + objects.names(INPUTS) == []


def test_two_fronts_serve_what_is_in_the_store_until_its_time_is_over(objects: ObjectStore, plan: Plan) -> None:
    fleet = LoneFleet(plan, fronts=2)
    try:
        job = create(fleet.urls[0], 1)
        told = [ended(url, job) for url in fleet.urls]
        assert [one["status"] for one in told] == ["completed"] * 2, told
        links = [one["result"]["data"][0]["url"] for one in told]
        whole = requests.get(links[0], timeout=60)
        assert whole.content[:4] == b"glTF"
        (name,) = objects.names(ASSETS)
        stored = objects.client.get_object(Bucket=BUCKET, Key=f"studio/assets/{name}")["Body"].read()
        assert stored == whole.content
        rest = {"Range": "bytes=1000-", "If-Range": whole.headers["etag"]}
        second = requests.get(links[1], headers=rest, timeout=60)
        assert (second.status_code, second.content) == (206, whole.content[1000:]), "it goes on at another front"
        waits = create(fleet.urls[1], 2)
    finally:
        fleet.close()
    fleet = LoneFleet(plan)
    try:
        assert ended(fleet.urls[0], waits)["status"] == "completed"
        again = ended(fleet.urls[0], job)["result"]["data"][0]["url"]
        assert requests.get(again, timeout=60).content == whole.content
        wait_for(lambda: objects.names(INPUTS) == [])
        assert {name.rpartition("-")[0] for name in objects.names(ASSETS)} == {job, waits}
    finally:
        fleet.close()
    fleet = LoneFleet(replace(plan, keep_hours=0.2 / 3600))
    try:
        wait_for(lambda: objects.names(ASSETS) == [], 0.1)
        assert ask(fleet.urls[0], "GET", urlsplit(again).path).status_code == 410
        assert ask(fleet.urls[0], "GET", f"/v1/jobs/{job}").status_code == 404
    finally:
        fleet.close()


def test_a_store_that_fails_is_told_and_is_asked_again(objects: ObjectStore, plan: Plan) -> None:
    fleet = LoneFleet(plan)
    try:
        job = create(fleet.urls[0], 3)
        link = ended(fleet.urls[0], job)["result"]["data"][0]["url"]
        with objects.asking_for_a_key():
            answers = [ask(fleet.urls[0], "POST", CREATE, json=body(image=IMAGE)), requests.get(link, timeout=60)]
            for answer in answers:
                assert answer.status_code == 503, answer.text
                assert "refuses this fleet's key" in answer.json()["error"]["message"]
        assert requests.get(link, timeout=60).content[:4] == b"glTF"
    finally:
        fleet.close()
    works, remove = threading.Event(), Store.remove

    def removed(store: Store, folder: str, name: str) -> None:
        if name.startswith(job) and not works.is_set():
            tried.append(name)
            raise EspalierError("server_store_down", store=STORE, reason="a test")
        remove(store, folder, name)

    tried: list[str] = []
    with patch.object(Store, "remove", removed):
        fleet = LoneFleet(replace(plan, keep_hours=0.1 / 3600))
        try:
            wait_for(lambda: len(tried) > 2)
            assert objects.names(ASSETS) == [f"{job}-1.glb"]
            works.set()
            wait_for(lambda: objects.names(ASSETS) == [], 0.1)
        finally:
            fleet.close()
