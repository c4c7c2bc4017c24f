"""Why a rule did not match, in words: the first condition that failed, what it expected and what was found.

What a request says (``prompt``, ``messages``) is never shown, only its kind and length. Of other values as much is kept
as is shown, so a trace holds on to no large value, and shows it as it was when the rule was tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

from ..redact import shown
from ..spec.conditions import Condition
from ..spec.paths import Path
from .conditions import Branch, Verdict
from .fields import MISSING
from .operators import is_number

_PRIVATE = ("prompt", "messages")
_SHORT = 80  # characters
_NEEDS = {
    "contains": ("text, a list or a mapping", ("text", "list", "mapping")),
    "not_contains": ("text, a list or a mapping", ("text", "list", "mapping")),
    "starts_with": ("text", ("text",)),
    "ends_with": ("text", ("text",)),
    "regex_match": ("text", ("text",)),
}
_NUMBER = ("a number", ("number",))


class Kept(NamedTuple):
    """What is kept of a value: its kind, and how it is shown."""

    kind: str
    text: str


def keep(path: Path, value: Any) -> Any:
    """Of a value found at ``path``: itself where it is short, else how it will be shown."""
    if isinstance(value, str):
        if path[0] in _PRIVATE:
            return Kept("text", f"text of {len(value)} characters")
        return value if len(value) <= _SHORT else Kept("text", f"{shown(value)}, {len(value)} characters")
    if value is None or value is MISSING or isinstance(value, bool):
        return value
    if isinstance(value, int) and value.bit_length() > 1_000:
        return Kept("number", f"a number of {value.bit_length()} bits")  # Python refuses to print it
    if path[0] in _PRIVATE:
        size = f" of {len(value)}" if isinstance(value, (list, tuple, Set, Mapping)) else ""
        return Kept(kind(value), f"a {kind(value)}{size}")
    return value if is_number(value) else Kept(kind(value), _shown(value))


def _shown(value: Any) -> str:
    try:
        return shown(value)
    except Exception:  # someone else's mapping
        return f"a {type(value).__name__}"


def kind(value: Any) -> str:
    if isinstance(value, Kept):
        return value.kind
    if isinstance(value, str):
        return "text"
    if is_number(value):
        return "number"
    if isinstance(value, (list, tuple, Set)):
        return "list"
    return "mapping" if isinstance(value, Mapping) else type(value).__name__


def why_not(verdict: Verdict, kept: Sequence[Any]) -> str:
    """Why this condition or group did not hold. ``kept``: what ``keep`` has made of the fields, by their number."""
    node, held, members = verdict
    if isinstance(node, Branch):
        if node.kind == "all":
            failed = sorted((m for m in members if m[1] is not True), key=lambda m: m[1] is None)
            return why_not(failed[0], kept)
        if node.kind == "any":
            return f"none of {len(members)} holds: {'; '.join(why_not(m, kept) for m in members[:3])}"
        return why_not(members[0], kept) if held is None else f"not: {_what(members[0], kept)} holds"
    found = kept[node.slot]
    expected = _expected(node.condition)
    if found is MISSING:
        return f"{expected}: the field is missing"
    text = found.text if isinstance(found, Kept) else shown(found)
    if held is None:
        return f"{expected}: cannot be evaluated: {_objection(node.condition, found)}, found {text}"
    return f"{expected}: found {text}"


def _expected(condition: Condition) -> str:
    if condition.operator in ("exists", "not_exists"):
        return f"{condition.field} {condition.operator}"
    value = condition.value
    if isinstance(value, tuple):
        listed = ", ".join(shown(item) for item in value[:5])
        return f"{condition.field} {condition.operator} [{listed}{', …' if len(value) > 5 else ''}]"
    return f"{condition.field} {condition.operator} {shown(value)}"


def _what(verdict: Verdict, kept: Sequence[Any]) -> str:
    """What held, for a ``not`` that therefore does not."""
    node, _, members = verdict
    if not isinstance(node, Branch):
        return _expected(node.condition)
    if node.kind == "all":
        return f"all of {len(members)}"
    return _what(members[-1], kept) if node.kind == "any" else f"not ({why_not(members[0], kept)})"


def _objection(condition: Condition, found: Any) -> str:
    wanted, kinds = _NEEDS.get(condition.operator, _NUMBER)
    if kind(found) not in kinds:
        return f"it needs {wanted}"
    if kinds == ("number",):
        return "it needs a number that compares"
    if condition.operator in ("contains", "not_contains") and kind(found) != "list":
        return "only text is contained in that"
    return "that is too large to go through"
