# SPDX-License-Identifier: GPL-3.0-or-later
"""The request as it is sent: every parameter, the two that belong together, and the picture as it should be."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.backends.remote import payload
from engine.backends.remote.payload import JPEG_QUALITY, Body, Payload, build, data_uri, write_thumbnail
from engine.errors import EspalierError
from engine.parameters import PARAMETERS, PIPELINE_OF_RESOLUTION, PRICE_USD, SETTINGS
from engine.progress import Cancelled
from engine.request import GenerationRequest

URL = "https://pictures.example/cat.png"


def made(image: object, max_side: int = 1024, **parameters: Any) -> tuple[dict[str, Any], Payload]:
    payload = build(GenerationRequest.create(str(image), "remote", parameters), max_side)
    return json.loads(payload.body), payload


def sent(image: Path, max_side: int = 1024, **parameters: Any) -> tuple[str, Image.Image]:
    """Return the kind of the picture that is sent, and the picture."""
    head, _, data = made(image, max_side, **parameters)[0]["image"].partition(",")
    kind = head.removeprefix("data:image/").removesuffix(";base64")
    picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert picture.format == kind.upper()
    return kind, picture


def noise(size: tuple[int, int], channels: int = 3, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), np.uint8))


def photo(size: tuple[int, int]) -> Image.Image:
    """Return a smooth picture with a little noise, which JPEG suits better than PNG."""
    grid = np.add.outer(np.linspace(0, 200, size[1]), np.linspace(0, 50, size[0]))[..., None] + np.arange(3) * 5
    return Image.fromarray((grid + np.random.default_rng(1).uniform(0, 6, grid.shape)).astype(np.uint8))


def test_all_35_parameters_are_sent_with_their_values() -> None:
    body, _ = made(URL)
    assert set(body) == {"model", *(parameter.name for parameter in PARAMETERS)}
    assert len(PARAMETERS) == 35
    assert body["model"] == "trellis-2-4b"
    assert body["image"] == URL
    for parameter in SETTINGS:
        assert body[parameter.name] == parameter.default
        assert type(body[parameter.name]) is type(parameter.default)


@pytest.mark.parametrize("resolution", PIPELINE_OF_RESOLUTION)
def test_the_pipeline_is_the_resolutions(resolution: str) -> None:
    body, _ = made(URL, resolution=resolution)
    assert (body["resolution"], body["pipeline_type"]) == (resolution, PIPELINE_OF_RESOLUTION[resolution])
    assert resolution in PRICE_USD


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "seed": st.integers(0, 2147483647),
            "ss_guidance_strength": st.floats(0, 20),
            "texture_size": st.sampled_from(["1024", "2048", "4096"]),
            "remesh": st.booleans(),
            "response_format": st.sampled_from(["url", "b64_json"]),
        },
    )
)
def test_what_is_asked_for_is_sent_and_named_by_its_digest(parameters: dict[str, Any]) -> None:
    body, payload = made(URL, **parameters)
    for name, value in parameters.items():
        assert body[name] == value
        assert type(body[name]) is type(value)
    assert payload.digest == hashlib.sha256(payload.body).hexdigest()
    assert made(URL, **parameters)[1].digest == payload.digest


def test_the_digest_tells_requests_apart(tmp_path: Path) -> None:
    for seed in (1, 2):
        noise((32, 32), seed=seed).save(tmp_path / f"{seed}.png")
    digests = {made(tmp_path / f"{k}.png")[1].digest for k in (1, 2)} | {
        made(URL)[1].digest,
        made(URL, seed=1)[1].digest,
    }
    assert len(digests) == 4


def test_a_picture_with_alpha_is_sent_as_png(tmp_path: Path) -> None:
    image = noise((64, 48), 4)
    image.save(tmp_path / "a.png")
    kind, picture = sent(tmp_path / "a.png")
    assert (kind, picture.mode) == ("png", "RGBA")
    assert np.array_equal(np.asarray(picture), np.asarray(image))


def test_alpha_that_hides_nothing_is_left_out(tmp_path: Path) -> None:
    image = photo((300, 200))
    image.putalpha(255)
    image.save(tmp_path / "a.png")
    assert sent(tmp_path / "a.png")[1].mode == "RGB"


def test_the_smaller_of_png_and_jpeg_is_sent(tmp_path: Path) -> None:
    photo((400, 300)).save(tmp_path / "photo.png")
    kind, picture = sent(tmp_path / "photo.png")
    assert kind == "jpeg"
    error = np.abs(np.asarray(picture, np.int16) - np.asarray(photo((400, 300)), np.int16))
    assert error.mean() < 2.0
    assert JPEG_QUALITY >= 92
    flat = Image.new("RGB", (400, 300), "red")
    flat.save(tmp_path / "flat.png")
    assert sent(tmp_path / "flat.png")[0] == "png"


@pytest.mark.parametrize(("max_side", "size"), [(512, (512, 256)), (64, (64, 32)), (4096, (600, 300))])
def test_a_picture_is_scaled_down_to_the_side_that_is_set(tmp_path: Path, max_side: int, size: tuple[int, int]) -> None:
    photo((600, 300)).save(tmp_path / "a.png")
    assert sent(tmp_path / "a.png", max_side)[1].size == size


def test_a_prepared_picture_keeps_its_size(tmp_path: Path) -> None:
    photo((600, 300)).save(tmp_path / "a.png")
    assert sent(tmp_path / "a.png", 256, preprocess_image=False)[1].size == (600, 300)


def test_a_photo_is_sent_upright_and_without_what_the_camera_noted(tmp_path: Path) -> None:
    image = Image.new("RGB", (80, 40), "blue")
    image.paste("red", (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: what is left in the file is above in the picture
    exif[0x010E] = "the owner's name"
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    _, picture = sent(tmp_path / "a.jpg")
    assert picture.size == (40, 80)
    red, blue = picture.convert("RGB").getpixel((20, 5)), picture.convert("RGB").getpixel((20, 75))
    assert isinstance(red, tuple)
    assert isinstance(blue, tuple)
    assert red[0] > 200 > 60 > red[2]
    assert blue[2] > 200 > 60 > blue[0]
    assert not picture.getexif()
    assert b"owner" not in made(tmp_path / "a.jpg")[1].body
    assert "icc_profile" not in picture.info


@settings(max_examples=25)
@given(st.integers(16, 90), st.integers(16, 90), st.sampled_from(["L", "LA", "P", "RGB", "RGBA", "CMYK", "1", "I;16"]))
def test_any_picture_becomes_one_that_is_allowed(tmp_path_factory: Any, width: int, height: int, mode: str) -> None:
    image = Image.linear_gradient("L").resize((width, height))
    image = Image.new("I;16", (width, height), 777) if mode == "I;16" else image.convert(mode)
    path = tmp_path_factory.mktemp("any") / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    kind, picture = sent(path, max_side=48)
    assert kind in ("png", "jpeg")
    assert picture.mode in ("RGB", "RGBA")
    assert max(picture.size) == min(48, max(width, height))


def test_a_picture_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(EspalierError) as caught:
        made(tmp_path / "none.png")
    assert caught.value.code == "image_missing"


def test_a_cancel_is_seen_while_the_picture_is_packed(tmp_path: Path) -> None:
    photo((64, 64)).save(tmp_path / "a.png")

    def check() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        build(GenerationRequest.create(tmp_path / "a.png", "remote"), 1024, check)


def test_the_thumbnail_is_small_and_only_pixels(tmp_path: Path) -> None:
    photo((900, 300)).save(tmp_path / "a.png")
    _, payload = made(tmp_path / "a.png")
    assert payload.thumbnail is not None
    path = write_thumbnail(payload.thumbnail, tmp_path / "thumbnail.png")
    with Image.open(path) as small:
        assert small.size == (256, 85)
    assert made(URL)[1].thumbnail is None


def test_a_body_knows_whether_it_was_begun() -> None:
    body = Body(b"x" * 200_000)
    assert len(body) == 200_000
    assert not body.begun
    assert sum(map(len, body)) == 200_000
    assert body.begun
    assert body.again().read() == b"x" * 200_000


def test_a_body_that_was_abandoned_gives_nothing_out() -> None:
    body = Body(b"xyz")
    assert body.abandon()
    with pytest.raises(OSError, match="given up"):
        body.read()
    begun = Body(b"xyz")
    assert begun.read(1) == b"x"
    assert not begun.abandon()
    assert begun.read() == b"yz"


def test_an_image_is_prepared_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def counted(image: Image.Image) -> str:
        made.append(image)
        return data_uri(image)

    monkeypatch.setattr(payload, "data_uri", counted)
    path, pictures = tmp_path / "picture.png", payload.Pictures()
    Image.new("RGB", (40, 30), (200, 10, 10)).save(path)
    requests = [GenerationRequest.create(str(path), "remote", {"seed": seed}) for seed in range(5)]
    bodies = [build(request, 1024, pictures=pictures).body for request in requests]
    assert len(made) == 1
    assert len(set(bodies)) == 5
    assert build(requests[0], 16, pictures=pictures).body != bodies[0]
    Image.new("RGB", (41, 30), (10, 200, 10)).save(path)
    assert build(requests[0], 1024, pictures=pictures).body == build(requests[0], 1024).body != bodies[0]
    assert len(made) == 4
    for number in range(2 * payload.MOST_KEPT):
        build(requests[0], 100 + number, pictures=pictures)
    assert len(pictures._kept) == payload.MOST_KEPT
