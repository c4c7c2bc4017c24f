"""A guess for models that nobody judged: from a prompt, how hard it is, and how much a stronger model helps.

Rule: a model is known by its *ability* alone, its mean quality (declared, published, or guessed from its price), a
prompt by how *easy* it is: ``quality = ability ** exp(−STEPS·ease)``, as if a hard prompt were so many more steps that
must all succeed. So what a stronger model adds rises with difficulty until both mostly fail. Ease is a ridge regression
on the features of space.py, fitted on tables of real outcomes (benchmarks/fit_foundation.py), where each prompt's ease
is the most probable one given its models' scores and abilities in a one-parameter item response model (Rasch 1960) with
a normal prior on items of standard deviation 1.5. Of the tasks' means a quarter counts: what tells tasks apart on one
table misleads on the next. A push towards "longer is harder" is worth half a standard deviation of the ease for one of
the length.
Defaults: penalty 4; words in half precision, under 2 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SpecError, TrainingError
from ...redact import shown
from ..fitting.hardness import LENGTH, STEPS, fit_hardness, within_tasks
from ..fitting.linear import Array, apply, ridge
from ..outcomes.rows import Floats, Prompt, Table, read_rows
from ..prompts.features import NAMES, analyse
from ..prompts.space import SCALE, Analysed, Space, analyse_all
from .artefact import read_folder, write_folder
from .codec import read_space, space_arrays, take
from .predictor import Prediction

KIND = "foundation"
PENALTY = 4.0
PRIOR_STD = 1.5
_EDGE = 0.01  # abilities and scores are kept so far from 0 and 1 in logits
UNSURE = 0.2  # a guess stays a guess: the standard deviation said of every quality, see quality_std
_SHIPPED = Path(__file__).parent / "shipped"


@dataclass(slots=True)
class Foundation:
    """See the module. ``marked`` says that its qualities are guesses."""

    space: Space
    weights: Array
    hardness: Floats
    about: dict[str, Any]
    marked: str = "guess"

    def ease(self, prompts: Sequence[Prompt]) -> Floats:
        """How much easier than usual every prompt is, in logits."""
        design, _ = self.space.rows(analyse_all(list(prompts)))
        return apply(design, self.weights)[:, 0].astype(np.float64)

    def predict(self, prompts: Sequence[Prompt], abilities: Sequence[float]) -> Prediction:
        """Qualities of models with these mean qualities (0..1): arrays of shape (prompts, abilities).

        Raises: SpecError for an ability outside 0..1.
        """
        known = _abilities(abilities)
        quality = _spread(self.ease(prompts), known)
        return Prediction(quality, np.full(quality.shape, UNSURE), np.full(quality.shape, np.nan))

    def guess(self, prompt: Prompt, abilities: Sequence[float]) -> list[float]:
        """The same for one prompt, quickly."""
        buckets, surface = analyse(prompt)
        columns, values, _ = self.space.words(buckets)
        width = len(self.space.buckets)
        found = values @ self.weights.take(columns, axis=0) + self.space.dense(surface) @ self.weights[width:]
        return list(_spread(found.astype(np.float64), _abilities(abilities))[0].tolist())

    def save(self, path: str | Path) -> None:
        """Write the artefact, as a predictor's."""
        arrays = space_arrays(self.space) | {"weights": self.weights.astype(np.float16), "hardness": self.hardness}
        write_folder(Path(path), arrays, kind=KIND, about=self.about)

    @classmethod
    def load(cls, path: str | Path) -> Foundation:
        """Read an artefact.

        Raises: TrainingError where anything about it is damaged.
        """
        facts, arrays = read_folder(Path(path), KIND)
        what = f"artefact {str(path)!r}"
        space = read_space(arrays, what)
        weights = take(arrays, "weights", (len(space.buckets) + len(space.centre), 1), "f", what)
        about = facts.get("about")
        hardness = take(arrays, "hardness", (len(NAMES),), "f", what)
        return cls(space, weights.astype(np.float32), hardness, about if isinstance(about, dict) else {})


@cache
def foundation() -> Foundation:
    """The one that comes with the package, read when it is first asked for."""
    return Foundation.load(_SHIPPED)


def fit_foundation(
    tables: Iterable[Iterable[Mapping[str, Any]]],
    about: Mapping[str, Any] | None = None,
    hardness: Iterable[Iterable[Mapping[str, Any]]] | None = None,
) -> Foundation:
    """A foundation fitted on tables of judged rows, its sense of hardness on those of ``hardness`` (else the same); no
    draw is random.

    Raises: SpecError for malformed rows, TrainingError where no table has two models.
    """
    known = _analysed(tables)
    seen = Analysed(
        [buckets for one, _ in known for buckets in one.buckets],
        np.concatenate([one.surface for one, _ in known]),
        np.concatenate([one.embedded for one, _ in known]),
    )
    space = Space.learn(seen)
    design, _ = space.rows(seen)
    ease = np.concatenate([one for _, one in known])
    weights = ridge(design, ease[:, None].astype(np.float32), np.full(1, PENALTY, np.float32))
    longer = len(space.buckets) + NAMES.index("length")
    weights[longer] -= LENGTH * float(apply(design, weights).std()) / SCALE
    harder = fit_hardness(known if hardness is None else _analysed(hardness))
    return Foundation(space, weights.astype(np.float16).astype(np.float32), harder, dict(about or {}))


def _analysed(tables: Iterable[Iterable[Mapping[str, Any]]]) -> list[tuple[Analysed, Floats]]:
    read = [table for table in map(read_rows, tables) if len(table.models) > 1]
    if not read:
        raise TrainingError("a foundation needs a table with at least two models")
    return [(analyse_all(table.prompts), within_tasks(ease_of(table), table)) for table in read]


def ease_of(table: Table) -> Floats:
    """Every prompt's ease within its table: ten Newton steps, all prompts at once."""
    known = np.isfinite(table.scores)
    truth = np.where(known, table.scores, 0.0)
    ability = _logit(np.nanmean(table.scores, axis=0))
    ease = np.zeros(len(table))
    for _ in range(10):
        said = np.where(known, 1.0 / (1.0 + np.exp(-(ability + ease[:, None]))), 0.0)
        slope = (truth - said).sum(axis=1) - ease / PRIOR_STD**2
        ease += slope / ((said * (1.0 - said)).sum(axis=1) + 1.0 / PRIOR_STD**2)
    return np.asarray(ease - ease.mean())


def _logit(share: Floats) -> Floats:
    kept = np.clip(share, _EDGE, 1.0 - _EDGE)
    return np.asarray(np.log(kept / (1.0 - kept)))


def _spread(ease: Floats, ability: Floats) -> Floats:
    return np.asarray(np.clip(ability, _EDGE, 1.0 - _EDGE) ** np.exp(-STEPS * ease)[:, None])


def _abilities(given: Sequence[float]) -> Floats:
    try:
        known = np.array(list(given), np.float64)
    except (TypeError, ValueError):
        known = np.array([np.nan])
    if known.ndim != 1 or not ((known >= 0.0) & (known <= 1.0)).all():
        raise SpecError(f"abilities: must be mean qualities in 0..1, got {shown(given)}")
    return known
