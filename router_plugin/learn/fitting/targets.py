"""What is learned: each model's mean, and a few directions in which prompts move the models together or apart.

Rule: scores are split into the models' means and residuals. The first direction is the plain average over models (how
hard the prompt is); the others are the principal components of what is left, which alone decide who is chosen. A
missing score is filled with its prompt's own average residual, shrunk by k/(k + 3) for k scores seen: a thin column
follows the shared difficulty and its specific directions stay near 0.
Theory: a one-factor item response model with extra factors, linearised; reduced-rank regression (Izenman 1975).
Defaults: 8 directions of quality, 4 of output length; a mean leans on the mean of all models by two prompts' weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_LEAN, _FILL = 2.0, 3.0


@dataclass(slots=True)
class Targets:
    """``values ≈ mean + parts @ basis.T``; ``noise`` is each model's variance around its mean, ``seen`` its prompts."""

    mean: Floats
    basis: Floats
    parts: Floats
    noise: Floats
    seen: NDArray[np.int64]


def split(values: Floats, rank: int) -> Targets:
    """The targets of a table with NaN where nothing is known."""
    known = np.isfinite(values)
    seen = known.sum(axis=0)
    filled, mean = np.where(known, values, 0.0), np.zeros(values.shape[1])
    overall = float(filled.sum() / max(1, seen.sum()))
    shared = np.zeros(len(values))
    per_row = known.sum(axis=1)
    for _ in range(10):  # prompts' and models' effects in turn, since a thin column's prompts may be easy ones
        rest = np.where(known, values - shared[:, None], 0.0).sum(axis=0)
        mean = (rest + _LEAN * overall) / (seen + _LEAN)
        shared = np.where(known, values - mean, 0.0).sum(axis=1) / (per_row + _FILL)
        if known.all():
            mean = values.mean(axis=0)
            break
    residual = np.where(known, values - mean, shared[:, None])
    noise = np.where(known, residual**2, 0.0).sum(axis=0) / np.maximum(seen - 1, 1)
    noise = np.where(seen > 1, noise, noise.mean() if noise.any() else 0.25)
    basis = _directions(residual, rank)
    return Targets(mean, basis, residual @ basis, noise, seen)


def _directions(residual: Floats, rank: int) -> Floats:
    models = residual.shape[1]
    average = np.full((models, 1), models**-0.5)
    contrast = residual - (residual @ average) @ average.T
    _, vectors = np.linalg.eigh(contrast.T @ contrast / max(1, len(residual)))
    others = vectors[:, ::-1][:, : min(rank, models) - 1]
    signs = np.sign(others[np.abs(others).argmax(axis=0), np.arange(others.shape[1])]) if others.size else 1.0
    return np.hstack([average, others * signs])
