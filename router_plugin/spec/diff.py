"""What changed between two documents, one line a change, by the names that people gave things."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def diff(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Lines such as ``~ rules[premium].targets[0].weight: 0.9 -> 0.5``; "" where nothing changed."""
    before, after = dict(_flat("", old)), dict(_flat("", new))
    lines = []
    for path in dict.fromkeys((*before, *after)):
        if path not in after:
            lines.append(f"- {path}: {before[path]}")
        elif path not in before:
            lines.append(f"+ {path}: {after[path]}")
        elif before[path] != after[path]:
            lines.append(f"~ {path}: {before[path]} -> {after[path]}")
    return "\n".join(lines)


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(f"{path}.{key}" if path else key, inner)
    elif isinstance(value, list) and value and path:
        named = [_name(item) for item in value]
        apart = all(named) and len(set(named)) == len(named)
        if apart and not all(isinstance(item, str) for item in value):
            yield f"{path} (order)", ", ".join(map(str, named))
        for number, item in enumerate(value):
            inner = f"{path}[{named[number] if apart else number}]"
            if isinstance(item, str):
                yield inner, "listed" if apart else json.dumps(item, ensure_ascii=False)
            else:
                yield from _flat(inner, item)
    else:
        yield path, json.dumps(value, ensure_ascii=False)


def _name(item: Any) -> str | None:
    if isinstance(item, str):
        return item
    for key in ("name", "model_name", "model"):
        if isinstance(item, dict) and isinstance(item.get(key), str):
            return str(item[key])
    return None
