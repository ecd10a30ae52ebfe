# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipeline from a picture to a mesh."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from .. import note
from ..modules.sparse import SparseTensor
from . import samplers as samplers


class Trellis2ImageTo3DPipeline:
    """Runs the models in order; each of its calls is noted."""

    def __init__(
        self,
        models: Any = None,
        sparse_structure_sampler: Any = None,
        shape_slat_sampler: Any = None,
        tex_slat_sampler: Any = None,
        sparse_structure_sampler_params: Any = None,
        shape_slat_sampler_params: Any = None,
        tex_slat_sampler_params: Any = None,
        shape_slat_normalization: Any = None,
        tex_slat_normalization: Any = None,
        image_cond_model: Any = None,
        rembg_model: Any = None,
        low_vram: bool = True,
        default_pipeline_type: str = "1024_cascade",
    ) -> None:
        self.models, self.low_vram, self._device = models, low_vram, "cpu"
        self.rembg_model, self.image_cond_model = rembg_model, image_cond_model

    @property
    def device(self) -> Any:
        return self._device

    def preprocess_image(self, input: Image.Image) -> Image.Image:
        note("preprocess_image", size=input.size, mode=input.mode)
        pixels = np.asarray(input if input.mode == "RGBA" else self.rembg_model(input)).astype(np.float32) / 255
        return Image.fromarray((pixels[..., :3] * pixels[..., 3:] * 255).astype(np.uint8)).resize((64, 64))

    def get_cond(self, image: Any, resolution: int, include_neg_cond: bool = True) -> Any:
        note("get_cond", resolution=resolution)
        self.image_cond_model.image_size = resolution
        self._move(self.image_cond_model)
        cond = self.image_cond_model(image)
        self._back(self.image_cond_model)
        return {"cond": cond} | ({"neg_cond": torch.zeros_like(cond)} if include_neg_cond else {})

    def sample_sparse_structure(
        self, cond: Any, resolution: int, num_samples: int = 1, sampler_params: Any = None
    ) -> Any:
        note("sample_sparse_structure", resolution=resolution, num_samples=num_samples, sampler_params=sampler_params)
        model = self.models["sparse_structure_flow_model"]
        noise = torch.randn(num_samples, model.in_channels, *[model.resolution] * 3).to(self.device)
        latent = self._sample("sparse_structure_sampler", model, noise, cond, sampler_params)
        decoder = self.models["sparse_structure_decoder"]
        self._move(decoder)
        grid = decoder(latent) > 0
        self._back(decoder)
        coords = torch.argwhere(grid)[:, [0, 2, 3, 4]].int()
        coords[:, 1:] += resolution // 2 - 4
        return coords

    def sample_shape_slat(self, cond: Any, flow_model: Any, coords: Any, sampler_params: Any = None) -> Any:
        note("sample_shape_slat", model=flow_model.role, sampler_params=sampler_params)
        noise = SparseTensor(feats=torch.randn(len(coords), flow_model.in_channels).to(self.device), coords=coords)
        slat = self._sample("shape_slat_sampler", flow_model, noise, cond, sampler_params)
        return self._scaled(slat, self.shape_slat_normalization)

    def sample_shape_slat_cascade(
        self,
        lr_cond: Any,
        cond: Any,
        flow_model_lr: Any,
        flow_model: Any,
        lr_resolution: int,
        resolution: int,
        coords: Any,
        sampler_params: Any = None,
        max_num_tokens: int = 49152,
    ) -> Any:
        note("sample_shape_slat_cascade", resolution=resolution, max_num_tokens=max_num_tokens)
        slat = self.sample_shape_slat(lr_cond, flow_model_lr, coords, sampler_params)
        decoder = self.models["shape_slat_decoder"]
        self._move(decoder)
        fine = decoder.upsample(slat, upsample_times=4)
        self._back(decoder)
        while True:
            cells = ((fine[:, 1:] + 0.5) / lr_resolution * (resolution // 16)).int()
            found = torch.cat([fine[:, :1], cells], dim=1).unique(dim=0)
            if len(found) < max_num_tokens or resolution == 1024:
                return self.sample_shape_slat(cond, flow_model, found, sampler_params), resolution
            resolution -= 128

    def sample_tex_slat(self, cond: Any, flow_model: Any, shape_slat: Any, sampler_params: Any = None) -> Any:
        note("sample_tex_slat", model=flow_model.role, sampler_params=sampler_params)
        channels = flow_model.in_channels - shape_slat.feats.shape[1]
        noise = shape_slat.replace(torch.randn(len(shape_slat.coords), channels).to(self.device))
        slat = self._sample("tex_slat_sampler", flow_model, noise, cond, sampler_params, concat_cond=shape_slat)
        return self._scaled(slat, self.tex_slat_normalization)

    def decode_shape_slat(self, slat: Any, resolution: int) -> Any:
        note("decode_shape_slat", resolution=resolution)
        decoder = self.models["shape_slat_decoder"]
        decoder.set_resolution(resolution)
        self._move(decoder)
        made = decoder(slat, return_subs=True)
        self._back(decoder)
        return made

    def decode_tex_slat(self, slat: Any, subs: Any) -> Any:
        note("decode_tex_slat")
        decoder = self.models["tex_slat_decoder"]
        self._move(decoder)
        made = decoder(slat, guide_subs=subs)
        self._back(decoder)
        return made.replace(made.feats * 0.5 + 0.5)

    def _sample(self, sampler: str, model: Any, noise: Any, cond: Any, params: Any, **more: Any) -> Any:
        self._move(model)
        usual = getattr(self, f"{sampler}_params")
        made = getattr(self, sampler).sample(
            model, noise, **cond, **{**usual, **(params or {})}, verbose=True, tqdm_desc=sampler, **more
        )
        self._back(model)
        return made.samples

    def _scaled(self, slat: Any, normalization: Any) -> Any:
        return slat * torch.tensor(normalization["std"])[None] + torch.tensor(normalization["mean"])[None]

    def _move(self, model: Any) -> None:
        if self.low_vram:
            model.to(self.device)

    def _back(self, model: Any) -> None:
        if self.low_vram:
            model.cpu()
