# SPDX-License-Identifier: GPL-3.0-or-later
"""TRELLIS.2's own Python code, from the folder that TRELLIS2 names, on the CPU with a small random checkpoint."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

FOLDER = os.environ.get("TRELLIS2", "")
NEEDED = ("torch", "transformers", "safetensors", "easydict", "tqdm")


def why_not() -> str:
    """Return why these tests cannot run here, or ""."""
    if not FOLDER:
        return "no folder with TRELLIS.2's public sources is given: make test-trellis2 TRELLIS2=folder"
    if not (Path(FOLDER) / "trellis2" / "pipelines" / "trellis2_image_to_3d.py").is_file():
        return f"{FOLDER} does not hold TRELLIS.2's public sources: there is no trellis2/pipelines in it"
    lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"{lacking[0]} is not installed here; it is in the environment torch-3.11" if lacking else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what lies in this folder where it cannot run, saying why."""
    if reason := why_not():
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def upstream() -> Iterator[Any]:
    """Upstream's module `trellis2.pipelines`, with our kernels under the names of the packages that are missing."""
    import torch

    from engine.backends.trellis2.pipeline import prepare_imports

    torch.set_num_threads(1)
    sys.path.insert(0, FOLDER)
    prepare_imports(None)
    yield importlib.import_module("trellis2.pipelines")
    sys.path.remove(FOLDER)


@pytest.fixture(scope="session")
def weights(upstream: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoint and the image features' model."""
    from tests.trellis2.checkpoint import write_checkpoint

    root = tmp_path_factory.mktemp("weights")
    write_checkpoint(root)
    return root


@pytest.fixture(scope="session")
def pipeline(upstream: Any, weights: Path) -> Any:
    """Upstream's pipeline as upstream loads it, but for the remover of backgrounds, which is gated."""
    from transformers import DINOv3ViTModel

    from engine.backends.trellis2.checkpoint import TRELLIS2

    if not hasattr(DINOv3ViTModel, "layer"):  # where transformers 5 keeps the layers that upstream asks for
        DINOv3ViTModel.layer = property(lambda model: model.model.layer)
    upstream.rembg.BiRefNet = lambda model_name: None
    return upstream.Trellis2ImageTo3DPipeline.from_pretrained(str(weights / TRELLIS2))


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A colored disc without a background."""
    y, x = np.mgrid[:120, :160]
    pixels = np.stack([x, 2 * y, 255 - x, 255 * ((y - 60) ** 2 + (x - 70) ** 2 < 50**2)], axis=-1)
    path = tmp_path_factory.mktemp("picture") / "disc.png"
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path
