"""Answers that are not wanted: functions of the response for ``fallback_on``.

``Router(…, fallback_on=[checks.empty_answer, checks.refusal])``: where one says True of an answer, the next deployment
is asked; the answer stays paid for. They need the whole answer, so a stream is held back until its end. Where nothing
else is left to ask, the answer is returned as it is.

Your own: a function whose first parameter is called ``response`` (or ``answer``), or any function under
``@on_response``; a second parameter gets the call's keyword arguments. It is given litellm's response object, or what
the wrapped function returned.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from .errors import SpecError
from .redact import shown

_Function = TypeVar("_Function", bound=Callable[..., Any])
_NAMES = ("response", "answer")
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
    """The name of the first check that does not want this answer; None where all do. Their errors are the caller's."""
    for check in checks:
        verdict = check(response, kwargs) if _takes_both(check) else check(response)
        if inspect.isawaitable(verdict):
            getattr(verdict, "close", lambda: None)()
            raise SpecError(f"fallback_on: {shown(check)} is async; a check of the response is a plain function")
        if verdict:
            return getattr(check, "__name__", type(check).__name__)
    return None


def _takes_both(check: Any) -> bool:
    """Whether a check has a second parameter that has to be given: it gets the call's keyword arguments."""
    try:
        parameters = inspect.signature(check).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters) > 1


@on_response
def empty_answer(response: Any) -> bool:
    """No text, no tool call, no audio in any choice."""
    fields = ("tool_calls", "audio", "function_call")
    return not any(_text(m) or any(_get(m, name) for name in fields) for m, _ in _told(response))


@on_response
def refusal(response: Any) -> bool:
    """Refused or filtered, by the finish reason or the ``refusal`` field (never by reading the text)."""
    return any(str(end).lower() in _REFUSED or bool(_get(message, "refusal")) for message, end in _told(response))


@on_response
def tool_call_as_text(response: Any, kwargs: Mapping[str, Any]) -> bool:
    """Tools were offered and the model wrote its call into the text."""
    if not (kwargs.get("tools") or kwargs.get("functions")):
        return False
    return any(not _get(m, "tool_calls") and _CALL_IN_TEXT.search(_text(m)) is not None for m, _ in _told(response))


@on_response
def json_mismatch(response: Any, kwargs: Mapping[str, Any]) -> bool:
    """JSON was asked for (``response_format``) and the answer is none, or does not match the schema."""
    wanted = kwargs.get("response_format")
    schema = _schema(wanted)
    if schema is None and not (isinstance(wanted, Mapping) and wanted.get("type") == "json_object"):
        return False
    for message, _ in _told(response):
        if _get(message, "tool_calls"):
            continue
        try:
            value = json.loads(_text(message))
        except ValueError:
            return True
        if schema is not None and not _valid(value, schema):
            return True
    return False


READY = (empty_answer, refusal, tool_call_as_text, json_mismatch)


def judged(judge: Any, least: float = 0.5) -> Callable[..., bool]:
    """A check: a judge (a spec, a judge object, a function of request and answer) scores the answer below ``least``
    (0..1), or gives no score. Needs the extra ``learn``. A judge that asks a model asks it while the call waits, in
    async calls too, and is paid for beside the call.
    """
    made: list[Any] = []

    def judged_answer(response: Any, kwargs: Mapping[str, Any]) -> bool:
        if not made:
            made.append(import_module("router_plugin.learn.judges.making").made(judge, None))
        text = "\n".join(_text(message) for message, _ in _told(response))
        score = made[0].judge({"messages": kwargs.get("messages")}, text).score
        return score is None or score < least

    return on_response(judged_answer)


def is_judge(value: Any) -> bool:
    """Whether it is a judge and no function: see ``judged``."""
    return not isinstance(value, type) and (callable(getattr(value, "judge", None)) or hasattr(value, "model_type"))


def unsure(least: float) -> Callable[..., bool]:
    """A check: the geometric mean of the probabilities of the answer's tokens is below ``least`` (0..1), or nobody
    knows it (ask for ``logprobs=True``). Long answers are not punished for their length.

    Source: length-normalised sequence probability, as cascades use it (FrugalGPT, AutoMix).
    """

    def unsure_answer(response: Any) -> bool:
        found = [_logprobs(choice) for choice in _get(response, "choices") or ()]
        return not found or any(not one or math.exp(sum(one) / len(one)) < least for one in found)

    return on_response(unsure_answer)


def _logprobs(choice: Any) -> list[float]:
    """The log probabilities of a choice's tokens, in OpenAI's form."""
    tokens = _get(_get(choice, "logprobs") or {}, "content") or ()
    values = [_get(token, "logprob") for token in tokens]
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


def _get(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


def _text(message: Any) -> str:
    content = _get(message, "content")
    if isinstance(content, str):
        return content
    return "".join(str(_get(part, "text") or "") for part in content) if isinstance(content, list) else ""


def _told(response: Any) -> list[tuple[Any, Any]]:
    """(message, finish reason) of every choice; of Anthropic's own answers the answer itself."""
    choices = _get(response, "choices")
    if choices is None:
        return [(response, _get(response, "stop_reason"))]
    return [(_get(choice, "message") or {}, _get(choice, "finish_reason")) for choice in choices]
