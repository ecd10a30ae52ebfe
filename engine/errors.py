# SPDX-License-Identifier: GPL-3.0-or-later
"""Every failure that a person can meet: a code, one sentence of cause, one sentence of remedy.

Nothing else is ever shown to a person; a traceback goes to the log as `detail`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .batch_errors import BATCH, BATCH_WRONG_ARGUMENTS
from .environment_errors import ENVIRONMENT, ENVIRONMENT_ARGUMENTS
from .input_errors import INPUT
from .remote_errors import REMOTE, WRONG_ARGUMENTS
from .server_errors import SERVER, SERVER_ARGUMENTS
from .trellis2_errors import TRELLIS2
from .weights_errors import WEIGHTS, WEIGHTS_WRONG_ARGUMENTS

USAGE = 2
"""Exit code of a command that was given wrong arguments."""
FAILURE = 1
"""Exit code of a command that was given right arguments and failed."""

_SHORT = "This takes about {need} GB of graphics memory, and {free} GB are free."

CATALOGUE: Mapping[str, tuple[int, str, str]] = {
    # The image
    "image_none": (USAGE, "No image is chosen.", "Choose an image in the Espalier panel or name a file."),
    "image_missing": (FAILURE, "The image {path} does not exist.", "Choose a file that exists."),
    "image_denied": (FAILURE, "The image {path} may not be read.", "Give yourself permission to read it."),
    "image_empty": (FAILURE, "The image {path} is empty.", "Export or download it again."),
    "image_unreadable": (
        FAILURE,
        "{path} is not an image in a format that can be read.",
        "Use a PNG, JPEG, WebP, TIFF or BMP file.",
    ),
    "image_truncated": (FAILURE, "The image {path} is cut off.", "Export or download it again."),
    "image_damaged": (FAILURE, "The image {path} is damaged.", "Export or download it again."),
    "image_opaque": (
        FAILURE,
        "The image {path} has no transparency that shows the outline of the subject.",
        "Switch Prepare Image on, or use an image with a transparent background.",
    ),
    "image_too_large": (
        FAILURE,
        "The image {path} has {width} x {height} pixels, more than the limit of {limit} on a side or {pixels} in all.",
        "Scale it down; 1024 pixels on the longest side are enough.",
    ),
    "image_too_small": (
        FAILURE,
        "The image {path} has only {width} x {height} pixels.",
        "Use an image of at least {limit} pixels on each side.",
    ),
    "image_transparent": (
        FAILURE,
        "The image {path} is completely transparent.",
        "Export it again with the subject visible.",
    ),
    "image_no_subject": (
        FAILURE,
        "No subject stands out from the background of {path}.",
        "Use an image with a transparent background, or one whose background differs from the subject.",
    ),
    "background_busy": (
        FAILURE,
        "The background of {path} is too busy to be told from the subject.",
        "Remove the background first, or photograph the subject before a plain backdrop.",
    ),
    "image_not_a_file": (
        FAILURE,
        "The {engine} engine cannot fetch {path} from the network.",
        "Download the image and choose the file.",
    ),
    "image_not_saved": (
        FAILURE,
        "The image {name} holds no pixels that could be saved.",
        "Render or load it again, then generate.",
    ),
    # Parameters
    "parameter_unknown": (
        USAGE,
        "There is no parameter called {name}.",
        "{suggestion}",
    ),
    "parameter_type": (USAGE, "{name} cannot be {value}.", "Give {expected}."),
    "parameter_range": (
        USAGE,
        "{name} cannot be {value}.",
        "Give a value from {minimum} to {maximum}.",
    ),
    "parameter_choice": (USAGE, "{name} cannot be {value}.", "Choose one of {choices}."),
    "interval_order": (
        USAGE,
        "{start} ({start_value}) lies above {end} ({end_value}).",
        "Lower the start or raise the end of the interval.",
    ),
    "pipeline_mismatch": (
        USAGE,
        "The pipeline {pipeline_type} does not produce the resolution {resolution}.",
        "Set only one of the two, or set pipeline_type to {matching}.",
    ),
    "engine_unknown": (USAGE, "There is no engine called {name}.", "Choose one of {known}."),
    "request_invalid": (FAILURE, "The stored request cannot be read: {reason}.", "Generate again from the image."),
    "arguments_invalid": (USAGE, "{reason}.", "Add --help to see what the command takes."),
    # Files that are written
    "output_unwritable": (FAILURE, "{path} cannot be written: {reason}.", "Choose a place that you may write to."),
    "output_type": (USAGE, "{path} does not end in {suffix}.", "Give a file name that ends in {suffix}."),
    "output_conflict": (
        USAGE,
        "Several images would be written to the one file {path}.",
        "Give a folder, or one image at a time.",
    ),
    "disk_full": (FAILURE, "The disk that holds {path} is full.", "Free some space and try again."),
    "preview_failed": (FAILURE, "The preview could not be rendered: {reason}.", "Open the .blend and render it there."),
    # Meshes
    "glb_invalid": (FAILURE, "{path} is not a valid GLB file: {reason}.", "Generate or export it again."),
    "glb_unsupported": (
        FAILURE,
        "{path} uses a feature of glTF that is not read here: {reason}.",
        "Import it with Blender's glTF importer.",
    ),
    "import_failed": (
        FAILURE,
        "The asset {name} could not be brought into the scene: {reason}.",
        "Press Import to try again; the asset is kept in the library.",
    ),
    "mesh_empty": (
        FAILURE,
        "The mesh has no triangle with an area.",
        "Choose a mesh with at least one visible face.",
    ),
    "mesh_not_finite": (
        FAILURE,
        "The mesh has positions or texture coordinates that are not numbers.",
        "Repair or export it again.",
    ),
    "mesh_invalid": (
        FAILURE,
        "The mesh cannot be worked on: {reason}.",
        "Repair or export it again.",
    ),
    "remesh_dense": (
        FAILURE,
        "At this resolution the surface fills more than {bricks} million bricks of voxels, too many to remesh.",
        "Lower the resolution, or turn Remesh off.",
    ),
    "unwrap_parts": (
        FAILURE,
        "The mesh has {parts} separate parts, more than fit on a texture of {size} x {size} pixels.",
        "Raise the texture size, or turn Remesh on.",
    ),
    "mesh_without_uvs": (
        FAILURE,
        "No triangle of the mesh has an area in its texture coordinates.",
        "Unwrap the mesh again, then bake.",
    ),
    "texture_unreadable": (
        FAILURE,
        "The {role} texture of the asset cannot be read: {reason}.",
        "Export the asset again, or remove the texture from it.",
    ),
    "asset_none": (USAGE, "No asset is chosen.", "Select an object that Espalier made, or name a GLB file."),
    "asset_not_ours": (
        FAILURE,
        "{name} is not an asset of Espalier.",
        "Select an object that Espalier has placed in the scene.",
    ),
    "asset_not_rebuilt": (
        FAILURE,
        "{name} was not rebuilt, so there is no mesh to go back to.",
        "Select an object whose mesh was rebuilt.",
    ),
    "placement_no_object": (
        USAGE,
        "No object is selected whose place the asset could take.",
        "Select an object that has a size, or choose another place under Placement.",
    ),
    "variations_same": (
        USAGE,
        "Variations of the {engine} engine would all be the same: {reason}.",
        "Choose another engine, or press Generate.",
    ),
    "variation_none": (USAGE, "No variation is selected.", "Select one in the row of variations."),
    "lods_invalid": (
        USAGE,
        "{value} is not a number of faces for a level of detail.",
        "Give whole numbers from {minimum} to {maximum}, separated by commas.",
    ),
    "lods_many": (USAGE, "{count} levels of detail are too many.", "Give at most {most}."),
    "asset_missing": (FAILURE, "The files of the asset {name} are gone.", "Generate it again."),
    "asset_file_failed": (
        FAILURE,
        "{count} finished assets could not be shown in the Asset Browser: {reason}.",
        "They stay in the library; look at the console, then press Measure to try again.",
    ),
    "library_shared": (
        FAILURE,
        "Another Blender works with the same library and may use what would go.",
        "Close it, then clean up.",
    ),
    # Workers
    "worker_start": (
        FAILURE,
        "The {engine} engine did not start: {reason}.",
        "Look at the log in {log}, then try again.",
    ),
    "worker_died": (
        FAILURE,
        "The {engine} engine stopped without a result ({reason}).",
        "Try again; if it happens twice, look at the log in {log}.",
    ),
    "worker_silent": (
        FAILURE,
        "The {engine} engine has not answered for {seconds} seconds and was stopped.",
        "Try again; if it happens twice, look at the log in {log}.",
    ),
    "worker_garbled": (
        FAILURE,
        "The {engine} engine sent something that is not a message and was stopped.",
        "Try again; if it happens twice, look at the log in {log}.",
    ),
    "memory_full": (
        FAILURE,
        "The {engine} engine ran out of memory.",
        "Lower the resolution or the texture size, or close other programs.",
    ),
    "memory_short_plan": (FAILURE, _SHORT, "Set Memory Plan to Automatic in the preferences, which would fit."),
    "memory_short_smaller": (FAILURE, _SHORT, "Choose the resolution {resolution}, which would fit."),
    "memory_short_others": (FAILURE, _SHORT, "Close other programs that use the graphics card, then it would fit."),
    "memory_short": (FAILURE, _SHORT, "Choose the remote engine, which needs no graphics memory here."),
    "rebuild_impossible": (
        FAILURE,
        "Rebuilding needs libigl, which nobody builds for Macs with an Intel processor.",
        "Rebuild the asset on another computer, or use Blender's Decimate modifier on it.",
    ),
    "module_missing": (
        FAILURE,
        "The Python module {module} that the {engine} engine needs is missing.",
        "Install Espalier again from its zip; the module comes with it.",
    ),
    "python_missing": (
        FAILURE,
        "No Python interpreter was found beside Blender.",
        "Set ESPALIER_PYTHON to the Python that this Blender was built with.",
    ),
    # Jobs
    "job_unknown": (FAILURE, "There is no job {job}.", "Generate again."),
    "job_state": (FAILURE, "The job {job} is {state} and cannot be {act}.", "Wait for it, or start a new one."),
    "job_stopped": (FAILURE, "The job for {name} was stopped.", "Run it again to get the asset."),
    "job_interrupted": (
        FAILURE,
        "Blender closed before the job for {name} was finished.",
        "Press Retry to run it again.",
    ),
    "job_outcome_unknown": (
        FAILURE,
        "Blender closed while the job for {name} was being handed over, so its outcome is not known.",
        "Look at the account's usage before you press Retry, which may be billed again.",
    ),
    "job_contact_lost": (
        FAILURE,
        "Contact with the {engine} engine was lost while the job for {name} was under way.",
        "Look at the account's usage before you press Retry, which may be billed again.",
    ),
    "job_cancelled_there": (
        FAILURE,
        "The job for {name} was cancelled, also at its server, which may bill it all the same.",
        "Press Retry to generate it again, which is billed again.",
    ),
    "job_cancelled_late": (
        FAILURE,
        "The job for {name} was cancelled after its server had been asked for it, which may still bill it.",
        "Press Retry to fetch the asset if the server finishes it all the same.",
    ),
    "job_cancelled_blind": (
        FAILURE,
        "The job for {name} was cancelled while it was being handed to its server, which may bill it.",
        "Look at the account's usage before you press Retry, which may be billed again.",
    ),
    "blend_missing": (
        FAILURE,
        "The file {path} that {name} was made for is gone.",
        "Import it here, or put it away; it stays in the library.",
    ),
    "question_unanswered": (
        FAILURE,
        "The {engine} engine gave no answer about its {question}.",
        "Try again.",
    ),
    "ledger_busy": (
        FAILURE,
        "The job ledger {path} is held by another program.",
        "Close the other program that uses it, then try again.",
    ),
    "ledger_damaged": (
        FAILURE,
        "The job ledger {path} is damaged.",
        "Move the file away; finished assets stay in the library.",
    ),
    "ledger_newer": (
        FAILURE,
        "The job ledger {path} was written by a newer Espalier.",
        "Update Espalier.",
    ),
    "internal": (
        FAILURE,
        "Something unexpected happened ({reason}).",
        "Look at the log in {log}, and report it with the log attached.",
    ),
    **{code: (USAGE if code in WRONG_ARGUMENTS else FAILURE, *sentences) for code, sentences in REMOTE.items()},
    **{code: (FAILURE, *sentences) for code, sentences in INPUT.items()},
    **{code: (FAILURE, *sentences) for code, sentences in TRELLIS2.items()},
    **{code: (USAGE if code in WEIGHTS_WRONG_ARGUMENTS else FAILURE, *texts) for code, texts in WEIGHTS.items()},
    **{code: (USAGE if code in BATCH_WRONG_ARGUMENTS else FAILURE, *texts) for code, texts in BATCH.items()},
    **{code: (USAGE if code in SERVER_ARGUMENTS else FAILURE, *words) for code, words in SERVER.items()},
    **{code: (USAGE if code in ENVIRONMENT_ARGUMENTS else FAILURE, *words) for code, words in ENVIRONMENT.items()},
}
"""code -> (exit code, sentence of cause, sentence of remedy), both with the fields of `EspalierError.fields`."""


class EspalierError(Exception):
    """A failure that a person can meet, named by a code of `CATALOGUE`.

    `fields` fill the two sentences. `detail` is for the log alone: a traceback, a library's own words.
    """

    def __init__(self, code: str, /, detail: str = "", **fields: object) -> None:
        self.code = code
        self.fields = {name: str(value) for name, value in fields.items()}
        self.detail = detail
        self.exit_code, cause, remedy = CATALOGUE[code]
        self.cause = cause.format_map(self.fields)
        self.remedy = remedy.format_map(self.fields)
        super().__init__(f"{self.cause} {self.remedy}")

    def to_json(self) -> dict[str, Any]:
        """Return `{code, fields, detail}`, from which `from_json` makes the same error again."""
        return {"code": self.code, "fields": self.fields, "detail": self.detail}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EspalierError:
        """Return the error that `to_json` described; one of an unknown code becomes `internal`."""
        try:
            return cls(str(data["code"]), detail=str(data.get("detail", "")), **data["fields"])
        except (KeyError, TypeError, AttributeError):
            return cls("internal", detail=repr(data), reason="an error of another version", log="the library")
