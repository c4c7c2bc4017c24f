"""Which records are meant: the filters of ``list_requests``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ..errors import SpecError, did_you_mean
from ..redact import shown
from .record import Record

_FILTERS = ("since", "until", "model", "rule", "status", "user")


def checked(filters: Mapping[str, Any]) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    for name, value in filters.items():
        if name not in _FILTERS:
            raise SpecError(f"list_requests: unknown filter {name!r}{did_you_mean(name, _FILTERS)}; known: "
                            f"{', '.join(_FILTERS)}")  # fmt: skip
        if value is None:
            continue
        if name in ("since", "until"):
            value = _seconds(name, value)
        elif not isinstance(value, (str, int)):
            raise SpecError(f"{name}: must be text, not {shown(value)}")
        wanted[name] = value if name in ("since", "until") else str(value)
    return wanted


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            raise SpecError(f"{name}: must be a time such as '2026-01-31T12:00:00+00:00', got {shown(value)}") from None
    if isinstance(value, datetime):
        return (value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)).timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SpecError(f"{name}: must be a datetime or seconds of the epoch, not {shown(value)}")
    return float(value)


def fits(record: Record, wanted: Mapping[str, Any]) -> bool:
    for name, value in wanted.items():
        if name in ("since", "until"):
            at = datetime.fromisoformat(record["created_at"]).timestamp()
            if at < value if name == "since" else at >= value:
                return False
        else:
            found = record["matched_rule" if name == "rule" else name]
            if found is None or str(found) != value:
                return False
    return True
