"""Whether conditions hold on one request: True, False, or None where that cannot be evaluated.

Text under ``greater_than`` or a regex on a list cannot be evaluated: no rule matches by it, and the trace says so.
Groups follow Kleene's three-valued logic: ``any`` holds if one member holds, ``all`` fails if one fails, ``not`` of
what cannot be evaluated cannot be either. So neither ``not`` nor the order of members turns such a condition into a
match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..spec.conditions import Condition, Group
from ..spec.paths import Path
from .fields import MISSING, Reader
from .operators import TRUE_OF_NOTHING, make_test
from .regexes import SHARED_FROM, SharedRegexes


class Leaf:
    """One condition. A field that is missing has its answer beforehand."""

    __slots__ = ("condition", "if_missing", "slot", "test")

    def __init__(self, condition: Condition, slot: int) -> None:
        self.condition, self.slot = condition, slot
        self.if_missing = condition.operator in TRUE_OF_NOTHING
        self.test = make_test(condition)

    def check(self, read: Reader) -> bool | None:
        found = read[self.slot]
        return self.if_missing if found is MISSING else self.test(found)

    def verdict(self, read: Reader) -> Verdict:
        return self, self.check(read), ()


class RegexLeaf(Leaf):
    """A regex that may share one pass over its field with others."""

    __slots__ = ("number", "shared")

    def __init__(self, condition: Condition, slot: int) -> None:
        super().__init__(condition, slot)
        self.shared: SharedRegexes | None = None
        self.number = 0

    def check(self, read: Reader) -> bool | None:
        hits = read.hits.get(self.slot)
        if hits is not None:
            return self.number in hits
        found = read[self.slot]
        if self.shared is not None and isinstance(found, str) and self.slot not in read.hits:
            hits = read.hits[self.slot] = self.shared.hits(found)
            if hits is not None:
                return self.number in hits
        return False if found is MISSING else self.test(found)


class Branch:
    """A group."""

    __slots__ = ("kind", "members")

    def __init__(self, kind: str, members: Sequence[Node]) -> None:
        self.kind, self.members = kind, tuple(members)

    def verdict(self, read: Reader) -> Verdict:
        """Reads no more members than it needs."""
        decides = self.kind != "all"  # a member that holds decides "any" and "not", one that fails decides "all"
        result: bool | None = not decides
        seen = []
        for member in self.members:
            verdict = member.verdict(read)
            seen.append(verdict)
            held = verdict[1]
            if held is decides:
                result = decides
                break
            if held is None:
                result = None
        if self.kind == "not" and result is not None:
            result = not result
        return self, result, tuple(seen)


Node = Leaf | Branch
# What a condition or group came to, with that of the members that were looked at. A plain tuple: one is made per rule.
Verdict = tuple["Node", "bool | None", tuple["Verdict", ...]]


def compile_node(node: Condition | Group, slot: Callable[[Path], int]) -> Node:
    """``slot`` gives each path its number in the reader."""
    if isinstance(node, Condition):
        kind = RegexLeaf if node.operator == "regex_match" else Leaf
        return kind(node, slot(node.path))
    return Branch(node.kind, [compile_node(member, slot) for member in node.members])


def share_regexes(nodes: Sequence[Node]) -> None:
    """Lets regexes that test one field share a pass."""
    by_slot: dict[int, list[RegexLeaf]] = {}
    for leaf in _leaves(nodes):
        if isinstance(leaf, RegexLeaf):
            by_slot.setdefault(leaf.slot, []).append(leaf)
    for leaves in by_slot.values():
        patterns = list(dict.fromkeys(leaf.condition.value for leaf in leaves))
        if len(patterns) < SHARED_FROM:
            continue
        try:
            shared = SharedRegexes(patterns)
        except ValueError:
            continue  # each is then searched for alone
        numbers = {pattern: number for number, pattern in enumerate(patterns)}
        for leaf in leaves:
            leaf.shared, leaf.number = shared, numbers[leaf.condition.value]


def _leaves(nodes: Sequence[Node]) -> Iterator[Leaf]:
    for node in nodes:
        if isinstance(node, Branch):
            yield from _leaves(node.members)
        else:
            yield node
