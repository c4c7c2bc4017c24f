"""Objectives: how the admitted are ordered. Ties go to the cheaper, then to the order in which models were listed.

Default: best predicted quality, lexicographically (an infinite willingness to pay is never multiplied out: inf·0 is
nan). ``willingness_to_pay`` w: maximise w·q/0.10 − expected cost of this request in USD (Martian). Weights: minimise
−q·Q + c·C + t·TTFT + i·ITL, C in USD per million tokens at the 3:1 blend, times in ms (Unify).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..records import Ranked, Row
from ..snapshot import PRIOR_ITL_MS, PRIOR_TTFT_MS, Snapshot, metric_value
from ..spec.policy import Policy
from ..spec.strings import Weights
from .pool import matches

_LAST = float("inf")


def rank(rows: list[Row], policy: Policy, snapshot: Snapshot) -> list[Ranked]:
    """The rows in order, best first, each behind its loss and the keys that break ties."""
    prefer = policy.prefer
    if prefer is None:
        if policy.plain_objective:
            ranking: list[Ranked] = [
                (-row[0].guess if row[4] is None else -row[4], row[1], row[0].index, row) for row in rows
            ]
        else:
            losses = _losses(rows, policy, snapshot)
            ranking = [(loss, row[1], row[0].index, row) for loss, row in zip(losses, rows, strict=True)]
    else:
        losses = _losses(rows, policy, snapshot)
        ranking = [
            (loss, not matches(row[0], prefer), row[1], row[0].index, row)
            for loss, row in zip(losses, rows, strict=True)
        ]
    ranking.sort()
    return ranking


def balance(ranking: list[Ranked], tolerance: float, load: Mapping[str, float], random: Callable[[], float]) -> float:
    """Of the equals at the top let the less loaded of two, picked at random, stand first (in place). Gives the
    probability with which the one that stands there now was to be picked.

    Equals have the same loss and the same expected cost, or lie within ``tolerance`` of the best loss. Idle and
    unmeasured ones stay in the order in which they were listed.
    Source: power of two choices (Mitzenmacher 2001) on load × peak latency, as in Finagle and Envoy.
    """
    best = ranking[0]
    if tolerance > 0.0:
        equals = next((i for i, one in enumerate(ranking) if one[0] > best[0] + tolerance), len(ranking))
    elif ranking[1][:-2] != best[:-2]:
        return 1.0
    else:
        equals = next((i for i, one in enumerate(ranking) if one[:-2] != best[:-2]), len(ranking))
    loads = [load[one[-1][0].name] if one[-1][0].name in load else 0.0 for one in ranking[:equals]]
    if equals < 2 or not any(loads):
        return 1.0
    first = int(random() * equals)
    second = (first + 1 + int(random() * (equals - 1))) % equals
    if loads[second] < loads[first] or (loads[second] == loads[first] and second < first):
        first = second
    beaten, mine = 0, loads[first]
    for place, other in enumerate(loads):
        beaten += mine < other or (mine == other and first < place)
    if first:
        ranking.insert(0, ranking.pop(first))
    return 2.0 * beaten / (equals * (equals - 1))


def _losses(rows: list[Row], policy: Policy, snapshot: Snapshot) -> list[float]:
    """What is minimised, one a row."""
    if policy.weights is not None:
        return _weighted(rows, policy.weights, snapshot)
    if policy.willingness_to_pay is not None:
        per_quality = policy.willingness_to_pay / 0.10
        return [row[1] / 1e9 - per_quality * predicted(row) for row in rows]
    if policy.minimise or policy.maximise:
        return _single(rows, policy.minimise or policy.maximise or "", policy.minimise is not None, snapshot)
    if policy.objective == "cost":
        return [row[1] / 1e9 for row in rows]
    return [-predicted(row) for row in rows]


def predicted(row: Row) -> float:
    """Predicted quality, or the guess from the price where nobody has said anything."""
    return row[4] if row[4] is not None else row[0].guess


def _weighted(rows: list[Row], weights: Weights, snapshot: Snapshot) -> list[float]:
    """An unmeasured time counts as the prior; the result marks it."""
    offset = weights.q0 + weights.c0 + weights.t0 + weights.i0
    losses = [offset + weights.c * row[0].blend - weights.q * predicted(row) for row in rows]
    if weights.t:
        ttft, waits = snapshot.ttft_ms, snapshot.waits
        losses = [x + weights.t * ttft.get(r[0].name, PRIOR_TTFT_MS) for x, r in zip(losses, rows, strict=True)]
        if waits:  # what a rate limit makes it wait is part of its time to the first token
            losses = [x + weights.t * 1e3 * waits.get(r[0].name, 0.0) for x, r in zip(losses, rows, strict=True)]
    if weights.i:
        itl = snapshot.itl_ms
        losses = [x + weights.i * itl.get(r[0].name, PRIOR_ITL_MS) for x, r in zip(losses, rows, strict=True)]
    return losses


def _single(rows: list[Row], metric: str, lowest: bool, snapshot: Snapshot) -> list[float]:
    """One metric alone; what nobody has measured sorts last and is never taken for 0."""
    values = [row[4] if metric == "quality" else metric_value(row[0], metric, snapshot) for row in rows]
    return [_LAST if value is None else (value if lowest else -value) for value in values]
