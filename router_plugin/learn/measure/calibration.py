"""How far predictions are off: calibration, output tokens, costs.

ECE: Naeini et al. 2015, ten bins of equal width, for each model, then the models' mean. Token and cost errors are
medians of |predicted − true|/true over prompts and models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...redact import shown
from ..outcomes.figures import Prices, fees, figure
from ..outcomes.rows import Floats, Table

NAN = math.nan


def costs(
    table: Table, rows: Sequence[Mapping[str, Any]], prices: Prices | None, tokens: Floats
) -> tuple[Floats | None, Floats | None]:
    """True and predicted costs in USD, prompts × models; None where nothing tells them.

    Where the predictor tells no tokens, a model's mean cost over the rows stands for the prediction.
    Raises: SpecError for a cost or price that is none.
    """
    priced = np.array([[_cost(row, number, model) for model in table.models] for number, row in enumerate(rows)])
    guessed: Floats = np.full(priced.shape, NAN)
    found = fees(prices, table.models)
    if len(found) == len(table.models):
        fee = np.array([found[model] for model in table.models])
        inputs = table.inputs[:, None] * fee[:, 0]
        priced = np.where(np.isfinite(priced), priced, (inputs + table.tokens * fee[:, 1]) / 1e6)
        guessed = (inputs + tokens * fee[:, 1]) / 1e6
    if not np.isfinite(priced).any(axis=0).all():
        return None, None
    return priced, np.where(np.isfinite(guessed), guessed, np.nanmean(priced, axis=0))


def _cost(row: Mapping[str, Any], number: int, model: str) -> float:
    given = row.get("cost_usd")
    found = figure(given.get(model), f"rows[{number}].cost_usd[{shown(model)}]") if isinstance(given, Mapping) else None
    return NAN if found is None else found


def ece(quality: Floats, truth: Floats) -> float:
    found = []
    for said, true in zip(quality.T, truth.T, strict=True):
        known = np.isfinite(true)
        bins = np.clip(said[known] * 10, 0, 9).astype(int)  # a score that is no share of right answers has an end bin
        error = np.bincount(bins, weights=true[known] - said[known], minlength=10)
        found.append(np.abs(error).sum() / max(1, known.sum()))
    return float(np.mean(found))


def token_errors(said: Floats, true: Floats) -> tuple[float, float]:
    known = np.isfinite(said) & np.isfinite(true) & (true > 0)
    if not known.any():
        return NAN, NAN
    mean = np.broadcast_to(
        np.nanmean(np.where(known, true, NAN)[:, known.any(axis=0)], axis=0), true[:, known.any(axis=0)].shape
    )
    usual = np.full(true.shape, NAN)
    usual[:, known.any(axis=0)] = mean
    return tuple(float(np.median(np.abs(guess - true)[known] / true[known])) for guess in (said, usual))  # type: ignore[return-value]
