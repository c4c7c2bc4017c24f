"""Kinds of prompts where nobody named tasks: k-means on a small random projection.

Rule: rows are projected to 64 figures by random signs (Achlioptas 2003), k-means with k-means++ starts (Arthur and
Vassilvitskii 2007), 15 rounds, k = √(n/4) within 3..12. Used to leave out whole clusters in validation, never to serve.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .linear import Design, Ints, apply

_SIZE, _ROUNDS = 64, 15


def kinds(design: Design, seed: int) -> Ints:
    """A cluster number for every row."""
    random = np.random.default_rng(seed)
    n = len(design)
    signs = random.choice(np.array([-1, 1], np.float32), (design.width + design.dense.shape[1], _SIZE))
    points = apply(design, signs.astype(np.float32)).astype(np.float64)
    centres = _starts(points, int(min(12, max(3, (n / 4) ** 0.5))), random)
    labels = np.zeros(n, np.int64)
    for _ in range(_ROUNDS):
        labels = _distances(points, centres).argmin(axis=1)
        for k in range(len(centres)):
            if (labels == k).any():
                centres[k] = points[labels == k].mean(axis=0)
    return labels


def _distances(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    square = (points**2).sum(axis=1)[:, None] - 2.0 * points @ centres.T + (centres**2).sum(axis=1)
    return np.asarray(np.maximum(square, 0.0))


def _starts(points: NDArray[np.float64], k: int, random: np.random.Generator) -> NDArray[np.float64]:
    chosen = [int(random.integers(len(points)))]
    while len(chosen) < k:
        far = _distances(points, points[chosen]).min(axis=1)
        total = far.sum()
        if total <= 1e-12:
            break
        chosen.append(int(random.choice(len(points), p=far / total)))
    return np.array(points[chosen])
