"""Constraints: each takes a list and returns those that pass; every rejection says why, with its numbers.

"hard" rejections never yield (capability, window, price unknown under a cost bound, max_cost, budgets); "soft" ones
yield to ``on_infeasible``; "live" ones yield when nothing else is left (panic, as in Finagle and Envoy).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import SpecError
from ..records import Candidate, Rejection, Request, Row
from ..redact import shown
from ..snapshot import metric_value
from ..spec.strings import Bound
from .cost import EXPECTED_OUTPUT_TOKENS, price_per_million, search_cost
from .history import History, objection
from .pool import Selection
from .pool import matches as named
from .ranking import predicted

if TYPE_CHECKING:
    from .decision import Situation

LATENCIES = ("ttft", "itl", "output_tks_per_sec")
__all__ = [
    "LATENCIES",
    "capable",
    "fast_enough",
    "named",
    "priced",
    "ready",
    "replayable",
    "searches_bounded",
    "within_bounds",
]


def capable(pool: Selection, request: Request, rejections: list[Rejection]) -> Sequence[Candidate]:
    """Those that can do what the request needs, in a window that holds it."""
    needs, low = request.needs, request.low
    total = low + (request.cap or 0)
    if not needs & pool.lacks and total <= pool.window:
        return pool.candidates
    for candidate in pool.candidates:
        missing = needs & candidate.lacks
        if missing:
            rejections.append(Rejection(candidate, "capability", "hard", (missing,)))
        elif low > candidate.max_input or total > candidate.window:
            window = min(candidate.max_input, candidate.window)
            rejections.append(Rejection(candidate, "context_window", "hard", (low, request.cap, window)))
    return [c for c in pool.candidates if not needs & c.lacks and low <= c.max_input and total <= c.window]


def priced(candidates: Sequence[Candidate], at: Situation, rejections: list[Rejection]) -> Sequence[Candidate]:
    """With money at stake a model without a known price is left out, or an error (policy ``unpriced``)."""
    missing = [candidate for candidate in candidates if not candidate.priced]
    if not missing:
        return candidates
    if at.policy.unpriced == "error":
        raise SpecError(
            f"{missing[0].name!r} has no known price per token while a cost bound, cost weight or budget is in force; "
            "give its Deployment input_cost_per_token and output_cost_per_token, or set unpriced='exclude'"
        )
    rejections.extend(Rejection(candidate, "unpriced", "hard") for candidate in missing)
    return [candidate for candidate in candidates if candidate.priced]


def searches_bounded(
    candidates: Sequence[Candidate], request: Request, rejections: list[Rejection]
) -> Sequence[Candidate]:
    """With money at stake: those whose web searches have a known price and a bound on their number."""
    passed = []
    for candidate in candidates:
        if search_cost(candidate, request) is None:
            rejections.append(Rejection(candidate, "searches", "hard"))
        else:
            passed.append(candidate)
    return passed


def within_bounds(rows: list[Row], references: list[Row], at: Situation, rejections: list[Rejection]) -> list[Row]:
    """The soft bounds: price per million, quality, TTFT, ITL, and bounds relative to a model in ``references``."""
    policy, passed = at.policy, rows
    for most, basis in policy.price_bounds:
        passed = _price_bound(passed, at, most, basis, rejections)
    for bound in policy.bounds:
        if bound.metric not in LATENCIES or at.policy.unknown == "exclude":
            passed = _metric_bound(passed, bound, at, "soft", rejections)
    for model in policy.max_cost_of_model:
        passed = _relative(passed, references, model, "cost", rejections)
    for model in policy.min_quality_of_model:
        passed = _relative(passed, references, model, "quality", rejections)
    return passed


def _price_bound(rows: list[Row], at: Situation, most: float, basis: str, rejections: list[Rejection]) -> list[Row]:
    cap = at.request.cap
    out = EXPECTED_OUTPUT_TOKENS if cap is None else min(cap, EXPECTED_OUTPUT_TOKENS)
    passed = []
    for row in rows:
        price = price_per_million(row[0], at.request, out, basis)
        if price <= most:
            passed.append(row)
        else:
            rejections.append(Rejection(row[0], "max_cost_per_million_tokens", "soft", (price, most, basis)))
    return passed


def fast_enough(rows: list[Row], at: Situation, rejections: list[Rejection]) -> list[Row]:
    """Those within the limits on TTFT, ITL and tokens a second, which yield when nothing else is left (unless what is
    not known is to be excluded: then they are bounds like others)."""
    for bound in at.policy.bounds:
        if bound.metric in LATENCIES and at.policy.unknown != "exclude":
            rows = _metric_bound(rows, bound, at, "live", rejections)
    return rows


def _metric_bound(rows: list[Row], bound: Bound, at: Situation, kind: str, rejections: list[Rejection]) -> list[Row]:
    passed = []
    for row in rows:
        # Nobody has measured a guess: it is no ground to leave a model out, nor to let it pass where that is asked.
        if bound.metric == "quality":
            value = row[0].quality if _is_guess(row[0], at) else row[4]
        else:
            value = metric_value(row[0], bound.metric, at.snapshot)
        if at.policy.unknown == "allow" if value is None else _above(value, bound) and _below(value, bound):
            passed.append(row)
        else:
            rejections.append(Rejection(row[0], "bound", kind, (bound, value)))
    return passed


def _is_guess(candidate: Candidate, at: Situation) -> bool:
    return at.scores is not None and candidate.index < len(at.scores) and at.scores.guessed[candidate.index]


def _above(value: float, bound: Bound) -> bool:
    return bound.low is None or (value > bound.low if bound.low_open else value >= bound.low)


def _below(value: float, bound: Bound) -> bool:
    return bound.high is None or (value < bound.high if bound.high_open else value <= bound.high)


def _relative(
    rows: list[Row], references: list[Row], model: str, metric: str, rejections: list[Rejection]
) -> list[Row]:
    """Not dearer, or not worse, than what is predicted for ``model`` on this very request."""
    reference = next((row for row in references if named(row[0], model)), None)
    if reference is None:
        raise SpecError(f"a bound is relative to {shown(model)}, which this router does not know")
    if metric == "cost" and not reference[0].priced:
        raise SpecError(f"a bound is relative to the cost of {shown(model)}, whose price is not known")
    passed = []
    for row in rows:
        if metric == "cost":
            value, limit = row[1] / 1e9, reference[1] / 1e9
            ok = value <= limit
        else:
            value, limit = predicted(row), predicted(reference)
            ok = value >= limit
        if ok:
            passed.append(row)
        else:
            rejections.append(Rejection(row[0], f"{metric}_of_model", "soft", (model, value, limit)))
    return passed


def replayable(candidates: Sequence[Candidate], history: History, rejections: list[Rejection]) -> Sequence[Candidate]:
    """Those that can go on with what the conversation holds (signed parts, tool-call ids)."""
    passed = []
    for candidate in candidates:
        why = objection(candidate, history)
        if why is None:
            passed.append(candidate)
        else:
            rejections.append(Rejection(candidate, "history", "hard", (why,)))
    return passed


def ready(rows: list[Row], at: Situation, rejections: list[Rejection]) -> list[Row]:
    """Those that are not cooling down and whose rate limits have room, at once or (where waiting is part of the
    bargain) within ``patience_s``."""
    snapshot, policy, passed = at.snapshot, at.policy, []
    cooling, waits, now = snapshot.cooling, snapshot.waits, snapshot.now
    waiting = policy.on_rate_limit == "wait" or (policy.weights is not None and policy.weights.t > 0)
    patience = policy.patience_s if waiting else 0.0
    for row in rows:
        name = row[0].name
        if name in cooling and cooling[name][0] > now:
            until, why = cooling[name]
            rejections.append(Rejection(row[0], "cooldown", "live", (until - now, why)))
        elif name in waits and waits[name] > patience:
            rejections.append(Rejection(row[0], "headroom", "live", (waits[name],)))
        else:
            passed.append(row)
    return passed
