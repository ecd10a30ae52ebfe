# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server offers, read from its description of the model: prices, and ranges narrower than our table's.

The words of such a description are not laid down anywhere, so it is read tolerantly, and what cannot be read leaves
the table's own figures as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from .parameters import (
    BY_NAME,
    GROUPS,
    INTERVALS,
    PIPELINE_OF_RESOLUTION,
    PRICE_USD,
    SETTINGS,
    Parameter,
    Value,
)

_LOWEST = ("minimum", "min", "ge", "min_value")
_HIGHEST = ("maximum", "max", "le", "max_value")
_CHOICES = ("choices", "enum", "options", "allowed_values", "values", "allowed")
_NAMES = ("name", "key", "id", "parameter", "param")
_PRICES = ("price_usd", "usd", "cost_usd", "amount_usd", "price", "cost", "unit_price", "amount", "rate", "value")
_NUMBER: Final = r"-?\d+(?:\.\d+)?"
_PRICE_TEXT: Final = r"(?:US)?\s*\$?\s*(\d+(?:\.\d+)?)\s*(?:USD|\$)?(?:\s*(?:/|per)\b.*)?"
_HIGHEST_PRICE_USD = 1000.0


@dataclass(frozen=True, slots=True)
class Limit:
    """What a server takes for one parameter: the part of the table's own range, or choices, that is also its."""

    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    def nearest(self, parameter: Parameter, value: Value) -> Value:
        """Return the allowed value that is nearest to `value`; of choices, the next one before it."""
        if self.choices:
            if value in self.choices:
                return value
            before = [c for c in parameter.choices[: parameter.choices.index(str(value))] if c in self.choices]
            return before[-1] if before else self.choices[0]
        number = float(value)
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        if low <= number <= high:
            return value
        nearest = min(max(number, low), high)
        return int(nearest) if parameter.kind == "integer" else nearest

    @property
    def words(self) -> str:
        """The limit in words, as it completes "the server takes ..."."""
        if self.choices:
            return "only " + ", ".join(self.choices)
        return f"{self.minimum:g} to {self.maximum:g}"


@dataclass(frozen=True, slots=True)
class Offer:
    """The prices in USD by resolution, of which the server itself told those in `told`, and limits by parameter."""

    prices: Mapping[str, float]
    told: frozenset[str] = frozenset()
    limits: Mapping[str, Limit] = field(default_factory=dict)

    def limited(self, name: str, value: Value) -> Value:
        """Return `value` as the server takes it."""
        limit = self.limits.get(name)
        return value if limit is None else limit.nearest(BY_NAME[name], value)

    def clamp(self, values: Mapping[str, Value]) -> tuple[dict[str, Value], list[str]]:
        """Return all settings as the server takes them, and one sentence for each that differs from what was asked."""
        taken = {name: self.limited(name, value) for name, value in values.items()}
        if "resolution" in taken and "pipeline_type" in taken:
            taken["pipeline_type"] = PIPELINE_OF_RESOLUTION[str(taken["resolution"])]
        for start, end in INTERVALS:
            if start in taken and end in taken and float(taken[start]) > float(taken[end]):
                taken[end] = self.limited(end, taken[start])
                taken[start] = min(taken[start], taken[end], key=float)
        changed = [BY_NAME[name] for name in values if taken[name] != values[name] and name != "pipeline_type"]
        return taken, [self._sentence(parameter, taken[parameter.name]) for parameter in changed]

    def _sentence(self, parameter: Parameter, value: Value) -> str:
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        limit = self.limits.get(parameter.name)
        reason = f"the server takes {limit.words}" if limit else "it follows another limit of the server"
        return f"{full_label(parameter)} is {shown}: {reason}."


LISTED: Final = Offer(PRICE_USD)
"""What is offered as far as our own table knows."""


def full_label(parameter: Parameter) -> str:
    """Return a parameter's label with its group's where the label alone names several ("Shape Steps")."""
    if [p.label for p in SETTINGS].count(parameter.label) < 2:
        return parameter.label
    group = next(group.label for group in GROUPS if group.name == parameter.group)
    return f"{group} {parameter.label}"


def read_offer(model: object) -> Offer:
    """Return the offer in a server's description of the model, a JSON object; never raises for what it holds."""
    if not isinstance(model, dict):
        return LISTED
    inner = model.get("data")
    described: dict[str, Any] = inner if isinstance(inner, dict) else model
    prices = _prices(described.get("pricing_rows"))
    return Offer(
        MappingProxyType({**PRICE_USD, **prices}),
        frozenset(prices),
        MappingProxyType(_limits(described.get("supported_parameters"))),
    )


def _limits(described: object) -> dict[str, Limit]:
    limits = {}
    for name, entry in _entries(described):
        parameter = BY_NAME.get(name)
        limit = _limit(parameter, entry) if parameter is not None else None
        if limit is not None:
            limits[name] = limit
    for start, end in INTERVALS:
        if start in limits and end in limits and (limits[start].minimum or 0.0) > (limits[end].maximum or 0.0):
            del limits[start], limits[end]  # no interval could satisfy both
    return limits


def _entries(described: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and description of each parameter, given as a list of objects or as an object of objects."""
    if isinstance(described, dict):
        properties = described.get("properties")
        members: dict[str, Any] = properties if isinstance(properties, dict) else described
        yield from ((name, entry) for name, entry in members.items() if isinstance(entry, dict))
    elif isinstance(described, list):
        for entry in described:
            if isinstance(entry, dict):
                name = next((entry[key] for key in _NAMES if isinstance(entry.get(key), str)), "")
                schema = entry.get("schema")
                yield name, {**entry, **schema} if isinstance(schema, dict) else entry


def _limit(parameter: Parameter, entry: Mapping[str, Any]) -> Limit | None:
    """Return what of the table's range the server takes, or None where that is all of it, or nothing sensible."""
    if parameter.kind == "enum":
        given: list[Any] = next((entry[key] for key in _CHOICES if isinstance(entry.get(key), list)), [])
        words = {str(item.get("value", "") if isinstance(item, dict) else item) for item in given}
        common = tuple(choice for choice in parameter.choices if choice in words)
        return Limit(choices=common) if common and common != parameter.choices else None
    if parameter.kind not in ("integer", "number") or parameter.minimum is None or parameter.maximum is None:
        return None
    low, high = _range(entry)
    low = parameter.minimum if low is None else max(low, parameter.minimum)
    high = parameter.maximum if high is None else min(high, parameter.maximum)
    if parameter.kind == "integer":
        low, high = math.ceil(low), math.floor(high)
    if low > high or (low, high) == (parameter.minimum, parameter.maximum):
        return None
    return Limit(low, high)


def _range(entry: Mapping[str, Any]) -> tuple[float | None, float | None]:
    given = entry.get("range")
    if isinstance(given, str):
        given = re.findall(_NUMBER, re.sub(r"(?<=\d)\s*[-\u2013]\s*(?=\d)", " ", given))
    if isinstance(given, dict):
        entry = {**entry, **given}
    lowest, highest = [entry.get(key) for key in _LOWEST], [entry.get(key) for key in _HIGHEST]
    if isinstance(given, list) and len(given) == 2:
        lowest, highest = [given[0], *lowest], [given[1], *highest]
    low = [number for value in lowest if (number := to_number(value)) is not None]
    high = [number for value in highest if (number := to_number(value)) is not None]
    return max(low, default=None), min(high, default=None)


def to_number(value: object) -> float | None:
    """Return a finite number from a number or its text, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _prices(rows: object) -> dict[str, float]:
    """Return the price for each resolution that exactly one resolution's rows name; of several, the highest."""
    if isinstance(rows, dict):
        listed = [
            {**row, "of": key} if isinstance(row, dict) else {"of": key, "price": row} for key, row in rows.items()
        ]
    else:
        listed = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    prices: dict[str, float] = {}
    for row in listed:
        price, named = _price(row), _resolutions(row)
        if price is not None and len(named) == 1:
            (resolution,) = named
            prices[resolution] = max(price, prices.get(resolution, 0.0))
    return prices


def _price(row: Mapping[str, Any]) -> float | None:
    """Return the price that a row tells, in USD."""
    if str(row.get("currency", "USD")).upper() not in ("USD", "$", "US$"):
        return None
    for key in _PRICES:
        value = row.get(key)
        if isinstance(value, dict):
            value = next((value[inner] for inner in _PRICES if inner in value), None)
        if isinstance(value, str):
            match = re.fullmatch(_PRICE_TEXT, value.strip(), re.IGNORECASE)
            value = match[1] if match else None
        number = to_number(value)
        if number is not None and 0.0 <= number <= _HIGHEST_PRICE_USD:
            return number
    return None


def _resolutions(row: Mapping[str, Any], path: str = "") -> set[str]:
    """Return the resolutions that a row's words name, its prices and its words about textures left out."""
    exact = row.get("resolution")
    if isinstance(exact, (str, int)) and str(exact) in PRICE_USD:
        return {str(exact)}
    found: set[str] = set()
    for key, value in row.items():
        if key in _PRICES or "texture" in key.lower():
            continue
        if isinstance(value, dict):
            found |= _resolutions(value, key)
        elif isinstance(value, (str, int)) and not isinstance(value, bool):
            found |= set(re.findall(r"(?<![\d.])\d+(?![\d.]*\d)", str(value))) & PRICE_USD.keys()
    return found
