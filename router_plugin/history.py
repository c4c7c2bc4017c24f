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

import atexit
import csv
import json
import logging
import math
import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .call.inflight import Call
from .clock import Clock
from .errors import ResourceNotFoundError, RouterError, SpecError, did_you_mean
from .fork import renew_in_child
from .records import AttemptRecord
from .redact import redact, shown
from .spec.capability import names_of

if TYPE_CHECKING:
    from .spec.store import Database

log = logging.getLogger("router_plugin")
ROWS_IN_MEMORY, ROWS_IN_FILE = 1_000, 100_000
_MOST_WAITING = 10_000
_PAUSE_S = 0.5
_LONGEST_EXTRA = 20_000  # characters of ``extra`` as JSON
_ATTEMPT = tuple(field.name for field in fields(AttemptRecord))
_FILTERS = ("since", "until", "model", "rule", "status", "user")
Record = dict[str, Any]


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
        if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int) or rows < 1):
            raise SpecError(f"history_rows: must be a whole number of at least 1, got {shown(rows)}")
        if days is not None and (isinstance(days, bool) or not isinstance(days, (int, float)) or not days > 0):
            raise SpecError(f"history_days: must be a number of days greater than 0, got {shown(days)}")
        self.keep_s = math.inf if days is None else days * 86_400.0
        self.router, self._clock, self._database = router, clock, database
        self.rows = rows or (ROWS_IN_MEMORY if database is None else ROWS_IN_FILE)
        self.log_content, self._redaction = bool(log_content), redaction
        self.dropped = 0
        self._waiting: deque[tuple[Call, float]] = deque()
        self._ring: OrderedDict[str, Record] = OrderedDict()
        self._lock = threading.RLock()
        self._said: set[str] = set()
        WRITER.serve(self)
        renew_in_child(self)

    def after_fork(self) -> None:
        """What waits is the parent's to write."""
        self._lock = threading.RLock()
        self._waiting.clear()

    def add(self, call: Call) -> None:
        """Take a call that is over."""
        if not self.log_content and not call.shadows:
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
                records = [record for call, at in batch if (record := self._made(call, at)) is not None]
                if records:
                    self._keep(records)
            except RouterError:
                self._waiting.extendleft(reversed(batch))
                raise

    def try_flush(self) -> None:
        """``flush`` for those who cannot answer for it: what goes wrong is said once."""
        try:
            self.flush()
        except RouterError as error:
            self._warn(f"requests of router {self.router!r} cannot be recorded: {error}")

    def _warn(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            log.warning("%s", message)

    def _made(self, call: Call, ended: float) -> Record | None:
        try:
            record = record_of(call, ended)
            if self.log_content:
                record.update(self._content(call))
            return record
        except Exception:  # a record must not cost the others theirs; it is said with its trace
            log.exception("a request of router %r could not be recorded", self.router)
            return None

    def _content(self, call: Call) -> Record:
        kept: Record = {"messages": call.kwargs.get("messages"), "answer": call.answer}
        return {name: self._redaction(value) if self._redaction is not None else value for name, value in kept.items()}

    def _keep(self, records: list[Record]) -> None:
        if self._database is None:
            for record in records:
                self._ring[record["request_id"]] = record
            while len(self._ring) > self.rows:
                self._ring.popitem(last=False)
            return
        oldest = self._clock.wall() - self.keep_s
        rows = [_row(record) for record in records]

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
        wanted = _checked(filters)
        if self.keep_s < math.inf:
            wanted["since"] = max(wanted.get("since", 0.0), self._clock.wall() - self.keep_s)
        self.flush()
        if self._database is None:
            with self._lock:
                newest = list(reversed(self._ring.values()))
            return [dict(record) for record in newest if _fits(record, wanted)][:limit]
        where, values = "router = ?", [self.router]
        for name, value in wanted.items():
            column = {"since": "created_at >= ?", "until": "created_at < ?"}.get(name, f"{name} = ?")
            where, values = f"{where} AND {column}", [*values, value]
        sql = f"SELECT record FROM requests WHERE {where} ORDER BY created_at DESC, id DESC LIMIT {limit}"
        return [_unpacked(text) for (text,) in self._database.read(sql, *values)]

    def get(self, request_id: str) -> Record:
        self.flush()
        found: Record | None = None
        if self._database is None:
            found = self._ring.get(request_id) if isinstance(request_id, str) else None
        else:
            rows = self._database.read(
                "SELECT record FROM requests WHERE id = ? AND router = ?", request_id, self.router
            )
            found = _unpacked(rows[0][0]) if rows else None
        if found is None:
            raise ResourceNotFoundError(f"router {self.router!r} has no request {shown(request_id)} in its history")
        return dict(found)

    def feedback(self, request_id: str, score: float) -> Record:
        """Attach a judgement; the record."""
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0.0 <= score <= 1.0:
            raise SpecError(f"feedback: score: must be a number between 0 and 1, got {shown(score)}")
        return self.amend(request_id, {"feedback": float(score), "feedback_at": _iso(self._clock.wall())})

    def amend(self, request_id: str, changes: Mapping[str, Any]) -> Record:
        """Set fields of a record that is kept, and give it. A list is added to what there is."""
        with self._lock:
            record = self.get(request_id)
            for name, value in changes.items():
                record[name] = [*record.get(name, ()), *value] if isinstance(value, list) else value
            self._keep_changed(record)
        return record

    def _keep_changed(self, record: Record) -> None:
        if self._database is None:
            self._ring[record["request_id"]] = record
            return
        text = _packed(record)
        self._database.write(
            lambda connection: connection.execute(
                "UPDATE requests SET record = ? WHERE id = ?", (text, record["request_id"])
            )
        )

    def export(self, path: str | os.PathLike[str], format: str | None = None, **filters: Any) -> int:
        """All records that fit, oldest first, into a file; how many."""
        file = Path(path)
        kind = format or file.suffix.lstrip(".").lower()
        if kind not in ("jsonl", "csv"):
            raise SpecError(f"export: format: must be 'jsonl' or 'csv' (or the file's ending), not {shown(kind)}")
        records = list(reversed(self.find(limit=1 << 40, **filters)))
        with os.fdopen(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            if kind == "jsonl":
                out.writelines(_json(record) + "\n" for record in records)
            else:
                names = list(dict.fromkeys(name for record in records for name in record))
                table = csv.writer(out)
                table.writerow(names)
                table.writerows([_cell(record.get(name)) for name in names] for record in records)
        return len(records)


def record_of(call: Call, ended: float) -> Record:
    """What is kept of a call: an allow-list. Times ISO 8601 UTC, latencies ms, money USD."""
    result, request = call.result, call.request
    last = result.attempts[-1] if result.attempts else None
    created = ended - (result.latency_s or 0.0)
    rule, targets, candidates = result.matched_rule, result.selected_targets, result.candidates()
    served = result.status not in ("refused", "failed")
    tokens_in = [a.input_tokens for a in result.attempts if a.input_tokens is not None]
    tokens_out = [a.output_tokens for a in result.attempts if a.output_tokens is not None]
    ttft = last.ttft_ms if last is not None and last.outcome == "answered" else None
    return {
        "request_id": result.request_id,
        "created_at": _iso(created),
        "router": result.router,
        "version": result.version,
        "hash": result.hash,
        "matched_rule": rule.name if rule is not None else None,
        "selected_target": targets[0].model_name if targets else None,
        "deployment": result.deployment if served else None,
        "model": result.model if served else None,
        "status": result.status,
        "ranking": [one[0] for one in candidates],
        "rejected": result.rejected,
        "scores": {one[0]: one[1] for one in candidates},
        "qualities": {one[0]: one[2] for one in candidates},
        "propensity": result.propensity,
        "objective": result.objective,
        "waived": result.waived,
        "attempts": [{name: getattr(attempt, name) for name in _ATTEMPT} for attempt in result.attempts],
        "input_tokens": sum(tokens_in) if tokens_in else None,
        "output_tokens": sum(tokens_out) if tokens_out else None,
        "cost_usd": result.cost_usd,
        "estimated_cost_usd": result.estimated_cost_usd,
        "ttft_ms": ttft,
        "latency_ms": None if result.latency_s is None else result.latency_s * 1e3,
        "user": _user(request.keys.get("user")),
        "extra": _extra(request.keys.get("extra")),
        "shadows": list(result.shadows),
        "rule_trace": result.rule_trace,
        "output_cap": result.output_cap,
        "notes": result.notes,
        "request": {
            "input_tokens": request.estimate,
            "input_tokens_upper": min(request.upper, 1 << 53),
            "max_tokens": request.cap,
            "n": request.n,
            "stream": request.stream,
            "needs": names_of(request.needs),
        },
    }


def _row(record: Record) -> tuple[Any, ...]:
    return (
        record["request_id"],
        record["router"],
        datetime.fromisoformat(record["created_at"]).timestamp(),
        record["status"],
        record["matched_rule"],
        record["model"],
        None if record["user"] is None else str(record["user"]),
        _packed(record),
    )


def _packed(record: Record) -> str:
    """A record as it lies in the file: names of candidates once, figures to six digits."""
    kept = {name: value for name, value in record.items() if name not in ("ranking", "scores", "qualities", "router")}
    scores, qualities = record["scores"], record["qualities"]
    kept["candidates"] = [
        [name, None if scores[name] is None else float(f"{scores[name]:.6g}"), float(f"{qualities[name]:.6g}")]
        for name in record["ranking"]
    ]
    kept["router"] = record["router"]
    return _json(kept)


def _unpacked(text: str) -> Record:
    record: Record = json.loads(text)
    candidates = record.pop("candidates")
    record["ranking"] = [one[0] for one in candidates]
    record["scores"] = {one[0]: one[1] for one in candidates}
    record["qualities"] = {one[0]: one[2] for one in candidates}
    return record


def _checked(filters: Mapping[str, Any]) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    for name, value in filters.items():
        if name not in _FILTERS:
            raise SpecError(f"list_requests: unknown filter {name!r}{did_you_mean(name, _FILTERS)}; known: "
                            f"{', '.join(_FILTERS)}")  # fmt: skip
        if value is None:
            continue
        if name in ("since", "until"):
            value = _seconds(name, value)
        elif not isinstance(value, (str, int)):
            raise SpecError(f"{name}: must be text, not {shown(value)}")
        wanted[name] = value if name in ("since", "until") else str(value)
    return wanted


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            raise SpecError(f"{name}: must be a time such as '2026-01-31T12:00:00+00:00', got {shown(value)}") from None
    if isinstance(value, datetime):
        return (value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)).timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SpecError(f"{name}: must be a datetime or seconds of the epoch, not {shown(value)}")
    return float(value)


def _fits(record: Record, wanted: Mapping[str, Any]) -> bool:
    for name, value in wanted.items():
        if name in ("since", "until"):
            at = datetime.fromisoformat(record["created_at"]).timestamp()
            if at < value if name == "since" else at >= value:
                return False
        elif str(record["matched_rule" if name == "rule" else name]) != value:
            return False
    return True


def _user(value: Any) -> Any:
    return value if value is None or isinstance(value, int) else redact(str(value))[:512]


def _extra(value: Any) -> Any:
    if value is None:
        return None
    text = redact(json.dumps(value, default=str, ensure_ascii=False))
    if len(text) > _LONGEST_EXTRA - 1:
        return {"left_out": f"extra of {len(text)} characters or more"}
    try:
        return json.loads(text)
    except ValueError:  # a secret was taken out across a border of the JSON
        return {"redacted": text}


def _iso(wall: float) -> str:
    return datetime.fromtimestamp(wall, timezone.utc).isoformat(timespec="microseconds")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace").decode()


def _cell(value: Any) -> Any:
    return _json(value) if isinstance(value, (dict, list)) else value


class Writer:
    """The thread that makes records. One for the process; it ends with it."""

    def __init__(self) -> None:
        self._served: weakref.WeakSet[History] = weakref.WeakSet()
        self._work = threading.Event()
        self._thread: threading.Thread | None = None
        self._ended = False
        self._lock = threading.Lock()
        renew_in_child(self)
        atexit.register(self.finish)

    def after_fork(self) -> None:
        self._work, self._lock, self._thread = threading.Event(), threading.Lock(), None

    def serve(self, history: History) -> None:
        with self._lock:
            self._served.add(history)

    def wake(self) -> None:
        if not self._work.is_set() and not self._ended:
            self._work.set()
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="router_plugin-history", daemon=True)
                self._thread.start()

    def _all(self) -> Iterator[History]:
        with self._lock:
            served = list(self._served)
        yield from served

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._work.wait()
            pause.wait(_PAUSE_S)
            self._work.clear()
            for history in self._all():
                history.try_flush()
            history = None  # type: ignore[assignment]  # a router that nobody holds any more may go

    def finish(self) -> None:
        """The interpreter ends: keep what waits. Streams that are collected later start no thread any more."""
        self._ended = True
        for history in self._all():
            history.try_flush()


WRITER = Writer()
