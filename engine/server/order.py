# SPDX-License-Identifier: GPL-3.0-or-later
"""What a body asks for: checked against the parameter table, with JSON's types taken as seriously as its values."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import EspalierError
from ..parameters import BY_NAME, SETTINGS, Parameter, Value
from ..request import complete_parameters, parse_value
from .settings import MODEL

IMAGE_NAMES = ("image", "image_url")
_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "enum": ((str,), "a text"),
    "boolean": ((bool,), "true or false"),
    "integer": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
}
_LONGEST = 80
_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 80
_shown.maxlong = 40


@dataclass(frozen=True, slots=True)
class Order:
    """A generation as it was ordered: all settings, and the image as an address, a data URI or the bytes themselves."""

    parameters: Mapping[str, Value]
    image: str | bytes


def read_json(body: bytes) -> dict[str, Any]:
    """Return the object in `body`. Raises EspalierError `server_body_invalid`."""

    def constant(word: str) -> float:
        raise ValueError(f"{word} is not JSON")

    try:
        data = json.loads(body.decode("utf-8"), parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise EspalierError("server_body_invalid", repr(error)[:200], reason="it is not JSON") from None
    if not isinstance(data, dict):
        raise EspalierError("server_body_invalid", reason="it is not an object")
    return data


def from_json(data: Mapping[str, Any]) -> Order:
    """Return the order in a JSON object. Raises EspalierError for what is missing, unknown or out of range."""
    _check_model(data.get("model"))
    for name, value in data.items():
        if name in BY_NAME and name not in IMAGE_NAMES:
            types, expected = _TYPES[BY_NAME[name].kind]
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                raise EspalierError("parameter_type", name=name, value=_shown.repr(value), expected=expected)
    return Order(_settings(data), _image(data))


def from_form(fields: Mapping[str, str], file: bytes | None) -> Order:
    """Return the order in the fields of a form, all of them texts. Raises EspalierError as `from_json`."""
    _check_model(fields.get("model"))
    given: dict[str, Any] = dict(fields)
    if file is not None:
        if any(given.get(name) for name in IMAGE_NAMES):
            raise EspalierError("server_image_count")
        return Order(_settings(given), file)
    return Order(_settings(given), _image(given))


def _check_model(model: object) -> None:
    if model != MODEL:
        raise EspalierError("server_model_unknown", model=_shown.repr(model), known=MODEL)


def _settings(data: Mapping[str, Any]) -> dict[str, Value]:
    given = {}
    for name, value in data.items():
        if name in ("model", *IMAGE_NAMES):
            continue
        if name not in BY_NAME:
            raise EspalierError("server_parameter_unknown", name=_shown.repr(name))
        if isinstance(value, str) and len(value) > _LONGEST:
            raise EspalierError("parameter_type", name=name, value=_shown.repr(value), expected="a shorter value")
        given[name] = parse_value(BY_NAME[name], value)
    return complete_parameters(given)


def _image(data: Mapping[str, Any]) -> str:
    given = [data[name] for name in IMAGE_NAMES if data.get(name) not in (None, "")]
    if len(given) != 1 or not isinstance(given[0], str):
        raise EspalierError("server_image_count")
    return given[0]


def described(parameter: Parameter) -> dict[str, Any]:
    """Return what the model's description tells of a parameter."""
    kinds = {"image": "string", "enum": "string"}
    told: dict[str, Any] = {
        "name": parameter.name,
        "type": kinds.get(parameter.kind, parameter.kind),
        "default": parameter.default,
        "description": parameter.help,
    }
    if parameter.choices:
        told["enum"] = list(parameter.choices)
    if parameter.minimum is not None:
        told["range"] = [parameter.minimum, parameter.maximum]
    return told


def body_schema(form: bool) -> dict[str, Any]:
    """Return the JSON Schema of a creation's body, as a form or as JSON."""
    properties: dict[str, Any] = {"model": {"type": "string", "enum": [MODEL]}}
    address = {"type": "string", "description": "An http or https address, or a data URI of an image"}
    file = {"type": "string", "format": "binary", "description": "The image file"}
    properties["image"] = {"anyOf": [file, address]} if form else address
    properties["image_url"] = {**address, "description": "The same as image"}
    for parameter in SETTINGS:
        told = described(parameter)
        schema: dict[str, Any] = {key: told[key] for key in ("type", "default", "description", "enum") if key in told}
        if parameter.minimum is not None:
            schema |= {"minimum": parameter.minimum, "maximum": parameter.maximum}
        properties[parameter.name] = schema
    return {"type": "object", "required": ["model"], "properties": properties, "additionalProperties": False}
