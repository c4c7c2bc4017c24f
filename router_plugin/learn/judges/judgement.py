"""What a judge says: a score in 0..1, or none with the reason why; and how far judges agree.

A judge that fails, or says what cannot be read, gives no score. That is recorded as missing and is never a 0: a zero
would say of the model what is true of the judge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Judgement:
    """``score`` in 0..1, None where there is none; ``raw`` what the judge said on its own scale; ``reason`` its words,
    or why there is no score; ``cost_usd`` what asking it cost; ``transient``: asking again later may help."""

    score: float | None
    raw: float | str | None = None
    reason: str | None = None
    cost_usd: float = 0.0
    transient: bool = False

    def __float__(self) -> float:
        """The score; NaN where there is none."""
        return math.nan if self.score is None else self.score


@runtime_checkable
class Judge(Protocol):
    """Scores one answer. ``request`` holds litellm's keyword arguments (``messages`` at least)."""

    def judge(self, request: Mapping[str, Any], answer: str, ref_answer: Any = None) -> Judgement: ...


def missing(reason: str, raw: float | str | None = None, cost_usd: float = 0.0, transient: bool = False) -> Judgement:
    """No score, and why."""
    return Judgement(None, raw, reason, cost_usd, transient)


class Repeated:
    """A judge asked ``n`` times: the mean of the scores that came, none where fewer than half did."""

    def __init__(self, judge: Judge, n: int) -> None:
        self._judge, self._n = judge, n

    def judge(self, request: Mapping[str, Any], answer: str, ref_answer: Any = None) -> Judgement:
        found = [self._judge.judge(request, answer, ref_answer) for _ in range(self._n)]
        scores = [one.score for one in found if one.score is not None]
        cost = math.fsum(one.cost_usd for one in found)
        if 2 * len(scores) < self._n:
            first = next(one for one in found if one.score is None)
            return missing(
                f"{len(scores)} of {self._n} judgements gave a score: {first.reason}", first.raw, cost, first.transient
            )
        spread = max(scores) - min(scores)
        reason = f"mean of {len(scores)} judgements, from {min(scores):g} to {max(scores):g}" if spread else None
        return Judgement(math.fsum(scores) / len(scores), None, reason, cost)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two judges (or a judge and people) agree on ``n`` answers that both scored; None where it cannot be said
    (fewer than two, or scores that are all equal)."""

    n: int
    pearson: float | None
    spearman: float | None
    kappa: float | None
    mean_absolute_difference: float | None


def agreement(
    judgements_a: Sequence[Judgement | float | None], judgements_b: Sequence[Judgement | float | None], levels: int = 5
) -> Agreement:
    """Pearson's and Spearman's correlation, Cohen's kappa of the scores in ``levels`` equal steps of 0..1, and the mean
    absolute difference, over the pairs where both have a score."""
    if len(judgements_a) != len(judgements_b):
        raise ValueError(f"agreement: {len(judgements_a)} judgements against {len(judgements_b)}")
    values = [(_score(a), _score(b)) for a, b in zip(judgements_a, judgements_b, strict=True)]
    pairs = [(a, b) for a, b in values if not math.isnan(a + b)]
    if not pairs:
        return Agreement(0, None, None, None, None)
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    return Agreement(
        len(pairs),
        _pearson(left, right),
        _pearson(_ranks(left), _ranks(right)),
        _kappa([_level(a, levels) for a in left], [_level(b, levels) for b in right]),
        math.fsum(abs(a - b) for a, b in pairs) / len(pairs),
    )


def _score(value: Judgement | float | None) -> float:
    return math.nan if value is None else float(value)


def _level(score: float, levels: int) -> int:
    return min(levels - 1, max(0, int(score * levels)))


def _pearson(left: Sequence[float], right: Sequence[float]) -> float | None:
    n = len(left)
    mean_l, mean_r = math.fsum(left) / n, math.fsum(right) / n
    spread = math.fsum((x - mean_l) ** 2 for x in left) * math.fsum((y - mean_r) ** 2 for y in right)
    if spread <= 1e-24:
        return None
    together = math.fsum((x - mean_l) * (y - mean_r) for x, y in zip(left, right, strict=True))
    return max(-1.0, min(1.0, together / math.sqrt(spread)))


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks, start = [0.0] * len(values), 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for index in order[start:end]:
            ranks[index] = (start + end - 1) / 2
        start = end
    return ranks


def _kappa(left: Sequence[int], right: Sequence[int]) -> float | None:
    """Cohen (1960): agreement beyond what the marginals alone would give."""
    n = len(left)
    seen = sum(a == b for a, b in zip(left, right, strict=True)) / n
    chance = sum(left.count(level) * right.count(level) for level in set(left)) / (n * n)
    return None if chance >= 1.0 else (seen - chance) / (1 - chance)
