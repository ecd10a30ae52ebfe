# SPDX-License-Identifier: GPL-3.0-or-later
"""What crosses the pipe between Blender and a worker: one JSON object a line, UTF-8, checked on arrival.

Texts are escaped to ASCII, so that file names which are not valid Unicode (lone surrogates) survive the journey.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final

PROTOCOL: Final = 2
"""Version of the messages; a worker that says hello with another one is not spoken to."""
LINE_LIMIT: Final = 1 << 20
"""Most bytes of one message, its newline included. Big things travel as paths."""


class MessageError(ValueError):
    """A line that is not a message of this protocol, or a message that does not fit in a line."""


@dataclass(frozen=True, slots=True)
class RunJob:
    """To the child: make `request` (Request.to_json) in `folder`, which does not exist yet.

    `remote_id` names what `server` already works on for this job, empty where nothing was handed over before.
    `account` is what the engine needs to speak to its server, and holds a secret. `expected_s` is how long the
    stages of such jobs took lately.
    """

    job: str
    request: dict[str, Any]
    folder: str
    remote_id: str = ""
    account: dict[str, Any] = field(default_factory=dict, repr=False)
    expected_s: dict[str, Any] = field(default_factory=dict)
    server: str = ""


@dataclass(frozen=True, slots=True)
class CancelJob:
    """To the child: the result of `job` is no longer wanted."""

    job: str


@dataclass(frozen=True, slots=True)
class Written:
    """To the child: what it said last of `job`, `submitting` or `accepted`, is on the disk."""

    job: str


@dataclass(frozen=True, slots=True)
class Ask:
    """To the child: answer `question`, which belongs to no job it has; `about` tells more."""

    id: str
    question: str
    account: dict[str, Any] = field(default_factory=dict, repr=False)
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shutdown:
    """To the child: end when the jobs at hand are done."""


@dataclass(frozen=True, slots=True)
class Hello:
    """From the child: the engine is loaded and waits for a job."""

    protocol: int
    engine: str
    version: str
    pid: int
    python: str


@dataclass(frozen=True, slots=True)
class Started:
    """From the child: `job` was received, and the engine is about to begin. Nothing was done for it before."""

    job: str


@dataclass(frozen=True, slots=True)
class Reached:
    """From the child: how far `job` is; `fraction` of the whole lies between 0 and 1."""

    job: str
    stage: str
    label: str
    fraction: float
    note: str = ""

    def __post_init__(self) -> None:
        if not 0.0 <= self.fraction <= 1.0:
            raise MessageError(f"fraction {self.fraction} does not lie between 0 and 1")


@dataclass(frozen=True, slots=True)
class Moved:
    """From the child: in `stage` of `job`, `done` of `total` bytes are dealt with (0 where that is not known)."""

    job: str
    stage: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Submitting:
    """From the child: a request of `digest` is to be sent to `server`; it waits until that is written down.

    Without a digest, what it told so before was not taken by the server.
    """

    job: str
    digest: str
    server: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """From the child: the server has `job` under `remote_id`; it waits until that is written down."""

    job: str
    remote_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """From the child: the answer to the question `id`, or the `error` (EspalierError.to_json) in its place."""

    id: str
    answer: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """From the child: it starts or works, and has nothing else to say."""


@dataclass(frozen=True, slots=True)
class Result:
    """From the child: the folder of `job` is whole and on the disk; `result` is its result.json."""

    job: str
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """From the child: `job` failed with `error` (EspalierError.to_json). An empty job: the engine did not load.

    `ended`: there is nothing to ask a server after.
    """

    job: str
    error: dict[str, Any]
    ended: bool = False


@dataclass(frozen=True, slots=True)
class CancelledJob:
    """From the child: `job` was given up as asked, and its folder removed; `ended` as of `Failed`."""

    job: str
    ended: bool = False


Message = (
    RunJob
    | CancelJob
    | Written
    | Ask
    | Shutdown
    | Hello
    | Started
    | Reached
    | Moved
    | Submitting
    | Accepted
    | Answer
    | Heartbeat
    | Result
    | Failed
    | CancelledJob
)

TO_CHILD: Final[Mapping[str, type[Message]]] = MappingProxyType(
    {"run": RunJob, "cancel": CancelJob, "written": Written, "ask": Ask, "shutdown": Shutdown}
)
FROM_CHILD: Final[Mapping[str, type[Message]]] = MappingProxyType(
    {
        "hello": Hello,
        "started": Started,
        "progress": Reached,
        "moved": Moved,
        "submitting": Submitting,
        "accepted": Accepted,
        "answer": Answer,
        "heartbeat": Heartbeat,
        "result": Result,
        "failed": Failed,
        "cancelled": CancelledJob,
    }
)
_NAMES: Final = {kind: name for kinds in (TO_CHILD, FROM_CHILD) for name, kind in kinds.items()}


def encode(message: Message) -> bytes:
    """Return `message` as a line. Raises MessageError where it is too long or holds what JSON cannot."""
    plain = {"type": _NAMES[type(message)]} | {f.name: getattr(message, f.name) for f in fields(message)}
    try:
        line = json.dumps(plain, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"a message of type {plain['type']} holds something that is not JSON: {error}") from None
    if len(line) > LINE_LIMIT:
        raise MessageError(f"a message of type {plain['type']} has {len(line)} bytes, more than {LINE_LIMIT}")
    return line


def decode(line: bytes, kinds: Mapping[str, type[Message]]) -> Message:
    """Return the message in `line`, one of `kinds` (TO_CHILD or FROM_CHILD). Raises MessageError for all else."""
    if len(line) > LINE_LIMIT:
        raise MessageError("the line is too long")
    try:
        data = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"the line is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise MessageError("the line is not an object")
    name = data.pop("type", None)
    if not isinstance(name, str) or name not in kinds:
        raise MessageError(f"there is no message of type {name!r:.80}")
    kind = kinds[name]
    known = {f.name: f for f in fields(kind)}
    for key in data:
        if key not in known:
            raise MessageError(f"{name} has no field {key!r:.80}")
    for key, described in known.items():
        if key in data:
            data[key] = _checked(name, key, str(described.type), data[key], described.repr)
        elif described.default is MISSING and described.default_factory is MISSING:
            raise MessageError(f"{name} lacks {key}")
    return kind(**data)


def _checked(name: str, key: str, kind: str, value: object, shown: bool) -> object:
    """Return `value` if it is of the annotated `kind`; a whole number also passes for a float.

    A value that must not be `shown` holds a secret.
    """
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    if kind.startswith("dict") and isinstance(value, dict):
        return value
    found = f"{value!r:.80}" if shown else "something else"
    raise MessageError(f"{key} of {name} is not of type {kind}: {found}")


def _refuse_constant(text: str) -> object:
    raise MessageError(f"{text} is not JSON")
