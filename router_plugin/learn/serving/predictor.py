"""A fitted predictor: quality (with its uncertainty) and output tokens of every model for a prompt; a router's scorer.

Rule: a prompt is featurised once, its few directions are summed from the weights of its known words and its surface,
and spread to all models by one small product. Nothing here draws random numbers, calls a network (unless an encoder was
given) or changes after it was made, so one predictor serves all threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SpecError, TrainingError
from ...records import Candidate, Request
from ...redact import shown
from ...snapshot import Score, Scores
from ..fitting.heads import Head, length_of
from ..fitting.novelty import odds_of_one
from ..outcomes.rows import Floats, Prompt, iterated
from ..prompts.encoder import CachedEncoder, Encoder
from ..prompts.features import NAMES, analyse, spelling
from ..prompts.reading import read_prompt
from ..prompts.space import Space, analyse_all
from .codec import read_parts, write_parts

_MOST_TOKENS = 1e6
_HELD = "margin of the best single model"
_HELD_OF_TWO = f"{_HELD}, and length where the prompt is of no known kind"
_Pick = Callable[[Sequence[Any]], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Arrays of shape (prompts, models): expected quality in 0..1, its standard deviation, expected output tokens (NaN
    where no token counts were seen)."""

    quality: Floats
    quality_std: Floats
    output_tokens: Floats


class Predictor:
    """What ``fit`` makes. ``models`` are the columns of its predictions; ``about`` says what it was fitted on."""

    def __init__(
        self,
        models: Sequence[str],
        space: Space,
        quality: Head,
        length: Head | None,
        encoder: CachedEncoder | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.models: tuple[str, ...] = tuple(models)
        self.space, self.quality, self.length, self.encoder = space, quality, length, encoder
        self.about = dict(about or {})
        self._column, self._width = _names(self.models), len(self.models)
        blocks = [quality.weights] if length is None else [quality.weights, length.weights]
        weights = np.hstack(blocks)
        width, self._all = len(space.buckets), weights.shape[1]
        weights = np.hstack([weights, space.kinds])  # one look-up serves both
        self._words, self._dense = space.table(weights[:width]), weights[width:].copy()
        self._means, self._spread = _spread(quality, length)
        self._unsure = quality.unsure()
        self._novelty: list[float] = quality.novelty.tolist()
        self._no_tokens: list[float | None] = [None] * len(self.models)
        self._untold = [] if length is None else np.flatnonzero(length.seen == 0).tolist()
        self._asked: dict[tuple[str, ...], _Pick] = {}

    def __repr__(self) -> str:
        return f"<Predictor of {len(self.models)} models, fitted on {self.about.get('prompts', '?')} prompts>"

    def predict(self, prompts: Sequence[Prompt]) -> Prediction:
        """All models on all prompts.

        Raises: SpecError where ``prompts`` is one prompt instead of a list.
        """
        prompts = list(iterated(prompts, "prompts: must be a list of prompts"))
        seen = analyse_all(prompts, self._embed(prompts))
        design, familiar = self.space.rows(seen)
        quality, std = self.quality.predict(design, familiar)
        if self.length is None:
            tokens = np.full(quality.shape, math.nan)
        else:
            tokens = _tokens(self.length.predict(design, familiar)[0])
            tokens[:, self.length.seen == 0] = math.nan
        return Prediction(np.clip(quality, 0.0, 1.0), std, tokens)

    def score(self, request: Request, models: Sequence[str]) -> list[Score | None]:
        """The router's question (``snapshot.Scorer``): one request, all models; None for a model it does not know.

        A model is known by the name that it was judged under, or by that without its provider ("openai/gpt-4o")."""
        return list(self._scores(request, tuple(models)))

    def score_candidates(self, request: Request, candidates: Sequence[Candidate]) -> Scores:
        """``score`` by column, as routers ask."""
        return self._scores(request, tuple([candidate.deployment.model for candidate in candidates]))

    def _scores(self, request: Request, models: tuple[str, ...]) -> Scores:
        told, new, length = self._one(request.messages)
        width = self._width
        values, unsure = self.quality.settled(told[:width], new, length, self._unsure)
        quality, std = np.minimum(np.maximum(values, 0.0), 1.0).tolist(), unsure.tolist()
        tokens = self._no_tokens
        if self.length is not None:
            tokens = _tokens(told[width:]).tolist()
            for at in self._untold:
                tokens[at] = None
        pick = self._pick(models)
        columns = [pick([*column, None])[: len(models)] for column in (quality, tokens, std)]
        return Scores(columns[0], columns[1], columns[2], (False,) * len(models))

    def _at(self, model: str) -> int | None:
        return self._column.get(model, self._column.get(model.rpartition("/")[2]))

    def _pick(self, models: tuple[str, ...]) -> _Pick:
        """What picks the figures of these models, of an unknown one the None behind them. Remembered for the lists that
        a router asks about. (It picks two Nones more, so that it always gives a tuple.)"""
        found = self._asked.get(models)
        if found is None:
            columns = [-1 if (at := self._at(model)) is None else at for model in models]
            found = itemgetter(*columns, -1, -1)
            if len(self._asked) < 256:
                self._asked[models] = found
        return found

    def explain(self, prompt: Prompt, model: str, most: int = 10) -> list[tuple[str, float]]:
        """What moved a model's predicted quality away from its mean, largest first: (feature, contribution).

        Words are told by their text; the two last steps (margin, calibration) are told as such.
        Raises: SpecError for a model that this predictor does not know.
        """
        at = self._at(model)
        if at is None:
            raise SpecError(f"model: must be one of {', '.join(self.models[:20])}, got {shown(model)}")
        buckets, surface = analyse(prompt)
        columns, values, _ = self.space.words(buckets)
        along = self.quality.basis[at]
        spelt = _spelling(prompt)
        found: dict[str, float] = {}
        for column, value in zip(columns, values[:, None] * self.quality.weights[columns] @ along, strict=True):
            text = spelt.get(int(self.space.buckets[column]), "?")
            found[text] = found.get(text, 0.0) + float(value)
        embedded = self._embed([prompt])
        figures = surface if embedded is None else np.concatenate((surface, embedded[0]))
        dense = self.space.dense(figures)
        added = dense[:, None] * self.quality.weights[len(self.space.buckets) :] @ along
        for i, value in enumerate(added):
            name = NAMES[i] if i < len(NAMES) else "embedding"
            found[name] = found.get(name, 0.0) + float(value)
        told, new, length = self._one(prompt)
        told = told[: self._width]
        held = self.quality.held(told, new, length)
        found[_HELD_OF_TWO if self.quality.lead else _HELD] = float(held[at] - told[at])
        found["calibration"] = float(self.quality.settled(told, new, length, self._unsure)[0][at] - held[at])
        return sorted(((k, v) for k, v in found.items() if v), key=lambda pair: (-abs(pair[1]), pair[0]))[:most]

    def save(self, path: str | Path) -> None:
        """Write the artefact (a folder): see artefact.py."""
        name = None if self.encoder is None else self.encoder.name
        write_parts(Path(path), self.models, self.space, self.quality, self.length, name, self.about)

    @classmethod
    def load(cls, path: str | Path, *, encoder: Encoder | Callable[[Sequence[str]], Any] | None = None) -> Predictor:
        """Read an artefact. One fitted with an encoder needs it again.

        Raises: TrainingError where anything about it is damaged, newer or foreign.
        """
        models, space, quality, length, name, about = read_parts(Path(path))
        if name is None:
            loaded = cls(models, space, quality, length, None, about)
            with np.errstate(all="ignore"):
                probe = loaded.predict(["What is the sum of 12 and 30? Explain, in Python."])
            if not (np.isfinite(probe.quality).all() and np.isfinite(probe.quality_std).all()):
                raise TrainingError(f"artefact {str(path)!r}: predicts figures that are not finite")
            return loaded
        if encoder is None or CachedEncoder(encoder).name != name:
            raise TrainingError(f"artefact {str(path)!r} was fitted with the encoder {name!r}; give it to load()")
        return cls(models, space, quality, length, CachedEncoder(encoder), about)

    def _embed(self, prompts: Sequence[Prompt]) -> Floats | None:
        return None if self.encoder is None else self.encoder.encode([read_prompt(p).text for p in prompts])

    def _one(self, prompt: Prompt) -> tuple[Floats, float, float]:
        """What all models' qualities are before they are settled, then the logarithms of their output tokens; the odds
        that the prompt is new; and how long it is: the same figures as ``predict`` works out."""
        buckets, surface = analyse(prompt)
        words, known = self.space.sums(buckets, self._words)
        if self.encoder is not None:
            surface = np.concatenate((surface, self.encoder.encode([read_prompt(prompt).text])[0]))
        dense = self.space.dense(surface)
        found = words + dense @ self._dense
        new = odds_of_one(self._novelty, self.space.measures(known, found[self._all :], dense))
        told = self._means + found[: self._all].astype(np.float64) @ self._spread
        return told, new, float(length_of(dense)) if self.quality.lead else 0.0


def _spread(quality: Head, length: Head | None) -> tuple[Floats, Floats]:
    """The means of qualities and of tokens in one row, and what spreads the directions of both to them."""
    if length is None:
        return quality.mean, quality.basis.T.copy()
    rank, models = quality.basis.shape[1], len(quality.mean)
    spread = np.zeros((rank + length.basis.shape[1], 2 * models))
    spread[:rank, :models], spread[rank:, models:] = quality.basis.T, length.basis.T
    return np.concatenate((quality.mean, length.mean)), spread


def _tokens(logs: Floats) -> Floats:
    found: Floats = np.minimum(np.expm1(np.minimum(np.maximum(logs, 0.0), 20.0)), _MOST_TOKENS)
    return found


def _names(models: Sequence[str]) -> dict[str, int]:
    """Columns by name, and by the name without provider where that is unambiguous."""
    out: dict[str, int] = {}
    for at, model in enumerate(models):
        short = model.rpartition("/")[2]
        out[short] = -1 if short in out else at
    return {name: at for name, at in out.items() if at >= 0} | {model: at for at, model in enumerate(models)}


def _spelling(prompt: Prompt) -> dict[int, str]:
    """The words, stems and pairs of a prompt by their buckets."""
    return spelling(read_prompt(prompt).text)
