"""Judged rows as the arrays that a frontier is made of: scores, predictions, and what every answer has cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...decide.cost import EXPECTED_OUTPUT_TOKENS
from ...decide.request import read_request
from ...errors import SpecError, did_you_mean
from ...redact import shown
from ..outcomes.figures import Prices, fees, figure
from ..outcomes.rows import Floats, Prompt

TYPICAL = float(EXPECTED_OUTPUT_TOKENS)  # tokens of an answer of unknown length, as deciding takes them


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """n prompts × m models. ``predicted``, ``expected_nano`` (nano-dollars), ``blend``, ``ttft_ms`` and ``itl_ms`` are
    what a router would know beforehand; ``scores`` and ``cost_usd`` what became of it. Times are None where unknown.
    """

    models: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    scores: Floats
    predicted: Floats
    cost_usd: Floats
    expected_nano: Floats
    blend: Floats
    ttft_ms: Floats | None
    itl_ms: Floats | None
    left_out: int


def read_outcomes(
    rows: Sequence[Mapping[str, Any]],
    qualities: Any,
    *,
    models: Sequence[str] | None,
    prices: Prices | None,
    ttft_ms: Mapping[str, float] | None,
    itl_ms: Mapping[str, float] | None,
) -> Outcomes:
    """Settings are compared on the same prompts: rows without a score of every model are left out, and counted.

    Raises: SpecError naming the row, model or argument and what would be right.
    """
    names = _names(rows, qualities, models)
    per_token = _per_token(names, prices)
    scores = np.array([[_score(row, at, name) for name in names] for at, row in enumerate(rows)])
    whole = ~np.isnan(scores).any(axis=1)
    if not whole.any():
        thin = names[int(np.isnan(scores).sum(axis=0).argmax())]
        raise SpecError(f"rows: none has a score of every model; {shown(thin)} has the fewest (models= leaves it out)")
    prompts = [_prompt(row, at) for at, row in enumerate(rows)]
    predicted, tokens = _predicted(qualities, names, prompts, models, scores[whole])
    kept = [row for row, keep in zip(rows, whole, strict=True) if keep]
    asked = [prompt for prompt, keep in zip(prompts, whole, strict=True) if keep]
    sizes = np.array([[_size(prompt)] for prompt in asked])
    out = np.full((len(rows), len(names)), TYPICAL) if tokens is None else tokens
    return Outcomes(
        models=names,
        prompts=tuple(asked),
        scores=scores[whole],
        predicted=predicted[whole],
        cost_usd=_costs(kept, names, per_token, sizes),
        expected_nano=sizes * per_token[:, 0] + out[whole] * per_token[:, 1],
        blend=(3 * per_token[:, 0] + per_token[:, 1]) * (1e6 / 4 / 1e9),
        ttft_ms=_times("ttft_ms", names, ttft_ms, kept),
        itl_ms=_times("itl_ms", names, itl_ms, kept),
        left_out=len(rows) - len(kept),
    )


def _names(rows: Sequence[Mapping[str, Any]], qualities: Any, models: Sequence[str] | None) -> tuple[str, ...]:
    if not rows:
        raise SpecError("rows: there are none")
    for at, row in enumerate(rows):
        if not isinstance(row, Mapping) or not isinstance(row.get("scores"), Mapping):
            raise SpecError(f"rows[{at}]: must be a mapping with 'prompt' and 'scores', such as {{'model': 0.8}}")
    seen = dict.fromkeys(str(name) for row in rows for name in row["scores"])
    wanted = models if models is not None else getattr(qualities, "models", None)
    names = tuple(dict.fromkeys(wanted)) if wanted is not None else tuple(seen)
    for name in names:
        if name not in seen:
            raise SpecError(f"models: no row has a score of {shown(name)}{did_you_mean(name, seen)}")
    if not names:
        raise SpecError("rows: they hold no scores")
    return names


def _score(row: Mapping[str, Any], at: int, name: str) -> float:
    found = figure(row["scores"].get(name), f"rows[{at}].scores[{shown(name)}]", 1.0)
    return math.nan if found is None else found


def _prompt(row: Mapping[str, Any], at: int) -> Prompt:
    prompt = row.get("prompt")
    if not isinstance(prompt, (str, list, tuple)):
        raise SpecError(f"rows[{at}].prompt: must be text or a list of messages, got {shown(prompt)}")
    return prompt


def _size(prompt: Prompt) -> float:
    """Input tokens, as deciding estimates them."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return float(read_request({"messages": messages}).estimate)


def _per_token(names: tuple[str, ...], prices: Prices | None) -> Floats:
    """(input, output) of each model in nano-dollars per token."""
    found = fees(prices, names)
    missing = [name for name in names if name not in found]
    if missing:
        some = ", ".join(shown(name) for name in missing[:8]) + (" …" if len(missing) > 8 else "")
        raise SpecError(
            "prices: give every model's USD per million tokens, {model: (input, output)}; "
            f"missing: {some} (models= leaves them out)"
        )
    return np.array([found[name] for name in names]) * 1e3


def _predicted(
    qualities: Any, names: tuple[str, ...], prompts: list[Prompt], models: Sequence[str] | None, scores: Floats
) -> tuple[Floats, Floats | None]:
    """Predicted quality, and output tokens where the predictor has a view of them; one row a given row."""
    shape = (len(prompts), len(names))
    if qualities is None:
        return np.broadcast_to(scores.mean(axis=0), shape), None
    if isinstance(qualities, Mapping):
        for name in names:
            if name not in qualities:
                raise SpecError(f"qualities: the quality of {shown(name)} is missing (models= leaves it out)")
        return _checked(np.broadcast_to([float(qualities[name]) for name in names], shape)), None
    if hasattr(qualities, "predict"):
        known = list(qualities.models)
        columns = [_column(known, name) for name in names]
        prediction = qualities.predict(prompts)
        tokens = np.asarray(prediction.output_tokens, dtype=float)[:, columns]
        return _checked(np.asarray(prediction.quality, dtype=float)[:, columns]), np.where(tokens >= 0, tokens, TYPICAL)
    if models is None:
        raise SpecError("qualities: an array needs models=, the names of its columns (Predictor.models)")
    array = np.asarray(qualities, dtype=float)
    if array.shape != shape:
        raise SpecError(
            f"qualities: the array must have a row a prompt and a column a model, {shape}, got {array.shape}"
        )
    return _checked(array), None


def _column(known: list[str], name: str) -> int:
    if name not in known:
        raise SpecError(f"qualities: the predictor does not know {shown(name)}{did_you_mean(name, known)}")
    return known.index(name)


def _checked(array: Floats) -> Floats:
    if not bool(np.all((array >= 0.0) & (array <= 1.0))):
        raise SpecError("qualities: every one must lie between 0 and 1")
    return array


def _costs(rows: list[Mapping[str, Any]], names: tuple[str, ...], per_token: Floats, sizes: Floats) -> Floats:
    """USD of every answer: as recorded, else tokens × prices. An unknown length is the model's mean over the rows."""
    paid = np.array([[_cell(row, "cost_usd", name) for name in names] for row in rows])
    given = np.array([[_cell(row, "input_tokens", name) for name in names] for row in rows])
    written = np.array([[_cell(row, "output_tokens", name) for name in names] for row in rows])
    known = ~np.isnan(written)
    counts = known.sum(axis=0)
    means = np.where(known, written, 0.0).sum(axis=0) / np.maximum(counts, 1)
    typical = np.where(counts > 0, means, TYPICAL)
    tokens_in, tokens_out = np.where(np.isnan(given), sizes, given), np.where(known, written, typical)
    usd = (tokens_in * per_token[:, 0] + tokens_out * per_token[:, 1]) / 1e9
    return np.where(np.isnan(paid), usd, paid)


def _cell(row: Mapping[str, Any], key: str, name: str) -> float:
    """A figure of one answer, or one that holds for all answers to the prompt; nan where there is none."""
    value = row.get(key)
    if isinstance(value, Mapping):
        value = value.get(name)
    number = math.nan if value is None else float(value)
    if number < 0 or math.isinf(number):
        raise SpecError(f"rows: {key} of {shown(name)} must be a number >= 0, got {shown(value)}")
    return number


def _times(
    key: str, names: tuple[str, ...], given: Mapping[str, float] | None, rows: list[Mapping[str, Any]]
) -> Floats | None:
    """Milliseconds of each model: as given, else its mean over the rows; None unless every model has one."""
    if given is not None:
        rows = [{key: given}]
        missing = [name for name in names if name not in given]
        if missing:
            raise SpecError(f"{key}: give the milliseconds of every model; {shown(missing[0])} is missing")
    cells = np.array([[_cell(row, key, name) for name in names] for row in rows])
    counts = (~np.isnan(cells)).sum(axis=0)
    return np.nansum(cells, axis=0) / counts if bool((counts > 0).all()) else None
