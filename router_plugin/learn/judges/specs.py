"""What a judge is, as one frozen value that can be stored: a rubric, a comparison with a reference answer, or a check.

``RubricJudgeSpec`` and ``Pairwise`` ask a model; the others compute. All but the rubric need the request's
``ref_answer``: without one there is no score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator, model_validator

from ...errors import SpecError, did_you_mean
from ...redact import shown
from ...spec.deployment import Deployment
from ...spec.fields import Count, NonNegative, Number, Spec

_MOST_WORDS = 100_000
PLACES = ("request", "answer", "ref_answer")  # quoted texts that a rubric may place itself: ``${answer}``
ALIASES = {"response": "answer", "content": "answer", "prompt": "request", "reference": "ref_answer"}


def _words(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be text, not {shown(value)}")
    if len(value) > _MOST_WORDS:
        raise ValueError(f"must be at most {_MOST_WORDS} characters, got {len(value)}")
    return value


def _model(value: Any) -> Any:
    return Deployment(value).model  # a concrete model: a judge never asks a router


Words = Annotated[str, BeforeValidator(_words)]
Model = Annotated[str, BeforeValidator(_model)]


class JudgeSpec(Spec):
    """Base of all kinds of judges."""

    model_type: str

    def document(self) -> dict[str, Any]:
        """The spec as JSON-ready values, with only what was set; ``spec_of_judge`` reads it."""
        return {"model_type": self.model_type, **self.model_dump(mode="json", exclude_defaults=True)}


class RubricJudgeSpec(JudgeSpec):
    """A model that grades an answer by a rubric on a scale from ``min_score`` to ``max_score``.

    ``prescript`` stands before the rubric, ``postscript`` after the quoted texts. ``${request}``, ``${answer}`` and
    ``${ref_answer}`` in any of them are replaced by the quoted text; those that none of them names follow the rubric
    (the reference where there is one). ``extract_variables`` makes further ones: name → path into
    ``{"request": …, "response": …}``. ``extract_judgement`` says where the score lies in the judge's answer: the path
    in a JSON object (default ``score``), or ``{"regex": …}`` whose one group is the number.
    """

    model_type: Literal["rubric_judge"] = "rubric_judge"
    rubric: Words
    model: Model
    min_score: Number
    max_score: Number
    prescript: Words | None = None
    postscript: Words | None = None
    extract_variables: dict[str, str] | None = None
    extract_judgement: str | dict[str, str] | None = None

    @field_validator("extract_variables")
    @classmethod
    def _names_and_paths(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for name, path in (value or {}).items():
            if not name.isidentifier() or name in PLACES:
                raise ValueError(f"{shown(name)} is no name of a variable (letters, digits, '_'; not {PLACES})")
            if path.split(".")[0] not in ("request", "response"):
                raise ValueError(f"{name}: a path starts with 'request.' or 'response.', got {shown(path)}")
        return value

    @field_validator("extract_judgement")
    @classmethod
    def _path_or_regex(cls, value: str | dict[str, str] | None) -> str | dict[str, str] | None:
        if isinstance(value, str) and not all(value.split(".")):
            raise ValueError(f"must be a path such as 'score' or 'grade.value', got {shown(value)}")
        if isinstance(value, dict):
            if set(value) != {"regex"}:
                raise ValueError("must be a path, or {'regex': …} with one group")
            score_regex(value["regex"])
        return value

    @model_validator(mode="after")
    def _scale(self) -> RubricJudgeSpec:
        if not self.min_score < self.max_score:
            raise ValueError(f"min_score must be below max_score, got {self.min_score:g} and {self.max_score:g}")
        return self


class Pairwise(JudgeSpec):
    """A model that compares the answer with the reference answer: better 1, as good 0.5, worse 0. It is asked twice,
    once in either order; what it does not say both times is a tie."""

    model_type: Literal["pairwise"] = "pairwise"
    model: Model
    rubric: Words = "Which of the two answers serves the person who asked better? Judge correctness first."


class ExactMatch(JudgeSpec):
    """1 where the answer is the reference (or one of a list of them), surrounding space apart; else 0."""

    model_type: Literal["exact_match"] = "exact_match"
    ignore_case: bool = False


class Contains(JudgeSpec):
    """1 where the answer contains ``text``, or, without one, the reference (or one of a list of them); else 0."""

    model_type: Literal["contains"] = "contains"
    text: Words | None = None
    ignore_case: bool = False

    def __init__(self, text: Any = None, /, **data: Any) -> None:
        super().__init__(**({} if text is None else {"text": text}), **data)


class JSONEquals(JudgeSpec):
    """1 where the answer is JSON (in a code fence or not) with the value of the reference; else 0."""

    model_type: Literal["json_equals"] = "json_equals"


class NumericMatch(JudgeSpec):
    """1 where the last number of the answer lies within ``tolerance`` (or the share ``relative``) of the reference's;
    else 0."""

    model_type: Literal["numeric_match"] = "numeric_match"
    tolerance: NonNegative = 0.0
    relative: NonNegative = 0.0

    def __init__(self, tolerance: Any = None, /, **data: Any) -> None:
        super().__init__(**({} if tolerance is None else {"tolerance": tolerance}), **data)


class RepeatedSpec(JudgeSpec):
    """Another judge, asked ``n`` times, and the mean of its scores."""

    model_type: Literal["repeated"] = "repeated"
    of: Any
    n: Count

    @field_validator("of")
    @classmethod
    def _is_spec(cls, value: Any) -> Any:
        return value if isinstance(value, JudgeSpec) else spec_of_judge(value)

    def document(self) -> dict[str, Any]:
        return {"model_type": self.model_type, "n": self.n, "of": self.of.document()}


KINDS: dict[str, type[JudgeSpec]] = {
    "rubric_judge": RubricJudgeSpec,
    "pairwise": Pairwise,
    "exact_match": ExactMatch,
    "contains": Contains,
    "json_equals": JSONEquals,
    "numeric_match": NumericMatch,
    "repeated": RepeatedSpec,
}


def spec_of_judge(data: Any) -> JudgeSpec:
    """The spec that a document (or a mapping a person wrote) describes.

    Raises: SpecError naming the field and what would be right.
    """
    if isinstance(data, JudgeSpec):
        return data
    if not isinstance(data, Mapping):
        raise SpecError(f"judge: must be a judge's spec or a mapping with 'model_type', not {shown(data)}")
    kind = data.get("model_type")
    if kind not in KINDS:
        raise SpecError(
            f"judge: model_type: unknown kind {shown(kind)}{did_you_mean(kind, KINDS)}; known: {', '.join(KINDS)}"
        )
    return KINDS[kind](**data)


def score_regex(pattern: str) -> Any:
    """A regex (linear time) that finds a score: one group.

    Raises: ValueError for one that is none.
    """
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(f"regex: {shown(pattern)}: {error}") from None
    if compiled.groups != 1:
        raise ValueError(f"regex: must have one group, the score; {shown(pattern)} has {compiled.groups}")
    return compiled
