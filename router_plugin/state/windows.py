"""Budget windows: which one a moment lies in, and when it ends. Wall-clock seconds, calendar in UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

SECONDS = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_MONDAY = 4 * 86_400  # 1970-01-05, the first Monday of the epoch


def window_start(per: str, wall: float) -> float:
    """Start of the calendar window that holds ``wall``; 0 for a total budget."""
    if per == "total":
        return 0.0
    if per == "month":
        now = datetime.fromtimestamp(wall, timezone.utc)
        return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
    size = SECONDS[per]
    origin = _MONDAY if per == "week" else 0
    return wall - (wall - origin) % size


def window_end(per: str, start: float) -> float | None:
    """When the window that began at ``start`` ends; None for a total budget."""
    if per == "total":
        return None
    if per == "month":
        first = datetime.fromtimestamp(start, timezone.utc)
        return (first.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp()
    return start + SECONDS[per]
