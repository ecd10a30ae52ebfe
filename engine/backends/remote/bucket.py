# SPDX-License-Identifier: GPL-3.0-or-later
"""The budget of requests that all jobs and all Blenders of this machine share, in a small SQLite file.

A server counts when requests arrive, which lies somewhere between sending and answer. Therefore a request takes one
of the minute's places from when it is sent until a minute after its answer: then no minute of the server's own, however
it lies, holds more than its limit. Those who wait are served by rank, creations before polls, then in order.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from ...addresses import origin
from .schedule import Clock, Crowd, quantile, wait

CREATE, POLL = 0, 1
WINDOW_S = 60.25
LONGEST_S = 120.0
"""A request whose answer takes longer has long been counted by the server, however slow the line that it went over."""
STALE_S = 30.0
LOOK_S = 8.0
STARVING_S = 300.0
"""A poll that waited so long goes before creations: results do not live for ever."""
KEPT_S = 86_400.0
SAMPLES = 24
FRESH_S = 2.0
"""What other processes learned is looked up this often."""
_BUSY_S = 60.0
"""So long, in seconds of the world, the file may be another's: a busy disk can hold up a change for many seconds."""
_AGAIN_S = 0.02
_AHEAD_S = 3600.0
_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS grants (id INTEGER PRIMARY KEY, taken REAL NOT NULL, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS waiting (id TEXT PRIMARY KEY, rank INTEGER NOT NULL, since REAL NOT NULL, seen REAL);
CREATE TABLE IF NOT EXISTS making (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, born REAL NOT NULL, until REAL NOT NULL, due INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS took (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, at REAL NOT NULL, seconds REAL NOT NULL);
CREATE TABLE IF NOT EXISTS pause (id INTEGER PRIMARY KEY CHECK (id = 1), until REAL NOT NULL);
"""


def path_for(shared: Path, base: str) -> Path:
    """Return the file of the server at `base`.

    The limit counts all keys of an account together, and nothing made from a key is written anywhere: so all accounts
    of this machine at one server share one budget.
    """
    name = hashlib.sha256(":".join(map(str, origin(base))).encode()).hexdigest()[:20]
    return shared / f"rate-{name}.sqlite3"


_P = ParamSpec("_P")
_T = TypeVar("_T")


def _change(
    method: Callable[Concatenate[Bucket, sqlite3.Connection, _P], _T],
) -> Callable[Concatenate[Bucket, _P], _T]:
    """Hold the file while `method` changes it; where it cannot be used any more, change a budget of our own."""

    @wraps(method)
    def change(self: Bucket, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with self._lock:
            try:
                return _commit(self._connection, lambda: method(self, self._connection, *args, **kwargs))
            except sqlite3.Error as error:
                self._part(error)
                return _commit(self._connection, lambda: method(self, self._connection, *args, **kwargs))

    return change


def _commit(connection: sqlite3.Connection, act: Callable[[], _T]) -> _T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = act()
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return result


class Bucket:
    """One process's hand on the shared file; safe to use from many threads. Times are those of `clock`.

    Where the file cannot be used the budget is this process's own; the log then says why.
    """

    def __init__(self, path: Path | None, per_minute: int, clock: Clock) -> None:
        self.per_minute = per_minute
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
        self.shared = path is not None
        """Whether other processes are counted too."""
        self._connection = self._open()
        self._samples: dict[str, list[float]] = {}
        self._read_at: dict[str, float] = {}

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def acquire(self, rank: int, check: Callable[[], None], since: float | None = None, job: str = "") -> int:
        """Wait for a place for one request and return it, to be given to `done`. `check` may raise, ending the wait.

        `since` is when the request became due, by default now; among those of one rank the earliest goes first.
        `job` may stand in the line already (see `yields`).
        """
        me = job or secrets.token_hex(8)
        begun = self._clock.now() if since is None else since
        try:
            while True:
                granted, delay = self._try(me, rank, begun)
                if granted is not None:
                    return granted
                wait(self._clock, delay, check)
        except BaseException:
            self._step_out(me)
            raise

    @_change
    def take(self, db: sqlite3.Connection) -> int:
        """Take a place at once, whether there is one or not: for the rare request that cannot wait."""
        return self._grant(db, self._clock.now())

    @_change
    def done(self, db: sqlite3.Connection, grant: int) -> None:
        """Note that the answer has come, or never will."""
        until = self._clock.now() + WINDOW_S
        db.execute("UPDATE grants SET until = min(until, ?) WHERE id = ?", (until, grant))

    @_change
    def pause(self, db: sqlite3.Connection, seconds: float) -> None:
        """Let nobody send for `seconds`: the server has said so."""
        until = self._clock.now() + seconds
        db.execute(
            "INSERT INTO pause VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET until = max(until, excluded.until)",
            (until,),
        )

    @_change
    def enter(self, db: sqlite3.Connection, job: str, born: float, kind: str, alive_s: float) -> Crowd:
        """Count `job` among those that are polled, for `alive_s` seconds unless it enters again; return the crowd."""
        now = self._clock.now()
        db.execute("DELETE FROM making WHERE until <= ? OR born > ?", (now, now + 1.0))
        db.execute(
            "INSERT INTO making VALUES (?, ?, ?, ?, 0) ON CONFLICT (id) DO UPDATE SET until = excluded.until",
            (job, kind, born, now + alive_s),
        )
        (jobs,) = db.execute("SELECT count(*) FROM making").fetchone()
        (older,) = db.execute("SELECT count(*) FROM making WHERE (born, id) < (?, ?)", (born, job)).fetchone()
        (creations,) = db.execute("SELECT count(*) FROM waiting WHERE rank = ?", (CREATE,)).fetchone()
        self._read_samples(db, kind, now)
        return Crowd(jobs + creations, older, self.per_minute)

    @_change
    def yields(self, db: sqlite3.Connection, job: str) -> bool:
        """Put `job` into the line of polls, and tell whether an older one of its kind was never there."""
        db.execute("UPDATE making SET due = 1 WHERE id = ? AND NOT due", (job,))
        db.execute(
            "INSERT INTO waiting SELECT id, ?, born, ? FROM making WHERE id = ?"
            " ON CONFLICT (id) DO UPDATE SET seen = excluded.seen",
            (POLL, self._clock.now(), job),
        )
        row = db.execute(
            "SELECT 1 FROM making, (SELECT kind, born, id FROM making WHERE id = ?) AS mine"
            " WHERE NOT due AND making.kind = mine.kind"
            " AND (making.born, making.id) < (mine.born, mine.id) LIMIT 1",
            (job,),
        ).fetchone()
        return row is not None

    @_change
    def leave(self, db: sqlite3.Connection, job: str) -> None:
        """Count `job` no longer."""
        db.execute("DELETE FROM making WHERE id = ?", (job,))
        db.execute("DELETE FROM waiting WHERE id = ?", (job,))

    @_change
    def learn(self, db: sqlite3.Connection, kind: str, seconds: float) -> None:
        """Remember how long a job of `kind` took."""
        now = self._clock.now()
        db.execute("DELETE FROM took WHERE at < ? OR at > ?", (now - KEPT_S, now + 1.0))
        db.execute("INSERT INTO took (kind, at, seconds) VALUES (?, ?, ?)", (kind, now, seconds))
        self._read_samples(db, kind, now)

    def expected(self, kind: str, share: float) -> float | None:
        """Return in how many seconds `share` of the last jobs of `kind` were done, whichever process saw them done."""
        now = self._clock.now()
        if now - self._read_at.get(kind, -FRESH_S) >= FRESH_S:
            self._look_up(kind, now)
        return quantile(self._samples.get(kind, []), share)

    @_change
    def _look_up(self, db: sqlite3.Connection, kind: str, now: float) -> None:
        self._read_samples(db, kind, now)

    @_change
    def _step_out(self, db: sqlite3.Connection, me: str) -> None:
        db.execute("DELETE FROM waiting WHERE id = ?", (me,))

    def _read_samples(self, db: sqlite3.Connection, kind: str, now: float) -> None:
        rows = db.execute(
            "SELECT seconds FROM took WHERE kind = ? AND at BETWEEN ? AND ? ORDER BY id DESC LIMIT ?",
            (kind, now - KEPT_S, now + 1.0, SAMPLES),
        )
        self._samples[kind], self._read_at[kind] = [seconds for (seconds,) in rows], now

    @_change
    def _try(self, db: sqlite3.Connection, me: str, rank: int, since: float) -> tuple[int | None, float]:
        """Return a place, or how long to wait before trying again."""
        now = self._clock.now()
        if rank > CREATE and now - since > STARVING_S:
            rank = CREATE
        # What lies in the future was written before the machine was restarted.
        db.execute("DELETE FROM grants WHERE until <= ? OR taken > ?", (now, now + 1.0))
        db.execute("DELETE FROM waiting WHERE seen < ? OR seen > ?", (now - STALE_S, now + 1.0))
        (ahead,) = db.execute(
            "SELECT count(*) FROM waiting WHERE id != ? AND (rank, since, id) < (?, ?, ?)", (me, rank, since, me)
        ).fetchone()
        (taken,) = db.execute("SELECT count(*) FROM grants").fetchone()
        row = db.execute("SELECT until FROM pause").fetchone()
        paused = row[0] - now if row and row[0] - now < _AHEAD_S else 0.0
        free = self.per_minute - taken
        if paused <= 0.0 and ahead < free:
            db.execute("DELETE FROM waiting WHERE id = ?", (me,))
            return self._grant(db, now), 0.0
        db.execute(
            "INSERT INTO waiting VALUES (?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET rank = excluded.rank, seen = excluded.seen",
            (me, rank, since, now),
        )
        ends = db.execute(
            "SELECT until FROM grants ORDER BY until LIMIT 1 OFFSET ?", (max(min(ahead - free, taken - 1), 0),)
        ).fetchone()
        delay = ends[0] - now if ends and ahead >= free else 0.0
        return None, min(max(delay, paused, 0.01), LOOK_S)

    def _grant(self, db: sqlite3.Connection, now: float) -> int:
        cursor = db.execute("INSERT INTO grants (taken, until) VALUES (?, ?)", (now, now + LONGEST_S + WINDOW_S))
        return int(cursor.lastrowid or 0)

    def _part(self, error: sqlite3.Error) -> None:
        """Leave the file for a budget of our own.

        What others have sent in the last minute is not known here: so all of its places count as taken just now.
        """
        _log.warning("The budget of requests in %s is shared no longer: %s", self._path, error)
        with suppress(sqlite3.Error):
            self._connection.close()
        self._connection, self.shared = _connect(":memory:"), False
        now = self._clock.now()
        places = [(now, now + WINDOW_S)] * self.per_minute
        self._connection.executemany("INSERT INTO grants (taken, until) VALUES (?, ?)", places)

    def _open(self) -> sqlite3.Connection:
        """Return a connection to the file, or to a budget of our own where it cannot be used."""
        until = time.monotonic() + _BUSY_S
        while self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                return _connect(str(self._path))
            except sqlite3.OperationalError as error:
                # SQLite does not wait by itself where two make a new file at once.
                if not _is_busy(error) or time.monotonic() > until:
                    _log.warning("The budget of requests in %s cannot be shared: %s", self._path, error)
                    break
                time.sleep(_AGAIN_S)
            except sqlite3.DatabaseError:
                # Damaged, by a power cut say: nothing in it outlives a few minutes.
                if not self._remove():
                    break
            except OSError as error:
                _log.warning("The budget of requests in %s cannot be shared: %s", self._path, error)
                break
        self.shared = False
        return _connect(":memory:")

    def _remove(self) -> bool:
        assert self._path is not None
        for name in ("-wal", "-shm", ""):
            with suppress(OSError):
                self._path.with_name(self._path.name + name).unlink(missing_ok=True)
        return not self._path.exists()


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return "locked" in str(error)


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
