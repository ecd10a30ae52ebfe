# SPDX-License-Identifier: GPL-3.0-or-later
"""The sampler: upstream's numbers, progress at each step, a cancel within a step, and fast mode's bounds."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed in this environment")

from engine.backends.trellis2.mapping import arguments  # noqa: E402
from engine.backends.trellis2.sampler import REUSE_BELOW, steered  # noqa: E402
from engine.progress import Cancelled  # noqa: E402
from engine.request import complete_parameters  # noqa: E402
from tests.engine.trellis2_harness import one_thread, standin  # noqa: E402

one_thread()
STEPS = 8
GUIDED = {"guidance_strength": 3.0, "guidance_rescale": 0.2, "guidance_interval": (0.3, 0.8), "rescale_t": 2.0}


def upstream() -> Any:
    standin()
    from trellis2.pipelines import samplers

    return samplers.FlowEulerGuidanceIntervalSampler


class Model(torch.nn.Module):
    """A velocity that changes with t by `speed`; counts how often it and its parts run."""

    def __init__(self, speed: float = 1.0) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity()])
        self.speed, self.ran = speed, []

    def forward(self, x: Any, t: Any, cond: Any) -> Any:
        self.ran.append(round(float(t[0]) / 1000, 6))
        for block in self.blocks:
            x = block(x)
        return 1.0 + self.speed * t[0] / 1000 + 0.1 * cond.mean() + 0.01 * x


def sample(sampler: Any, model: Any, **options: Any) -> Any:
    noise = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(1))
    cond = torch.ones(1, 2, 3)
    return sampler.sample(
        model, noise, cond=cond, neg_cond=torch.zeros_like(cond), steps=STEPS, verbose=True, **{**GUIDED, **options}
    ).samples


def nothing(*_: object) -> None:
    pass


def test_the_numbers_are_upstreams_own() -> None:
    plain = sample(upstream()(1e-5), Model())
    assert torch.equal(plain, sample(steered(upstream(), 1e-5, nothing, nothing), Model()))


def test_each_step_is_told_and_again_for_a_second_row() -> None:
    told: list[float] = []
    sampler = steered(upstream(), 1e-5, told.append, nothing)
    sample(sampler, Model())
    sample(sampler, Model())
    assert told == [pytest.approx((step + 1) / STEPS) for step in range(STEPS)] * 2
    assert sampler.total == 2 * STEPS


@pytest.mark.parametrize("call", range(1, 32, 3))
def test_a_cancel_is_heard_before_every_part_of_a_model(call: int) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls >= call:
            raise Cancelled

    model = Model()
    with pytest.raises(Cancelled):
        sample(steered(upstream(), 1e-5, nothing, check), model)
    assert calls == call
    assert not model.blocks[0]._forward_pre_hooks, "the hooks are left behind"


def test_fast_mode_is_off_unless_asked_for() -> None:
    sampler = steered(upstream(), 1e-5, nothing, nothing)
    sample(sampler, Model(speed=0.0))
    assert sampler.skipped == 0


def test_fast_mode_leaves_out_at_most_every_other_step() -> None:
    model = Model(speed=0.0)
    sampler = steered(upstream(), 1e-5, nothing, nothing, fast=True)
    sample(sampler, model, guidance_interval=(0.0, 1.0), guidance_strength=1.0)
    assert len(model.ran) == STEPS - sampler.skipped
    assert 0 < sampler.skipped <= (STEPS - 2) // 2
    times = [1 - step / STEPS for step in range(STEPS)]
    times = [round(2 * t / (1 + t), 6) for t in times]
    assert [times[0], times[1], times[-1]] == [model.ran[0], model.ran[1], model.ran[-1]]
    gaps = [times.index(after) - times.index(before) for before, after in zip(model.ran, model.ran[1:], strict=False)]
    assert max(gaps) == 2


def test_fast_mode_makes_each_step_of_a_velocity_that_changes() -> None:
    sampler = steered(upstream(), 1e-5, nothing, nothing, fast=True)
    assert torch.equal(sample(sampler, Model(speed=9.0)), sample(upstream()(1e-5), Model(speed=9.0)))
    assert sampler.skipped == 0


def test_fast_mode_never_reuses_across_an_end_of_the_interval() -> None:
    for low, high in ((0.35, 0.75), (0.0, 0.5), (0.5, 1.0)):
        model = Model(speed=0.0)
        sample(steered(upstream(), 1e-5, nothing, nothing, fast=True), model, guidance_interval=(low, high))
        times = [1 - step / STEPS for step in range(STEPS)]
        times = [2 * t / (1 + t) for t in times]
        guided = [low <= t <= high for t in times]
        for step in range(1, STEPS):
            if guided[step] != guided[step - 1]:
                assert round(times[step], 6) in model.ran


def test_fast_mode_stays_near_where_the_velocity_hardly_changes() -> None:
    exact = sample(upstream()(1e-5), Model(speed=0.05))
    sampler = steered(upstream(), 1e-5, nothing, nothing, fast=True)
    near = sample(sampler, Model(speed=0.05))
    assert sampler.skipped
    assert (near - exact).norm() < REUSE_BELOW * exact.norm()


class Mixture(torch.nn.Module):
    """A flow that is known: the velocity from noise to a mixture of 256 Gaussians, a quarter of them with the picture.

    What a model that has learned this distribution without error would answer, in closed form.
    """

    def __init__(self) -> None:
        super().__init__()
        self.centers = torch.randn(256, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.width, self.ran = 0.5, 0

    def forward(self, x: Any, t: Any, cond: Any) -> Any:
        self.ran += 1
        t, centers = float(t[0]) / 1000, self.centers[:64] if bool(cond.any()) else self.centers
        spread = ((1 - t) * self.width) ** 2 + t**2
        far = (x[..., None, :] - (1 - t) * centers).square().sum(dim=-1)
        middle = torch.softmax(-far / (2 * spread), dim=-1) @ centers
        return (x - middle - (1 - t) * self.width**2 / spread * (x - (1 - t) * middle)) / t


@pytest.mark.parametrize("stage", ["sparse_structure", "shape_slat", "tex_slat"])
def test_fast_mode_errs_by_less_than_the_steps_themselves(stage: str) -> None:
    """The figures in the README: with the usual settings of each stage, but for the steps."""
    usual = getattr(arguments("a.png", complete_parameters({})), stage)

    def flow(steps: int, fast: bool) -> tuple[Any, int]:
        model, cond = Mixture(), torch.ones(1, 1, 1)
        noise = torch.randn(1, 64, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        sampler = steered(upstream(), 1e-5, nothing, nothing, fast)
        options = {**usual, "steps": steps}
        return sampler.sample(model, noise, cond=cond, neg_cond=torch.zeros_like(cond), **options).samples, model.ran

    def apart(one: Any, other: Any) -> float:
        return float((one - other).norm() / other.norm())

    limit, _ = flow(500, fast=False)
    for steps, least, most in ((12, 0.9, 1.0), (25, 0.75, 0.97), (50, 0.65, 0.85)):
        (exact, all_runs), (near, runs) = flow(steps, fast=False), flow(steps, fast=True)
        assert least <= runs / all_runs <= most
        assert apart(near, exact) < 0.005
        assert apart(near, exact) < apart(exact, limit) / 8, "the steps themselves are further from the flow"
