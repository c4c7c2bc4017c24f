"""Rate-limit headers of every provider, as facts.

======================= ========================================================================================
OpenAI, Azure, Groq, …  ``x-ratelimit-{limit,remaining,reset}-{requests,tokens}``; Go durations; Azure: -1 = unknown
Anthropic               ``anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}``;
                        RFC 3339
OpenRouter, IETF draft  ``x-ratelimit-{limit,remaining,reset}``, ``ratelimit-{…}``; epoch ms, seconds
======================= ========================================================================================

Headers are read as they came over the wire, since litellm drops those of several providers. A header that cannot be
read is no header: nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..records import RateWindow
from .retry_after import parse_wait

_NAME = re.compile(
    r"(?:llm_provider-)?(?:x-|anthropic-)?ratelimit-(?:(?P<part>limit|remaining|reset)(?:-(?P<kind>requests|tokens))?"
    r"|(?P<kind2>requests|tokens|input-tokens|output-tokens)-(?P<part2>limit|remaining|reset))\Z"
)
_WHOLE = re.compile(r"\d{1,15}\Z", re.ASCII)
_LONGEST_RESET_S = 86_400.0  # a day's quota; what is further away is no rate limit
# One look a header, for the great many answers that have none of these.
_MARK, _MARK_UPPER, _MARK_CAPITALS = b"atelimit", b"ateLimit", b"RATELIMIT"


def rate_windows(raw: Iterable[tuple[bytes, bytes]], wall: float) -> tuple[RateWindow, ...]:
    """The windows in an answer's headers (httpx's ``headers.raw``); ``wall`` is epoch seconds now."""
    found: dict[str, dict[str, str]] | None = None
    for name, value in raw:
        if _MARK in name or _MARK_UPPER in name or _MARK_CAPITALS in name:
            if found is None:
                found = {}
            _note(found, name.decode("latin-1").lower(), value.decode("latin-1").strip())
    return () if found is None else tuple(_windows(found, wall))


def _note(found: dict[str, dict[str, str]], name: str, value: str) -> None:
    match = _NAME.match(name)
    if match is not None:
        kind = match["kind"] or match["kind2"] or "requests"
        found.setdefault(kind, {}).setdefault(match["part"] or match["part2"], value)


def _windows(found: dict[str, dict[str, str]], wall: float) -> Iterable[RateWindow]:
    for kind, parts in found.items():
        limit, remaining = _count(parts.get("limit")), _count(parts.get("remaining"))
        reset = parse_wait(parts.get("reset"), wall)
        if reset is not None and reset > _LONGEST_RESET_S:
            reset = None
        if limit == 0 or (remaining == 0 and limit is None and reset is None):
            continue  # "0 of 0" is how some say that they do not know
        if remaining is not None:
            yield RateWindow(kind, limit, remaining, reset)


def _count(value: str | None) -> int | None:
    """A whole number >= 0; None for -1 (unknown), nonsense and other digits than ASCII's. ``100, 100;w=60`` is 100."""
    text = (value or "").split(",", 1)[0].split(";", 1)[0].strip()
    return int(text) if _WHOLE.match(text) else None
