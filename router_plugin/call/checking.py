"""Whether an answer is good enough to be handed over; where it is not, the next deployment is asked.

Free checks come first, then further samples (``checks.self_consistent``), then judges (``checks.judged``). What samples
and judges cost counts against ``max_cost`` and the budgets, and is held before they are asked. Rules:

* A check is paid from what is left of ``max_cost`` once the least that the next deployment needs is set aside.
* An answer that cannot be checked (the money does not suffice, the judge failed) is not vouched for: the next is asked.
* Where no other could be asked any more, nothing is checked for money, and the answer is taken.

Sources: FrugalGPT (Chen et al. 2023), cascades with a scorer; AutoMix (Madaan et al. 2023), cascades that verify;
Yue et al. 2023, cascades by the consistency of samples; Aggarwal et al. 2023, samples only until the vote is decided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..checks import Judged, SelfConsistent, unwanted
from ..provider.guard import checking
from ..provider.usage import bill
from ..records import Answered, Failed
from .begin import begin_again, least_cost, left_of
from .inflight import Beside, Call, InFlight
from .steps import Check, Steps


@dataclass(slots=True, eq=False)
class _Answer:
    """An answer that is being checked; ``whole`` is it in one piece, where it came as a stream."""

    flight: InFlight
    outcome: Answered
    whole: Any


def checked(call: Call, flight: InFlight, outcome: Answered) -> Steps[tuple[InFlight, Failed | None]]:
    """Take the answer (or another sample of it); or, where a check does not want it and others are left, what failed
    about it."""
    _receive(flight, outcome)
    if not (call.policy.on_responses and call.todo and call.made < call.policy.max_attempts):
        return _serve(call, flight), None
    checking = _Checking(call, _whole(flight, outcome))
    try:
        why = yield from checking.why_not()
    except BaseException as error:  # the answers are paid for all the same
        outcome_of_all = "cancelled" if isinstance(error, GeneratorExit) else "check raised"
        for one in checking.answers():
            one.flight.abandon(outcome=outcome_of_all)
            _discard(one.outcome)
        raise
    finally:
        call.held = 0.0
    for one in checking.answers():
        if one is not checking.kept:
            one.flight.sampled()
            _discard(one.outcome)
    kept = checking.kept.flight
    if why is None:
        return _serve(call, kept), None
    _let_go(call.spare)
    call.spare, kept.unwanted = kept, why
    told = ValueError(f"{kept.candidate.name!r}: the answer was not wanted ({why})")
    return kept, Failed(told, "unwanted_answer", True, usage=kept.billed[1] if kept.billed else None)


def taken_anyway(call: Call, flight: InFlight) -> InFlight:
    """The answer that was not wanted, where nobody else has answered; its record says so."""
    call.result.served = (flight.candidate.name, flight.candidate.deployment.model)
    call.result.output_cap = flight.attempt.cap
    flight.record.outcome = "answered"
    flight.record.error = f"{flight.record.error}; taken, as nobody else answered"
    return flight


def _receive(flight: InFlight, outcome: Answered) -> None:
    flight.response, flight.ttft_s, flight.peeked = outcome.response, outcome.ttft_s, outcome.peeked
    if outcome.peeked:
        flight.segment.state.began(flight.ticket)
    if outcome.limits:
        flight.segment.state.told(flight.candidate.name, outcome.limits)


def _whole(flight: InFlight, outcome: Answered) -> _Answer:
    """An answer in one piece, and what it costs."""
    whole = outcome.response if outcome.whole is None else outcome.whole()
    flight.billed = flight.read_bill(bill, whole)
    return _Answer(flight, outcome, whole)


def _serve(call: Call, flight: InFlight) -> InFlight:
    call.result.served = (flight.candidate.name, flight.candidate.deployment.model)
    call.result.output_cap = flight.attempt.cap
    _let_go(call.spare)
    call.spare = None
    return flight


def _let_go(spare: InFlight | None) -> None:
    """An answer that nobody will read any more: its stream is ended."""
    if spare is not None and spare.peeked:
        spare.response.guard.ended()
        spare.response.guard.drop()


def _discard(outcome: Answered) -> None:
    if outcome.discard is not None:
        outcome.discard()


class _Checking:
    """The checks of one answer. ``kept`` is what is handed over if they want it; ``samples`` are the answers that vote,
    the first among them, None for each that failed."""

    def __init__(self, call: Call, first: _Answer) -> None:
        self.call, self.kept = call, first
        self.samples: list[_Answer | None] = [first]

    def answers(self) -> list[_Answer]:
        return [one for one in self.samples if one is not None]

    def why_not(self) -> Steps[str | None]:
        """Why the answer is not good enough, in words; None where it is."""
        checks, first = self.call.policy.on_responses, self.kept
        free = tuple(one for one in checks if not isinstance(one, (Judged, SelfConsistent)))
        why = self._free(free, first)
        if why is not None or len(free) == len(checks) or self._left() is None:
            return why
        for check in checks:
            if why is None and isinstance(check, SelfConsistent):
                why = yield from self._sample(check)
        if why is None and self.kept is not first:
            why = self._free(free, self.kept)
        for check in checks:
            if why is None and isinstance(check, Judged):
                why = yield from self._judge(check)
        return why

    def _free(self, checks: tuple[Any, ...], answer: _Answer) -> str | None:
        """Why checks that cost nothing do not want an answer."""
        with checking():
            return unwanted(checks, answer.whole, self.call.kwargs)

    def _left(self) -> float | None:
        """Nano-dollars that checks may cost; None: no other deployment could be asked, whatever they say."""
        call = self.call
        call.held = sum(one.flight.at_most for one in self.answers() if one.flight.open)
        set_aside = []
        for ranked in call.todo:
            segment = call.segments[0] if call.owners is None else call.owners[id(ranked[-1][0])]
            left = left_of(call, segment)
            least = 0.0 if math.isinf(left) else least_cost(call, segment, ranked[-1][0])
            if least <= left:
                set_aside.append(least)
        return left_of(call, self.kept.flight.segment) - min(set_aside) if set_aside else None

    def _sample(self, check: SelfConsistent) -> Steps[str | None]:
        """Ask for further answers to the same question until the vote is decided, and keep one of the majority."""
        call, first, more = self.call, self.kept.flight, ""
        forms = [None if one is None else check.form(one.whole, call.kwargs) for one in self.samples]
        while not check.decided(forms):
            left = self._left()
            flight = None if left is None else (yield from begin_again(call, first, len(forms), left))
            if flight is None:
                more = "; no further one could be asked"
                break
            try:
                outcome = yield flight.attempt
            except BaseException:
                flight.abandon(sent=flight.attempt.sent)
                raise
            if outcome.__class__ is Answered:
                _receive(flight, outcome)
                self.samples.append(_whole(flight, outcome))
            else:
                flight.fail(outcome)
                self.samples.append(None)
            one = self.samples[-1]
            forms.append(None if one is None else check.form(one.whole, call.kwargs))
        chosen, why = check.vote(forms)
        self.kept = self.samples[chosen] or self.kept
        return None if why is None else why + more

    def _judge(self, check: Judged) -> Steps[str | None]:
        """What a judge says of the answer; what asking it costs is the call's."""
        call, segment = self.call, self.kept.flight.segment
        left = self._left()
        if left is None:
            return None
        beside = None if segment.beside is None else segment.beside(call, segment, left)
        try:
            found = yield Check(partial(_run, check, self.kept.whole, call.kwargs, beside))
        except BaseException:
            if beside is not None:
                beside.give_up()
            raise
        finally:
            call.billed += 0 if beside is None else beside.nano
        if isinstance(found, BaseException):
            raise found
        return found  # type: ignore[no-any-return]


def _run(check: Judged, whole: Any, kwargs: Mapping[str, Any], beside: Beside | None) -> Any:
    """What a judge makes of an answer, or the error that it raised."""
    try:
        with checking():
            return check.why_not(whole, kwargs, beside)
    except BaseException as error:  # raised where the call is carried out
        return error
