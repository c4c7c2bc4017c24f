"""One SQLite file: routers with their versions, and (for history.py) requests.

Rule: WAL and full synchronisation, so that what a call returned from is on disk and a crash at any instant leaves the
last finished write; every write is one immediate transaction, so that several processes may share the file. Versions
are only ever added: the active one is a number beside them. Files are 0600, folders 0700.

Source: SQLite's own documentation of WAL, of ``synchronous`` and of how to corrupt a database (a connection carried
over a fork, a file replaced while it is open: both are looked for here).
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..clock import Clock, iso
from ..errors import ResourceAlreadyExistsError, ResourceNotFoundError, StoreError, VersionConflictError, no_version
from ..fork import renew_in_child
from ..redact import shown
from .document import canonical, digest, document, spec_of_document
from .router_spec import RouterSpec

SCHEMA = 1
BUSY_S = 5.0
_TABLES = """
CREATE TABLE IF NOT EXISTS routers (name TEXT PRIMARY KEY, active INTEGER NOT NULL, created_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS versions (
  router TEXT NOT NULL, number INTEGER NOT NULL, hash TEXT NOT NULL, document TEXT NOT NULL,
  created_at REAL NOT NULL, note TEXT, PRIMARY KEY (router, number)
);
CREATE TABLE IF NOT EXISTS requests (
  id TEXT PRIMARY KEY, router TEXT NOT NULL, created_at REAL NOT NULL, status TEXT, rule TEXT, model TEXT, user TEXT,
  record TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS requests_by_time ON requests (router, created_at);
"""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """One version as it is kept."""

    number: int
    spec: RouterSpec
    hash: str


class Database:
    """Connections to one file: opened when they are first needed, one a process, used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._parents: list[sqlite3.Connection] = []  # of a forked child: never used and never closed there
        self._inode = 0
        renew_in_child(self)

    def after_fork(self) -> None:
        self._lock = threading.RLock()
        if self._connection is not None:
            self._parents.append(self._connection)
            self._connection = None

    def read(self, sql: str, *values: Any) -> list[Any]:
        """All rows of a query. Text that no file can hold (lone surrogates) is asked for as it would be kept.

        Raises: StoreError where the file cannot be read.
        """
        asked = [value.encode("utf-8", "replace").decode() if isinstance(value, str) else value for value in values]
        return self._do(lambda connection: connection.execute(sql, asked).fetchall())

    def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """``change`` in one transaction: all of it is on disk afterwards, or, where it raises, none.

        Raises: StoreError where the file cannot be written.
        """

        def whole(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            try:
                done = change(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return done

        return self._do(whole)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            try:
                self._look()
                return work(self._connection or self._open())
            except sqlite3.Error as error:
                raise StoreError(f"{self.path.name}: {error}{_hint(error)}") from error
            except OSError as error:
                raise StoreError(f"{self.path.name}: cannot be opened: {error.strerror or error}") from error

    def _look(self) -> None:
        """A file that was deleted or replaced while it was open would take writes that nobody ever sees."""
        if self._connection is None:
            return
        try:
            there = self.path.stat().st_ino
        except FileNotFoundError:
            there = -1
        if there != self._inode:
            self.close()
            if there == -1:
                raise StoreError(f"{self.path.name}: was deleted while it was open; nothing was written")

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except PermissionError:
            return self._open_to_read()
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA:
                raise StoreError(f"{self.path.name}: was written by a newer router_plugin (schema {version})")
            if version < SCHEMA:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        self._connection, self._inode = connection, self.path.stat().st_ino
        return connection

    def _open_to_read(self) -> sqlite3.Connection:
        """Somebody else's file: it can be looked at, as it is at this moment."""
        os.close(os.open(self.path, os.O_RDONLY))
        address = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
        self._connection, self._inode = connection, self.path.stat().st_ino
        return connection

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _hint(error: sqlite3.Error) -> str:
    text = str(error)
    if "locked" in text or "busy" in text:
        return f" for more than {BUSY_S:g} s by another process; try again"
    if "not a database" in text or "malformed" in text:
        return "; restore it from a copy, or move it away to begin anew"
    return "; nothing was written" if "readonly" in text or "full" in text else ""


class Store:
    """The routers of one file. Every method is one transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database, self._clock = database, clock

    def names(self) -> list[str]:
        return [name for (name,) in self.database.read("SELECT name FROM routers ORDER BY created_at, name")]

    def active(self, name: str) -> int:
        """The number of the deployed version.

        Raises: ResourceNotFoundError where there is no router of that name.
        """
        rows = self.database.read("SELECT active FROM routers WHERE name = ?", name)
        if not rows:
            known = ", ".join(self.names()[:20]) or "none"
            raise ResourceNotFoundError(
                f"there is no router {shown(name)} in {self.database.path.name}; known: {known}"
            )
        return int(rows[0][0])

    def latest(self, name: str) -> int:
        """The highest number there is; 0 where there is no router of that name."""
        return int(self.database.read("SELECT coalesce(max(number), 0) FROM versions WHERE router = ?", name)[0][0])

    def versions(self, name: str) -> list[dict[str, Any]]:
        active = self.active(name)
        rows = self.database.read(
            "SELECT number, hash, created_at, note FROM versions WHERE router = ? ORDER BY number", name
        )
        return [
            {"version": number, "hash": found, "created_at": iso(at), "active": number == active, "note": note}
            for number, found, at, note in rows
        ]

    def load(self, name: str, number: int) -> Stored:
        """One version, whose content has the hash that it was written with.

        Raises: ResourceNotFoundError where there is none; StoreError where it is damaged.
        """
        sql = "SELECT hash, document FROM versions WHERE router = ? AND number = ?"
        rows = self.database.read(sql, name, number) if abs(number) < 1 << 62 else []
        if not rows:
            raise no_version(name, number, [row["version"] for row in self.versions(name)])
        said, text = rows[0]
        try:
            data = json.loads(text)
            found = digest(data)
        except (ValueError, TypeError) as error:
            raise StoreError(f"version {number} of router {name!r} is damaged: {error}") from error
        if found != said:
            raise StoreError(
                f"version {number} of router {name!r} is damaged: its content has the hash {found[:12]}…, not "
                f"{said[:12]}…; deploy another version"
            )
        return Stored(number, spec_of_document(data), said)

    def save(self, spec: RouterSpec, based_on: int | None, deploy: bool, note: str | None) -> Stored:
        """Add a version. ``based_on`` is the highest number that the writer knew of; None: there must be no router.

        Raises: VersionConflictError where there is a higher one; ResourceAlreadyExistsError.
        """
        data, name, now = document(spec), spec.name, self._clock.wall()
        text, found = canonical(data), digest(data)

        def add(connection: sqlite3.Connection) -> int:
            (latest,) = connection.execute(
                "SELECT coalesce(max(number), 0) FROM versions WHERE router = ?", (name,)
            ).fetchone()
            if based_on is None and latest:
                raise ResourceAlreadyExistsError(
                    f"there is a router {name!r} already; update it, or choose another name"
                )
            if based_on is not None and latest != based_on:
                raise VersionConflictError(
                    f"router {name!r} was changed by somebody else: its newest version is {latest}, and this change "
                    f"was made from {based_on}; refresh() and update again"
                )
            number = latest + 1
            connection.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)", (name, number, found, text, now, note))
            if deploy or number == 1:
                connection.execute(
                    "INSERT INTO routers VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET active = excluded.active",
                    (name, number, now),
                )
            return int(number)

        return Stored(self.database.write(add), spec, found)

    def deploy(self, name: str, number: int) -> None:
        """Raises: ResourceNotFoundError where there is no such version."""

        def change(connection: sqlite3.Connection) -> None:
            found = connection.execute("SELECT 1 FROM versions WHERE router = ? AND number = ?", (name, number))
            if found.fetchone() is None:
                rows = connection.execute("SELECT number FROM versions WHERE router = ? ORDER BY number", (name,))
                raise no_version(name, number, [one for (one,) in rows])
            connection.execute("UPDATE routers SET active = ? WHERE name = ?", (number, name))

        self.database.write(change)

    def delete(self, name: str) -> None:
        """Raises: ResourceNotFoundError where there is no router of that name."""

        def change(connection: sqlite3.Connection) -> None:
            if not connection.execute("DELETE FROM routers WHERE name = ?", (name,)).rowcount:
                raise ResourceNotFoundError(f"there is no router {shown(name)}")
            connection.execute("DELETE FROM versions WHERE router = ?", (name,))

        self.database.write(change)
