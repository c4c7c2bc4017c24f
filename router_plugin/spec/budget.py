"""What a budget is: so many dollars per window and key."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from ..errors import SpecError
from ..redact import shown
from .fields import Count, NonNegative, Spec, Text, Usd

Window = Literal["minute", "hour", "day", "week", "month", "total"]


class Budget(Spec):
    """``Budget(usd=5, per="day", key="user")``: at most 5 dollars a day for each user.

    ``key`` is a path into the request (``user``, ``extra.team``, ``metadata.tenant``); without it all traffic shares
    one account. Windows are those of the calendar in UTC, or slide with ``rolling=True``. A request without the key
    counts under one shared account shown as ``(none)``; ``require_key=True`` refuses it. ``wait_s`` lets a call wait
    that long for reservations of others to come back before it is refused. ``max_keys`` bounds the ledger's memory:
    beyond it new keys are refused, none is forgotten.
    """

    usd: Usd
    per: Window = "total"
    key: Text | None = None
    name: Text = ""
    rolling: bool = False
    require_key: bool = False
    wait_s: NonNegative = 0.0
    max_keys: Count = 100_000

    def __init__(self, usd: Any = None, /, **data: Any) -> None:
        if usd is not None:
            data["usd"] = usd
        if not data.get("name"):
            per, key = data.get("per", "total"), data.get("key")
            data["name"] = f"{per} by {key}" if key else f"{per}"
        super().__init__(**data)
        if self.rolling and self.per in ("total", "month"):
            raise SpecError(f"Budget: rolling: a {self.per} budget cannot slide; use minute, hour, day or week")

    @field_validator("key")
    @classmethod
    def _is_path(cls, value: str | None) -> str | None:
        parts = [] if value is None else value.split(".")
        if value is not None and (parts[0] not in ("user", "extra", "metadata") or "" in parts):
            raise ValueError(f"must be 'user' or a path that starts with 'extra.' or 'metadata.', got {shown(value)}")
        if parts[:1] == ["user"] and len(parts) > 1:
            raise ValueError(f"'user' is text and has no fields, got {shown(value)}")
        if value in ("extra", "metadata"):
            raise ValueError(f"{value!r} is a mapping; name a field of it, e.g. '{value}.team'")
        return value
