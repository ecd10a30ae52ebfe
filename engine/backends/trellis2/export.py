# SPDX-License-Identifier: GPL-3.0-or-later
"""The finished mesh: by the compiled exporter in a child that can be thrown away, or else by our own rebuild."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import EspalierError
from ...mesh.aside import Aside
from ...mesh.baked_material import encode
from ...mesh.charts import ChartOptions
from ...mesh.full import in_space, volume_of
from ...mesh.glb import Material, Mesh, write_glb
from ...mesh.rebuild import Options, rebuild
from ...mesh.sample import VolumeAppearance
from ...progress import Run
from . import kernels
from .chain import Decoded
from .compiled import to_glb
from .device import Device
from .settings import NVDIFFRAST, Settings
from .stages import Guarded, Within

SOLID = 250
"""Alpha from which on a texel counts as opaque."""
GLASS = 1e-3
"""Share of texels below that from which on a material is transparent; less is noise of the decoder."""
_PACKAGES = ("o_voxel", "cumesh", "flex_gemm", "nvdiffrast", "cv2", "trimesh")


@dataclass(frozen=True, slots=True)
class Made:
    """The GLB, facts about it as plain JSON data, and sentences on what is not as asked."""

    glb: Path
    facts: dict[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


class _TimeUp(Exception):
    """The compiled exporter took longer than it may."""


def gltf_frame(decoded: Decoded) -> tuple[Any, Any]:
    """Return vertices and voxel coordinates in glTF's frame: x, z, -y of upstream's."""
    x, y, z = decoded.vertices.T
    i, j, k = decoded.coords.T
    return np.column_stack([x, z, -y]), np.column_stack([i, k, decoded.resolution - 1 - j])


def why_not_compiled(settings: Settings, device: Device) -> str:
    """Return why the compiled exporter cannot be used, to complete "because ..."; "" where it can."""
    if device.kind != "cuda":
        return "it needs CUDA"
    if NVDIFFRAST not in settings.licences:
        return "the license of nvdiffrast is not accepted"
    standing = set(kernels.installed())
    lacking = [name for name in _PACKAGES if name in standing or find_spec(name) is None]
    return f"{lacking[0]} is not installed" if lacking else ""


def export(
    decoded: Decoded,
    options: Mapping[str, Any],
    name: str,
    path: Path,
    run: Run,
    settings: Settings,
    device: Device,
) -> Made:
    """Write the GLB `path` of what was `decoded`. `options` are the keywords of upstream's `to_glb`.

    Raises EspalierError as `rebuild`, and Cancelled within a tenth of a second.
    """
    reason = why_not_compiled(settings, device)
    if not reason:
        try:
            return _compiled(decoded, options, name, path, run, settings.export_s, str(device.torch))
        except _TimeUp:
            reason = f"the compiled one took more than {settings.export_s:.0f} seconds"
        except MemoryError:
            reason = "the compiled one ran out of memory"
        except RuntimeError as error:
            reason = "the compiled one failed"
            print(f"the compiled exporter failed: {error}", flush=True)
        told = [f"The mesh was exported by Espalier's own exporter, because {reason}."]
    else:
        told = []
    made = _own(decoded, options, name, path, run)
    return Made(made.glb, {**made.facts, "exporter_reason": reason}, (*made.notices, *told))


def _compiled(
    decoded: Decoded, options: Mapping[str, Any], name: str, path: Path, run: Run, limit_s: float, where: str
) -> Made:
    """Export by `o_voxel.postprocess.to_glb`; raises _TimeUp, MemoryError, RuntimeError, Cancelled."""
    deadline = time.monotonic() + limit_s

    def in_time() -> None:
        if time.monotonic() > deadline:
            raise _TimeUp

    arrays = (decoded.vertices, decoded.faces, decoded.coords, decoded.attributes)
    with Aside() as aside:
        found = aside.call(to_glb, *arrays, decoded.resolution, where, dict(options), run=Guarded(run, in_time))
    mode = alpha_mode(found["base_color"][..., 3])
    color = found["base_color"] if mode == "BLEND" else np.ascontiguousarray(found["base_color"][..., :3])
    material = Material(
        name=name,
        base_color=encode(color, "png"),
        metallic_roughness=encode(found["metallic_roughness"], "png"),
        alpha_mode=mode,
        double_sided=found["double_sided"],
    )
    mesh = Mesh(found["positions"], found["faces"], _unit(found["normals"]), found["uvs"])
    write_glb(path, mesh, material, name=name)
    facts = {
        "vertices": len(mesh.positions),
        "faces": len(mesh.faces),
        "texture_size": int(color.shape[0]),
        "alpha_mode": mode,
        "exporter": "o_voxel",
    }
    return Made(path, facts)


def alpha_mode(alpha: Any) -> Any:
    """Return "BLEND" where more than a trace of `alpha` uint8 (H, W) is not opaque, else "OPAQUE"."""
    return "BLEND" if float((alpha < SOLID).mean()) > GLASS else "OPAQUE"


def _unit(normals: Any) -> Any:
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    up = np.array([0.0, 1.0, 0.0], np.float32)
    return np.where(length > 1e-6, normals / np.maximum(length, 1e-6), up).astype(np.float32)


def own_options(options: Mapping[str, Any], resolution: int) -> Options:
    """Return what the keywords of `to_glb` ask of our own rebuild."""
    return Options(
        resolution=resolution,
        remesh=bool(options["remesh"]),
        remesh_band=float(options["remesh_band"]),
        remesh_project=float(options["remesh_project"]),
        texture_size=int(options["texture_size"]),
        charts=ChartOptions(
            angle_threshold_deg=math.degrees(options["mesh_cluster_threshold_cone_half_angle_rad"]),
            refine_iterations=int(options["mesh_cluster_refine_iterations"]),
            global_iterations=int(options["mesh_cluster_global_iterations"]),
            smooth_strength=float(options["mesh_cluster_smooth_strength"]),
        ),
        normal_map="off",
    )


def _own(decoded: Decoded, options: Mapping[str, Any], name: str, path: Path, run: Run) -> Made:
    positions, coords = gltf_frame(decoded)
    mesh = in_space(positions, decoded.faces)
    look = VolumeAppearance(volume_of(coords, decoded.attributes, decoded.resolution))
    level = rebuild(
        mesh,
        Material(name=name, alpha_mode="BLEND"),
        int(options["decimation_target"]),
        own_options(options, decoded.resolution),
        appearance=look,
        run=Within(run),
    )
    if options["verbose"]:
        print(f"export: {level.facts}", flush=True)
    write_glb(path, level.mesh, level.material, name=name)
    return Made(path, {**level.facts, "exporter": "espalier"}, level.notices)


def ensure_some(decoded: Decoded, path: str) -> None:
    """Raise EspalierError `trellis2_empty` where nothing was decoded."""
    if not len(decoded.faces) or not len(decoded.coords):
        raise EspalierError("trellis2_empty", path=path)
