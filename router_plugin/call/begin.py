"""How an attempt begins: with its worst case held in the call's bound and every budget, and a share of its time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..decide.cost import fit
from ..decide.history import portable
from ..decide.request import longer
from ..records import Attempt, Blocked, Candidate, Ranked, Ticket, Wait
from ..spec.capability import PREFILL, TOOLS
from ..spec.policy import Policy
from .inflight import Call, InFlight, Segment
from .steps import Steps

# How often a call that may wait for a budget (``Budget.wait_s``) looks again.
_BUDGET_POLL_S = 0.02
# Of further answers to one question where the call's own is 0, which would give the same answer again. Models that
# reason take no other; the samples of Wang et al. (2023) have 0.5 to 0.7.
SAMPLE_TEMPERATURE = 1.0
_Held = tuple[Any, "int | None", float]  # the reservation or None, the output cap, the worst case in nano-dollars


def begin(
    call: Call, segment: Segment, ranked: Ranked, ticket: Ticket, usual: float, patient: bool = True
) -> Steps[InFlight | None]:
    """An admitted attempt with its money held; None (and no longer admitted) where the money is refused. ``patient``:
    it may wait for a budget."""
    candidate: Candidate = ranked[-1][0]
    held = yield from _reserve(
        call, segment, candidate, ticket, (ranked[-1][2], ranked[-1][3]), left_of(call, segment), patient
    )
    if held is None:
        return None
    left = call.deadline - call.clock.monotonic()
    attempt = _attempt(call, segment, candidate, held[1], left, usual)
    return InFlight(call, segment, candidate, ticket, held, attempt, call.clock.monotonic())


def begin_again(call: Call, first: InFlight, number: int, limit: float) -> Steps[InFlight | None]:
    """The same question once more, beside an answer that is there: another sample of it, within ``limit`` nano-dollars;
    None where it may not be asked now."""
    segment, candidate = first.segment, first.candidate
    ticket = segment.state.admit(candidate.name, call.tokens, call.request.estimate, call.request.stream, False)
    if isinstance(ticket, Blocked):
        return None
    worst = (first.bound, first.attempt.cap)
    held = yield from _reserve(call, segment, candidate, ticket, worst, limit, patient=False)
    if held is None:
        return None
    now = call.clock.monotonic()
    left = call.deadline - now
    attempt = replace(
        first.attempt,
        kwargs=_varied(first.attempt.kwargs, number),
        cap=held[1],
        timeout_s=min(first.attempt.timeout_s, left / (len(call.todo) + 1)),
        left_s=left,
        hedge_after_s=None,
        cancel=None,
        sent=True,
        fresh=True,
    )
    return InFlight(call, segment, candidate, ticket, held, attempt, now)


def _varied(kwargs: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The call's arguments, so that an answer may come out differently: neither cold nor from the same seed."""
    changed = dict(kwargs)
    if changed.get("temperature") == 0:
        changed["temperature"] = SAMPLE_TEMPERATURE
    if isinstance(changed.get("seed"), int):
        changed["seed"] += number
    return changed


def left_of(call: Call, segment: Segment) -> float:
    """Nano-dollars of the bound that nothing of this call has spoken for yet."""
    bound = segment.decision.policy.max_cost
    return math.inf if bound is None else bound * 1e9 - call.billed - call.held


def least_cost(call: Call, segment: Segment, candidate: Candidate) -> float:
    """The least worst case that an attempt can begin with, nano-dollars: its input, and the caller's output cap or the
    fewest tokens that are worth asking for."""
    policy, request = segment.decision.policy, call.request
    if request.cap is None:
        request = replace(request, cap=policy.min_output_tokens)
    fitted = fit(candidate, request, math.inf, policy.min_output_tokens, policy.default_output_cap, call.count_tokens)
    return math.inf if fitted is None else fitted[0]


def _attempt(call: Call, segment: Segment, candidate: Candidate, cap: int | None, left: float, usual: float) -> Attempt:
    """One more attempt. Its time is an even share of what remains, at least what the deployment usually needs, unless
    the caller said otherwise."""
    policy, kwargs = call.policy, call.kwargs
    call.made += 1
    timeout = policy.attempt_timeout_s
    if timeout is None:
        tries_left, others = policy.max_attempts - call.made + 1, len(call.todo) + 1
        share = left / (others if others < tries_left else tries_left)
        timeout = 2 * usual if 2 * usual > share else share
    if call.prefill and candidate.facts.caps & PREFILL:
        kwargs = {**kwargs, "messages": [*kwargs["messages"], {"role": "assistant", "content": call.prefill}]}
    if policy.sanitise and call.request.history is not None:
        kwargs = {**kwargs, "messages": portable(kwargs["messages"], candidate)}
    attempt = Attempt(
        candidate,
        call.made,
        kwargs,
        cap,
        timeout if timeout < left else left,
        left,
        policy.ttft_timeout_s,
        policy.stall_timeout_s,
        call.request.stream,
        policy.buffer or bool(policy.on_responses),
    )
    if policy.hedge_after is not None:
        attempt.hedge_after_s = _hedge_after(call, segment, candidate)
    return attempt


def _hedge_after(call: Call, segment: Segment, candidate: Candidate) -> float | None:
    """When a second deployment is asked beside this one, seconds; None: not at all."""
    wanted, request = call.policy.hedge_after, call.request
    if not call.todo or (request.stream and request.needs & TOOLS):
        return None
    if not isinstance(wanted, str):
        return wanted
    seconds = segment.state.quantile_s(candidate.name, int(wanted[1:]) / 100, request.stream)
    return seconds if seconds == seconds else None


def _reserve(
    call: Call,
    segment: Segment,
    candidate: Candidate,
    ticket: Ticket,
    worst: tuple[float, int | None],
    limit: float,
    patient: bool,
) -> Steps[_Held | None]:
    """Hold the worst case of an admitted attempt in every budget, within ``limit``; None (and no longer admitted) where
    it is refused, or comes too late."""
    try:
        held = yield from _hold(call, segment, candidate, worst, limit, patient)
    except BaseException:
        segment.state.withdraw(ticket)
        raise
    if held is not None and call.deadline <= call.clock.monotonic():
        if held[0] is not None:
            held[0].ledger.end(held[0], 0)
        held = None
    if held is None:
        segment.state.withdraw(ticket)
    return held


def _hold(
    call: Call,
    segment: Segment,
    candidate: Candidate,
    worst: tuple[float, int | None],
    limit: float,
    patient: bool,
) -> Steps[_Held | None]:
    bound, cap = worst
    policy, request = segment.decision.policy, call.request
    resent = bool(call.prefill) and bool(candidate.facts.caps & PREFILL)
    if resent or bound > limit:
        fitted = _refit(call, policy, candidate, limit)
        if fitted is None:
            return None
        bound, cap = fitted
    if not segment.keys:
        return None, cap, bound
    while True:
        held = segment.ledger.reserve(segment.keys, math.ceil(bound))
        if held.granted:
            return held, cap, bound
        call.refusal = held
        fitted = _refit(call, policy, candidate, min(float(held.left), limit)) if request.cap is None else None
        if fitted is not None and fitted[0] < bound:
            bound, cap = fitted
            continue
        if not patient:
            return None
        now = call.clock.monotonic()
        if call.wait_until is None:
            call.wait_until = min(now + held.budget.wait_s, call.deadline)
        if now >= call.wait_until:
            return None
        yield Wait(_BUDGET_POLL_S, "budget")


def _refit(call: Call, policy: Policy, candidate: Candidate, limit: float) -> tuple[float, int | None] | None:
    request = call.request
    if call.prefill and candidate.facts.caps & PREFILL:
        request = longer(request, call.prefill)
    return fit(candidate, request, limit, policy.min_output_tokens, policy.default_output_cap, call.count_tokens)
