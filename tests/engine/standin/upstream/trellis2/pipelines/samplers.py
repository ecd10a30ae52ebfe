# SPDX-License-Identifier: GPL-3.0-or-later
"""Euler's steps along a flow from noise (t = 1) to a result (t = 0)."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import torch


class FlowEulerGuidanceIntervalSampler:
    """Guides within an interval of t, by the difference of what is seen with and without the picture."""

    def __init__(self, sigma_min: float) -> None:
        self.sigma_min = sigma_min

    def _v_to_xstart_eps(self, x_t: Any, t: Any, v: Any) -> Any:
        noise = x_t + v * (1 - t)
        start = x_t * (1 - self.sigma_min) - v * (self.sigma_min + (1 - self.sigma_min) * t)
        return start, noise

    def _inference_model(
        self, model: Any, x_t: Any, t: Any, cond: Any, guidance_strength: Any, guidance_interval: Any, **kwargs: Any
    ) -> Any:
        neg_cond, rescale = kwargs.pop("neg_cond"), kwargs.pop("guidance_rescale", 0.0)
        at = torch.tensor([1000.0 * t])
        seen = model(x_t, at, cond, **kwargs)
        if guidance_strength == 1 or not guidance_interval[0] <= t <= guidance_interval[1]:
            return seen
        blind = model(x_t, at, neg_cond, **kwargs)
        pulled = seen + (seen - blind) * (guidance_strength - 1)
        return pulled * (1 - rescale) + seen * rescale

    def _get_model_prediction(self, model: Any, x_t: Any, t: Any, cond: Any = None, **kwargs: Any) -> Any:
        velocity = self._inference_model(model, x_t, t, cond, **kwargs)
        return (*self._v_to_xstart_eps(x_t=x_t, t=t, v=velocity), velocity)

    def sample_once(self, model: Any, x_t: Any, t: float, t_prev: float, cond: Any = None, **kwargs: Any) -> Any:
        start, _, velocity = self._get_model_prediction(model, x_t, t, cond, **kwargs)
        return SimpleNamespace(pred_x_prev=x_t - velocity * (t - t_prev), pred_x_0=start)

    def sample(
        self,
        model: Any,
        noise: Any,
        cond: Any,
        neg_cond: Any,
        steps: int = 50,
        rescale_t: float = 1.0,
        guidance_strength: float = 3.0,
        guidance_interval: Any = (0.0, 1.0),
        verbose: bool = True,
        **kwargs: Any,
    ) -> Any:
        kwargs.pop("tqdm_desc", None)
        times = [1 - step / steps for step in range(steps + 1)]
        times = [rescale_t * t / (1 + (rescale_t - 1) * t) for t in times]
        sample = noise
        for t, following in pairwise(times):
            sample = self.sample_once(
                *(model, sample, t, following, cond),
                neg_cond=neg_cond,
                guidance_strength=guidance_strength,
                guidance_interval=guidance_interval,
                **kwargs,
            ).pred_x_prev
        return SimpleNamespace(samples=sample)
