# SPDX-License-Identifier: GPL-3.0-or-later
"""Several seeds of one image: a row of previews, of which some are kept and the others discarded."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import bpy

from ..engine.errors import EspalierError
from ..engine.parameters import BY_NAME, ENGINES
from ..engine.request import GenerationRequest
from . import placing, session
from .generate import Generation
from .languages import say, sentence
from .scene import placement as scene_placement
from .scene import row
from .scene.asset import discard_asset
from .scene.pose import Pose
from .settings import VARIATIONS_PROPERTY

VARIATIONS = "variations"
"""Member of a snapshot: the group of the row, and which place in it."""
USUAL = 1.0
"""Size of an asset that nobody has given a height: engines work in a unit cube."""


def seeds(start: int, count: int) -> list[int]:
    """Return `count` seeds from `start` on; after the largest comes the smallest."""
    seed = BY_NAME["seed"]
    low, high = int(seed.minimum), int(seed.maximum)
    return [low + (start - low + step) % (high - low + 1) for step in range(count)]


def same_reason(engine: str) -> EspalierError | None:
    """Return why variations of `engine` would all be the same, None where they are not. Quick, for drawing."""
    reason = BY_NAME["seed"].ignored_by.get(engine)
    if reason is None:
        return None
    label = next(known.label for known in ENGINES if known.name == engine)
    return EspalierError("variations_same", engine=label, reason=reason)


class ESPALIER_OT_generate_variations(Generation, bpy.types.Operator):
    """Generate the image with several seeds, from the panel's own on, as a row of previews to choose from"""

    bl_idname = "espalier.generate_variations"
    bl_label = "Generate Variations"

    count: VARIATIONS_PROPERTY

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """As Generate, and with an engine that makes something else of another seed."""
        error = same_reason(context.scene.espalier.engine)
        if error is not None and not bpy.app.background:
            cls.poll_message_set(sentence(error))
            return False
        return super().poll(context)

    def _count(self, context: bpy.types.Context) -> int:
        return self.count if self.properties.is_property_set("count") else context.scene.espalier.variations

    def _submit(self, context: bpy.types.Context) -> list[str]:
        """Hand over a job for each seed, all of one group. Raises EspalierError, with none of them handed over."""
        error = same_reason(self._chosen(context)[0])
        if error is not None:
            raise error
        placement = self._placement(context)
        first, notice = self._request(context)
        group, count = uuid.uuid4().hex, self._count(context)
        jobs = []
        for index, seed in enumerate(seeds(int(first.parameters["seed"]), count)):
            values = {**first.parameters, "seed": seed}
            request = GenerationRequest.create(first.image, first.engine, values, first.name)
            place = {**placement, VARIATIONS: {"group": group, "index": index, "count": count}}
            jobs.append(session.submit(request, context, place, notice))
        return jobs


def place_preview(
    context: bpy.types.Context, target: bpy.types.Object, placement: Mapping[str, Any], scene: bpy.types.Scene
) -> None:
    """Put `target`, new and in no collection, into the row that `placement` names, and let it be seen.

    What is selected stays so: several come, and each at a time that nobody has chosen.
    """
    number = placement[VARIATIONS]
    kept = {name: value for name, value in placement.items() if name != VARIATIONS}
    pose, size = _row_pose(context, placement, scene)
    view_layer = scene_placement.view_layer_of(context, scene)
    (home,) = scene_placement.seen_of(view_layer, scene, [placing.collection_of(placement, scene)])
    properties = scene_placement.read_properties(target)
    line = row.row_of(scene, str(number["group"]), str(properties["name"]), home)
    scene_placement.link(target, [line])
    row.lay(target, pose, size, int(number["index"]))
    row.mark(target, str(number["group"]), json.dumps(kept))
    target.name = f"{properties['name']} (Seed {properties['seed']})"
    view_layer.update()
    scene_placement.show(context, target, view_layer, select=False)


def _row_pose(context: bpy.types.Context, placement: Mapping[str, Any], scene: bpy.types.Scene) -> tuple[Pose, float]:
    """Return where the row starts and how it is turned, and the size of the place beside it."""
    pose = placing.pose_of(placement, scene)
    place = placing.stand_in_of(placement, context, session.session.file)
    if place is None:
        return pose, pose.height or USUAL
    box, _old = place
    return replace(pose, location=box.base, turn=pose.turn + box.matrix.to_euler().z), box.size or USUAL


def _in_object_mode(operator: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Tell whether objects may be moved and removed now; if not, `operator` shows why. For `poll`."""
    if context.mode != "OBJECT":
        operator.poll_message_set(say("Go to Object Mode first"))
        return False
    return True


class _RowOperator:
    bl_options = {"REGISTER", "UNDO"}

    target: bpy.props.StringProperty(name="Object", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Ask for object mode."""
        return _in_object_mode(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Do it with the object that is named, else with all previews that are selected."""
        chosen = [bpy.data.objects.get(self.target)] if self.target else list(context.selected_objects)
        chosen = [item for item in chosen if row.is_preview(item)]
        try:
            if not chosen:
                raise EspalierError("variation_none")
            for item in chosen:
                self.act(context, item)
        except EspalierError as error:
            return session.refuse(self, error)
        return {"FINISHED"}

    def act(self, context: bpy.types.Context, target: bpy.types.Object) -> None:
        """Do it with one preview. May raise EspalierError."""


class ESPALIER_OT_keep_variation(_RowOperator, bpy.types.Operator):
    """Take this variation out of the row and place it, in its real size, where the asset was asked for"""

    bl_idname = "espalier.keep_variation"
    bl_label = "Keep"

    def act(self, context: bpy.types.Context, target: bpy.types.Object) -> None:
        """Place it; beside those that were kept before it."""
        scene = next((known for known in target.users_scene if known == context.scene), None) or target.users_scene[0]
        group, text = row.take_out(target)
        placement = json.loads(text)
        across = _row_pose(context, placement, scene)[0].across
        earlier = [row.width_across(item, across) for item in row.kept(group) if item != target]
        beside = across * (row.BESIDE * len(earlier) * max(earlier, default=0.0))
        told = placing.arrange(context, target, placement, scene, session.session.file, beside)
        target.name = str(scene_placement.read_properties(target)["name"])
        self.report({"INFO"}, say("{first}. {second}", first=target.name, second=told) if told else target.name)


class ESPALIER_OT_discard_variation(_RowOperator, bpy.types.Operator):
    """Take this variation out of the scene. It stays in the library"""

    bl_idname = "espalier.discard_variation"
    bl_label = "Discard"

    def act(self, _context: bpy.types.Context, target: bpy.types.Object) -> None:
        homes = list(target.users_collection)
        discard_asset(target)
        row.remove_empty(homes)


class ESPALIER_OT_discard_row(bpy.types.Operator):
    """Take the variations that are left in this row out of the scene. They stay in the library"""

    bl_idname = "espalier.discard_row"
    bl_label = "Discard the Rest"
    bl_options = {"REGISTER", "UNDO"}

    group: bpy.props.StringProperty(name="Row", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Ask for object mode."""
        return _in_object_mode(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remove what is in the row; what somebody else has put there stays."""
        for line in list(row.rows(context.scene)):
            if line[row.MARK] == self.group and line.library is None:
                for item in row.previews(line):
                    discard_asset(item)
                row.remove_empty([line])
        return {"FINISHED"}


OPERATORS = (
    ESPALIER_OT_generate_variations,
    ESPALIER_OT_keep_variation,
    ESPALIER_OT_discard_variation,
    ESPALIER_OT_discard_row,
)
