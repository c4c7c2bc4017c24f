"""What a training job will cost, before it asks anybody: tokens × prices, of answers and of judgements."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...decide.cost import EXPECTED_OUTPUT_TOKENS
from ...records import Candidate
from ..judges.making import asks
from ..judges.model_judges import USUAL_TOKENS
from ..judges.quoting import MOST
from .training_requests import TrainingRequest


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected USD of a job: ``answers_usd`` by model, ``judging_usd``, and both together (``usd``). ``unpriced`` names
    the models whose price nobody knows; they count as nothing in it."""

    usd: float
    answers_usd: Mapping[str, float]
    judging_usd: float
    calls: int
    unpriced: tuple[str, ...] = ()


def estimated(
    requests: Sequence[TrainingRequest], llms: Sequence[str], judge: Any, candidates: Mapping[str, Candidate]
) -> Estimate:
    """``candidates``: the job's models by litellm's model string, the judge's too."""
    answers = dict.fromkeys(llms, 0.0)
    judging, calls, questions = 0.0, len(requests) * len(llms), list(asks(judge))
    for request in requests:
        sizes = request.read()
        expected = min(sizes.cap or EXPECTED_OUTPUT_TOKENS, EXPECTED_OUTPUT_TOKENS)
        for model in llms:
            answers[model] += _cost(candidates[model], sizes.estimate, expected)
        reference = 0 if request.ref_answer is None else len(str(request.ref_answer))
        for model, times, own in questions:
            quoted = min(sizes.estimate, MOST // 3) + expected + (own + min(reference, MOST)) / 3
            judging += len(llms) * times * _cost(candidates[model], quoted, USUAL_TOKENS)
    for _, times, _ in questions:
        calls += len(requests) * len(llms) * times
    named = dict.fromkeys((*llms, *(model for model, _, _ in questions)))
    unpriced = tuple(model for model in named if not candidates[model].priced)
    by_model = {model: nano / 1e9 for model, nano in answers.items()}
    return Estimate(math.fsum((*by_model.values(), judging / 1e9)), by_model, judging / 1e9, calls, unpriced)


def _cost(candidate: Candidate, input_tokens: float, output_tokens: float) -> float:
    return input_tokens * candidate.input_price + output_tokens * candidate.output_price
