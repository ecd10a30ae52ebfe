# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person asked for, validated once, as plain data."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any, TypeAlias, cast
from urllib.parse import unquote, urlsplit

from .errors import EspalierError
from .parameters import (
    BY_NAME,
    ENGINES,
    FACES_LEAST,
    INTERVALS,
    PIPELINE_OF_RESOLUTION,
    REBUILD_SETTINGS,
    SETTINGS,
    Parameter,
    Value,
)

TEXTURE_SEED = replace(
    BY_NAME["seed"],
    name="texture_seed",
    label="Texture Seed",
    help="Start of the random numbers of the texture alone: another one colors the same shape anew",
)
"""No parameter of the API: for an engine that keeps the shape and samples the texture by itself."""
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def parse_value(parameter: Parameter, value: object) -> Value:
    """Return `value` (as typed on a command line, in JSON, or in a property) in the parameter's own type.

    Raises EspalierError `parameter_type`, `parameter_range` or `parameter_choice`.
    """
    if parameter.kind == "boolean":
        if isinstance(value, bool):
            return value
        word = value.strip().lower() if isinstance(value, str) else value
        if isinstance(word, str) and word in _BOOLEANS:
            return _BOOLEANS[word]
        raise EspalierError("parameter_type", name=parameter.name, value=value, expected="true or false")
    if parameter.kind == "enum":
        word = str(value).strip()
        if isinstance(value, (str, int)) and not isinstance(value, bool) and word in parameter.choices:
            return word
        raise EspalierError("parameter_choice", name=parameter.name, value=value, choices=", ".join(parameter.choices))
    number = _parse_number(parameter, value)
    minimum, maximum = parameter.minimum, parameter.maximum
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        raise EspalierError("parameter_range", name=parameter.name, value=value, minimum=minimum, maximum=maximum)
    return number


def _parse_number(parameter: Parameter, value: object) -> int | float:
    whole = parameter.kind == "integer"
    expected = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise EspalierError("parameter_type", name=parameter.name, value=value, expected=expected)
    try:
        if whole and isinstance(value, str):
            return int(value)
        number = float(value)
    except (ValueError, OverflowError):
        raise EspalierError("parameter_type", name=parameter.name, value=value, expected=expected) from None
    if not math.isfinite(number) or (whole and number != int(number)):
        raise EspalierError("parameter_type", name=parameter.name, value=value, expected=expected)
    return int(number) if whole else number


def complete_parameters(given: Mapping[str, object]) -> dict[str, Value]:
    """Return every parameter but the image: those given, validated, and the defaults of all others.

    The resolution and the pipeline follow each other when only one of them is given.

    Raises EspalierError for an unknown name, a value out of range, an inverted interval or a pipeline that does not
    produce the resolution.
    """
    values = complete_from(SETTINGS, given)
    if "pipeline_type" not in given:
        values["pipeline_type"] = PIPELINE_OF_RESOLUTION[str(values["resolution"])]
    elif "resolution" not in given:
        values["resolution"] = next(r for r, p in PIPELINE_OF_RESOLUTION.items() if p == values["pipeline_type"])
    elif values["pipeline_type"] != (matching := PIPELINE_OF_RESOLUTION[str(values["resolution"])]):
        raise EspalierError(
            "pipeline_mismatch",
            pipeline_type=values["pipeline_type"],
            resolution=values["resolution"],
            matching=matching,
        )
    for start, end in INTERVALS:
        if float(values[start]) > float(values[end]):
            raise EspalierError(
                "interval_order", start=start, start_value=values[start], end=end, end_value=values[end]
            )
    return values


def complete_from(table: Sequence[Parameter], given: Mapping[str, object]) -> dict[str, Value]:
    """Return a value for each parameter of `table`: the one given, validated, or its default.

    Raises EspalierError `parameter_unknown`, or as `parse_value`.
    """
    names = [parameter.name for parameter in table]
    for name in given:
        if name not in names:
            import difflib  # here, for enabling the extension must not wait for it

            near = difflib.get_close_matches(name, names, 1)
            suggestion = f"Did you mean {near[0]}?" if near else "See --help for the list of parameters."
            raise EspalierError("parameter_unknown", name=name, suggestion=suggestion)
    return {p.name: parse_value(p, given[p.name]) if p.name in given else _default(p) for p in table}


def _default(parameter: Parameter) -> Value:
    assert parameter.default is not None, parameter.name
    return parameter.default


def is_url(image: str) -> bool:
    """Tell whether `image` is an address rather than a file."""
    return image.lower().startswith(("http://", "https://"))


def asset_name(image: str) -> str:
    """Return what an asset made from `image` (a path of this or another system, or a URL) is called."""
    if is_url(image):
        stem = PurePosixPath(unquote(urlsplit(image).path)).stem
    else:
        stem = PureWindowsPath(image).stem if "\\" in image else Path(image).stem
    return stem.strip() or "Asset"


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One image, one engine and all 34 settings. Make it with `create`, which validates.

    `image` is an absolute path (or a URL, for the remote engine), `parameters` holds every parameter but the image.
    `texture_seed` is for an engine that samples the texture by itself: random numbers of its own, None for what follows
    from the seed.
    """

    image: str
    engine: str
    name: str
    parameters: Mapping[str, Value]
    texture_seed: int | None = None

    @classmethod
    def create(
        cls,
        image: str | Path,
        engine: str,
        parameters: Mapping[str, object] | None = None,
        name: str = "",
        texture_seed: object = None,
    ) -> GenerationRequest:
        """Return a validated request; parameters that are not given have their defaults.

        Raises EspalierError `image_none`, `engine_unknown` or one of `complete_parameters`.
        """
        text = str(image).strip()
        if not text:
            raise EspalierError("image_none")
        known = [e.name for e in ENGINES]
        if engine not in known:
            raise EspalierError("engine_unknown", name=engine, known=", ".join(known))
        values = complete_parameters(parameters or {})
        source = text if is_url(text) else str(Path(text).expanduser().absolute())
        seed = None if texture_seed is None else int(parse_value(TEXTURE_SEED, texture_seed))
        return cls(source, engine, name.strip() or asset_name(source), MappingProxyType(values), seed)

    def to_json(self) -> dict[str, Any]:
        """Return the request as plain JSON data."""
        data = {
            "image": self.image,
            "engine": self.engine,
            "name": self.name,
            "parameters": dict(self.parameters),
        }
        return data if self.texture_seed is None else {**data, "texture_seed": self.texture_seed}

    @classmethod
    def from_json(cls, data: object) -> GenerationRequest:
        """Return the request that `to_json` described, validated again.

        Raises EspalierError `request_invalid` where the data is not a request, else as `create`.
        """
        image, engine, name, parameters = _members(data, "image", "engine", "name", "parameters")
        if not (isinstance(image, str) and isinstance(engine, str) and isinstance(name, str)):
            raise EspalierError("request_invalid", reason="image, engine and name must be texts")
        if not isinstance(parameters, dict):
            raise EspalierError("request_invalid", reason="parameters is not an object")
        return cls.create(image, engine, parameters, name, cast("dict[str, Any]", data).get("texture_seed"))

    def digest(self) -> str:
        """Return the SHA-256 of the request, the same for the same request on every machine."""
        return _digest(self.to_json())

    @property
    def origin(self) -> str:
        """What the asset is made from, as a person named it: the path or address of the image."""
        return self.image

    @property
    def role(self) -> str:
        """What `origin` is to the request."""
        return "image"


REBUILD = "rebuild"
"""The engine of every `RebuildRequest`, and the `kind` in its JSON; JSON without a kind is a generation."""
LODS_MOST = 8
LOD_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class RebuildRequest:
    """A finished asset and what is to be made of it. Make it with `create`, which validates.

    `source` is the absolute path of a GLB, `parameters` holds all of `REBUILD_SETTINGS`. `lods` are the faces of each
    level, falling; where there are any, they stand in place of `decimation_target`.
    """

    source: str
    name: str
    parameters: Mapping[str, Value]
    lods: tuple[int, ...] = ()

    @classmethod
    def create(
        cls,
        source: str | Path,
        parameters: Mapping[str, object] | None = None,
        lods: Sequence[object] = (),
        name: str = "",
    ) -> RebuildRequest:
        """Return a validated request; parameters that are not given have their defaults.

        Raises EspalierError `asset_none`, `lods_invalid`, or as `complete_from`.
        """
        text = str(source).strip()
        if not text:
            raise EspalierError("asset_none")
        path = str(Path(text).expanduser().absolute())
        values = complete_from(REBUILD_SETTINGS, parameters or {})
        return cls(path, name.strip() or asset_name(path), MappingProxyType(values), _levels(lods))

    @property
    def engine(self) -> str:
        """The engine that carries it out."""
        return REBUILD

    @property
    def origin(self) -> str:
        """What it is made from: the path of the GLB."""
        return self.source

    @property
    def role(self) -> str:
        """What `origin` is to the request."""
        return "source"

    def to_json(self) -> dict[str, Any]:
        """Return the request as plain JSON data."""
        return {
            "kind": REBUILD,
            "source": self.source,
            "name": self.name,
            "parameters": dict(self.parameters),
            "lods": list(self.lods),
        }

    @classmethod
    def from_json(cls, data: object) -> RebuildRequest:
        """Return the request that `to_json` described, validated again.

        Raises EspalierError `request_invalid` where the data is not a request, else as `create`.
        """
        source, name, parameters, lods = _members(data, "source", "name", "parameters", "lods")
        if not (isinstance(source, str) and isinstance(name, str)):
            raise EspalierError("request_invalid", reason="source and name must be texts")
        if not isinstance(parameters, dict) or not isinstance(lods, list):
            raise EspalierError("request_invalid", reason="parameters is not an object, or lods not a list")
        return cls.create(source, parameters, lods, name)

    def digest(self) -> str:
        """Return the SHA-256 of the request, the same for the same request on every machine."""
        return _digest(self.to_json())


Request: TypeAlias = GenerationRequest | RebuildRequest


def request_from_json(data: object) -> Request:
    """Return the request of either kind that `to_json` described. Raises EspalierError as its own `from_json`."""
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind == REBUILD:
        return RebuildRequest.from_json(data)
    if kind is not None:
        raise EspalierError("request_invalid", reason=f"{kind} is not a kind of request")
    return GenerationRequest.from_json(data)


def _levels(given: Sequence[object]) -> tuple[int, ...]:
    """Return the faces of each level, most first. Raises EspalierError `lods_invalid`."""
    levels = []
    for value in given:
        whole = isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip().isdecimal()
        if not whole or not FACES_LEAST <= int(str(value)) <= LOD_MOST:
            raise EspalierError("lods_invalid", value=value, minimum=FACES_LEAST, maximum=LOD_MOST)
        levels.append(int(str(value)))
    if len(levels) > LODS_MOST:
        raise EspalierError("lods_many", count=len(levels), most=LODS_MOST)
    return tuple(sorted(set(levels), reverse=True))


def _members(data: object, *names: str) -> list[Any]:
    """Return members of a JSON object. Raises EspalierError `request_invalid` where one is missing."""
    if not isinstance(data, dict):
        raise EspalierError("request_invalid", reason="it is not an object")
    for name in names:
        if name not in data:
            raise EspalierError("request_invalid", reason=f"{name} is missing")
    return [data[name] for name in names]


def _digest(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
