# SPDX-License-Identifier: GPL-3.0-or-later
"""Image features of DINOv3 (O. Simeoni et al., arXiv:2508.10104), by whichever library is there.

Transformers 4 and 5 and timm name the layers differently and keep them in other places. All have one `norm` at the
end, and TRELLIS.2 wants what goes into it, normalized without weights: that is taken from a hook, the same for all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...errors import EspalierError
from .checkpoint import ModelFiles, read_json

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Of the channels of ImageNet, which the model was trained on."""
HEAD = 64
"""Channels of an attention head, in the sizes of DINOv3 up to L."""

# In timm's names, then in those of transformers 4; transformers 5 puts "model." before "layer".
_NAMES = (
    ("cls_token", "embeddings.cls_token"),
    ("reg_token", "embeddings.register_tokens"),
    ("patch_embed.proj.", "embeddings.patch_embeddings."),
    ("blocks.#.attn.proj.", "layer.#.attention.o_proj."),
    ("blocks.#.gamma_1", "layer.#.layer_scale1.lambda1"),
    ("blocks.#.gamma_2", "layer.#.layer_scale2.lambda1"),
    ("blocks.#.mlp.fc1.", "layer.#.mlp.up_proj."),
    ("blocks.#.mlp.fc2.", "layer.#.mlp.down_proj."),
    ("blocks.#.", "layer.#."),
)
_PARTS = ("q_proj", "k_proj", "v_proj")


class Conditioner:
    """Turns pictures into features float32 (B, tokens, channels). `image_size` is the side they are scaled to."""

    def __init__(self, model: Any, library: str) -> None:
        self.model = model.eval()
        self.library = library
        self.image_size = 512

    def to(self, device: Any) -> None:
        """Move the model."""
        self.model.to(device)

    def cpu(self) -> None:
        """Move the model to the CPU."""
        self.model.to("cpu")

    def __call__(self, images: Sequence[Image.Image]) -> Any:
        """Return the features of RGB `images`, which are scaled to squares."""
        parameter = next(self.model.parameters())
        pixels = torch.stack([_pixels(image, self.image_size) for image in images]).to(parameter.device)
        shape = (1, 3, 1, 1)
        pixels = pixels - torch.tensor(MEAN, device=pixels.device).view(shape)
        pixels = pixels / torch.tensor(DEVIATION, device=pixels.device).view(shape)
        caught: list[Any] = []
        hook = self.model.norm.register_forward_pre_hook(lambda _module, given: caught.append(given[0]))
        try:
            with torch.no_grad():
                forward = self.model.forward_features if self.library == "timm" else self.model
                forward(pixels.to(parameter.dtype))
        finally:
            hook.remove()
        return torch.nn.functional.layer_norm(caught[0], caught[0].shape[-1:])


def _pixels(image: Image.Image, side: int) -> Any:
    scaled = image.resize((side, side), Image.Resampling.LANCZOS).convert("RGB")
    return torch.from_numpy(np.asarray(scaled).astype(np.float32) / 255).permute(2, 0, 1)


def libraries() -> tuple[str, ...]:
    """Return the names of those libraries here that know DINOv3, the preferred first."""
    found = []
    if find_spec("transformers") is not None:
        try:
            import_module("transformers").DINOv3ViTModel  # noqa: B018
            found.append("transformers")
        except (ImportError, AttributeError, RuntimeError):
            pass
    if find_spec("timm") is not None:
        found.append("timm")
    return tuple(found)


def load(files: ModelFiles, library: str = "") -> Conditioner:
    """Return the conditioner with the weights in `files`, in the layout of transformers or of timm.

    Raises EspalierError `trellis2_not_installed` where no library is there, or `trellis2_weights_...`.
    """
    library = library or next(iter(libraries()), "")
    if not library:
        raise EspalierError("trellis2_not_installed", module="transformers")
    from safetensors.torch import load_file

    config = read_json(files.config)
    state = canonical(load_file(str(files.weights)))
    with torch.random.fork_rng(devices=[]):
        model = _timm(config, state) if library == "timm" else _transformers(config, state)
    wanted = state_for(state, model.state_dict().keys())
    missing, _ = model.load_state_dict(wanted, strict=False)
    unset = [name for name in missing if name in dict(model.named_parameters()) and "mask_token" not in name]
    if unset:
        raise EspalierError("trellis2_weights_unfit", path=files.weights, reason=f"{unset[0]} is missing")
    return Conditioner(model, library)


def canonical(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return `state`, named by timm, transformers 4 or 5, with the names of transformers 4."""
    made: dict[str, Any] = {}
    for name, value in state.items():
        name = re.sub(r"^model\.(layer\.)", r"\1", name)
        if (fused := re.fullmatch(r"blocks\.(\d+)\.attn\.qkv\.(weight|bias)", name)) is not None:
            for part, third in zip(_PARTS, value.chunk(3), strict=True):
                made[f"layer.{fused[1]}.attention.{part}.{fused[2]}"] = third
            continue
        made[_renamed(name, 0, 1)] = value
    return made


def state_for(state: Mapping[str, Any], wanted: Any) -> dict[str, Any]:
    """Return a canonical `state` with the names among `wanted`, those of the model that is to take it."""
    names = set(wanted)
    if any(name.startswith("model.layer.") for name in names):
        return _with_biases({re.sub(r"^layer\.", "model.layer.", name): value for name, value in state.items()}, names)
    if not any(name.startswith("blocks.") for name in names):
        return _with_biases(dict(state), names)
    made = {_renamed(name, 1, 0): value for name, value in state.items() if ".attention.q_proj." not in name}
    for name in [name for name in made if re.search(r"\.attention\.[kv]_proj\.", name)]:
        del made[name]
    for name, value in state.items():
        if (found := re.fullmatch(r"layer\.(\d+)\.attention\.q_proj\.weight", name)) is not None:
            parts = [state[f"layer.{found[1]}.attention.{part}.weight"] for part in _PARTS]
            made[f"blocks.{found[1]}.attn.qkv.weight"] = torch.cat(parts)
            for part in ("q", "v"):
                bias = state.get(f"layer.{found[1]}.attention.{part}_proj.bias")
                made[f"blocks.{found[1]}.attn.{part}_bias"] = value.new_zeros(len(value)) if bias is None else bias
    return {name: value for name, value in made.items() if name in names}


def _with_biases(state: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Return `state` with zeros for the biases of queries and values that timm's form of the weights leaves out."""
    for name in names - state.keys():
        if re.search(r"attention\.[qv]_proj\.bias$", name):
            weight = state[name.removesuffix("bias") + "weight"]
            state[name] = weight.new_zeros(len(weight))
    return state


def _renamed(name: str, source: int, target: int) -> str:
    """Return `name` from column `source` of the table of names in that of column `target`."""
    for row in _NAMES:
        pattern = re.escape(row[source]).replace(r"\#", "#").replace("#", r"(\d+)")
        if (found := re.match(pattern, name)) is not None:
            number = found[1] if "#" in row[source] else ""
            return row[target].replace("#", number) + name[found.end() :]
    return name


def _shape(config: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, int]:
    """Return the model's sizes: what the weights show, and the heads, which they do not."""
    hidden = int(state["embeddings.cls_token"].shape[-1])
    heads = config.get("num_attention_heads") or config.get("model_args", {}).get("num_heads") or hidden // HEAD
    return {
        "hidden": hidden,
        "heads": int(heads),
        "layers": len({name.split(".")[1] for name in state if name.startswith("layer.")}),
        "inner": int(state["layer.0.mlp.up_proj.weight"].shape[0]),
        "registers": int(state["embeddings.register_tokens"].shape[1]),
        "patch": int(state["embeddings.patch_embeddings.weight"].shape[-1]),
    }


def _transformers(config: Mapping[str, Any], state: Mapping[str, Any]) -> Any:
    transformers = import_module("transformers")
    sizes = _shape(config, state)
    described = transformers.DINOv3ViTConfig(
        hidden_size=sizes["hidden"],
        num_attention_heads=sizes["heads"],
        num_hidden_layers=sizes["layers"],
        intermediate_size=sizes["inner"],
        num_register_tokens=sizes["registers"],
        patch_size=sizes["patch"],
        attn_implementation="sdpa",
    )
    return transformers.DINOv3ViTModel(described)


def _timm(config: Mapping[str, Any], state: Mapping[str, Any]) -> Any:
    sizes = _shape(config, state)
    return import_module("timm").create_model(
        "vit_large_patch16_dinov3_qkvb",
        pretrained=False,
        num_classes=0,
        embed_dim=sizes["hidden"],
        depth=sizes["layers"],
        num_heads=sizes["heads"],
        mlp_ratio=sizes["inner"] / sizes["hidden"],
        num_reg_tokens=sizes["registers"],
        patch_size=sizes["patch"],
    )
