# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of every job, on disk. One thread reads and writes it, so that no disk is ever waited for elsewhere."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Any, TypeVar

from ..errors import EspalierError
from ..request import REBUILD, GenerationRequest, RebuildRequest, Request, request_from_json
from .job import ACTIVE, Job, State
from .schema import connect, explain

T = TypeVar("T")

Trace = Callable[[str], None]
"""Called with the name of each point that a transition passes: "before-commit queued", "after-act ready" ..."""

_COLUMNS = (
    "id, serial, owner, state, request, placement, created, started, finished, attempts, runs, result, error,"
    " remote_id, digest, server, spent, rank, cleared"
)
_NAMES = _COLUMNS.split(", ")
_MADE = ", ".join(f"'{state}'" for state in (State.READY, State.IMPORTED))
_UNFINISHED = ", ".join(f"'{state}'" for state in sorted(ACTIVE))


@dataclass(frozen=True, slots=True)
class Row:
    """A job as the ledger has it. `serial` counts its transitions; a move names the one that it follows."""

    job: Job
    serial: int
    owner: str


@dataclass(frozen=True, slots=True)
class Move:
    """A transition: of `job`, as the one after `serial`, to `state`, with new values of columns in `changes`.

    `point` is what a trace calls it, by default its state.
    """

    job: str
    serial: int
    state: State
    changes: Mapping[str, Any] = field(default_factory=dict)
    point: str = ""


@dataclass(frozen=True, slots=True)
class _Task:
    action: Callable[[sqlite3.Connection], Any]
    future: Future[Any]
    point: str = ""


def _silent(point: str) -> None:
    pass


class Ledger:
    """The ledger at `path` as `owner` writes it. Opened here, at once. Raises EspalierError of `schema.connect`.

    What waits to be written when the thread gets to it is committed together; a future is done once its transaction is
    on the disk.
    """

    def __init__(self, path: Path, owner: str, trace: Trace = _silent) -> None:
        self.path = path
        self._owner = owner
        self._trace = trace
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, name="ledger", daemon=True)
        self._thread.start()
        self._opened.result()

    def insert(self, job: Job) -> Future[bool]:
        """Write a new job down, whose serial then is 0."""
        values = {
            "id": job.id,
            "serial": 0,
            "owner": self._owner,
            "state": str(job.state),
            "engine": job.request.engine,
            "request": _text(job.request.to_json()),
            "placement": _text(dict(job.placement)),
            "created": job.created,
            "started": None,
            "finished": None,
            "attempts": 0,
            "runs": 0,
            "result": "{}",
            "error": "",
            "remote_id": job.remote_id,
            "digest": job.digest,
            "server": job.server,
            "spent": job.spent,
            "rank": job.rank,
            "cleared": job.cleared,
        }

        def action(connection: sqlite3.Connection) -> bool:
            names = ", ".join(values)
            marks = ", ".join(f":{name}" for name in values)
            connection.execute(f"INSERT INTO jobs ({names}) VALUES ({marks})", values)
            self._remember(connection, job.id, 0, job.state)
            return True

        return self._put(action, job.state)

    def move(self, move: Move) -> Future[bool]:
        """Write a transition down; False where the job is no longer where the move expects it.

        An unfinished job moves only for its owner, a finished one for whoever is first, who owns it then.
        """
        return self._put(lambda connection: self._move(connection, move), move.point or move.state)

    def _move(self, connection: sqlite3.Connection, move: Move) -> bool:
        values = _columns(move.changes)
        sets = "".join(f", {name} = :{name}" for name in values)
        done = connection.execute(
            f"UPDATE jobs SET serial = serial + 1, owner = :me, state = :new{sets}"
            f" WHERE id = :job AND serial = :old AND (owner = :me OR state NOT IN ({_UNFINISHED}))",
            {**values, "me": self._owner, "new": str(move.state), "job": move.job, "old": move.serial},
        )
        if done.rowcount != 1:
            return False
        self._remember(connection, move.job, move.serial + 1, move.state)
        return True

    def _remember(self, connection: sqlite3.Connection, job: str, serial: int, state: State) -> None:
        connection.execute(
            "INSERT INTO transitions (job, serial, state, owner, at) VALUES (?, ?, ?, ?, ?)",
            (job, serial, str(state), self._owner, time.time()),
        )

    def arrange(self, ranks: Mapping[str, float]) -> Future[bool]:
        """Write the places in the line of some unfinished jobs of this owner down: all of them, or none."""
        query = f"UPDATE jobs SET rank = ? WHERE id = ? AND owner = ? AND state IN ({_UNFINISHED})"

        def action(connection: sqlite3.Connection) -> bool:
            connection.executemany(query, [(rank, job, self._owner) for job, rank in ranks.items()])
            return True

        return self._put(action, "arranged")

    def clear(self, jobs: Iterable[str]) -> Future[bool]:
        """Write down that a person wants to see some jobs no more; those that are unfinished are left as they are."""
        names = [(job,) for job in jobs]
        query = f"UPDATE jobs SET cleared = 1 WHERE id = ? AND state NOT IN ({_UNFINISHED})"

        def action(connection: sqlite3.Connection) -> bool:
            connection.executemany(query, names)
            return True

        return self._put(action, "cleared")

    def fold(self, limit: int, fold: Callable[[Iterable[Job]], T]) -> Future[T]:
        """Return what `fold` makes of the `limit` newest assets of all owners; it is called in the ledger's thread."""
        query = f"SELECT {_COLUMNS} FROM jobs WHERE state IN ({_MADE}) ORDER BY created DESC LIMIT ?"

        def action(connection: sqlite3.Connection) -> T:
            rows = (_row(values) for values in connection.execute(query, (limit,)))
            return fold(row.job for row in rows if row is not None)

        return self._put(action)

    def history(self, limit: int) -> list[Row]:
        """Return the `limit` newest finished jobs of all owners, newest first. Waits for the disk."""
        query = f"SELECT {_COLUMNS} FROM jobs WHERE state NOT IN ({_UNFINISHED}) ORDER BY created DESC LIMIT ?"

        def action(connection: sqlite3.Connection) -> list[Row]:
            rows = (_row(values) for values in connection.execute(query, (limit,)))
            return [row for row in rows if row is not None]

        return self._wait(action)

    def recall(self, wanted: Callable[[Job], bool]) -> list[Row]:
        """Return all finished jobs of all owners that are `wanted`, newest first. Waits for the disk.

        `wanted` is called in the ledger's thread.
        """
        query = f"SELECT {_COLUMNS} FROM jobs WHERE state NOT IN ({_UNFINISHED}) ORDER BY created DESC"

        def action(connection: sqlite3.Connection) -> list[Row]:
            rows = (_row(values) for values in connection.execute(query))
            return [row for row in rows if row is not None and wanted(row.job)]

        return self._wait(action)

    def spent(self) -> Future[float]:
        """Return what is known to have been billed for all jobs of all owners, in USD."""
        query = "SELECT total(spent) FROM jobs"
        return self._put(lambda connection: float(connection.execute(query).fetchone()[0]))

    def states(self, jobs: Iterable[str]) -> dict[str, tuple[State, int]]:
        """Return the state and the number of runs of those of `jobs` that the ledger knows. Waits for the disk."""

        def action(connection: sqlite3.Connection) -> dict[str, tuple[State, int]]:
            query = "SELECT state, runs FROM jobs WHERE id = ?"
            found = {job: connection.execute(query, (job,)).fetchone() for job in jobs}
            return {job: (State(values[0]), values[1]) for job, values in found.items() if values is not None}

        return self._wait(action)

    def row(self, job: str) -> Future[Row | None]:
        """Return a job as it is in the ledger now, None if it is not there."""

        def action(connection: sqlite3.Connection) -> Row | None:
            values = connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job,)).fetchone()
            return _row(values) if values is not None else None

        return self._put(action)

    def adopt(self, alive: Callable[[str], bool], decide: Callable[[Row], Move]) -> list[Row]:
        """Take over the unfinished jobs of owners that are not `alive`, each by the move that `decide` chooses.

        Returns them as they are then, in the order of their line. Waits for the disk. Raises EspalierError.
        """
        query = f"SELECT {_COLUMNS} FROM jobs WHERE state IN ({_UNFINISHED}) ORDER BY rank, created, id"

        def action(connection: sqlite3.Connection) -> list[Row]:
            rows = [row for values in connection.execute(query).fetchall() if (row := _row(values)) is not None]
            dead = {owner for owner in {row.owner for row in rows} if not alive(owner)}
            moved = []
            for row in rows:
                if row.owner in dead:
                    connection.execute("UPDATE jobs SET owner = ? WHERE id = ?", (self._owner, row.job.id))
                    self._move(connection, decide(row))
                    moved.append(row.job.id)
            after = (
                connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job,)).fetchone() for job in moved
            )
            return [row for values in after if (row := _row(values)) is not None]

        return self._wait(action)

    def close(self, timeout_s: float) -> None:
        """Write what was asked for so far, then close the file; wait for that at most `timeout_s`."""
        self._tasks.put(None)
        self._thread.join(timeout_s)

    def _put(self, action: Callable[[sqlite3.Connection], T], point: str = "") -> Future[T]:
        future: Future[T] = Future()
        self._tasks.put(_Task(action, future, point))
        return future

    def _wait(self, action: Callable[[sqlite3.Connection], T]) -> T:
        return self._put(action).result()

    # What follows runs in the ledger's own thread.

    def _serve(self) -> None:
        try:
            connection = connect(self.path)
        except BaseException as error:
            self._opened.set_exception(error)
            return
        self._opened.set_result(None)
        with contextlib.closing(connection):
            while (task := self._tasks.get()) is not None:
                batch = [task]
                ended = False
                with contextlib.suppress(Empty):
                    while not ended:
                        following = self._tasks.get_nowait()
                        if following is None:
                            ended = True
                        else:
                            batch.append(following)
                if not self._commit(connection, batch):
                    for single in batch:
                        self._commit(connection, [single], last=True)
                if ended:
                    return

    def _commit(self, connection: sqlite3.Connection, batch: list[_Task], last: bool = False) -> bool:
        """Carry out `batch` in one transaction; tell whether it is settled. A failed one is only told if `last`."""
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                values = [task.action(connection) for task in batch]
                self._pass("before-commit", batch)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except BaseException as error:
            if not last and len(batch) > 1:
                return False
            reason = explain(error, self.path) if isinstance(error, sqlite3.Error) else error
            for task in batch:
                task.future.set_exception(reason)
            return True
        self._pass("after-commit", batch)
        for task, value in zip(batch, values, strict=True):
            task.future.set_result(value)
        return True

    def _pass(self, when: str, batch: list[_Task]) -> None:
        for task in batch:
            if task.point:
                self._trace(f"{when} {task.point}")


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _columns(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `changes` of a Job's fields as values of the table's columns."""
    values = dict(changes)
    if "result" in values:
        values["result"] = _text(dict(values["result"]))
    if "error" in values:
        error = values["error"]
        values["error"] = _text(error.to_json()) if error is not None else ""
    return values


def _row(values: tuple[Any, ...]) -> Row | None:
    """Return a row of the table as a job, None where another program has left nonsense there.

    A request that this version would refuse (a parameter that is gone, say) is kept as it is: its asset exists.
    """
    found = dict(zip(_NAMES, values, strict=True))
    try:
        job = Job(
            id=found["id"],
            request=_request(json.loads(found["request"])),
            state=State(found["state"]),
            placement=_object(found["placement"]),
            created=found["created"],
            started=found["started"],
            finished=found["finished"],
            attempts=found["attempts"],
            runs=found["runs"],
            result=_object(found["result"]),
            error=EspalierError.from_json(_object(found["error"])) if found["error"] else None,
            remote_id=found["remote_id"],
            digest=found["digest"],
            server=found["server"],
            spent=found["spent"],
            rank=found["rank"],
            cleared=bool(found["cleared"]),
        )
        return Row(job, found["serial"], found["owner"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError(f"not an object: {text:.80}")
    return value


def _request(data: object) -> Request:
    try:
        return request_from_json(data)
    except EspalierError:
        if not isinstance(data, dict) or not isinstance(data["parameters"], dict):
            raise TypeError("not a request") from None
        if data.get("kind") == REBUILD:
            return RebuildRequest(str(data["source"]), str(data["name"]), MappingProxyType(data["parameters"]))
        image, engine, name = (str(data[key]) for key in ("image", "engine", "name"))
        return GenerationRequest(image, engine, name, MappingProxyType(data["parameters"]))
