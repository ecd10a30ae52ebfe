# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in has upstream's names and parameters: compared with the installed packages, or with sources in a folder.

The folder is named by TRELLIS2, as for `make test-trellis2`: one with `trellis2` and `o-voxel` in it.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

STANDIN = Path(__file__).resolve().parent / "standin"
CLAIMS = (
    *(
        ("trellis2.pipelines.trellis2_image_to_3d", f"Trellis2ImageTo3DPipeline.{name}")
        for name in (
            *("__init__", "preprocess_image", "get_cond", "sample_sparse_structure", "sample_shape_slat"),
            *("sample_shape_slat_cascade", "sample_tex_slat", "decode_shape_slat", "decode_tex_slat"),
        )
    ),
    ("trellis2.pipelines.samplers.flow_euler", "FlowEulerGuidanceIntervalSampler.sample"),
    ("trellis2.pipelines.samplers.flow_euler", "FlowEulerSampler.__init__"),
    ("trellis2.pipelines.samplers.flow_euler", "FlowEulerSampler.sample_once"),
    ("trellis2.pipelines.samplers.flow_euler", "FlowEulerSampler._get_model_prediction"),
    ("trellis2.pipelines.samplers.flow_euler", "FlowEulerSampler._v_to_xstart_eps"),
    ("trellis2.representations.mesh.base", "Mesh.__init__"),
    ("trellis2.representations.mesh.base", "Mesh.fill_holes"),
    ("trellis2.modules.sparse.basic", "SparseTensor.replace"),
    ("trellis2.models.sc_vaes.fdg_vae", "FlexiDualGridVaeDecoder.set_resolution"),
    ("trellis2.models.sc_vaes.sparse_unet_vae", "SparseUnetVaeDecoder.upsample"),
    ("o_voxel.postprocess", "to_glb"),
)
"""Upstream's module and the function in it; the stand-in's is looked for under the last class and name."""
RENAMED = {"FlowEulerSampler": "FlowEulerGuidanceIntervalSampler", "SparseUnetVaeDecoder": "FlexiDualGridVaeDecoder"}
"""Upstream's class -> the stand-in's that has its function, where it takes it over from another."""


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield each function of the file `path` with the name of its class; overloads are left out."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield f"{node.name}.{inner.name}", inner


def shape(function: ast.FunctionDef) -> list[tuple[str, bool]]:
    """Return the name of each parameter and whether it may be left out."""
    given = [*function.args.posonlyargs, *function.args.args]
    without = len(given) - len(function.args.defaults)
    found = [(one.arg, index >= without) for index, one in enumerate(given)]
    found += [
        (one.arg, value is not None)
        for one, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    ]
    return found


def claimed(name: str) -> list[tuple[str, bool]]:
    """Return the shape of the stand-in's function that claims to be upstream's `name`."""
    owner, dot, rest = name.rpartition(".")
    ours = f"{RENAMED.get(owner, owner)}{dot}{rest}"
    for path in sorted(STANDIN.rglob("*.py")):
        for found, function in functions(path):
            if found == ours:
                return shape(function)
    raise AssertionError(f"the stand-in has no {ours}")


def real(module: str) -> Path | None:
    """Return the file of upstream's `module`, in the folder that TRELLIS2 names or installed, or None."""
    top, _, rest = module.partition(".")
    below = Path(*rest.split(".")).with_suffix(".py")
    folder = os.environ.get("TRELLIS2", "")
    candidates = [Path(folder) / top / below, Path(folder) / top.replace("_", "-") / top / below] if folder else []
    spec = find_spec(top)
    if spec is not None and spec.origin is not None and not Path(spec.origin).is_relative_to(STANDIN):
        candidates.append(Path(spec.origin).parent / below)
    return next((path for path in candidates if path.is_file()), None)


@pytest.mark.parametrize(("module", "name"), CLAIMS, ids=[name for _, name in CLAIMS])
def test_the_stand_in_claims_what_upstream_has(module: str, name: str) -> None:
    ours = claimed(name)
    path = real(module)
    if path is None:
        pytest.skip(f"{module.partition('.')[0]} is neither installed nor in a folder that TRELLIS2 names")
    theirs = next((shape(function) for found, function in functions(path) if found == name), None)
    assert theirs is not None, f"{path} has no {name}"
    assert ours == theirs


def test_a_drift_would_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("class A:\n def f(self, a, b=1, *, c): pass\ndef g(a): pass\n")
    found = dict(functions(path))
    assert shape(found["A.f"]) == [("self", False), ("a", False), ("b", True), ("c", False)]
    assert shape(found["g"]) != shape(found["A.f"])
