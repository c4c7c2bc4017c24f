"""Waits that providers ask for, in every format met."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_plugin.provider.retry_after import parse_wait, wait_wanted

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        ("7.66", 7.66),
        ("0", 0),
        ("1s", 1),
        ("6m0s", 360),
        ("12ms", 0.012),
        ("1h2m3s", 3723),
        ("7.66s", 7.66),
        ("2m59.56s", 179.56),
        ("86400", 86_400),
        ("1767225610", 10),
        ("1767225610000", 10),
        ("Thu, 01 Jan 2026 00:00:20 GMT", 20),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("2026-01-01T00:00:05Z", 5),
        ("2026-01-01T01:00:05+01:00", 5),
    ],
)
def test_formats(text: str, seconds: float) -> None:
    assert parse_wait(text, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", " ", "nan", "inf", "-1", "-inf", "٣", "１", "soon", "1e9", "x" * 100, None, 5])
def test_nonsense_is_no_wish(text: object) -> None:
    assert parse_wait(text, NOW) is None


@given(st.text(max_size=80))
def test_the_parser_never_raises(text: str) -> None:
    value = parse_wait(text, NOW)
    assert value is None or value >= 0


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "9"}, "", 0.25),
        ({"Retry-After": "3"}, "", 3),
        ({"llm_provider-retry-after": "4"}, "", 4),
        ({}, "Please retry after 37 seconds.", 37),
        ({}, "Please try again in 20ms.", 0.02),
        ({}, "try again in 1.5s", 1.5),
        ({}, '{"error": {"details": [{"retryDelay": "52s"}]}}', 52),
        ({}, "no idea", None),
        (None, "", None),
    ],
)
def test_where_the_wish_is_found(headers: dict | None, message: str, seconds: float | None) -> None:
    assert wait_wanted(headers, message, NOW) == seconds
