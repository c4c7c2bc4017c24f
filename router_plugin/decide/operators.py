"""Operators: each makes, of a condition's value, a test of what is found: True, False, or None (cannot be evaluated).

Typing is that of JSON: True is not 1, "10" is not 10, 1 is 1.0; lists and mappings compare deeply in the same way.
A test never raises, whatever it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any

from ..spec.conditions import Condition
from .fields import MISSING
from .regexes import regex_test

Test = Callable[[Any], "bool | None"]
MAX_ENTRIES = 100_000  # of a list that ``contains`` goes through


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def same(expected: Any, found: Any) -> bool:
    """Typed equality; as deep and long as ``expected`` is, whatever ``found`` is."""
    if isinstance(expected, str):
        return isinstance(found, str) and found == expected
    if expected is None or isinstance(expected, bool):
        return found is expected
    if isinstance(expected, tuple):
        return (
            isinstance(found, (list, tuple)) and len(found) == len(expected) and all(map(same, expected, tuple(found)))
        )
    if isinstance(expected, dict):
        return (
            isinstance(found, Mapping)
            and len(found) == len(expected)
            and all(same(value, found.get(key, MISSING)) for key, value in expected.items())
        )
    return is_number(found) and bool(found == expected)


def _equals(expected: Any) -> Test:
    if isinstance(expected, str):
        return lambda found: isinstance(found, str) and found == expected
    return lambda found: same(expected, found)


def _key(value: Any) -> Any:
    """Of a scalar something hashable that is equal just where ``same`` is; of anything else MISSING."""
    if isinstance(value, bool):
        return (value,)
    return value if value is None or isinstance(value, str) or is_number(value) else MISSING


def _is_in(expected: tuple[Any, ...]) -> Test:
    scalars = {_key(item) for item in expected} - {MISSING}
    nested = [item for item in expected if _key(item) is MISSING]

    def test(found: Any) -> bool:
        if found.__class__ is str:
            return found in scalars
        key = _key(found)
        return key in scalars if key is not MISSING else any(same(item, found) for item in nested)

    return test


def _contains(expected: Any) -> Test:
    is_text = isinstance(expected, str)

    def test(found: Any) -> bool | None:
        if isinstance(found, str):
            return expected in found if is_text else None
        if isinstance(found, Mapping):
            return expected in found if is_text else None
        if not isinstance(found, (list, tuple, Set)) or len(found) > MAX_ENTRIES:
            return None
        return any(same(expected, item) for item in found)

    return test


def _compares(expected: float, compare: Callable[[Any, Any], bool]) -> Test:
    def test(found: Any) -> bool | None:
        if found.__class__ is int:
            return compare(found, expected)
        if not is_number(found) or found != found:  # NaN is no number to compare with
            return None
        return compare(found, expected)

    return test


def _affix(expected: str, method: Callable[[str, str], bool]) -> Test:
    return lambda found: method(found, expected) if isinstance(found, str) else None


def _negated(test: Test) -> Test:
    def negated(found: Any) -> bool | None:
        held = test(found)
        return None if held is None else not held

    return negated


_MAKERS: dict[str, Callable[[Any], Test]] = {
    "equals": _equals,
    "greater_than": lambda value: _compares(value, gt),
    "less_than": lambda value: _compares(value, lt),
    "greater_or_equal": lambda value: _compares(value, ge),
    "less_or_equal": lambda value: _compares(value, le),
    "is_in": _is_in,
    "contains": _contains,
    "starts_with": lambda value: _affix(value, str.startswith),
    "ends_with": lambda value: _affix(value, str.endswith),
    "regex_match": regex_test,
    "exists": lambda value: lambda found: True,  # a field that is missing is never tested
}
TRUE_OF_NOTHING = ("not_equals", "not_in", "not_exists")  # what holds of a field that is missing
NEGATIONS = {"not_equals": "equals", "not_in": "is_in", "not_contains": "contains", "not_exists": "exists"}


def make_test(condition: Condition) -> Test:
    """The test of a condition's field where it is there; where it is missing, ``TRUE_OF_NOTHING`` hold."""
    operator: str = condition.operator
    if operator in NEGATIONS:
        return _negated(_MAKERS[NEGATIONS[operator]](condition.value))
    return _MAKERS[operator](condition.value)
