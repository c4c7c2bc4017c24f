"""The points of a frontier: what a choice of model for every prompt came to, with its interval, and which to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..outcomes.rows import Floats, Prompt, prompt_key
from .rows import Outcomes
from .sweep import Choice, efficient, spread

REPLICATES = 400  # of the bootstrap: the ends of a 95 % interval are then good to about a tenth of its width
Chosen = tuple[str, Choice]  # a setting's string, and the column that each prompt goes to


@dataclass(frozen=True, slots=True)
class Point:
    """A mean quality (0..1) at a mean cost (USD per request)."""

    cost_usd: float
    quality: float


@dataclass(frozen=True, slots=True)
class Single:
    """One model for every prompt. ``low`` and ``high`` bound a 95 % interval of its quality."""

    model: str
    quality: float
    low: float
    high: float
    cost_usd: float
    ttft_ms: float | None
    itl_ms: float | None


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of the dials: its router string, what it came to, and the share of prompts that each model got.

    In ``Frontier.pay`` ``string`` is the keyword to give instead, such as ``willingness_to_pay=0.002``.
    """

    string: str
    quality: float
    low: float
    high: float
    cost_usd: float
    ttft_ms: float | None
    itl_ms: float | None
    mix: dict[str, float]


def point(data: Outcomes, string: str, choice: Choice, low: float, high: float) -> Setting:
    """What a choice came to."""
    quality, cost, ttft, itl = _means(data, choice)
    shares = np.bincount(choice, minlength=len(data.models)) / len(choice)
    mix = {data.models[at]: float(shares[at]) for at in np.argsort(-shares, kind="stable") if shares[at] > 0}
    return Setting(string, quality, min(low, quality), max(high, quality), cost, ttft, itl, mix)


def thinned(data: Outcomes, found: list[Chosen], count: int, *, timed: bool) -> list[Chosen]:
    """Those that no other beats on quality × cost (× TTFT × ITL, where ``timed`` and known), well spaced, from cheap
    to dear. Half of them are such on quality × cost alone: what most people look for is not thinned by times."""
    means = [_means(data, choice) for _, choice in found]
    known = [0, 1, *(column for column in (2, 3) if timed and means[0][column] is not None)]
    values = np.array([[-mean[0], *mean[1:]] for mean in means], dtype=float)[:, known]
    front = efficient(values)
    scaled = values[front]
    scaled[:, 1] = log_cost(scaled[:, 1])
    plain = efficient(scaled[:, :2])
    half = [int(plain[at]) for at in spread(scaled[plain, :2], count if len(known) == 2 else (count + 1) // 2)]
    kept = sorted((front[at] for at in spread(scaled, count, half)), key=lambda at: (values[at, 1], values[at, 0]))
    return [found[at] for at in kept]


def log_cost(costs: Floats) -> Floats:
    """Logarithms of costs; what is free stands a factor of ten below the cheapest that is not."""
    paid = costs[costs > 0]
    return np.log(np.maximum(costs, paid.min() / 10 if len(paid) else 1.0))


def oracle(data: Outcomes) -> Point:
    """The best model for every prompt, the cheapest of equals."""
    best: Choice = np.lexsort((data.cost_usd, -data.scores), axis=1)[:, 0]
    quality, cost, _, _ = _means(data, best)
    return Point(cost, quality)


def hull(points: Sequence[Setting]) -> list[Point]:
    """The corners of what mixing these at random can reach: from the cheapest up to the best, never bending upwards."""
    corners: list[Point] = []
    for quality, cost in sorted(((p.quality, p.cost_usd) for p in points), key=lambda one: (one[1], -one[0])):
        if corners and quality <= corners[-1].quality:
            continue
        while len(corners) > 1:
            (a, b) = corners[-2:]
            if (b.quality - a.quality) * (cost - a.cost_usd) > (quality - a.quality) * (b.cost_usd - a.cost_usd):
                break
            corners.pop()
        corners.append(Point(cost, quality))
    return corners


def intervals(data: Outcomes, choices: list[Choice], seed: int) -> list[tuple[float, float]]:
    """95 % intervals of the mean quality of each choice, by bootstrap over prompts (equal prompts are drawn together).

    All choices are measured on the same draws.
    """
    alike = {key: at for at, key in enumerate(dict.fromkeys(_plain(prompt) for prompt in data.prompts))}
    group = np.array([alike[_plain(prompt)] for prompt in data.prompts])
    sums = np.zeros((len(alike), len(choices) + 1))
    for column, choice in enumerate(choices):
        sums[:, column] = np.bincount(group, weights=_of(data.scores, choice), minlength=len(alike))
    sums[:, -1] = np.bincount(group, minlength=len(alike))
    rng, means = np.random.default_rng(seed), np.empty((REPLICATES, len(choices)))
    for replicate in range(REPLICATES):
        drawn = np.bincount(rng.integers(0, len(alike), len(alike)), minlength=len(alike)) @ sums
        means[replicate] = drawn[:-1] / drawn[-1]
    low, high = np.quantile(means, (0.025, 0.975), axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _plain(prompt: Prompt) -> str:
    return " ".join(prompt_key(prompt).lower().split())


def _of(values: Floats, choice: Choice) -> Floats:
    picked: Floats = values[np.arange(len(choice)), choice]
    return picked


def _means(data: Outcomes, choice: Choice) -> tuple[float, float, float | None, float | None]:
    """Quality, USD, TTFT and ITL, each a mean over the prompts."""
    ttft, itl = (None if times is None else float(times[choice].mean()) for times in (data.ttft_ms, data.itl_ms))
    return float(_of(data.scores, choice).mean()), float(_of(data.cost_usd, choice).mean()), ttft, itl
