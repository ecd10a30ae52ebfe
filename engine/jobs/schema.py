# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the ledger, their migrations, and what the errors of SQLite mean to a person."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from ..errors import EspalierError

APPLICATION = 0x45535031
"""Marks the file as ours: "ESP1"."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE jobs (
            id TEXT PRIMARY KEY NOT NULL,
            serial INTEGER NOT NULL,
            owner TEXT NOT NULL,
            state TEXT NOT NULL,
            engine TEXT NOT NULL,
            request TEXT NOT NULL,
            placement TEXT NOT NULL,
            created REAL NOT NULL,
            started REAL,
            finished REAL,
            attempts INTEGER NOT NULL,
            runs INTEGER NOT NULL,
            result TEXT NOT NULL,
            error TEXT NOT NULL,
            remote_id TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX jobs_by_state ON jobs (state, created)",
        """CREATE TABLE transitions (
            job TEXT NOT NULL REFERENCES jobs (id),
            serial INTEGER NOT NULL,
            state TEXT NOT NULL,
            owner TEXT NOT NULL,
            at REAL NOT NULL,
            PRIMARY KEY (job, serial)
        ) STRICT, WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE jobs ADD COLUMN digest TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE jobs ADD COLUMN spent REAL NOT NULL DEFAULT 0.0",
    ),
    ("ALTER TABLE jobs ADD COLUMN server TEXT NOT NULL DEFAULT ''",),
    (
        "ALTER TABLE jobs ADD COLUMN rank REAL NOT NULL DEFAULT 0.0",
        "ALTER TABLE jobs ADD COLUMN cleared INTEGER NOT NULL DEFAULT 0",
        "UPDATE jobs SET rank = created",
        "UPDATE jobs SET cleared = 1 WHERE state IN ('failed', 'cancelled', 'imported')",
    ),
)
"""What brings the ledger from version n to version n + 1."""

_BUSY_S = 10.0
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection to the ledger at `path`, created or brought up to date. Transactions are begun by hand.

    Raises EspalierError `ledger_damaged`, `ledger_newer` or one of `explain`.
    """
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise EspalierError("ledger_damaged", path=path)
        _migrate(connection, path)
        return connection
    except (sqlite3.Error, EspalierError) as error:
        if connection is not None:
            connection.close()
        raise explain(error, path) from error


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging, which SQLite does not wait for by itself while another program has the file open.

    Where the file system does not support it SQLite keeps its older journal, which is as safe.
    """
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version > len(MIGRATIONS):
            raise EspalierError("ledger_newer", path=path)
        if tables and application != APPLICATION:
            raise EspalierError("ledger_damaged", "it is the database of another program", path=path)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if version < len(MIGRATIONS):
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def explain(error: sqlite3.Error | EspalierError, path: Path) -> EspalierError:
    """Return what `error`, raised by SQLite on the ledger at `path`, is to a person."""
    if isinstance(error, EspalierError):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _BUSY:
        return EspalierError("ledger_busy", str(error), path=path)
    if code == sqlite3.SQLITE_FULL:
        return EspalierError("disk_full", str(error), path=path)
    if code in _DAMAGED:
        return EspalierError("ledger_damaged", str(error), path=path)
    if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
        return EspalierError("output_unwritable", str(error), path=path, reason=str(error))
    return EspalierError("ledger_damaged", str(error), path=path)  # a table or a column is not what it should be
