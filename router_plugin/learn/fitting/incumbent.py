"""A margin for the model that is best on the whole, so that no other takes its place by a guess.

Rule: by how much another model is predicted to be better than the *incumbent* (the one with the best mean) is reduced
by a margin m: ``f(x) = x − m·clip(1 + x/c, 0, 1)`` with c = 1.25m. It rises everywhere, so the order of prompts by need
of a model stays, a model that is predicted to be worse by more than c keeps its figure, and only one that is better by
more than m is preferred. The margin is ``base + far·clip(1 − near/usual, 0, 1)``: larger for prompts that are less like
any kind of training prompt than half of those held out in domain are (``usual``). Both parts are chosen so that taking
the best predicted model gains most over the incumbent, in domain and (counted twice) on clusters left out of
training. Two models need none: only the order of prompts counts.
Theory: the winner's curse of choosing the largest of many estimates (Smith and Winkler 2006).
Why: on tasks never seen nearly every learned router is worse than its best single model; shrinking all predictions
until none is chosen would lose the gain on the tasks that were seen.
"""

from __future__ import annotations

import numpy as np

from .targets import Floats

Judged = tuple[Floats, Floats, Floats]  # qualities predicted and true, cosine to the nearest kind of training prompt

BASES = (0.0, 0.005, 0.01)
FARS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3)
AWAY = 2.0  # a prompt of a cluster left out counts so many times
WORTH = 5e-4  # a larger margin has to gain so much more
_REACH = 1.25


def margins(settings: Floats, near: Floats) -> Floats:
    """The margin of each prompt; ``settings`` are (base, far, usual)."""
    base, far, usual = settings
    return np.asarray(base + far * np.minimum(np.maximum(1.0 - near / max(usual, 1e-9), 0.0), 1.0))


def hold(quality: Floats, best: int, margin: Floats) -> Floats:
    """Qualities (models last) with the incumbent's margin."""
    margin = np.maximum(margin, 1e-9)[..., None]
    lead = quality - quality[..., best : best + 1]
    reduced = quality - margin * np.minimum(np.maximum(1.0 + lead / (_REACH * margin), 0.0), 1.0)
    reduced[..., best] = quality[..., best]
    return np.asarray(reduced)


def margin_for(inside: Judged, outside: Judged, best: int) -> Floats:
    """The settings, from prompts held out in domain and in clusters left out; the smallest that is as good."""
    usual = float(np.median(inside[2]))
    kept, most = np.array([0.0, 0.0, usual]), -1.0
    for far in FARS:
        for base in BASES:
            settings = np.array([base, far, usual])
            found = _gain(inside, best, settings) + AWAY * _gain(outside, best, settings)
            if found > most + WORTH:
                kept, most = settings, found
    return kept


def _gain(held: Judged, best: int, settings: Floats) -> float:
    """How much better than the incumbent the best predicted model is, on the average."""
    predicted, truth, near = held
    chosen = hold(predicted, best, margins(settings, near)).argmax(axis=1)
    rows = np.arange(len(truth))
    return float((truth[rows, chosen] - truth[:, best]).mean()) if len(truth) else 0.0
