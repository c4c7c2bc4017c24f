"""What a head says in the end of one prompt: the figures of ``Head.settled``, quickly.

A decision asks for one prompt, where the arrays are so short that every call of NumPy counts: what depends on the head
alone is worked out once, and each figure is cut once. The rules are told in heads.py and curve.py.
"""

from __future__ import annotations

import numpy as np

from ..fitting.curve import bent
from ..fitting.heads import Head
from ..outcomes.rows import Floats


class Settling:
    """Qualities within 0..1 and their standard deviations, made of the predictions for one prompt."""

    def __init__(self, head: Head) -> None:
        self._head, self._curve = head, head.curve
        self._missed, self._always = head.unsure()

    def settled(self, told: Floats, new: float, length: float) -> tuple[Floats, Floats]:
        """``Head.settled`` for one prompt, the qualities within 0..1."""
        values = self._head.held(told, new, length)
        variances = self._missed * (1.0 + new / (1.0 + new)) + self._always
        if self._curve is not None:
            values = bent(values, self._curve)
        values = np.minimum(np.maximum(values, 0.0), 1.0)
        most = 0.25 if self._curve is None else np.maximum(values - values * values, self._always)
        return values, np.sqrt(np.minimum(variances, most))
