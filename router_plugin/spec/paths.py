"""Field paths: ``a.b``, ``a.0.b`` and ``a[0].b`` (the same), and ``a["x.y"].b`` where a key holds a dot or a bracket,
as names of deployments and budgets may (``stats["openai/gpt-4.1"].ttft_ms``)."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from ..redact import shown

MAX_PATH = 512  # characters
MAX_PARTS = 32

Path = tuple[str | int, ...]
_PART = re.compile(r"""(\.?)([^.\[\]"']+)|\[(0|[1-9][0-9]{0,8})\]|\["([^"]+)"\]|\['([^']+)'\]""")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


def path_of(text: Any) -> Path:
    """The parts of a field path. A part of digits is an int: it indexes a list, and is a key of a mapping.

    Raises: ValueError that says what a path looks like.
    """
    if not isinstance(text, str):
        raise ValueError(f"must be a field path such as 'user.tier', not {shown(text)} ({type(text).__name__})")
    if len(text) > MAX_PATH:
        raise ValueError(f"must be at most {MAX_PATH} characters, got {len(text)}")
    parts: list[str | int] = []
    at = 0
    while text.isprintable() and (part := _PART.match(text, at)):
        dot, name, index, *quoted = part.groups()
        if name is not None and (dot == "") != (at == 0):
            break  # "a[0]b", ".a"
        at = part.end()
        plain = index or (name if name and _INDEX.fullmatch(name) else None)
        parts.append(int(plain) if plain else name or quoted[0] or quoted[1])
    if at < len(text) or not parts:
        raise ValueError(f"must be a field path such as 'user.tier', 'items[0].id' or 'a[\"x.y\"]', got {shown(text)}")
    if len(parts) > MAX_PARTS:
        raise ValueError(f"must have at most {MAX_PARTS} parts, got {len(parts)}")
    return tuple(parts)


def _path_text(value: Any) -> Any:
    path_of(value)
    return value


FieldPath = Annotated[str, BeforeValidator(_path_text)]
