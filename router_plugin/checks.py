"""Answers that are not wanted: functions of the response for ``fallback_on``.

``Router(…, fallback_on=[checks.empty_answer, checks.refusal])``: where one says True of an answer, the next deployment
is asked; the answer stays paid for. They need the whole answer, so a stream is held back until its end. Where nothing
else is left to ask, the answer is returned as it is.

Your own: a function whose first parameter is called ``response`` (or ``answer``), or any function under
``@on_response``; a second parameter gets the call's keyword arguments. It is given litellm's response object, or what
the wrapped function returned. A text instead of True says why, and is kept in the record of the attempt. It is called
where the call runs, in async calls in the event loop: what takes its time belongs into ``judged``.

``self_consistent`` and ``judged`` ask models themselves: for money, which counts against the call's ``max_cost`` and
the budgets (the rules are in ``router_plugin.call.checking``).
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from .consistency import SelfConsistent, agree_fault, samples_fault, self_consistent, takes_both
from .errors import BudgetExceededError, SpecError
from .forms import get, text_of, tool_calls
from .forms import told as _told
from .redact import redact, shown

__all__ = [
    "READY", "Judged", "SelfConsistent", "agree_fault", "empty_answer", "is_judge", "judge_document", "judge_of",
    "judged", "json_mismatch", "on_response", "reads_response", "refusal", "samples_fault", "self_consistent",
    "tool_call_as_text", "unsure", "unwanted",
]  # fmt: skip
_Function = TypeVar("_Function", bound=Callable[..., Any])
_NAMES = ("response", "answer")
_LONGEST_WORDS = 200  # of a check, in a record
_LEAST = 0.5  # score of an answer that is good enough
_REFUSED = ("content_filter", "refusal", "safety", "blocked", "prohibited_content", "recitation")
# How models write a tool call into their text when they fail to make one.
_CALL_IN_TEXT = re.compile(
    r"<tool_call>|<function(?:=|_call)|<\|(?:tool_call|python_tag|tool_calls_section_begin)|\[TOOL_CALLS\]"
    r"|<invoke name=|^\s*(?:```(?:json|tool_call)?\s*)?\{\s*\"(?:name|function|tool|tool_name)\"\s*:.*"
    r"\"(?:arguments|parameters|args|input)\"\s*:",
    re.DOTALL,
)


def on_response(function: _Function) -> _Function:
    """Mark a function as one of the response, whatever its parameter is called."""
    function.__dict__["router_plugin_reads_response"] = True
    return function


def reads_response(condition: Any) -> bool:
    """Whether a ``fallback_on`` condition judges the response (and not the exception)."""
    if isinstance(condition, type):
        return False
    if getattr(condition, "router_plugin_reads_response", False):
        return True
    try:
        parameters = list(inspect.signature(condition).parameters)
    except (TypeError, ValueError):
        return False
    return bool(parameters) and parameters[0] in _NAMES


def unwanted(checks: tuple[Any, ...], response: Any, kwargs: Mapping[str, Any]) -> str | None:
    """The first check that does not want this answer, by its name and what it says; None where all do. Their errors
    are the caller's."""
    for check in checks:
        verdict = check(response, kwargs) if takes_both(check) else check(response)
        if inspect.isawaitable(verdict):
            getattr(verdict, "close", lambda: None)()
            raise SpecError(f"fallback_on: {shown(check)} is async; a check of the response is a plain function")
        if verdict:
            name = str(getattr(check, "__name__", type(check).__name__))
            return f"{name}: {redact(verdict)[:_LONGEST_WORDS]}" if isinstance(verdict, str) else name
    return None


@on_response
def empty_answer(response: Any) -> bool:
    """No text, no tool call, no audio in any choice."""
    fields = ("tool_calls", "audio", "function_call")
    return not any(text_of(m) or any(get(m, name) for name in fields) for m, _ in _told(response))


@on_response
def refusal(response: Any) -> bool:
    """Refused or filtered, by the finish reason or the ``refusal`` field (never by reading the text)."""
    return any(str(end).lower() in _REFUSED or bool(get(message, "refusal")) for message, end in _told(response))


@on_response
def tool_call_as_text(response: Any, kwargs: Mapping[str, Any]) -> bool:
    """Tools were offered and the model wrote its call into the text."""
    if not (kwargs.get("tools") or kwargs.get("functions")):
        return False
    return any(not get(m, "tool_calls") and _CALL_IN_TEXT.search(text_of(m)) is not None for m, _ in _told(response))


@on_response
def json_mismatch(response: Any, kwargs: Mapping[str, Any]) -> bool:
    """JSON was asked for (``response_format``) and the answer is none, or does not match the schema."""
    wanted = kwargs.get("response_format")
    schema = _schema(wanted)
    if schema is None and not (isinstance(wanted, Mapping) and wanted.get("type") == "json_object"):
        return False
    for message, _ in _told(response):
        if get(message, "tool_calls"):
            continue
        try:
            value = json.loads(text_of(message))
        except ValueError:
            return True
        if schema is not None and not _valid(value, schema):
            return True
    return False


READY = (empty_answer, refusal, tool_call_as_text, json_mismatch)


class Judged:
    """See ``judged``."""

    router_plugin_reads_response = True

    def __init__(self, judge: Any, least: float) -> None:
        self.by, self.least = judge, least
        name = getattr(judge, "__name__", type(judge).__name__)
        self.__name__ = self.__qualname__ = f"judged({name})"

    def __repr__(self) -> str:
        return self.__name__

    def __call__(self, response: Any, kwargs: Mapping[str, Any]) -> str | None:
        return self.why_not(response, kwargs, None)

    def why_not(self, response: Any, kwargs: Mapping[str, Any], beside: Any) -> str | None:
        """Why the judge does not want the answer, in words; None where it does. ``beside`` asks its models (None: they
        are asked with litellm's defaults). A judge that fails gives no score, as one that is no number does."""
        by = import_module("router_plugin.learn.judges.making").made(self.by, beside)
        asked = 0 if beside is None else beside.nano
        try:
            found = by.judge({"messages": kwargs.get("messages")}, _said(response))
            score = float(math.nan if found.score is None else found.score)
            own = round(float(getattr(found, "cost_usd", 0.0)) * 1e9)
        except BudgetExceededError:
            return f"{self.__name__}: no score, a budget does not leave enough for it"
        except Exception as error:
            return f"{self.__name__}: no score, {type(error).__name__}"
        if beside is not None and own > beside.nano - asked:  # of a judge that asks by itself
            beside.charge(own - beside.nano + asked, type(self.by).__name__)
        if score >= self.least:
            return None
        if score < self.least:
            return f"{self.__name__}: {score:.2f} is below {self.least:g}"
        # What stands behind the colon may quote the answer, which is not for the record.
        why = str(getattr(found, "reason", None) or "").partition(":")[0] if is_spec(self.by) else ""
        return f"{self.__name__}: no score" + (f", {redact(why)[:_LONGEST_WORDS]}" if why else "")


def judged(judge: Any, least: float = _LEAST) -> Judged:
    """A check: a judge (a spec, a judge object, a function of request and answer) scores the answer below ``least``
    (0..1), or gives no score. Needs the extra ``learn``.

    The judge's model is asked where the router says, if it knows a deployment of that name or model; what it costs is
    in ``attempts`` and ``cost_usd`` of the result, in the budgets, and within ``max_cost``. A judge object that asks by
    itself is counted by the ``cost_usd`` of its judgement, after the fact. In async calls judges run in a thread.

    Raises: SpecError for what is no judge, and for a ``least`` that is no number in 0..1.
    """
    if isinstance(least, bool) or not isinstance(least, (int, float)) or not 0 <= least <= 1:
        raise SpecError(f"judged: least: must be a number between 0 and 1, not {shown(least)}")
    if not (is_judge(judge) or isinstance(judge, Mapping) or callable(judge)):
        raise SpecError(
            f"judged: give a judge's spec, a stored judge, or a function (request, answer), not {shown(judge)}"
        )
    return Judged(judge.spec if _is_stored(judge) else judge, least)


def judge_of(data: Mapping[str, Any]) -> Judged:
    """The check that a document describes: a judge's spec, or ``{"judge": spec, "least": 0.7}``.

    Raises: SpecError naming the field and what would be right.
    """
    given = data if "model_type" not in data else {"judge": data}
    for name in given:
        if name not in ("judge", "least"):
            raise SpecError(f"judge: unknown field {shown(name)}; a judge is its spec (with 'model_type'), or "
                            "{'judge': spec, 'least': 0.7}")  # fmt: skip
    spec = import_module("router_plugin.learn.judges.specs").spec_of_judge(given.get("judge"))
    return judged(spec, given.get("least", _LEAST))  # type: ignore[arg-type]  # it is looked at there


def judge_document(check: Any) -> dict[str, Any] | None:
    """What ``judge_of`` makes the check of again; None where it is no judge, or a judge that no document can hold."""
    if not isinstance(check, Judged):
        return None
    spec = import_module("router_plugin.learn.judges.making").spec_in(check.by)
    return None if spec is None else {"judge": spec.document(), "least": check.least}


def _said(response: Any) -> str:
    """What a judge reads of an answer: its text and its tool calls."""
    parts = [text_of(message) for message, _ in _told(response)]
    parts += [f"[tool call] {name}({given})" for message, _ in _told(response) for name, given in tool_calls(message)]
    return "\n".join(part for part in parts if part)


def is_judge(value: Any) -> bool:
    """Whether it is a judge and no function: see ``judged``."""
    if isinstance(value, type):
        return False
    return callable(getattr(value, "judge", None)) or hasattr(value, "model_type") or _is_stored(value)


def _is_stored(judge: Any) -> bool:
    """Whether it is a judge as ``client.judges`` gives it: what counts of it is its spec."""
    return hasattr(getattr(judge, "spec", None), "model_type") and not callable(getattr(judge, "judge", None))


def is_spec(judge: Any) -> bool:
    """Whether it is what a judge is made of, and no object that judges in its own way."""
    return isinstance(judge, Mapping) or hasattr(judge, "model_type")


def unsure(least: float) -> Callable[..., str | None]:
    """A check: the geometric mean of the probabilities of the answer's tokens is below ``least`` (0..1), or nobody
    knows it (ask for ``logprobs=True``). Long answers are not punished for their length.

    Source: length-normalised sequence probability, as cascades use it (FrugalGPT, AutoMix).
    """

    def unsure_answer(response: Any) -> str | None:
        found = [_logprobs(choice) for choice in get(response, "choices") or ()]
        if not all(found) or not found:
            return "no probabilities came with the answer"
        mean = min(math.exp(sum(one) / len(one)) for one in found)
        return f"its tokens have a mean probability of {mean:.2f}, below {least:g}" if mean < least else None

    return on_response(unsure_answer)


def _logprobs(choice: Any) -> list[float]:
    """The log probabilities of a choice's tokens, in OpenAI's form."""
    tokens = get(get(choice, "logprobs") or {}, "content") or ()
    values = [get(token, "logprob") for token in tokens]
    return [float(value) for value in values if isinstance(value, (int, float))]


def _schema(wanted: Any) -> Any:
    if isinstance(wanted, Mapping):
        inner = wanted.get("json_schema")
        found = inner.get("schema") if isinstance(inner, Mapping) else wanted.get("schema")
        return found if isinstance(found, Mapping) else None
    make = getattr(wanted, "model_json_schema", None)
    return make() if callable(make) else None


def _valid(value: Any, schema: Any) -> bool:
    import jsonschema  # type: ignore[import-untyped]  # litellm brings it

    validator = jsonschema.validators.validator_for(schema)
    return bool(validator(schema).is_valid(value))
