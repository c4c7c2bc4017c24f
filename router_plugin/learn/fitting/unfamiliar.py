"""Of two models, what is said of a prompt of no kind that was seen: the longer it is, the more the better one is worth.

Rule: how much further apart than usual two models are is told by what was learned as far as a prompt is familiar, else
by its length alone: a standard deviation of it is worth ``LONGER`` logits of hardness, which move two models apart or
together as hardness.py says. Familiar is 1/(1 + (odds/``FROM``)³) by the odds of novelty.py: hardly anything changes
where a prompt is as likely new as not. The mean of both stays what was learned. Where kinds left out of training are
told nearly as well as those that were not (by ``SURE`` standard errors of a correlation), nothing changes at all.
By the same part the worse model has to lead by the spread of learned leads before it is taken for the better one.
Why: what tells two models apart on one table mostly misleads on the next: fitted on one group of subjects and tested
on others, learned orders had APGR .43 to .63, length .51 to .65, this .51 to .64, at hardly a cost in domain. More than
two models have the incumbent's margin (incumbent.py) instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .hardness import STEPS
from .incumbent import Judged
from .targets import Floats

LONGER, FROM, ENOUGH, SURE = 1.5, 4.0, 0.8, 4.0


def lead_for(known: Judged, new: Judged, mean: Floats) -> float:
    """By how much a standard deviation of length moves the better of two models of these mean qualities ahead, from
    prompts held out of kinds that were seen, and of kinds left out as wholes; 0 (what was learned is always followed)
    where it surely follows the truth there, and nearly as well."""
    if not len(new[0]) or _follows(new) > max(ENOUGH * _follows(known), SURE / len(new[0]) ** 0.5):
        return 0.0
    worse, better = np.sort(np.clip(mean, 1e-3, 1.0))
    return LONGER * STEPS * float(better * np.log(better) - worse * np.log(worse))


def _follows(judged: Judged) -> float:
    """The correlation of predicted with true leads of one model over the other."""
    predicted, truth = (values[:, 0] - values[:, 1] for values in judged)
    if predicted.std() < 1e-9 or truth.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(predicted, truth)[0, 1])


def strange(new: Any) -> Any:
    """How far what was learned is not believed (0..1) of prompts (or one) that are new by these odds."""
    return 1.0 - 1.0 / (1.0 + (new / FROM) ** 3)


def widen(quality: Floats, mean: Floats, lead: Any, part: Any) -> Floats:
    """Qualities of two models (last), for prompts (or one), in which this part of how much the better one leads beyond
    the means is replaced by ``lead``."""
    ahead = np.array([0.5, -0.5] if mean[0] >= mean[1] else [-0.5, 0.5])
    learned = 2.0 * ((quality - mean) @ ahead)
    return np.asarray(quality + np.multiply.outer(part * (lead - learned), ahead))
