"""Judges of answers: what there is, and how one is made of whatever a caller gives.

::

    spec = RubricJudgeSpec(rubric="Rate …", model="openai/gpt-4o-mini", min_score=1, max_score=10)
    made(spec, asker([spec.model])).judge({"messages": […]}, "the answer")  # Judgement(score=0.78, raw=8.0, …)

A judge is a spec, a stored judge (``client.judges``), anything with a ``judge`` method, or a Python function.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import SpecError
from ...redact import shown
from .asking import Ask, asker
from .fingerprint import fingerprint
from .judgement import Agreement, Judge, Judgement, Repeated, agreement
from .model_judges import PairwiseJudge, RubricJudge
from .plain_judges import FunctionJudge, PlainJudge, function_named
from .specs import (
    Contains,
    ExactMatch,
    JSONEquals,
    JudgeSpec,
    NumericMatch,
    Pairwise,
    RepeatedSpec,
    RubricJudgeSpec,
    spec_of_judge,
)

__all__ = [
    "Agreement",
    "Contains",
    "ExactMatch",
    "FunctionJudge",
    "JSONEquals",
    "Judge",
    "JudgeSpec",
    "Judgement",
    "NumericMatch",
    "Pairwise",
    "RubricJudgeSpec",
    "agreement",
    "asker",
    "asks",
    "described",
    "made",
    "repeat",
    "spec_of_judge",
    "undescribed",
]


def repeat(judge: Any, n: int) -> Any:
    """A judge that asks ``judge`` ``n`` times (at its model's own temperature) and takes the mean."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise SpecError(f"repeat: n must be a whole number of at least 1, got {shown(n)}")
    spec = spec_in(judge)
    return RepeatedSpec(of=spec, n=n) if spec is not None else Repeated(made(judge, None), n)


def spec_in(judge: Any) -> JudgeSpec | None:
    """The spec that a judge is, or (a stored one) carries."""
    if isinstance(judge, Mapping):
        return spec_of_judge(judge)
    found = judge if isinstance(judge, JudgeSpec) else getattr(judge, "spec", None)
    return found if isinstance(found, JudgeSpec) else None


def made(judge: Any, ask: Ask | None, varied: bool = False) -> Judge:
    """A judge that can be used. ``ask`` puts questions to models; those that compute need none.

    Raises: SpecError for what is no judge.
    """
    spec = spec_in(judge)
    if isinstance(spec, RepeatedSpec):
        return Repeated(made(spec.of, ask, varied=True), spec.n)
    if isinstance(spec, (RubricJudgeSpec, Pairwise)):
        if isinstance(judge, (RubricJudge, PairwiseJudge)):
            return judge
        ask = ask if ask is not None else asker([spec.model])
        return RubricJudge(spec, ask, varied) if isinstance(spec, RubricJudgeSpec) else PairwiseJudge(spec, ask, varied)
    if spec is not None:
        return PlainJudge(spec)
    if isinstance(judge, (Repeated, FunctionJudge)):
        return judge
    if callable(getattr(judge, "judge", None)):
        return FunctionJudge(judge.judge)
    if callable(judge):
        return FunctionJudge(judge)
    raise SpecError(f"judge: give a judge's spec, a stored judge, or a function (request, answer), not {shown(judge)}")


def asks(judge: Any) -> Iterator[tuple[str, int, int]]:
    """What one judgement asks for: (model, number of calls, characters of its own words in each prompt)."""
    spec, times = spec_in(judge), 1
    while isinstance(spec, RepeatedSpec):
        spec, times = spec.of, times * spec.n
    if isinstance(spec, RubricJudgeSpec):
        own = len(spec.rubric) + len(spec.prescript or "") + len(spec.postscript or "")
        yield spec.model, times, own + 900
    elif isinstance(spec, Pairwise):
        yield spec.model, 2 * times, len(spec.rubric) + 900


def described(judge: Any) -> dict[str, Any]:
    """A judge as JSON-ready values: its spec, or the name of its function or class and its fingerprint."""
    spec = spec_in(judge)
    if spec is not None:
        return spec.document()
    if callable(getattr(judge, "judge", None)) and not isinstance(judge, FunctionJudge):
        return {"object": f"{type(judge).__module__}:{type(judge).__qualname__}", "state": fingerprint(judge)}
    function = judge if isinstance(judge, FunctionJudge) else FunctionJudge(judge)
    return {"function": function.name, "state": fingerprint(function.function)}


def undescribed(data: Mapping[str, Any]) -> Any:
    """The judge that ``described`` spoke of; None where it cannot be found again (a lambda, an object)."""
    if "model_type" in data:
        return spec_of_judge(data)
    return function_named(str(data["function"])) if "function" in data else None
