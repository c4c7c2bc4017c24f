"""Objectives: how the admitted are ordered. Ties go to the cheaper, then to the order in which models were listed.

Default: best predicted quality, lexicographically (an infinite willingness to pay is never multiplied out: inf·0 is
nan). ``willingness_to_pay`` w: maximise w·q/0.10 − expected cost of this request in USD (Martian). Weights: minimise
−q·Q + c·C + t·TTFT + i·ITL, C in USD per million tokens at the 3:1 blend, times in ms (Unify).
"""

from __future__ import annotations

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
        ttft = snapshot.ttft_ms
        losses = [x + weights.t * ttft.get(r[0].name, PRIOR_TTFT_MS) for x, r in zip(losses, rows, strict=True)]
    if weights.i:
        itl = snapshot.itl_ms
        losses = [x + weights.i * itl.get(r[0].name, PRIOR_ITL_MS) for x, r in zip(losses, rows, strict=True)]
    return losses


def _single(rows: list[Row], metric: str, lowest: bool, snapshot: Snapshot) -> list[float]:
    """One metric alone; what nobody has measured sorts last and is never taken for 0."""
    values = [row[4] if metric == "quality" else metric_value(row[0], metric, snapshot) for row in rows]
    return [_LAST if value is None else (value if lowest else -value) for value in values]
