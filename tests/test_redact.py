"""What is secret is said nowhere, and what is not stays readable."""

from __future__ import annotations

import pytest

from router_plugin.redact import redact, shown


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Incorrect API key provided: sk-proj-abc123DEF456.", "Incorrect API key provided: ***"),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer ***"),
        ("bearer abcdef123456 was refused", "bearer *** was refused"),
        ("https://user:pw@host.example/v1/chat", "https://***@host.example/v1/chat"),
        ("see https://host/v1?sig=abc&x=1 for more", "see https://host/v1?*** for more"),
        ("key AIzaSyA1234567890abc is wrong", "key *** is wrong"),
        ('{"api_key": "hello-there"}', '{"api_key": "***"}'),
        ("x-api-key=hello-there, model=m", "x-api-key=***, model=m"),
        ("password: hunter22", "password: ***"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("max_tokens: 4096 is more than 2048", "max_tokens: 4096 is more than 2048"),
        ("the task-oriented model asks for tokens", "the task-oriented model asks for tokens"),
        ("Rate limit reached for gpt-4o in organization org-1", "Rate limit reached for gpt-4o in organization org-1"),
    ],
)
def test_secrets_are_taken_out_of_other_peoples_words(said: str, kept: str) -> None:
    assert redact(said) == kept


def test_a_known_secret_is_found_by_its_value() -> None:
    assert redact("we saw swordfish here", ["swordfish", "", "we"]) == "we saw *** here"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        ("x", "'x'"),
        ({"api_key": "s", "model": "m"}, "a mapping with 'api_key', 'model'"),
        ({}, "an empty mapping"),
        (["a", "b"], "a list of 2"),
        (object(), "a object"),
        ("y" * 500, "'" + "y" * 116 + "…"),
    ],
)
def test_a_wrong_value_is_shown_without_what_is_inside_it(value: object, text: str) -> None:
    assert shown(value) == text
