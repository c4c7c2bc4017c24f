"""Predictors as routers load and ask them, and what feedback teaches live.

Rule: each model has an offset, the shrunken mean of (judged − predicted), which is added to its predictions: after n
judgements it moves by residual / (n + ``SHRINK``), O(1) a judgement. Beside predicted models, one that the predictor
does not know has its declared or guessed quality, with a standard deviation of ``NEW`` that shrinks alike. A model
whose residuals have left the band that chance allows (|mean| > ``ALARM`` standard errors, at least ``LEAST``
judgements) has drifted: that is said once.

Theory: a normal prior on the offset worth ``SHRINK`` judgements (empirical Bayes); a two-sided z test on the residuals.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from .errors import RouterError, SpecError, did_you_mean
from .fork import renew_in_child
from .records import Candidate, Request
from .redact import shown
from .snapshot import Score, Scorer, Scores

log = logging.getLogger("router_plugin")
SHRINK, LEAST, ALARM = 20.0, 30, 4.0
NEW = 0.2  # how far off the declared or guessed quality of a model may well be that no predictor knows
FOUNDATION = "foundation"  # the artefact that comes with the package
DECLARED = "declared"  # nobody predicts


@dataclass(slots=True)
class _Seen:
    """Residuals of one model: how many, their mean, the sum of squares about it, and what that would be if every
    judgement were a fair coin of the predicted quality; the offset that is applied."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    chance: float = 0.0
    offset: float = 0.0
    alarmed: bool = False

    def drifted(self) -> bool:
        if self.count < LEAST:
            return False
        # Thirty right answers of thirty show no spread; that of the predictions themselves is still theirs.
        spread = math.sqrt(max(self.squares / (self.count - 1), self.chance / self.count) / self.count)
        return abs(self.mean) > ALARM * spread


class Posterior:
    """What feedback says of the predictions for each model (litellm's model string)."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()
        self.known = False  # whether there is any: read on the hot path
        renew_in_child(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def learn(self, model: str, predicted: float, judged: float) -> None:
        """One judgement (0..1) of an answer whose quality had been predicted, corrections included."""
        with self._lock:
            seen = self._seen.setdefault(model, _Seen())
            raw = min(1.0, max(0.0, predicted - seen.offset))
            residual = judged - raw
            seen.count += 1
            seen.chance += max(raw * (1.0 - raw), 0.01)
            before = seen.mean
            seen.mean += (residual - before) / seen.count
            seen.squares += (residual - before) * (residual - seen.mean)
            seen.offset = seen.mean * seen.count / (seen.count + SHRINK)
            self.known = True
            alarm = seen.drifted() and not seen.alarmed
            seen.alarmed = seen.alarmed or alarm
        if alarm:
            log.warning(
                "model %r has drifted: over %d judgements it scores %+.3f against its predictions; train again",
                model, seen.count, seen.mean,
            )  # fmt: skip

    def revise(self, model: str, change: float) -> None:
        """A judgement that was counted already has become another one."""
        with self._lock:
            seen = self._seen.get(model)
            if seen is not None:
                seen.mean += change / seen.count
                seen.offset = seen.mean * seen.count / (seen.count + SHRINK)

    def doubt(self, model: str) -> float:
        """The standard deviation of a quality that nobody predicts, after the judgements that there are."""
        seen = self._seen.get(model)
        return NEW if seen is None else NEW * math.sqrt(SHRINK / (SHRINK + seen.count))

    def corrected(self, models: Sequence[str], scores: Scores) -> Scores:
        """The scores with each model's offset, within 0..1."""
        quality = [
            min(1.0, max(0.0, said + self._seen[model].offset)) if said is not None and model in self._seen else said
            for model, said in zip(models, scores.quality, strict=True)
        ]
        return replace(scores, quality=quality)

    def report(self) -> dict[str, dict[str, Any]]:
        """Model → judgements, mean residual, offset, and whether it has drifted."""
        with self._lock:
            return {
                model: {
                    "judged": seen.count,
                    "mean_residual": seen.mean,
                    "offset": seen.offset,
                    "drifted": seen.drifted(),
                }
                for model, seen in self._seen.items()
            }


class Declared:
    """``Router(…, scorer="declared")``: says nothing, so that a quality is the declared one, else the guess from the
    price, also where the foundation would be asked."""

    def score(self, request: Request, models: Sequence[str]) -> list[Score | None]:
        return [None] * len(models)


def scorer_of(given: Any) -> Scorer | None:
    """A router's ``scorer=``: one of the caller's, one by name, or the path of an artefact.

    Raises: SpecError for what is none; TrainingError and ImportError as ``load_predictor``.
    """
    if given is None or callable(getattr(given, "score", None)):
        found: Scorer | None = given
        return found
    if given == DECLARED:
        return Declared()
    if isinstance(given, (str, os.PathLike)) and (given == FOUNDATION or Path(given).exists()):
        return load_predictor(os.fspath(given), None)
    near = did_you_mean(given, (DECLARED, FOUNDATION)) if isinstance(given, str) else ""
    raise SpecError(
        "scorer: must be 'foundation', 'declared', the path of an artefact, None, or an object with "
        f"score(request, models), got {shown(given)}{near}"
    )


def ask(scorer: Scorer, request: Request, candidates: Sequence[Candidate]) -> Sequence[Score | float | None]:
    """What a scorer says of candidates. One of ours may read more of them than the names of their models."""
    further = getattr(scorer, "score_candidates", None)
    found: Sequence[Score | float | None] = (
        scorer.score(request, [candidate.deployment.model for candidate in candidates])
        if further is None
        else further(request, candidates)
    )
    return found


@cache
def foundation() -> Scorer | None:
    """The predictor that comes with the package, read once a process. None without NumPy, and where its files are
    damaged, which is said: routing then goes by the declared qualities and the guesses from the prices."""
    try:
        return load_predictor(FOUNDATION, None)
    except ImportError:
        return None
    except (RouterError, OSError) as error:
        log.warning("the foundation that comes with the package cannot be used: %s", error)
        return None


def check_artefact(path: Any, folder: Path | None) -> None:
    """Whether a router can be told to use the artefact at a path.

    Raises: SpecError where that leads elsewhere, or nothing lies there.
    """
    if not isinstance(path, str) or path == FOUNDATION:
        return  # what is no path at all, the spec refuses
    try:
        place = _place(path, folder)
        there = place.exists() if folder is not None else (place / "manifest.json").exists()
    except OSError:
        there = False
    if not there:
        where = "the working directory" if folder is None else "the store's folder"
        raise SpecError(
            f"artefact: there is none at {shown(path)}; must be the path, relative to {where}, of what save() of a "
            "predictor has written"
        )


def _place(path: str, folder: Path | None) -> Path:
    place = Path(path) if folder is None else folder / path
    try:
        found, home = place.resolve(), None if folder is None else folder.resolve()
    except ValueError:  # a null byte
        raise SpecError(f"artefact: must be the path of an artefact, got {shown(path)}") from None
    if home is not None and (found == home or not found.is_relative_to(home)):
        raise SpecError(f"artefact: must lie below the store's folder, got {shown(path)}")
    return place


def load_predictor(path: str, folder: Path | None) -> Scorer:
    """The trained predictor in a file or folder, or the one that comes with the package (``foundation``). That of a
    stored router lies below the store's own folder.

    Raises: TrainingError for one that is damaged; SpecError for a path that leads elsewhere; ImportError without numpy.
    """
    if path == FOUNDATION:
        guessing: Scorer = import_module("router_plugin.learn.serving.guessing").Guessing()
        return guessing
    place = _place(path, folder)
    # By name: nothing here depends on learn/, which calls run without.
    loaded: Scorer = import_module("router_plugin.learn.serving.predictor").Predictor.load(place)
    return loaded
