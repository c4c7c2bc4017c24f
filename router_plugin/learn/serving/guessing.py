"""The foundation as a router's scorer: ``Router(…, scorer="foundation")``, before anything was trained."""

from __future__ import annotations

from collections.abc import Sequence

from ...records import Candidate, Request
from ...snapshot import Score
from .foundation import UNSURE, Foundation, foundation


class Guessing:
    """Tells easy prompts from hard ones for models that nobody judged: a model's place comes from its declared quality,
    else from its price, and every score is marked as a guess."""

    def __init__(self, shipped: Foundation | None = None) -> None:
        self._foundation = foundation() if shipped is None else shipped

    def score(self, request: Request, models: Sequence[str]) -> list[Score | None]:
        """Nothing is known of a model by its name alone."""
        return [None] * len(models)

    def score_candidates(self, request: Request, candidates: Sequence[Candidate]) -> list[Score | None]:
        abilities = [one.guess if one.quality is None else one.quality for one in candidates]
        guessed = self._foundation.guess(request.messages, abilities)
        return [Score(quality, None, UNSURE, True) for quality in guessed]
