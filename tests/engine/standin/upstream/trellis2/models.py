# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiny models under the names that a checkpoint's descriptions use."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from . import running
from .modules.sparse import SparseTensor
from .representations import Mesh


class _Flow(nn.Module):
    def __init__(self, role: str, in_channels: int, cond_channels: int, resolution: int = 4, width: int = 8) -> None:
        super().__init__()
        self.role, self.in_channels, self.resolution = role, in_channels, resolution
        self.out_channels = in_channels
        self.into = nn.Linear(in_channels, width)
        self.look = nn.Linear(cond_channels, width)
        self.blocks = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width)])
        self.out = nn.Linear(width, in_channels)
        self.register_buffer("steps", torch.ones(1))

    def _velocity(self, rows: Any, t: Any, cond: Any) -> Any:
        running(self.role)
        hidden = self.into(rows) + self.look(cond.mean(dim=(0, 1))) + 0.001 * t[0] * self.steps
        for block in self.blocks:
            hidden = torch.tanh(block(hidden))
        return self.out(hidden)


class SparseStructureFlowModel(_Flow):
    def forward(self, x: Any, t: Any, cond: Any) -> Any:
        return self._velocity(x.movedim(1, -1), t, cond).movedim(-1, 1)


class SLatFlowModel(_Flow):
    def forward(self, x: Any, t: Any, cond: Any, concat_cond: Any = None, **_: Any) -> Any:
        rows = x.feats if concat_cond is None else torch.cat([x.feats, concat_cond.feats], dim=1)
        return x.replace(self._velocity(rows, t, cond)[:, : x.feats.shape[1]])


class SparseStructureDecoder(nn.Module):
    def __init__(self, role: str, channels: int) -> None:
        super().__init__()
        self.role = role
        self.out = nn.Linear(channels, 1)

    def forward(self, x: Any) -> Any:
        """Return a lumpy ball (N, 1, 8, 8, 8) in the middle of a grid."""
        running(self.role)
        side = torch.linspace(-1, 1, 8, device=x.device)
        distance = torch.stack(torch.meshgrid(side, side, side, indexing="ij")).norm(dim=0)
        lumps = nn.functional.interpolate(self.out(x.movedim(1, -1)).movedim(-1, 1), size=8)
        return torch.tanh(lumps) * 0.2 + 0.75 - distance


class FlexiDualGridVaeDecoder(nn.Module):
    def __init__(self, role: str, channels: int, resolution: int = 512) -> None:
        super().__init__()
        self.role, self.resolution = role, resolution
        self.out = nn.Linear(channels, 3)
        self.children_of = nn.Linear(channels, 8)

    def set_resolution(self, resolution: int) -> None:
        self.resolution = resolution

    def upsample(self, x: Any, upsample_times: int) -> Any:
        """Return places sixteen times as fine."""
        running(self.role)
        corners = torch.cartesian_prod(*[torch.tensor([2, 7, 13])] * 3).to(x.coords)
        fine = (x.coords[:, None, 1:] * 2**upsample_times + corners[None]).reshape(-1, 3)
        return torch.cat([torch.zeros_like(fine[:, :1]), fine], dim=1)

    def forward(self, x: Any, return_subs: bool = False) -> Any:
        """Return the surface of the occupied cells, each moved a little, and what was subdivided."""
        running(self.role)
        side = self.resolution // 16
        shift = 0.05 * torch.tanh(self.out(x.feats))
        vertices, faces = _surface(x.coords[:, 1:].cpu(), shift.cpu())
        mesh = Mesh(((vertices / side) - 0.5).to(x.device), faces.to(x.device))
        return ([mesh], [x.replace(torch.tanh(self.children_of(x.feats)) + 0.2)]) if return_subs else [mesh]


class SparseUnetVaeDecoder(nn.Module):
    def __init__(self, role: str, channels: int) -> None:
        super().__init__()
        self.role = role
        self.out = nn.Linear(channels, 6)

    def forward(self, x: Any, guide_subs: Any = None) -> Any:
        """Return six attributes, -1 to 1, at those of eight places of each cell that were subdivided."""
        running(self.role)
        there = (guide_subs[0].feats > 0).flatten()
        corners = torch.cartesian_prod(*[torch.tensor([4, 12])] * 3).to(x.coords)
        fine = (x.coords[:, None, 1:] * 16 + corners[None]).reshape(-1, 3)
        values = torch.tanh(self.out(x.feats))
        solid = torch.ones_like(values[:, :1])
        feats = torch.cat([values[:, :5], solid], dim=1).repeat_interleave(8, dim=0)
        coords = torch.cat([torch.zeros_like(fine[:, :1]), fine], dim=1)
        return SparseTensor(feats=feats[there], coords=coords[there])


_SIDES = (
    ((-1, 0, 0), ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0))),
    ((1, 0, 0), ((1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1))),
    ((0, -1, 0), ((0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1))),
    ((0, 1, 0), ((0, 1, 0), (0, 1, 1), (1, 1, 1), (1, 1, 0))),
    ((0, 0, -1), ((0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 0))),
    ((0, 0, 1), ((0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1))),
)


def _surface(cells: Any, shift: Any) -> tuple[Any, Any]:
    """Return vertices and faces, outward, of the union of unit `cells`; a corner moves as its first cell does."""
    occupied = {tuple(cell) for cell in cells.tolist()}
    number: dict[tuple[int, ...], int] = {}
    places, faces = [], []
    for cell, moved in zip(cells.tolist(), shift.tolist(), strict=True):
        for normal, corners in _SIDES:
            if tuple(a + b for a, b in zip(cell, normal, strict=True)) in occupied:
                continue
            quad = []
            for corner in corners:
                place = tuple(a + b for a, b in zip(cell, corner, strict=True))
                if place not in number:
                    number[place] = len(places)
                    places.append([a + b for a, b in zip(place, moved, strict=True)])
                quad.append(number[place])
            faces += [[quad[0], quad[1], quad[2]], [quad[0], quad[2], quad[3]]]
    return torch.tensor(places), torch.tensor(faces, dtype=torch.int32)
