"""Models that a check asks while a call waits for its verdict: judges.

Rule: they are asked through the version that decided the call, so where and at what price the router says; in the
caller's thread, or one beside the event loop; within the call's deadline, its budgets (by its own keys), and the limit
that the call leaves them. Every attempt of theirs stands in the call's record as ``judged``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..decide.reasons import reason
from ..decide.request import read_request
from ..errors import NoCandidateError
from ..provider.port import Provider
from ..records import Answered, Attempt, AttemptRecord, Failed
from ..result import RouteResult
from ..spec.policy import DEFAULT_POLICY
from .drivers import run
from .inflight import Call, Segment
from .plan import plan
from .streams import hand_over

if TYPE_CHECKING:
    from ..version import Version


class _Watched:
    """A provider whose blocking call can be ended from another thread."""

    def __init__(self, provider: Provider) -> None:
        self._provider, self._over = provider, False
        self._attempt: Attempt | None = None
        self.streams, self.bill, self.acall = provider.streams, provider.bill, provider.acall

    def call(self, attempt: Attempt) -> Answered | Failed:
        self._attempt = attempt
        if self._over:
            attempt.sent = False
            raise asyncio.CancelledError
        return self._provider.call(attempt)

    def give_up(self) -> None:
        self._over = True
        if self._attempt is not None and self._attempt.cancel is not None:
            self._attempt.cancel()


class JudgeAsk:
    """Asks for one call. ``limit``: nano-dollars that it may spend; ``nano``: what it has spent."""

    def __init__(self, version: Version, call: Call, segment: Segment, limit: float) -> None:
        self._version, self._call, self._segment, self._limit = version, call, segment, limit
        self._provider = _Watched(version.home.provider)
        self.nano = 0

    def __call__(self, model: str, messages: Sequence[Any], **kwargs: Any) -> Any:
        """What the model says. Its output cap is lowered to what the limit affords, if that is worth asking for.

        Raises: what its provider raises; NoCandidateError, BudgetExceededError.
        """
        self._version.admit(model)
        given = {**kwargs, "messages": list(messages)}
        call = self._prepared(model, given)
        if not call.todo and "max_tokens" in given:
            call = self._prepared(model, {key: value for key, value in given.items() if key != "max_tokens"})
        if not call.todo:
            left_out = {r.candidate.name: reason(r) for r in call.segments[0].decision.rejections}
            raise NoCandidateError("the judge's model may not be asked:", left_out)
        try:
            answer = hand_over(run(plan(call), self._provider, call.clock), self._provider)
        finally:
            self._count(call.result)
        asking = import_module("router_plugin.learn.judges.asking")
        return asking.Asked(asking.answer_text(answer), call.result.cost_usd, asking.finish_of(answer))

    def _prepared(self, model: str, kwargs: dict[str, Any]) -> Call:
        outer, version = self._call, self._version
        request = replace(read_request(kwargs), keys=outer.request.keys)
        limit = None if math.isinf(self._limit) else max(0.0, self._limit - self.nano) / 1e9
        policy = replace(
            DEFAULT_POLICY,
            include_models=((model,),),
            max_cost=limit,
            unpriced=version.policy.unpriced,
            assumed_input_cost_per_token=version.policy.assumed_input_cost_per_token,
            assumed_output_cost_per_token=version.policy.assumed_output_cost_per_token,
            attempt_timeout_s=outer.policy.attempt_timeout_s,
        )
        segment = version.decide(policy, request)
        segment.ledger, segment.keys = self._segment.ledger, self._segment.keys
        result = RouteResult(version.name, version.number, [segment], version.hash)
        call = Call(
            request, kwargs, policy, [segment], result, outer.clock, outer.clock.monotonic(), outer.deadline,
            outer.count_tokens, outer.jitter,
        )  # fmt: skip
        call.todo = segment.decision.ranking[:]
        call.tokens = request.estimate
        return call

    def give_up(self) -> None:
        """Nobody waits for the verdict any more: end what is being asked, and ask nothing further."""
        self._provider.give_up()

    def charge(self, nano: int, who: str) -> None:
        """Count what a judge has spent by itself."""
        if self._segment.keys:
            held = self._segment.ledger.reserve(self._segment.keys, 0)
            if held.granted:
                held.ledger.end(held, nano)
        self._add(AttemptRecord(who, who, "judged", cost_usd=nano / 1e9), nano)

    def _count(self, result: RouteResult) -> None:
        for record in result.attempts:
            record.outcome = "judged" if record.outcome == "answered" else f"judge {record.outcome}"
            self._add(record, round(record.cost_usd * 1e9))

    def _add(self, record: AttemptRecord, nano: int) -> None:
        self.nano += nano
        self._call.result.attempts.append(record)
        self._call.result.cost_nano += nano
