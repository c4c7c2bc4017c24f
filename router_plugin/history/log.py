"""What was asked: one record a call, made and written by a thread of its own, off the hot path.

Rule: the end of a call puts the call, without its content, into a queue and does nothing else. In memory that queue is
a bounded ring, and a record is made when somebody reads it. Of a store, a writer thread (one a process, started when it
is first needed) makes the records, twice a second at most, and writes them to the file in one transaction a batch;
reading writes what is waiting first, and so does the end of the interpreter. Prompts and answers are kept only where
``log_content`` asks for it, and pass the caller's ``redaction`` first; keys and headers never: a record is made of an
allow-list of fields.

A queue that is not emptied (the file is locked, the disk full) is bounded too: what comes then is counted in
``dropped`` and said once. Statistics may be dropped; the money ledger is elsewhere and forgets nothing.
"""

from __future__ import annotations

import csv
import logging
import math
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..call.inflight import Call
from ..clock import Clock
from ..errors import ResourceNotFoundError, RouterError, SpecError
from ..fork import renew_in_child
from ..redact import shown
from .filters import checked, fits
from .record import Record, cell_of, iso_of, json_of, packed, record_of, row_of, unpacked
from .writer import WRITER

if TYPE_CHECKING:
    from ..spec.store import Database

log = logging.getLogger("router_plugin")
ROWS_IN_MEMORY, ROWS_IN_FILE = 1_000, 100_000
_MOST_WAITING = 10_000


class History:
    """The requests of one router. ``rows`` bounds how many are kept, ``days`` how long; ``log_content`` keeps prompts
    and answers."""

    def __init__(
        self,
        router: str,
        clock: Clock,
        database: Database | None = None,
        *,
        rows: int | None = None,
        days: float | None = None,
        log_content: bool | None = None,
        redaction: Callable[[Any], Any] | None = None,
    ) -> None:
        self.keep_s = math.inf
        self.router, self._clock, self._database = router, clock, database
        self.rows = ROWS_IN_MEMORY if database is None else ROWS_IN_FILE
        self.log_content = False
        self._redaction: Callable[[Any], Any] | None = None
        self.given(rows, days, log_content, redaction)
        self.dropped = 0
        self._waiting: deque[tuple[Call, float]] = deque()
        self._ring: OrderedDict[str, Record] = OrderedDict()
        self._lock = threading.RLock()
        self._said: set[str] = set()
        WRITER.serve(self)
        renew_in_child(self)

    def given(
        self,
        rows: int | None = None,
        days: float | None = None,
        log_content: bool | None = None,
        redaction: Callable[[Any], Any] | None = None,
    ) -> None:
        """What another reference to the router asks for: it holds from now on.

        Raises: SpecError.
        """
        if rows is not None:
            if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
                raise SpecError(f"history_rows: must be a whole number of at least 1, got {shown(rows)}")
            self.rows = rows
        if days is not None:
            if isinstance(days, bool) or not isinstance(days, (int, float)) or not days > 0:
                raise SpecError(f"history_days: must be a number of days greater than 0, got {shown(days)}")
            self.keep_s = days * 86_400.0
        self.log_content = self.log_content if log_content is None else bool(log_content)
        self._redaction = self._redaction if redaction is None else redaction

    def after_fork(self) -> None:
        """What waits is the parent's to write."""
        self._lock = threading.RLock()
        self._waiting.clear()

    def add(self, call: Call) -> None:
        """Take a call that is over."""
        if not self.log_content:
            call.kwargs = {}
            call.request.messages, call.request.tools = (), None
        if self._database is None:
            self._waiting.append((call, self._clock.wall()))
            if len(self._waiting) > self.rows:
                self._waiting.popleft()
            return
        if len(self._waiting) >= _MOST_WAITING:
            self.dropped += 1
            self._warn(f"requests of router {self.router!r} come faster than they can be recorded; some are left out")
            return
        self._waiting.append((call, self._clock.wall()))
        if WRITER.ended:  # the interpreter is on its way out, and a stream was collected late
            self.try_flush()
        else:
            WRITER.wake()

    def flush(self) -> None:
        """Make and keep the records of everything that waits.

        Raises: StoreError where the file cannot be written (what waits goes on waiting).
        """
        with self._lock:
            batch = []
            while self._waiting:
                batch.append(self._waiting.popleft())
            try:
                kept = [made for call, at in batch if (made := self._made(call, at)) is not None]
                if kept:
                    self._keep(kept)
            except RouterError:
                self._waiting.extendleft(reversed(batch))
                raise

    def try_flush(self) -> None:
        """``flush`` for those who cannot answer for it: what goes wrong is said once."""
        try:
            self.flush()
        except Exception as error:
            self._warn(f"requests of router {self.router!r} cannot be recorded: {error}")

    def _warn(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            log.warning("%s", message)

    def _made(self, call: Call, ended: float) -> tuple[Record, tuple[Any, ...]] | None:
        """The record of a call, and its row in a file; None where it cannot be made."""
        try:
            record = record_of(call, ended)
            if self.log_content:
                record.update(self._content(call))
            return record, () if self._database is None else row_of(record)
        except Exception:  # a record must not cost the others theirs; it is said with its trace
            log.exception("a request of router %r could not be recorded", self.router)
            return None

    def _content(self, call: Call) -> Record:
        kept: Record = {"messages": call.kwargs.get("messages"), "answer": call.answer}
        return {name: self._redaction(value) if self._redaction is not None else value for name, value in kept.items()}

    def _keep(self, made: list[tuple[Record, tuple[Any, ...]]]) -> None:
        if self._database is None:
            for record, _ in made:
                self._ring[record["request_id"]] = record
            while len(self._ring) > self.rows:
                self._ring.popitem(last=False)
            return
        oldest = self._clock.wall() - self.keep_s
        rows = [row for _, row in made]

        def insert(connection: Any) -> None:
            connection.executemany("INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            connection.execute(
                "DELETE FROM requests WHERE router = ?1 AND created_at < (SELECT created_at FROM requests "
                "WHERE router = ?1 ORDER BY created_at DESC LIMIT 1 OFFSET ?2)",
                (self.router, self.rows - 1),
            )
            if oldest > -math.inf:
                connection.execute("DELETE FROM requests WHERE router = ? AND created_at < ?", (self.router, oldest))

        self._database.write(insert)

    # -- reading ------------------------------------------------------------------------------------------------

    def find(self, limit: int = 100, **filters: Any) -> list[Record]:
        """Records, newest first."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise SpecError(f"limit: must be a whole number of at least 1, got {shown(limit)}")
        limit, wanted = min(limit, 1 << 40), checked(filters)
        if self.keep_s < math.inf:
            wanted["since"] = max(wanted.get("since", 0.0), self._clock.wall() - self.keep_s)
        self.flush()
        if self._database is None:
            with self._lock:
                newest = list(reversed(self._ring.values()))
            return [dict(record) for record in newest if fits(record, wanted)][:limit]
        where, values = "router = ?", [self.router]
        for name, value in wanted.items():
            column = {"since": "created_at >= ?", "until": "created_at < ?"}.get(name, f"{name} = ?")
            where, values = f"{where} AND {column}", [*values, value]
        sql = f"SELECT record FROM requests WHERE {where} ORDER BY created_at DESC, id DESC LIMIT {limit}"
        return [unpacked(text) for (text,) in self._database.read(sql, *values)]

    def get(self, request_id: str) -> Record:
        self.flush()
        found: Record | None = None
        if self._database is None:
            found = self._ring.get(request_id) if isinstance(request_id, str) else None
        else:
            rows = self._database.read(
                "SELECT record FROM requests WHERE id = ? AND router = ?", request_id, self.router
            )
            found = unpacked(rows[0][0]) if rows else None
        if found is None:
            raise ResourceNotFoundError(f"router {self.router!r} has no request {shown(request_id)} in its history")
        return dict(found)

    def feedback(self, request_id: str, score: float) -> Record:
        """Attach a judgement; the record."""
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0.0 <= score <= 1.0:
            raise SpecError(f"feedback: score: must be a number between 0 and 1, got {shown(score)}")
        return self.amend(request_id, {"feedback": float(score), "feedback_at": iso_of(self._clock.wall())})

    def amend(self, request_id: str, changes: Mapping[str, Any]) -> Record:
        """Set fields of a record that is kept, and give it. A list is added to what there is."""
        with self._lock:
            if self._database is None:
                record = self.get(request_id)
                self._ring[request_id] = _amended(record, changes)
                return record
            self.flush()

            def change(connection: Any) -> Record | None:
                found = connection.execute(
                    "SELECT record FROM requests WHERE id = ? AND router = ?", (request_id, self.router)
                ).fetchone()
                if found is None:
                    return None
                record = _amended(unpacked(found[0]), changes)
                connection.execute("UPDATE requests SET record = ? WHERE id = ?", (packed(record), request_id))
                return record

            amended = self._database.write(change)
        return self.get(request_id) if amended is None else amended

    def export(self, path: str | os.PathLike[str], format: str | None = None, **filters: Any) -> int:
        """All records that fit, oldest first, into a file; how many."""
        file = Path(path)
        kind = format or file.suffix.lstrip(".").lower()
        if kind not in ("jsonl", "csv"):
            raise SpecError(f"export: format: must be 'jsonl' or 'csv' (or the file's ending), not {shown(kind)}")
        records = list(reversed(self.find(limit=1 << 40, **filters)))
        opened = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8", errors="replace") as out:
            if kind == "jsonl":
                out.writelines(json_of(record) + "\n" for record in records)
            else:
                names = list(dict.fromkeys(name for record in records for name in record))
                table = csv.writer(out)
                table.writerow(names)
                table.writerows([cell_of(record.get(name)) for name in names] for record in records)
        return len(records)


def _amended(record: Record, changes: Mapping[str, Any]) -> Record:
    for name, value in changes.items():
        record[name] = [*record.get(name, ()), *value] if isinstance(value, list) else value
    return record
