# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstream's own pipeline runs on the CPU with our kernels, from an image to a mesh with its volume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.backends.trellis2 import kernels
from engine.backends.trellis2.checkpoint import TRELLIS2

KINDS = {"512": 512, "1024_cascade": 1024, "1536_cascade": 1536}


def ran(pipeline: Any, picture: Path, kind: str, **options: Any) -> tuple[Any, int]:
    """Return the mesh that upstream's `run` makes, and the resolution that it used."""
    meshes, (_, _, resolution) = pipeline.run(Image.open(picture), pipeline_type=kind, return_latent=True, **options)
    assert len(meshes) == 1
    return meshes[0], resolution


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_becomes_a_mesh_with_its_volume(pipeline: Any, picture: Path, kind: str) -> None:
    import torch

    mesh, resolution = ran(pipeline, picture, kind)
    assert resolution == KINDS[kind]
    assert mesh.vertices.shape[1:] == mesh.faces.shape[1:] == (3,)
    assert len(mesh.faces) > 1000
    assert torch.isfinite(mesh.vertices).all()
    assert (mesh.vertices.abs() <= 0.5 + 1 / resolution).all()
    assert 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices)
    assert 0 <= mesh.coords.min() <= mesh.coords.max() < resolution
    assert len(mesh.coords.unique(dim=0)) == len(mesh.coords) == len(mesh.attrs)
    assert torch.isfinite(mesh.attrs).all()
    assert mesh.attrs.std(dim=0).min() > 0.05
    sampled = mesh.query_vertex_attrs()
    assert sampled.shape == (len(mesh.vertices), 6)
    at_voxels = sampled[: len(mesh.coords)].mean(dim=0)
    torch.testing.assert_close(at_voxels, mesh.attrs.mean(dim=0), rtol=0, atol=0.1)


def test_a_resolution_with_too_many_tokens_is_lowered(pipeline: Any, picture: Path) -> None:
    assert ran(pipeline, picture, "1536_cascade", max_num_tokens=60)[1] == 1024


def test_a_seed_repeats_itself_and_another_differs(pipeline: Any, picture: Path) -> None:
    first, again, other = (ran(pipeline, picture, "512", seed=seed)[0] for seed in (7, 7, 8))
    assert first.vertices.equal(again.vertices)
    assert first.faces.equal(again.faces)
    assert first.attrs.equal(again.attrs)
    assert first.vertices.shape != other.vertices.shape or not first.vertices.equal(other.vertices)


def test_little_memory_changes_nothing_that_can_be_seen(pipeline: Any, picture: Path) -> None:
    import torch

    whole, _ = ran(pipeline, picture, "512")
    try:
        kernels.set_limit_bytes(1 << 18)
        pieces, _ = ran(pipeline, picture, "512")
    finally:
        kernels.set_limit_bytes(kernels.DEFAULT_BYTES)
    assert torch.equal(pieces.coords, whole.coords)
    torch.testing.assert_close(pieces.attrs, whole.attrs, rtol=0, atol=0.02)


def test_the_checkpoint_has_the_published_form(pipeline: Any, weights: Path) -> None:
    from safetensors import safe_open

    args = json.loads((weights / TRELLIS2 / "pipeline.json").read_text("utf-8"))["args"]
    assert set(pipeline.models) == set(pipeline.model_names_to_load) == set(args["models"])
    for part, model in pipeline.models.items():
        with safe_open(weights / TRELLIS2 / f"{args['models'][part]}.safetensors", "pt") as file:
            assert set(dict(model.named_parameters())) <= set(file.keys())
            for name, tensor in model.named_parameters():
                assert tensor.equal(file.get_tensor(name)), name
