# SPDX-License-Identifier: GPL-3.0-or-later
"""From a finished GLB to another, or to one a level of detail."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from ...errors import EspalierError
from ...mesh.baked_material import Format
from ...mesh.charts import ChartOptions
from ...mesh.full import FULL, load_full
from ...mesh.glb import Material, write_glb
from ...mesh.glb_parts import read_parts
from ...mesh.layout import level_folder
from ...mesh.parts import Whole, assemble
from ...mesh.prepare import prepare
from ...mesh.rebuild import STAGES, Level, Options, Relief, lods
from ...mesh.sample import VolumeAppearance
from ...progress import Run, Stage
from ...request import RebuildRequest, Request
from ..base import Asset


class RebuildBackend:
    """Reads a GLB, rebuilds it and writes it, with its other levels below `lods`."""

    name = "rebuild"
    version = "1.0"
    stages = (Stage("read", "Reading Asset", 2), *STAGES, Stage("write", "Writing Asset", 3))

    def generate(self, request: Request, folder: Path, run: Run) -> Asset:
        """Make the asset inside `folder`. Raises Cancelled, or EspalierError for the source, memory or the disk."""
        assert isinstance(request, RebuildRequest)
        source = Path(request.source)
        with run.stage("read"):
            if not source.is_file():
                raise EspalierError("asset_missing", name=request.source)
            whole, left_out = _read(source, run)
        targets = request.lods or (int(str(request.parameters["decimation_target"])),)
        material = replace(whole.material, name=request.name)
        levels = lods(whole.mesh, material, targets, options_of(request), appearance=whole.appearance, run=run)
        with run.stage("write"):
            for index, level in enumerate(levels):
                _write(level, level_folder(folder, index), request.name, index > 0, run)
                run.progress((index + 1) / len(levels))
            thumbnail = source.with_name("thumbnail.png")
            kept = folder / "thumbnail.png" if thumbnail.is_file() else None
            if kept is not None:
                shutil.copyfile(thumbnail, kept)
        facts = dict(levels[0].facts)
        if request.lods:
            facts["lods"] = [level.facts for level in levels]
        notices = dict.fromkeys((*left_out, *(notice for level in levels for notice in level.notices)))
        return Asset(folder / "asset.glb", kept, tuple(notices), facts)

    def close(self) -> None:
        """Nothing is held between jobs."""


def _read(source: Path, run: Run) -> tuple[Whole, Sequence[str]]:
    """Return what lies in the GLB `source`, or what it was itself made from where that was kept beside it.

    And sentences on what was left out. Raises EspalierError, Cancelled.
    """
    full = source.with_name(FULL)
    if source.name == "asset.glb" and full.is_file():
        mesh, volume = load_full(full)
        run.check()
        return Whole(mesh, Material(alpha_mode="BLEND"), VolumeAppearance(volume)), ()
    parts, left_out = read_parts(source, run)
    return assemble(parts), left_out


def options_of(request: RebuildRequest) -> Options:
    """Return what `request` asks for."""
    values = request.parameters
    return Options(
        resolution=int(str(values["resolution"])),
        remesh=bool(values["remesh"]),
        remesh_band=float(values["remesh_band"]),
        remesh_project=float(values["remesh_project"]),
        texture_size=int(str(values["texture_size"])),
        charts=ChartOptions(
            angle_threshold_deg=float(values["uv_unwrap_angle_threshold_deg"]),
            refine_iterations=int(values["uv_unwrap_refine_iterations"]),
            global_iterations=int(values["uv_unwrap_global_iterations"]),
            smooth_strength=float(values["uv_unwrap_smooth_strength"]),
        ),
        normal_map=cast("Relief", values["normal_map"]),
        drop_inner_shells=bool(values["drop_inner_shells"]),
        texture_format=cast("Format", values["texture_format"]),
    )


def _write(level: Level, folder: Path, name: str, prepared: bool, run: Run) -> None:
    """Write `asset.glb` into `folder`, and where the worker does not do it the arrays for the importer."""
    folder.mkdir(parents=True, exist_ok=True)
    write_glb(folder / "asset.glb", level.mesh, level.material, name=name)
    run.check()
    if prepared:
        prepare(folder / "asset.glb", folder / "import")
