"""Judges: what they are asked, how they answer, where they are kept."""

from __future__ import annotations

from .judgement import Agreement, Judgement, agreement
from .making import made, repeat
from .specs import Contains, ExactMatch, JSONEquals, NumericMatch, Pairwise, RubricJudgeSpec

__all__ = [
    "Agreement",
    "Contains",
    "ExactMatch",
    "JSONEquals",
    "Judgement",
    "NumericMatch",
    "Pairwise",
    "RubricJudgeSpec",
    "agreement",
    "made",
    "repeat",
]
