# SPDX-License-Identifier: GPL-3.0-or-later
"""A small checkpoint with random weights, in the format in which TRELLIS.2-4B is published."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

from engine.backends.trellis2.checkpoint import DINOV3, TRELLIS2

LATENT_CHANNELS = 4
COND_CHANNELS = 48
SAMPLER = {
    "name": "FlowEulerGuidanceIntervalSampler",
    "args": {"sigma_min": 1e-5},
    "params": {
        "steps": 3,
        "guidance_strength": 2.0,
        "guidance_rescale": 0.5,
        "guidance_interval": [0.3, 1.0],
        "rescale_t": 3.0,
    },
}
FLOW = {
    "model_channels": 32,
    "cond_channels": COND_CHANNELS,
    "num_blocks": 2,
    "num_heads": 2,
    "mlp_ratio": 2.0,
    "pe_mode": "rope",
    "share_mod": True,
    "initialization": "scaled",
    "qk_rms_norm": True,
    "qk_rms_norm_cross": True,
    "dtype": "bfloat16",
}
DECODER = {
    "model_channels": [32, 16, 16, 8, 8],
    "latent_channels": LATENT_CHANNELS,
    "num_blocks": [1, 1, 1, 1, 0],
    "block_type": ["SparseConvNeXtBlock3d"] * 5,
    "up_block_type": ["SparseResBlockC2S3d"] * 4,
    "block_args": [{"use_checkpoint": False}] * 5,
    "use_fp16": True,
}
SPARSE_STRUCTURE = {"channels": [16, 16, 16], "num_res_blocks": 1, "num_res_blocks_middle": 1}
"""Two doublings: latents of 8 voxels a side become the 32 that '512' and the cascades ask for."""


def _slat(latents: int, resolution: int) -> dict[str, Any]:
    channels = {"in_channels": latents * LATENT_CHANNELS, "out_channels": LATENT_CHANNELS}
    return {"name": "ElasticSLatFlowModel", "args": {"resolution": resolution, **channels, **FLOW}}


MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "sparse_structure_flow_model": (
        "ckpts/ss_flow_img_dit_1_3B_64_bf16",
        {"name": "SparseStructureFlowModel", "args": {"resolution": 8, "in_channels": 4, "out_channels": 4, **FLOW}},
    ),
    "sparse_structure_decoder": (
        "ckpts/ss_dec_conv3d_16l8_fp16",
        {
            "name": "SparseStructureDecoder",
            "args": {"out_channels": 1, "latent_channels": 4, **SPARSE_STRUCTURE, "use_fp16": True},
        },
    ),
    "shape_slat_flow_model_512": ("ckpts/slat_flow_img2shape_dit_1_3B_512_bf16", _slat(1, 32)),
    "shape_slat_flow_model_1024": ("ckpts/slat_flow_img2shape_dit_1_3B_1024_bf16", _slat(1, 64)),
    "shape_slat_decoder": (
        "ckpts/shape_dec_next_dc_f16c32_fp16",
        {"name": "FlexiDualGridVaeDecoder", "args": {"resolution": 256, **DECODER}},
    ),
    "tex_slat_flow_model_512": ("ckpts/slat_flow_imgshape2tex_dit_1_3B_512_bf16", _slat(2, 32)),
    "tex_slat_flow_model_1024": ("ckpts/slat_flow_imgshape2tex_dit_1_3B_1024_bf16", _slat(2, 64)),
    "tex_slat_decoder": (
        "ckpts/tex_dec_next_dc_f16c32_fp16",
        {"name": "SparseUnetVaeDecoder", "args": {"out_channels": 6, "pred_subdiv": False, **DECODER}},
    ),
}
"""The part a model plays in the pipeline -> the name of its files, and what its .json holds."""

OCCUPIED = 0.0003
"""The share of the sparse structure's cells that come out as occupied."""
SUBDIVIDED = 0.9
"""How far the bias of a subdivision lies above zero: most of a voxel's eight children stay, and quads come about."""

CROSSED = (-3.5, -3.5, 2.5)
"""How far the bias of an edge's crossing lies above zero, for edges along x, y, z: most of the surface comes out as
sheets one above another, which can be simplified and unwrapped in seconds."""


def write_checkpoint(root: Path, seed: int = 0) -> Path:
    """Write the checkpoint and the image features' model below `root`, as our own loader looks for them.

    Returns the folder with `pipeline.json`. `trellis2` must be importable, with the kernels in place. The weights are
    drawn anew from `seed`, also those that training starts at zero, so that every layer counts.
    """
    import torch
    from safetensors.torch import save_file

    models = importlib.import_module("trellis2.models")
    generator = torch.Generator().manual_seed(seed)
    folder, features = root / TRELLIS2, root / DINOV3
    (folder / "ckpts").mkdir(parents=True)
    for part, (name, description) in MODELS.items():
        model = getattr(models, description["name"])(**description["args"])
        with torch.no_grad():
            _draw(model, generator)
            if part == "sparse_structure_decoder":
                _occupy(model, generator)
            if part == "shape_slat_decoder":
                model.output_layer.bias[3:6] = torch.tensor(CROSSED)
        tensors = {key: value.contiguous() for key, value in model.state_dict().items() if not value.is_complex()}
        save_file(tensors, folder / f"{name}.safetensors")
        (folder / f"{name}.json").write_text(json.dumps(description, indent=4), "utf-8")
    _write_conditioner(features, generator)
    (folder / "pipeline.json").write_text(json.dumps(_pipeline(features), indent=4), "utf-8")
    return folder


def _pipeline(features: Path) -> dict[str, Any]:
    normalization = {
        "mean": [0.1 * channel for channel in range(LATENT_CHANNELS)],
        "std": [1.0 + 0.2 * channel for channel in range(LATENT_CHANNELS)],
    }
    samplers = ("sparse_structure_sampler", "shape_slat_sampler", "tex_slat_sampler")
    return {
        "name": "Trellis2ImageTo3DPipeline",
        "args": {
            "models": {part: name for part, (name, _) in MODELS.items()},
            **dict.fromkeys(samplers, SAMPLER),
            "shape_slat_normalization": normalization,
            "tex_slat_normalization": normalization,
            "image_cond_model": {"name": "DinoV3FeatureExtractor", "args": {"model_name": str(features)}},
            "rembg_model": {"name": "BiRefNet", "args": {"model_name": "briaai/RMBG-2.0"}},
            "default_pipeline_type": "1024_cascade",
        },
    }


def _draw(model: Any, generator: Any) -> None:
    """Give every weight of `model` the spread that keeps what passes through it at about 1."""
    import torch

    for name, weight in model.named_parameters():
        drawn = torch.randn(weight.shape, generator=generator)
        if name.endswith("gamma") or (weight.ndim == 1 and name.endswith("weight")):
            weight.copy_(1 + 0.1 * drawn)
        elif weight.ndim == 1:
            weight.copy_(0.1 * drawn + (SUBDIVIDED if name.endswith("to_subdiv.bias") else 0))
        else:
            weight.copy_(drawn / math.sqrt(weight[0].numel()))


def _occupy(decoder: Any, generator: Any) -> None:
    """Shift the last layer of `decoder` so that few cells come out as occupied."""
    import torch

    latents = torch.randn((1, 4, 8, 8, 8), generator=generator)
    last = decoder.out_layer[-1].bias
    last.sub_(torch.quantile(decoder(latents).float().flatten(), 1 - OCCUPIED))


def _write_conditioner(folder: Path, generator: Any) -> None:
    """Write a small DINOv3 with random weights, in the form in which transformers keeps it."""
    import torch
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        hidden_size=COND_CHANNELS,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        patch_size=16,
        num_register_tokens=4,
    )
    model = DINOv3ViTModel(config)
    with torch.no_grad():
        _draw(model, generator)
    model.save_pretrained(folder)
