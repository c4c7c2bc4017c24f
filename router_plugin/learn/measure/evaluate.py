"""``evaluate(predictor, rows, prices)``: what a predictor is worth as a router, in the published units.

Qualities are shares (0..1), costs USD a prompt. Decisions use *predicted* quality and cost (predicted output tokens),
results are counted with the true ones. 95 % intervals are by bootstrap over prompts with the same decisions.
Sources: APGR, CPT: RouteLLM (arXiv 2406.18665); AIQ: RouterBench (arXiv 2403.12031); PerfGain, CostSave and Gap@O:
LLMRouterBench; ECE: Naeini et al. 2015, ten bins of equal width, for each model, then the models' mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ...errors import SpecError, TrainingError
from ...redact import shown
from ..outcomes.figures import Prices, whole_number
from ..outcomes.rows import Floats, Table, iterated, read_rows
from .calibration import NAN, costs, ece, token_errors
from .mixes import area, choices, cost_at, height, hull
from .pairs import apgr, apgr_interval, cpt, recovered


@dataclass(slots=True)
class Metrics:
    """Figures of one evaluation; NaN where the rows do not allow one (no costs, more than two models …).

    ``accuracy``: mean quality when the best predicted model is always taken; ``best``, ``cheapest``, ``oracle``,
    ``random``: of the best single model (in hindsight), the cheapest, the best for each prompt, an even mix.
    ``gap_closed`` = (accuracy − best)/(oracle − best); ``perf_gain`` = accuracy/best − 1; ``gap_at_oracle`` =
    1 − accuracy/oracle; ``cost_save`` = 1 − cost/best's cost where the curve first has the best single's quality (0
    where it never has, NaN where that is free). ``at_cost_of``: the curve's quality at the mean cost of each single
    model.
    """

    prompts: int
    models: tuple[str, ...]
    accuracy: float = NAN
    best: float = NAN
    cheapest: float = NAN
    oracle: float = NAN
    random: float = NAN
    gap_closed: float = NAN
    perf_gain: float = NAN
    gap_at_oracle: float = NAN
    aiq: float = NAN
    aiq_zero: float = NAN
    aiq_oracle: float = NAN
    aiq_norm: float = NAN
    cost_range: tuple[float, float] = (NAN, NAN)
    cost_save: float = NAN
    at_cost_of: dict[str, float] = field(default_factory=dict)
    apgr: float = NAN
    cpt50: float = NAN
    cpt80: float = NAN
    ece: float = NAN
    token_error: float = NAN
    token_error_of_mean: float = NAN
    cost_error: float = NAN
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def evaluate(
    predictor: Any,
    rows: Iterable[Mapping[str, Any]],
    prices: Prices | None = None,
    *,
    seed: int = 0,
    resamples: int = 200,
) -> Metrics:
    """The metrics of a predictor (anything with ``models`` and ``predict``), or of predicted qualities: a dict {model:
    sequence} or an array whose columns are the models of the rows in alphabetical order.

    ``prices``: {model: (input, output)} in USD per million tokens, for rows with ``input_tokens`` and
    ``output_tokens``; rows with ``cost_usd`` {model: USD} need none. Only prompts that all models have answered count
    for routing.
    Raises: SpecError for rows, prices or predictions of the wrong shape; TrainingError where no prompt is complete.
    """
    seed, resamples = whole_number(seed, "seed", 0), whole_number(resamples, "resamples", 1)
    rows = list(iterated(rows))
    table = read_rows(rows, merge=False)
    quality, tokens, models = _predictions(predictor, table)
    at = [table.models.index(model) for model in models]
    table = Table(
        table.prompts, models, table.scores[:, at], table.tokens[:, at], table.inputs, table.tasks, table.groups
    )
    whole = np.isfinite(table.scores).all(axis=1)
    if not whole.any():
        raise TrainingError("no prompt has a score for every model; routing cannot be counted")
    out = Metrics(int(whole.sum()), models)
    random = np.random.default_rng(seed)
    out.ece = ece(quality, table.scores)
    out.token_error, out.token_error_of_mean = token_errors(tokens, table.tokens)
    _choose(out, quality[whole], table.scores[whole], resamples, random)
    if len(models) == 2:
        _pair(out, quality[whole], table.scores[whole], resamples, random)
    true, guessed = costs(table, rows, prices, tokens)
    if true is not None and guessed is not None:
        priced = whole & np.isfinite(true).all(axis=1) & np.isfinite(guessed).all(axis=1)
        if priced.any():
            out.cost_error = float(np.median(np.abs(guessed - true)[priced] / np.maximum(true[priced], 1e-12)))
            _curve(out, quality[priced], table.scores[priced], true[priced], guessed[priced], resamples, random)
    return out


def _predictions(predictor: Any, table: Table) -> tuple[Floats, Floats, tuple[str, ...]]:
    try:
        quality, tokens, models = _told(predictor, table)
    except (TypeError, ValueError):  # NumPy's, for what is ragged or holds no numbers
        quality, tokens, models = np.empty((0, 0)), np.empty((0, 0)), ()
    if not models or quality.shape != (len(table), len(models)) or not np.isfinite(quality).all():
        raise SpecError(
            f"predictor: must give finite qualities of shape {table.scores.shape} for the rows' models, got "
            f"{shown(predictor)}"
        )
    return quality, tokens, models


def _told(predictor: Any, table: Table) -> tuple[Floats, Floats, tuple[str, ...]]:
    if hasattr(predictor, "predict"):
        models = tuple(model for model in predictor.models if model in table.models)
        at = [predictor.models.index(model) for model in models]
        told = predictor.predict(table.prompts)
        quality, tokens = np.asarray(told.quality)[:, at], np.asarray(told.output_tokens)[:, at]
    elif isinstance(predictor, Mapping):
        models = tuple(model for model in table.models if model in predictor)
        quality = (
            np.array([predictor[model] for model in models], np.float64).reshape(len(models), -1 if models else 0).T
        )
        tokens = np.full(quality.shape, NAN)
    else:
        quality, models = np.asarray(predictor, np.float64), table.models
        tokens = np.full(table.scores.shape, NAN)
    return quality, tokens, models


def _choose(out: Metrics, quality: Floats, truth: Floats, resamples: int, random: np.random.Generator) -> None:
    n = len(truth)
    rows = np.arange(n)
    chosen, single, oracle = truth[rows, quality.argmax(axis=1)], int(truth.mean(axis=0).argmax()), truth.max(axis=1)
    out.accuracy, out.best, out.oracle = float(chosen.mean()), float(truth[:, single].mean()), float(oracle.mean())
    out.random = float(truth.mean())
    out.gap_closed = (out.accuracy - out.best) / (out.oracle - out.best) if out.oracle > out.best else NAN
    out.perf_gain = out.accuracy / out.best - 1.0 if out.best else NAN
    out.gap_at_oracle = 1.0 - out.accuracy / out.oracle if out.oracle else NAN
    weights = random.multinomial(n, np.full(n, 1 / n), size=resamples) / n
    out.intervals["accuracy"] = _interval(weights @ chosen)
    out.intervals["accuracy - best"] = _interval(weights @ (chosen - truth[:, single]))


def _pair(out: Metrics, quality: Floats, truth: Floats, resamples: int, random: np.random.Generator) -> None:
    strong = int(truth.mean(axis=0).argmax())
    args = (quality[:, strong] - quality[:, 1 - strong], truth[:, strong], truth[:, 1 - strong])
    curve = recovered(*args)
    out.apgr, out.cpt50, out.cpt80 = apgr(curve), cpt(curve, 0.5), cpt(curve, 0.8)
    out.intervals["apgr"] = apgr_interval(*args, resamples, random)


def _curve(
    out: Metrics,
    quality: Floats,
    truth: Floats,
    cost: Floats,
    guessed: Floats,
    resamples: int,
    random: np.random.Generator,
) -> None:
    n = len(truth)
    single = int(truth.mean(axis=0).argmax())
    unit = max(float(cost[:, single].mean()), 1e-15)
    blocks = []
    for said, price in ((quality, guessed), (truth, cost)):
        chosen = choices(said, price, unit)
        blocks.append((np.take_along_axis(cost, chosen, 1), np.take_along_axis(truth, chosen, 1)))
    blocks.append((cost, truth))

    def areas(weights: Floats) -> tuple[list[float], Any, float, float]:
        hulls = [hull(weights @ c, weights @ q) for c, q in blocks]
        mean = weights @ cost
        low, high = float(mean.min()), float(mean[single])
        return [area(h, low, high) for h in hulls], hulls[0], low, high

    (out.aiq, out.aiq_oracle, out.aiq_zero), corners, low, high = areas(np.full(n, 1 / n))
    out.cost_range, out.cheapest = (low, high), float(truth[:, cost.mean(axis=0).argmin()].mean())
    out.aiq_norm = (out.aiq - out.aiq_zero) / (out.aiq_oracle - out.aiq_zero) if out.aiq_oracle > out.aiq_zero else NAN
    if high > 0.0:
        out.cost_save = max(0.0, 1.0 - cost_at(corners, float(truth[:, single].mean())) / unit)
    means = height(corners, cost.mean(axis=0))
    out.at_cost_of = {model: float(value) for model, value in zip(out.models, means, strict=True)}
    found = [areas(w / n)[0] for w in random.multinomial(n, np.full(n, 1 / n), size=resamples)]
    aiq, oracle, zero = np.array(found).T
    out.intervals["aiq"] = _interval(aiq)
    out.intervals["aiq - zero"] = _interval(aiq - zero)
    out.intervals["aiq_norm"] = _interval((aiq - zero) / np.maximum(oracle - zero, 1e-12))


def _interval(values: Floats) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
