"""``client.judges``: judges as versioned resources in the client's file (Martian's interface).

Versions are only ever added; the newest is the judge. Each carries the hash of its content, and content that no longer
has it is not used. The table is made when it is first needed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...clock import SYSTEM_CLOCK, Clock, iso
from ...errors import ResourceAlreadyExistsError, ResourceNotFoundError, SpecError, StoreError, did_you_mean
from ...provider.port import CataloguedProvider
from ...provider.usage import field
from ...redact import shown
from ...spec.document import canonical, digest
from ...spec.router_spec import router_name
from .asking import RouterAsk, answer_text, asker
from .judgement import Judgement
from .making import asks, made
from .placing import placed, placed_among
from .specs import JudgeSpec, spec_of_judge

if TYPE_CHECKING:
    from ...router import Router
    from ...routers import Client

_MOST_VERSIONS = 1 << 62  # more than SQLite could count
_TABLE = """
CREATE TABLE IF NOT EXISTS judges (
  id TEXT NOT NULL, number INTEGER NOT NULL, hash TEXT NOT NULL, document TEXT NOT NULL, description TEXT,
  created_at REAL NOT NULL, PRIMARY KEY (id, number)
)
"""


@dataclass(frozen=True, slots=True)
class StoredJudge:
    """One version of a judge. ``hash`` is that of its spec's content."""

    id: str
    version: int
    spec: JudgeSpec
    description: str | None
    hash: str
    created_at: str | None

    @property
    def name(self) -> str:
        return self.id


class JudgesClient:
    """The judges of a client. ``client.judges``."""

    def __init__(self, client: Client, provider: CataloguedProvider | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client, self._database = client, client.store.database
        self._provider, self._clock = provider, clock
        self._made = False

    def create(self, judge_id: str, spec: JudgeSpec | Mapping[str, Any], description: str | None = None) -> StoredJudge:
        """Store a judge under a new name.

        Raises: ResourceAlreadyExistsError; SpecError for a name or spec that is none.
        """
        return self._add(judge_id, spec, description, new=True)

    def update(self, judge_id: str, spec: JudgeSpec | Mapping[str, Any], description: str | None = None) -> StoredJudge:
        """Add a version; the old ones stay. Without a ``description`` the last one stays.

        Raises: ResourceNotFoundError; SpecError.
        """
        return self._add(judge_id, spec, description, new=False)

    def get(self, judge_id: str, version: int | None = None) -> StoredJudge | None:
        """A judge (its newest version, or the one asked for); None where there is none."""
        if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
            raise SpecError(f"version: must be a whole number, not {shown(version)}")
        try:
            name = router_name(judge_id, "judge_id")
        except SpecError:  # nothing can be stored under it
            return None
        if version is not None and not 0 < version < _MOST_VERSIONS:
            return None
        rows = self._read(
            "SELECT id, number, hash, document, description, created_at FROM judges WHERE id = ?1 AND number = "
            "coalesce(?2, (SELECT max(number) FROM judges WHERE id = ?1))",
            name,
            version,
        )
        return _stored(rows[0]) if rows else None

    def list(self) -> list[StoredJudge]:
        """The newest version of every judge, in the order in which they were created."""
        rows = self._read(
            "SELECT id, number, hash, document, description, created_at FROM judges AS j WHERE number = "
            "(SELECT max(number) FROM judges WHERE id = j.id) "
            "ORDER BY (SELECT min(rowid) FROM judges WHERE id = j.id)"
        )
        return [_stored(row) for row in rows]

    def evaluate(
        self,
        judge: StoredJudge | JudgeSpec | str | Any,
        completion_request: Mapping[str, Any],
        completion_response: Any,
        *,
        ref_answer: Any = None,
        budget_usd: float | None = None,
        provider: CataloguedProvider | None = None,
        router: Router | str | None = None,
    ) -> Judgement:
        """Judge one answer (a response, or its text). A judge that fails gives no score and the reason. Its model is
        asked where ``router`` says (without one, where the client's routers do, if any lists it): at its address, with
        its key and for its price.

        Raises: ResourceNotFoundError; SpecError; BudgetExceededError.
        """
        if not isinstance(completion_request, Mapping):
            raise SpecError(f"evaluate: completion_request: must be a mapping, not {shown(completion_request)}")
        if not isinstance(completion_response, str) and field(completion_response, "choices") is None:
            raise SpecError(
                f"evaluate: completion_response: must be a response, or its text, not {shown(completion_response)}"
            )
        found = self.existing(judge) if isinstance(judge, str) else judge
        ask = self._asker(found, router, provider, budget_usd) if any(asks(found)) else None
        ref = completion_request.get("ref_answer") if ref_answer is None else ref_answer
        request = {key: value for key, value in completion_request.items() if key != "ref_answer"}
        return made(found, ask).judge(request, answer_text(completion_response), ref)

    def _asker(
        self, judge: Any, router: Router | str | None, provider: CataloguedProvider | None, budget_usd: float | None
    ) -> RouterAsk:
        """Who asks a judge's models."""
        if router is None:
            models, knows = placed_among(judge, self._client.routers.list())
        else:
            knows = self._client.routers._existing(router)
            models = [deployment for _, deployment in placed(judge, knows)]
        given = provider or self._provider or (None if knows is None else knows.provider)
        return asker(models, given, self._clock if knows is None else knows.clock, budget_usd)

    def existing(self, judge_id: str) -> StoredJudge:
        """A judge that must be there.

        Raises: ResourceNotFoundError.
        """
        found = self.get(judge_id)
        if found is None:
            known = [row[0] for row in self._read("SELECT DISTINCT id FROM judges ORDER BY id LIMIT 50")]
            some = ", ".join(known) or "none"
            raise ResourceNotFoundError(
                f"there is no judge {shown(judge_id)}{did_you_mean(judge_id, known)}; known: {some}"
            )
        return found

    def _add(self, judge_id: str, given: Any, description: str | None, new: bool) -> StoredJudge:
        judge_id = router_name(judge_id, "judge_id")
        spec = spec_of_judge(given)
        data, now = spec.document(), self._clock.wall()
        found, text = digest(data), canonical(data)
        self._ready()

        def add(connection: sqlite3.Connection) -> tuple[int, str | None]:
            row = connection.execute(
                "SELECT number, description FROM judges WHERE id = ? ORDER BY number DESC LIMIT 1", (judge_id,)
            ).fetchone()
            if new and row is not None:
                raise ResourceAlreadyExistsError(f"there is a judge {judge_id!r} already; update it")
            if not new and row is None:
                raise ResourceNotFoundError(f"there is no judge {judge_id!r}; create it")
            number, kept = (1, None) if row is None else (row[0] + 1, row[1])
            said = kept if description is None else description
            connection.execute(
                "INSERT INTO judges VALUES (?, ?, ?, ?, ?, ?)", (judge_id, number, found, text, said, now)
            )
            return number, said

        number, said = self._database.write(add)
        return StoredJudge(judge_id, number, spec, said, found, iso(now))

    def _read(self, sql: str, *values: Any) -> Sequence[Any]:
        self._ready()
        return self._database.read(sql, *values)

    def _ready(self) -> None:
        if not self._made or not self._database.path.exists():
            self._database.write(lambda connection: connection.execute(_TABLE))
            self._made = True


def _stored(row: Any) -> StoredJudge:
    judge_id, number, said, text, description, created_at = row
    try:
        data = json.loads(text)
        if digest(data) != said:
            raise ValueError("its content does not have the hash it was written with")
        spec = spec_of_judge(data)
    except (ValueError, TypeError) as error:
        raise StoreError(f"version {number} of judge {judge_id!r} is damaged: {error}") from error
    return StoredJudge(judge_id, number, spec, description, said, iso(created_at))
