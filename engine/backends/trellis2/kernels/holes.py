# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the loops of open edges of a mesh, and closing the short ones with a fan around their middle."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, eq=False)
class Boundary:
    """The open edges of a mesh and the loops that they make.

    `edges` int64 (B, 2): each open edge as its one face runs along it. `loop` int64 (B,): which loop it belongs to, -1
    for none. `loops`: how many there are.
    """

    edges: torch.Tensor
    loop: torch.Tensor
    loops: int


def find_boundary(faces: torch.Tensor, vertices: int) -> Boundary:
    """Return the open edges of `faces` (F, 3), of a mesh with that many `vertices`.

    Two open edges belong together where they meet at a vertex with no third one and no edge of three faces; a chain of
    them is a loop if it ends nowhere but where it began.
    """
    around = faces.long()
    half = torch.cat([around, around.roll(-1, dims=1)], dim=0).reshape(2, -1).T
    half = half[half[:, 0] != half[:, 1]]
    keys = half.amin(dim=1) * vertices + half.amax(dim=1)
    _, edge, faces_at = keys.unique(return_inverse=True, return_counts=True)
    crowded = half[faces_at[edge] > 2].flatten()
    open_half = (faces_at[edge] == 1).nonzero().squeeze(1)
    open_half = open_half[keys[open_half].argsort()]
    edges = half[open_half]
    open_at = torch.bincount(edges.flatten(), minlength=vertices)
    plain = open_at == 2
    plain[crowded] = False
    edges, plain = edges.cpu(), plain.cpu()
    chain = _chains(edges, plain)
    loop = _loops(edges, chain, vertices)
    return Boundary(edges.to(faces.device), loop.to(faces.device), int(loop.max()) + 1 if len(loop) else 0)


def fill_holes(
    vertices: torch.Tensor, faces: torch.Tensor, boundary: Boundary, perimeter: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `vertices` (V, 3) and `faces` (F, 3) and what closes each loop that is shorter than `perimeter`.

    A new vertex lies at the mean of the middles of the loop's edges; the new faces run on as their neighbors do.
    """
    on_loop = boundary.loop >= 0
    edges, loop = boundary.edges[on_loop], boundary.loop[on_loop]
    ends = vertices[edges]
    around = vertices.new_zeros(boundary.loops).index_add_(0, loop, (ends[:, 1] - ends[:, 0]).norm(dim=1))
    short = around < perimeter
    number = torch.cumsum(short, dim=0) - 1
    chosen = short[loop]
    edges, loop, ends = edges[chosen], number[loop[chosen]], ends[chosen]
    order = torch.argsort(loop, stable=True)
    edges, loop, ends = edges[order], loop[order], ends[order]
    count = int(short.sum())
    middles = vertices.new_zeros((count, 3)).index_add_(0, loop, ends.mean(dim=1))
    middles /= torch.bincount(loop, minlength=count)[:, None]
    fan = torch.stack([edges[:, 1], edges[:, 0], loop + len(vertices)], dim=1)
    return torch.cat([vertices, middles]), torch.cat([faces, fan.to(faces.dtype)])


def _chains(edges: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
    """Return int64 (B,): for each open edge the first edge of those that it is joined to through `plain` vertices."""
    ends = edges.flatten()
    place = plain[ends].nonzero().squeeze(1)
    place = place[ends[place].argsort(stable=True)]
    pairs = torch.div(place, 2, rounding_mode="floor").reshape(-1, 2)
    chain = torch.arange(len(edges))
    while True:
        roots = chain[pairs]
        low, high = roots.amin(dim=1), roots.amax(dim=1)
        if bool((low == high).all()):
            return chain
        chain = chain.scatter_reduce(0, high, low, "amin")
        while not torch.equal(chain, further := chain[chain]):
            chain = further


def _loops(edges: torch.Tensor, chain: torch.Tensor, vertices: int) -> torch.Tensor:
    """Return int64 (B,): the number of each edge's loop, in the order of their first edges, or -1."""
    at = chain[:, None] * vertices + edges
    _, inverse, meets = at.unique(return_inverse=True, return_counts=True)
    loose = (meets[inverse] < 2).any(dim=1)
    broken = torch.zeros(len(edges), dtype=torch.bool)
    broken[chain[loose]] = True
    first = (chain == torch.arange(len(edges))) & ~broken
    number = torch.where(first, torch.cumsum(first, dim=0) - 1, -1)
    return number[chain]
