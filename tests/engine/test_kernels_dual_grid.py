# SPDX-License-Identifier: GPL-3.0-or-later
"""A flexible dual grid becomes the mesh that its format describes."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed here; it is in the environment torch-3.11")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from engine.backends.trellis2.kernels.dual_grid import flexible_dual_grid_to_mesh  # noqa: E402
from tests.engine.kernel_volumes import limited, random_tensor, random_volume, volumes  # noqa: E402

BOX = [[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]]


def random_grid(volume, seed: int):
    count = len(volume.coords)
    inside = torch.sigmoid(random_tensor(seed, count, 3)).float()
    crossed = random_tensor(seed + 1, count, 3) > 0
    return volume.coords[:, 1:].contiguous(), inside, crossed, torch.rand(count, 1, generator=torch.manual_seed(seed))


def one_by_one(coords, inside, crossed, weight, cells: int):
    """Build the mesh as the format puts it: an edge at a time, in float64."""
    rows = {tuple(voxel): row for row, voxel in enumerate(coords.tolist())}
    vertices = ((coords.double() + inside.double()) / cells - 0.5).tolist()
    faces = []
    for x, y, z in rows:
        ring = [
            [(x, y, z), (x, y, z + 1), (x, y + 1, z + 1), (x, y + 1, z)],
            [(x, y, z), (x + 1, y, z), (x + 1, y, z + 1), (x, y, z + 1)],
            [(x, y, z), (x, y + 1, z), (x + 1, y + 1, z), (x + 1, y, z)],
        ]
        for axis in range(3):
            if not crossed[rows[x, y, z], axis] or not all(voxel in rows for voxel in ring[axis]):
                continue
            a, b, c, d = (rows[voxel] for voxel in ring[axis])
            share = [float(weight[corner, 0]) for corner in (a, b, c, d)]
            faces += [(a, b, c), (a, c, d)] if share[0] * share[2] > share[1] * share[3] else [(a, b, d), (d, b, c)]
    return torch.tensor(vertices, dtype=torch.float64).reshape(-1, 3), torch.tensor(faces).reshape(-1, 3)


@settings(max_examples=60)
@given(volumes(), st.integers(0, 1 << 20))
def test_it_is_the_mesh_of_the_format(volume, seed) -> None:
    volume = type(volume)(volume.coords[volume.coords[:, 0] == 0], 1, volume.extent)
    grid = random_grid(volume, seed)
    vertices, faces = flexible_dual_grid_to_mesh(*grid, aabb=BOX, grid_size=8)
    reference = one_by_one(*grid, cells=8)
    assert faces.dtype == torch.int32
    assert torch.equal(faces.long(), reference[1])
    torch.testing.assert_close(vertices.double(), reference[0], rtol=0, atol=1e-6)


def sphere(cells: int, radius: float):
    """Return the grid of the sphere around the middle: each edge whose ends lie on either side of it is crossed."""
    corner = torch.stack(torch.meshgrid(*[torch.arange(cells + 1.0)] * 3, indexing="ij"), dim=-1)
    inside = (corner - cells / 2).norm(dim=-1) < radius
    crossed = torch.zeros((cells, cells, cells, 3), dtype=torch.bool)
    crossed[..., 0] = inside[:-1, 1:, 1:] != inside[1:, 1:, 1:]
    crossed[..., 1] = inside[1:, :-1, 1:] != inside[1:, 1:, 1:]
    crossed[..., 2] = inside[1:, 1:, :-1] != inside[1:, 1:, 1:]
    eight = inside.unfold(0, 2, 1).unfold(1, 2, 1).unfold(2, 2, 1).reshape(cells, cells, cells, 8)
    coords = (eight.any(-1) & ~eight.all(-1)).nonzero().int()
    middles = coords + 0.5 - cells / 2
    onto = middles * (radius / middles.norm(dim=1, keepdim=True)) - middles + 0.5
    return coords, onto.clamp(0, 1), crossed[coords.long().unbind(1)]


def test_a_sphere_comes_out_closed_and_round() -> None:
    coords, inside, crossed = sphere(16, 5.3)
    weight = torch.rand(len(coords), 1, generator=torch.manual_seed(1))
    for split in (weight, None):
        vertices, faces = flexible_dual_grid_to_mesh(coords, inside, crossed, split, BOX, voxel_size=1 / 16)
        edges, shared = (
            torch.cat([faces, faces.roll(-1, 1)]).reshape(2, -1).T.sort(1).values.unique(dim=0, return_counts=True)
        )
        assert set(shared.tolist()) == {2}
        assert len(vertices) - len(edges) + len(faces) == 2
        assert ((vertices.norm(dim=1) * 16 - 5.3).abs() < 0.4).all()


def test_the_flatter_diagonal_is_taken_where_no_weight_is_given() -> None:
    coords = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 1], [0, 1, 0]], dtype=torch.int32)
    crossed = torch.zeros((4, 3), dtype=torch.bool)
    crossed[0, 0] = True
    for raised, diagonal in ((0, {1, 3}), (1, {0, 2})):
        inside = torch.full((4, 3), 0.5)
        inside[raised, 0] = 1.0
        _, faces = flexible_dual_grid_to_mesh(coords, inside, crossed, None, BOX, grid_size=2)
        assert set(faces[0].tolist()) & set(faces[1].tolist()) == diagonal


def test_boxes_and_sizes_may_be_given_in_any_form() -> None:
    grid = random_grid(random_volume(2, (4, 4, 4), 1, 0.6), 3)
    expected = flexible_dual_grid_to_mesh(*grid, aabb=[[0, 0, 0], [2, 4, 8]], grid_size=[4, 8, 16])
    box = torch.tensor([[0.0, 0, 0], [2, 4, 8]])
    for size in ({"voxel_size": 0.5}, {"voxel_size": [0.5] * 3}, {"grid_size": torch.tensor([4, 8, 16])}):
        for got, want in zip(flexible_dual_grid_to_mesh(*grid, aabb=box.numpy(), **size), expected, strict=True):
            assert torch.equal(got, want)
    with pytest.raises(ValueError, match="neither"):
        flexible_dual_grid_to_mesh(*grid, aabb=box)
    with pytest.raises(ValueError, match="training"):
        flexible_dual_grid_to_mesh(*grid, aabb=box, grid_size=4, train=True)


def test_small_pieces_give_the_same_mesh() -> None:
    grid = random_grid(random_volume(4, (6, 6, 6), 1, 0.7), 5)
    whole = flexible_dual_grid_to_mesh(*grid, aabb=BOX, grid_size=6)
    assert len(whole[1]) > 60
    with limited(5000):
        pieces = flexible_dual_grid_to_mesh(*grid, aabb=BOX, grid_size=6)
    assert all(torch.equal(got, want) for got, want in zip(pieces, whole, strict=True))


def test_the_last_row_of_voxels_is_not_joined_to_the_first() -> None:
    coords = torch.tensor([[0, 0, 1], [0, 1, 0], [0, 1, 1], [0, 0, 0]], dtype=torch.int32)
    crossed = torch.zeros((4, 3), dtype=torch.bool)
    crossed[0, 0] = True
    _, faces = flexible_dual_grid_to_mesh(coords, torch.zeros(4, 3), crossed, torch.ones(4, 1), BOX, grid_size=2)
    assert len(faces) == 0


def test_voxels_far_out_are_joined() -> None:
    far = 1 << 20
    coords = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 1], [0, 1, 0]], dtype=torch.int32) + far - 2
    crossed = torch.zeros((4, 3), dtype=torch.bool)
    crossed[0, 0] = True
    _, faces = flexible_dual_grid_to_mesh(coords, torch.zeros(4, 3), crossed, torch.ones(4, 1), BOX, grid_size=far)
    assert faces.tolist() == [[0, 1, 3], [3, 1, 2]]


def test_no_voxel_and_one_voxel() -> None:
    for count in (0, 1):
        coords = torch.zeros((count, 3), dtype=torch.int32)
        crossed = torch.ones((count, 3), dtype=torch.bool)
        for split in (torch.ones(count, 1), None):
            vertices, faces = flexible_dual_grid_to_mesh(
                coords, torch.zeros(count, 3), crossed, split, BOX, grid_size=4
            )
            assert vertices.shape == (count, 3)
            assert faces.shape == (0, 3)
            assert faces.dtype == torch.int32
