"""The space in which prompts are compared: weighted words of the training data, and standardised surface figures.

Rule: a word counts ``ln((1 + n)/(1 + df)) + 1``; a prompt's words are scaled to length 1 *including those never seen in
training*, so that the less of a prompt is known, the nearer its prediction stays to the models' means. Words of fewer
than two training prompts have no weight of their own. Surface figures are standardised, cut at ±4 and scaled down, so
that one penalty fits both blocks.
Source: TF-IDF (Salton and Buckley 1988), binary counts. Defaults measured on grouped splits: scale 0.05.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fitting.linear import Array, Design, Ints
from .features import BITS, NAMES, Buckets, analyse

SCALE = 0.05
CAP = 4.0
_FEWEST = 2
_MOST_WORDS = 60_000
KINDS = 16
MEASURES = 3  # of familiarity


@dataclass(slots=True)
class Analysed:
    """Prompts after featurising, before any space is chosen: buckets, surface figures, embeddings (or width 0)."""

    buckets: list[Buckets]
    surface: NDArray[np.float64]
    embedded: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.buckets)

    def take(self, rows: Ints) -> Analysed:
        """Some of the prompts."""
        return Analysed([self.buckets[i] for i in rows], self.surface[rows], self.embedded[rows])


def analyse_all(prompts: Sequence[Any], embedded: NDArray[np.float64] | None = None) -> Analysed:
    """The features of all prompts."""
    both = [analyse(prompt) for prompt in prompts]
    surface = np.array([s for _, s in both]).reshape(len(both), len(NAMES))
    return Analysed([b for b, _ in both], surface, np.zeros((len(both), 0)) if embedded is None else embedded)


@dataclass(slots=True)
class Space:
    """What turns features into rows: the known buckets with their weights, and the centre and scale of the dense."""

    buckets: Ints
    weights: Array
    unknown: float
    centre: Array
    scale: Array
    limit: Array
    where: NDArray[np.int32]
    centres: Array  # words × kinds of prompts, see settle

    @classmethod
    def make(cls, buckets: Ints, weights: Array, unknown: float, centre: Array, scale: Array, limit: Array) -> Space:
        """A space with its lookup from bucket to column (−1: unknown)."""
        where = np.full(1 << BITS, -1, np.int32)
        where[buckets] = np.arange(len(buckets))
        return cls(buckets, weights, unknown, centre, scale, limit, where, np.zeros((len(buckets), 0), np.float32))

    @classmethod
    def learn(cls, seen: Analysed) -> Space:
        """The space of the training prompts."""
        n = len(seen)
        counts = np.bincount(np.concatenate([*seen.buckets, np.zeros(0, np.int64)]), minlength=1 << BITS)
        known = np.flatnonzero(counts >= _FEWEST)
        if len(known) > _MOST_WORDS:
            known = np.sort(known[np.argsort(-counts[known], kind="stable")[:_MOST_WORDS]])
        weights = (np.log((1 + n) / (1 + counts[known])) + 1).astype(np.float32)
        dense = np.hstack([seen.surface, seen.embedded])
        spread = dense.std(axis=0)
        unit = np.full(dense.shape[1], SCALE)
        unit[seen.surface.shape[1] :] = 1.0 / max(1.0, seen.embedded.shape[1]) ** 0.5  # together as long as the words
        unit[spread < 1e-9] = 0.0
        scale = (unit / np.maximum(spread, 1e-9)).astype(np.float32)
        centre, limit = dense.mean(axis=0).astype(np.float32), (CAP * unit).astype(np.float32)
        return cls.make(known, weights, float(np.log((1 + n) / 2) + 1), centre, scale, limit)

    def words(self, buckets: Buckets) -> tuple[Ints, Array, float]:
        """A prompt's known columns, their values, and the share of it that is known (0..1)."""
        columns = self.where[buckets].astype(np.int64)
        known = columns[columns >= 0]
        values = self.weights[known]
        inside = float(values @ values)
        whole = inside + (len(buckets) - len(known)) * self.unknown * self.unknown
        if whole <= 0.0:
            return known, values, 0.0
        return known, values * (1.0 / whole**0.5), inside / whole

    def dense(self, figures: NDArray[np.float64]) -> Array:
        """Surface figures and embeddings, standardised, cut and scaled."""
        return np.minimum(np.maximum((figures - self.centre) * self.scale, -self.limit), self.limit).astype(np.float32)

    def settle(self, design: Design, labels: Ints) -> None:
        """Take the mean directions of the kinds of training prompts (the ``KINDS`` largest) as what is familiar."""
        sizes = np.bincount(labels)
        largest = np.sort(np.argsort(-sizes, kind="stable")[:KINDS])
        member = (labels[:, None] == largest[sizes[largest] > 0]).astype(np.float32)
        sums = design.products()[1] @ member
        length = np.sqrt((sums * sums).sum(axis=0))
        self.centres = (sums / np.maximum(length, 1e-9)).astype(np.float16).astype(np.float32)

    def familiarity(self, columns: Ints, values: Array, known: float) -> tuple[float, float, float]:
        """(1, the share of a prompt that is known, its cosine to the nearest kind of training prompts)."""
        near = float((values @ self.centres[columns]).max()) if self.centres.shape[1] else 0.0
        return 1.0, known, near

    def rows(self, seen: Analysed) -> tuple[Design, Array]:
        """The design of many prompts, and their familiarity."""
        parts = [self.words(buckets) for buckets in seen.buckets]
        starts = np.concatenate(([0], np.cumsum([len(p[0]) for p in parts]))).astype(np.int64)
        columns = np.concatenate([*(p[0] for p in parts), np.zeros(0, np.int64)]).astype(np.int64)
        values = np.concatenate([*(p[1] for p in parts), np.zeros(0, np.float32)]).astype(np.float32)
        dense = self.dense(np.hstack([seen.surface, seen.embedded]))
        return Design(starts, columns, values, dense, len(self.buckets)), self._familiar(parts)

    def _familiar(self, parts: Sequence[tuple[Ints, Array, float]]) -> Array:
        return np.array([self.familiarity(*part) for part in parts], np.float32).reshape(len(parts), MEASURES)
