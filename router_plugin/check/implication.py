"""Whether one condition follows from others: what makes a later rule unreachable, or a rule one that never matches.

Only what is certain is said: identical conditions (in any order and spelling), values that a condition pins down tried
on the other one, and thresholds, beginnings and ends of which one lies within the other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

from ..decide.operators import NEGATIONS, Test, make_test
from ..spec.conditions import Condition, Group
from ..spec.paths import Path, path_of

Node = Condition | Group
_ABOVE, _BELOW = ("greater_than", "greater_or_equal"), ("less_than", "less_or_equal")
_MOST_PAIRS = 10_000  # of conditions of two rules: beyond it only identical ones are found
_tests: dict[int, tuple[Condition, Test]] = {}


@lru_cache(maxsize=4096)
def _path(field: str) -> Path:
    return path_of(field)


def canonical(node: Node) -> str:
    """The same text for conditions that are the same."""
    if isinstance(node, Condition):
        value = node.value
        if node.operator in ("is_in", "not_in"):
            value = sorted({json.dumps(item, sort_keys=True) for item in value})
        return json.dumps([node.path, node.operator, value], sort_keys=True)
    members = sorted({canonical(member) for member in node.members})
    return members[0] if node.kind != "not" and len(members) == 1 else json.dumps([node.kind, members])


def flat(conditions: Sequence[Node]) -> list[Node]:
    """Conditions that all hold, those of ``all`` groups among them."""
    found: list[Node] = []
    for node in conditions:
        found += flat(node.members) if isinstance(node, Group) and node.kind == "all" else [node]
    return found


class Conditions:
    """Those of one rule, made ready to be compared."""

    def __init__(self, conditions: Sequence[Node]) -> None:
        self.nodes = flat(conditions)
        self._by_key = {canonical(node): node for node in self.nodes}
        self.keys = frozenset(self._by_key)
        self._fields = frozenset(node.path for node in self.nodes if isinstance(node, Condition))
        self._grouped = len(self._fields) == 0 or any(isinstance(node, Group) for node in self.nodes)

    def follow_from(self, given: Conditions) -> bool:
        """Whether all of these hold wherever all of the others do."""
        if self.keys <= given.keys:
            return True
        if len(self.nodes) * len(given.nodes) > _MOST_PAIRS or not (given._grouped or self._fields <= given._fields):
            return False
        rest = (node for key, node in self._by_key.items() if key not in given.keys)
        return all(any(_follows(node, other) for other in given.nodes) for node in rest)

    def contradiction(self) -> tuple[Condition, Condition] | None:
        """Two conditions that never hold together."""
        leaves = [node for node in self.nodes if isinstance(node, Condition)]
        if len(leaves) ** 2 > _MOST_PAIRS:
            return None
        for one in leaves:
            values = _pinned(one)
            for other in leaves if values else ():
                if (
                    other is not one
                    and _path(other.field) == _path(one.field)
                    and not any(_test(other)(v) is True for v in values)
                ):
                    return one, other
        return None


def _follows(node: Node, given: Node) -> bool:
    if isinstance(given, Group):
        if given.kind == "not":
            return canonical(node) == canonical(given)
        some = all if given.kind == "any" else any
        return some(_follows(node, member) for member in given.members)
    if isinstance(node, Group):
        if node.kind == "not":
            return False
        some = any if node.kind == "any" else all
        return some(_follows(member, given) for member in node.members)
    return _path(node.field) == _path(given.field) and _within(node, given)


def _within(node: Condition, given: Condition) -> bool:
    """Of two conditions on one field."""
    if node.operator == given.operator:
        texts = isinstance(node.value, str) and isinstance(given.value, str)
        if node.value == given.value if texts else canonical(node) == canonical(given):
            return True
    values = _pinned(given)
    if values:
        return all(_test(node)(value) is True for value in values)
    if node.operator == "exists":
        return given.operator not in NEGATIONS
    for sides, sign in ((_ABOVE, 1), (_BELOW, -1)):
        if node.operator in sides and given.operator in sides:
            more = sign * (given.value - node.value)
            return more > 0 or (more == 0 and not (node.operator == sides[0] and given.operator == sides[1]))
    if node.operator == given.operator == "starts_with":
        return bool(given.value.startswith(node.value))
    if node.operator == given.operator == "ends_with":
        return bool(given.value.endswith(node.value))
    if node.operator == "contains" and given.operator in ("starts_with", "ends_with"):
        return isinstance(node.value, str) and node.value in given.value
    return False


def _pinned(condition: Condition) -> tuple[object, ...]:
    """All values that the field may have where it holds; empty where there is no end of them."""
    if condition.operator == "equals":
        return (condition.value,)
    return tuple(condition.value) if condition.operator == "is_in" else ()


def _test(condition: Condition) -> Test:
    known = _tests.get(id(condition))
    if known is None or known[0] is not condition:
        if len(_tests) > _MOST_PAIRS:
            _tests.clear()
        known = _tests[id(condition)] = (condition, make_test(condition))
    return known[1]
