"""Exploration: now and then a choice that is only probably worse, so that what is uncertain becomes known.

Rule (Thompson sampling): every candidate's quality is drawn from what is believed of it (normal, with the predictor's
standard deviation), the objective ranks the draws, and the first of that order is asked first. The same conversation
draws the same numbers, so that it does not change its model at every turn. How probable the choice was is estimated
from further draws. Pure: the random numbers are an argument.

Source: Thompson 1933; Chapelle and Li 2011. Defaults: 31 further draws.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from ..records import Decision, Ranked, Row
from ..snapshot import Score, Snapshot
from .ranking import rank

DRAWS = 31


def explored(
    decision: Decision, scores: Sequence[Score | None], snapshot: Snapshot, draw: random.Random
) -> tuple[list[Ranked], float]:
    """(the ranking by one draw of qualities, the probability with which its first was to be first)."""
    rows = [ranked[-1] for ranked in decision.ranking]
    spread = [_std(row, scores) for row in rows]
    kept = {id(ranked[-1][0]): ranked for ranked in decision.ranking}

    def drawn() -> list[Ranked]:
        sample = [
            (*row[:4], min(1.0, max(0.0, draw.gauss(row[4], std)))) if std > 0.0 and row[4] is not None else row
            for row, std in zip(rows, spread, strict=True)
        ]
        return rank(sample, decision.policy, snapshot)

    order = drawn()
    first = order[0][-1][0]
    again = sum(drawn()[0][-1][0] is first for _ in range(DRAWS))
    return [kept[id(ranked[-1][0])] for ranked in order], (1 + again) / (1 + DRAWS)


def _std(row: Row, scores: Sequence[Score | None]) -> float:
    score = scores[row[0].index] if row[0].index < len(scores) else None
    return 0.0 if score is None or score.quality_std is None else score.quality_std
