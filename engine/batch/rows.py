# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of a batch: each a validated request, the files it becomes, and the key by which it is known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from ..errors import EspalierError
from ..parameters import BY_NAME, REBUILD_SETTINGS, SETTINGS
from ..request import GenerationRequest, RebuildRequest, asset_name, complete_from, complete_parameters, is_url
from .inputs import Entry
from .naming import Names, is_file_name

THUMBNAILS = "thumbnails"
"""The folder below the output that holds what the contact sheet shows."""
PARTS = ".parts"
"""The folder below the output that holds what becomes the one .blend of all assets at the end."""
_BLOCK = 1 << 20
_TOLD_MORE = "trellis2"
"""The one engine whose assets depend on more than the request: the CUDA engine, which is told preferences as well."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files each asset becomes. `lods`: the faces of each level of detail, falling; none if there are none.

    `library` is the one .blend of all assets, if there is to be one.
    """

    lods: tuple[int, ...] = ()
    blend: bool = False
    preview: bool = False
    library: Path | None = None

    def files(self, stem: PurePosixPath) -> dict[str, PurePosixPath]:
        """Return the files of the asset `stem`, relative to the output, by what they are."""
        files = {"glb": _ending(stem, ".glb")}
        for level in range(1, len(self.lods)):
            files[f"lod{level}"] = _ending(stem, f"_lod{level}.glb")
        if self.blend:
            files["blend"] = _ending(stem, ".blend")
        if self.preview:
            files["preview"] = _ending(stem, "_preview.png")
        return files

    def all_files(self, stem: PurePosixPath) -> list[PurePosixPath]:
        """Return the files of the asset, its thumbnail and its part of the library."""
        return [*self.files(stem).values(), thumbnail_of(stem), part_of(stem)]


def part_of(stem: PurePosixPath) -> PurePosixPath:
    """Return where the asset `stem` waits for the one .blend of all assets."""
    return PARTS / _ending(stem, ".blend")


def thumbnail_of(stem: PurePosixPath) -> PurePosixPath:
    """Return where the thumbnail of the asset `stem` lies."""
    return THUMBNAILS / _ending(stem, ".png")


@dataclass(frozen=True, slots=True)
class Row:
    """One image of a batch. `number` counts from 1 over all shards, `line` is that of the manifest or 0.

    `told` is what its engine is told beside the request, where that is not the usual and makes another asset.
    """

    number: int
    line: int
    folder: PurePosixPath
    request: GenerationRequest
    lods: tuple[int, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)

    def levels(self, source: Path) -> RebuildRequest:
        """Return the request for the levels of detail of the finished asset `source`."""
        shared = {p.name for p in REBUILD_SETTINGS} & self.request.parameters.keys() - {"decimation_target"}
        values = {name: self.request.parameters[name] for name in shared}
        return RebuildRequest.create(source, values, self.lods, self.request.name)

    def key(self, content: str) -> str:
        """Return the key of the row whose image has the SHA-256 `content`: alike for what gives the same asset."""
        engine, values = self.request.engine, self.request.parameters
        counts = {n: v for n, v in values.items() if self.lods or BY_NAME[n].honoured_by(engine)}
        data: dict[str, Any] = {"content": content, "engine": engine, "settings": counts, "lods": list(self.lods)}
        # Where nothing more is told, keys are those of reports from before that counted.
        return hashlib.sha256(json.dumps({**data, **self.told}, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one line of a manifest."""

    line: int
    error: EspalierError


def validate(
    entries: Sequence[Entry],
    engine: str,
    defaults: Mapping[str, object],
    engines: Collection[str],
    lods: Sequence[object] = (),
    told: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[list[Row], list[Fault]]:
    """Return a row for each of `entries` that is right, and all that is wrong with the others.

    `engine` and `defaults` count where an entry says nothing; `engines` are those that can be used here; `told` is
    what the CUDA engine is told beside the request. Raises EspalierError for what would be wrong with every row: the
    defaults, or the levels of detail.
    """
    _check_engine(engine, engines)
    complete_parameters(defaults)
    levels = RebuildRequest.create("levels.glb", lods=lods).lods
    rows: list[Row] = []
    faults: list[Fault] = []
    for number, entry in enumerate(entries, 1):
        errors = list(_errors(entry, entry.engine or engine, engines))
        if not errors:
            values = {**defaults, **entry.settings}
            name = entry.name or asset_name(entry.image)
            try:
                request = GenerationRequest.create(entry.image, entry.engine or engine, values, name)
                more = told if request.engine == _TOLD_MORE else {}
                rows.append(Row(number, entry.line, entry.folder, request, levels, more))
            except EspalierError as error:
                errors.append(error)
        faults += [Fault(entry.line, error) for error in errors]
    return rows, faults


def _errors(entry: Entry, engine: str, engines: Collection[str]) -> Iterable[EspalierError]:
    """Yield what is wrong with an entry by itself, each cell looked at alone."""
    if entry.error is not None:
        yield entry.error
    if not entry.image:
        if entry.error is None:
            yield EspalierError("image_none")
    elif is_url(entry.image):
        if engine != "remote":
            yield EspalierError("image_not_a_file", path=entry.image, engine=engine)
    elif not Path(entry.image).is_file():
        yield EspalierError("image_missing", path=entry.image)
    if entry.name and not is_file_name(entry.name):
        yield EspalierError("manifest_name", name=entry.name)
    try:
        _check_engine(engine, engines)
    except EspalierError as error:
        yield error
    for name, value in entry.settings.items():
        try:
            complete_from(SETTINGS, {name: value})
        except EspalierError as error:
            yield error


def _check_engine(engine: str, engines: Collection[str]) -> None:
    if engine not in engines:
        raise EspalierError("engine_unknown", name=engine, known=", ".join(engines))


def by_error(faults: Sequence[Fault]) -> list[tuple[str, Fault]]:
    """Return each different fault once, in the order of lines, with the lines it is on ("2-5, 9")."""
    lines: dict[str, list[Fault]] = {}
    for fault in faults:
        lines.setdefault(str(fault.error), []).append(fault)
    return [(_ranges([fault.line for fault in same]), same[0]) for same in lines.values()]


def _ranges(numbers: Iterable[int]) -> str:
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def content_of(image: str) -> str:
    """Return the SHA-256 of the file `image`, or of the address itself. Empty where it cannot be read."""
    if is_url(image):
        return hashlib.sha256(image.encode()).hexdigest()
    digest = hashlib.sha256()
    try:
        with open(image, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def name_rows(rows: Iterable[Row], names: Names) -> dict[int, PurePosixPath]:
    """Return the stem of each row, by its number."""
    return {row.number: names.give(row.folder, row.request.name) for row in rows}


def differing(row: Row) -> dict[str, Any]:
    """Return the settings of `row` that are not the defaults, and what else its engine is told."""
    values = row.request.parameters
    found: dict[str, Any] = {name: value for name, value in values.items() if value != BY_NAME[name].default}
    return {**found, **row.told}


def _ending(stem: PurePosixPath, text: str) -> PurePosixPath:
    return stem.with_name(stem.name + text)
