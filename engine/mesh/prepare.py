# SPDX-License-Identifier: GPL-3.0-or-later
"""Turning a GLB into arrays that Blender's main thread only has to copy."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import EspalierError
from ..files import unwritable
from .edges import find_edges, find_hard_edges
from .glb import Material, Mesh, Texture, read_glb
from .layout import DESCRIPTION, VERSION
from .model import SUFFIXES
from .textures import inspect_texture
from .weld import Welded, weld

_MOST_CORNERS = 2**31 - 1


class Progressing(Protocol):
    """What `prepare` needs of a run: to report a fraction, and to be stopped by what that raises."""

    def progress(self, fraction: float, note: str = "") -> None:
        """Report how much is done, 0 to 1."""
        ...


def prepare(glb: Path, folder: Path, run: Progressing | None = None) -> dict[str, Any]:
    """Write the arrays and images of the file `glb` into `folder`, which appears whole or not at all.

    All arrays are NumPy files in glTF's frame, welded by position (V vertices, F triangles, E edges):
    `position` float32 (V, 3), `corner_vert` and `corner_edge` int32 (3F,), `edge_vert` int32 (E, 2), `uv` float32
    (3F, 2), V down, where the file has UVs, `sharp_edge` bool (E,) where its normals make any edge hard. The images
    keep their bytes. `import.json` describes them.

    Returns the facts `vertices`, `faces`, `edges`, `texture_size`, `alpha_mode` and the numbers of dropped faces.
    Raises EspalierError `glb_invalid`, `glb_unsupported`, `disk_full` or `output_unwritable`, and what `run` raises.
    """
    folder = Path(folder)
    report = run.progress if run is not None else _silent
    report(0.0)
    mesh, material = read_glb(glb)
    if mesh.faces.size > _MOST_CORNERS:
        raise EspalierError("glb_unsupported", path=glb, reason="more than 700 million triangles")
    report(0.1)
    partial = folder.with_name(f".{secrets.token_hex(8)}")
    try:
        partial.mkdir(parents=True)
        description = _write(glb, mesh, material, partial, report)
        (partial / DESCRIPTION).write_text(json.dumps(description, indent=1, allow_nan=False), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    report(1.0)
    return _facts(description)


def _silent(fraction: float, note: str = "") -> None:
    pass


def _write(glb: Path, mesh: Mesh, material: Material, folder: Path, report: Callable[[float], None]) -> dict[str, Any]:
    """Write arrays and images into `folder`; return the description of them."""
    images, alpha = _write_images(glb, material, folder, report)
    report(0.4)
    welded = weld(mesh.positions, mesh.faces)
    if not len(welded.corner_vert):
        raise EspalierError("glb_invalid", path=glb, reason="all of its triangles are degenerate")
    report(0.6)
    edges, corner_edge = find_edges(welded.corner_vert)
    report(0.8)
    arrays: dict[str, npt.NDArray[Any]] = {
        "position": welded.positions,
        "corner_vert": welded.corner_vert.reshape(-1),
        "edge_vert": edges,
        "corner_edge": corner_edge.reshape(-1),
    }
    if mesh.uvs is not None:
        arrays["uv"] = mesh.uvs[welded.corner_source.reshape(-1)]
    hard = _hard_edges(mesh, welded, edges, corner_edge)
    if hard is not None:
        arrays["sharp_edge"] = hard
    report(0.9)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    return {
        "version": VERSION,
        "vertices": len(welded.positions),
        "faces": len(welded.corner_vert),
        "edges": len(edges),
        "flat": mesh.normals is None,
        "degenerate_faces": welded.degenerate,
        "duplicate_faces": welded.duplicate,
        "images": images,
        "material": _describe(material, alpha),
    }


def _hard_edges(
    mesh: Mesh, welded: Welded, edges: npt.NDArray[np.int32], corner_edge: npt.NDArray[np.int32]
) -> npt.NDArray[np.bool_] | None:
    if mesh.normals is None:
        return None
    hard = find_hard_edges(edges, welded.corner_vert, corner_edge, welded.corner_source, mesh.normals)
    return hard if hard.any() else None


def _write_images(
    glb: Path, material: Material, folder: Path, report: Callable[[float], None]
) -> tuple[dict[str, Any], int]:
    """Write each distinct image once; return their description by role, and the base color's lowest alpha."""
    files: dict[bytes, str] = {}
    images: dict[str, Any] = {}
    lowest = 255
    for number, (role, texture) in enumerate(material.textures().items()):
        report(0.1 + 0.06 * number)
        try:
            facts = inspect_texture(texture)
        except ValueError as error:
            reason = f"its {role.replace('_', ' ')} texture cannot be used, {error}"
            raise EspalierError("glb_invalid", detail=repr(error.__cause__), path=glb, reason=reason) from error
        if role == "base_color":
            lowest = facts.lowest_alpha
        images[role] = {
            "file": _write_image(files, role, texture, folder),
            "width": facts.width,
            "height": facts.height,
            "wrap": texture.wrap,
            "nearest": texture.nearest,
        }
    return images, lowest


def _write_image(files: dict[bytes, str], role: str, texture: Texture, folder: Path) -> str:
    if texture.data not in files:
        files[texture.data] = role + SUFFIXES[texture.mime]
        (folder / files[texture.data]).write_bytes(texture.data)
    return files[texture.data]


def _describe(material: Material, lowest_alpha: int) -> dict[str, Any]:
    """Return the material's fields but its textures, and whether any of it is really transparent."""
    alpha = material.base_color_factor[3] * lowest_alpha / 255
    limit = material.alpha_cutoff if material.alpha_mode == "MASK" else 1.0
    return {
        "name": material.name,
        "base_color_factor": material.base_color_factor,
        "metallic_factor": material.metallic_factor,
        "roughness_factor": material.roughness_factor,
        "emissive_factor": material.emissive_factor,
        "normal_scale": material.normal_scale,
        "occlusion_strength": material.occlusion_strength,
        "alpha_mode": material.alpha_mode,
        "alpha_cutoff": material.alpha_cutoff,
        "double_sided": material.double_sided,
        "transparent": material.alpha_mode != "OPAQUE" and alpha < limit,
    }


def _facts(description: dict[str, Any]) -> dict[str, Any]:
    """Return what a person wants to know of the asset, out of its description."""
    sides = [max(image["width"], image["height"]) for image in description["images"].values()]
    return {
        "vertices": description["vertices"],
        "faces": description["faces"],
        "edges": description["edges"],
        "texture_size": max(sides, default=0),
        "alpha_mode": description["material"]["alpha_mode"],
        "degenerate_faces": description["degenerate_faces"],
        "duplicate_faces": description["duplicate_faces"],
    }
