# SPDX-License-Identifier: GPL-3.0-or-later
"""Who answers is who was meant, and nobody else gets to see the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.remote_harness import SCALE, Outcome, delivered, generate
from tests.support.api_server import ApiServer
from tests.support.certificates import AVAILABLE, Authority, authority

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="the openssl program is not on this machine")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"))


def refused(outcome: Outcome, server: ApiServer) -> None:
    """Check that nothing was sent, and that the person is told of the identity."""
    assert outcome.code == "remote_tls", outcome.told()
    assert outcome.state == "failed"
    assert not server.seen
    assert server.billed == 0


def test_an_authority_of_ones_own(tmp_path: Path, ours: Authority) -> None:
    with ApiServer(job_s=12, scale=SCALE, tls=ours.issue("good")) as server:
        assert server.url.startswith("https://")
        delivered(generate(server, tmp_path, account=server.account(tmp_path, ca_bundle=str(ours.bundle))), server)


def test_an_authority_that_nobody_knows(tmp_path: Path, ours: Authority) -> None:
    with ApiServer(job_s=12, scale=SCALE, tls=ours.issue("unknown")) as server:
        refused(generate(server, tmp_path), server)


def test_a_certificate_of_another_name(tmp_path: Path, ours: Authority) -> None:
    with ApiServer(job_s=12, scale=SCALE, tls=ours.issue("other", "DNS:api.example")) as server:
        refused(generate(server, tmp_path, account=server.account(tmp_path, ca_bundle=str(ours.bundle))), server)


def test_a_certificate_that_has_expired(tmp_path: Path, ours: Authority) -> None:
    try:
        files = ours.issue("old", days=-1)
    except AssertionError as error:
        pytest.skip(f"this openssl makes no expired certificates: {error}")
    with ApiServer(job_s=12, scale=SCALE, tls=files) as server:
        refused(generate(server, tmp_path, account=server.account(tmp_path, ca_bundle=str(ours.bundle))), server)


def test_a_bundle_that_is_not_there(tmp_path: Path, ours: Authority) -> None:
    with ApiServer(job_s=12, scale=SCALE, tls=ours.issue("again")) as server:
        outcome = generate(server, tmp_path, account=server.account(tmp_path, ca_bundle=str(tmp_path / "none.pem")))
        assert outcome.code == "remote_ca_missing"
        assert not server.seen


def test_an_unencrypted_server_where_an_encrypted_one_was_meant(tmp_path: Path) -> None:
    with ApiServer(job_s=12, scale=SCALE) as server:
        account = server.account(tmp_path, base_url=server.url.replace("http:", "https:"))
        outcome = generate(server, tmp_path, account=account)
        assert outcome.error is not None
        assert outcome.state == "failed"
        assert server.billed == 0


@pytest.mark.parametrize(
    "url", ["http://api.example.com", "http://8.8.8.8", "ftp://127.0.0.1", "https://", "http://u:p@127.0.0.1"]
)
def test_an_address_that_may_not_have_the_key(tmp_path: Path, url: str) -> None:
    with ApiServer(job_s=12, scale=SCALE) as server:
        outcome = generate(server, tmp_path, account=server.account(tmp_path, base_url=url))
        assert outcome.code in ("remote_url_insecure", "remote_url_invalid")
        assert not server.seen


def test_offline_is_offline(tmp_path: Path) -> None:
    """Blender's switch is for the internet: a server of one's own is asked all the same."""
    with ApiServer(job_s=12, scale=SCALE) as server:
        account = server.account(tmp_path, base_url="https://api.example.com", online=False)
        assert generate(server, tmp_path, name="far", account=account).code == "remote_offline"
        delivered(generate(server, tmp_path, name="near", account=server.account(tmp_path, online=False)), server)
