"""Judges that compute: comparisons with a reference answer, and any Python function."""

from __future__ import annotations

import importlib
import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ...errors import SpecError
from ...redact import shown
from .asking import said
from .judgement import Judgement, missing
from .model_judges import as_text
from .specs import Contains, ExactMatch, JSONEquals, JudgeSpec, NumericMatch

_FENCED = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\n(.*?)```", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])[+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
_NO_REFERENCE = "no reference answer to compare with"
_LONGEST_NUMBERED = 100_000  # characters at the end of an answer in which its last number is looked for
_OFF_THE_SCALE = "a judge's score must lie between 0 and 1, got {}"
_NONE = object()


class PlainJudge:
    """A spec that computes: no model is asked."""

    def __init__(self, spec: JudgeSpec) -> None:
        self.spec = spec

    def judge(self, request: Mapping[str, Any], answer: str, ref_answer: Any = None) -> Judgement:
        spec = self.spec
        if isinstance(spec, Contains) and spec.text is not None:
            ref_answer = spec.text
        if ref_answer is None:
            return missing(_NO_REFERENCE)
        if isinstance(spec, ExactMatch):
            return _graded(any(_folded(one, spec.ignore_case) == _folded(answer, spec.ignore_case)
                               for one in _accepted(ref_answer)))  # fmt: skip
        if isinstance(spec, Contains) and not all(_accepted(ref_answer)):
            return missing("an empty reference answer is in every answer")
        if isinstance(spec, Contains):
            text = _folded(answer, spec.ignore_case)
            return _graded(any(_folded(one, spec.ignore_case) in text for one in _accepted(ref_answer)))
        if isinstance(spec, JSONEquals):
            return _json_equals(answer, ref_answer)
        assert isinstance(spec, NumericMatch)
        return _numbers_match(answer, ref_answer, spec)


def _graded(right: bool) -> Judgement:
    return Judgement(1.0 if right else 0.0, "match" if right else "no match")


def _accepted(ref_answer: Any) -> list[str]:
    """The answers that are right: one, or a list of them."""
    return [as_text(one) for one in (ref_answer if isinstance(ref_answer, (list, tuple)) else [ref_answer])]


def _folded(text: str, ignore_case: bool) -> str:
    text = text.strip()
    return text.casefold() if ignore_case else text


def _parsed(text: str) -> Any:
    """The JSON value that a text is, or that its last code fence holds; ``_NONE`` where it is none."""
    for candidate in (text, *_FENCED.findall(text)[-1:]):
        try:
            return json.loads(candidate)
        except (ValueError, RecursionError):
            continue
    return _NONE


def _json_equals(answer: str, ref_answer: Any) -> Judgement:
    wanted = _parsed(ref_answer) if isinstance(ref_answer, str) else ref_answer
    if wanted is _NONE:
        return missing(f"the reference answer is no JSON: {shown(ref_answer)}")
    try:
        return _graded(_same(wanted, _parsed(answer)))
    except RecursionError:
        return _graded(False)


def _same(wanted: Any, found: Any) -> bool:
    """Equal, where true is not 1 and NaN is nothing."""
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return wanted.keys() == found.keys() and all(_same(value, found[key]) for key, value in wanted.items())
    if isinstance(wanted, (list, tuple)) and isinstance(found, (list, tuple)):
        return len(wanted) == len(found) and all(map(_same, wanted, found))
    return bool(wanted == found)


def _numbers_match(answer: str, ref_answer: Any, spec: NumericMatch) -> Judgement:
    wanted = [number for one in _accepted(ref_answer) if (number := _last_number(one)) is not None]
    if not wanted:
        return missing(f"the reference answer holds no number: {shown(ref_answer)}")
    found = _last_number(answer[-_LONGEST_NUMBERED:])
    if found is None:
        return Judgement(0.0, "no number")
    close = any(abs(found - one) <= max(spec.tolerance, spec.relative * abs(one)) for one in wanted)
    return Judgement(1.0 if close else 0.0, found)


def _last_number(text: str) -> float | None:
    found = _NUMBER.findall(text.replace("\u2212", "-"))
    value = float(found[-1].replace(",", "")) if found else math.inf
    return value if math.isfinite(value) else None


class FunctionJudge:
    """A Python function ``(request, answer)`` or ``(request, answer, ref_answer)`` (also by keyword) that gives a score
    in 0..1, or the ``judge`` method of an object of the caller's."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
            raise SpecError(f"judge: {shown(function)} is async; a judge is a plain function")
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            parameters = MappingProxyType({})
        kinds = [one.kind for one in parameters.values()]
        places = sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
                     for kind in kinds)  # fmt: skip
        self._takes = 3 if places >= 3 or inspect.Parameter.VAR_POSITIONAL in kinds else 2
        named = parameters.get("ref_answer")
        self._named = named is not None and named.kind is inspect.Parameter.KEYWORD_ONLY

    @property
    def name(self) -> str:
        """``module:function``; whether it can be found again by that, ``function_named`` tells."""
        return f"{getattr(self.function, '__module__', '?')}:{getattr(self.function, '__qualname__', '?')}"

    def judge(self, request: Mapping[str, Any], answer: str, ref_answer: Any = None) -> Judgement:
        try:
            further = {"ref_answer": ref_answer} if self._named else {}
            found = self.function(*(request, answer, ref_answer)[: self._takes], **further)
            if isinstance(found, Judgement):
                return checked(found)
            score = float("nan") if found is None else float(found)
        except Exception as error:  # a judge of the user's that fails gives no score
            return missing(f"the judge failed: {said(error)}")
        return Judgement(score, score) if 0.0 <= score <= 1.0 else missing(_OFF_THE_SCALE.format(shown(found)))


def checked(judgement: Judgement) -> Judgement:
    """What somebody's own judge gave, or, where its score is none in 0..1, a missing score."""
    score = judgement.score
    if score is None or (isinstance(score, (int, float)) and 0.0 <= score <= 1.0):
        return judgement
    return missing(_OFF_THE_SCALE.format(shown(score)), None, judgement.cost_usd)


def function_named(name: str) -> Callable[..., Any] | None:
    """The function that ``module:function`` names; None where there is none (a lambda, one of ``__main__``)."""
    module, _, qualified = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in qualified.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError):
        return None
    return found if callable(found) else None
