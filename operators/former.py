# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rebuilt object was before: its figures, for comparison, and its mesh, which comes back from the library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy

from ..engine.errors import EspalierError
from ..engine.jobs.job import Job, State
from ..engine.request import request_from_json
from . import session
from .languages import OWN, say
from .scene.placement import read_properties

BEFORE, FACES, TEXTURE, TEXTURE_NOW = "before", "faces_before", "texture_before", "texture_now"
"""Custom properties of a rebuilt object: the jobs of its former meshes, oldest first; the figures of the last one of
these; and how large its texture is now."""


def library_folder(job: str) -> Path:
    """Return the folder of a finished job's result, whether or not it is still there."""
    return session.user_folder() / "library" / job


def history(target: bpy.types.Object, job: Job) -> dict[str, Any]:
    """Return what `target` is to remember of the mesh that it has, once it has the one of `job` instead."""
    properties = read_properties(target)
    known = [*str(properties.get(BEFORE, "")).split(), str(properties["job"])]
    texture = properties.get(TEXTURE_NOW) or _texture_of(known[-1]) or properties.get("texture_size")
    return _remembered(known, len(target.data.polygons), texture, job)


def _remembered(known: list[str], faces: object, texture: object, job: Job) -> dict[str, Any]:
    found = {BEFORE: " ".join(known), FACES: faces, TEXTURE: texture, TEXTURE_NOW: job.result.get("texture_size")}
    return {name: value if name == BEFORE else int(str(value)) for name, value in found.items() if value}


def can_revert(target: bpy.types.Object) -> bool:
    """Tell whether `target` had another mesh before. Quick, for drawing."""
    return bool(read_properties(target).get(BEFORE))


def compared(target: bpy.types.Object) -> list[tuple[str, str]]:
    """Return what to tell of a mesh beside the one before, as labels and values. Quick, for drawing."""
    properties = read_properties(target)
    faces = f"{len(target.data.polygons):,}"
    if FACES in properties:
        faces = say("{before} before, {now} now", before=f"{properties[FACES]:,}", now=faces)
    found = [(say("Faces"), faces)]
    if TEXTURE in properties and TEXTURE_NOW in properties:
        then, now = properties[TEXTURE], properties[TEXTURE_NOW]
        size = f"{now} px" if then == now else say("{before} px before, {now} px now", before=then, now=now)
        found.append((say("Texture"), size))
    return found


def former_mesh(target: bpy.types.Object) -> tuple[Job, dict[str, Any]]:
    """Return the finished job of the mesh that `target` had before, and what it is to remember with that mesh again.

    Raises EspalierError `asset_not_rebuilt`, or `asset_missing` where the library no longer has it.
    """
    known = str(read_properties(target).get(BEFORE, "")).split()
    if not known:
        raise EspalierError("asset_not_rebuilt", name=target.name)
    job = finished_job(known.pop())
    if not known:
        return job, {}
    facts = _result_of(known[-1])
    return job, _remembered(known, facts.get("faces"), facts.get("texture_size"), job)


def finished_job(name: str) -> Job:
    """Return a job of any time as the library has it. Raises EspalierError `asset_missing`, or as `request_from_json`.

    The ledger shows only the last ones, and none of another computer's.
    """
    folder = library_folder(name)
    try:
        request = request_from_json(json.loads((folder / "request.json").read_bytes()))
    except (OSError, ValueError) as error:
        raise EspalierError("asset_missing", repr(error), name=name) from error
    return Job(name, request, State.IMPORTED, folder=folder, result=_result_of(name))


def _result_of(job: str) -> Mapping[str, Any]:
    try:
        result = json.loads((library_folder(job) / "result.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return result if isinstance(result, dict) else {}


def _texture_of(job: str) -> object:
    return _result_of(job).get("texture_size")


class ESPALIER_OT_revert(bpy.types.Operator):
    """Bring back mesh and texture from before the last rebuild. Your own edits of them come back with Undo alone"""

    bl_idname = "espalier.revert"
    bl_label = "Revert"
    bl_translation_context = OWN
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Ask for an object that was rebuilt, and for object mode."""
        target = context.object
        if context.mode != "OBJECT":
            cls.poll_message_set(say("Go to Object Mode first"))
        elif target is None or target.type != "MESH" or not can_revert(target):
            cls.poll_message_set(say("Select an object whose mesh was rebuilt"))
        elif target.library is not None or target.data.library is not None:
            cls.poll_message_set(say("This object belongs to another file; revert it there"))
        else:
            return True
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Exchange the mesh for the one before."""
        from .scene.exchange import exchange_mesh  # NumPy, for which enabling must not wait

        target = context.object
        try:
            job, past = former_mesh(target)
            exchange_mesh(context, job, target, library_folder(str(read_properties(target)["job"])), past)
        except EspalierError as error:
            return session.refuse(self, error)
        session.redraw()
        count = f"{len(target.data.polygons):,}"
        self.report({"INFO"}, say("{name}: {count} faces, as before", name=target.name, count=count))
        return {"FINISHED"}
