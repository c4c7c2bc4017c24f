"""Reading a request: what it needs, and token figures whose upper bound is true."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_plugin.decide.request import read_request
from router_plugin.errors import SpecError
from router_plugin.spec import capability as cap


def ask(content: object, **kwargs: object):
    return read_request({"messages": [{"role": "user", "content": content}], **kwargs})


@given(st.text(max_size=400))
def test_the_upper_bound_holds_for_any_tokeniser_over_bytes(text: str) -> None:
    request = ask(text)
    assert request.low <= request.estimate <= request.upper
    assert request.upper >= len(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("odd", ["é", "’", "中", "🙂", "\ud83d"])
@pytest.mark.parametrize("size", [16_383, 16_384, 16_385, 50_000])
def test_the_bytes_of_a_long_text_are_all_counted(odd: str, size: int) -> None:
    for text in ("a" * (size - 1) + odd, odd + "a" * (size - 1), "a" * 16_383 + odd * 3 + "a" * size):
        frame = ask("a").upper - 1
        assert ask(text).upper == frame + len(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("kwargs", "needs"),
    [
        ({}, 0),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, cap.TOOLS),
        ({"functions": [{"name": "f"}]}, cap.TOOLS),
        ({"tools": [{"type": "function"}], "parallel_tool_calls": True}, cap.TOOLS | cap.PARALLEL_TOOLS),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, cap.JSON_SCHEMA),
        ({"response_format": {"type": "json_object"}}, cap.JSON_MODE),
        ({"modalities": ["text", "audio"]}, cap.AUDIO_OUTPUT),
        ({"reasoning_effort": "low"}, cap.REASONING),
        ({"reasoning_effort": "none"}, 0),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, cap.REASONING),
        ({"stream": True}, cap.STREAMING),
    ],
)
def test_needs_come_from_the_keywords(kwargs: dict, needs: int) -> None:
    assert ask("hi", **kwargs).needs == needs


@pytest.mark.parametrize(
    ("part", "needs"),
    [
        ({"type": "image_url", "image_url": {"url": "https://x/y.png"}}, cap.VISION),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, cap.AUDIO_INPUT),
        ({"type": "file", "file": {"file_data": "AAAA"}}, cap.FILES),
        ({"type": "text", "text": "hi"}, 0),
        ({"type": "made_up", "x": 1}, 0),
    ],
)
def test_needs_come_from_the_parts(part: dict, needs: int) -> None:
    assert ask([part]).needs == needs


def test_a_file_that_is_only_referred_to_has_no_bound_of_its_own() -> None:
    assert ask([{"type": "file", "file": {"file_id": "f-1"}}]).upper > 1 << 60


def test_a_system_message_is_a_need() -> None:
    request = read_request({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]})
    assert request.needs == cap.SYSTEM


def test_tool_schemas_and_tool_calls_count() -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "d" * 1000}}]
    assert ask("hi", tools=tools).upper > 1000
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "a" * 1000}}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    assert read_request({"messages": [message]}).upper > 1000


@pytest.mark.parametrize(
    ("given_caps", "cap_tokens"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 3}, 3),
        ({"max_tokens": "100"}, 100),
        ({"max_tokens": 100.0}, 100),
        ({"max_tokens": 10**9}, 10**9),
        ({"max_tokens": None}, None),
    ],
)
def test_the_callers_cap(given_caps: dict, cap_tokens: int | None) -> None:
    assert ask("hi", **given_caps).cap == cap_tokens


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n", "best_of"])
@pytest.mark.parametrize("value", [0, -1, True, 2.5, "lots", [], float("nan"), float("inf")], ids=repr)
def test_a_count_that_is_none_is_an_error_that_names_it(name: str, value: object) -> None:
    with pytest.raises(SpecError, match=f"{name}: must be a whole number of at least 1"):
        ask("hi", **{name: value})


@pytest.mark.parametrize(("given", "n"), [({"n": 5}, 5), ({"n": "5"}, 5), ({"n": 5.0}, 5), ({"n": 2, "best_of": 4}, 4)])
def test_answers_asked_for_are_counted_however_they_are_written(given: dict, n: int) -> None:
    assert ask("hi", **given).n == n


@pytest.mark.parametrize("messages", [None, 5, "hi", b"hi", [5], [None], [{"role": "user", "content": 5}]])
def test_messages_that_are_none_are_an_error_that_says_so(messages: object) -> None:
    with pytest.raises(SpecError, match="messages"):
        read_request({"messages": messages})


def test_cjk_is_about_a_token_a_character() -> None:
    assert 90 <= ask("漢" * 100).estimate <= 120


@pytest.mark.parametrize("text", ["\ud800", "😀" * 10, "é́́" * 50])
def test_strange_text_is_counted(text: str) -> None:
    assert ask(text).upper >= len(text)


def test_pydantic_messages_are_read() -> None:
    from litellm.types.utils import Message

    assert read_request({"messages": [Message(role="assistant", content="hello there")]}).upper >= 11
