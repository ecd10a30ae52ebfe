# SPDX-License-Identifier: GPL-3.0-or-later
"""What an asset was made from and how: kept in its result, written into its file, and shown on its object."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

from .parameters import ENGINES, REBUILD_SETTINGS, SETTINGS, Parameter, Value
from .request import REBUILD, RebuildRequest, Request, is_url

MADE = "made"
"""When: ISO 8601, UTC, to the second."""
ORIGIN = "origin"
"""Of a rebuilt asset: the same facts about the one that it was made from."""
_KNOWN = ("engine_version", "espalier_version", MADE, ORIGIN)
_FACTS = ("model", "texture_seed", "cost_usd")
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""What Windows calls its devices."""
_LONGEST = 60
"""Characters: file systems count 255 bytes, and a character can take four."""


def now() -> str:
    """Return the present time as `MADE` has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def facts_of(request: Request, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return, flat, what made the asset of `request`: versions, model, cost in USD and time, as far as they are known.

    `result` is its result.json. A rebuilt asset's facts hold those of the one that it was made from, as `ORIGIN`.
    """
    found = {name: result[name] for name in _KNOWN if result.get(name)}
    facts = result.get("facts")
    if isinstance(facts, Mapping):
        found |= {name: facts[name] for name in _FACTS if _sensible(facts.get(name))}
    if isinstance(request, RebuildRequest) and request.lods:
        found["lods"] = list(request.lods)
    return found


def account_of(request: Request, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole account of an asset, flat but for `ORIGIN`: the request, every parameter and `facts_of`."""
    return {
        "name": request.name,
        request.role: request.origin,
        "engine": request.engine,
        **facts_of(request, result),
        **request.parameters,
    }


def public(account: Mapping[str, Any]) -> dict[str, Any]:
    """Return `account_of` as it may leave this machine inside a file.

    Without what was paid, and of images the names alone: their paths tell who works where.
    """
    told = {name: value for name, value in account.items() if name not in ("cost_usd", "source", "job")}
    if "image" in told:
        told["image"] = file_name(str(told["image"]))
    if isinstance(told.get(ORIGIN), Mapping):
        told[ORIGIN] = public(told[ORIGIN])
    return told


def file_name(image: str) -> str:
    """Return the file name in a path of this or another system, or in an address."""
    if is_url(image):
        return PurePosixPath(unquote(urlsplit(image).path)).name or image
    return (PureWindowsPath(image) if "\\" in image else PurePath(image)).name or image


def safe_name(name: str) -> str:
    """Return `name` as a file can be called on every system."""
    text = _UNSAFE.sub("_", name)[:_LONGEST].strip(" .")
    return text if text and not _RESERVED.match(text) else f"_{text}"


def engine_label(engine: str) -> str:
    """Return what a person reads for the name of an engine."""
    labels = {each.name: each.label for each in ENGINES} | {REBUILD: "Rebuild"}
    return labels.get(engine, engine)


def is_rebuilt(account: Mapping[str, Any]) -> bool:
    """Tell whether the asset of `account` was made from another one."""
    return account.get("engine") == REBUILD


def generation(account: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the account of the generation behind `account`: its own, or of a rebuilt asset that of its origin."""
    origin = account.get(ORIGIN)
    if not is_rebuilt(account):
        return account
    return origin if isinstance(origin, Mapping) else {}


def changed(account: Mapping[str, Any]) -> Iterator[tuple[Parameter, Value]]:
    """Yield the parameters of `account` that its engine honours and that differ from their defaults, the seed aside."""
    engine = str(account.get("engine", ""))
    for parameter in REBUILD_SETTINGS if engine == REBUILD else SETTINGS:
        value = account.get(parameter.name, parameter.default)
        if parameter.name != "seed" and parameter.honoured_by(engine) and not _same(value, parameter.default):
            yield parameter, value


def value_words(parameter: Parameter, value: Value) -> str:
    """Return `value` as the panel shows it."""
    if parameter.kind == "boolean":
        return "On" if value else "Off"
    if parameter.kind == "number":
        return f"{float(value):.4g}"
    if parameter.kind == "integer":
        return f"{int(value):,}" if parameter.name != "seed" else str(value)
    return parameter.choice_labels.get(str(value), str(value))


def _same(value: object, default: object) -> bool:
    if isinstance(value, (int, float)) and isinstance(default, (int, float)):
        return math.isclose(value, default, rel_tol=1e-6, abs_tol=1e-9)
    return value == default


def _sensible(value: object) -> bool:
    if isinstance(value, str):
        return bool(value)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
