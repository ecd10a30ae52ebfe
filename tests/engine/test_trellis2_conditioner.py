# SPDX-License-Identifier: GPL-3.0-or-later
"""The image features against DINOv3 written out in float64, by every library that is here."""

from __future__ import annotations

import json
import math
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="PyTorch is not installed in this environment")
pytest.importorskip("safetensors", reason="safetensors is not installed in this environment")

from safetensors.torch import load_file, save_file  # noqa: E402

from engine.backends.trellis2 import conditioner, kernels  # noqa: E402
from engine.backends.trellis2.checkpoint import ModelFiles  # noqa: E402
from engine.errors import EspalierError  # noqa: E402
from tests.engine.trellis2_checkpoint import write_features  # noqa: E402
from tests.engine.trellis2_harness import one_thread  # noqa: E402

one_thread()
CHANNELS, LAYERS, HEADS, PATCH, PREFIX = 64, 3, 2, 16, 5
LIBRARIES = ("transformers", "timm")


def reference(state: dict[str, Any], image: Image.Image, side: int) -> Any:
    """Return the features float64 (tokens, channels) by the paper's formulas, weights in timm's layout."""
    w = {name: value.double() for name, value in state.items()}
    scaled = np.asarray(image.resize((side, side), Image.Resampling.LANCZOS).convert("RGB"), np.float64) / 255
    scaled = (scaled - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    count = side // PATCH
    patches = torch.from_numpy(scaled).reshape(count, PATCH, count, PATCH, 3).permute(0, 2, 4, 1, 3)
    kernel = w["patch_embed.proj.weight"].reshape(CHANNELS, -1)
    rows = patches.reshape(count * count, -1) @ kernel.T + w["patch_embed.proj.bias"]
    x = torch.cat([w["cls_token"][0], w["reg_token"][0], rows])
    head = CHANNELS // HEADS
    middle = (torch.arange(count).double() + 0.5) / count * 2 - 1
    place = torch.stack(torch.meshgrid(middle, middle, indexing="ij"), dim=-1).reshape(-1, 2)
    frequency = 100.0 ** -(torch.arange(head // 4).double() * 4 / head)
    angle = (2 * math.pi * place[:, :, None] * frequency).reshape(len(place), -1)
    turn = torch.polar(torch.ones_like(angle), angle)

    def rotated(values: Any) -> Any:
        pairs = torch.complex(values[PREFIX:, : head // 2], values[PREFIX:, head // 2 :]) * turn
        return torch.cat([values[:PREFIX], torch.cat([pairs.real, pairs.imag], dim=1)])

    def normal(values: Any, name: str) -> Any:
        centered = values - values.mean(dim=1, keepdim=True)
        scale = (centered.square().mean(dim=1, keepdim=True) + 1e-5).rsqrt()
        return centered * scale * w[f"{name}.weight"] + w[f"{name}.bias"]

    for layer in range(LAYERS):
        at = f"blocks.{layer}."
        q, k, v = (normal(x, at + "norm1") @ w[at + "attn.qkv.weight"].T).reshape(-1, 3, HEADS, head).unbind(1)
        heads = []
        for one in range(HEADS):
            score = rotated(q[:, one]) @ rotated(k[:, one]).T / math.sqrt(head)
            heads.append(torch.softmax(score, dim=1) @ v[:, one])
        mixed = torch.cat(heads, dim=1) @ w[at + "attn.proj.weight"].T + w[at + "attn.proj.bias"]
        x = x + w[at + "gamma_1"] * mixed
        inner = normal(x, at + "norm2") @ w[at + "mlp.fc1.weight"].T + w[at + "mlp.fc1.bias"]
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        x = x + w[at + "gamma_2"] * (inner @ w[at + "mlp.fc2.weight"].T + w[at + "mlp.fc2.bias"])
    centered = x - x.mean(dim=1, keepdim=True)
    return centered / (centered.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    write_features(folder, CHANNELS, LAYERS, HEADS)
    return folder


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (70, 50, 3), np.uint8))


class _Name(type):
    """What torchvision would have: to be derived from or looked into, never called."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _Names(ModuleType):
    """A module with every name that is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(name, (), {})


TORCHVISION = (
    *("torchvision", "torchvision.datasets", "torchvision.models", "torchvision.models.feature_extraction"),
    *("torchvision.ops", "torchvision.ops.misc", "torchvision.transforms", "torchvision.transforms.functional"),
)


def import_timm() -> None:
    """Import timm where there is no torchvision, of which it wants names for what is not asked of it here.

    The registry's torchvision cannot be loaded beside a PyTorch for the processor alone. The names are gone afterwards,
    so that nothing else takes them for the package.
    """
    if find_spec("timm") is None or find_spec("torchvision") is not None:
        return
    kernels.standin._let_transformers_look()
    ours = {path: module for path in TORCHVISION if (module := sys.modules.pop(path, None)) is not None}
    for path in TORCHVISION:
        module = _Names(path)
        module.__spec__, module.__path__ = ModuleSpec(path, None, is_package=True), []
        sys.modules[path] = module
        parent, _, child = path.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    try:
        __import__("timm")
    finally:
        for path in TORCHVISION:
            del sys.modules[path]
        sys.modules.update(ours)


import_timm()


def files(folder: Path) -> ModelFiles:
    return ModelFiles("features", folder / "config.json", folder / "model.safetensors")


def needs(library: str) -> None:
    """Skip where `library` cannot be used here."""
    if library not in conditioner.libraries():
        pytest.skip(f"{library} with DINOv3 is not installed in this environment")


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_features_are_those_of_the_paper(library: str, folder: Path, image: Image.Image) -> None:
    needs(library)
    made = conditioner.load(files(folder), library)
    for side in (64, 96):
        made.image_size = side
        expected = reference(load_file(str(folder / "model.safetensors")), image, side)
        found = made([image])
        assert found.dtype == torch.float32
        assert found.shape == (1, *expected.shape)
        assert (found[0].double() - expected).abs().max() < 2e-5


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_layout_of_transformers_gives_the_same(
    library: str, folder: Path, image: Image.Image, tmp_path: Path
) -> None:
    needs(library)
    state = conditioner.canonical(load_file(str(folder / "model.safetensors")))
    for name in [name for name in state if name.endswith("q_proj.weight")]:
        state[name.replace("weight", "bias")] = torch.full((CHANNELS,), 0.25)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "dinov3_vit", "num_attention_heads": HEADS}))
    found = []
    for five in (False, True):
        named = {("model." + name if five and name.startswith("layer.") else name): v for name, v in state.items()}
        save_file({name: value.contiguous() for name, value in named.items()}, str(tmp_path / "model.safetensors"))
        made = conditioner.load(files(tmp_path), library)
        made.image_size = 64
        found.append(made([image]))
    assert torch.equal(found[0], found[1])
    biased = load_file(str(folder / "model.safetensors"))
    plain = conditioner.load(files(folder), library)
    plain.image_size = 64
    assert not torch.allclose(plain([image]), found[0], atol=1e-3), "the biases of the queries must count"
    assert biased


@pytest.mark.parametrize("library", LIBRARIES)
def test_all_libraries_give_the_same(library: str, folder: Path, image: Image.Image) -> None:
    needs(library)
    needs("transformers")
    first, second = conditioner.load(files(folder), "transformers"), conditioner.load(files(folder), library)
    first.image_size = second.image_size = 80
    assert (first([image]) - second([image])).abs().max() < 2e-5


def test_several_pictures_and_other_modes(folder: Path, image: Image.Image) -> None:
    needs("transformers")
    made = conditioner.load(files(folder))
    made.image_size = 64
    both = made([image, image.convert("L")])
    assert both.shape[0] == 2
    assert torch.allclose(both[:1], made([image]), atol=1e-5)


def test_weights_that_lack_something(folder: Path, tmp_path: Path) -> None:
    needs("transformers")
    state = load_file(str(folder / "model.safetensors"))
    del state["blocks.1.mlp.fc1.bias"]
    save_file(state, str(tmp_path / "model.safetensors"))
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(EspalierError) as caught:
        conditioner.load(files(tmp_path))
    assert caught.value.code == "trellis2_weights_unfit"


def test_no_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditioner, "libraries", tuple)
    with pytest.raises(EspalierError) as caught:
        conditioner.load(files(folder))
    assert caught.value.code == "trellis2_not_installed"
