# SPDX-License-Identifier: GPL-3.0-or-later
"""Each way in which a server may word its answers, and all that is sent to it."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from engine.backends.remote.backend import RemoteBackend
from engine.parameters import PARAMETERS
from engine.progress import Cancelled
from tests.engine.backends_for_tests.remote_scaled import ScaledClock
from tests.engine.remote_harness import IMPATIENT, SCALE, delivered, generate, picture, posts
from tests.support.api_book import PRICES
from tests.support.api_faults import Fault
from tests.support.api_forms import FORMS
from tests.support.api_server import ApiServer

pytestmark = pytest.mark.once


@pytest.mark.parametrize("response_format", ["url", "b64_json"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_understood(tmp_path: Path, form: str, response_format: str) -> None:
    with ApiServer(form, job_s=12, scale=SCALE) as server:
        outcome = generate(server, tmp_path, response_format=response_format)
        delivered(outcome, server)
        kinds = [what for what, _ in outcome.run.written]
        inside = FORMS[form].synchronous and response_format == "b64_json"
        assert kinds == (["submitting"] if inside else ["submitting", "accepted"])
        if not FORMS[form].synchronous:
            assert outcome.accepted[0].partition("\t")[0] in server.book.jobs
        assert outcome.run.told[-1].fraction >= outcome.run.told[0].fraction


@pytest.mark.parametrize("form", [form for form in FORMS if not (FORMS[form].synchronous or FORMS[form].wait)])
def test_every_form_of_failure_is_told(tmp_path: Path, form: str) -> None:
    faults = [Fault("poll", "failed", "upstream_error", skip=1)]
    with ApiServer(form, job_s=600, scale=SCALE, faults=faults) as server:
        outcome = generate(server, tmp_path)
        assert outcome.error is not None
        assert server.billed == posts(server) == 1
        if FORMS[form].job_error != "none":
            assert "upstream_error" in outcome.told()


@pytest.mark.parametrize("form", ["documented", "errors-string", "errors-detail", "errors-message", "errors-text"])
@pytest.mark.parametrize("trouble", ["key", "credits"])
def test_the_servers_own_words_reach_the_person(tmp_path: Path, form: str, trouble: str) -> None:
    with ApiServer(form, scale=SCALE, balance=0.1 if trouble == "credits" else 9) as server:
        account = server.account(
            tmp_path, **({"key": "sk-empiriolabs-wrong-000000000000000"} if trouble == "key" else {})
        )
        outcome = generate(server, tmp_path, account=account)
        assert outcome.error is not None
        assert server.billed == 0
        assert posts(server) == 1
        assert "Incorrect API key" in outcome.told() if trouble == "key" else "balance of 0.10" in outcome.told()
        assert "sk-empiriolabs-wrong" not in outcome.told()
        assert not [what for what, _ in outcome.run.written if what == "accepted"]


def test_no_key_asks_nobody(tmp_path: Path) -> None:
    with ApiServer(scale=SCALE) as server:
        outcome = generate(server, tmp_path, account=server.account(tmp_path, key=""))
        assert outcome.error is not None
        assert server.billed == 0


def test_every_parameter_is_sent(tmp_path: Path) -> None:
    """With values other than the defaults, each of the type that the server wants, which the server checks."""
    chosen = {
        "resolution": "1536", "texture_size": "4096", "seed": 7, "preprocess_image": False, "verbose": True,
        "remesh": False, "response_format": "url",
    }  # fmt: skip
    for parameter in PARAMETERS:
        if parameter.name.endswith("interval_start"):
            chosen[parameter.name] = 0.25
        elif parameter.name.endswith("interval_end"):
            chosen[parameter.name] = 0.75
        elif parameter.kind in ("number", "integer") and parameter.name not in chosen:
            chosen[parameter.name] = parameter.maximum
    with ApiServer(job_s=12, scale=SCALE) as server:
        delivered(generate(server, tmp_path, **chosen), server)
        (job,) = server.book.jobs.values()
        sent = dict(job.payload)
        assert sent.pop("model") == "trellis-2-4b"
        assert sent.pop("image", sent.pop("image_url", "")).startswith("data:image/")
        assert sent == {**chosen, "pipeline_type": "1536_cascade"}
        assert len(sent) + 1 == len(PARAMETERS) == 35


def sent_image(server: ApiServer) -> tuple[str, Image.Image]:
    """Return the type and the picture of the data URI in the only job."""
    (job,) = server.book.jobs.values()
    head, _, data = (job.payload.get("image") or job.payload["image_url"]).partition(";base64,")
    return head, Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


@pytest.mark.parametrize(
    ("mode", "kinds"), [("RGBA", ["data:image/png"]), ("RGB", ["data:image/png", "data:image/jpeg"])]
)
def test_a_large_picture_is_made_smaller(tmp_path: Path, mode: str, kinds: list[str]) -> None:
    with ApiServer(job_s=12, scale=SCALE) as server:
        outcome = generate(server, tmp_path, image=str(picture(tmp_path, (2000, 1000), mode)))
        delivered(outcome, server)
        kind, image = sent_image(server)
        assert kind in kinds
        assert image.size == (1024, 512)
        assert image.mode == mode


def test_a_prepared_picture_stays_as_it_is(tmp_path: Path) -> None:
    with ApiServer(job_s=12, scale=SCALE) as server:
        path = picture(tmp_path, (1500, 1500), "RGBA")
        delivered(generate(server, tmp_path, image=str(path), preprocess_image=False), server)
        _, image = sent_image(server)
        assert image.size == (1500, 1500)
        assert image.tobytes() == Image.open(path).tobytes()


def test_a_photo_is_sent_upright(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    photo = Image.new("RGB", (60, 20), (255, 0, 0))
    photo.paste((0, 0, 255), (0, 0, 30, 20))
    exif = photo.getexif()
    exif[0x0112] = 6  # shown turned a quarter to the right
    photo.save(path, quality=95, exif=exif)
    with ApiServer(job_s=12, scale=SCALE) as server:
        delivered(generate(server, tmp_path, image=str(path)), server)
        _, image = sent_image(server)
        assert image.size == (20, 60)
        red, _, blue = image.convert("RGB").getpixel((10, 5))  # type: ignore[misc]
        assert blue > 200 > red
        assert 0x0112 not in image.getexif() or image.getexif()[0x0112] == 1


def test_an_address_is_passed_through(tmp_path: Path) -> None:
    with ApiServer(job_s=12, scale=SCALE) as server:
        delivered(generate(server, tmp_path, image="https://images.example/chair.png"), server)
        (job,) = server.book.jobs.values()
        assert (job.payload.get("image") or job.payload.get("image_url")) == "https://images.example/chair.png"


@pytest.mark.parametrize("resolution", ["512", "1024", "1536"])
def test_the_cost_is_told(tmp_path: Path, resolution: str) -> None:
    """By the server's own list of prices; a server that nobody asked for one may be free, so nothing is made up."""
    with ApiServer(job_s=12, scale=SCALE) as server:
        backend = RemoteBackend(ScaledClock(SCALE), IMPATIENT)
        outcome = generate(server, tmp_path, name="first", resolution=resolution, backend=backend)
        assert outcome.asset is not None
        assert "cost_usd" not in outcome.asset.facts
        assert backend.ask("model", server.account(tmp_path / "shared"), lambda: False)
        outcome = generate(server, tmp_path, name="second", resolution=resolution, backend=backend)
        assert outcome.asset is not None
        assert outcome.asset.facts["cost_usd"] == pytest.approx(PRICES[resolution])


def test_a_cancelled_job_says_that_it_may_be_billed(tmp_path: Path) -> None:
    """Whatever way the cancellation is told; the server hears of it where it can."""
    for form in ("documented", "cancel-post", "no-usage"):
        with ApiServer(form, job_s=3000, scale=SCALE) as server:
            folder = tmp_path / form
            folder.mkdir()
            with pytest.raises(Cancelled):
                generate(server, folder, cancelled=lambda server=server: bool(server.requests("GET", "/v1/jobs/")))
            (job,) = server.book.jobs.values()
            assert job.cancelled == (form != "no-usage")
