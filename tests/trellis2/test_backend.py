# SPDX-License-Identifier: GPL-3.0-or-later
"""Our backend on upstream's own code: an image becomes a GLB, and what it decodes is what upstream's `run` decodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.backends.base import JobRun
from engine.mesh.full import FULL
from engine.mesh.glb import read_glb
from engine.progress import Progress
from engine.request import GenerationRequest

STEPS = {"ss_sampling_steps": 3, "shape_slat_sampling_steps": 3, "tex_slat_sampling_steps": 3}
SMALL = {"texture_size": "1024", "decimation_target": 10_000, "remesh": False, **STEPS}
KINDS = {"512": 512, "1024_cascade": 1024, "1536_cascade": 1536}


@pytest.fixture(scope="module")
def backend(upstream: Any, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from engine.backends.trellis2.backend import Trellis2Backend
    from engine.backends.trellis2.settings import Settings

    made = Trellis2Backend(Settings(weights=weights, cache=tmp_path_factory.mktemp("stages"), device="cpu"))
    yield made
    made.close()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is decoded, and no mesh exported from it, which takes most of the time."""
    from engine.backends.trellis2 import backend as module
    from engine.backends.trellis2.export import Made

    caught: list[Any] = []

    def export(decoded: Any, options: Any, name: str, path: Path, *_: Any) -> Made:
        caught.append(decoded)
        path.touch()
        return Made(path)

    monkeypatch.setattr(module, "export", export)
    return caught


def generate(backend: Any, request: GenerationRequest, folder: Path) -> tuple[Any, dict[str, Any], list[Progress]]:
    """Return the asset, the full-resolution arrays kept beside it, and what was reported."""
    told: list[Progress] = []
    folder.mkdir(exist_ok=True)
    asset = backend.generate(request, folder, JobRun(backend.stages, told.append))
    with np.load(folder / FULL) as stored:
        return asset, dict(stored), told


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_becomes_a_glb(backend: Any, picture: Path, tmp_path: Path, kind: str) -> None:
    request = GenerationRequest.create(picture, "trellis2", {"pipeline_type": kind, **SMALL})
    asset, full, told = generate(backend, request, tmp_path)
    mesh, material = read_glb(asset.glb)
    assert 1000 < len(mesh.faces) <= 12_000
    assert mesh.uvs is not None
    assert material.base_color is not None
    assert material.metallic_roughness is not None
    assert np.abs(mesh.positions).max() <= 0.51
    assert asset.facts["resolution"] == int(full["resolution"]) == KINDS[kind]
    assert asset.facts["device"] == "CPU"
    assert "flex_gemm" in asset.facts["portable_kernels"]
    assert asset.thumbnail is not None
    assert Image.open(asset.thumbnail).size[0] > 0
    assert list(dict.fromkeys(one.stage for one in told)) == [stage.name for stage in backend.stages]
    assert told[-1].fraction <= 1.0


@pytest.mark.parametrize(("kind", "tokens"), [*((kind, 49152) for kind in KINDS), ("1536_cascade", 60)])
def test_it_decodes_what_upstream_decodes(
    backend: Any, pipeline: Any, picture: Path, tmp_path: Path, decoded: list[Any], kind: str, tokens: int
) -> None:
    from engine.backends.trellis2.mapping import arguments

    request = GenerationRequest.create(picture, "trellis2", {"pipeline_type": kind, "seed": 3, **SMALL})
    request = replace(request, parameters={**request.parameters, "max_num_tokens": tokens})
    called = arguments(request.image, request.parameters)
    (theirs,), (_, _, resolution) = pipeline.run(
        **{**called.run, "image": Image.open(picture)},
        sparse_structure_sampler_params=called.sparse_structure,
        shape_slat_sampler_params=called.shape_slat,
        tex_slat_sampler_params=called.tex_slat,
        return_latent=True,
    )
    asset, _, _ = generate(backend, request, tmp_path)
    (ours,) = decoded
    assert ours.resolution == resolution
    assert any("lowered" in notice for notice in asset.notices) == (resolution != KINDS[kind])
    np.testing.assert_array_equal(ours.faces, theirs.faces.numpy())
    np.testing.assert_array_equal(ours.coords, theirs.coords.numpy())
    np.testing.assert_array_equal(ours.vertices, theirs.vertices.numpy())
    np.testing.assert_array_equal(ours.attributes, theirs.attrs.numpy())


def test_finished_stages_are_taken_up_again(backend: Any, picture: Path, tmp_path: Path, decoded: list[Any]) -> None:
    parameters = {"pipeline_type": "512", "seed": 11, **SMALL}
    first, full, _ = generate(backend, GenerationRequest.create(picture, "trellis2", parameters), tmp_path / "first")
    assert "sparse_structure" not in first.facts["stages_kept"]
    again = GenerationRequest.create(picture, "trellis2", {**parameters, "tex_slat_guidance_strength": 2.5})
    second, other, _ = generate(backend, again, tmp_path / "second")
    assert second.facts["stages_kept"] == ["features", "sparse_structure", "shape", "decode_shape"]
    assert np.array_equal(full["positions"], other["positions"])
    assert not np.array_equal(full["attributes"], other["attributes"])


def test_little_memory_gives_the_same_from_smaller_pieces(
    weights: Path, picture: Path, tmp_path: Path, decoded: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.backends.trellis2 import chain, lean, memory
    from engine.backends.trellis2.backend import Trellis2Backend
    from engine.backends.trellis2.settings import Settings

    cut: list[int] = []

    def pieces(rows: int, row_bytes: int) -> Iterator[slice]:
        for start in range(0, rows, 1000):
            cut.append(rows)
            yield slice(start, min(start + 1000, rows))

    monkeypatch.setattr(lean, "pieces", pieces)
    monkeypatch.setattr(chain, "LEAN_BYTES", 1 << 20)
    request = GenerationRequest.create(picture, "trellis2", {"pipeline_type": "512", "seed": 5, **SMALL})
    for plan in (memory.ON_HOST, memory.PLANS[-1]):
        monkeypatch.setattr(Trellis2Backend, "_plans", lambda *_, plan=plan: (plan,))
        backend = Trellis2Backend(Settings(weights=weights, cache=None, device="cpu"))
        asset, _, _ = generate(backend, request, tmp_path / plan.name)
        assert asset.facts["plan"] == plan.name
        assert bool(cut) == plan.chunked
        backend.close()
    assert max(cut) > 5000, "the finest voxels were cut"
    whole, lean_one = decoded
    np.testing.assert_array_equal(lean_one.coords, whole.coords)
    np.testing.assert_allclose(lean_one.attributes, whole.attributes, rtol=0, atol=0.02)


def test_a_shape_of_which_nothing_is_left_is_told(backend: Any, picture: Path, tmp_path: Path) -> None:
    import torch

    from engine.errors import EspalierError

    request = GenerationRequest.create(picture, "trellis2", {"pipeline_type": "1024_cascade", "seed": 21, **SMALL})
    generate_once = backend._made_ready("1024_cascade", JobRun(backend.stages, lambda _: None))
    decoder = generate_once.models["shape_slat_decoder"]
    bias = decoder.blocks[1][-1].to_subdiv.bias
    before = bias.data.clone()
    bias.data.fill_(-torch.inf)
    try:
        with pytest.raises(EspalierError) as caught:
            generate(backend, request, tmp_path)
    finally:
        bias.data.copy_(before)
    assert caught.value.code == "trellis2_empty"
