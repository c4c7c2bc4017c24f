"""What an answer says, read from anybody's answer object, and the form in which two answers are compared."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

_MARKED = re.compile(r"(?i)\banswer(?:\s+is\b\s*:?|\s*[:=])\s*(.+)|\\boxed\{([^{}]+)\}|^####\s*(.+)", re.MULTILINE)
_CHOICE = re.compile(r"\(?([A-J])(?:\)?[.:,;]?$|\)|:\s)")
_NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?|[+-]?\.\d+")
_EMPHASIS = re.compile(r"[*_`$]+|\\[()\[\]]")
_LONGEST = 100_000  # characters at the end of an answer that are read
_LONGEST_LAST_LINE = 200  # characters: the last number of a longer paragraph is not what it says
_CUT = ("length", "max_tokens")


def get(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


def text_of(message: Any) -> str:
    content = get(message, "content")
    if isinstance(content, str):
        return content
    return "".join(str(get(part, "text") or "") for part in content) if isinstance(content, list) else ""


def told(response: Any) -> list[tuple[Any, Any]]:
    """(message, finish reason) of every choice; of Anthropic's own answers the answer itself."""
    choices = get(response, "choices")
    if choices is None:
        return [(response, get(response, "stop_reason"))]
    return [(get(choice, "message") or {}, get(choice, "finish_reason")) for choice in choices]


def tool_calls(message: Any) -> Iterator[tuple[str, str]]:
    """(name, arguments) of the tool calls in a message; arguments that mean the same are the same text."""
    found = list(get(message, "tool_calls") or ())
    functions = [get(call, "function") for call in found] + [get(message, "function_call")]
    for function in functions:
        if function is not None:
            yield str(get(function, "name")), _canonical(get(function, "arguments"))
    content = get(message, "content")
    for part in content if isinstance(content, list) else ():
        if get(part, "type") == "tool_use":
            yield str(get(part, "name")), _canonical(get(part, "input"))


def form(response: Any) -> Hashable:
    """What an answer comes to, so that equal ones say the same; None where it says nothing or was cut short.

    Rule, of the first choice: its tool calls, in any order; else its JSON value; else what it marks as its answer ("the
    answer is …", "Answer: …", \\boxed{…}, "#### …"): the letter of a choice, the numbers in it, or its words; else the
    letter or the last number in its last line; else its words, without case, marks and spacing.
    Source: the parsing of final answers in self-consistency (Wang et al. 2023, section 3.1 and appendix).
    """
    choices = told(response)
    if not choices or choices[0][1] in _CUT:
        return None
    calls = sorted(tool_calls(choices[0][0]))
    if calls:
        return ("calls", *calls)
    text = unicodedata.normalize("NFKC", text_of(choices[0][0])[-_LONGEST:]).replace("\u2212", "-").strip()
    if text[:1] in ("{", "["):
        try:
            return "json", json.dumps(json.loads(text), sort_keys=True)
        except (ValueError, RecursionError):
            pass
    marked = [next(part for part in found.groups() if part) for found in _MARKED.finditer(text)]
    if marked:
        said = _EMPHASIS.sub("", marked[-1]).strip()
        return _choice(said) or tuple(_numbers(said)) or _words(said)
    last = _EMPHASIS.sub("", text.splitlines()[-1]).strip() if text else ""
    if len(last) > _LONGEST_LAST_LINE:
        return _words(text)
    return _choice(last) or tuple(_numbers(last)[-1:]) or _words(text)


def _choice(text: str) -> str | None:
    found = _CHOICE.match(text)
    return found[1] if found else None


def _numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in _NUMBER.findall(text)]


def _words(text: str) -> str | None:
    return " ".join(re.findall(r"\w+", _EMPHASIS.sub("", text).casefold())) or text.strip() or None


def _canonical(arguments: Any) -> str:
    try:
        value = json.loads(arguments) if isinstance(arguments, str) else arguments
        return json.dumps(value, sort_keys=True, default=str)
    except (ValueError, RecursionError):
        return str(arguments).strip()
