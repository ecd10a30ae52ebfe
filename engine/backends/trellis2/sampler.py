# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstream's sampler with three things added: progress at each step, a cancel within a step, and fast mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

REUSE_BELOW = 0.05
"""Fast mode leaves out a step where the velocity changed by less than this between the last two that were made."""

Tell = Callable[[float], None]


def steered(
    base: type[Any],
    sigma_min: float,
    tell: Tell,
    check: Callable[[], None],
    fast: bool = False,
    begin: Callable[[Any], None] = lambda _: None,
) -> Any:
    """Return a sampler of upstream's class `base` (FlowEulerGuidanceIntervalSampler).

    `tell` hears the fraction of its steps after each, `check` is called before every part of a model and may raise.
    With `fast` a step takes over the velocity of the one before where that hardly changes: at most every other step,
    never the first two or the last, and never across an end of the guidance interval. An approximation: what was left
    out is in `skipped`, of `total` steps. `begin` is called with the sampler before each row of steps. Sampling raises
    FloatingPointError where it ends in something else than numbers.
    """

    class Steered(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(sigma_min)
            self.total = self.skipped = 0

        def sample(self, model: Any, noise: Any, cond: Any, neg_cond: Any, *args: Any, **options: Any) -> Any:
            begin(self)
            self._steps = args[0] if args else options.get("steps", 50)
            self._done = 0
            self._velocities: list[Any] = []
            self._guided: bool | None = None
            self._reused = False
            hooks = [block.register_forward_pre_hook(lambda *_: check()) for block in getattr(model, "blocks", ())]
            try:
                made = super().sample(model, noise, cond, neg_cond, *args, **{**options, "verbose": False})
                if not bool(getattr(made.samples, "feats", made.samples).isfinite().all()):
                    raise FloatingPointError("what was sampled are not numbers")
                return made
            finally:
                self._velocities = []
                for hook in hooks:
                    hook.remove()

        def sample_once(self, model: Any, x_t: Any, t: float, t_prev: float, *args: Any, **options: Any) -> Any:
            check()
            made = super().sample_once(model, x_t, t, t_prev, *args, **options)
            self._done += 1
            self.total += 1
            tell(self._done / self._steps)
            return made

        def _get_model_prediction(self, model: Any, x_t: Any, t: float, *args: Any, **options: Any) -> Any:
            low, high = options.get("guidance_interval", (0.0, 1.0))
            guided = low <= t <= high
            if fast and self._may_reuse(guided):
                self._reused = True
                self.skipped += 1
                velocity = self._velocities[-1]
                start, noise = self._v_to_xstart_eps(x_t=x_t, t=t, v=velocity)
                return start, noise, velocity
            found = super()._get_model_prediction(model, x_t, t, *args, **options)
            self._reused = False
            if fast:
                # Across an end of the interval the velocity jumps: what was before says nothing.
                self._velocities = [] if guided != self._guided else self._velocities[-1:]
                self._velocities.append(found[2])
                self._guided = guided
            return found

        def _may_reuse(self, guided: bool) -> bool:
            if self._reused or len(self._velocities) < 2 or guided != self._guided or self._done + 1 >= self._steps:
                return False
            before, after = (getattr(one, "feats", one).float() for one in self._velocities)
            return bool((after - before).norm() < REUSE_BELOW * after.norm())

    return Steered()
