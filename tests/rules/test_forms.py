"""The form in which two answers are compared."""

from __future__ import annotations

from typing import Any

import pytest

from router_plugin.forms import form


def answer(text: str | None = None, end: str = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text, **message}, "finish_reason": end}]}


def called(name: str, arguments: str) -> dict[str, Any]:
    return {"id": name, "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "2 times 21 is\n\n**Answer:** 42.0"),
        ("The total is 1,000.", "so the final answer is $1000."),
        (r"thus \(x = 7\)", r"hence \boxed{7}"),
        ("6 * 7\n#### 42", "It is 42"),
        ("B", "Because of that, the answer is (B)."),
        ("A rose is red.\nAnswer: C", "c?\nThe correct answer is C) a rose"),
        ("Paris", "The answer is: **Paris**."),
        ("It  is PARIS!", "it is paris"),
        ("temperature: \u22123", "-3"),
        ('{"a": 1, "b": [2]}', '{ "b": [2],\n"a": 1}'),
    ],
)
def test_answers_that_say_the_same(one: str, other: str) -> None:
    assert form(answer(one)) == form(answer(other)) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "43"),
        ("B", "C"),
        ("yes", "no"),
        ("Answer: 3 to 5", "Answer: 4 to 5"),
        ("In 2020 it rose.\nThen it fell.", "In 2020 it fell.\nThen it rose."),
        ("J. Doe wrote it", "J. Smith wrote it"),
        ("long " * 60 + "in 1998", "other " * 60 + "in 1998"),
        ('{"a": 1}', '{"a": true}'),
    ],
)
def test_answers_that_do_not(one: str, other: str) -> None:
    assert form(answer(one)) != form(answer(other))


@pytest.mark.parametrize("nothing", [answer(""), answer(None), answer("42", "length"), {"choices": []}, answer("  \n")])
def test_what_says_nothing_or_was_cut_short_has_no_form(nothing: Any) -> None:
    assert form(nothing) is None


def test_tool_calls_are_their_names_and_arguments_in_any_order() -> None:
    ab = [called("a", '{"x": 1, "y": 2}'), called("b", "{}")]
    ba = [called("b", "{ }"), called("a", '{"y":2,"x":1}')]
    assert form(answer(tool_calls=ab)) == form(answer("let me look", tool_calls=ba))
    assert form(answer(tool_calls=ab)) != form(answer(tool_calls=ab[:1]))
    assert form(answer(tool_calls=[called("a", "{broken")])) != form(answer(tool_calls=[called("a", "{}")]))
    anthropic = {"content": [{"type": "tool_use", "name": "b", "input": {}}], "stop_reason": "tool_use"}
    assert form(anthropic) == form(answer(tool_calls=[called("b", "{}")]))
