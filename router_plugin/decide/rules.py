"""Which rule takes a request, and which target of a SPLIT: pure, and reproducible from its arguments.

Enabled rules are tried by priority, highest first, equal priorities in the order of their definition; the first whose
conditions all hold is taken; a rule without conditions always matches. (Mixtrain's router; semantics.md section 6.)
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..spec.paths import Path
from ..spec.rules import Rule, Target
from .conditions import Leaf, Node, Verdict, compile_node, share_regexes
from .fields import MISSING, UNREAD, Fields, Reader, lookup
from .operators import is_number
from .why_not import keep, why_not

__all__ = [
    "MISSING",
    "CompiledRules",
    "Fields",
    "Match",
    "Tried",
    "compile_rules",
    "lookup",
    "pick_split",
]


class Tried:
    """One rule that was tried. ``why`` says of a match what held, else the first condition that did not; it is put in
    words when it is read. Of field values only what it will show is kept: no prompt."""

    __slots__ = ("_kept", "_verdict", "_why", "matched", "rule_name")

    def __init__(
        self, rule_name: str, matched: bool, why: str | None, verdict: Verdict | None = None, kept: Sequence[Any] = ()
    ) -> None:
        self.rule_name, self.matched = rule_name, matched
        self._why, self._verdict, self._kept = why, verdict, kept

    @property
    def why(self) -> str:
        if self._why is None:
            self._why = why_not(self._verdict, self._kept) if self._verdict is not None else "disabled"
            self._verdict, self._kept = None, ()
        return self._why

    def __repr__(self) -> str:
        return f"Tried({self.rule_name!r}, matched={self.matched}, why={self.why!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tried):
            return NotImplemented
        return (self.rule_name, self.matched, self.why) == (other.rule_name, other.matched, other.why)

    def __hash__(self) -> int:
        return hash((self.rule_name, self.matched, self.why))

    def __reduce__(self) -> Any:
        return Tried, (self.rule_name, self.matched, self.why)


class _Compiled(NamedTuple):
    rule: Rule
    nodes: tuple[Node, ...]


class Match:
    """``rule``: the one that matched, or None. ``trace``: every rule tried, the one that matched last."""

    __slots__ = ("_compiled", "_kept", "_verdicts", "rule")

    def __init__(
        self,
        rule: Rule | None,
        compiled: Sequence[_Compiled],
        verdicts: Sequence[Verdict | None],
        kept: Sequence[Any],
    ) -> None:
        self.rule = rule
        self._compiled, self._verdicts, self._kept = compiled, verdicts, kept

    @property
    def trace(self) -> tuple[Tried, ...]:
        tried = [
            Tried(rule.name, False, None, verdict, self._kept)
            for (rule, _), verdict in zip(self._compiled, self._verdicts, strict=False)
        ]
        if self.rule is not None:
            count = len(self.rule.conditions)
            held = f"all {count} conditions hold" if count > 1 else "its condition holds"
            tried.append(Tried(self.rule.name, True, held if count else "no conditions: always matches"))
        return tuple(tried)


class CompiledRules:
    """Rules ready to be matched, in the order in which they are tried. Immutable, so threads may share it."""

    __slots__ = ("_compiled", "_paths")

    def __init__(self, compiled: Sequence[_Compiled], paths: Sequence[Path]) -> None:
        self._compiled, self._paths = tuple(compiled), tuple(paths)

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(compiled.rule for compiled in self._compiled)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The fields that conditions may ask for; each is asked for once a match at most."""
        return self._paths

    def match(self, fields: Fields) -> Match:
        """The first rule whose conditions all hold."""
        read = Reader(fields, self._paths)
        values = read.values
        failed: list[Verdict | None] = []
        winner = None
        for rule, nodes in self._compiled:
            verdict: Verdict | None = None
            for node in nodes:
                if node.__class__ is Leaf:  # nearly all are: Leaf.check without its calls takes a third of the time
                    found = values[node.slot]
                    if found is UNREAD:
                        found = read[node.slot]
                    held = node.if_missing if found is MISSING else node.test(found)
                    verdict = None if held is True else (node, held, ())
                else:
                    verdict = node.verdict(read)
                    verdict = None if verdict[1] is True else verdict
                if verdict is not None:
                    break
            if verdict is None and rule.enabled:
                winner = rule
                break
            failed.append(verdict)
        kept = [keep(path, value) for path, value in zip(self._paths, read.known(), strict=True)]
        return Match(winner, self._compiled, failed, kept)


def compile_rules(rules: Sequence[Rule]) -> CompiledRules:
    """Rules in the order of trying, their paths parsed and their regexes compiled once."""
    slots: dict[Path, int] = {}

    def slot(path: Path) -> int:
        return slots.setdefault(path, len(slots))

    compiled = []
    for rule in sorted(rules, key=lambda rule: -rule.priority):
        nodes = [compile_node(node, slot) for node in rule.conditions] if rule.enabled else []
        compiled.append(_Compiled(rule, tuple(nodes)))
    share_regexes([node for _, nodes in compiled for node in nodes])
    return CompiledRules(compiled, list(slots))


def pick_split(rule: Rule, key: Any, draw: Callable[[], float], salt: str) -> tuple[Target, float]:
    """The target of a SPLIT and its propensity, weight / sum of weights: the chance with which it was picked.

    The same ``key`` gets the same target as long as weights, the rule's name and ``salt`` stay; that depends on no
    process's hash seed. Without a key (None, MISSING, or what is no JSON value) ``draw`` decides, a number in [0, 1).
    A target of weight 0 is never picked.
    """
    targets = [target for target in rule.targets if target.weight > 0]
    total = math.fsum(target.weight for target in targets)
    typed = _typed(key)
    left = (draw() if typed is None else _uniform(salt, rule.name, typed)) * total
    for target in targets:
        left -= target.weight
        if left < 0:
            break
    return target, target.weight / total  # where rounding leaves a rest, the last one


def _typed(key: Any) -> str | None:
    """Keys are told apart just where ``equals`` tells them apart: "1" from 1 from True, but not 1 from 1.0."""
    if key is None or key is MISSING:
        return None
    if is_number(key) and key == key and key % 1 == 0:
        key = int(key)
    try:
        return json.dumps(key, sort_keys=True, ensure_ascii=True)
    except (TypeError, ValueError, RecursionError):
        return None


def _uniform(*parts: str) -> float:
    """A number in [0, 1) that depends on nothing but the parts: 53 bits of a hash over them, each after its length."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return (int.from_bytes(digest.digest(), "big") >> 11) / 2**53
