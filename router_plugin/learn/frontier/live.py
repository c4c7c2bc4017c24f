"""What a router itself believes of models on prompts, in the shape of a predictor: predicted, corrected by feedback,
guessed or declared. A setting that is measured by it does live what it did here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...decide.ranking import predicted
from ...decide.request import read_request
from ...spec.policy import DEFAULT_POLICY, with_tag
from ...spec.strings import RouterTag, Weights
from ...state.fleet import Fleet
from ...state.ledger import Ledger
from ..serving.predictor import Prediction

if TYPE_CHECKING:
    from ...records import Candidate
    from ...router import Router

_BY_QUALITY = with_tag(DEFAULT_POLICY, RouterTag(weights=Weights(q=1.0)))


class Live:
    """``known``: model → the candidate of the router that it means."""

    def __init__(self, router: Router, known: Mapping[str, Candidate]) -> None:
        self.models, self._candidates = tuple(known), tuple(known.values())
        self._version, self._clock = router._active(), router.clock

    def predict(self, prompts: Sequence[Any]) -> Prediction:
        """Nothing live counts (rests, limits, money): a setting is measured for what its weights choose."""
        fleet, money = Fleet(self._clock, 0), Ledger((), self._clock)
        quality = np.array([[candidate.ability for candidate in self._candidates]] * len(prompts), np.float64)
        std, tokens = np.zeros(quality.shape), np.full(quality.shape, np.nan)
        for at, prompt in enumerate(prompts):
            messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
            found = self._version.decide(_BY_QUALITY, read_request({"messages": messages}), fleet, money)
            told = {ranked[-1][0].index: predicted(ranked[-1]) for ranked in found.decision.ranking}
            for column, candidate in enumerate(self._candidates):
                quality[at, column] = told.get(candidate.index, quality[at, column])
                score = None if found.scores is None else found.scores[candidate.index]
                if score is not None and score.output_tokens is not None:
                    tokens[at, column] = score.output_tokens
                if score is not None and score.quality_std is not None:
                    std[at, column] = score.quality_std
        return Prediction(quality, std, tokens)
