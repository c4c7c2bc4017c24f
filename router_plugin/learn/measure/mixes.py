"""Many models, quality against cost: the curve that a router's dial draws, and the areas under it.

Rule: for each price of a unit of cost the model with the best ``quality − price·cost`` is chosen; the settings' mean
costs and qualities have a non-decreasing convex hull (between two settings one can mix). AIQ is the mean height of
that hull over [the cheapest single model's cost, the best single model's cost]. The *zero* router is the hull of the
single models; the *oracle* chooses by the true scores and costs. AIQ_norm = (AIQ − zero's)/(oracle's − zero's).
Source: RouterBench (arXiv 2403.12031). Costs are scaled by the best single model's mean cost; 60 prices from 10⁻³ to
10, plus 0 and a very large one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PRICES: Floats = np.concatenate(([0.0], np.geomspace(1e-3, 10.0, 60), [1e6]))


def choices(quality: Floats, cost: Floats, unit: float) -> NDArray[np.int64]:
    """The model chosen at every price: (prompts, prices). Ties go to the cheaper."""
    out = [np.argmax(quality - (price + 1e-9) * cost / unit, axis=1) for price in PRICES]
    return np.stack(out, axis=1)


def hull(costs: Floats, qualities: Floats) -> tuple[Floats, Floats]:
    """The corners of the non-decreasing upper convex hull, by rising cost."""
    order = np.lexsort((-qualities, costs))
    kept: list[tuple[float, float]] = []
    for x, y in zip(costs[order].tolist(), qualities[order].tolist(), strict=True):
        if kept and y <= kept[-1][1]:
            continue
        while len(kept) > 1 and (kept[-1][1] - kept[-2][1]) * (x - kept[-2][0]) <= (y - kept[-2][1]) * (
            kept[-1][0] - kept[-2][0]
        ):
            kept.pop()
        kept.append((x, y))
    corners = np.array(kept)
    return corners[:, 0], corners[:, 1]


def height(corners: tuple[Floats, Floats], at: Floats | float) -> Floats:
    """The hull's quality at a cost; flat beyond its ends."""
    return np.asarray(np.interp(at, *corners), np.float64)


def area(corners: tuple[Floats, Floats], low: float, high: float) -> float:
    """The hull's mean height over [low, high]."""
    if high - low <= 1e-15:
        return float(height(corners, high))
    inside = corners[0][(corners[0] > low) & (corners[0] < high)]
    x = np.concatenate(([low], inside, [high]))
    y = height(corners, x)
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() / (high - low))


def cost_at(corners: tuple[Floats, Floats], quality: float) -> float:
    """The least cost at which the hull has this quality; infinite where it never has."""
    x, y = corners
    if quality > y[-1] + 1e-12:
        return float("inf")
    return float(x[0]) if quality <= y[0] else float(np.interp(quality, y, x))
