"""Field values for conditions: what they are asked of, and how a path is walked."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from ..spec.paths import Path


class _Missing(enum.Enum):
    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing.MISSING  # a field that is not there; None is there


class Fields(Protocol):
    """What conditions read: the value at a path, or MISSING."""

    def get(self, path: Path) -> Any: ...


def lookup(data: Any, path: Path) -> Any:
    """The value at ``path`` in nested mappings and lists, else MISSING. Never raises.

    An int indexes a list or tuple and is, as text, a key of a mapping. Pydantic models are read as their dump.
    """
    for part in path:
        try:
            if not isinstance(data, (Mapping, list, tuple)):
                dump = getattr(data, "model_dump", None)
                data = dump() if callable(dump) else None
            if isinstance(data, Mapping):
                data = data.get(part if isinstance(part, str) else str(part), MISSING)
            elif isinstance(data, (list, tuple)) and isinstance(part, int) and part < len(data):
                data = data[part]
            else:
                return MISSING
        except Exception:  # someone else's mapping or model
            return MISSING
    return data


UNREAD = object()


class Reader:
    """The fields of one request, each fetched when it is first asked for and then kept, by its number."""

    __slots__ = ("_fields", "_paths", "hits", "values")

    def __init__(self, fields: Fields, paths: Sequence[Path]) -> None:
        self._fields, self._paths = fields, paths
        self.values: list[Any] = [UNREAD] * len(paths)
        self.hits: dict[int, frozenset[int] | None] = {}  # of the regexes that share a field

    def __getitem__(self, slot: int) -> Any:
        value = self.values[slot]
        if value is UNREAD:
            value = self.values[slot] = self._fields.get(self._paths[slot])
        return value

    def known(self) -> list[Any]:
        return [MISSING if value is UNREAD else value for value in self.values]
