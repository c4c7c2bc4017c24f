"""The order of a training job's pairs, and when it ends: all done, the money spent, a model or the judge out of order.

Rule: prompts in an order drawn from the seed, all models of one prompt before the next, so that a job that stops early
leaves a random sample with columns of equal length. A pair that failed for a while is tried at most three times and
its model rests meanwhile; a model that fails eight times in a row (twice, where its credential or name is at fault) is
given up for this run; a judge that gives no score for its first ten answers ends the job. A call that the budget
refused is tried once more when nothing else is in flight (reservations of others may have stood in its way); then the
job ends.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .crew import Crew
from .pairs import Outcome, Pairs
from .store import Cell

MOST_TRIES = 3
_GIVE_UP_AFTER, _GIVE_UP_AT_ONCE = 8, 2
_JUDGE_MAY_FAIL = 10
_LONGEST_REST_S = 60.0


@dataclass(slots=True)
class Ending:
    """Why a run ended: ``stopped`` is None where everything was tried, else "budget" or "judge"; ``given_up`` names the
    models that were, with the reason; ``permanent`` whether trying again needs something else first."""

    stopped: str | None = None
    why: str = ""
    given_up: dict[str, str] = field(default_factory=dict)
    permanent: set[str] = field(default_factory=set)
    judge_permanent: bool = False


class Schedule:
    """Hands the pairs out and reads what becomes of them."""

    def __init__(
        self,
        pairs: Pairs,
        cells: Iterable[Cell],
        models: Iterable[str],
        concurrency: int,
        seed: int,
        scored: int,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._pairs, self._told = pairs, told
        order = list(range(len(pairs.requests)))
        random.Random(seed).shuffle(order)
        place = {number: position for position, number in enumerate(order)}
        self._place = place
        self._waiting: dict[str, deque[Cell]] = {model: deque() for model in models}
        for cell in sorted(cells, key=lambda one: place[one.number]):
            self._waiting[cell.model].append(cell)
        self._crew: Crew[Cell, Outcome] = Crew(concurrency, pairs.work)
        self._rest: dict[str, float] = {}
        self._tries: dict[tuple[int, str], int] = {}
        self._failures: dict[str, int] = {}
        self.scored, self._judge_failures = scored, 0
        self._draining = False
        self.ending = Ending()

    def run(self) -> Ending:
        """Work until nothing is left that may be tried.

        Raises: what is no Exception (KeyboardInterrupt …): everything that was paid for is kept.
        """
        alone = False
        try:
            while True:
                while not self._full() and (cell := self._next()) is not None:
                    alone = self._crew.running == 0
                    self._crew.put(cell)
                if self._crew.running:
                    self._read(*self._crew.get(), alone)
                elif self.ending.stopped is not None or not any(self._waiting.values()):
                    return self.ending
                else:
                    self._sleep()
        finally:
            self._crew.dismiss()

    def _full(self) -> bool:
        running = self._crew.running
        return self.ending.stopped is not None or running >= (1 if self._draining else self._crew.size)

    def _next(self) -> Cell | None:
        """The first pair of a model that does not rest."""
        now = self._pairs.clock.monotonic()
        ready = [(self._place[waiting[0].number], index, waiting)
                 for index, (model, waiting) in enumerate(self._waiting.items())
                 if waiting and self._rest.get(model, 0.0) <= now]  # fmt: skip
        return min(ready)[2].popleft() if ready else None

    def _sleep(self) -> None:
        """Everything that is left rests: sleep until the first is back."""
        now = self._pairs.clock.monotonic()
        until = min(self._rest.get(model, now) for model, waiting in self._waiting.items() if waiting)
        self._pairs.clock.sleep(max(0.01, until - now))

    def _read(self, cell: Cell, outcome: Outcome, alone: bool) -> None:
        if outcome.kind == "budget":
            self._waiting[cell.model].appendleft(cell)
            if self._draining and alone:
                self.ending.stopped, self.ending.why = "budget", outcome.why
            self._draining = True
            return
        if self._draining and self._crew.running == 0:
            self._draining = False
        if outcome.of == "model" and outcome.kind in ("again", "failed"):
            self._model_failed(cell, outcome)
        else:
            self._failures[cell.model] = 0
            self.scored += outcome.kind == "scored"
            if outcome.of == "judge":
                self._judge_failed(cell, outcome)
        self._told()

    def _model_failed(self, cell: Cell, outcome: Outcome) -> None:
        model = cell.model
        if outcome.kind == "again":
            self._later(cell, outcome, (model,))
        self._failures[model] = failures = self._failures.get(model, 0) + 1
        if failures >= (_GIVE_UP_AT_ONCE if outcome.permanent and outcome.kind == "again" else _GIVE_UP_AFTER):
            self._waiting[model].clear()
            self.ending.given_up.setdefault(model, outcome.why)
            if outcome.permanent:
                self.ending.permanent.add(model)

    def _later(self, cell: Cell, outcome: Outcome, resting: Iterable[str]) -> None:
        """Try the pair again after a while, if it was not tried too often."""
        key = (cell.number, cell.model)
        self._tries[key] = tries = self._tries.get(key, 0) + 1
        wait = outcome.wait_s if outcome.wait_s is not None else 0.25 * 2**tries
        until = self._pairs.clock.monotonic() + min(wait, _LONGEST_REST_S)
        for model in resting:
            self._rest[model] = max(until, self._rest.get(model, 0.0))
        if tries < MOST_TRIES and cell.model not in self.ending.given_up:
            self._waiting[cell.model].appendleft(cell)

    def _judge_failed(self, cell: Cell, outcome: Outcome) -> None:
        if outcome.kind == "again":
            self._later(cell, outcome, self._waiting)
        self._judge_failures += 1
        if not self.scored and self._judge_failures >= _JUDGE_MAY_FAIL:
            self.ending.stopped, self.ending.why = "judge", outcome.why
            self.ending.judge_permanent = outcome.kind != "again"
