"""What a head says in the end of one prompt: the figures of ``Head.settled``, quickly.

A decision asks for one prompt, where the arrays are so short that every call of NumPy counts: what depends on the head
alone is worked out once, and each figure is cut once. The rules are told in incumbent.py, heads.py and curve.py.
"""

from __future__ import annotations

import numpy as np

from ..fitting.curve import bent
from ..fitting.heads import Head
from ..fitting.incumbent import DOUBT, REACH, SHARE
from ..outcomes.rows import Floats


class Settling:
    """Qualities within 0..1 and their standard deviations, made of the predictions for one prompt."""

    def __init__(self, head: Head) -> None:
        self._mean, self._spread, self._curve = head.mean, head.margin, head.curve
        self._best = int(head.mean.argmax())
        self._missed, self._always = head.unsure()

    def settled(self, told: Floats, new: float) -> tuple[Floats, Floats]:
        """``Head.settled`` for a prompt that is new by these odds, the qualities within 0..1."""
        values = self.held(told, new) if self._spread else told
        variances = self._missed * (1.0 + new / (1.0 + new)) + self._always
        if self._curve is not None:
            values = bent(values, self._curve)
        values = np.minimum(np.maximum(values, 0.0), 1.0)
        most = 0.25 if self._curve is None else np.maximum(values - values * values, 1e-6)
        return values, np.sqrt(np.minimum(variances, most))

    def held(self, told: Floats, new: float) -> Floats:
        """``hold`` for one prompt."""
        margin = max(SHARE * self._spread * new, 1e-9)
        below = min(margin, REACH * self._spread)
        if new > DOUBT:
            told = self._mean + (told - self._mean) * (DOUBT / new)
        above = told - (float(told[self._best]) - below)
        loss: Floats = np.minimum(np.maximum(above * (margin / (below + margin)), 0.0), margin)
        loss[self._best] = 0.0
        return told - loss
