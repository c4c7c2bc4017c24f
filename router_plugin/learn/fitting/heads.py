"""Learners, how they are stacked, and how far their word is taken: all chosen by grouped cross-validation.

Rule: several learners predict each direction of ``targets.py``: ridge on words and surface under penalties from light
to heavy, ridge on the surface alone, and (where tasks are named) ridge on the *tasks' means*, whose noise is small,
alone and with a heavier ridge on what differs within tasks. One more is not learned here: the guess of hardness.py.
For each direction a non-negative combination of their out-of-fold predictions is fitted with a prior that says "a
prompt explains about 2 % of the variance", and believes the guess: on 50 prompts little else is believed, on 5,000 what
the data say. Since all are linear, the combination is one vector of weights and serving costs the same whatever won.
Then the gate: the same combination is judged on clusters left out of training as wholes. A slope of truth on
prediction is fitted for each direction to both kinds of predictions together and multiplies the weights. (Slopes that
fall with a prompt's familiarity were tried: they cost order in domain. Novelty widens the incumbent's margin instead,
see incumbent.py.)
Theory: stacking (Wolpert 1992; Breiman 1996, non-negative); calibration slope (Cox 1958).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..prompts.features import NAMES
from ..prompts.space import MEASURES, SCALE
from .curve import bent
from .incumbent import hold, press
from .linear import Array, Design, Ints, apply, ridge
from .novelty import odds
from .targets import Floats, Targets
from .unfamiliar import strange, widen

PENALTIES = (2.0, 8.0, 32.0, 128.0)
FEW, FEW_PENALTIES = 2_000, (32.0, 64.0, 128.0, 512.0)  # with few prompts only heavy ones are worth a try
BETWEEN, WITHIN = 0.1, 8.0
SURFACE = 8.0
PRIOR = 40.0  # prompts' weight of the belief that 1/PRIOR of the variance is predictable
GUESS = 500.0  # prompts' weight of the guess that was made before any was judged
TASK_LEAN = 20.0
WIDEST = 0.25  # variance of one score in 0..1, at most
CV_STEPS = 12
_LENGTH = NAMES.index("length")


@dataclass(slots=True)
class Recipe:
    """What a fit goes by, whichever rows it sees: the ridges' penalties, and the guess of hardness.py as weights of the
    surface for every direction."""

    penalties: Sequence[float]
    guess: Floats


@dataclass(slots=True)
class Problem:
    """Rows to learn from: features, targets' parts, task numbers (or none)."""

    design: Design
    parts: Floats
    tasks: Ints | None
    recipe: Recipe


Learner = Callable[[Problem, int], Array]
"""Fits a problem in so many steps: weights of shape (features, learner's candidates × directions)."""


def ridges(problem: Problem, steps: int) -> Array:
    """Words and surface together, once for every penalty."""
    targets = np.tile(problem.parts, len(problem.recipe.penalties)).astype(np.float32)
    penalty = np.repeat(np.array(problem.recipe.penalties, np.float32), problem.parts.shape[1])
    return ridge(problem.design, targets, penalty, steps)


def surface(problem: Problem, steps: int) -> Array:
    """The surface (and embeddings) alone."""
    design, dense = problem.design, problem.design.dense.astype(np.float64)
    gram = dense.T @ dense + SURFACE * np.eye(dense.shape[1])
    weights = np.linalg.solve(gram, dense.T @ problem.parts)
    return np.vstack([np.zeros((design.width, problem.parts.shape[1])), weights]).astype(np.float32)


def hierarchy(problem: Problem, steps: int) -> Array:
    """The tasks' shrunk means, as far as words and surface tell the tasks apart; and those plus what differs within."""
    tasks = problem.tasks
    assert tasks is not None
    counts = np.bincount(tasks)
    sums = np.stack([np.bincount(tasks, weights=part) for part in problem.parts.T], axis=1)
    means = (sums / (counts + TASK_LEAN)[:, None])[tasks]
    k = means.shape[1]
    targets = np.hstack([means, problem.parts - means]).astype(np.float32)
    weights = ridge(problem.design, targets, np.repeat(np.array([BETWEEN, WITHIN], np.float32), k), steps)
    return np.hstack([weights[:, :k], weights[:, :k] + weights[:, k:]])


def guessed(problem: Problem, steps: int) -> Array:
    """What was known before: see hardness.py."""
    guess, design = problem.recipe.guess, problem.design
    weights = np.zeros((design.width + design.dense.shape[1], guess.shape[1]), np.float32)
    weights[design.width : design.width + len(guess)] = guess
    return weights


def learners(problem: Problem) -> Sequence[Learner]:
    """Those that this problem allows; the guess comes last."""
    return (ridges, surface, hierarchy, guessed) if problem.tasks is not None else (ridges, surface, guessed)


def candidates(problem: Problem, steps: int) -> Array:
    """All learners' weights: (features, candidates, directions)."""
    k = problem.parts.shape[1]
    return np.concatenate(
        [w.reshape(len(w), -1, k) for w in (learner(problem, steps) for learner in learners(problem))], axis=1
    )


def combine(predicted: Floats, truth: Floats) -> Floats:
    """Non-negative weights of the candidates for one direction, under the prior on what is predictable: the last one,
    the guess, is believed as it is until data say otherwise, the others are worth nothing until then. The prior counts
    in units of what remains unexplained: a first pass tells how much that is."""
    scale = np.sqrt((predicted**2).mean(axis=0))
    standard = predicted / np.where(scale > 1e-12, scale, np.inf)
    prior = np.full(standard.shape[1], PRIOR)
    prior[-1] = GUESS
    gram, toward = standard.T @ standard, standard.T @ truth
    believed = np.zeros(len(prior))
    believed[-1] = scale[-1]
    found = _descend(gram + np.diag(prior), toward + prior * believed)
    left = float(((truth - standard @ found) ** 2).sum() / max(float((truth**2).sum()), 1e-12))
    prior *= min(1.0, left)
    found = _descend(gram + np.diag(prior), toward + prior * believed)
    return found / np.where(scale > 1e-12, scale, np.inf)


def _descend(gram: Floats, toward: Floats) -> Floats:
    """The non-negative minimum of ½wᵀGw − tᵀw by coordinate descent; few candidates, converges in tens of rounds."""
    out = np.zeros(len(toward))
    for _ in range(200):
        for j in range(len(out)):
            out[j] = max(0.0, (toward[j] - gram[j] @ out + gram[j, j] * out[j]) / max(gram[j, j], 1e-12))
    return out


def gate(predicted: Floats, truth: Floats, prior: float, trust: float) -> float:
    """The slope of truth on prediction, with a normal prior around ``prior`` of standard deviation 1/√trust."""
    noise = max(float(((truth - predicted) ** 2).mean()), 1e-12)
    return float((predicted @ truth + trust * noise * prior) / (predicted @ predicted + trust * noise))


@dataclass(slots=True)
class Head:
    """A fitted predictor of one table: mean + (features @ weights) @ basisᵀ, then the incumbent's margin and the curve.

    ``signal`` and ``noise`` are the variances of the directions as predicted and of the models around their means;
    ``novelty``, ``margin``, ``lead`` and ``curve`` are those of novelty.py, incumbent.py, unfamiliar.py and curve.py.
    The gates are in the weights."""

    mean: Floats
    basis: Floats
    weights: Array
    signal: Floats
    noise: Floats
    seen: Ints
    novelty: Floats
    margin: float = 0.0
    lead: float = 0.0
    curve: Floats | None = None

    @classmethod
    def flat(cls, targets: Targets, features: int) -> Head:
        """A head that knows the means alone."""
        k = targets.basis.shape[1]
        weights = np.zeros((features, k), np.float32)
        return cls(targets.mean, targets.basis, weights, np.zeros(k), targets.noise, targets.seen, np.zeros(MEASURES))

    def predict(self, design: Design, familiar: Floats) -> tuple[Floats, Floats]:
        """Values and their standard deviations, prompts × models."""
        values, new = self.mean + apply(design, self.weights) @ self.basis.T, odds(self.novelty, familiar)
        return self.settled(values, new, length_of(design.dense), self.unsure())

    def settled(
        self, values: Floats, new: Floats | float, length: Any, unsure: tuple[Floats, Floats]
    ) -> tuple[Floats, Floats]:
        """What is said in the end of predictions (models last) for prompts (or one) of these odds to be new, so many
        standard deviations longer than usual; serving works out ``unsure()`` once.

        Values on the curve, and the standard deviations of these expectations. As much signal as was found is taken to
        be missed, twice as much where the prompt is new; an expectation within 0..1 varies no more than its place there
        allows, but always as much as is unsure for every prompt. At most 0.5."""
        values, (missed, always) = self.held(values, new, length), unsure
        chance = new / (1.0 + new)
        variance: Floats = missed * (1.0 + (chance if isinstance(chance, float) else chance[..., None])) + always
        if self.curve is not None:
            values = bent(values, self.curve)
            variance = np.minimum(variance, np.maximum(values - values * values, always))
        return values, np.sqrt(np.minimum(variance, 0.25))

    def held(self, values: Floats, new: Floats | float, length: Any) -> Floats:
        """Predictions (models last) with the incumbent's margin or, of two models, with the length of what is new: for
        prompts that are new by these odds, so many standard deviations longer than usual."""
        if not self.margin:
            return values
        if len(self.mean) != 2:
            return hold(values, self.mean, self.margin, new)
        margin: Any = self.margin
        if self.lead:
            part = strange(new)
            values = widen(values, self.mean, self.lead * length, part)
            learned = float(self.signal @ (self.basis[0] - self.basis[1]) ** 2) ** 0.5
            margin = np.expand_dims(margin + part * learned, -1)
        return press(values, int(self.mean.argmax()), margin, margin)

    def unsure(self) -> tuple[Floats, Floats]:
        """Every model's variances: the signal that may be missed, and what is there for every prompt. A model that few
        prompts know may differ from all others as much as they do among themselves; and its mean has an error of its
        own."""
        usual = float(np.add.reduce(self.signal)) / len(self.mean) * PRIOR / (PRIOR + self.seen)
        mean = (self.noise * self.seen + WIDEST) / (self.seen + 1.0) ** 2  # two equal scores make nothing sure
        return (self.basis**2) @ self.signal, np.asarray(usual + mean, np.float64)


def length_of(dense: Array) -> Any:
    """How many standard deviations longer than usual prompts (or one) are, of their dense features."""
    return dense[..., _LENGTH] / SCALE
