"""The foundation as a router's scorer, before anything was trained: where weights ask for the quality of models that
have not declared it, and of every request of ``Router(…, scorer="foundation")``.

Rule: a model's ability is its declared quality, else the guess from its price raised by ``ABOVE`` logits (0.5 becomes
0.75). The guess is a place among models, not a share of right answers: GPT-4 and Mixtral lie .85 logits above it on
MMLU, what a dollar buys has become better since, and people ask easier things than tests do. On the guess itself every
model would fail half the time, and a stronger one would seem to add most where prompts are easy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...records import Candidate, Request
from ...snapshot import Score
from .foundation import UNSURE, Foundation, foundation

ABOVE = 1.1


class Guessing:
    """Tells easy prompts from hard ones for models that nobody judged; every score is marked as a guess."""

    def __init__(self, shipped: Foundation | None = None) -> None:
        self._foundation = foundation() if shipped is None else shipped

    def score(self, request: Request, models: Sequence[str]) -> list[Score | None]:
        """Nothing is known of a model by its name alone."""
        return [None] * len(models)

    def score_candidates(self, request: Request, candidates: Sequence[Candidate]) -> list[Score | None]:
        guessed = self._foundation.guess(request.messages, [_ability(candidate) for candidate in candidates])
        return [Score(quality, None, UNSURE, True) for quality in guessed]


def _ability(candidate: Candidate) -> float:
    if candidate.quality is not None:
        return candidate.quality
    return 1.0 / (1.0 + (1.0 / candidate.guess - 1.0) * math.exp(-ABOVE))
