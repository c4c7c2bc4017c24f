"""One request × model of a training job: the answer is asked for and kept, then judged, and the score kept.

Every call goes through one router of the job's models and the judge's, under the job's budget; it makes one attempt, so
that each attempt is written down (before it its worst case, after it what it cost).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

from ...clock import Clock
from ...decide.cost import fit
from ...decide.pool import matches
from ...decide.request import read_request
from ...errors import BudgetExceededError
from ...provider.usage import read_usage
from ...router import Router
from ..judges.asking import OF_THE_MODEL, Ask, Asked, answer_text, cost_of, finish_of, kind_of, said
from ..judges.judgement import Judge, missing
from .store import Cell, JobStore
from .training_requests import TrainingRequest

# What another try of the same pair would meet again.
_FINAL = frozenset({"bad_request", "content_policy", "context_window", "unsupported"})
_DEFAULT_CAP = 4_096


class Outcome(NamedTuple):
    """What became of a pair: ``scored``, ``unscored`` (an answer without a score), ``failed`` (no answer), ``again``
    later, or ``budget``: it was refused. ``of`` says whether the "model" or the "judge" is why."""

    kind: str
    why: str = ""
    wait_s: float | None = None
    of: str = "model"
    permanent: bool = False


class Pairs:
    """Works on the pairs of one job. ``cap`` bounds the output of requests that bring no cap; an answer that it cuts
    gets no score."""

    def __init__(
        self,
        job: str,
        store: JobStore,
        router: Router,
        requests: Sequence[TrainingRequest],
        judge_for: Callable[[Ask], Judge],
        cap: int | None,
    ) -> None:
        self.job, self.store, self.router, self.requests = job, store, router, requests
        self._judge_for, self._cap = judge_for, cap
        self._candidates = {candidate.deployment.model: candidate for candidate in router.candidates()}

    @property
    def clock(self) -> Clock:
        return self.router.clock

    def work(self, cell: Cell) -> Outcome:
        """Ask, where there is no answer yet, and judge."""
        if cell.answer is None:
            outcome = self._answer(cell)
            if outcome is not None:
                return outcome
        return self._judged(cell)

    def _only(self, model: str) -> dict[str, Any]:
        """Keyword arguments that address one model and no other whose name looks like it."""
        everyone = self._candidates.values()
        others = [c.deployment.model for c in everyone if c.deployment.model != model and matches(c, model)]
        return {"models": [model], **({"routing": {"exclude_models": others}} if others else {})}

    def _bound(self, model: str, kwargs: Mapping[str, Any]) -> int:
        """The worst case of one call, nano-dollars."""
        candidate = self._candidates[model]
        fitted = fit(candidate, read_request(kwargs), math.inf, 1, _DEFAULT_CAP, self.router.provider.count_tokens)
        return math.ceil(fitted[0]) if fitted is not None else 0

    def _answer(self, cell: Cell) -> Outcome | None:
        kwargs, ours = dict(self.requests[cell.number].kwargs), False
        if self._cap is not None and "max_tokens" not in kwargs and "max_completion_tokens" not in kwargs:
            kwargs["max_tokens"], ours = min(self._cap, self._candidates[cell.model].max_output or self._cap), True
        self.store.hold(self.job, cell, self._bound(cell.model, kwargs))
        started = self.clock.monotonic()
        try:
            response = self.router.completion(**kwargs, **self._only(cell.model))
        except BudgetExceededError as error:
            self.store.keep(self.job, cell, 0, state="new")
            return Outcome("budget", said(error))
        except Exception as error:
            return self._failed(cell, error)
        cut = f"cut at {kwargs['max_tokens']} tokens" if ours and finish_of(response) == "length" else None
        usage, cell.answer, cost = read_usage(response), answer_text(response), _nano(cost_of(response))
        self.store.keep(
            self.job,
            cell,
            cost,
            state="answered" if cut is None else "unscored!",
            reason=cut,
            answer=json.dumps(cell.answer),
            input_tokens=usage.input_tokens if usage is not None else None,
            output_tokens=usage.output_tokens if usage is not None else None,
            cost=cost,
            latency_ms=(self.clock.monotonic() - started) * 1e3,
        )
        return None if cut is None else Outcome("unscored", cut)

    def _failed(self, cell: Cell, error: Exception) -> Outcome:
        kind, wait_s = kind_of(error, self.clock.wall())
        final, why = kind in _FINAL, f"{kind}: {said(error)}"
        state = "failed!" if final else "failed"
        self.store.keep(self.job, cell, _nano(cost_of(error)), state=state, reason=_text(why))
        if final:
            return Outcome("failed", why, permanent=True)
        return Outcome("again", why, wait_s, permanent=kind in OF_THE_MODEL)

    def _judged(self, cell: Cell) -> Outcome:
        request, paid = self.requests[cell.number], [0]
        try:
            judge = self._judge_for(partial(self._put, cell, paid))
            judgement = judge.judge(deepcopy(request.kwargs), cell.answer or "", deepcopy(request.ref_answer))
        except BudgetExceededError as error:
            self.store.keep(self.job, cell, paid[0], state="answered")
            return Outcome("budget", said(error), of="judge")
        except Exception as error:  # whatever a hostile answer has found: it costs one score, and no job
            judgement = missing(f"the judge failed: {said(error)}")
        state = "scored" if judgement.score is not None else "answered" if judgement.transient else "unscored!"
        raw = None if judgement.raw is None else json.dumps(judgement.raw, default=str)[:2_000]
        reason, cost = judgement.reason, max(paid[0], _nano(judgement.cost_usd))
        self.store.keep(
            self.job,
            cell,
            cost,
            state=state,
            score=judgement.score,
            raw=raw,
            reason=None if reason is None else _text(str(reason)),
        )
        if judgement.score is not None:
            return Outcome("scored")
        return Outcome("again" if judgement.transient else "unscored", str(reason), of="judge")

    def _put(
        self, cell: Cell, paid: list[int], model: str, messages: Sequence[Mapping[str, Any]], **kwargs: Any
    ) -> Asked:
        """A judge's call: priced, held and budgeted like an answer."""
        kwargs["messages"] = list(messages)
        self.store.hold(self.job, cell, self._bound(model, kwargs))
        response = self.router.completion(**kwargs, **self._only(model))
        cost = cost_of(response)
        paid[0] += _nano(cost)
        return Asked(answer_text(response), cost, finish_of(response))


def _nano(usd: float) -> int:
    return round(usd * 1e9)


def _text(text: str) -> str:
    """Text as the file can hold it."""
    return text[:2_000].encode("utf-8", "replace").decode()
