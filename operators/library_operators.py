# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with a result, from its object or in the Asset Browser, and to the library as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy

from ..engine import provenance
from ..engine.errors import EspalierError
from ..engine.parameters import BY_NAME, REBUILD_PARAMETERS, REBUILD_SETTINGS, SETTINGS
from ..engine.request import complete_from, complete_parameters, is_url
from . import library, library_use, session
from .languages import OWN, msgid, say, sentence
from .scene.asset import properties_of
from .scene.asset_file import read_job
from .scene.placement import read_properties
from .settings import engine_items

NOT_OURS = msgid("Select an object or an asset that Espalier has made")


def job_at_hand(context: bpy.types.Context) -> str:
    """Return the job that made the asset chosen in the Asset Browser, else the active object; empty for others.

    Quick, for `poll` and drawing: no file is looked at.
    """
    chosen = getattr(context, "asset", None)
    if chosen is not None:
        path = chosen.full_library_path
        return next(library_use.below(library.folder(), path), "") if path else _job_of(chosen.local_id)
    return _job_of(context.object)


def _job_of(block: bpy.types.ID | None) -> str:
    return str(read_properties(block).get("job", "")) if isinstance(block, bpy.types.Object) else ""


def account_at_hand(context: bpy.types.Context, job: str = "") -> dict[str, Any]:
    """Return how the asset at hand, or the result of `job`, was made.

    Of an object it is what the object carries, which is there also where the library's files are gone. Raises
    EspalierError `asset_not_ours`, `asset_missing` or `request_invalid`.
    """
    target = context.object
    at_hand = job_at_hand(context)
    wanted = job or at_hand
    if not wanted:
        raise EspalierError("asset_not_ours", name=target.name if target else say("This"))
    if _job_of(target) == wanted:
        return read_properties(target)
    return properties_of(read_job(library.folder() / wanted))


def image_of(account: Mapping[str, Any]) -> str:
    """Return the image that an asset was made from: where it was then, else the library's copy.

    Raises EspalierError `image_missing` where neither is there any more.
    """
    before = provenance.generation(account)
    image = str(before.get("image", ""))
    if is_url(image) or (image and Path(image).is_file()):
        return image
    copies = [_copy(str(each.get("job", ""))) for each in (account, before)]
    copies.append(_copy(Path(str(account.get("source", ""))).parent.name))
    found = next((copy for copy in copies if copy is not None), None)
    if found is None:
        raise EspalierError("image_missing", path=image or say("of this asset"))
    return str(found)


def _copy(job: str) -> Path | None:
    kept = sorted((library.folder() / job / "image").glob("*")) if job else []
    return next((path for path in kept if path.is_file()), None)


class _AssetOperator:
    """Acts on `job`, by default on the asset at hand."""

    job: bpy.props.StringProperty(name="Job", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Ask for an asset that Espalier has made."""
        if job_at_hand(context):
            return True
        cls.poll_message_set(say(NOT_OURS))
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Do it, or say why not."""
        try:
            return self.act(context)
        except EspalierError as error:
            return session.refuse(self, error)


class ESPALIER_OT_use_settings(_AssetOperator, bpy.types.Operator):
    """Set the panel to the image, the engine and the settings that this asset was made with"""

    bl_idname = "espalier.use_settings"
    bl_label = "Use These Settings"
    bl_options = {"REGISTER", "UNDO"}

    def act(self, context: bpy.types.Context) -> set[str]:
        account = account_at_hand(context, self.job)
        settings = context.scene.espalier
        for name, value in settings_of(account).items():
            setattr(settings, name, value)
        engine = provenance.generation(account).get("engine")
        if engine in [item[0] for item in engine_items()]:
            settings.engine = engine
        if provenance.is_rebuilt(account):
            settings.lods = ", ".join(str(level) for level in account.get("lods", ()))
        try:
            image = image_of(account)
            if not is_url(image):
                settings.image = bpy.data.images.load(image, check_existing=True)
        except (EspalierError, RuntimeError) as error:
            why = sentence(error) if isinstance(error, EspalierError) else say("Its image cannot be read")
            self.report({"WARNING"}, say("{first}. {second}", first=say("The settings are set"), second=why))
        session.redraw()
        return {"FINISHED"}


def settings_of(account: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that an asset was made with; what this version does not know, or would refuse, is left out.

    Of a rebuilt asset those of its mesh are the rebuild's, but for the resolution, which also chooses the models.
    """
    before = provenance.generation(account)
    try:
        values = complete_parameters({p.name: before[p.name] for p in SETTINGS if p.name in before}) if before else {}
        if provenance.is_rebuilt(account):
            given = {p.name: account[p.name] for p in REBUILD_SETTINGS if p.name in account}
            rebuilt = complete_from(REBUILD_SETTINGS, given)
            values |= {name: value for name, value in rebuilt.items() if name != "resolution"}
    except EspalierError as error:
        raise EspalierError("request_invalid", str(error), reason=error.cause.rstrip(".")) from error
    if "decimation_target" in values:  # a rebuild goes lower than the panel's setting
        values["decimation_target"] = max(values["decimation_target"], int(BY_NAME["decimation_target"].minimum or 0))
    known = {p.name for p in (*SETTINGS, *REBUILD_PARAMETERS)}
    return {name: value for name, value in values.items() if name in known}


class ESPALIER_OT_regenerate(_AssetOperator, bpy.types.Operator):
    """Generate again from the image of this asset, with its engine and its settings, at the 3D cursor"""

    bl_idname = "espalier.regenerate"
    bl_label = "Regenerate"
    # Not undoable: it submits a job; the import that follows is the undo step.
    bl_options = {"REGISTER"}

    new_seed: bpy.props.BoolProperty(
        name="New Seed",
        description="Use another seed, for a variation; with the same seed the asset comes out the same",
        default=True,
        options={"SKIP_SAVE"},
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Let what generates ask about its price, as ever."""
        return self._run(context, "INVOKE_DEFAULT")

    def act(self, context: bpy.types.Context) -> set[str]:
        return self._generate(context, "EXEC_DEFAULT")

    def _run(self, context: bpy.types.Context, how: str) -> set[str]:
        try:
            return self._generate(context, how)
        except EspalierError as error:
            return session.refuse(self, error)

    def _generate(self, context: bpy.types.Context, how: str) -> set[str]:
        account = account_at_hand(context, self.job)
        before = provenance.generation(account)
        if not before.get("engine"):
            raise EspalierError("request_invalid", reason=msgid("nothing is known of how its source was generated"))
        values = {name: value for name, value in settings_of(before).items() if name in BY_NAME}
        if self.new_seed:
            import random

            seed = BY_NAME["seed"]
            values["seed"] = random.randint(int(seed.minimum or 0), int(seed.maximum or 0))
        try:
            # What it says besides the error that a person sees is raised here as well.
            result = bpy.ops.espalier.generate(how, filepath=image_of(account), engine=before["engine"], **values)
        except RuntimeError:
            return {"CANCELLED"}
        except TypeError as error:  # an engine that this version does not have
            raise EspalierError("request_invalid", repr(error), reason=msgid("its engine is not known here")) from error
        return {"CANCELLED"} if result == {"CANCELLED"} else {"FINISHED"}


class ESPALIER_OT_reveal(_AssetOperator, bpy.types.Operator):
    """Open the folder of this asset, with its GLB, image, request and full-resolution source"""

    bl_idname = "espalier.reveal"
    bl_label = "Reveal in Folder"
    bl_options = {"REGISTER"}

    def act(self, context: bpy.types.Context) -> set[str]:
        job = self.job or job_at_hand(context)
        folder = library.folder() / job
        if not job or not folder.is_dir():
            raise EspalierError("asset_missing", name=context.object.name if context.object else job)
        bpy.ops.wm.path_open("EXEC_DEFAULT", filepath=str(folder))
        return {"FINISHED"}


class _LibraryOperator:
    # Not undoable: the library is no part of the .blend.
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One thing at a time."""
        if library_use.state.working:
            cls.poll_message_set(say("The library is being looked at"))
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Begin it, or say why not."""
        try:
            self.act()
        except EspalierError as error:
            library_use.state.error = error
            self.report({"ERROR"}, sentence(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class ESPALIER_OT_measure_library(_LibraryOperator, bpy.types.Operator):
    """See how much the library takes on the disk and what would go, and bring what is missing into the Asset Browser"""

    bl_idname = "espalier.measure_library"
    bl_label = "Measure"
    bl_translation_context = OWN

    def act(self) -> None:
        library_use.measure()
        library.retry()


class ESPALIER_OT_clean_library(_LibraryOperator, bpy.types.Operator):
    """Delete the results that are older or more than the limits above, oldest first. \
What the open file or an unfinished job uses stays; files that are not open and link to a result lose it"""

    bl_idname = "espalier.clean_library"
    bl_label = "Clean Up"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Nothing goes that a person has not seen counted."""
        usage = library_use.state.usage
        if super().poll(context) and usage is not None and usage.surplus:
            return True
        cls.poll_message_set(say("Press Measure first. Nothing is older or more than the limits above"))
        return False

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask: what is deleted does not come back."""
        usage = library_use.state.usage
        count = f"{usage.surplus:,}" if usage is not None else ""
        message = say("{count} results are deleted for good", count=count) if count else ""
        return context.window_manager.invoke_confirm(
            self, event, title=say("Clean Up Library?"), message=message, confirm_text=say("Delete")
        )

    def act(self) -> None:
        library_use.clean_up()


OPERATORS = (
    *(ESPALIER_OT_use_settings, ESPALIER_OT_regenerate, ESPALIER_OT_reveal),
    *(ESPALIER_OT_measure_library, ESPALIER_OT_clean_library),
)
