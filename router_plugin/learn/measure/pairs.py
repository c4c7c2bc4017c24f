"""Two models, one dial: how well a score tells which prompts need the strong one.

PGR = (r − weak)/(strong − weak) is the share of the gap between both models that a mix recovers; APGR its mean over
shares of strong calls 0, 10, … 100 % (11 points, trapezoid); CPT(x) the share of strong calls at which PGR first
reaches x. A random mix has APGR 0.5 and CPT(x) = x. Source: RouteLLM (arXiv 2406.18665).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SHARES = np.linspace(0.0, 1.0, 11)


def recovered(score: Floats, strong: Floats, weak: Floats) -> Floats:
    """PGR after 0, 1, … n strong calls, given in the order of falling ``score`` (ties in the order of the rows)."""
    gain = (strong - weak)[np.argsort(-score, kind="stable")]
    gap = gain.sum()
    return np.concatenate(([0.0], np.cumsum(gain))) / (gap if abs(gap) > 1e-12 else np.nan)


def apgr(curve: Floats) -> float:
    """Mean PGR over the shares of strong calls."""
    points = np.interp(SHARES * (len(curve) - 1), np.arange(len(curve)), curve)
    return float(((points[1:] + points[:-1]) / 2).mean())


def cpt(curve: Floats, level: float) -> float:
    """The smallest share of strong calls (0..1) at which PGR is ``level``; NaN where there is no gap to recover."""
    over = np.flatnonzero(curve >= level)
    return float(over[0] / (len(curve) - 1)) if len(over) else np.nan


def apgr_interval(
    score: Floats, strong: Floats, weak: Floats, resamples: int, random: np.random.Generator
) -> tuple[float, float]:
    """The 95 % interval of APGR by bootstrap over prompts (over those samples that have a gap)."""
    n = len(score)
    found = []
    for _ in range(resamples):
        at = random.integers(n, size=n)
        found.append(apgr(recovered(score[at], strong[at], weak[at])))
    told = [value for value in found if np.isfinite(value)]
    low, high = np.percentile(told, [2.5, 97.5]) if told else (np.nan, np.nan)
    return float(low), float(high)
