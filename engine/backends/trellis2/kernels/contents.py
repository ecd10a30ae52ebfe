# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in for each package: its modules, and the names in them that upstream imports or calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import attention, conv_calls, dual_grid, sampling, transforms
from .absent import absent
from .cumesh import CuMesh

Contents = Mapping[str, Mapping[str, Any]]


def contents(name: str) -> Contents:
    """Return the modules of the package `name` as path -> names, every module after the one that holds it."""
    return _PACKAGES[name]()


def _flash_attn() -> Contents:
    functions = (
        *(attention.flash_attn_func, attention.flash_attn_qkvpacked_func, attention.flash_attn_kvpacked_func),
        attention.flash_attn_varlen_func,
        attention.flash_attn_varlen_qkvpacked_func,
        attention.flash_attn_varlen_kvpacked_func,
    )
    return {"flash_attn": {function.__name__: function for function in functions}}


def _flex_gemm() -> Contents:
    spconv = "flex_gemm.ops.spconv"
    return {
        "flex_gemm": {},
        "flex_gemm.ops": {},
        spconv: {
            "set_algorithm": conv_calls.set_algorithm,
            "set_hashmap_ratio": conv_calls.set_hashmap_ratio,
            "sparse_submanifold_conv3d": conv_calls.sparse_submanifold_conv3d,
            **absent(spconv, "sparse_conv3d"),
        },
        "flex_gemm.ops.grid_sample": {
            "set_hashmap_ratio": conv_calls.set_hashmap_ratio,
            "grid_sample_3d": sampling.grid_sample_3d,
            "grid_sample_3d_torch": sampling.grid_sample_3d,
        },
    }


def _cumesh() -> Contents:
    return {
        "cumesh": {"CuMesh": CuMesh, **absent("cumesh", "cuBVH", "Atlas")},
        "cumesh.remeshing": absent("cumesh.remeshing", "remesh_narrow_band_dc"),
    }


def _o_voxel() -> Contents:
    convert = "o_voxel.convert"
    unused = ("mesh_to_flexible_dual_grid", "textured_mesh_to_volumetric_attr", "blender_dump_to_volumetric_attr")
    return {
        "o_voxel": {},
        convert: {
            "flexible_dual_grid_to_mesh": dual_grid.flexible_dual_grid_to_mesh,
            **absent(convert, *unused),
        },
        "o_voxel.io": absent("o_voxel.io", "read", "write"),
        "o_voxel.postprocess": absent("o_voxel.postprocess", "to_glb"),
        "o_voxel.rasterize": absent("o_voxel.rasterize", "VoxelRenderer"),
        "o_voxel.serialize": absent("o_voxel.serialize", "encode_seq", "decode_seq"),
    }


def _nvdiffrast() -> Contents:
    names = ("RasterizeCudaContext", "RasterizeGLContext", "rasterize", "interpolate", "texture", "antialias")
    return {"nvdiffrast": {}, "nvdiffrast.torch": absent("nvdiffrast.torch", *names)}


def _torchvision() -> Contents:
    names = ("Resize", "ToTensor", "ToPILImage")
    return {
        "torchvision": {},
        "torchvision.transforms": {
            "Compose": transforms.Compose,
            "Normalize": transforms.Normalize,
            **absent("torchvision.transforms", *names),
        },
    }


_PACKAGES: Mapping[str, Callable[[], Contents]] = {
    "flash_attn": _flash_attn,
    "flex_gemm": _flex_gemm,
    "cumesh": _cumesh,
    "o_voxel": _o_voxel,
    "nvdiffrast": _nvdiffrast,
    "torchvision": _torchvision,
}
