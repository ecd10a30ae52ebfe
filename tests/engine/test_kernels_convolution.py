# SPDX-License-Identifier: GPL-3.0-or-later
"""Sparse convolution is dense convolution, read at the voxels that exist."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed here; it is in the environment torch-3.11")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from engine.backends.trellis2.kernels.conv_calls import sparse_submanifold_conv3d  # noqa: E402
from engine.backends.trellis2.kernels.convolution import convolve, neighbor_map  # noqa: E402
from tests.engine.kernel_volumes import LiveBytes, Volume, limited, random_tensor, random_volume, volumes  # noqa: E402


def convolved(volume: Volume, feats, weight, bias=None, dilation=(1, 1, 1)):
    return sparse_submanifold_conv3d(
        feats, volume.coords, volume.shape(feats.shape[1]), weight, bias, dilation=dilation
    )[0]


def dense_reference(volume: Volume, feats, weight, bias=None, dilation=(1, 1, 1)):
    padding = [size // 2 * apart for size, apart in zip(weight.shape[1:4], dilation, strict=True)]
    kernel = weight.permute(0, 4, 1, 2, 3)
    dense = torch.nn.functional.conv3d(volume.dense(feats), kernel, bias, padding=padding, dilation=dilation)
    return volume.sparse(dense)


@settings(max_examples=60)
@given(
    volumes(),
    st.tuples(*[st.sampled_from([1, 3, 5])] * 3),
    st.tuples(*[st.integers(1, 3)] * 3),
    st.booleans(),
    st.integers(0, 1 << 20),
)
def test_it_is_dense_convolution_at_the_voxels(volume, size, dilation, with_bias, seed) -> None:
    feats = random_tensor(seed, len(volume.coords), 3)
    weight = random_tensor(seed + 1, 4, *size, 3)
    bias = random_tensor(seed + 2, 4) if with_bias else None
    out = convolved(volume, feats, weight, bias, dilation)
    assert out.shape == (len(volume.coords), 4)
    torch.testing.assert_close(out, dense_reference(volume, feats, weight, bias, dilation), rtol=0, atol=1e-12)


def test_a_kernel_of_even_size_reaches_back_first() -> None:
    volume = random_volume(1)
    feats, weight = random_tensor(2, len(volume.coords), 3), random_tensor(3, 4, 2, 2, 2, 3)
    dense = torch.nn.functional.pad(volume.dense(feats), (1, 0) * 3)
    reference = volume.sparse(torch.nn.functional.conv3d(dense, weight.permute(0, 4, 1, 2, 3)))
    torch.testing.assert_close(convolved(volume, feats, weight), reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize("limit", [1, 700, 5000])
def test_small_pieces_give_the_same_numbers(limit) -> None:
    volume = random_volume(4, (8, 8, 8))
    feats, weight, bias = random_tensor(5, len(volume.coords), 6), random_tensor(6, 5, 3, 3, 3, 6), random_tensor(7, 5)
    whole = convolved(volume, feats, weight, bias)
    mapped = neighbor_map(volume.coords, volume.extent, (3, 3, 3))
    with limited(limit):
        torch.testing.assert_close(convolved(volume, feats, weight, bias), whole, rtol=0, atol=1e-12)
        assert torch.equal(neighbor_map(volume.coords, volume.extent, (3, 3, 3)), mapped)


def test_no_step_takes_more_memory_than_the_limit() -> None:
    volume, limit = random_volume(41, (24, 24, 24), 1, 0.6), 100_000
    mapped = neighbor_map(volume.coords, volume.extent, (3, 3, 3))
    for dtype in (torch.float16, torch.float32, torch.float64):
        feats = random_tensor(42, len(volume.coords), 32, dtype=dtype)
        weight = random_tensor(43, 16, 3, 3, 3, 32, dtype=dtype)
        with limited(limit), LiveBytes() as live:
            out = convolve(feats, mapped, weight)
        assert out.nbytes + weight.nbytes < live.most <= out.nbytes + weight.nbytes + limit
    with limited(limit), LiveBytes() as live:
        mapped = neighbor_map(volume.coords, volume.extent, (3, 3, 3))
    assert live.most <= mapped.nbytes + 48 * len(mapped) + limit


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_each_precision_is_as_good_as_it_can_be(dtype) -> None:
    volume = random_volume(8, (8, 8, 8))
    feats = random_tensor(9, len(volume.coords), 32, dtype=dtype)
    weight, bias = random_tensor(10, 16, 3, 3, 3, 32, dtype=dtype), random_tensor(11, 16, dtype=dtype)
    out = convolved(volume, feats, weight, bias)
    assert out.dtype == dtype
    feats, weight, bias = feats.double(), weight.double(), bias.double()
    error = (out.double() - dense_reference(volume, feats, weight, bias)).abs()
    size = dense_reference(volume, feats.abs(), weight.abs(), bias.abs())
    assert (error <= torch.finfo(dtype).eps * size).all()


@pytest.mark.parametrize(("dtype", "large"), [(torch.float16, 4096), (torch.bfloat16, 512)])
def test_what_is_small_is_not_lost_beside_what_is_large(dtype, large) -> None:
    line = Volume(torch.tensor([[0, 0, 0, place] for place in range(3)]), 1, (1, 1, 3))
    feats = torch.tensor([[large], [1], [-large]], dtype=dtype)
    assert convolved(line, feats, torch.ones((1, 1, 1, 3, 1), dtype=dtype))[1].item() == 1


def test_the_neighbor_map_is_found_once_and_given_back() -> None:
    volume = random_volume(12)
    feats, weight = random_tensor(13, len(volume.coords), 2), random_tensor(14, 2, 3, 3, 3, 2)
    out, cache = sparse_submanifold_conv3d(feats, volume.coords, volume.shape(2), weight)
    elsewhere = torch.full_like(volume.coords, 1 << 30)
    again, same = sparse_submanifold_conv3d(feats, elsewhere, volume.shape(2), weight, None, cache)
    assert same is cache
    assert torch.equal(again, out)


def test_the_map_names_each_neighbor() -> None:
    coords = torch.tensor([[0, 4, 4, 4], [0, 4, 4, 5], [1, 4, 4, 4], [0, 3, 4, 4]], dtype=torch.int32)
    mapped = neighbor_map(coords, (6, 6, 6), (3, 3, 3))
    assert mapped.dtype == torch.int32
    taps = {row: {int(tap): int(mapped[row, tap]) for tap in (mapped[row] >= 0).nonzero()} for row in range(4)}
    assert taps == {0: {13: 0, 14: 1, 4: 3}, 1: {13: 1, 12: 0, 3: 3}, 2: {13: 2}, 3: {13: 3, 22: 0, 23: 1}}


def test_voxels_far_out_have_the_neighbors_they_would_have_at_home() -> None:
    volume = random_volume(15, (6, 6, 6))
    feats, weight = random_tensor(16, len(volume.coords), 3), random_tensor(17, 3, 3, 3, 3, 3)
    far = Volume(
        volume.coords + torch.tensor([0, 1 << 19, (1 << 20) - 6, 7], dtype=torch.int32), 2, (1 << 20, 1 << 20, 1 << 20)
    )
    assert torch.equal(convolved(far, feats, weight), convolved(volume, feats, weight))


def test_the_edge_of_the_volume_does_not_wrap_around() -> None:
    coords = torch.tensor([[0, 0, 0, 2], [0, 0, 1, 0]], dtype=torch.int32)
    mapped = neighbor_map(coords, (2, 2, 3), (3, 3, 3))
    assert (mapped >= 0).sum(dim=1).tolist() == [1, 1]


def test_a_volume_that_cannot_be_counted_is_refused() -> None:
    coords = torch.zeros((1, 4), dtype=torch.int32)
    with pytest.raises(ValueError, match="cannot be indexed"):
        neighbor_map(coords, (1 << 22, 1 << 22, 1 << 22), (3, 3, 3))


def test_no_voxel_and_one_voxel() -> None:
    weight, bias = random_tensor(18, 4, 3, 3, 3, 2), random_tensor(19, 4)
    none = Volume(torch.zeros((0, 4), dtype=torch.int32), 1, (1, 1, 1))
    assert convolved(none, random_tensor(20, 0, 2), weight, bias).shape == (0, 4)
    one, feats = Volume(torch.tensor([[0, 2, 0, 1]]), 1, (3, 1, 2)), random_tensor(21, 1, 2)
    torch.testing.assert_close(convolved(one, feats, weight, bias), feats @ weight[:, 1, 1, 1].T + bias)


def test_the_order_of_the_voxels_changes_nothing_else() -> None:
    volume = random_volume(22)
    feats, weight = random_tensor(23, len(volume.coords), 3), random_tensor(24, 3, 3, 3, 3, 3)
    order = torch.randperm(len(feats), generator=torch.Generator().manual_seed(25))
    moved = Volume(volume.coords[order], volume.batch, volume.extent)
    torch.testing.assert_close(convolved(moved, feats[order], weight), convolved(volume, feats, weight)[order])


def test_a_run_is_repeated_to_the_last_bit() -> None:
    volume = random_volume(26, (8, 8, 8))
    feats = random_tensor(27, len(volume.coords), 16, dtype=torch.float16)
    weight = random_tensor(28, 16, 3, 3, 3, 16, dtype=torch.float16)
    mapped = neighbor_map(volume.coords, volume.extent, (3, 3, 3))
    first = convolve(feats, mapped, weight)
    assert all(torch.equal(convolve(feats, mapped, weight), first) for _ in range(3))


def test_channels_that_do_not_fit_are_refused() -> None:
    volume = random_volume(29)
    with pytest.raises(ValueError, match="3 channels do not fit a weight for 4"):
        convolved(volume, random_tensor(30, len(volume.coords), 3), random_tensor(31, 2, 3, 3, 3, 4))
