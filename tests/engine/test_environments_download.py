# SPDX-License-Identifier: GPL-3.0-or-later
"""What networks, indexes and disks do to a download, and what a person is told: real sockets, real certificates."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from engine.environments import connection as connections
from engine.environments.connection import Connection
from engine.environments.download import PART, Expected, download
from engine.environments.index import locate, read_index
from engine.environments.lock import Lock, Package
from engine.environments.sources import Sources
from engine.errors import EspalierError
from engine.progress import Cancelled
from tests.engine.environment_harness import CLOSED, nothing
from tests.support import certificates
from tests.support.index_server import JSON, Fault, IndexServer, Offer, serving
from tests.support.small_server import reply
from tests.support.small_server import serving as serving_small
from tests.support.tiny_wheels import tiny_wheel

SIZE = 300_000


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return tiny_wheel(tmp_path / "wheels", "big", payload=SIZE)


@pytest.fixture
def index(wheel: Path) -> Iterator[IndexServer]:
    offer = Offer()
    offer.add("big", wheel)
    with serving(offer) as server:
        yield server


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PAUSES_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr("engine.environments.download.PAUSES_S", (0.01, 0.01, 0.01))


def get(index: IndexServer, wheel: Path, target: Path, **known: object) -> list[int]:
    """Download `wheel` from `index` to `target`; return the sizes that were reported."""
    data = wheel.read_bytes()
    expected = Expected(len(data), hashlib.sha256(data).hexdigest(), magic=b"PK\x03\x04")
    seen: list[int] = []
    connection = Connection(Sources(**known), nothing)  # type: ignore[arg-type]
    download(f"{index.base}/files/big/{wheel.name}", target, wheel.name, expected, connection, seen.append)
    assert target.read_bytes() == data
    assert not target.with_name(target.name + PART).exists()
    return seen


def failure(index: IndexServer, wheel: Path, target: Path, **known: object) -> EspalierError:
    """Return how the download of `wheel` ends; `target` is not there then."""
    with pytest.raises(EspalierError) as caught:
        get(index, wheel, target, **known)
    assert not target.exists()
    return caught.value


@pytest.mark.parametrize("resumable", [True, False])
@pytest.mark.parametrize("at", [0.0, 0.2, 0.4, 0.6, 0.8, 0.999])
def test_a_connection_that_is_cut_goes_on(
    index: IndexServer, wheel: Path, tmp_path: Path, at: float, resumable: bool
) -> None:
    index.resumable = resumable
    index.faults = [Fault("/files/", "cut", at=at)]
    get(index, wheel, tmp_path / "a.whl")
    size = wheel.stat().st_size
    if resumable:
        assert index.sent == size
        assert [offset for _, offset in index.ranges] == ([int(size * at)] if at else [])


def test_a_connection_that_is_cut_at_every_fifth(index: IndexServer, wheel: Path, tmp_path: Path) -> None:
    index.faults = [Fault("/files/", "cut", at=part / 5) for part in range(5)]
    seen = get(index, wheel, tmp_path / "a.whl")
    assert seen == sorted(seen)
    assert index.sent == wheel.stat().st_size


def test_what_another_run_left_is_not_fetched_again(index: IndexServer, wheel: Path, tmp_path: Path) -> None:
    index.faults = [Fault("/files/", "cut", at=0.7), Fault("/files/", "status", times=-1, status=503)]
    told = failure(index, wheel, tmp_path / "a.whl")
    assert (told.code, told.fields["status"]) == ("environment_refused", "503")
    index.faults.clear()
    get(index, wheel, tmp_path / "a.whl")
    assert index.sent == wheel.stat().st_size


def test_what_was_left_of_another_file_is_thrown_away(index: IndexServer, wheel: Path, tmp_path: Path) -> None:
    size = wheel.stat().st_size
    for left in (b"x" * (size // 2), b"x" * size, b"x" * (size + 5)):
        (tmp_path / f"a.whl{PART}").write_bytes(left)
        get(index, wheel, tmp_path / "a.whl")
        (tmp_path / "a.whl").unlink()


def test_a_file_that_is_another_is_refused(index: IndexServer, wheel: Path, tmp_path: Path) -> None:
    index.faults = [Fault("/files/", "damaged", times=-1)]
    told = failure(index, wheel, tmp_path / "a.whl")
    assert (told.code, told.fields["reason"]) == ("environment_wrong_file", "its hash is another")
    assert not list(tmp_path.glob("a.whl*"))
    index.faults = [Fault("/files/", "truncated", times=-1)]
    told = failure(index, wheel, tmp_path / "a.whl")
    assert (told.code, "bytes in place of" in told.cause) == ("environment_wrong_file", True)
    index.faults = []
    get(index, wheel, tmp_path / "a.whl")


def test_a_file_that_changed_between_two_parts_is_fetched_anew(index: IndexServer, wheel: Path, tmp_path: Path) -> None:
    index.faults = [Fault("/files/", "cut", at=0.6)]
    part = tmp_path / f"a.whl{PART}"
    part.write_bytes(b"PK\x03\x04" + b"?" * 1000)
    get(index, wheel, tmp_path / "a.whl")


def test_a_portal_is_told_apart_from_an_index(index: IndexServer, wheel: Path, tmp_path: Path) -> None:
    index.faults = [Fault("/", "portal", times=-1)]
    assert failure(index, wheel, tmp_path / "a.whl").code == "environment_portal"
    with pytest.raises(EspalierError) as caught:
        locate(package(wheel), LOCK, Connection(Sources(index_url=index.url), nothing))
    assert caught.value.code == "environment_portal"
    index.faults = []
    get(index, wheel, tmp_path / "a.whl")


ANSWERS = [(404, "not_offered"), (403, "refused"), (401, "refused"), (500, "refused")]


@pytest.mark.parametrize(("status", "code"), ANSWERS)
def test_what_a_host_refuses_is_told(index: IndexServer, wheel: Path, tmp_path: Path, status: int, code: str) -> None:
    index.faults = [Fault("/files/", "status", times=-1, status=status)]
    told = failure(index, wheel, tmp_path / "a.whl")
    assert told.code == f"environment_{code}"
    assert len(index.asked) == (1 if status < 500 else 4)


def test_a_busy_host_is_asked_again(index: IndexServer, wheel: Path, tmp_path: Path) -> None:
    index.faults = [Fault("/", "status", times=2, status=503), Fault("/", "status", times=1, status=429)]
    get(index, wheel, tmp_path / "a.whl")


def test_nobody_answers(index: IndexServer, wheel: Path, tmp_path: Path) -> None:
    index.base = CLOSED.removesuffix("/simple/")
    assert "refused" in failure(index, wheel, tmp_path / "a.whl").cause
    index.base = "http://no-such-host.invalid"
    told = failure(index, wheel, tmp_path / "a.whl")
    assert told.code == "environment_offline"
    assert "name" in told.fields["reason"]


def test_a_download_that_nobody_wants_any_more_ends_and_can_go_on(
    index: IndexServer, wheel: Path, tmp_path: Path
) -> None:
    def enough(size: int) -> None:
        if size > SIZE // 3:
            raise Cancelled

    target, data = tmp_path / "a.whl", wheel.read_bytes()
    index.faults = [Fault("/files/", "slow", step=20_000, seconds=0.001)]
    expected = Expected(len(data), hashlib.sha256(data).hexdigest())
    url = f"{index.base}/files/big/{wheel.name}"
    with pytest.raises(Cancelled):
        download(url, target, wheel.name, expected, Connection(Sources(), nothing), enough)
    left = (tmp_path / f"a.whl{PART}").stat().st_size
    assert left > SIZE // 3
    get(index, wheel, target)
    assert [offset for _, offset in index.ranges] == [left]


@pytest.mark.skipif(not certificates.AVAILABLE, reason="the program openssl is not on this machine")
def test_certificates(wheel: Path, tmp_path: Path) -> None:
    ours = certificates.authority(tmp_path / "ca")
    offer = Offer()
    offer.add("big", wheel)
    for name, options, told in (
        ("future", {"since": "20980101000000Z"}, ("environment_clock", "not valid yet")),
        ("past", {"days": -1}, ("environment_clock", "expired")),
        ("other", {"names": "DNS:elsewhere.example"}, ("environment_tls", "another address")),
        ("good", {}, None),
    ):
        with serving(offer, ours.issue(name, **options)) as index:  # type: ignore[arg-type]
            if told is None:
                get(index, wheel, tmp_path / "a.whl", ca_bundle=str(ours.bundle))
                (tmp_path / "a.whl").unlink()
                unknown = failure(index, wheel, tmp_path / "a.whl")
                assert unknown.code == "environment_tls"
                assert "authority" in unknown.cause
                assert "CA bundle" in unknown.remedy
                continue
            found = failure(index, wheel, tmp_path / "a.whl", ca_bundle=str(ours.bundle))
            assert (found.code, told[1] in found.cause) == (told[0], True), found
            if told[0] == "environment_clock":
                assert "clock" in found.remedy


def test_a_bundle_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for path in (tmp_path / "none.pem", tmp_path / "empty.pem"):
        with pytest.raises(EspalierError) as caught:
            Connection(Sources(ca_bundle=str(path)), nothing)
        assert caught.value.code == "environment_ca"


def test_a_proxy_is_used_and_its_password_is_not_told(
    index: IndexServer, wheel: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # The index answers requests for whole addresses as well, as a proxy does.
    proxy = index.base.replace("http://", "http://someone:hush-hush@")
    real = index.base
    index.base = "http://packages.example"
    get(index, wheel, tmp_path / "a.whl", proxy=proxy)
    login = base64.b64encode(b"someone:hush-hush").decode()
    assert index.headers_seen[-1]["proxy-authorization"] == f"Basic {login}"
    assert index.headers_seen[-1]["host"] == "packages.example"
    (tmp_path / "a.whl").unlink()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = f"http://someone:hush-hush@127.0.0.1:{nobody.getsockname()[1]}"
        told = failure(index, wheel, tmp_path / "a.whl", proxy=closed)
    assert told.code == "environment_proxy"
    assert "hush" not in f"{told} {told.detail} {capfd.readouterr()}"
    index.base = real


def test_an_index_that_redirects_is_followed_but_not_out_of_encryption(wheel: Path, tmp_path: Path) -> None:
    data = wheel.read_bytes()
    known, unknown = Expected(len(data), hashlib.sha256(data).hexdigest()), Expected()
    away = reply(302, b"", Location=f"http://packages.example/{wheel.name}")

    def act(handler: BaseHTTPRequestHandler) -> None:
        (reply(200, data) if "packages.example" in handler.path else away)(handler)

    with serving_small() as start:
        connection = Connection(Sources(proxy=start(act).url), nothing)
        url = f"http://127.0.0.1:9/{wheel.name}"
        download(url, tmp_path / "a.whl", wheel.name, known, connection, nothing)
        with pytest.raises(EspalierError) as caught:
            download(url, tmp_path / "b.whl", wheel.name, unknown, connection, nothing)
        assert caught.value.code == "environment_insecure"


LOCK = Lock("cpu", "3.11", "linux-x64", ())


def package(wheel: Path, source: str = "registry", locked: bool = True, version: str = "1.0") -> Package:
    data = wheel.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return (
        Package("big", version, source, wheel.name, digest, len(data))
        if locked
        else Package("big", version, source, None, None, None)
    )


def test_an_index_that_states_another_hash_is_not_trusted(index: IndexServer, wheel: Path) -> None:
    wanted = package(wheel)
    index.offer.files["big"][wheel.name] = b"something else"
    for json in (True, False):
        index.json = json
        with pytest.raises(EspalierError) as caught:
            locate(wanted, LOCK, Connection(Sources(index_url=index.url), nothing))
        assert caught.value.code == "environment_wrong_file"
    assert index.asked_for("/files/") == 0


def test_the_best_wheel_of_what_is_not_locked(index: IndexServer, wheel: Path, tmp_path: Path) -> None:
    names = (
        "big-1.0-cp311-cp311-win_amd64.whl", "big-1.0-cp310-cp310-linux_x86_64.whl", "big-2.0.tar.gz",
        "big-1.0+cu126-cp311-cp311-linux_x86_64.whl", "big-1.0+cu128-cp311-cp311-linux_x86_64.whl",
        "big-1.2-cp311-cp311-linux_x86_64.whl", "bigger-9.0-py3-none-any.whl", "big-9.0.zip",
        "big-1.0rc1-py3-none-any.whl",
    )  # fmt: skip
    index.offer.files["big"] = dict.fromkeys(names, b"")
    connection = Connection(Sources(), nothing)
    source = f"{index.url}big/"
    for version, file in (("1.0", names[4]), ("1.2", names[5]), ("", names[5])):
        assert locate(package(wheel, source, False, version), LOCK, connection).file == file
    with pytest.raises(EspalierError) as caught:
        locate(package(wheel, source, False, "2.0"), LOCK, connection)
    assert caught.value.code == "environment_not_offered"


RUBBISH = ("", "<html></html>", "{}", "[1]", '{"files": [{}]}', '{"files": 3}', "\0\0", "<a href='http://[x'>")


@pytest.mark.parametrize("text", RUBBISH)
def test_rubbish_is_no_index(text: str) -> None:
    for kind in (JSON, "text/html", ""):
        with pytest.raises(EspalierError) as caught:
            list(read_index(text, kind, "https://a.example/simple/x/", "x"))
        assert caught.value.code == "environment_portal"


def test_links_of_an_index_page_are_found_as_browsers_find_them() -> None:
    text = (
        "<base href='https://files.example/b/'><a HREF='../p/x-1.0-py3-none-any.whl#sha256=AB'>x</a>"
        "<a href='x%2B1-1.0-py3-none-any.whl?signed=1'>y</a><a name='z'>z</a>"
    )
    found = list(read_index(text, "text/html", "https://a.example/simple/x/", "x"))
    assert [(link.file, link.url, link.sha256) for link in found] == [
        ("x-1.0-py3-none-any.whl", "https://files.example/p/x-1.0-py3-none-any.whl", "ab"),
        ("x+1-1.0-py3-none-any.whl", "https://files.example/b/x%2B1-1.0-py3-none-any.whl?signed=1", ""),
    ]
