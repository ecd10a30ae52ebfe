# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panel asks of an image before anything is generated: the cut-out, its mask, the clipboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageGrab

from engine.backends.draft.backend import DraftBackend
from engine.errors import EspalierError
from engine.imaging import clipboard, cutout, removal
from engine.imaging.choices import ALPHA, BACKDROP, CLIPBOARD, CUT_OUT, MODEL, SIDE, Order
from engine.imaging.cutout import above, make, paintable, preview

Ask = Callable[..., dict[str, Any]]
Models = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutout, "_last", None)
    monkeypatch.delenv(removal.FOLDER, raising=False)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Models:
    """Let these models be there; each finds the middle of the picture, and is written down when it is asked."""

    def install(*names: str, broken: bool = False) -> list[str]:
        asked: list[str] = []

        def mask(image: Image.Image, wish: str = "") -> Image.Image | None:
            asked.append(wish)
            found = Image.new("L", image.size, 0)
            found.paste(255, (image.width // 4, image.height // 4, image.width * 3 // 4, image.height * 3 // 4))
            return None if broken else found

        def chosen(wish: str = "") -> tuple[str, Path]:
            return (wish if wish in names else names[0]), Path("model.onnx")

        monkeypatch.setattr(removal, "available", lambda: True)
        monkeypatch.setattr(removal, "chosen_model", chosen)
        monkeypatch.setattr(removal, "subject_mask", mask)
        return asked

    return install


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A red ellipse, wider than high and off the middle, on a plain white backdrop."""
    image = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(image).ellipse((20, 60, 179, 139), fill=(200, 30, 30))
    image.save(tmp_path / "红 ellipse.png")
    return tmp_path / "红 ellipse.png"


@pytest.fixture
def clear(tmp_path: Path) -> Path:
    """A green square of 60 pixels on nothing, around it 20 pixels that are nearly nothing."""
    rows = np.zeros((200, 240, 4), np.uint8)
    rows[..., :3] = (90, 80, 70)
    rows[50:150, 70:170] = (20, 180, 60, 60)
    rows[70:130, 90:150, 3] = 255
    Image.fromarray(rows).save(tmp_path / "clear.png")
    return tmp_path / "clear.png"


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Ask the draft engine, whose worker answers for all engines."""

    def ask(path: Path, **about: Any) -> dict[str, Any]:
        told = {"path": str(path), "folder": str(tmp_path / "cutouts"), **about}
        return DraftBackend().ask(CUT_OUT, {}, lambda: False, told)

    return ask


def _shown(note: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.fromfile(note["preview"], np.uint8).reshape(SIDE, SIDE, 4)[::-1]


def _failure(act: Callable[[], object]) -> EspalierError:
    with pytest.raises(EspalierError) as caught:
        act()
    return caught.value


def test_a_plain_backdrop_is_cut_and_the_subject_fills_the_preview(plain: Path, ask: Ask) -> None:
    note = ask(plain)
    assert (note["how"], note["model"]) == (BACKDROP, "")
    cut = np.asarray(Image.open(note["cut"]))
    assert cut.shape == (200, 300, 4)
    assert cut[100, 100, 3] == 255
    assert cut[10, 290, 3] == 0
    shown = _shown(note)
    assert (shown[..., 3] == 255).all()
    red = shown[..., 0].astype(int) - shown[..., 1] > 100
    columns, rows = np.flatnonzero(red.any(axis=0)), np.flatnonzero(red.any(axis=1))
    # As wide as the frame, and in its middle: what `subject_frame` makes of it.
    assert columns[0] <= 3
    assert columns[-1] >= SIDE - 4
    assert abs((rows[0] + rows[-1]) / 2 - SIDE / 2) < 4
    corner = shown[:32, :32, :3].reshape(2, 16, 2, 16, 3)
    assert (corner == corner[:, :1, :, :1]).all()
    assert corner[0, 0, 0, 0, 0] != corner[0, 0, 1, 0, 0]


def test_the_engine_takes_the_file_as_it_is(plain: Path, ask: Ask) -> None:
    note = ask(plain)
    again = ask(Path(note["cut"]))
    assert again["how"] == ALPHA
    assert Path(again["cut"]).read_bytes() == Path(note["cut"]).read_bytes()


def test_the_same_question_is_answered_from_what_is_there(
    plain: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = ask(plain)
    monkeypatch.setattr(cutout, "make", lambda *_: pytest.fail("it was made again"))
    assert ask(plain) == note
    monkeypatch.undo()
    image = Image.open(plain)
    image.paste("white", (0, 0, 90, 200))
    image.save(plain)
    changed = ask(plain)
    assert changed["cut"] != note["cut"]
    assert np.asarray(Image.open(changed["cut"]))[100, 60, 3] == 0


def test_a_model_is_asked_once_for_all_thresholds(plain: Path, ask: Ask, models: Models) -> None:
    asked = models("isnet-general-use", "u2netp")
    first = ask(plain, background="u2netp")
    assert (first["how"], first["model"]) == (MODEL, "u2netp")
    assert np.asarray(Image.open(first["cut"]))[:, :, 3].sum() == 150 * 100 * 255
    for threshold in (0.2, 0.4):
        ask(plain, background="u2netp", threshold=threshold)
    assert asked == ["u2netp"]
    assert ask(plain)["model"] == "isnet-general-use"
    assert asked == ["u2netp", ""]


def test_a_model_that_is_not_there_is_told_and_never_replaced(plain: Path, clear: Path, ask: Ask) -> None:
    error = _failure(lambda: ask(plain, background="birefnet-general"))
    assert error.code == "background_model_missing"
    assert "birefnet-general" in error.cause
    # Where the image has its own outline none is needed.
    assert ask(clear, background="birefnet-general")["how"] == ALPHA


def test_another_model_does_not_stand_in(plain: Path, ask: Ask, models: Models) -> None:
    asked = models("isnet-general-use")
    assert _failure(lambda: ask(plain, background="u2netp")).code == "background_model_missing"
    assert not asked


def test_a_model_that_fails_is_told(plain: Path, ask: Ask, models: Models) -> None:
    models("u2netp", broken=True)
    assert _failure(lambda: ask(plain, background="u2netp")).code == "background_model_failed"
    assert ask(plain)["how"] == BACKDROP


def test_the_backdrop_rule_can_be_chosen_where_models_are(plain: Path, ask: Ask, models: Models) -> None:
    asked = models("isnet-general-use")
    assert ask(plain, background=BACKDROP)["how"] == BACKDROP
    assert not asked


def test_the_threshold_takes_what_is_faint_and_leaves_what_is_solid(clear: Path, ask: Ask) -> None:
    image = Image.open(clear)
    assert above(image, 0.0) is image
    assert np.asarray(above(image, 0.1))[60, 80, 3] < 60
    cut = np.asarray(Image.open(ask(clear, threshold=0.5)["cut"]))
    assert cut[60, 80, 3] == 0
    assert cut[100, 120, 3] == 255
    assert (cut[..., 3] > 0).sum() == 60 * 60


def test_a_threshold_that_takes_all_is_told(tmp_path: Path, ask: Ask) -> None:
    image = Image.new("RGBA", (64, 64))
    image.paste((10, 20, 30, 180), (16, 16, 48, 48))
    image.save(tmp_path / "faint.png")
    assert _failure(lambda: ask(tmp_path / "faint.png", threshold=0.9)).code == "cutout_empty"


def test_what_is_kept_is_whole(clear: Path, plain: Path, ask: Ask) -> None:
    kept = ask(plain, keep=True, threshold=0.5, background="birefnet-general")
    assert kept["how"] == "kept"
    shown = _shown(kept)
    assert (shown[2, :, :3] == 255).all()
    red = shown[..., 1] < 100
    # The models scale the whole picture to a square.
    assert abs(np.flatnonzero(red.any(axis=0))[0] - 20 / 300 * SIDE) < 4
    assert abs(np.flatnonzero(red.any(axis=1))[0] - 60 / 200 * SIDE) < 4
    assert _failure(lambda: ask(plain, keep=True, inflates=True)).code == "image_opaque"
    green = _shown(ask(clear, keep=True, inflates=True))[..., 1] > 170
    assert np.flatnonzero(green.any(axis=0))[0] == pytest.approx(90 / 240 * SIDE, abs=4)
    assert np.flatnonzero(green.any(axis=1))[0] == pytest.approx(90 / 240 * SIDE, abs=4)


def test_a_painted_mask_is_used(plain: Path, ask: Ask, tmp_path: Path) -> None:
    rows = np.zeros((100, 150), np.uint8)
    rows[30:70, 10:50] = 255
    mask = tmp_path / "mask"
    rows[::-1].tofile(mask)
    note = ask(plain, mask=str(mask), mask_width=150)
    assert note["how"] == "mask"
    cut = np.asarray(Image.open(note["cut"]))
    assert cut[100, 60].tolist() == [200, 30, 30, 255]
    assert cut[100, 150, 3] == 0
    other = np.full((100, 150), 255, np.uint8)
    other.tofile(mask)
    assert _failure(lambda: ask(plain, mask=str(mask), mask_width=150)).code == "cutout_whole"
    (other * 0).tofile(mask)
    assert _failure(lambda: ask(plain, mask=str(mask), mask_width=150)).code == "mask_empty"


def test_a_mask_helps_where_nothing_else_finds_the_subject(tmp_path: Path, ask: Ask) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (96, 96, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "busy.png")
    assert _failure(lambda: ask(tmp_path / "busy.png")).code == "background_busy"
    rows = np.zeros((96, 96), np.uint8)
    rows[20:60, 20:60] = 255
    rows.tofile(tmp_path / "mask")
    cut = np.asarray(Image.open(ask(tmp_path / "busy.png", mask=str(tmp_path / "mask"), mask_width=96)["cut"]))
    assert (cut[40:70, 24:56, :3] == noise[40:70, 24:56]).all()


def test_what_a_mask_is_painted_on_shows_what_was_taken_away(plain: Path, ask: Ask) -> None:
    base = np.asarray(Image.open(ask(plain)["base"]))
    assert base.shape == (200, 300, 4)
    assert base[10, 290].tolist() == [255, 255, 255, 0]
    assert base[100, 100].tolist() == [200, 30, 30, 255]
    large = Image.new("RGBA", (2000, 500), (255, 255, 255, 255))
    large.paste((0, 0, 0, 255), (500, 100, 900, 400))
    large.save(plain)
    assert Image.open(ask(plain)["base"]).size == (1024, 256)


def test_colours_along_the_edge_are_those_freed_from_the_backdrop() -> None:
    image = Image.new("RGBA", (4, 1), (255, 255, 255, 255))
    cut = Image.fromarray(np.array([[[1, 2, 3, 255], [4, 5, 6, 90], [0, 0, 0, 0], [0, 0, 0, 0]]], np.uint8))
    made = np.asarray(paintable(image, cut))
    assert made.tolist() == [[[1, 2, 3, 255], [4, 5, 6, 90], [255, 255, 255, 0], [255, 255, 255, 0]]]


def test_the_frame_is_that_of_the_engine() -> None:
    image = Image.new("RGBA", (200, 100))
    image.paste((255, 0, 0, 150), (20, 20, 180, 80))
    image.paste((0, 0, 255, 255), (80, 30, 120, 70))
    solid, whole = (np.asarray(preview(image, Order("x", inflates=inflates))) for inflates in (False, True))
    assert solid[10, 10, 2] > 200
    assert whole[10, 10, 2] < 200
    assert whole[SIDE // 2, SIDE // 2, 2] > 200


def test_only_the_latest_stay(plain: Path, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutout, "MOST_KEPT", 2)
    notes = [ask(plain, threshold=step / 10) for step in range(4)]
    assert len(list((tmp_path / "cutouts").iterdir())) == 8
    assert all(Path(notes[-1][name]).is_file() for name in ("cut", "base", "preview"))
    assert not Path(notes[0]["cut"]).exists()


def test_images_that_cannot_be_read_are_told_as_when_generating(tmp_path: Path, ask: Ask) -> None:
    assert _failure(lambda: ask(tmp_path / "gone.png")).code == "image_missing"
    Image.new("RGBA", (64, 64)).save(tmp_path / "nothing.png")
    for keep in (False, True):
        assert _failure(lambda: ask(tmp_path / "nothing.png", keep=keep)).code == "image_transparent"  # noqa: B023
    with pytest.raises(EspalierError):
        make(Image.new("RGBA", (64, 64)), Order("nothing.png"))


def test_an_image_on_the_clipboard_becomes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def grab(found: object) -> dict[str, Any]:
        monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: found)
        return DraftBackend().ask(CLIPBOARD, {}, lambda: False, {"folder": str(tmp_path / "inputs")})

    picture = Image.new("RGB", (20, 30), (1, 2, 3))
    (file,) = grab(picture)["files"]
    assert np.asarray(Image.open(file))[5, 5].tolist() == [1, 2, 3, 255]
    assert grab(picture)["files"] == [file]
    (tmp_path / "a.png").write_bytes(b"x")
    assert grab([str(tmp_path / "a.png"), str(tmp_path)])["files"] == [str(tmp_path / "a.png")]
    for nothing in (None, [], [str(tmp_path / "gone.png")]):
        assert _failure(lambda: grab(nothing)).code == "clipboard_empty"  # noqa: B023


def test_a_clipboard_that_cannot_be_read_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise NotImplementedError("wl-paste or xclip is required for ImageGrab.grabclipboard() on Linux")

    monkeypatch.setattr(ImageGrab, "grabclipboard", refuse)
    error = _failure(lambda: clipboard.answer({"folder": ""}))
    assert error.code == "clipboard_unreadable"
    assert "xclip is required" in error.cause
    assert "Save it as a file" in error.remedy


def test_other_questions_are_not_answered() -> None:
    error = _failure(lambda: DraftBackend().ask("weather", {}, lambda: False))
    assert error.code == "question_unanswered"
