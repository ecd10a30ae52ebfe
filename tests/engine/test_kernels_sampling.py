# SPDX-License-Identifier: GPL-3.0-or-later
"""Sampling a sparse volume is sampling the dense one and dividing by how much of it was there."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed here; it is in the environment torch-3.11")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from engine.backends.trellis2.kernels.sampling import grid_sample_3d  # noqa: E402
from tests.engine.kernel_volumes import LiveBytes, Volume, limited, random_tensor, random_volume, volumes  # noqa: E402


def sampled(volume: Volume, feats, points, mode="trilinear"):
    return grid_sample_3d(feats, volume.coords, volume.shape(feats.shape[1]), points, mode)


def dense_sample(volume: Volume, feats, points, mode="bilinear"):
    extent = torch.tensor(volume.extent, dtype=torch.float64)
    unit = (2 * points / extent - 1).flip(-1)[:, :, None, None]
    dense = torch.nn.functional.grid_sample(volume.dense(feats), unit, mode=mode, align_corners=False)
    return dense[..., 0, 0].permute(0, 2, 1)


def random_points(volume: Volume, seed: int, count: int = 40):
    generator = torch.Generator().manual_seed(seed)
    reach = torch.tensor(volume.extent, dtype=torch.float64) + 2
    return torch.rand((volume.batch, count, 3), generator=generator, dtype=torch.float64) * reach - 1


@settings(max_examples=60)
@given(volumes(), st.integers(0, 1 << 20))
def test_it_is_dense_sampling_divided_by_what_was_there(volume, seed) -> None:
    feats, points = random_tensor(seed, len(volume.coords), 3), random_points(volume, seed + 1)
    weights = dense_sample(volume, torch.ones((len(feats), 1), dtype=torch.float64), points)
    reference = torch.where(weights > 1e-9, dense_sample(volume, feats, points) / weights, 0)
    clear = ((weights > 1e-9) | (weights == 0))[..., 0]
    torch.testing.assert_close(sampled(volume, feats, points)[clear], reference[clear], rtol=1e-6, atol=1e-9)


def test_a_full_volume_goes_on_at_its_border() -> None:
    volume = random_volume(1, (3, 4, 5), share=1.0)
    feats, points = random_tensor(2, len(volume.coords), 4), random_points(volume, 3).clamp(min=-0.4)
    extent = torch.tensor(volume.extent, dtype=torch.float64)
    points = torch.minimum(points, extent + 0.4)
    unit = (2 * points / extent - 1).flip(-1)[:, :, None, None]
    dense = torch.nn.functional.grid_sample(volume.dense(feats), unit, padding_mode="border", align_corners=False)
    torch.testing.assert_close(sampled(volume, feats, points), dense[..., 0, 0].permute(0, 2, 1), rtol=0, atol=1e-12)


@settings(max_examples=30)
@given(volumes(), st.integers(0, 1 << 20))
def test_nearest_is_the_voxel_that_the_point_lies_in(volume, seed) -> None:
    feats, points = random_tensor(seed, len(volume.coords), 2), random_points(volume, seed + 1).clamp(min=0)
    assert torch.equal(sampled(volume, feats, points, "nearest"), dense_sample(volume, feats, points, "nearest"))


def test_nearest_counts_what_lies_just_before_the_volume_to_its_first_voxel() -> None:
    one, feats = Volume(torch.tensor([[0, 0, 0, 0]]), 1, (1, 1, 1)), torch.tensor([[5.0]])
    points = torch.tensor([[[-0.9, 0.5, -0.1], [-1.0, 0.5, 0.5], [0.5, 1.0, 0.5]]])
    assert sampled(one, feats, points, "nearest")[0, :, 0].tolist() == [5, 0, 0]


def test_the_middle_of_a_voxel_is_the_voxel() -> None:
    volume = random_volume(4, batch=1)
    feats = random_tensor(5, len(volume.coords), 3)
    points = volume.coords[None, :, 1:].double() + 0.5
    for mode in ("trilinear", "nearest"):
        torch.testing.assert_close(sampled(volume, feats, points, mode)[0], feats, rtol=0, atol=0)


@pytest.mark.parametrize("limit", [1, 4000])
def test_small_pieces_give_the_same_numbers(limit) -> None:
    volume = random_volume(6)
    feats, points = random_tensor(7, len(volume.coords), 6), random_points(volume, 8, 100)
    for mode in ("trilinear", "nearest"):
        whole = sampled(volume, feats, points, mode)
        with limited(limit):
            assert torch.equal(sampled(volume, feats, points, mode), whole)


def test_no_step_takes_more_memory_than_the_limit() -> None:
    volume, limit = random_volume(41, (24, 24, 24), 1, 0.1), 200_000
    feats, points = random_tensor(42, len(volume.coords), 6).float(), random_points(volume, 43, 20_000).float()
    for mode in ("trilinear", "nearest"):
        with limited(limit), LiveBytes() as live:
            out = sampled(volume, feats, points, mode)
        assert live.most <= out.nbytes + 8 * len(points[0]) + 48 * len(feats) + limit


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_each_precision_is_as_good_as_it_can_be(dtype) -> None:
    volume = random_volume(9)
    feats = random_tensor(10, len(volume.coords), 6, dtype=dtype)
    points = random_points(volume, 11).float()
    out = sampled(volume, feats, points)
    assert out.dtype == dtype
    reference = sampled(volume, feats.double(), points.double())
    assert ((out.double() - reference).abs() <= torch.finfo(dtype).eps * 4 * feats.double().abs().max()).all()


def test_voxels_far_out_are_found() -> None:
    side = 1 << 20
    coords = torch.tensor([[0, side - 1, side - 2, 3], [0, side - 1, side - 1, 3]], dtype=torch.int32)
    feats = torch.tensor([[1.0], [3.0]])
    points = torch.tensor([[[side - 0.5, side - 1.0, 3.5], [0.5, 0.5, 0.5]]])
    out = grid_sample_3d(feats, coords, torch.Size([1, 1, side, side, side]), points)
    assert out[0, :, 0].tolist() == [2.0, 0.0]


def test_no_voxel_no_point_and_one_voxel() -> None:
    none = Volume(torch.zeros((0, 4), dtype=torch.int32), 1, (1, 1, 1))
    one = Volume(torch.tensor([[0, 0, 0, 0]]), 1, (1, 1, 1))
    points = torch.tensor([[[0.2, 0.9, 0.5], [-0.49, 0.5, 0.5], [1.6, 0.5, 0.5]]], dtype=torch.float64)
    feats = torch.tensor([[7.0]], dtype=torch.float64)
    assert sampled(none, feats[:0], points)[0, :, 0].tolist() == [0, 0, 0]
    assert sampled(one, feats, points[:, :0]).shape == (1, 0, 1)
    assert sampled(one, feats, points)[0, :, 0].tolist() == pytest.approx([7, 7, 0])


def test_another_mode_is_refused() -> None:
    volume = random_volume(12)
    with pytest.raises(ValueError, match="bicubic"):
        sampled(volume, random_tensor(13, len(volume.coords), 1), random_points(volume, 14), "bicubic")
