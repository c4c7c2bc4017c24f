"""Turning the dials: which weights to try, what each chooses, and which of the results are worth showing.

Rule: between two models the choice turns where weight × (difference in cost, TTFT or ITL) equals the difference in
predicted quality. Those turning points bound each logarithmic grid, and lie between its values where they are few, so
that every distinct choice along one axis is met. ``choose`` is the arithmetic of ``decide.ranking``, operation by
operation, so that a setting does live what it did here. Thinning is farthest-point sampling (Gonzalez 1985).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ...spec.strings import Weights
from ..outcomes.rows import Floats
from .rows import Outcomes

Choice = NDArray[np.intp]
PATH = 48  # values along one axis
JOINT = (0, 0, 16, 8)  # values an axis where 2 or 3 are turned together: 17² = 289 and 9³ = 729 settings
SAMPLE = 400  # prompts whose turning points are looked at


def choose(data: Outcomes, weights: Weights) -> Choice:
    """The model that each prompt goes to under these weights."""
    loss = weights.c * data.blend - weights.q * data.predicted
    if weights.t and data.ttft_ms is not None:
        loss = loss + weights.t * data.ttft_ms
    if weights.i and data.itl_ms is not None:
        loss = loss + weights.i * data.itl_ms
    return _first(loss, data.expected_nano)


def choose_by_pay(data: Outcomes, pay: float) -> Choice:
    """The model that each prompt goes to under a willingness to pay, USD per 0.10 of quality."""
    return _first(data.expected_nano / 1e9 - pay / 0.10 * data.predicted, data.expected_nano)


def _first(loss: Floats, expected: Floats) -> Choice:
    """The least loss of every row; ties go to the cheaper, then to the model that is listed first."""
    equal = loss == loss.min(axis=1, keepdims=True)
    choice: Choice = equal.argmax(axis=1)
    tied = np.flatnonzero(equal.sum(axis=1) > 1)
    if len(tied):
        choice[tied] = np.where(equal[tied], expected[tied], np.inf).argmin(axis=1)
    return choice


def dials(data: Outcomes) -> Iterator[Weights]:
    """Weights to try: the extremes, the path along each axis, and a coarser grid of all axes together."""
    measures = {"c": data.blend, "t": data.ttft_ms, "i": data.itl_ms}
    turns = {key: _turns(data, values) for key, values in measures.items() if values is not None}
    yield Weights(q=1.0)
    for key in turns:
        yield Weights(**{key: 1.0})
    axes = {key: found for key, found in turns.items() if len(found)}
    for key, found in axes.items():
        for value in _path(found):
            yield Weights(**{"q": 1.0, key: value})
    if len(axes) > 1:
        grids = [(0.0, *_log(found, JOINT[len(axes)])) for found in axes.values()]
        for values in itertools.product(*grids):
            if sum(value > 0 for value in values) > 1:
                yield Weights(q=1.0, **dict(zip(axes, values, strict=True)))


def pays(data: Outcomes) -> list[float]:
    """Values of the willingness to pay to try, USD per 0.10 of quality."""
    turns = _turns(data, data.expected_nano / 1e9)
    return _path(np.sort(0.10 / turns)) if len(turns) else [1.0]


def _turns(data: Outcomes, values: Floats) -> Floats:
    """The positive weights on ``values`` at which some prompt's choice between two models turns, ascending."""
    rows = np.unique(np.linspace(0, len(data.predicted) - 1, SAMPLE).round().astype(int))
    quality = data.predicted[rows]
    values = np.broadcast_to(values, data.predicted.shape)[rows]
    first, second = np.triu_indices(quality.shape[1], 1)
    gain, price = quality[:, first] - quality[:, second], values[:, first] - values[:, second]
    real = (np.abs(gain) > 1e-6) & (np.abs(price) > 1e-9 * np.abs(values).max(initial=1e-300))
    turns = gain[real] / price[real]
    return np.unique(turns[turns > 0])


def _path(turns: Floats) -> list[float]:
    """A logarithmic grid over the turning points, and the middles between them (of their quantiles, if many)."""
    few = turns if len(turns) <= PATH else np.quantile(turns, np.linspace(0, 1, PATH))
    ends = np.concatenate([[turns[0] / 2], few, [turns[-1] * 2]])
    return sorted({*_log(turns, PATH), *map(_rounded, np.sqrt(ends[:-1] * ends[1:]))})


def _log(turns: Floats, count: int) -> list[float]:
    low, high = np.quantile(turns, (0.01, 0.99))
    return sorted({_rounded(value) for value in np.geomspace(low / 1.5, high * 1.5, count)})


def _rounded(value: float) -> float:
    return float(f"{value:.2e}")  # three digits, as in Unify's strings


def efficient(values: Floats) -> NDArray[np.intp]:
    """Indices of the rows that no other row beats: every column is better where it is smaller. Of equal rows the
    first."""
    kept = []
    for at, row in enumerate(values):
        no_worse, better = (values <= row).all(axis=1), (values < row).any(axis=1)
        same = no_worse & ~better
        if not (no_worse & better).any() and int(same.argmax()) == at:
            kept.append(at)
    return np.array(kept, dtype=np.intp)


def spread(values: Floats, count: int, start: Sequence[int] = (), least: float = 0.01) -> list[int]:
    """Indices of at most ``count`` well-spaced rows, those of ``start`` first. The best row of every column is always
    among them, even where that makes them more; what is nearer than ``least`` of the range to one that is kept is left
    out."""
    low = values.min(axis=0)
    span = values.max(axis=0) - low
    scaled = (values - low) / np.where(span > 0, span, 1.0)
    columns = range(values.shape[1])
    ends = [int(np.lexsort((*np.delete(values, at, axis=1).T, values[:, at]))[0]) for at in columns]
    kept = list(dict.fromkeys([*start, *ends]))
    distance = np.min([np.linalg.norm(scaled - scaled[at], axis=1) for at in kept], axis=0)
    while len(kept) < count and distance.max() > least:
        kept.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(scaled - scaled[kept[-1]], axis=1))
    return kept
