"""The one function that reads as the data flow: candidates → constraints → scores → ranking.

Pure: the candidates, the policy, the request, a snapshot of live state and what a predictor said go in; a ``Decision``
comes out. Each step is one pass over a list that calls nothing per candidate, which is what keeps a decision over 20
deployments in the tens of microseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..errors import SpecError
from ..records import Candidate, Decision, Ranked, Rejection, Request, Row
from ..snapshot import Scores, Snapshot
from ..spec.policy import Policy, needs_prices
from . import constraints
from .cost import EXPECTED_OUTPUT_TOKENS, CountTokens, fit, is_plain
from .pool import SELF_CACHING, Selection
from .ranking import balance, rank

_UNKNOWN = math.inf


@dataclass(slots=True)
class Situation:
    """Everything a decision reads beside the candidates.

    ``limit``: nano-dollars that this call may still cost (the tighter of ``max_cost`` and the budgets), None without
    one; ``limit_name`` says which. ``scores`` stand in the order of the candidates' indices. ``sticky`` is the
    deployment that this conversation is on, with the input tokens its provider's cache holds; ``random`` (0..1) picks
    among equals.
    """

    policy: Policy
    request: Request
    snapshot: Snapshot
    count_tokens: CountTokens
    limit: float | None = None
    limit_name: str = "budget"
    scores: Scores | None = None
    sticky: tuple[str, int] | None = None
    random: Callable[[], float] | None = None


def decide(pool: Selection, at: Situation) -> Decision:
    """Order the candidates that may take the request, best first; say of every other one why not."""
    policy, request, rejections = at.policy, at.request, [*pool.excluded]
    if at.limit is not None and at.limit < 0:
        at.limit = 0  # an overrun: only what is free fits
    if policy.max_cost is not None and (at.limit is None or policy.max_cost * 1e9 <= at.limit):
        at.limit, at.limit_name = policy.max_cost * 1e9 * (1 + 1e-12), "max_cost"  # a hair for binary noise
    candidates = constraints.capable(pool, request, rejections)
    if not pool.priced and policy.unpriced != "assume" and (at.limit is not None or needs_prices(policy)):
        candidates = constraints.priced(candidates, at, rejections)
    if request.history is not None and not policy.sanitise:
        candidates = constraints.replayable(candidates, request.history, rejections)
    if request.searches and at.limit is not None:
        candidates = constraints.searches_bounded(candidates, request, rejections)
    affordable = wanted = price(candidates, at, rejections)
    if policy.bounds or policy.bounded:
        # A bound relative to a model is that model's prediction, whether it may take the request itself or not.
        references = price(pool.everything, replace(at, limit=None), []) if policy.relative else []
        wanted = constraints.within_bounds(affordable, references, at, rejections)
    if at.sticky is not None:
        wanted = warm(wanted, at)
    ready = constraints.ready(wanted, at, rejections) if at.snapshot.cooling or at.snapshot.waits else wanted
    fast = constraints.fast_enough(ready, at, rejections) if policy.bounds else ready
    if fast:
        ranking, propensity = arrange(fast, at)
        return Decision(ranking, rejections, policy, request, (), propensity)
    if wanted:
        # Nothing else is left: first the limits on latency yield, then rests and rate limits too.
        rows = ready or wanted
        kept = {id(row[0]) for row in rows}
        rejections = [one for one in rejections if one.kind != "live" or id(one.candidate) not in kept]
        ranking, propensity = arrange(rows, at)
        return Decision(ranking, rejections, policy, request, ("panic",), propensity)
    if affordable and policy.on_infeasible != "raise":
        return _infeasible(affordable, rejections, at)
    return Decision([], rejections, policy, request)


def arrange(rows: list[Row], at: Situation) -> tuple[list[Ranked], float]:
    """The ranking (objective first, load among equals, a warm conversation before all), and the probability with which
    the first was to be first."""
    ranking, propensity = rank(rows, at.policy, at.snapshot), 1.0
    if at.random is not None and at.snapshot.load and len(ranking) > 1:
        propensity = balance(ranking, at.policy.balance_tolerance, at.snapshot.load, at.random)
    if at.sticky is not None:
        name = at.sticky[0]
        ranking.sort(key=lambda ranked: ranked[-1][0].name != name)
        propensity = 1.0 if ranking[0][-1][0].name == name else propensity
    return ranking, propensity


def warm(rows: list[Row], at: Situation) -> list[Row]:
    """Expected costs with the prompt cache in them: read where the conversation is, written where it is not."""
    assert at.sticky is not None
    name, seen = at.sticky
    tokens = min(seen, at.request.estimate)
    priced = []
    for row in rows:
        candidate, facts = row[0], row[0].facts
        price = facts.cache_read_price if candidate.name == name else facts.cache_write_price
        if candidate.name != name and not at.request.cache_marks and candidate.provider not in SELF_CACHING:
            price = None  # nothing is written that nobody asked to be
        change = 0.0 if price is None else tokens * (price - candidate.input_price)
        priced.append((candidate, max(0.0, row[1] + change), *row[2:]))
    return priced


def price(candidates: Sequence[Candidate], at: Situation, rejections: list[Rejection]) -> list[Row]:
    """Attach expectation and worst case to each candidate; leave out those that cannot meet the limit."""
    request, policy, limit = at.request, at.policy, at.limit
    qualities, lengths = ((), ()) if at.scores is None else (at.scores.quality, at.scores.output_tokens)
    tokens_in, upper, wanted, n = request.estimate, request.upper, request.cap, request.n
    typical = float(EXPECTED_OUTPUT_TOKENS if wanted is None or wanted > EXPECTED_OUTPUT_TOKENS else wanted)
    default_cap, least, ratios = policy.default_output_cap, policy.min_output_tokens, at.snapshot.token_ratio
    plain, told = is_plain(request), len(qualities)
    rows: list[Row] = [None] * len(candidates)  # type: ignore[list-item]  # filled by index: an append is a call
    count = 0
    for candidate in candidates:
        quality, out = candidate.quality, typical
        if candidate.index < told:
            quality = quality if (said := qualities[candidate.index]) is None else said
            if (length := lengths[candidate.index]) is not None:
                out = length if wanted is None or length < wanted else wanted
        tokens = tokens_in * ratios[candidate.name] if candidate.name in ratios else tokens_in
        # Unpriced is never $0: where it is allowed at all it sorts behind whatever has a price.
        estimate = tokens * candidate.input_price + out * n * candidate.output_price if candidate.priced else _UNKNOWN
        if limit is None:
            rows[count] = (candidate, estimate, 0.0, None, quality)
            count += 1
            continue
        most = candidate.max_output
        if wanted is None:
            longest = default_cap if most is None else most
        else:
            longest = wanted if most is None or wanted < most else most
        bound_in = (upper if upper < candidate.max_input else candidate.max_input) * candidate.guard_input
        per_token = n * candidate.guard_output
        bound = bound_in + longest * per_token
        if plain and upper <= candidate.tier_from:
            if bound <= limit:
                rows[count] = (candidate, estimate, bound, default_cap if wanted is most is None else None, quality)
                count += 1
                continue
            if wanted is None and per_token > 0.0 and (cap := int((limit - bound_in) / per_token)) >= least:
                rows[count] = (candidate, estimate, bound_in + cap * per_token, cap, quality)
                count += 1
                continue
        if fitted := fit(candidate, request, limit, least, default_cap, at.count_tokens):
            rows[count] = (candidate, estimate, *fitted, quality)
            count += 1
        else:
            detail = (limit, request, least)
            rejections.append(Rejection(candidate, at.limit_name, "hard", detail))
    del rows[count:]
    return rows


def _infeasible(affordable: list[Row], rejections: list[Rejection], at: Situation) -> Decision:
    """Set the soft bounds aside as ``on_infeasible`` asks. Money, capability and window never yield."""
    how, base, rows = at.policy.on_infeasible, at.policy.base_model, affordable
    if how == "base_model":
        if base is None:
            raise SpecError("on_infeasible='base_model' needs base_model, the name of the model to fall back to")
        rows = [row for row in affordable if constraints.named(row[0], base)]
    considered = {id(row[0]) for row in rows}
    ready = constraints.ready(rows, at, rejections)
    rows = ready or rows
    objective = replace(
        at.policy,
        objective="cost" if how == "cheapest" else "quality",
        willingness_to_pay=None,
        weights=None,
        minimise=None,
        maximise=None,
    )
    kept = {id(row[0]) for row in rows}
    aside = sorted({r.code for r in rejections if r.kind != "hard" and id(r.candidate) in kept})
    # Whoever was considered has his soft bounds set aside; a rest or a limit is a reason as long as somebody is ready.
    stays = {"hard", "live"} if ready else {"hard"}
    left = [r for r in rejections if r.kind in stays or id(r.candidate) not in considered]
    waived = (f"on_infeasible={how}", *aside)
    return Decision(rank(rows, objective, at.snapshot), left, at.policy, at.request, waived, 1.0, objective)


def objective_name(policy: Policy) -> str:
    """How a ranking is made, in words for the explanation."""
    if policy.weights is not None:
        w = policy.weights
        return "weights " + "|".join(f"{k}:{v:g}" for k, v in (("q", w.q), ("c", w.c), ("t", w.t), ("i", w.i)) if v)
    if policy.willingness_to_pay is not None:
        return f"willingness to pay ${policy.willingness_to_pay:g} per 0.10 of quality"
    if policy.minimise or policy.maximise:
        return f"lowest {policy.minimise}" if policy.minimise else f"highest {policy.maximise}"
    return "lowest cost" if policy.objective == "cost" else "best quality"
