# SPDX-License-Identifier: GPL-3.0-or-later
"""A tiny random checkpoint in the published format, for the stand-in's models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from engine.backends.trellis2.checkpoint import DINOV3, REVISIONS, TRELLIS2

STANDIN = Path(__file__).resolve().parent / "standin"
UPSTREAM, COMPILED = str(STANDIN / "upstream"), str(STANDIN / "compiled")
CHANNELS = 32
"""Of the image features."""
LATENT = 4

_FLOWS = {
    "sparse_structure_flow_model": ("SparseStructureFlowModel", 2),
    "shape_slat_flow_model_512": ("SLatFlowModel", LATENT),
    "shape_slat_flow_model_1024": ("SLatFlowModel", LATENT),
    "tex_slat_flow_model_512": ("SLatFlowModel", 2 * LATENT),
    "tex_slat_flow_model_1024": ("SLatFlowModel", 2 * LATENT),
}
_DECODERS = {
    "sparse_structure_decoder": ("SparseStructureDecoder", 2),
    "shape_slat_decoder": ("FlexiDualGridVaeDecoder", LATENT),
    "tex_slat_decoder": ("SparseUnetVaeDecoder", LATENT),
}
ELSEWHERE = "microsoft/TRELLIS-image-large"
"""The repository that the published pipeline takes its first decoder from."""


def write(root: Path) -> Path:
    """Write the checkpoint below `root`, laid out as a cache of Hugging Face without its links; return `root`."""
    if UPSTREAM not in sys.path:
        sys.path.append(UPSTREAM)
    from trellis2 import models  # type: ignore[import-not-found]

    torch.manual_seed(7)
    main = root / f"models--{TRELLIS2.replace('/', '--')}" / "snapshots" / REVISIONS[TRELLIS2]
    other = root / f"models--{ELSEWHERE.replace('/', '--')}" / "snapshots" / "1"
    named: dict[str, str] = {}
    for name, (kind, channels) in {**_FLOWS, **_DECODERS}.items():
        args: dict[str, Any] = {"role": name}
        args |= {"in_channels": channels, "cond_channels": CHANNELS} if name in _FLOWS else {"channels": channels}
        folder = other if name == "sparse_structure_decoder" else main
        named[name] = f"{ELSEWHERE}/ckpts/{name}" if folder is other else f"ckpts/{name}"
        (folder / "ckpts").mkdir(parents=True, exist_ok=True)
        (folder / "ckpts" / f"{name}.json").write_text(json.dumps({"name": kind, "args": args}))
        save_file(getattr(models, kind)(**args).state_dict(), str(folder / "ckpts" / f"{name}.safetensors"))
    sampler = {"name": "FlowEulerGuidanceIntervalSampler", "args": {"sigma_min": 1e-5}, "params": {"steps": 50}}
    normalization = {"mean": [0.1] * LATENT, "std": [2.0] * LATENT}
    args = {
        "models": named,
        **dict.fromkeys(("sparse_structure_sampler", "shape_slat_sampler", "tex_slat_sampler"), sampler),
        **dict.fromkeys(("shape_slat_normalization", "tex_slat_normalization"), normalization),
        "image_cond_model": {"name": "DinoV3FeatureExtractor", "args": {"model_name": "somewhere/gated"}},
        "rembg_model": {"name": "BiRefNet", "args": {"model_name": "briaai/RMBG-2.0"}},
    }
    (main / "pipeline.json").write_text(json.dumps({"name": "Trellis2ImageTo3DPipeline", "args": args}))
    write_features(root / f"models--{DINOV3.replace('/', '--')}" / "snapshots" / "1", CHANNELS)
    return root


def write_features(folder: Path, channels: int, layers: int = 2, heads: int = 2) -> None:
    """Write a random DINOv3 in timm's layout, as the weights are published under its free license."""
    folder.mkdir(parents=True, exist_ok=True)
    source = torch.Generator().manual_seed(3)

    def random(*shape: int) -> Any:
        return torch.randn(*shape, generator=source) * 0.2

    state = {
        "cls_token": random(1, 1, channels),
        "reg_token": random(1, 4, channels),
        "patch_embed.proj.weight": random(channels, 3, 16, 16) * 0.3,
        "patch_embed.proj.bias": random(channels),
        "norm.weight": random(channels),
        "norm.bias": random(channels),
    }
    for layer in range(layers):
        start = f"blocks.{layer}."
        state |= {
            start + "norm1.weight": 1 + random(channels),
            start + "norm1.bias": random(channels),
            start + "attn.qkv.weight": random(3 * channels, channels),
            start + "attn.proj.weight": random(channels, channels),
            start + "attn.proj.bias": random(channels),
            start + "gamma_1": 1 + random(channels),
            start + "norm2.weight": 1 + random(channels),
            start + "norm2.bias": random(channels),
            start + "mlp.fc1.weight": random(4 * channels, channels),
            start + "mlp.fc1.bias": random(4 * channels),
            start + "mlp.fc2.weight": random(channels, 4 * channels),
            start + "mlp.fc2.bias": random(channels),
            start + "gamma_2": 1 + random(channels),
        }
    save_file(state, str(folder / "model.safetensors"))
    described = {"architecture": "vit_large_patch16_dinov3", "model_args": {"num_heads": heads}}
    (folder / "config.json").write_text(json.dumps(described))
