# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stranger may try: keys, addresses of assets, names, bodies that are too long, too slow or bombs."""

from __future__ import annotations

import hmac
import json
import socket
import stat
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from itsdangerous import URLSafeSerializer

from engine.errors import EspalierError
from engine.server.__main__ import main, settings_from
from engine.server.links import Links, signing_key
from engine.server.tokens import Tokens, ensure_safe
from tests.server.harness import Process, Served, body, image_uri, large_enough, made
from tests.server.test_surface import CREATE, refused
from tests.support.waiting import PATIENCE_S, wait_for


def test_a_key_is_needed_in_either_header(served: Served) -> None:
    good = served.token
    for path in ("/v1/jobs", "/v1/jobs/x", "/v1/models", "/metrics"):
        refused(served.ask("GET", path, token=""), 401, "missing_api_key")
        refused(served.ask("GET", path, token="", headers={"Authorization": good}), 401, "missing_api_key")
        for wrong in ("x", good[:-1], good + "x", "a" * 5000, good.upper()):
            refused(served.ask("GET", path, token=wrong), 401, "invalid_api_key")
            refused(served.ask("GET", path, token="", headers={"x-api-key": wrong}), 401, "invalid_api_key")
    for headers in ({"Authorization": f"bearer {good}"}, {"x-api-key": good}):
        assert served.ask("GET", "/v1/jobs", token="", headers=headers).status_code == 200
    refused(served.ask("POST", CREATE, token="x", data=b"{" * 100), 401, "invalid_api_key")


def test_each_key_sees_its_own_jobs_alone(tmp_path: Path) -> None:
    with Served(tmp_path / "root", tokens=True) as served:
        other = Tokens(served.settings.root / "tokens.json").add("second")
        job = served.create()
        served.ended(job)
        for method in ("GET", "DELETE"):
            refused(served.ask(method, f"/v1/jobs/{job}", token=other), 404, "job_not_found")
        assert served.ask("GET", "/v1/jobs", token=other).json()["data"] == []
        Tokens(served.settings.root / "tokens.json").remove("second")
        refused(served.ask("GET", "/v1/jobs", token=other), 401, "invalid_api_key")


def test_only_hashes_of_tokens_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    tokens = Tokens(path)
    made_of = {name: tokens.add(name) for name in ("a", "b", "c")}
    assert len(set(made_of.values())) == 3
    assert all(token not in path.read_text() and len(token) > 40 for token in made_of.values())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [Tokens(path).owner(token) for token in made_of.values()] == ["a", "b", "c"]
    for name in ("a", "", "../x", "x" * 50, "a b"):
        with pytest.raises(EspalierError):
            tokens.add(name)


def test_every_token_is_compared_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever token is presented, as many comparisons are made, each in constant time."""
    tokens = Tokens(tmp_path / "tokens.json")
    presented = [tokens.add(f"t{number}") for number in range(5)] + ["unknown", ""]
    compared: list[int] = []
    true_one = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(len(b)) or true_one(a, b))
    for token in presented:
        compared.clear()
        tokens.owner(token)
        assert compared == [64] * 5


def test_it_does_not_listen_to_others_without_a_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "", "example.com"):
        assert main(["--root", str(tmp_path), "--host", host, "--port", "1"]) == 2
        assert "token" in capsys.readouterr().err
    assert main(["token", "--root", str(tmp_path), "add", "studio"]) == 0
    assert capsys.readouterr().out.startswith("sk-espalier-")
    ensure_safe(settings_from(["--root", str(tmp_path), "--host", "0.0.0.0"]))
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.5"):
        ensure_safe(settings_from(["--root", str(tmp_path / "none"), "--host", host]))


@pytest.mark.parametrize(
    "headers",
    [
        *({"Host": "evil.example"}, {"Host": "evil.example:8191"}, {"Origin": "https://evil.example"}),
        *({"Origin": "null"}, {"Host": ""}, {"Origin": "http://localhost.evil.example"}),
        *({"Host": "["}, {"Origin": "http://["}, {"Origin": "http://127.0.0.1@evil.example"}, {"Host": "2130706433"}),
    ],
)
def test_no_web_page_uses_the_server_of_its_visitor(served: Served, headers: dict[str, str]) -> None:
    refused(served.ask("GET", "/v1/models", headers=headers), 403, "forbidden")


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e", "a\\..\\b", "%00", "%ff%fe", "x" * 3000, "."],
)
def test_no_name_leads_out_of_the_library(served: Served, name: str) -> None:
    for path in (f"/v1/jobs/{name}", f"/assets/{name}/asset.glb", f"/v1/models/{name}"):
        request = requests.Request("GET", served.url, headers={"x-api-key": served.token}).prepare()
        request.url = served.url + path
        with requests.Session() as session:
            answer = session.send(request, timeout=30)
        assert answer.status_code in (307, 400, 403, 404), path


def test_forged_and_expired_addresses_give_nothing(served: Served, tmp_path: Path) -> None:
    job = served.create()
    url = served.ended(job)["result"]["data"][0]["url"]
    head, signed, tail = url.rsplit("/", 2)
    key = signing_key(served.settings.root / "signing.key")
    other_salt = URLSafeSerializer(key, salt="other").dumps([job, 2**40])
    forged = [signed[:-1] + ("A" if signed[-1] != "A" else "B"), signed.upper(), "x", signed + "x", "." * 600]
    forged += [Links(b"another key").sign(job, 2**40), other_salt, Links(key).sign("../../x", 2**40)]
    assert requests.get(url, timeout=30).status_code == 200
    for wrong in forged:
        answer = requests.get(f"{head}/{wrong}/{tail}", timeout=30)
        assert answer.status_code in (403, 410), wrong
        assert b"glTF" not in answer.content
    expired = Links(key).sign(job, time.time() - 2)
    refused(requests.get(f"{head}/{expired}/{tail}", timeout=30), 410, "asset_expired")
    assert stat.S_IMODE((served.settings.root / "signing.key").stat().st_mode) == 0o600


def test_a_link_is_good_until_its_moment() -> None:
    now = [1000.0]
    links = Links(b"key", clock=lambda: now[0])
    signed = links.sign("job", 1010.5)
    assert links.read(signed) == "job"
    now[0] = 1012.0
    with pytest.raises(EspalierError, match="expired"):
        links.read(signed)


def test_assets_are_deleted_after_their_time(tmp_path: Path) -> None:
    with Served(tmp_path / "root", keep_s=1.0) as served:
        job = served.create(response_format="url")
        wait_for(lambda: served.desk.counts()["ready"] == 1)
        wait_for(lambda: served.ask("GET", f"/v1/jobs/{job}").status_code == 404)
        assert served.ask("GET", "/v1/jobs").json()["data"] == []
        served.desk._expire()
        wait_for(lambda: not (served.settings.root / "library" / job).exists())


def png(width: int, height: int, chunk: bytes = b"", name: bytes = b"zTXt") -> bytes:
    """Return a PNG file that says that it has so many pixels."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    rows = zlib.compress(bytes(min((width * 4 + 1) * height, 1 << 24)), 9)
    extra = part(name, chunk) if chunk else b""
    return b"\x89PNG\r\n\x1a\n" + head + extra + part(b"IDAT", rows) + part(b"IEND", b"")


def test_bombs_are_refused_before_they_are_decoded(served: Served) -> None:
    bombs = {
        "image_too_large": png(60000, 60000),
        "server_image_pixels": png(10000, 10000),
        "text": png(100, 100, b"a\0\0" + zlib.compress(bytes(1 << 28), 9)),
    }
    for data in bombs.values():
        assert len(data) < 1 << 20
        refused(served.ask("POST", CREATE, json=body(image=image_uri(data))), 400, "invalid_request")
    with ThreadPoolExecutor(8) as pool:  # side by side, too, where Pillow's own limit is one for all threads
        images = [bombs["image_too_large"], large_enough()] * 16
        told = pool.map(lambda data: served.ask("POST", CREATE, json=body(image=image_uri(data))), images)
        assert [answer.status_code for answer in told] == [400, 202] * 16
    wait_for(lambda: not list((served.settings.root / "inputs").iterdir()))


def test_nothing_large_is_taken_in(served: Served) -> None:
    large = b"[" * (2 << 20)
    json_type = {"Content-Type": "application/json"}
    refused(served.ask("POST", CREATE, data=large, headers=json_type), 413, "invalid_request")
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as raw:
        head = f"POST {CREATE} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {served.token}\r\n"
        raw.sendall(f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        try:
            for _ in range(64):
                raw.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        except OSError:
            pass  # it has closed the connection already
        with_status = raw.makefile("rb").readline()
    assert b" 413 " in with_status
    deep = b"[" * 200_000
    refused(served.ask("POST", CREATE, data=deep, headers=json_type), 400, "invalid_request")


def test_a_slow_body_is_not_waited_for(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_S) as raw:
        head = f"POST {CREATE} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {served.token}\r\nContent-Length: 1000\r\n"
        raw.sendall(f"{head}Content-Type: application/json\r\n\r\n{{".encode())
        assert b" 408 " in raw.makefile("rb").readline()


@pytest.mark.parametrize(
    ("kind", "data", "status"),
    [
        ("application/json", b"", 400),
        ("application/json", b"[]", 400),
        ("application/json", b"{", 400),
        ("application/json", b"\xff\xfe", 400),
        ("application/json", b'{"seed": NaN}', 400),
        ("application/json", b'{"seed": ' + b"1" * 6000 + b"}", 400),
        ("text/plain", b"{}", 415),
        ("", b"{}", 415),
        ("multipart/form-data", b"x", 400),
        ("application/x-www-form-urlencoded", b"a=b", 415),
    ],
)
def test_what_is_no_body_is_refused(served: Served, kind: str, data: bytes, status: int) -> None:
    refused(served.ask("POST", CREATE, data=data, headers={"Content-Type": kind}), status, "invalid_request")


def test_private_addresses_of_images_are_refused(served: Served) -> None:
    for url in ("http://127.0.0.1:1/x.png", "http://[::ffff:127.0.0.1]/x", "http://169.254.169.254/latest"):
        refused(served.ask("POST", CREATE, json=body(image=url)), 400, "invalid_request")


def test_the_rate_and_the_queue_are_limited(tmp_path: Path) -> None:
    launch = made(tmp_path / "backend", takes_s=600)
    with Served(tmp_path / "root", launch, tokens=True, requests_per_minute=20, most_of_token=2, most_in_all=3) as one:
        other = Tokens(one.settings.root / "tokens.json").add("second")
        first, _ = one.create(), one.create()
        message = refused(one.ask("POST", CREATE, json=body()), 429, "rate_limit_exceeded")
        assert "2 jobs" in message
        assert one.ask("POST", CREATE, json=body(), token=other).status_code == 202
        refused(one.ask("POST", CREATE, json=body(), token=other), 503, "model_unavailable")
        one.ask("DELETE", f"/v1/jobs/{first}")
        wait_for(lambda: one.desk.counts()["cancelled"] == 1)  # its worker has ended, too
        one.create()
        answers = [one.ask("GET", "/v1/models") for _ in range(25)]
        assert answers[-1].status_code == 429
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
        refused(answers[-1], 429, "rate_limit_exceeded")
        assert one.ask("GET", "/v1/models", token=other).status_code == 200


def test_no_secret_is_in_a_log_or_on_the_disk(tmp_path: Path) -> None:
    token = Tokens(tmp_path / "root" / "tokens.json").add("first")
    server = Process(tmp_path / "root")
    headers = {"Authorization": f"Bearer {token}"}
    told = requests.post(f"{server.url}{CREATE}", json=body(), headers=headers, timeout=60).json()
    url = ""

    def completed() -> bool:
        nonlocal url
        state = requests.get(f"{server.url}/v1/jobs/{told['job_id']}", headers=headers, timeout=60).json()
        url = state["result"]["data"][0]["url"] if state["result"] else ""
        return bool(url)

    wait_for(completed, 0.05)
    assert requests.get(url, timeout=60).status_code == 200
    requests.get(f"{server.url}/v1/models?key={token}", headers={"x-api-key": "sk-wrong-key"}, timeout=60)
    assert server.stop() == 0
    log = (tmp_path / "log.txt").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["route"] for line in lines if line.get("status") == 202] == [CREATE]
    assert {line["token"] for line in lines if line.get("route") == CREATE} == {"first"}
    assert token not in log
    assert url.split("/")[4] not in log
    assert "base64" not in log
    assert "sk-wrong" not in log
    for path in (tmp_path / "root").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert token.encode() not in path.read_bytes(), path
