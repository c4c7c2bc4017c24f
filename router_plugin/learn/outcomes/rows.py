"""Judged rows, checked and laid out as a table of prompts × models.

Rule: what is malformed is refused with the row, the field and what would be right; what is merely thin or odd is kept.
A score that is None, NaN or absent is missing, not 0; a prompt without any score says nothing, and is left out where
prompts are joined (how many: ``Table.left_out``, and a warning). The same prompt twice is one prompt with its mean
score. Prompts that differ only in digits, case or punctuation share a *group*, which no split ever divides (templates
and duplicates would leak).
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SpecError, TrainingError
from ...redact import shown
from .figures import figure, some

log = logging.getLogger("router_plugin")
Floats = NDArray[np.float64]
Prompt = str | Sequence[Any]
_MOST_TOKENS = 1e9
_NOISE = re.compile(r"[\W_]+")
_DIGITS = re.compile(r"\d+")


@dataclass(slots=True)
class Table:
    """Prompts × models. ``scores`` and ``tokens`` are NaN where unknown; ``tasks`` are "" where unnamed."""

    prompts: list[Prompt]
    models: tuple[str, ...]
    scores: Floats
    tokens: Floats
    inputs: Floats
    tasks: NDArray[np.str_]
    groups: NDArray[np.int64]
    merged: int = 0
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, rows: NDArray[Any]) -> Table:
        """Some of the prompts, by number or mask."""
        at = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Table(
            [self.prompts[i] for i in at],
            self.models,
            self.scores[at],
            self.tokens[at],
            self.inputs[at],
            self.tasks[at],
            self.groups[at],
        )


def prompt_key(prompt: Prompt) -> str:
    """A prompt as one text: of messages their roles and contents."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True, default=str)


def group_key(prompt: Prompt) -> str:
    """What duplicates and instances of one template have in common: no case, punctuation or digits."""
    text = prompt_key(prompt).lower()
    return _NOISE.sub("", _DIGITS.sub("0", text)) or text


def tell_unheard(named: Iterable[str], heard: Container[str]) -> None:
    """Warn of models that never had a score: nothing is known of them."""
    if unheard := [model for model in named if model not in heard]:
        log.warning("no row has a score of %s", some(unheard))


ROWS = "rows: must be a list of dicts with 'prompt' and 'scores'"


def iterated(given: Any, what: str = ROWS) -> Iterable[Any]:
    """Raises: SpecError for one thing instead of many, saying what it must be."""
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise SpecError(f"{what}, got {shown(given)}")
    return given


def read_rows(rows: Iterable[Mapping[str, Any]], *, merge: bool = True) -> Table:
    """The table of ``rows`` (see the package for their shape), in their order; ``merge`` joins equal prompts.

    Raises: SpecError for a malformed row, TrainingError where no row has a score.
    """
    merged: dict[str, _Merged] = {}
    models: dict[str, None] = {}
    named: dict[str, None] = {}
    for number, row in enumerate(iterated(rows)):
        prompt, scores = _check(row, number)
        key = prompt_key(prompt).strip() if merge else str(number)
        entry = merged.setdefault(key, _Merged(prompt, str(row.get("task") or "")))
        entry.add(
            scores, _numbers(row.get("output_tokens"), number, "output_tokens", _MOST_TOKENS), _inputs(row, number)
        )
        models.update(dict.fromkeys(scores))
        named.update(dict.fromkeys(row["scores"]))
    if not merged or not models:
        raise TrainingError(f"no scores to learn from: {len(merged)} prompts, {len(models)} models with a score")
    told = [entry for entry in merged.values() if entry.scores or not merge]
    tell_unheard(named, models)
    table = _table(told, tuple(sorted(models)))
    table.left_out = len(merged) - len(told)
    if table.left_out:
        log.warning("%d of %d prompts have no score of any model and are left out", table.left_out, len(merged))
    return table


def _check(row: Any, number: int) -> tuple[Prompt, dict[str, float]]:
    if not isinstance(row, Mapping):
        raise SpecError(f"rows[{number}]: must be a dict with 'prompt' and 'scores', got {shown(row)}")
    prompt = row.get("prompt")
    if not isinstance(prompt, (str, list, tuple)):
        raise SpecError(f"rows[{number}].prompt: must be text or a list of messages, got {shown(prompt)}")
    if not isinstance(row.get("scores"), Mapping):
        raise SpecError(f"rows[{number}].scores: must be a dict of model to score, got {shown(row.get('scores'))}")
    return prompt, _numbers(row["scores"], number, "scores", 1.0)


def _numbers(given: Any, number: int, field: str, most: float) -> dict[str, float]:
    out: dict[str, float] = {}
    if given is None:
        return out
    if not isinstance(given, Mapping):
        raise SpecError(f"rows[{number}].{field}: must be a dict of model to number, got {shown(given)}")
    for model, value in given.items():
        if not isinstance(model, str) or not model:
            raise SpecError(f"rows[{number}].{field}: a model's name must be text, got {shown(model)}")
        found = figure(value, f"rows[{number}].{field}[{shown(model)}]", most)
        if found is not None:
            out[model] = found
    return out


def _inputs(row: Mapping[str, Any], number: int) -> float | None:
    given = row.get("input_tokens")  # by model, they are of the frontier's rows
    return None if isinstance(given, Mapping) else figure(given, f"rows[{number}].input_tokens", _MOST_TOKENS)


class _Merged:
    """One prompt and the sums of what was said of it."""

    __slots__ = ("inputs", "prompt", "scores", "task", "times", "tokens")

    def __init__(self, prompt: Prompt, task: str) -> None:
        self.prompt, self.task, self.times, self.inputs = prompt, task, 0, math.nan
        self.scores: dict[str, list[float]] = {}
        self.tokens: dict[str, list[float]] = {}

    def add(self, scores: Mapping[str, float], tokens: Mapping[str, float], inputs: float | None) -> None:
        self.times += 1
        for model, value in scores.items():
            self.scores.setdefault(model, []).append(value)
        for model, value in tokens.items():
            self.tokens.setdefault(model, []).append(value)
        if inputs is not None:
            self.inputs = inputs


def _table(entries: Sequence[_Merged], models: tuple[str, ...]) -> Table:
    shape = (len(entries), len(models))
    scores, tokens = np.full(shape, np.nan), np.full(shape, np.nan)
    column = {model: j for j, model in enumerate(models)}
    known: dict[str, int] = {}
    groups = []
    for i, entry in enumerate(entries):
        for into, values in ((scores, entry.scores), (tokens, entry.tokens)):
            for model, all_of_it in values.items():
                if model in column:
                    into[i, column[model]] = sum(all_of_it) / len(all_of_it)
        groups.append(known.setdefault(group_key(entry.prompt), len(known)))
    return Table(
        [entry.prompt for entry in entries],
        models,
        scores,
        tokens,
        np.array([entry.inputs for entry in entries]),
        np.array([entry.task for entry in entries], dtype=np.str_),
        np.array(groups, np.int64),
        sum(entry.times for entry in entries) - len(entries),
    )
