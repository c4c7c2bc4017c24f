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

from ..fitting.linear import Array, Design, Ints, apply, ridge
from .features import BITS, MOST_BUCKETS, NAMES, Buckets, Floats, analyse

SCALE = 0.05
CAP = 4.0
_FEWEST = 2
_MOST_WORDS = 60_000
KINDS = 16
MEASURES = 4  # of familiarity
_TELLING, _TELLING_STEPS = 1.0, 12  # penalty and steps of telling kinds apart
_ONES = np.ones(MOST_BUCKETS, np.float32)


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
    within: tuple[Floats, Floats, Floats, Floats]  # centre, scale, −limit and limit, as quick as can be
    kinds: Array  # features × kinds of prompts, see settle
    shares: Array

    @classmethod
    def make(cls, buckets: Ints, weights: Array, unknown: float, centre: Array, scale: Array, limit: Array) -> Space:
        """A space with its lookup from bucket to column (−1: unknown)."""
        where = np.full(1 << BITS, -1, np.int32)
        where[buckets] = np.arange(len(buckets))
        nothing = np.zeros((len(buckets) + len(centre), 0), np.float32)
        low, high = (-limit).astype(np.float64), limit.astype(np.float64)
        within = centre.astype(np.float64), scale.astype(np.float64), low, high
        return cls(buckets, weights, unknown, centre, scale, limit, where, within, nothing, np.zeros(0, np.float32))

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
        columns = self.where.take(buckets)  # quicker than an index
        known = columns[columns >= 0].astype(np.int64)
        values = self.weights.take(known)
        inside = float(values @ values)
        whole = inside + (buckets.size - known.size) * self.unknown * self.unknown
        if whole <= 0.0:
            return known, values, 0.0
        return known, values * (1.0 / whole**0.5), inside / whole

    def table(self, weights: Array) -> Array:
        """What ``sums`` adds up: a row for each known bucket and, behind them, one for those that are not: its value
        times its weights, the square of its value, and the same where it is known."""
        values = np.append(self.weights, self.unknown)[:, None]
        known = np.append(self.weights, 0.0)[:, None]
        rows = np.vstack([weights, np.zeros((1, weights.shape[1]))]) * values
        return np.hstack([rows, values * values, known * known]).astype(np.float32)

    def sums(self, buckets: Buckets, table: Array) -> tuple[Array, float]:
        """A prompt's ``words`` times the weights of a table, and the share of it that is known: in one look-up."""
        found: Array = _ONES[: buckets.size] @ table.take(self.where.take(buckets), axis=0)  # −1 is the last row
        whole, inside = found[-2:].tolist()
        if whole <= 0.0:
            return found[:-2], 0.0
        return found[:-2] * (1.0 / whole**0.5), inside / whole

    def dense(self, figures: Floats) -> Array:
        """Surface figures and embeddings, standardised, cut and scaled."""
        centre, scale, low, high = self.within
        return np.minimum(np.maximum((figures - centre) * scale, low), high).astype(np.float32)

    def settle(self, design: Design, labels: Ints) -> None:
        """Learn to tell the kinds of training prompts apart: the ``KINDS`` largest, and all others together."""
        sizes = np.bincount(labels)
        largest = np.sort(np.argsort(-sizes, kind="stable")[:KINDS])
        member = (labels[:, None] == largest[sizes[largest] > 0]).astype(np.float32)
        if len(others := member.sum(axis=1, keepdims=True)) and not others.all():
            member = np.hstack([member, 1.0 - others]).astype(np.float32)
        self.shares = member.mean(axis=0)
        penalty = np.full(member.shape[1], _TELLING, np.float32)
        found = ridge(design, member - self.shares, penalty, _TELLING_STEPS)
        self.kinds = found.astype(np.float16).astype(np.float32)

    def nearest(self, scores: Array) -> NDArray[np.floating]:
        """How surely prompts are of one of the kinds: the largest score, at least 0 (kinds last)."""
        return np.asarray((scores + self.shares).max(axis=-1, initial=0.0))

    def familiar(self, known: Any, nearest: Any, dense: Array) -> NDArray[np.float64]:
        """The measures of novelty.py, last axis: 1, the share known, how surely of a kind, how far the surface lies."""
        far = np.sqrt((dense * dense).sum(axis=-1))
        return np.stack([np.ones_like(far), known, nearest, far], axis=-1).astype(np.float64)

    def measures(self, known: float, scores: Array, dense: Array) -> tuple[float, float, float]:
        """``familiar`` of one prompt, but for the 1: numbers, for which arrays would only be slow."""
        nearest = max([0.0, *(scores + self.shares).tolist()])
        return known, nearest, float(dense.dot(dense)) ** 0.5

    def rows(self, seen: Analysed) -> tuple[Design, NDArray[np.float64]]:
        """The design of many prompts, and their familiarity."""
        parts = [self.words(buckets) for buckets in seen.buckets]
        starts = np.concatenate(([0], np.cumsum([len(p[0]) for p in parts]))).astype(np.int64)
        columns = np.concatenate([*(p[0] for p in parts), np.zeros(0, np.int64)]).astype(np.int64)
        values = np.concatenate([*(p[1] for p in parts), np.zeros(0, np.float32)]).astype(np.float32)
        dense = self.dense(np.hstack([seen.surface, seen.embedded]))
        design = Design(starts, columns, values, dense, len(self.buckets))
        known = np.array([p[2] for p in parts])
        return design, self.familiar(known, self.nearest(apply(design, self.kinds)), dense)
