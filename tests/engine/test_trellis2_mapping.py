# SPDX-License-Identifier: GPL-3.0-or-later
"""Each of the 35 parameters goes where upstream's calls want it, in upstream's unit."""

from __future__ import annotations

import math
from typing import Any

import pytest

from engine.backends.trellis2.mapping import MAPPING, arguments
from engine.backends.trellis2.settings import CACHE_GB, Settings
from engine.errors import EspalierError
from engine.parameters import BY_NAME, PARAMETERS
from engine.request import GenerationRequest, complete_parameters

# Parameter, a value other than the default, the call, its keyword, and what it must be there.
ROWS: tuple[tuple[str, Any, str, str, Any], ...] = (
    ("image", "other.png", "run", "image", "other.png"),
    ("resolution", "1536", "run", "pipeline_type", "1536_cascade"),
    ("pipeline_type", "512", "run", "pipeline_type", "512"),
    ("seed", 7, "run", "seed", 7),
    ("preprocess_image", False, "run", "preprocess_image", False),
    ("max_num_tokens", 2048, "run", "max_num_tokens", 2048),
    ("ss_sampling_steps", 20, "sparse_structure", "steps", 20),
    ("ss_guidance_strength", 3.5, "sparse_structure", "guidance_strength", 3.5),
    ("ss_guidance_rescale", 0.1, "sparse_structure", "guidance_rescale", 0.1),
    ("ss_guidance_interval_start", 0.2, "sparse_structure", "guidance_interval", (0.2, 1.0)),
    ("ss_guidance_interval_end", 0.9, "sparse_structure", "guidance_interval", (0.6, 0.9)),
    ("ss_rescale_t", 2.0, "sparse_structure", "rescale_t", 2.0),
    ("shape_slat_sampling_steps", 21, "shape_slat", "steps", 21),
    ("shape_slat_guidance_strength", 4.5, "shape_slat", "guidance_strength", 4.5),
    ("shape_slat_guidance_rescale", 0.2, "shape_slat", "guidance_rescale", 0.2),
    ("shape_slat_guidance_interval_start", 0.3, "shape_slat", "guidance_interval", (0.3, 1.0)),
    ("shape_slat_guidance_interval_end", 0.8, "shape_slat", "guidance_interval", (0.6, 0.8)),
    ("shape_slat_rescale_t", 4.0, "shape_slat", "rescale_t", 4.0),
    ("tex_slat_sampling_steps", 22, "tex_slat", "steps", 22),
    ("tex_slat_guidance_strength", 5.5, "tex_slat", "guidance_strength", 5.5),
    ("tex_slat_guidance_rescale", 0.3, "tex_slat", "guidance_rescale", 0.3),
    ("tex_slat_guidance_interval_start", 0.4, "tex_slat", "guidance_interval", (0.4, 0.9)),
    ("tex_slat_guidance_interval_end", 0.7, "tex_slat", "guidance_interval", (0.6, 0.7)),
    ("tex_slat_rescale_t", 5.0, "tex_slat", "rescale_t", 5.0),
    ("texture_size", "4096", "to_glb", "texture_size", 4096),
    ("decimation_target", 12345, "to_glb", "decimation_target", 12345),
    ("remesh", False, "to_glb", "remesh", False),
    ("remesh_band", 2.0, "to_glb", "remesh_band", 2.0),
    ("remesh_project", 0.25, "to_glb", "remesh_project", 0.25),
    ("uv_unwrap_angle_threshold_deg", 45.0, "to_glb", "mesh_cluster_threshold_cone_half_angle_rad", math.pi / 4),
    ("uv_unwrap_refine_iterations", 3, "to_glb", "mesh_cluster_refine_iterations", 3),
    ("uv_unwrap_global_iterations", 4, "to_glb", "mesh_cluster_global_iterations", 4),
    ("uv_unwrap_smooth_strength", 0.5, "to_glb", "mesh_cluster_smooth_strength", 0.5),
    ("verbose", True, "to_glb", "verbose", True),
)
CALLS = ("run", "sparse_structure", "shape_slat", "tex_slat", "to_glb")


def test_every_parameter_of_the_table_has_a_place() -> None:
    assert list(MAPPING) == [parameter.name for parameter in PARAMETERS]
    assert len(MAPPING) == 35
    ignored = [name for name, place in MAPPING.items() if place.call == "none"]
    assert ignored == [parameter.name for parameter in PARAMETERS if not parameter.honoured_by("trellis2")]
    assert sorted([row[0] for row in ROWS] + ignored) == sorted(MAPPING)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_parameter_arrives_in_its_place_and_nowhere_else(row: tuple[str, Any, str, str, Any]) -> None:
    name, value, call, keyword, expected = row
    usual = arguments("picture.png", complete_parameters({}))
    given = {} if name == "image" else {name: value}
    made = arguments(value if name == "image" else "picture.png", complete_parameters(given))
    assert getattr(made, call)[keyword] == pytest.approx(expected)
    assert getattr(usual, call)[keyword] != pytest.approx(expected)
    for other in CALLS:
        before, after = getattr(usual, other), getattr(made, other)
        assert before.keys() == after.keys()
        changed = {key for key in before if before[key] != after[key]}
        assert changed == ({keyword} if other == call else set())


def test_the_defaults_are_those_of_the_table() -> None:
    made = arguments("picture.png", complete_parameters({}))
    assert made.sparse_structure == {
        "steps": 12, "guidance_strength": 7.5, "guidance_rescale": 0.7, "guidance_interval": (0.6, 1.0),
        "rescale_t": 5.0,
    }  # fmt: skip
    assert made.to_glb["mesh_cluster_threshold_cone_half_angle_rad"] == pytest.approx(math.pi / 2)
    assert made.to_glb["decimation_target"] == BY_NAME["decimation_target"].default
    assert "verbose" not in made.sparse_structure | made.shape_slat | made.tex_slat


def test_settings_survive_the_environment(tmp_path: Any) -> None:
    settings = Settings(
        tmp_path / "w", tmp_path / "c", 3.5, frozenset({"nvdiffrast"}), True, "cpu", "lean", 12.0, "u2netp"
    )
    assert Settings.from_environment(settings.to_environment()) == settings
    assert Settings.from_environment(Settings().to_environment()) == Settings()
    assert Settings.from_environment({"ESPALIER_STAGES_GB": "much"}).cache_gb == CACHE_GB
    assert Settings.from_environment({}, settings) == settings, "what is not said is as usual"
    said = Settings.from_environment({"ESPALIER_FAST": "0", "ESPALIER_PLAN": "staged"}, settings)
    assert (said.fast, said.plan, said.weights) == (False, "staged", settings.weights)
    assert settings.unusual() == {"fast": True, "background": "u2netp"}
    assert Settings(settings.weights, settings.cache, plan="lean", device="cpu").unusual() == {}


def test_a_texture_seed_is_part_of_the_request_and_no_parameter() -> None:
    plain, own = (GenerationRequest.create("a.png", "trellis2", texture_seed=seed) for seed in (None, "7"))
    assert own.texture_seed == 7
    assert own.parameters == plain.parameters
    assert "texture_seed" not in plain.to_json(), "what is asked for without one is digested as ever"
    assert GenerationRequest.from_json(own.to_json()) == own
    assert GenerationRequest.from_json(plain.to_json()) == plain
    assert own.digest() != plain.digest()
    for wrong in (-1, 2**31, 1.5, "red", True):
        with pytest.raises(EspalierError) as caught:
            GenerationRequest.create("a.png", "trellis2", texture_seed=wrong)
        assert "texture_seed" in caught.value.cause
