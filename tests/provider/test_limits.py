"""Rate-limit headers of every provider, in every format they come in (hazards.md section 2)."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from router_plugin.provider.limits import rate_windows
from router_plugin.records import RateWindow

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def read(headers: dict[str, str]) -> dict[str, RateWindow]:
    raw = [(name.encode("latin-1"), value.encode("utf-8")) for name, value in headers.items()]
    return {window.kind: window for window in rate_windows(raw, NOW)}


def openai(kind: str, limit: str, remaining: str, reset: str) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{kind}": limit,
        f"x-ratelimit-remaining-{kind}": remaining,
        f"x-ratelimit-reset-{kind}": reset,
    }


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("12ms", 0.012),
        ("1h2m3s", 3723.0),
        ("2m59.56s", 179.56),
        ("7.66s", 7.66),
        ("0s", 0.0),
    ],
)
def test_resets_are_durations(reset: str, seconds: float) -> None:
    window = read(openai("tokens", "150000", "149984", reset))["tokens"]
    assert (window.limit, window.remaining) == (150_000, 149_984)
    assert window.reset_s == pytest.approx(seconds)


def test_anthropic_tells_of_four_windows_with_rfc_3339_resets() -> None:
    at = datetime.datetime.fromtimestamp(NOW + 30, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    headers = {}
    for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
        headers |= {
            f"anthropic-ratelimit-{kind}-limit": "1000",
            f"anthropic-ratelimit-{kind}-remaining": "7",
            f"anthropic-ratelimit-{kind}-reset": at,
        }
    windows = read(headers)
    assert set(windows) == {"requests", "tokens", "input-tokens", "output-tokens"}
    assert all(w.remaining == 7 and w.reset_s == pytest.approx(30) for w in windows.values())


def test_openrouter_and_the_ietf_draft() -> None:
    epoch_ms = str(int((NOW + 12) * 1e3))
    router = read({"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": epoch_ms})
    assert router["requests"] == RateWindow("requests", 20, 0, pytest.approx(12.0))
    draft = read({"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "55", "ratelimit-reset": "9"})
    assert draft["requests"] == RateWindow("requests", 100, 55, 9.0)


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e9", "٣", "", "lots", "9" * 40])
def test_a_count_that_is_none_is_no_header(value: str) -> None:
    assert read(openai("requests", "100", value, "1s")) == {}


@pytest.mark.parametrize("value", ["-5", "nan", "inf", "soon", "٣s", "9999999999999999999999"])
def test_a_reset_that_is_none_leaves_the_counts(value: str) -> None:
    raw = [(k.encode(), v.encode("utf-8")) for k, v in openai("requests", "100", "3", value).items()]
    (window,) = rate_windows(raw, NOW)
    assert (window.remaining, window.reset_s) == (3, None)


def test_azures_zero_of_zero_is_unknown() -> None:
    assert read(openai("requests", "0", "0", "0")) == {}
    assert read({"x-ratelimit-remaining-tokens": "0"}) == {}


@pytest.mark.parametrize(
    "headers", [{}, {"content-type": "text/html"}, {"x-ratelimit": "1"}, {"x-ratelimit-foo-bar": "2"}]
)
def test_other_headers_are_none_of_ours(headers: dict[str, Any]) -> None:
    assert read(headers) == {}
