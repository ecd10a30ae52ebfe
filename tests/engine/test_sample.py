# SPDX-License-Identifier: GPL-3.0-or-later
"""Source textures are filtered in linear light, over the right area, and without their background."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from engine.errors import EspalierError
from engine.mesh.color import srgb_bytes, to_linear, to_srgb
from engine.mesh.mipmap import MipMap
from engine.mesh.model import Material, Texture
from engine.mesh.sample import MaterialAppearance, decode

QUAD = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3]])
UVS = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)


def rgba(rgb: np.ndarray, alpha: int = 255) -> np.ndarray:
    out = np.full((*rgb.shape[:2], 4), alpha, np.uint8)
    out[..., :3] = rgb
    return out


def encoded(pixels: np.ndarray, kind: str) -> Texture:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return Texture(stream.getvalue(), f"image/{kind.lower()}")  # type: ignore[arg-type]


def test_srgb_there_and_back() -> None:
    values = np.arange(256) / 255
    assert np.array_equal(srgb_bytes(to_linear(values).astype(np.float32)), np.arange(256))
    assert np.allclose(to_srgb(to_linear(values)), values)
    assert to_linear(np.array([0.5]))[0] == pytest.approx(0.21404, abs=1e-5)
    assert srgb_bytes(np.array([np.nan, -1, 2], np.float32)).tolist() == [0, 0, 255]


def test_black_and_white_average_in_linear_light() -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    uvs, level = np.array([[0.4, 0.6]]), np.array([3.0])
    light = MipMap(rgba(np.repeat(board[..., None], 3, 2)), srgb=True, last=3).sample(uvs, level)
    assert np.allclose(light[0, :3], 0.5, atol=1e-3)
    assert srgb_bytes(light[0, :3]).tolist() == [188] * 3
    assert np.allclose(
        MipMap(rgba(np.repeat(board[..., None], 3, 2)), srgb=False, last=3).sample(uvs, level)[0, :3], 0.5, atol=1e-3
    )


def test_every_level_keeps_the_mean_and_odd_sizes_work() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 4), np.uint8)
    image = MipMap(pixels, srgb=False, last=5)
    for level in image.levels[1:]:
        assert np.abs(level.reshape(-1, 4).mean(axis=0) / 65535 - pixels.reshape(-1, 4).mean(axis=0) / 255).max() < 1e-3
    odd = MipMap(pixels[:37, :23], srgb=True, last=5)
    assert [level.shape[:2] for level in odd.levels] == [(37, 23), (19, 12), (10, 6), (5, 3), (3, 2), (2, 1)]
    from_pillow = MipMap(Image.fromarray(pixels[:37, :23]), srgb=True, first=2, last=4)
    assert all(np.array_equal(a, b) for a, b in zip(from_pillow.levels, odd.levels[2:5], strict=True))


def test_bilinear_between_pixel_centers() -> None:
    row = np.array([[[0, 0, 0], [100, 0, 0], [200, 0, 0], [40, 0, 0]]], np.uint8)
    x = np.array([0.5, 1.0, 1.5, 2.25]) / 4
    image = MipMap(rgba(row), srgb=False)
    got = image.sample(np.stack([x, np.full(4, 0.5)], axis=1), np.zeros(4))[:, 0] * 255
    assert np.allclose(got, [0, 50, 100, 175], atol=1e-3)


@pytest.mark.parametrize(
    ("wrap", "expected"), [("repeat", [20.0, 10.0]), ("clamp", [0.0, 40.0]), ("mirror", [0.0, 30.0])]
)
def test_wrapping(wrap: str, expected: list[float]) -> None:
    row = np.array([[[0, 0, 0], [10, 0, 0], [30, 0, 0], [40, 0, 0]]], np.uint8)
    image = MipMap(rgba(row), srgb=False, wrap=wrap)  # type: ignore[arg-type]
    uvs = np.array([[0.0, 0.5], [1.375, 0.5]])
    assert np.allclose(image.sample(uvs, np.zeros(2))[:, 0] * 255, expected, atol=1e-3)


def test_nearest_textures_stay_square() -> None:
    row = np.array([[[0, 0, 0], [100, 0, 0]]], np.uint8)
    image = MipMap(rgba(row), srgb=False, nearest=True)
    got = image.sample(np.array([[0.49, 0.5], [0.51, 0.5]]), np.zeros(2))[:, 0] * 255
    assert np.allclose(got, [0, 100])


def test_background_stays_out_of_averages() -> None:
    pixels = rgba(np.full((64, 64, 3), (255, 0, 255), np.uint8))
    covered = np.zeros((64, 64), dtype=bool)
    covered[3:29, 5:27] = True
    pixels[covered] = (50, 100, 150, 255)
    with_mask = MipMap(pixels, srgb=False, last=3, covered=covered)
    near_edge = np.array([[6 / 64, 4 / 64], [26 / 64, 28 / 64], [0.25, 0.25]])
    assert np.abs(with_mask.sample(near_edge, np.full(3, 3.0))[:, :3] * 255 - (50, 100, 150)).max() < 2
    without = MipMap(pixels, srgb=False, last=3)
    assert np.abs(without.sample(near_edge, np.full(3, 3.0))[:, :3] * 255 - (50, 100, 150)).max() > 50


def look(appearance: MaterialAppearance, footprint: float, count: int = 400) -> dict[str, np.ndarray]:
    face = np.arange(count) % 2
    weights = np.random.default_rng(0).dirichlet((1, 1, 1), count)[:, 1:].astype(np.float32)
    footprints = np.full(count, footprint, np.float32)
    appearance.prepare(face, footprints, None)
    return appearance.sample(face, weights, np.zeros((count, 3)), footprints)


def test_a_coarse_target_sees_the_mean() -> None:
    board = np.repeat((np.indices((256, 256)).sum(axis=0) % 2 * 255)[..., None], 3, 2).astype(np.uint8)
    appearance = MaterialAppearance(Material(), QUAD, FACES, UVS, pixels={"base_color": board})
    assert np.ptp(look(appearance, 1 / 256**2)["base_color"]) > 0.9
    coarse = look(appearance, 1 / 32**2)["base_color"]
    assert np.abs(coarse - 0.5).max() < 2e-3
    assert appearance._images["base_color"].first >= 2  # the finest levels are not even kept


def test_factors_textures_and_colors_multiply() -> None:
    base = np.full((4, 4, 4), (188, 128, 255, 128), np.uint8)
    rough = np.full((4, 4, 3), (0, 51, 204), np.uint8)
    material = Material(
        base_color_factor=(0.5, 1.0, 0.25, 0.5),
        metallic_factor=0.5,
        roughness_factor=1.0,
        emissive_factor=(1.0, 0.5, 0.0),
        base_color=encoded(base, "PNG"),
        metallic_roughness=encoded(rough, "WEBP"),
        emissive=encoded(np.full((4, 4, 3), 255, np.uint8), "JPEG"),
        alpha_mode="BLEND",
    )
    colors = np.tile(np.array([[1.0, 0.5, 1.0]], np.float32), (4, 1))
    got = look(MaterialAppearance(material, QUAD, FACES, UVS, colors), 1e-3)
    linear = to_linear(np.array([188, 128, 255]) / 255)
    assert np.allclose(got["base_color"], linear * (0.5, 0.5, 0.25), atol=2e-3)
    assert np.allclose(got["alpha"], 128 / 255 / 2, atol=1e-4)
    assert np.allclose(got["metallic"], 0.4, atol=1e-4)
    assert np.allclose(got["roughness"], 0.2, atol=1e-4)
    assert np.allclose(got["emissive"], (1, 0.5, 0), atol=1e-2)


def test_without_uvs_factors_and_colors_are_left() -> None:
    material = Material(base_color_factor=(0.5, 0.5, 0.5, 0.3), base_color=Texture(b"not even an image", "image/png"))
    colors = np.array([[1, 0, 0, 0.5], [0, 1, 0, 0.5], [0, 0, 1, 0.5], [np.nan] * 4], np.float32)
    got = look(MaterialAppearance(material, QUAD, FACES, None, colors), 1e-3)
    assert got["base_color"].max() <= 0.5
    assert np.isfinite(got["base_color"]).all()
    assert (got["alpha"] == 1).all()  # OPAQUE: alpha does not count


def test_alpha_of_a_mask_is_all_or_nothing() -> None:
    base = np.full((8, 8, 4), 255, np.uint8)
    base[:, :4, 3] = 40
    material = Material(base_color=encoded(base, "PNG"), alpha_mode="MASK", alpha_cutoff=0.5)
    assert set(np.unique(look(MaterialAppearance(material, QUAD, FACES, UVS), 1e-5)["alpha"]).tolist()) == {0.0, 1.0}


def test_normal_maps() -> None:
    bent = np.full((4, 4, 3), (255, 128, 128), np.uint8)
    material = Material(normal=encoded(bent, "PNG"), normal_scale=0.5)
    appearance = MaterialAppearance(material, QUAD, FACES, UVS)
    assert appearance.has_normal_map
    look(appearance, 1e-3)
    got = appearance.tangent_normals(np.zeros(3, int), np.zeros((3, 2)), np.full(3, 1e-3, np.float32))
    assert got is not None
    assert np.allclose(got, (0.5, 0.002, 0.004), atol=3e-3)
    assert not MaterialAppearance(Material(), QUAD, FACES, UVS).has_normal_map


def test_sixteen_bits_are_scaled_not_cut() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 4), 0x8040, np.uint16)).save(stream, "PNG")
    image = decode(Texture(stream.getvalue(), "image/png"), "base_color")
    assert np.asarray(image)[0, 0].tolist() == [128, 128, 128, 255]


def test_palettes_and_grey() -> None:
    for mode in ("P", "L", "LA", "1", "RGB"):
        stream = io.BytesIO()
        Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode).save(stream, "PNG")
        image = decode(Texture(stream.getvalue(), "image/png"), "base_color")
        assert image.mode == ("RGB" if mode == "RGB" else "RGBA")
        assert np.asarray(image.convert("RGBA"))[0, 0].tolist() == [255, 255, 255, 255]


def test_damage_is_said() -> None:
    whole = encoded(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), "PNG").data
    for data in (b"", b"\x89PNG\r\n\x1a\n", whole[: len(whole) // 2], b"junk" * 20):
        with pytest.raises(EspalierError) as caught:
            decode(Texture(data, "image/png"), "base_color")
        assert caught.value.code == "texture_unreadable"
    for kind in ("JPEG", "WEBP"):
        data = encoded(np.zeros((64, 64, 3), np.uint8), kind).data
        with pytest.raises(EspalierError):
            decode(Texture(data[:30], f"image/{kind.lower()}"), "normal")  # type: ignore[arg-type]


def test_huge_images_are_refused_before_they_are_read() -> None:
    stream = io.BytesIO()
    Image.new("1", (20_000, 4)).save(stream, "PNG")
    with pytest.raises(EspalierError) as caught:
        decode(Texture(stream.getvalue(), "image/png"), "base_color")
    assert "20000 x 4" in str(caught.value)


def test_uvs_that_are_not_numbers_sample_something() -> None:
    uvs = np.array([[np.nan, 0], [np.inf, 0.5], [1e30, -1e30], [0, 0]], np.float32)
    appearance = MaterialAppearance(
        Material(), QUAD, FACES, uvs, pixels={"base_color": np.full((8, 8, 3), 9, np.uint8)}
    )
    assert np.isfinite(look(appearance, 1e-3)["base_color"]).all()
