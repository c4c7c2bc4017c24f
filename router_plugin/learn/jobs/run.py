"""One run of a training job: recover, ask and judge what is missing, decide by the rule, fit, publish."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...clock import Clock
from ...money import to_nano_floor
from ..judges.asking import said
from ..judges.making import made
from .pairs import Pairs
from .plan import Plan
from .publishing import Fit, note_of, publish, rows_of, save_artefact
from .schedule import Ending, Schedule
from .store import FAILURE, RUNNING, SUCCESS, WITHOUT_RETRY, Cell, JobStore

_TINY = 20  # fewer requests than this: half of the scores are enough


def enough(n_requests: int) -> int:
    """The scores that a model must have to be trained on."""
    half = math.ceil(n_requests / 2)
    return half if n_requests < _TINY else max(_TINY, half)


@dataclass(slots=True)
class Run:
    """``record`` is the job's record as it is stored; ``told`` hears how many pairs have a score."""

    store: JobStore
    plan: Plan
    record: dict[str, Any]
    clock: Clock
    home: Path
    fit: Fit
    told: Callable[[int], None] = lambda done: None

    def whole(self) -> None:
        """Run to an end that is written down. What is no Exception passes: the job then stands where it stood."""
        name, record = self.plan.name, self.record
        try:
            self._save(RUNNING)
            ending = self._work()
            cells = self.store.cells(name)
            status, error = self._verdict(ending, cells)
            if status == SUCCESS:
                self._publish(cells)
        except Exception as failure:  # fitting, saving, publishing: everything paid for is kept
            status, error = FAILURE, said(failure)
        record["error"] = error
        self._save(status)

    def _save(self, status: str) -> None:
        self.store.update(self.plan.name, status, self.record, self.clock.wall(), self.plan.content())

    def _work(self) -> Ending:
        plan, name = self.plan, self.plan.name
        budget = None if plan.budget_usd is None else to_nano_floor(plan.budget_usd)
        lost, nano = self.store.recover(name, budget)
        if lost:
            self.record["lost_calls"] = self.record.get("lost_calls", 0) + lost
            self._save(RUNNING)  # however often it is killed from here, they are counted
        if self.record.get("lost_calls"):
            self._warn(f"{self.record['lost_calls']} calls were in flight when the job was killed; they count at their "
                       f"worst case, ${nano / 1e9:.6f}")  # fmt: skip
        spent = self.store.counts(name)[2]
        left = None if budget is None else max(0, budget - spent) / 1e9
        router = plan.router_for(left)
        pairs = Pairs(name, self.store, router, plan.requests, lambda ask: made(plan.judge, ask), plan.cap)
        cells = {(cell.number, cell.model): cell for cell in self.store.cells(name)}
        broken = self.record.pop("judge_broken", False)
        todo, scored = [], 0
        for number in range(len(plan.requests)):
            for model in plan.llms:
                cell = cells.get((number, model)) or Cell(number, model)
                scored += cell.state == "scored"
                if not cell.state.endswith("!") and cell.state != "scored":
                    todo.append(cell)
                elif broken and cell.state == "unscored!" and cell.answer is not None:
                    todo.append(cell)  # the judge was at fault, not the answer
        done = [scored]

        def told() -> None:
            done[0] = schedule.scored
            self.told(done[0])

        self.told(scored)
        schedule = Schedule(pairs, todo, plan.llms, plan.concurrency, plan.seed, scored, told)
        return schedule.run()

    def _verdict(self, ending: Ending, cells: list[Cell]) -> tuple[str, str | None]:
        """The rule of success (see jobs.py)."""
        plan, record = self.plan, self.record
        scores = {model: sum(c.model == model and c.score is not None for c in cells) for model in plan.llms}
        n, least = len(plan.requests), enough(len(plan.requests))
        kept = [model for model in plan.llms if scores[model] >= least]
        record["kept"] = kept
        if ending.stopped == "budget":
            self._warn(f"stopped before exceeding the budget of ${plan.budget_usd:g}: {ending.why}; run it again with "
                       "a larger budget_usd to go on")  # fmt: skip
        record["judge_broken"], record["budget_ended"] = ending.stopped == "judge", ending.stopped == "budget"
        for model in plan.llms:
            if scores[model] < n:
                why = f": given up: {ending.given_up[model]}" if model in ending.given_up else ""
                out = "" if model in kept else f"; fewer than {least}: left out"
                self._warn(f"{model}: {scores[model]} of {n} scores{out}{why}")
        if len(kept) >= min(2, len(plan.llms)):
            return SUCCESS, None
        if ending.stopped == "judge":
            why = f"the judge gives no scores: {ending.why}"
            return (WITHOUT_RETRY if ending.judge_permanent else FAILURE), why
        why = next(iter(ending.given_up.values()), ending.why) or self._reason(cells)
        error = f"{len(kept)} of {len(plan.llms)} models have the {least} scores that are enough: {why}"
        hopeless = all(model in ending.permanent for model in plan.llms if model not in kept)
        final = all(c.state.endswith("!") for c in cells if c.score is None and c.model not in kept)
        missing = any(sum(c.model == model for c in cells) < n for model in plan.llms if model not in kept)
        return (WITHOUT_RETRY if hopeless or (final and not missing) else FAILURE), error

    def _reason(self, cells: list[Cell]) -> str:
        rows = self.store.reasons(self.plan.name)
        return rows[0] if rows else "there are no answers"

    def _publish(self, cells: list[Cell]) -> None:
        plan, record = self.plan, self.record
        kept = record["kept"]
        rows = rows_of(plan.requests, cells, kept)
        predictor = self.fit(rows, seed=plan.seed)
        record["artefact"] = save_artefact(predictor, self.home, plan.router.name, rows, plan.seed)
        llms = [one for one in plan.deployments if one.model in kept]
        record["version"] = publish(plan.router, llms, record["artefact"], predictor, note_of(plan.name))

    def _warn(self, message: str) -> None:
        warnings: list[str] = self.record.setdefault("warnings", [])
        if message not in warnings:
            warnings.append(message)


def fresh_record(plan: Plan, estimate_usd: float, warnings: list[str]) -> dict[str, Any]:
    """The record of a job before it has asked anybody."""
    return {
        "llms": list(plan.llms),
        "n_requests": len(plan.requests),
        "estimate_usd": estimate_usd,
        "warnings": warnings,
        "error": None,
    }


def settings_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The seed, budget, cap and concurrency that a job was last run with."""
    content = row["content"]
    return {name: content[name] for name in ("seed", "budget_usd", "cap", "concurrency")}
