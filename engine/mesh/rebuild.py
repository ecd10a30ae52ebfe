# SPDX-License-Identifier: GPL-3.0-or-later
"""Rebuilding: any textured triangle mesh becomes a clean one of a given size, unwrapped and textured anew.

The source is analysed once, for as many levels of detail as are asked for; each level is simplified from the one
before, and textured from the source itself.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import EspalierError
from ..progress import Run, Stage
from .aside import Aside
from .bake import CHANNELS, Source, Target, bake
from .baked_material import Format, material_of
from .charts import ChartOptions
from .clean import check_faces, clean
from .closest import Surface
from .model import Material, Mesh
from .morton import order_in_space
from .normals import vertex_normals
from .relay import Ahead, relayed
from .remesh import remesh
from .sample import Appearance, MaterialAppearance
from .shading import shade
from .simplify import simplify
from .topology import half_edges
from .unfold import unfold
from .unwrap import Unwrapped, unwrap

STAGES = (
    Stage("clean", "Cleaning Mesh", 8),
    Stage("remesh", "Remeshing", 30),
    Stage("simplify", "Simplifying", 15),
    Stage("unwrap", "Unwrapping", 25),
    Stage("bake", "Baking Textures", 22),
)
"""What `rebuild` enters of a run; the first two and the analysis happen once for all levels."""
Relief = Literal["auto", "on", "off"]
GUTTER = 2
"""Texels between charts."""
RELIEF_CREASE_DEG = 75.0
"""Edges that bend by more are sharp in spite of a normal map: one cannot tilt a normal as far without dark rims."""
MISSED = 1.05
"""How many times the faces that were asked for a level may have before that is worth a notice."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to rebuild. The names are those of the parameters; `charts` holds the four of the unwrapping."""

    resolution: int = 1024
    remesh: bool = True
    remesh_band: float = 1.0
    remesh_project: float = 0.9
    texture_size: int = 2048
    charts: ChartOptions = field(default_factory=ChartOptions)
    normal_map: Relief = "auto"
    drop_inner_shells: bool = True
    texture_format: Format = "png"


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """A finished mesh with its material, facts about it as plain JSON data, and sentences on what is not as asked."""

    mesh: Mesh
    material: Material
    facts: dict[str, Any]
    notices: tuple[str, ...]


@dataclass(slots=True, eq=False)
class _Shape:
    """A welded mesh: `positions` float64 (V, 3), `faces` int32 (F, 3)."""

    positions: npt.NDArray[np.float64]
    faces: npt.NDArray[np.int32]


def rebuild(
    mesh: Mesh,
    material: Material,
    target: int,
    options: Options | None = None,
    *,
    appearance: Appearance | None = None,
    run: Run | None = None,
) -> Level:
    """Return `mesh` with `material` rebuilt with about `target` faces. See `lods`."""
    return lods(mesh, material, [target], options, appearance=appearance, run=run)[0]


def lods(
    mesh: Mesh,
    material: Material,
    targets: Sequence[int],
    options: Options | None = None,
    *,
    appearance: Appearance | None = None,
    run: Run | None = None,
) -> list[Level]:
    """Return a level of about as many faces as each of `targets`, which must fall.

    `appearance` is what the source looks like in place of `material`, a volume of attributes for instance; then the
    mesh should come in the order of space (`order_in_space`). A source of fewer faces than a target stays as it is.
    `run` has the stages `STAGES`.
    Raises EspalierError mesh_empty, mesh_invalid, mesh_not_finite, unwrap_parts, texture_unreadable, and Cancelled.
    """
    options = options or Options()
    if not targets or any(one <= two for one, two in pairwise(targets)):
        raise ValueError(f"the targets {list(targets)} do not fall")
    with Aside(simplify, unwrap) as aside:
        with _stage(run, "clean"):
            # Remeshing needs neither, and simplifying takes apart what touches itself when it is done.
            manifold = not options.remesh and targets[0] >= len(mesh.faces)
            ours = appearance is None  # another may know the faces by their numbers
            mesh, shape = relayed(partial(_cleaned, mesh, ours, manifold, not options.remesh), run)
        if options.remesh:
            with _stage(run, "remesh"):
                shape = relayed(partial(_remeshed, shape, options), run)
        remeshed = len(shape.faces)
        with Ahead(lambda ahead: _analyzed(mesh, material, appearance, ahead)) as analysis:
            shapes: list[_Shape] = []
            with _stage(run, "simplify"):
                for index, target in enumerate(targets):
                    part = _part(run, index, len(targets))
                    shape = _Shape(*aside.call(simplify, shape.positions, shape.faces, target, run=part))
                    shapes.append(relayed(partial(_unfolded, shape), part))
            gc.collect()
            unwrapped = []
            with _stage(run, "unwrap"):
                for index, one in enumerate(shapes):
                    part = _part(run, index, len(shapes))
                    how = (options.charts, options.texture_size, GUTTER)
                    unwrapped.append(aside.call(unwrap, one.positions, one.faces, *how, run=part))
            with _stage(run, "bake"):
                baker = _Baker(material, *analysis.result(run), options)
                levels = []
                for index, (target, one, flat) in enumerate(zip(targets, shapes, unwrapped, strict=True)):
                    part = _part(run, index, len(shapes))
                    level = relayed(partial(baker.bake, one, flat, target), part)
                    if options.remesh:
                        level.facts["remeshed_faces"] = remeshed
                    levels.append(level)
        return levels


def _analyzed(mesh: Mesh, material: Material, appearance: Appearance | None, run: Run) -> tuple[Source, Surface]:
    """Return what baking wants to know of the source."""
    look = appearance or MaterialAppearance(material, mesh.positions, mesh.faces, mesh.uvs)
    surface = Surface(mesh.positions, mesh.faces, run=run)
    run.check()
    normals = _usable(mesh.normals)
    if normals is None:
        normals = vertex_normals(mesh.positions, mesh.faces)
    return Source(mesh.positions, mesh.faces, look, mesh.uvs, normals), surface


def _cleaned(mesh: Mesh, in_space: bool, manifold: bool, orient: bool, run: Run) -> tuple[Mesh, _Shape]:
    """Return `mesh`, in the order of space if wanted, and its cleaned shape."""
    check_faces(mesh.positions, mesh.faces)
    if in_space:
        mesh = _in_space(mesh)
        run.check()
    cleaned = clean(mesh.positions, mesh.faces, manifold=manifold, orient=orient, run=run)
    return mesh, _Shape(cleaned.positions, cleaned.faces)


def _remeshed(shape: _Shape, options: Options, run: Run) -> _Shape:
    how = (options.resolution, options.remesh_band, options.remesh_project)
    return _Shape(*remesh(shape.positions, shape.faces, *how, drop_hidden=options.drop_inner_shells, run=run))


def _unfolded(shape: _Shape, _: Run) -> _Shape:
    return _Shape(unfold(shape.positions, shape.faces)[0], shape.faces)


def _in_space(mesh: Mesh) -> Mesh:
    """Return `mesh` with its vertices and faces in the order of space, which all that follows profits from."""
    vertices, faces, _ = order_in_space(mesh.positions, mesh.faces)
    normals, uvs = (None if values is None else values[vertices] for values in (mesh.normals, mesh.uvs))
    return Mesh(mesh.positions[vertices], faces.astype(np.uint32), normals, uvs)


@dataclass(slots=True, eq=False)
class _Baker:
    """What the levels share."""

    material: Material
    source: Source
    surface: Surface
    options: Options

    def bake(self, shape: _Shape, flat: Unwrapped, asked: int, run: Run) -> Level:
        """Return the finished level of `shape`, unwrapped as `flat`."""
        options, source = self.options, self.source
        faces = len(shape.faces)
        relief = options.normal_map == "on" or (
            options.normal_map == "auto" and (2 * faces < len(source.faces) or source.appearance.has_normal_map)
        )
        mesh = _shaded(shape, flat, RELIEF_CREASE_DEG if relief else None)
        assert mesh.uvs is not None
        glows = any(self.material.emissive_factor)
        baked = bake(
            Target(mesh.positions, mesh.faces, mesh.uvs, None, mesh.normals),
            source,
            options.texture_size,
            channels=(*CHANNELS, "emissive") if glows else CHANNELS,
            normal_map=relief,
            surface=self.surface,
            run=run,
        )
        edges = half_edges(shape.faces)
        closed = bool((edges.count == 2).all())
        is_open = bool((edges.count == 1).any())
        made = material_of(baked, self.material, self.material.name, options.texture_format, is_open, run)
        facts = {
            "vertices": len(shape.positions),
            "faces": faces,
            "texture_size": options.texture_size,
            "alpha_mode": made.alpha_mode,
            "closed": closed,
            "charts": int(flat.charts.max()) + 1,
            "normal_map": relief,
            "source_faces": len(source.faces),
            "source_distance": round(baked.distance, 9),
        }
        return Level(mesh, made, facts, tuple(self._notices(faces, asked, relief)))

    def _notices(self, faces: int, asked: int, relief: bool) -> Iterator[str]:
        if faces > MISSED * asked:
            yield f"The mesh has {faces:,} faces: its shape does not allow fewer, though {asked:,} were asked for."
        if self.source.appearance.has_normal_map and not relief:
            yield "The source's normal map was left out, because Normal Map is off."
        if self.material.occlusion is not None:
            yield "The source's occlusion texture was left out: it does not fit another mesh."


def _shaded(shape: _Shape, flat: Unwrapped, crease_deg: float | None) -> Mesh:
    """Return the mesh with its vertices split where texture coordinates or normals differ."""
    corner_normals, normals = shade(shape.positions, shape.faces, *([] if crease_deg is None else [crease_deg]))
    key = flat.faces.astype(np.int64) * len(normals) + corner_normals
    distinct, inverse = np.unique(key.ravel(), return_inverse=True)
    vertex, normal = distinct // len(normals), distinct % len(normals)
    mesh = Mesh(
        shape.positions[flat.vertex_map[vertex]].astype(np.float32),
        inverse.reshape(-1, 3).astype(np.uint32),
        normals[normal],
        flat.uvs[vertex],
    )
    if not np.isfinite(mesh.positions).all():
        raise EspalierError("mesh_not_finite")
    return mesh


def _usable(normals: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32] | None:
    """Return `normals` if all have a length; a file may hold some that have none."""
    if normals is None or not (np.einsum("ij,ij->i", normals, normals) > 0.5).all():
        return None
    return normals


@contextmanager
def _stage(run: Run | None, name: str) -> Iterator[None]:
    if run is None:
        yield
        return
    with run.stage(name):
        yield


class _Part(Run):
    """One of several equal parts of the stage that another run is in."""

    def __init__(self, whole: Run, index: int, count: int) -> None:
        super().__init__((), lambda progress: None)
        self._whole, self._index, self._count = whole, index, count

    def progress(self, fraction: float, note: str = "") -> None:
        """Report the fraction of this part."""
        self._whole.progress((self._index + min(max(fraction, 0.0), 1.0)) / self._count, note)

    def check(self) -> None:
        """Raise Cancelled if the person no longer wants the result."""
        self._whole.check()


def _part(run: Run | None, index: int, count: int) -> Run | None:
    return None if run is None else _Part(run, index, count)
