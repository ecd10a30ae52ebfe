# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoding in pieces: the same numbers from fewer rows at a time, only on the leanest plan, and undone afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed in this environment")
pytest.importorskip("safetensors", reason="safetensors is not installed in this environment")
pytest.importorskip("transformers", reason="transformers is not installed in this environment")

from engine.backends.trellis2 import kernels, lean, memory  # noqa: E402
from tests.engine import trellis2_checkpoint  # noqa: E402
from tests.engine.trellis2_harness import Job, one_thread, standin  # noqa: E402

one_thread()
ROWS, CHANNELS = 1000, 16


class Norm(torch.nn.LayerNorm):
    """Works in float32, as upstream's does."""

    def forward(self, x: Any) -> Any:
        return super().forward(x.float()).to(x.dtype)


class Block(torch.nn.Module):
    """Has each kind of part: one that widens, a norm, and one that must see all rows."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = Norm(CHANNELS)
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(CHANNELS, 4 * CHANNELS), torch.nn.SiLU(), torch.nn.Linear(4 * CHANNELS, 8)
        )
        self.mixed = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Softmax(dim=0))
        self.most: dict[str, int] = {}
        for name, part in (("norm", self.norm), ("mlp", self.mlp[0]), ("mixed", self.mixed[0])):
            part.register_forward_hook(lambda _part, given, _made, name=name: self._saw(name, given[0]))

    def _saw(self, name: str, given: Any) -> None:
        self.most[name] = max(self.most.get(name, 0), len(given))

    def forward(self, x: Any) -> Any:
        return self.mixed(self.mlp(self.norm(x)))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pieces of at most 100 rows of the widest part."""
    standin()
    monkeypatch.setattr(kernels.memory, "_limit", 100 * 2 * 4 * (4 * CHANNELS + 8))


def algorithm() -> str:
    from trellis2.modules.sparse.conv import config

    return str(config.FLEX_GEMM_ALGO)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pieces_give_the_same_numbers(dtype: Any) -> None:
    torch.manual_seed(1)
    block = Block()
    block.mlp.to(dtype)
    block.mixed.to(dtype)
    rows = torch.randn(ROWS, CHANNELS).to(dtype)
    expected, usual = block(rows), algorithm()
    block.most.clear()
    with lean.in_pieces([block]):
        found = block(rows)
        assert algorithm() == lean.ALGORITHM != usual
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)
    assert block.most["mlp"] == 100
    assert block.most["mixed"] == ROWS, "it works on all rows together"
    assert algorithm() == usual
    block(rows)
    assert block.most["mlp"] == ROWS, "afterwards it is as it was"


@pytest.mark.usefixtures("small")
def test_a_norm_is_cut_too_and_few_rows_or_none_are_left_alone() -> None:
    norm = Norm(CHANNELS)
    seen: list[int] = []
    forward = norm.forward
    norm.forward = lambda x: (seen.append(len(x)), forward(x))[1]
    rows = torch.randn(10 * ROWS, CHANNELS)
    expected = forward(rows)
    with lean.in_pieces([norm]):
        assert torch.equal(norm(rows), expected)
        assert max(seen) < 1000
        assert norm(rows[:0]).shape == (0, CHANNELS)
        assert torch.equal(norm(rows[None, :5]), expected[None, :5]), "not rows of channels: as it is"
    seen.clear()


@pytest.mark.usefixtures("small")
def test_all_is_undone_after_a_failure() -> None:
    block, usual = Block(), algorithm()
    with pytest.raises(MemoryError), lean.in_pieces([block]):
        raise MemoryError
    assert algorithm() == usual
    assert "forward" not in block.mlp.__dict__


def test_only_the_leanest_plan_works_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "nobody"))
    weights = trellis2_checkpoint.write(tmp_path / "weights")
    for plan in memory.PLANS:
        used: dict[str, str] = {}
        Job(weights, plans=(plan,), watch=lambda name, used=used: used.update({name: algorithm()})).make()  # type: ignore[misc]
        assert (used["shape_slat_decoder"] == used["tex_slat_decoder"] == lean.ALGORITHM) == plan.chunked
