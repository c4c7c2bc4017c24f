"""What tells one Python function or object from another of the same name: its code, and the values that it holds."""

from __future__ import annotations

import functools
import hashlib
import re
import types
from collections.abc import Mapping
from typing import Any

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_DEEPEST = 8


def fingerprint(value: Any) -> str:
    """16 hexadecimal digits; the same for the same code and values in another process of the same Python."""
    return hashlib.sha256(_told(value, 0).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _told(value: Any, depth: int) -> str:
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, functools.partial):
        return f"partial({_told([value.func, value.args, value.keywords], depth + 1)})"
    if isinstance(value, types.MethodType):
        return f"method({_told([value.__func__, value.__self__], depth + 1)})"
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
        held = [value.__code__, value.__defaults__, value.__kwdefaults__, cells]
        return f"function({_told(held, depth + 1)})"
    if isinstance(value, types.CodeType):
        return f"code({value.co_code.hex()}, {value.co_names}, {_told(value.co_consts, depth + 1)})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{key!r}: {_told(inner, depth + 1)}' for key, inner in value.items()))}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_told(inner, depth + 1) for inner in value)}]"
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(_told(inner, depth + 1) for inner in value))}}}"
    state = getattr(value, "__dict__", None)
    if isinstance(state, dict) and not isinstance(value, (type, types.ModuleType)):
        return f"{type(value).__qualname__}({_told(state, depth + 1)})"
    return _ADDRESS.sub("", repr(value))


def _filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True
