# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights from a hub on loopback by the real Hugging Face client: fetched, resumed, checked, adopted, removed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from engine.environments import weights
from engine.environments.status import Condition
from engine.environments.weights_catalogue import FILES
from engine.environments.weights_index import read_index
from engine.errors import EspalierError
from engine.progress import Cancelled
from tests.support import weights_setup
from tests.support.hub_server import Fault
from tests.support.weights_setup import LARGE, MODEL, SMALL, TRELLIS, Setup

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="the Hugging Face client is not installed"),
]
DECODER = "ckpts/decoder.safetensors"
ON_HUB = ((TRELLIS, ("pipeline.json", "ckpts/flow.json", LARGE)), (SMALL, (DECODER,)))


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    """A hub with small weights, an empty place for them, and no Hugging Face cache but an empty one."""
    with weights_setup.prepared(tmp_path, monkeypatch) as made:
        yield made


def fails(setup: Setup, act: weights_setup.Act = "install") -> EspalierError:
    with pytest.raises(EspalierError) as caught:
        setup.run(act)
    return caught.value


def whole(setup: Setup) -> None:
    """See that all files are there, right, and known, and that nothing else is."""
    for repo, names in (*ON_HUB, ("rembg", (MODEL,))):
        for name in names:
            path = weights.locate(setup.places, repo, name)
            assert path is not None
            assert path.read_bytes() == setup.bytes_of(repo, name)
    assert not list((setup.root / "weights").rglob(".*"))
    assert weights.status_of(setup.places).condition is Condition.READY


def test_all_is_fetched_once(setup: Setup) -> None:
    told = weights.status_of(setup.places)
    assert told.condition is Condition.INSTALLABLE
    assert told.download_bytes == 400_000 + 90_000 + 120_000
    words = setup.run()
    assert "5 files" in words[0]
    whole(setup)
    downloading = [(done, total) for stage, done, total in setup.moved if stage == "Downloading"]
    assert downloading[0][0] == 0
    assert downloading[-1][0] == downloading[-1][1] >= 610_000
    assert [done for done, _ in downloading] == sorted(done for done, _ in downloading)
    sent, asked = setup.hub.sent(), len(setup.hub.seen)
    assert sent == 610_000
    assert setup.run()[0] == words[0]
    assert len(setup.hub.seen) == asked, "what is there needs no network"
    assert "as they should be" in setup.run("verify")[0]


def test_no_license_no_request(setup: Setup) -> None:
    with pytest.raises(EspalierError) as caught:
        setup.run(accepted=("trellis2", "isnet"))
    assert caught.value.code == "license_not_accepted"
    assert "dinov3" in caught.value.remedy
    assert not setup.hub.seen
    setup.run(accepted=("dinov3",))  # the others are remembered
    whole(setup)


@pytest.mark.parametrize("name", ["flow.safetensors", MODEL])
def test_a_connection_that_breaks_is_taken_up_where_it_broke(setup: Setup, name: str) -> None:
    setup.hub.spoil(name, *(Fault("cut", share) for share in (0.2, 0.4, 0.6, 0.8, 0.5)))
    setup.run()
    whole(setup)
    size = 400_000 if name != MODEL else 120_000
    # A connection that is reset may take with it what was sent and not read yet.
    assert size <= setup.hub.sent(name) <= size + 5 * (1 << 17)
    ranges = [seen.headers.get("range") for seen in setup.hub.seen if name in seen.path and seen.sent]
    assert any(ranges)


def test_a_host_without_ranges_is_asked_for_all_of_it(setup: Setup) -> None:
    setup.hub.spoil("flow.safetensors", Fault("hold", 0.5), Fault("no_range"))
    setup.hub.release.set()
    setup.run()
    whole(setup)


def test_an_address_that_has_expired_is_asked_for_again(setup: Setup) -> None:
    setup.hub.spoil("flow.safetensors", Fault("cut", 0.5), Fault("status", 403), Fault("status", 503))
    setup.run()
    whole(setup)
    addresses = {seen.path for seen in setup.hub.seen if "flow.safetensors?" in seen.path}
    assert len(addresses) > 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("wrong"), "weights_wrong"),
        (Fault("short", 0.5), "weights_wrong"),
        (Fault("html"), "weights_portal"),
        (Fault("status", 404), "weights_gone"),
        (Fault("status", 418), "weights_refused"),
    ],
)
def test_what_is_wrong_is_never_kept(setup: Setup, fault: Fault, code: str) -> None:
    setup.hub.always["flow.safetensors"] = fault
    error = fails(setup)
    assert error.code == code, error.detail
    assert error.cause
    assert weights.locate(setup.places, TRELLIS, LARGE) is None
    assert not setup.path(TRELLIS, LARGE).exists()
    assert weights.status_of(setup.places).condition is Condition.INSTALLABLE
    setup.hub.always.clear()
    before = setup.hub.sent(DECODER.rpartition("/")[2])
    setup.run("repair")
    whole(setup)
    assert setup.hub.sent(DECODER.rpartition("/")[2]) - before in (0, 90_000)


def test_a_byte_that_was_wrong_once_is_no_reason_to_give_up(setup: Setup) -> None:
    setup.hub.spoil("flow.safetensors", Fault("wrong"))
    setup.run()
    whole(setup)


def test_a_hub_that_states_another_file_is_not_believed(setup: Setup) -> None:
    setup.hub.repos[TRELLIS].files[LARGE] = b"x" * 400_000
    assert fails(setup).code == "weights_changed"
    assert not setup.hub.sent("flow.safetensors")


def test_a_small_file_must_have_the_hash_that_the_hub_states(setup: Setup) -> None:
    setup.run()
    path = setup.path(TRELLIS, "pipeline.json")
    path.write_bytes(b'{"name": "pipelinf"}')
    assert fails(setup, "verify").code == "weights_damaged"
    setup.run("repair")
    whole(setup)


def test_a_revision_or_a_repository_that_is_not_there(setup: Setup) -> None:
    setup.hub.repos[TRELLIS].revision = "c" * 40
    error = fails(setup)
    assert error.code == "weights_gone"
    assert TRELLIS in error.cause
    del setup.hub.repos[TRELLIS]
    assert fails(setup).code == "weights_gone"


def test_a_gated_file_says_which_page_to_visit(setup: Setup) -> None:
    setup.hub.repos[TRELLIS].gated = True
    setup.hub.tokens.update({"hf_stranger": set(), "hf_friend": {TRELLIS}})
    for token, code in (("", "weights_gated"), ("hf_stranger", "weights_gated"), ("hf_nobody", "weights_token")):
        setup.token = token
        error = fails(setup)
        assert error.code == code
        assert "huggingface.co/" in error.remedy
        assert "token" in error.remedy.lower()
        assert not token or token not in str(error) + error.detail
    setup.token = "hf_friend"
    setup.run()
    whole(setup)
    assert not [seen for seen in setup.hub.seen if seen.server == "store" and "authorization" in seen.headers]
    for path in [*setup.root.rglob("*"), *Path(os.environ["HF_HOME"]).rglob("*")]:
        assert not path.is_file() or b"hf_friend" not in path.read_bytes(), path


def test_a_login_page_in_place_of_the_hub(setup: Setup) -> None:
    setup.hub.portal = True
    assert fails(setup).code == "weights_portal"
    setup.hub.portal = False
    setup.run()
    whole(setup)


def test_no_network_and_offline_mode(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    real, setup.hub.url = setup.hub.url, "http://127.0.0.1:1"
    error = fails(setup)
    assert error.code == "weights_unreachable"
    assert "refused" in error.cause
    setup.hub.url = real
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fails(setup).code == "weights_offline"
    assert not setup.hub.seen
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    setup.run()
    whole(setup)


def cache(setup: Setup) -> list[Path]:
    """Fill a Hugging Face cache with the client itself, as another program would have, and return its large files."""
    from huggingface_hub import hf_hub_download

    for repo, names in ON_HUB:
        for name in names:
            hf_hub_download(repo, name, revision=setup.hub.repos[repo].revision, endpoint=setup.hub.url,
                            cache_dir=Path(os.environ["HF_HOME"], "hub"))  # fmt: skip
    setup.hub.seen.clear()
    return sorted(path for path in Path(os.environ["HF_HOME"], "hub").rglob("*.safetensors"))


def test_what_the_hugging_face_cache_has_is_used_from_there(setup: Setup) -> None:
    files = cache(setup)
    assert len(files) == 2
    words = setup.run()
    whole(setup)
    assert any("found in the Hugging Face cache" in word for word in words)
    assert setup.hub.sent() == 120_000, "only the model of background removal was fetched"
    assert not list((setup.root / "weights").rglob("*.safetensors")), "nothing is copied"
    setup.run("remove")
    assert all(path.exists() for path in files), "it is not ours to remove"


def test_a_damaged_file_of_the_cache_is_not_used(setup: Setup) -> None:
    damaged, kept = sorted(cache(setup), key=lambda path: "flow" not in path.name)
    real = damaged.resolve()
    data = bytearray(real.read_bytes())
    data[1000] ^= 1
    real.chmod(0o644)
    real.write_bytes(data)
    setup.run()
    whole(setup)
    assert setup.hub.sent("flow.safetensors") == 400_000
    assert not setup.hub.sent("decoder.safetensors")
    kept.resolve().unlink()
    assert weights.status_of(setup.places).condition is Condition.BROKEN
    assert fails(setup, "verify").code == "weights_incomplete"
    setup.run("repair")
    whole(setup)


def test_verify_finds_what_changed_and_repair_fetches_only_that(setup: Setup) -> None:
    setup.run()
    path = setup.path(TRELLIS, LARGE)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert weights.status_of(setup.places).condition is Condition.READY, "a glance cannot see it"
    error = fails(setup, "verify")
    assert error.code == "weights_damaged"
    assert "flow" in error.cause
    assert weights.status_of(setup.places).condition is Condition.BROKEN
    before = setup.hub.sent()
    setup.run("repair")
    whole(setup)
    assert setup.hub.sent() - before == 400_000
    shutil.rmtree(setup.root / "weights" / SMALL)
    assert weights.status_of(setup.places).condition is Condition.BROKEN
    setup.run("repair")
    whole(setup)
    assert setup.hub.sent() - before == 490_000


def test_without_its_index_the_large_files_are_recognized(setup: Setup) -> None:
    setup.run()
    index = setup.root / "weights" / "weights.json"
    good, before = read_index(setup.places), setup.hub.sent()
    for rubbish in (b"", b"[]", b"{\xff", b'{"a": 1}', b'{"a": {"path": []}}', b"[" * 100_000):
        index.write_bytes(rubbish)
        assert read_index(setup.places) == {}
    index.unlink()
    words = setup.run()
    whole(setup)
    assert read_index(setup.places) == good
    assert setup.hub.sent() == before
    assert any("were there already" in word for word in words)


def test_the_folder_can_be_moved_and_chosen(setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup.run()
    moved = tmp_path / "models"
    (setup.root / "weights").rename(moved)
    assert weights.status_of(setup.places).condition is Condition.INSTALLABLE
    monkeypatch.setenv("ESPALIER_WEIGHTS", str(moved))
    assert weights.status_of(setup.places).condition is Condition.READY
    assert weights.background_model(setup.places, "isnet-general-use") == moved / "rembg" / MODEL


def test_remove_takes_only_what_was_fetched(setup: Setup) -> None:
    setup.run()
    own = setup.root / "weights" / "rembg" / "mine.onnx"
    own.write_bytes(b"mine")
    words = setup.run("remove")
    assert "610 kB" in words[0]
    assert [path for path in (setup.root / "weights").rglob("*") if path.is_file()] == [own]
    assert weights.status_of(setup.places).condition is Condition.INSTALLABLE
    own.unlink()
    setup.run()
    setup.run("remove")
    assert not (setup.root / "weights").exists()


def test_cancel_is_at_once_and_what_came_stays(setup: Setup) -> None:
    setup.hub.spoil("flow.safetensors", Fault("hold", 0.5))

    def check() -> None:
        if setup.hub.holding.is_set() and list((setup.root / "weights").rglob(".flow*.part")):
            raise Cancelled

    with pytest.raises(Cancelled):
        setup.run(check=check)
    [part] = (setup.root / "weights").rglob(".flow*.part")
    size = part.stat().st_size
    assert weights.status_of(setup.places).download_bytes <= 610_000 - size
    before = setup.hub.sent("flow.safetensors")
    setup.hub.release.set()
    setup.run()
    whole(setup)
    assert setup.hub.sent("flow.safetensors") - before == 400_000 - size


def test_an_index_in_use_tells_where_each_file_lies(setup: Setup) -> None:
    setup.run()
    told = json.loads((setup.root / "weights" / "weights.json").read_text("utf-8"))
    assert told[f"{TRELLIS}/{LARGE}"]["path"] == f"{TRELLIS}/{LARGE}"
    assert set(told) == set(read_index(setup.places))


def test_without_an_environment_it_says_what_to_install_first(setup: Setup) -> None:
    weights_setup.install(dict(FILES), ())
    assert fails(setup).code == "weights_no_environment"
    told = weights.status_of(setup.places)
    assert told.condition is Condition.IMPOSSIBLE
    assert told.why is not None
    assert "cpu" in told.why.remedy


@pytest.mark.parametrize("url", ["ftp://example.com", "huggingface.co", "https://me:secret@example.com", "http://[1"])
def test_an_endpoint_that_cannot_be_one(setup: Setup, url: str) -> None:
    setup.hub.url = url
    error = fails(setup)
    assert error.code == "weights_endpoint_invalid"
    assert "secret" not in str(error)


def test_the_token_does_not_travel_in_the_clear(setup: Setup) -> None:
    setup.hub.url, setup.token = "http://hub.example.com", "hf_friend"
    error = fails(setup)
    assert error.code == "weights_endpoint_invalid"
    assert "token" in error.cause
