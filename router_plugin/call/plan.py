"""The attempt loop: one sans-io generator for sync, async and streaming.

It yields ``Attempt`` (call this deployment) or ``Wait`` (sleep), is sent ``Answered`` or ``Failed``, and returns the
``InFlight`` of the answer. It reserves money before every attempt and ends every reservation it does not hand on,
whatever happens, including cancellation at any yield. Retry is the same deployment again, fallback the next one; one
attempt budget and one deadline cover both.

Source of the form: httpx's ``auth_flow`` and h11. Source of the policy: semantics.md section 9, table in verdict.py.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Generator
from typing import Any

from ..clock import iso
from ..decide.cost import fit
from ..decide.reasons import reason
from ..errors import BudgetExceededError, DeadlineExceededError, NoCandidateError
from ..money import to_usd
from ..records import Answered, Attempt, Candidate, Failed, Ranked, Wait
from ..spec.policy import Policy
from .inflight import Call, InFlight, Segment
from .verdict import LARGER, RAISE, SAME, pause, verdict, worth_waiting

# How often a call that may wait for a budget (``Budget.wait_s``) looks again.
_BUDGET_POLL_S = 0.02
Plan = Generator["Attempt | Wait", "Answered | Failed | None", InFlight]


class Carried(Exception):
    """A StopIteration on its way through generators, to whom it means something else; drivers raise it as itself."""

    def __init__(self, error: StopIteration) -> None:
        self.error = error


def plan(call: Call) -> Plan:
    """Attempts until one answers. May be entered again after a stream broke: it goes on where it stood.

    Raises: the last provider's exception if attempts were made; else BudgetExceededError, NoCandidateError or
    DeadlineExceededError.
    """
    while call.todo and call.made < call.policy.max_attempts:
        ranked = call.todo.pop(0)
        segment = call.segments[0] if call.owners is None else call.owners[id(ranked[-1][0])]
        flight = yield from _use(call, segment, ranked)
        if flight is not None:
            return flight
    raise _exhausted(call)


def _use(call: Call, segment: Segment, ranked: Ranked) -> Generator[Attempt | Wait, Any, InFlight | None]:
    """Try one deployment, at most twice; None when the next one should be tried."""
    candidate: Candidate = ranked[-1][0]
    tries, usual = 0, segment.state.usual_s(candidate.name)
    while call.made < call.policy.max_attempts:
        now = call.clock.monotonic()
        left = call.deadline - now
        if left <= 0:
            call.todo.clear()
            return None
        if usual > left and call.todo:
            return None  # it would not be done in time; perhaps the next one is faster
        held = yield from _reserve(call, segment, ranked)
        if held is None:
            return None
        tries += 1
        attempt = _attempt(call, candidate, held[1], left, usual)
        flight = InFlight(call, segment, candidate, held[0], now)
        try:
            outcome = yield attempt
        except BaseException:
            flight.abandon(sent=attempt.sent)
            raise
        if outcome.__class__ is Answered:
            flight.response, flight.ttft_s, flight.peeked = outcome.response, outcome.ttft_s, outcome.peeked
            call.result.served = (candidate.name, candidate.deployment.model)
            call.result.output_cap = attempt.cap
            return flight
        flight.fail(outcome)
        if outcome.kind in ("credential", "not_found", "quota"):
            segment.state.warn_once(candidate.name, f"{outcome.kind}: {type(outcome.error).__name__}")
        call.failures.append(outcome)
        step = yield from _after(call, candidate, outcome, tries)
        if step is None:
            return None
    return None


def _attempt(call: Call, candidate: Candidate, cap: int | None, left: float, usual: float) -> Attempt:
    """One more attempt. Its time is an even share of what remains, at least what the deployment usually needs, unless
    the caller said otherwise."""
    policy = call.policy
    call.made += 1
    timeout = policy.attempt_timeout_s
    if timeout is None:
        tries_left, others = policy.max_attempts - call.made + 1, len(call.todo) + 1
        share = left / (others if others < tries_left else tries_left)
        timeout = 2 * usual if 2 * usual > share else share
    return Attempt(
        candidate,
        call.made,
        call.kwargs,
        cap,
        timeout if timeout < left else left,
        call.deadline,
        policy.ttft_timeout_s,
        policy.stall_timeout_s,
        call.request.stream,
        policy.buffer,
    )


def _after(
    call: Call, candidate: Candidate, failure: Failed, tries: int
) -> Generator[Attempt | Wait, Any, bool | None]:
    """True: the same deployment again. None: the next one. Raises what must not be answered by another model."""
    alone = not call.todo
    step = verdict(failure, call.policy, tries)
    if step == RAISE:
        raise _told(call, failure.error)
    if step == LARGER:
        call.todo = [ranked for ranked in call.todo if ranked[-1][0].window > candidate.window]
        return None
    again = step == SAME
    if not again and candidate.name not in call.waited and worth_waiting(failure, call.policy, alone):
        call.waited.add(candidate.name)
        again = True
    if not again or call.made >= call.policy.max_attempts:
        return None
    seconds = pause(failure, call.policy, call.jitter())
    if call.clock.monotonic() + seconds >= call.deadline:
        return None
    yield Wait(seconds, failure.kind)
    return True


def _reserve(
    call: Call, segment: Segment, ranked: Ranked
) -> Generator[Attempt | Wait, Any, tuple[Any, int | None] | None]:
    """Hold the worst case of this attempt in every budget; (reservation or None, output cap), or None if refused."""
    candidate, _, bound, cap, _ = ranked[-1]
    policy, request = segment.decision.policy, call.request
    if policy.max_cost is not None and call.billed:
        fitted = _refit(call, policy, candidate, policy.max_cost * 1e9 - call.billed)
        if fitted is None:
            return None
        bound, cap = fitted
    if not segment.keys:
        return None, cap
    while True:
        held = segment.state.reserve(segment.keys, math.ceil(bound))
        if held.granted:
            return held, cap
        call.refusal = held
        limit = float(held.left)
        if policy.max_cost is not None:
            limit = min(limit, policy.max_cost * 1e9 - call.billed)
        fitted = _refit(call, policy, candidate, limit) if request.cap is None else None
        if fitted is not None and fitted[0] < bound:
            bound, cap = fitted
            continue
        now = call.clock.monotonic()
        if call.wait_until is None:
            call.wait_until = min(now + held.budget.wait_s, call.deadline)
        if now >= call.wait_until:
            return None
        yield Wait(_BUDGET_POLL_S, "budget")


def _refit(call: Call, policy: Policy, candidate: Candidate, limit: float) -> tuple[float, int | None] | None:
    return fit(candidate, call.request, limit, policy.min_output_tokens, policy.default_output_cap, call.count_tokens)


def _exhausted(call: Call) -> BaseException:
    """What to raise when nothing is left to try."""
    if call.failures:
        return _told(call, call.failures[-1].error)
    rejected = {r.candidate.name: reason(r) for s in call.segments for r in s.decision.rejections}
    if call.refusal is not None:
        return budget_error(call.refusal, rejected)
    if call.deadline - call.clock.monotonic() <= 0:
        return DeadlineExceededError(
            f"the deadline of {call.deadline - call.started:.3g} s passed before an attempt could start"
        )
    return NoCandidateError("no deployment may take this request:", rejected)


def budget_error(refusal: Any, rejected: dict[str, str]) -> BudgetExceededError:
    """The error that names the budget, its key, what is spent and when it resets."""
    budget = refusal.budget
    key = None if budget.key is None else "(none)" if refusal.key is None else str(refusal.key)
    return BudgetExceededError(
        budget.name,
        key,
        to_usd(refusal.limit),
        to_usd(refusal.spent),
        iso(refusal.resets_at),
        rejected=rejected,
    )


def _told(call: Call, error: BaseException) -> BaseException:
    """The provider's own exception, with a note for every earlier attempt."""
    if isinstance(error, StopIteration):
        return Carried(error)
    records = call.result.attempts
    if len(records) > 1:
        note = "router_plugin attempts: " + "; ".join(f"{r.deployment}: {r.error or r.outcome}" for r in records)
        if sys.version_info >= (3, 11):
            error.add_note(note)
        else:
            error.__notes__ = [*getattr(error, "__notes__", []), note]  # type: ignore[attr-defined]
    return error
