"""Training jobs in the client's file: what was asked for, and every answer and score as it arrives.

Rule: one transaction a step. Before a call its worst case is written down (``held``), after it what it cost; so a
killed process leaves behind exactly which calls were in flight, and their worst case counts as spent. An answer that is
there is never asked for again. Prompts and answers of a job stay in the file (0600) until the job is deleted: they were
paid for. Tables are made when they are first needed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...clock import iso
from ...errors import ResourceNotFoundError, did_you_mean
from ...redact import shown
from ...spec.store import Database

PENDING, RUNNING, SUCCESS = "PENDING", "RUNNING", "SUCCESS"
FAILURE, WITHOUT_RETRY = "FAILURE", "FAILURE_WITHOUT_RETRY"
ENDED = (SUCCESS, FAILURE, WITHOUT_RETRY)
_TABLES = (
    """CREATE TABLE IF NOT EXISTS training_jobs (
      name TEXT PRIMARY KEY, digest TEXT NOT NULL, router TEXT NOT NULL, status TEXT NOT NULL, created_at REAL NOT NULL,
      updated_at REAL NOT NULL, content TEXT NOT NULL, record TEXT NOT NULL, lost INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE IF NOT EXISTS training_requests (
      job TEXT NOT NULL, number INTEGER NOT NULL, request TEXT NOT NULL, PRIMARY KEY (job, number))""",
    """CREATE TABLE IF NOT EXISTS training_answers (
      job TEXT NOT NULL, number INTEGER NOT NULL, model TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'asked',
      answer TEXT, input_tokens INTEGER, output_tokens INTEGER, cost INTEGER, latency_ms REAL, score REAL, raw TEXT,
      reason TEXT, spent INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0,
      PRIMARY KEY (job, number, model))""",
)


@dataclass(frozen=True, slots=True)
class RouterTrainingJob:
    """A training job as it stands. ``n_pairs`` (requests × llms) of which ``n_done`` have a score and ``n_failed`` were
    tried and have none; ``scores`` counts the scores of each model. Money in USD, times ISO 8601 UTC; ``spent_usd``
    counts calls that were in flight when the process died at their worst case. ``version`` is the router's version
    that it wrote, ``artefact`` where the predictor lies beside the store."""

    name: str
    status: str
    router: str
    llms: tuple[str, ...]
    n_requests: int
    n_pairs: int = 0
    n_done: int = 0
    n_failed: int = 0
    spent_usd: float = 0.0
    estimate_usd: float | None = None
    budget_usd: float | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    seed: int = 0
    scores: Mapping[str, int] = field(default_factory=dict)
    version: int | None = None
    artefact: str | None = None

    @property
    def id(self) -> str:
        return self.name

    def with_status(self, status: str, error: str | None = None) -> RouterTrainingJob:
        return replace(self, status=status, error=error)


@dataclass(slots=True)
class Cell:
    """One request × model. ``state``: new, asked (in flight), answered, scored, unscored or failed; a state that ends
    in ``!`` is final: asking again would say the same."""

    number: int
    model: str
    state: str = "new"
    answer: str | None = None
    score: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: int | None = None


class JobStore:
    """The training jobs of one file. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._made = False

    def _ready(self) -> None:
        if not self._made or not self.database.path.exists():
            self.database.write(lambda connection: [connection.execute(table) for table in _TABLES])
            self._made = True

    def create(
        self, name: str, digest: str, router: str, content: Any, record: Any, requests: Sequence[str], now: float
    ) -> None:
        """Keep a job that is new, with everything it asks."""
        self._ready()
        values = (name, digest, router, PENDING, now, now, json.dumps(content), json.dumps(record))

        def add(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO training_jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)", values)
            rows = [(name, number, text) for number, text in enumerate(requests)]
            connection.executemany("INSERT INTO training_requests VALUES (?, ?, ?)", rows)

        self.database.write(add)

    def find(self, name: str) -> dict[str, Any] | None:
        """A job's row; None where there is none."""
        self._ready()
        rows = self.database.read(
            "SELECT name, digest, router, status, created_at, updated_at, content, record, lost FROM training_jobs "
            "WHERE name = ?",
            name,
        )
        if not rows:
            return None
        names = ("name", "digest", "router", "status", "created_at", "updated_at", "content", "record", "lost")
        found = dict(zip(names, rows[0], strict=True))
        found["content"], found["record"] = json.loads(found["content"]), json.loads(found["record"])
        return found

    def get(self, name: str) -> dict[str, Any]:
        """Raises: ResourceNotFoundError."""
        found = self.find(name)
        if found is None:
            known = self.names()
            raise ResourceNotFoundError(
                f"there is no training job {shown(name)}{did_you_mean(name, known)}; known: "
                f"{', '.join(known[-20:]) or 'none'}"
            )
        return found

    def job(self, row: Mapping[str, Any]) -> RouterTrainingJob:
        """A job's row as callers see it."""
        record, content = row["record"], row["content"]
        scores, failures, spent = self.counts(row["name"])
        return RouterTrainingJob(
            row["name"],
            row["status"],
            row["router"],
            tuple(record["llms"]),
            record["n_requests"],
            record["n_requests"] * len(record["llms"]),
            sum(scores.values()),
            failures,
            spent / 1e9,
            record["estimate_usd"],
            content["budget_usd"],
            tuple(record["warnings"]),
            record["error"],
            iso(row["created_at"]),
            iso(row["updated_at"]),
            content["seed"],
            {model: scores.get(model, 0) for model in record["llms"]},
            record.get("version"),
            record.get("artefact"),
        )

    def names(self) -> list[str]:
        self._ready()
        return [name for (name,) in self.database.read("SELECT name FROM training_jobs ORDER BY created_at, name")]

    def requests(self, name: str) -> list[str]:
        rows = self.database.read("SELECT request FROM training_requests WHERE job = ? ORDER BY number", name)
        return [text for (text,) in rows]

    def update(self, name: str, status: str, record: Any, now: float, content: Any = None) -> None:
        text, changed = json.dumps(record), None if content is None else json.dumps(content)
        self.database.write(
            lambda connection: connection.execute(
                "UPDATE training_jobs SET status = ?, record = ?, updated_at = ?, content = coalesce(?, content) "
                "WHERE name = ?",
                (status, text, now, changed, name),
            )
        )

    def delete(self, name: str) -> None:
        def change(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM training_jobs WHERE name = ?", (name,))
            connection.execute("DELETE FROM training_requests WHERE job = ?", (name,))
            connection.execute("DELETE FROM training_answers WHERE job = ?", (name,))

        self.database.write(change)

    # -- answers ------------------------------------------------------------------------------------------------

    def cells(self, name: str) -> list[Cell]:
        rows = self.database.read(
            "SELECT number, model, state, answer, score, input_tokens, output_tokens, cost FROM training_answers "
            "WHERE job = ? ORDER BY number, model",
            name,
        )
        return [Cell(n, m, state, None if a is None else json.loads(a), *rest) for n, m, state, a, *rest in rows]

    def counts(self, name: str) -> tuple[dict[str, int], int, int]:
        """Scores of each model; pairs that were tried and have none; what was spent, in nano-dollars."""
        self._ready()
        rows = self.database.read(
            "SELECT model, sum(score IS NOT NULL), sum(state LIKE 'failed%' OR state LIKE 'unscored%'), sum(spent) "
            "FROM training_answers WHERE job = ? GROUP BY model",
            name,
        )
        ((lost,),) = self.database.read("SELECT coalesce(sum(lost), 0) FROM training_jobs WHERE name = ?", name)
        spent = sum(row[3] for row in rows) + lost
        return {row[0]: row[1] for row in rows if row[1]}, sum(row[2] for row in rows), spent

    def reasons(self, name: str) -> list[str]:
        """Why pairs have no score, the most frequent reason first."""
        rows = self.database.read(
            "SELECT reason FROM training_answers WHERE job = ? AND score IS NULL AND reason IS NOT NULL "
            "GROUP BY reason ORDER BY count(*) DESC, reason LIMIT 20",
            name,
        )
        return [str(reason) for (reason,) in rows]

    def hold(self, name: str, cell: Cell, nano: int) -> None:
        """A call is about to be made."""
        self.database.write(
            lambda connection: connection.execute(
                "INSERT INTO training_answers (job, number, model, held) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (job, number, model) DO UPDATE SET held = held + excluded.held, "
                "state = CASE WHEN answer IS NULL THEN 'asked' ELSE state END",
                (name, cell.number, cell.model, nano),
            )
        )

    def keep(self, name: str, cell: Cell, spent: int, **values: Any) -> None:
        """A call has ended: nothing is held, ``spent`` was paid, and these columns are known now."""
        columns = "".join(f", {column} = ?" for column in values)
        self.database.write(
            lambda connection: connection.execute(
                f"UPDATE training_answers SET held = 0, spent = spent + ?{columns} "
                "WHERE job = ? AND number = ? AND model = ?",
                (spent, *values.values(), name, cell.number, cell.model),
            )
        )
        for column in ("state", "score", "input_tokens", "output_tokens", "cost"):
            if column in values:
                setattr(cell, column, values[column])

    def recover(self, name: str, budget: int | None) -> tuple[int, int]:
        """After a process died: what was in flight is lost, and counts at its worst case (never above the budget, which
        no reservation exceeds). How many calls now, and nano-dollars of all that ever were."""

        def change(connection: sqlite3.Connection) -> tuple[int, int]:
            n, held, spent = connection.execute(
                "SELECT count(CASE WHEN held > 0 OR state = 'asked' THEN 1 END), coalesce(sum(held), 0), "
                "coalesce(sum(spent), 0) FROM training_answers WHERE job = ?",
                (name,),
            ).fetchone()
            ((lost,),) = connection.execute("SELECT lost FROM training_jobs WHERE name = ?", (name,)).fetchall()
            more = held if budget is None else max(0, min(held, budget - spent - lost))
            connection.execute("UPDATE training_jobs SET lost = lost + ? WHERE name = ?", (more, name))
            connection.execute("UPDATE training_answers SET held = 0 WHERE job = ?", (name,))
            connection.execute("UPDATE training_answers SET state = 'new' WHERE job = ? AND state = 'asked'", (name,))
            return n, lost + more

        return self.database.write(change)
