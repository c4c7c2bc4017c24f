"""A margin for the model that is best on the whole, so that no other takes its place by a guess.

Rule: by how much another model is predicted to be better than the *incumbent* (the one with the best mean) has to be
more than a margin m: leads from −c to m are pressed together into −c to 0, larger ones lose m, smaller ones stay as
they are. So the order of the others stays, and no figure changes by more than its lead and c. c is m, at most ``REACH``
of the spread of predicted leads. The margin is ``SHARE`` of that spread, times the odds that the prompt is of no kind
that was seen (novelty.py): hardly any in the middle of what is known, prohibitive far from it. Where the odds are above
``DOUBT``, predictions are drawn towards the models' means by DOUBT/odds before that. Tables whose kinds, left out, gain
half as much as those that were seen need none of it. Of two models, where the order of prompts counts most (it stays),
the margin and c are the standard error of the difference of their means: with few prompts, which of them is better on
the whole is all that is known.
Theory: a lead that holds for known prompts alone is worth taking where P(known)·lead exceeds P(new)·loss.
Why: on tasks never seen nearly every learned router is worse than its best single model; shrinking all predictions
until none is chosen would lose the gain on the tasks that were seen. Shares of 0.3 and 0.5 were compared: 0.3 keeps the
gain in domain whole, and both keep tasks left out within 0.001 of the incumbent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .targets import Floats

Judged = tuple[Floats, Floats]  # qualities predicted and true, prompts × models
SHARE, REACH, DOUBT, ENOUGH = 0.3, 0.5, 2.0, 0.5


def hold(quality: Floats, mean: Floats, spread: float, new: Floats | float) -> Floats:
    """Qualities (models last) with the incumbent's margin, for prompts (or one) that are new by these odds."""
    best = int(mean.argmax())
    drawn, margin, below = _bounds(spread, new)
    if drawn is not None:
        quality = mean + (quality - mean) * drawn
    return press(quality, best, margin, below)


def press(quality: Floats, best: int, margin: Any, below: Any) -> Floats:
    """Qualities (models last) in which leads over the incumbent from −below to margin are pressed into −below to 0, and
    larger ones lose the margin."""
    above = quality - (quality[..., best : best + 1] - below)
    loss: Floats = np.maximum(np.minimum(above * (margin / (below + margin)), margin), 0.0)
    loss[..., best] = 0.0
    return quality - loss


def _bounds(spread: float, new: Floats | float) -> tuple[Any, Any, Any]:
    """How far predictions are drawn to the means (None: not at all), the margin, and how far below the incumbent leads
    are pressed."""
    if isinstance(new, float):  # one prompt: numbers are much quicker than arrays
        margin = max(SHARE * spread * new, 1e-9)
        return None if new <= DOUBT else DOUBT / new, margin, min(margin, REACH * spread)
    new = new[..., None]
    margins = np.maximum(SHARE * spread * new, 1e-9)
    return np.minimum(1.0, DOUBT / new), margins, np.minimum(margins, REACH * spread)


def spread_for(known: Judged, new: Judged, best: int) -> float:
    """The spread of predicted leads over the incumbent, from prompts held out of kinds that were seen, and of kinds
    left out as wholes; 0 (no margin) where following the predictions gains as much there, or half of it."""
    if known[0].shape[1] < 3 or not len(known[0]) or gain(new, best) > gain(known, best) * ENOUGH > 0.0:
        return 0.0
    spread = (known[0] - known[0][:, best : best + 1]).std(axis=0)
    return float(spread.sum()) / (len(spread) - 1)


def gain(judged: Judged, best: int) -> float:
    """How much better than the incumbent the models are that are predicted to be best."""
    predicted, truth = judged
    chosen = truth[np.arange(len(truth)), predicted.argmax(axis=1)]
    return float((chosen - truth[:, best]).mean()) if len(truth) else 0.0
