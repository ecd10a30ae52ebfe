# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading images: every mode, the right way up, in sRGB, and every bad file as an error of the catalogue."""

from __future__ import annotations

import io
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw

from engine.errors import EspalierError
from engine.imaging import read
from engine.imaging.read import read_image, reduce_to

COLOR = (200, 120, 40)


def picture(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A red-brown picture with a blue mark in its upper left corner."""
    image = Image.new("RGB", size, COLOR)
    ImageDraw.Draw(image).rectangle((0, 0, 9, 9), fill=(20, 40, 220))
    return image.convert(mode)


def refused(path: Path) -> EspalierError:
    with pytest.raises(EspalierError) as caught:
        read_image(path)
    return caught.value


def test_every_color_mode_is_read_as_rgba(tmp_path: Path) -> None:
    for mode, suffix, spread in (
        ("RGB", "png", 0), ("RGBA", "png", 0), ("RGB", "jpg", 8), ("RGB", "webp", 12), ("RGB", "bmp", 0),
        ("RGB", "tiff", 0), ("P", "png", 40), ("P", "gif", 40), ("CMYK", "jpg", 8), ("CMYK", "tiff", 2),
        ("YCbCr", "tiff", 4), ("YCbCr", "jpg", 8),
    ):  # fmt: skip
        path = tmp_path / f"{mode}.{suffix}"
        picture(mode).save(path)
        result = read_image(path)
        assert (result.mode, result.size) == ("RGBA", (40, 30)), path
        color = np.asarray(result)[20, 30]
        assert np.abs(color[:3].astype(int) - COLOR).max() <= spread, (path, color)
        assert color[3] == 255


def test_lab_is_read_as_the_same_color(tmp_path: Path) -> None:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(picture(), to_lab)
    assert lab is not None
    lab.save(tmp_path / "lab.tiff")
    color = np.asarray(read_image(tmp_path / "lab.tiff"))[20, 30]
    assert np.abs(color[:3].astype(int) - COLOR).max() <= 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "I", "F"])
def test_gray_keeps_its_steps_at_every_depth(tmp_path: Path, mode: str) -> None:
    ramp = np.tile(np.linspace(0, 1, 64), (32, 1))
    if mode in ("I;16", "I"):
        image = Image.fromarray(np.rint(ramp * 65535).astype(np.uint16 if mode == "I;16" else np.int32))
    elif mode == "F":
        image = Image.fromarray(ramp.astype(np.float32))
    else:
        image = Image.fromarray(np.rint(ramp * 255).astype(np.uint8)).convert(mode)
    path = tmp_path / ("gray.tiff" if mode in ("F", "I") else "gray.png")
    image.save(path)
    result = np.asarray(read_image(path))
    assert (result[..., 0] == result[..., 1]).all()
    assert result[..., 3].min() == 255
    if mode == "1":
        assert set(np.unique(result[..., 0])) == {0, 255}
    else:
        assert np.abs(result[5, :, 0] - ramp[0] * 255).max() <= 1


def test_sixteen_bits_of_color_and_alpha(tmp_path: Path) -> None:
    # Pillow writes no such PNG, so this one is made by hand: a colour and an alpha ramp.
    rows = b""
    for _ in range(20):
        rows += b"\0" + b"".join(struct.pack(">4H", 51400, 30840, 10280, x * 1129) for x in range(59))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", 59, 20, 16, 6, 0, 0, 0)
    path = tmp_path / "deep.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    result = np.asarray(read_image(path))
    assert tuple(result[3, 3, :3]) == COLOR
    assert np.abs(result[3, :, 3] - np.arange(59) * 1129 / 257).max() <= 1


def test_alpha_of_palettes_and_of_a_single_color(tmp_path: Path) -> None:
    image = picture().quantize(8, dither=Image.Dither.NONE)
    clear = image.getpixel((0, 0))
    image.save(tmp_path / "palette.png", transparency=clear)
    picture().save(tmp_path / "key.png", transparency=(20, 40, 220))
    picture("L").save(tmp_path / "gray.png", transparency=picture("L").getpixel((0, 0)))
    for name in ("palette.png", "key.png", "gray.png"):
        alpha = np.asarray(read_image(tmp_path / name))[..., 3]
        assert alpha[4, 4] == 0, name
        assert alpha[20, 30] == 255, name


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    others = [Image.new("RGB", (40, 30), (0, 255, 0))] * 3
    for name in ("a.gif", "a.webp", "a.png"):
        picture().save(tmp_path / name, save_all=True, append_images=others)
        color = np.asarray(read_image(tmp_path / name))[20, 30, :3].astype(int)
        assert np.abs(color - COLOR).max() < 30, name


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_come_upright(tmp_path: Path, orientation: int) -> None:
    upright = picture()
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    result = read_image(tmp_path / "photo.jpg")
    assert result.size == upright.size
    assert np.asarray(result)[3, 3, 2] > 150
    assert np.asarray(result)[3, 36, 2] < 90


def test_broken_exif_says_nothing(tmp_path: Path) -> None:
    picture().save(tmp_path / "photo.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_image(tmp_path / "photo.jpg").size == (40, 30)


def _swapped_profile() -> bytes:
    """sRGB's own profile with red and blue exchanged, so that using it shows."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", data, 128)[0]
    tags = {bytes(data[132 + 12 * k : 136 + 12 * k]): 132 + 12 * k for k in range(count)}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    data[red + 4 : red + 12], data[blue + 4 : blue + 12] = data[blue + 4 : blue + 12], data[red + 4 : red + 12]
    where, size = struct.unpack_from(">2I", data, tags[b"desc"] + 4)
    data[where : where + size] = bytes(data[where : where + size]).replace(
        "sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")
    )
    return bytes(data)


def test_an_embedded_profile_is_brought_to_srgb(tmp_path: Path) -> None:
    image = picture("RGBA")
    image.putalpha(77)
    image.save(tmp_path / "swapped.png", icc_profile=_swapped_profile())
    color = np.asarray(read_image(tmp_path / "swapped.png"))[20, 30]
    assert np.abs(color.astype(int) - (40, 120, 200, 77)).max() <= 3
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"not a profile", b""):
        picture().save(tmp_path / "plain.png", icc_profile=profile)
        assert tuple(np.asarray(read_image(tmp_path / "plain.png"))[20, 30, :3]) == COLOR
    # A profile of another kind than the pixels has nothing to say about them.
    picture("L").save(tmp_path / "gray.png", icc_profile=_swapped_profile())
    assert np.asarray(read_image(tmp_path / "gray.png"))[20, 30, 0] == np.asarray(picture("L"))[20, 30]


def test_a_chinese_name_with_spaces(tmp_path: Path) -> None:
    path = tmp_path / "我的 玩具 鸭子 最终版.png"
    picture().save(path)
    assert read_image(path).size == (40, 30)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.png").code == "image_missing"
    assert refused(tmp_path / ("long" * 100 + ".png")).code == "image_missing"
    assert refused(tmp_path).code == "image_unreadable"
    (tmp_path / "empty.png").write_bytes(b"")
    assert refused(tmp_path / "empty.png").code == "image_empty"
    (tmp_path / "text.png").write_text("this is no picture" * 50)
    assert refused(tmp_path / "text.png").code == "image_unreadable"
    (tmp_path / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\nshowpage\n")
    assert refused(tmp_path / "script.png").code == "image_unreadable"


@pytest.mark.skipif(os.name == "nt" or getattr(os, "geteuid", lambda: 1)() == 0, reason="permissions do not bind here")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    picture().save(path)
    path.chmod(0)
    assert refused(path).code == "image_denied"


def test_a_refusal_by_the_system_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    picture().save(path)

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert refused(path).code == "image_denied"


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "bmp", "gif"])
def test_a_cut_off_file_at_many_lengths(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(5).integers(0, 255, (60, 70, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, {"jpg": "JPEG"}.get(suffix, suffix.upper()))
    data = file.getvalue()
    codes = []
    for share in (0.002, 0.01, 0.1, 0.4, 0.8):
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(data[: max(1, int(len(data) * share))])
        codes.append(refused(path).code)
    assert set(codes) <= {"image_truncated", "image_damaged", "image_unreadable"}
    assert "image_truncated" in codes


def test_damage_in_the_middle_is_an_error_or_a_picture(tmp_path: Path) -> None:
    file = io.BytesIO()
    picture("RGBA", (64, 64)).save(file, "PNG")
    data = file.getvalue()
    for place in range(0, len(data), 7):
        path = tmp_path / "damaged.png"
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x5A]) + data[place + 1 :])
        with suppress(EspalierError):
            assert read_image(path).mode == "RGBA"


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (20_000, 40)).save(tmp_path / "wide.png")
    Image.new("1", (16_000, 16_000)).save(tmp_path / "large.png")

    def decode(*_: object) -> None:
        raise AssertionError("the image was decoded")

    limit = Image.MAX_IMAGE_PIXELS
    assert limit is not None
    monkeypatch.setattr(Image.Image, "load", decode)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    for name in ("wide.png", "large.png"):
        error = refused(tmp_path / name)
        assert error.code == "image_too_large"
        assert error.fields["width"] in error.cause
    assert limit == Image.MAX_IMAGE_PIXELS


def test_an_image_too_small_to_show_anything(tmp_path: Path) -> None:
    for size in ((1, 1), (1, 400), (15, 15)):
        Image.new("RGB", size).save(tmp_path / "small.png")
        assert refused(tmp_path / "small.png").code == "image_too_small"
    Image.new("RGB", (read.SMALLEST_SIDE, 16)).save(tmp_path / "small.png")
    assert read_image(tmp_path / "small.png").size == (16, 16)


def test_reducing_keeps_shape_and_premultiplies(tmp_path: Path) -> None:
    image = Image.new("RGBA", (400, 200), (0, 255, 0, 0))
    ImageDraw.Draw(image).rectangle((0, 0, 200, 199), fill=(255, 0, 0, 255))
    image.save(tmp_path / "half.png")
    small = read_image(tmp_path / "half.png", longest=100)
    assert small.size == (100, 50)
    pixels = np.asarray(small)
    edge = pixels[(pixels[..., 3] > 20) & (pixels[..., 3] < 235)]
    assert len(edge)
    assert edge[:, 1].max() < 30  # nothing of the invisible green
    assert reduce_to(small, 500) is small
