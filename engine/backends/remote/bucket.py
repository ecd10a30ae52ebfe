# SPDX-License-Identifier: GPL-3.0-or-later
"""The budget of requests that all jobs and all Blenders of this machine share, in a small SQLite file.

A server counts when requests arrive, which lies somewhere between sending and answer. Therefore a request takes one
of the minute's places from when it is sent until a minute after its answer: then no minute of the server's own, however
it lies, holds more than its limit. Those who wait are served by rank, creations before polls, then in order.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .addresses import origin
from .schedule import Clock, Crowd, quantile, wait

CREATE, POLL = 0, 1
WINDOW_S = 60.25
LONGEST_S = 30.0
"""A request whose answer takes longer has long been counted by the server."""
STALE_S = 30.0
LOOK_S = 8.0
STARVING_S = 300.0
"""A poll that waited so long goes before creations: results do not live for ever."""
KEPT_S = 86_400.0
SAMPLES = 24
FRESH_S = 2.0
"""What other processes learned is looked up this often."""
_BUSY_S = 10.0
_AHEAD_S = 3600.0
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


class Bucket:
    """One process's hand on the shared file; safe to use from many threads. Times are those of `clock`.

    Where the file cannot be used the budget is this process's own.
    """

    def __init__(self, path: Path | None, per_minute: int, clock: Clock) -> None:
        self.per_minute = per_minute
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
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
            with self._changing() as db:
                db.execute("DELETE FROM waiting WHERE id = ?", (me,))
            raise

    def take(self) -> int:
        """Take a place at once, whether there is one or not: for the rare request that cannot wait."""
        with self._changing() as db:
            return self._grant(db, self._clock.now())

    def done(self, grant: int) -> None:
        """Note that the answer has come, or never will."""
        with self._changing() as db:
            until = self._clock.now() + WINDOW_S
            db.execute("UPDATE grants SET until = min(until, ?) WHERE id = ?", (until, grant))

    def pause(self, seconds: float) -> None:
        """Let nobody send for `seconds`: the server has said so."""
        with self._changing() as db:
            until = self._clock.now() + seconds
            db.execute(
                "INSERT INTO pause VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET until = max(until, excluded.until)",
                (until,),
            )

    def enter(self, job: str, born: float, kind: str, alive_s: float) -> Crowd:
        """Count `job` among those that are polled, for `alive_s` seconds unless it enters again; return the crowd."""
        with self._changing() as db:
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

    def yields(self, job: str) -> bool:
        """Put `job` into the line of polls, and tell whether an older one of its kind was never there."""
        with self._changing() as db:
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

    def leave(self, job: str) -> None:
        """Count `job` no longer."""
        with self._changing() as db:
            db.execute("DELETE FROM making WHERE id = ?", (job,))
            db.execute("DELETE FROM waiting WHERE id = ?", (job,))

    def learn(self, kind: str, seconds: float) -> None:
        """Remember how long a job of `kind` took."""
        with self._changing() as db:
            now = self._clock.now()
            db.execute("DELETE FROM took WHERE at < ? OR at > ?", (now - KEPT_S, now + 1.0))
            db.execute("INSERT INTO took (kind, at, seconds) VALUES (?, ?, ?)", (kind, now, seconds))
            self._read_samples(db, kind, now)

    def expected(self, kind: str, share: float) -> float | None:
        """Return in how many seconds `share` of the last jobs of `kind` were done, whichever process saw them done."""
        now = self._clock.now()
        if now - self._read_at.get(kind, -FRESH_S) >= FRESH_S:
            with self._changing() as db:
                self._read_samples(db, kind, now)
        return quantile(self._samples.get(kind, []), share)

    def _read_samples(self, db: sqlite3.Connection, kind: str, now: float) -> None:
        rows = db.execute(
            "SELECT seconds FROM took WHERE kind = ? AND at BETWEEN ? AND ? ORDER BY id DESC LIMIT ?",
            (kind, now - KEPT_S, now + 1.0, SAMPLES),
        )
        self._samples[kind], self._read_at[kind] = [seconds for (seconds,) in rows], now

    def _try(self, me: str, rank: int, since: float) -> tuple[int | None, float]:
        """Return a place, or how long to wait before trying again."""
        with self._changing() as db:
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

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file for one change; where it cannot be used any more, go on with a budget of our own."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error:
                with suppress(sqlite3.Error):
                    self._connection.close()
                self._connection = _connect(":memory:")
                self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        if self._path is not None:
            for _ in range(2):
                with suppress(OSError):
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    return _connect(str(self._path))
                except sqlite3.OperationalError:
                    break
                except sqlite3.DatabaseError:
                    # Damaged, by a power cut say: nothing in it outlives two minutes.
                    for name in ("", "-wal", "-shm"):
                        with suppress(OSError):
                            self._path.with_name(self._path.name + name).unlink(missing_ok=True)
        return _connect(":memory:")


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
