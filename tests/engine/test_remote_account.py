# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the key comes from, where it may go, and that nothing ever shows it."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.addresses import (
    at_origin,
    host_of,
    is_loopback,
    is_private,
    may_carry_key,
    poll_path,
)
from engine.backends.remote import vault
from engine.backends.remote.account import VENDOR_URL, Account, Secret, checked_base, scrub
from engine.backends.remote.exchange import safe_asset
from engine.errors import EspalierError

KEY = "sk-empiriolabs-0123456789abcdefABCDEF"
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=6, max_size=60)


def account(environment: dict[str, str] | None = None, keyring: str = "", **data: object) -> Account:
    told = {"base_url": "", "key": "", "ca_bundle": "", "online": True, **data}
    return Account.from_json(told, environment or {}, lambda _host: keyring)


def test_the_environment_comes_first_then_the_keyring_then_the_preference() -> None:
    both = account({"EMPIRIOLABS_API_KEY": " sk-env "}, "sk-ring", key="sk-preference")
    assert (both.key.reveal(), both.key_source) == ("sk-env", "the environment variable EMPIRIOLABS_API_KEY")
    ring = account({}, "sk-ring\n", key="sk-preference")
    assert (ring.key.reveal(), ring.key_source) == ("sk-ring", "the system's keyring")
    own = account({}, "", key=" sk-preference")
    assert (own.key.reveal(), own.key_source) == ("sk-preference", "Espalier's preferences")
    assert not account().key


def test_the_base_url_comes_from_the_environment_then_the_preference_then_the_vendor() -> None:
    assert account({"ESPALIER_API_URL": "http://localhost:9/"}, base_url="https://other.example").base == (
        "http://localhost:9"
    )
    assert account(base_url="https://Other.example/v1/").base == "https://other.example"
    assert account().base == VENDOR_URL
    assert account().is_vendors


@given(KEYS)
def test_a_secret_shows_itself_nowhere(key: str) -> None:
    key = f"#{key}"  # no part of the words around it
    secret = Secret(key)
    holder = replace(account(key=key), key=secret)
    shown = (f"{secret} {secret!r} {secret!s:>99} {holder} {holder!r} %s %r" % (secret, [secret])) + str({"k": secret})
    assert key not in shown
    assert key not in logging.LogRecord("", 0, "", 0, "%s", (secret,), None).getMessage()
    assert secret.reveal() == key
    for write in (pickle.dumps, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            write(secret)  # type: ignore[operator]


@given(KEYS, st.text(max_size=80), st.text(max_size=80))
def test_a_message_never_holds_the_key(key: str, before: str, after: str) -> None:
    assert key not in scrub(f"{before} {key} {after}", Secret(key)).replace("[hidden]", "")


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-empiriolabs-abc",
        "Incorrect API key provided: sk-empi***cdef.",
        "header Authorization: Bearer abcdef0123456789",
        "sent Bearer abcdef0123456789 to us",
        '{"api_key": "abcdef0123456789"}',
        "x-api-key=abcdef0123456789",
        "see https://user:abcdef0123456789@host.example/path",
        "see https://host.example/a.glb?signature=abcdef0123456789&x=1",
        "token abCD0123456789efGHabCD0123456789efGH is bad",
        "gho_0123456789abcdef is bad",
    ],
)
def test_what_looks_like_a_key_is_removed(text: str) -> None:
    shown = scrub(text)
    for part in ("abcdef0123456789", "sk-emp", "cdef", "abCD0123", "0123456789abcdef"):
        assert part not in shown


@pytest.mark.parametrize(
    "text",
    [
        "Your balance of 0.10 USD is too low.",
        "image: a URL or a data URI is required",
        "The basic plan does not include the resolution 1536",
        "job_0000_72bd74f6 is not known, see https://docs.example/errors",
        "Invalid API key: it is unknown here",
        "task-1234 and key_not_found are plain words",
    ],
)
def test_plain_words_stay(text: str) -> None:
    assert scrub(text) == text


@given(st.text(max_size=3000))
def test_a_message_is_one_short_printable_line(text: str) -> None:
    shown = scrub(text)
    assert len(shown) <= 401
    assert shown == "" or shown.isprintable()


@pytest.mark.parametrize("key", ["sk-a\nX-Other: 1", "sk-\u00e9", "sk a", "sk-\x7f"])
def test_a_key_that_is_none_is_told_without_showing_it(key: str) -> None:
    with pytest.raises(EspalierError) as caught:
        account(key=key)
    assert caught.value.code == "remote_key_invalid"
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://api.example.com", "https://api.example.com"),
        (" https://API.example.com/v1/ ", "https://api.example.com"),
        ("api.example.com", "https://api.example.com"),
        ("https://proxy.example/empirio/", "https://proxy.example/empirio"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://192.168.1.5", "http://192.168.1.5"),
        ("http://10.0.0.7:80/v1", "http://10.0.0.7:80"),
        ("http://gpu-box:8000", "http://gpu-box:8000"),
        ("http://render.local", "http://render.local"),
        ("http://100.100.1.2", "http://100.100.1.2"),
    ],
)
def test_a_base_url_is_taken(url: str, base: str) -> None:
    assert checked_base(url) == base


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com", "http://8.8.8.8", "http://134744072", "http://0x8080808", "http://172.32.0.1",
        "http://127.0.0.1.example.com", "http://[2001:4860:4860::8888]", "http://localhost.example.com",
    ],
)  # fmt: skip
def test_a_key_goes_nowhere_unencrypted(url: str) -> None:
    with pytest.raises(EspalierError) as caught:
        checked_base(url)
    assert caught.value.code == "remote_url_insecure"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com", "https://", "https://user:pw1234567@example.com", "https://a b.example", "file:///x",
        "https://example.com:99999", "https://example.com?x=1", "https://[::1", "javascript:alert(1)", "https://e:0",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(EspalierError) as caught:
        checked_base(url)
    assert caught.value.code == "remote_url_invalid"
    assert "pw1234567" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_base_url_or_refused_with_a_sentence(text: str) -> None:
    refused = ""
    try:
        base = checked_base(text)
    except EspalierError as error:
        refused = error.code
    if refused:
        assert refused in ("remote_url_invalid", "remote_url_insecure")
    else:
        assert base.startswith("https://") or is_private(base)
        assert host_of(base)


@pytest.mark.parametrize(
    ("target", "may"),
    [
        ("https://api.example.com/v1/jobs/1", True),
        ("https://API.example.com:443/x", True),
        ("https://api.example.com:8443/x", False),
        ("http://api.example.com/x", False),
        ("https://api.example.com.evil.example/x", False),
        ("https://evil.example/x", False),
        ("https://api.example.com@evil.example/x", False),
        ("//evil.example/x", False),
        ("data:,", False),
        ("", False),
    ],
)
def test_the_key_stays_with_its_server(target: str, may: bool) -> None:
    assert may_carry_key("https://api.example.com", target) is may


def test_the_key_may_follow_to_https_on_the_same_host_only() -> None:
    assert may_carry_key("http://gpu-box", "https://gpu-box/x")
    assert not may_carry_key("http://gpu-box:8000", "https://gpu-box/x")
    assert not may_carry_key("https://gpu-box", "http://gpu-box/x")


@pytest.mark.parametrize(
    ("base", "told", "path"),
    [
        ("https://a.example", "/v1/jobs/7", "/v1/jobs/7"),
        ("https://a.example", "v1/jobs/7?x=1", "/v1/jobs/7?x=1"),
        ("https://a.example", "https://a.example/v2/j/7", "/v2/j/7"),
        ("https://a.example", "https://b.example/v1/jobs/7", ""),
        ("https://a.example", "http://a.example/v1/jobs/7", ""),
        ("https://a.example", "//b.example/v1/jobs/7", ""),
        ("https://a.example", "https://a.example@b.example/", ""),
        ("https://a.example", "https://b@a.example/v1", ""),
        ("https://a.example", "\\\\b.example\\x y", ""),
        ("https://a.example", "", ""),
        ("https://a.example/p", "/v1/jobs/7", "/p/v1/jobs/7"),
        ("https://a.example/p", "/p/v1/jobs/7", "/p/v1/jobs/7"),
        ("https://a.example/p", "https://a.example/v1/jobs/7", "/v1/jobs/7"),
    ],
)
def test_a_poll_url_is_taken_from_the_same_server_only(base: str, told: str, path: str) -> None:
    assert poll_path(base, told) == path


@given(st.text(max_size=80))
def test_no_poll_url_leads_away(told: str) -> None:
    path = poll_path("https://a.example", told)
    if path:
        assert path.startswith("/")
        assert may_carry_key("https://a.example", at_origin("https://a.example", path))


@pytest.mark.parametrize(
    ("base", "url", "safe"),
    [
        ("https://api.example", "https://cdn.example/a.glb", True),
        ("https://api.example", "http://cdn.example/a.glb", False),
        ("https://api.example", "https://169.254.169.254/latest", False),
        ("https://api.example", "https://localhost/a.glb", False),
        ("https://api.example", "file:///etc/passwd", False),
        ("http://127.0.0.1:9", "http://127.0.0.2:8/a.glb", True),
        ("http://127.0.0.1:9", "https://cdn.example/a.glb", True),
        ("https://gpu-box", "https://gpu-box/a.glb", True),
    ],
)
def test_an_asset_is_fetched_from_safe_places_only(base: str, url: str, safe: bool) -> None:
    assert safe_asset(base, url) is safe


def test_loopback_is_this_machine() -> None:
    assert is_loopback("http://127.8.9.1:1")
    assert is_loopback("http://localhost")
    assert not is_loopback("http://192.168.0.1")


def test_a_server_nearby_needs_neither_network_nor_key() -> None:
    account(base_url="http://127.0.0.1:1", online=False).ensure_usable()
    for changes, code in (({"online": False, "key": KEY}, "remote_offline"), ({}, "remote_key_missing")):
        with pytest.raises(EspalierError) as caught:
            account(**changes).ensure_usable()
        assert caught.value.code == code
        assert KEY not in str(caught.value)


def test_a_ca_bundle_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(EspalierError) as caught:
        account(ca_bundle=str(tmp_path / "none.pem"))
    assert caught.value.code == "remote_ca_missing"


@pytest.mark.skipif(sys.platform != "linux", reason="the stand-in for the keyring is a shell script")
@pytest.mark.parametrize(
    ("script", "found"),
    [
        ('test "$*" = "lookup service espalier host api.example:8" && echo sk-from-the-ring', "sk-from-the-ring"),
        ("echo no such secret >&2; exit 1", ""),
        ("kill -9 $$", ""),
    ],
)
def test_the_systems_keyring_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, found: str) -> None:
    program = tmp_path / "secret-tool"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert vault.stored_key("api.example:8") == found


def test_a_keyring_that_hangs_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "secret-tool"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(vault, "_TIMEOUT_S", 0.2)
    monkeypatch.setattr(vault.sys, "platform", "linux")
    assert vault.stored_key("api.example") == ""


def test_the_keyring_is_asked_once_for_many_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(vault, "stored_key", lambda host: asked.append(host) or f"sk-{len(asked)}")
    monkeypatch.setattr(vault, "_kept", {})
    assert [vault.recent_key(host) for host in ("a", "a", "b", "a")] == ["sk-1", "sk-1", "sk-2", "sk-1"]
    monkeypatch.setattr(vault, "_KEPT_S", -1.0)
    assert vault.recent_key("a") == "sk-3"
    assert asked == ["a", "b", "a"]
