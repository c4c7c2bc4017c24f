"""Fitting one head: out-of-fold and left-out-cluster predictions, the combination, the gates, the final weights.

Rule: folds and clusters never divide a group. Cross-validation reads a sample drawn with the seed (4,000
prompts of eight models, 16,000 of two), the final weights all of them. Fewer than ``FEWEST`` groups: the models' means
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..prompts.space import MEASURES, Analysed, Space
from .curve import curve_of
from .hardness import guess_of
from .heads import CV_STEPS, FEW, FEW_PENALTIES, PENALTIES, Head, Problem, Recipe, candidates, combine, gate
from .incumbent import Judged, spread_for
from .linear import Array, Design, Ints, apply
from .novelty import fit_novelty, odds
from .targets import Floats, Targets
from .unfamiliar import lead_for

WORK, FEWEST = 32_000, 20  # prompts × directions that cross-validation reads
FOLDS, BUNDLES = 5, 6
TRUST = 10.0  # a direction's gate differs from the common one by about 0.3
Note = Callable[[str], None]


@dataclass(slots=True)
class Data:
    """Everything that fitting a head reads, prompt by prompt."""

    seen: Analysed
    groups: Ints
    tasks: Ints | None
    clusters: Ints

    def take(self, rows: Ints) -> Data:
        """Some of the prompts."""
        tasks = None if self.tasks is None else self.tasks[rows]
        return Data(self.seen.take(rows), self.groups[rows], tasks, self.clusters[rows])


def deal(labels: Ints, hands: int, random: np.random.Generator) -> Ints:
    """A hand for every row, whole labels at a time."""
    _, labels = np.unique(labels, return_inverse=True)
    order = random.permutation(labels.max() + 1)
    return (order % hands)[labels]


@dataclass(slots=True)
class Trial:
    """Predictions of rows that were held out: every candidate's (rows, candidates, directions), what was true, how
    familiar the rows were."""

    predicted: Floats
    truth: Floats
    familiar: Floats

    def mixed(self, mixing: Floats) -> Floats:
        """Predictions of the combination: (rows, directions)."""
        return np.asarray(np.einsum("njk,jk->nk", self.predicted, mixing))

    def values(self, mixing: Floats, targets: Targets) -> Judged:
        """Predicted and true values of all models."""
        back = targets.basis.T
        return targets.mean + self.mixed(mixing) @ back, targets.mean + self.truth @ back


def held_out(data: Data, parts: Floats, hands: Ints, recipe: Recipe) -> Trial:
    """The rows of each hand, predicted by the others."""
    predicted, familiar, rows = [], [], []
    for hand in range(hands.max() + 1):
        inside, outside = np.flatnonzero(hands != hand), np.flatnonzero(hands == hand)
        if len(inside) < FEWEST // 2 or not len(outside):
            continue
        train = data.take(inside)
        space = Space.learn(train.seen)
        design, _ = space.rows(train.seen)
        space.settle(design, train.clusters)
        mean = parts[inside].mean(axis=0)
        weights = candidates(Problem(design, parts[inside] - mean, train.tasks, recipe), CV_STEPS)
        there, known = space.rows(data.seen.take(outside))
        flat = apply(there, weights.reshape(len(weights), -1))
        predicted.append(flat.reshape(len(outside), weights.shape[1], -1))
        familiar.append(known)
        rows.append(outside)
    if not rows:
        return Trial(np.zeros((0, 1, parts.shape[1])), parts[:0], np.zeros((0, MEASURES)))
    return Trial(np.concatenate(predicted).astype(np.float64), parts[np.concatenate(rows)], np.concatenate(familiar))


def fit_head(
    data: Data, targets: Targets, design: Design, seed: int, note: Note, hardness: Floats | None = None
) -> Head:
    """The head of one table of targets; of qualities where there is ``hardness`` (see hardness.py): they lean on it and
    have the incumbent's margin and a curve, or of two models the lead of unfamiliar.py."""
    flat = Head.flat(targets, design.width + design.dense.shape[1])
    if len(np.unique(data.groups)) < FEWEST or not targets.parts.any():
        return flat
    random = np.random.default_rng(seed)
    few = np.sort(random.permutation(len(targets.parts))[: WORK // targets.parts.shape[1]])
    sample, parts = data.take(few), targets.parts[few]
    nothing = np.zeros((0, parts.shape[1]))
    penalties = FEW_PENALTIES if len(targets.parts) < FEW else PENALTIES
    recipe = Recipe(penalties, nothing if hardness is None else guess_of(hardness, targets))
    note("cross-validation")
    inside = held_out(sample, parts, deal(sample.groups, FOLDS, random), recipe)
    note("clusters left out")
    outside = held_out(sample, parts, _bundles(sample.clusters, random), recipe)
    pairs = zip(np.moveaxis(inside.predicted, 2, 0), inside.truth.T, strict=True)
    mixing = np.stack([combine(predicted, truth) for predicted, truth in pairs], axis=1)
    signal = inside.mixed(mixing).var(axis=0)
    mixing = mixing * _gates(inside, outside, mixing)
    note("final weights")
    weights = _rounded(_final(Problem(design, targets.parts, data.tasks, recipe), mixing))
    novelty = fit_novelty(inside.familiar, outside.familiar)
    head = Head(targets.mean, targets.basis, weights, signal, targets.noise, targets.seen, novelty)
    if hardness is None:
        return head
    known, new = inside.values(mixing, targets), outside.values(mixing, targets)
    if len(targets.mean) == 2:
        head.lead, head.margin = lead_for(known, new, targets.mean), _doubt_of(targets)
    elif len(targets.mean) > 2:
        head.margin = spread_for(known, new, int(targets.mean.argmax()))
        head.curve = curve_of(head.held(known[0], odds(novelty, inside.familiar), None), known[1])
    return head


def _doubt_of(targets: Targets) -> float:
    """The standard error of the difference of two models' means."""
    apart = targets.parts @ (targets.basis[0] - targets.basis[1])
    return float(np.clip(apart.std() / max(1, targets.seen.min()) ** 0.5, 1e-9, 1.0))


def _final(problem: Problem, mixing: Floats) -> Array:
    weights = candidates(problem, 2 * CV_STEPS)
    return np.asarray(np.einsum("djk,jk->dk", weights, mixing.astype(np.float32)))


def _bundles(clusters: Ints, random: np.random.Generator) -> Ints:
    """The hands of clusters that are left out together; where there are too few, one hand, which nobody predicts."""
    several = len(np.unique(clusters)) > 2
    return deal(clusters, BUNDLES, random) if several else np.zeros(len(clusters), np.int64)


def _gates(inside: Trial, outside: Trial, mixing: Floats) -> Floats:
    """A gate for each direction, 0..1, leaning on what all of them have in common."""
    predicted = np.concatenate([inside.mixed(mixing), outside.mixed(mixing)])
    truth = np.concatenate([inside.truth, outside.truth])
    scale = np.sqrt(truth.var(axis=0)) + 1e-12
    pooled = gate((predicted / scale).ravel(), (truth / scale).ravel(), 1.0, 1.0)
    found = [gate(predicted[:, j], truth[:, j], pooled, TRUST) for j in range(predicted.shape[1])]
    return np.clip(found, 0.0, 1.0)


def _rounded(weights: Array) -> Array:
    """Weights as an artefact keeps them (half precision, scaled by column), so that loading changes nothing."""
    top = np.maximum(np.abs(weights).max(axis=0), 1e-30).astype(np.float32)
    half = (weights / top).astype(np.float16)
    return np.asarray(half.astype(np.float32) * top)
