"""How long a provider asks to wait, from headers or the message, in seconds.

Formats met: seconds, milliseconds (``retry-after-ms``), Go durations (``6m0s``, ``7.66s``, ``12ms``), HTTP dates,
RFC 3339, epoch seconds and milliseconds by magnitude. Nonsense (NaN, inf, negatives, non-ASCII digits) is no wish at
all; a parser error never raises.
"""

from __future__ import annotations

import email.utils
import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?\Z", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?\Z", re.ASCII)
_IN_TEXT = re.compile(
    r"(?:retry|try again) (?:after|in) (\d+(?:\.\d+)?) ?(ms|milliseconds?|s|seconds?|m|minutes?)\b", re.I
)
_RETRY_DELAY = re.compile(r'"retryDelay"\s*:\s*"(\d+(?:\.\d+)?)s"')


def parse_wait(text: Any, wall: float) -> float | None:
    """Seconds from ``wall`` (epoch seconds) that a header value asks for; None where it says nothing usable."""
    if not isinstance(text, str):
        return None
    value = text.strip()
    if not value or len(value) > 64 or not value.isascii():
        return None
    if _NUMBER.match(value):
        number = float(value)
        if number > 1e11:  # epoch milliseconds
            number = number / 1e3 - wall
        elif number > 1e8:  # epoch seconds
            number -= wall
        return _sane(number)
    match = _DURATION.match(value)
    if match:
        hours, minutes, seconds, millis = (float(part) if part else 0.0 for part in match.groups())
        return _sane(hours * 3600 + minutes * 60 + seconds + millis / 1e3)
    return _date(value, wall)


def _date(value: str, wall: float) -> float | None:
    try:
        if value[:4].isdigit():
            moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        else:
            moment = email.utils.parsedate_to_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return _sane(max(0.0, moment.timestamp() - wall))
    except (ValueError, TypeError, OverflowError):
        return None


def _sane(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def wait_wanted(headers: Mapping[str, Any] | None, message: str, wall: float) -> float | None:
    """The wait a failure asks for: ``retry-after-ms``, then ``retry-after``, then what the message says."""
    if headers:
        lower = {str(key).lower().removeprefix("llm_provider-"): value for key, value in headers.items()}
        millis = lower.get("retry-after-ms")
        if isinstance(millis, str) and _NUMBER.match(millis.strip()):
            return _sane(float(millis) / 1e3)
        seconds = parse_wait(lower.get("retry-after"), wall)
        if seconds is not None:
            return seconds
    found = _RETRY_DELAY.search(message)
    if found:
        return _sane(float(found.group(1)))
    said = _IN_TEXT.search(message)
    if said:
        unit = said.group(2).lower()
        scale = 1e-3 if unit.startswith(("ms", "mil")) else 60.0 if unit.startswith("m") else 1.0
        return _sane(float(said.group(1)) * scale)
    return None
