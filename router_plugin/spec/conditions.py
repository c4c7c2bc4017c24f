"""Conditions of rules: a field, an operator and a value, and groups of them (``all``, ``any``, ``not``).

Everything that could fail later is checked when a rule is loaded, so that matching never raises: values fit their
operator, and regexes compile. Their engine is google-re2, whose time is linear in the text; it has no look-arounds and
no back-references, and ``$`` matches at the very end only. The operators are those of Mixtrain's router and its SDK.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from ..errors import SpecError, did_you_mean
from ..redact import shown
from .fields import Spec, number
from .paths import FieldPath, Path, path_of

Operator = Literal[
    "equals",
    "not_equals",
    "greater_than",
    "less_than",
    "greater_or_equal",
    "less_or_equal",
    "is_in",
    "not_in",
    "contains",
    "not_contains",
    "starts_with",
    "ends_with",
    "regex_match",
    "exists",
    "not_exists",
]
OPERATORS: tuple[str, ...] = get_args(Operator)
_ALIASES = {"in": "is_in", "regex": "regex_match"}  # the SDK's spellings
_COMPARISONS = ("greater_than", "less_than", "greater_or_equal", "less_or_equal")

MAX_PATTERN = 10_000  # characters
MAX_REGEX_BYTES = 4 << 20  # of compiled program and its cache, for one pattern
MAX_DEPTH = 16  # groups within groups; lists and mappings within a value
MAX_CONDITIONS = 1_000  # of one rule
MAX_VALUES = 10_000  # entries of one condition's value, nested ones counted
MAX_TEXT = 100_000  # characters of one text in a condition's value


def compile_regex(pattern: str) -> Any:
    """The compiled pattern (its ``search`` takes bytes or text), under a memory limit.

    Raises: ValueError that says why it does not compile.
    """
    import re2

    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"a pattern must be at most {MAX_PATTERN} characters, got {len(pattern)}")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_REGEX_BYTES
    options.never_capture = True  # only whether it matches is asked, and that is faster without groups
    try:
        return re2.compile(pattern, options)
    except UnicodeEncodeError:
        raise ValueError(f"the pattern {shown(pattern)} holds half a surrogate pair, which no text does") from None
    except re2.error as error:
        said = error.args[0] if error.args else "unknown fault"
        reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(
            f"the pattern {shown(pattern)} does not compile: {reason[:80]}; write it in google-re2's syntax "
            "(no look-arounds and back-references; \\z for \\Z)"
        ) from None


def _operator(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"must be one of {', '.join(OPERATORS)}, not {shown(value)}")
    name = _ALIASES.get(value, value)
    if name not in OPERATORS:
        near = did_you_mean(value, (*OPERATORS, *_ALIASES))
        raise ValueError(f"unknown operator {shown(value)}{near}; known operators: {', '.join(OPERATORS)}")
    return name


class _Plain:
    """Copies a value of JSON's kinds, lists as tuples, so that nobody can change a rule from outside."""

    def __init__(self) -> None:
        self.entries = 0

    def copy(self, value: Any, depth: int = 0) -> Any:
        self.entries += 1
        if self.entries > MAX_VALUES or depth > MAX_DEPTH:
            raise ValueError(f"must have at most {MAX_VALUES} entries and {MAX_DEPTH} levels")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (int, float, Decimal)):
            finite = number(value)
            return int(value) if isinstance(value, int) else finite  # an int keeps all its digits
        if isinstance(value, str):
            if len(value) > MAX_TEXT:
                raise ValueError(f"a text must be at most {MAX_TEXT} characters, got {len(value)}")
            return str.__str__(value)  # of a text enum its value, not its name
        if isinstance(value, (list, tuple)):
            return tuple(self.copy(item, depth + 1) for item in value)
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {key: self.copy(item, depth + 1) for key, item in value.items()}
        raise ValueError(f"must be text, a number, True, False, None, a list or a mapping of text, not {shown(value)}")


class Condition(Spec):
    """``Condition(field="user.tier", operator="equals", value="premium")``.

    ===================================  ===============  =======================================================
    operator                             value            holds when the field
    ===================================  ===============  =======================================================
    equals, not_equals                   any              is (not) of that kind and value: True is not 1, "1" is not
                                                          1, 1 is 1.0; lists and mappings compare deeply
    greater_than, less_than,             a number         is a number above, below, …
    greater_or_equal, less_or_equal
    is_in (in), not_in                   a list           equals one (none) of its entries
    contains, not_contains               any              is text with that part, a list with that entry, a mapping
                                                          with that key (or not)
    starts_with, ends_with               text             is text that starts, ends so
    regex_match (regex)                  a pattern        is text in which the pattern is found, anywhere
    exists, not_exists                   none             is there (as None too), is not there
    ===================================  ===============  =======================================================

    A field that is missing makes every operator false except not_exists, not_equals and not_in.
    """

    field: FieldPath
    operator: Annotated[Operator, BeforeValidator(_operator)]
    value: Any = None

    def __init__(self, /, **data: Any) -> None:
        super().__init__(**data)
        if "value" not in data and self.operator not in ("exists", "not_exists"):
            raise SpecError(f"Condition: value: {self.operator} needs a value")

    @field_validator("value", mode="before")
    @classmethod
    def _fits(cls, value: Any, info: ValidationInfo) -> Any:
        operator = info.data.get("operator", "equals")
        if operator in ("exists", "not_exists"):
            if value is not None:
                raise ValueError(f"{operator} takes no value, got {shown(value)}")
        elif operator in _COMPARISONS:
            if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
                raise ValueError(f"{operator} needs a number, not {shown(value)} ({type(value).__name__})")
        elif operator in ("is_in", "not_in"):
            if not isinstance(value, (list, tuple)):
                raise ValueError(f"{operator} needs a list, not {shown(value)} ({type(value).__name__})")
        elif operator in ("starts_with", "ends_with", "regex_match"):
            if not isinstance(value, str):
                raise ValueError(f"{operator} needs a string, not {shown(value)} ({type(value).__name__})")
            if operator == "regex_match":
                compile_regex(value)
        return _Plain().copy(value)

    @property
    def path(self) -> Path:
        return path_of(self.field)


class Group(Spec):
    """``Group(any=[…])``, ``Group(all=[…])``, ``Group(**{"not": …})``: conditions and groups, taken together."""

    all: tuple[Condition | Group, ...] | None = None
    any: tuple[Condition | Group, ...] | None = None
    not_: Condition | Group | None = Field(default=None, alias="not")

    def __init__(self, /, **data: Any) -> None:
        if "not_" in data:
            data["not"] = data.pop("not_")
        super().__init__(**_members(data, "Group", ": ", 1))
        if self.depth > MAX_DEPTH:
            raise SpecError(f"Group: groups must nest at most {MAX_DEPTH} deep")

    @property
    def kind(self) -> Literal["all", "any", "not"]:
        return "all" if self.all is not None else "any" if self.any is not None else "not"

    @property
    def members(self) -> tuple[Condition | Group, ...]:
        return self.all or self.any or ((self.not_,) if self.not_ is not None else ())

    @property
    def depth(self) -> int:
        return 1 + max(member.depth if isinstance(member, Group) else 0 for member in self.members)

    def conditions(self) -> Iterator[Condition]:
        for member in self.members:
            if isinstance(member, Group):
                yield from member.conditions()
            else:
                yield member


_GROUPS = ("all", "any", "not")


def _members(data: dict[str, Any], at: str, mark: str, depth: int) -> dict[str, Any]:
    """A group's one entry with all that is in it parsed; ``at`` is the group's place, ``mark`` goes before its kind."""
    if len(data) != 1 or next(iter(data)) not in _GROUPS:
        raise SpecError(f"{at}: a group has exactly one of {', '.join(_GROUPS)} and nothing else, got {shown(data)}")
    ((kind, value),) = data.items()
    inner = f"{at}{mark}{kind}"
    if depth > MAX_DEPTH:
        raise SpecError(f"{inner}: groups must nest at most {MAX_DEPTH} deep")
    if kind == "not":
        return {kind: _parse(value, inner, depth)}
    members = parse_conditions(value, inner, depth)
    if not members:
        raise SpecError(f"{inner}: must not be empty")
    return {kind: members}


def parse_conditions(value: Any, at: str, depth: int = 0) -> tuple[Condition | Group, ...]:
    """A list of conditions and groups, or dicts of them. Raises: SpecError whose lines begin with ``at`` and index."""
    if not isinstance(value, (list, tuple)):
        raise SpecError(f"{at}: must be a list of conditions, not {shown(value)}")
    parsed: list[Condition | Group] = []
    total = 0
    for index, item in enumerate(value):
        node = _parse(item, f"{at}[{index}]", depth)
        total += sum(1 for _ in node.conditions()) if isinstance(node, Group) else 1
        if total > MAX_CONDITIONS:
            raise SpecError(f"{at}: a rule must have at most {MAX_CONDITIONS} conditions")
        parsed.append(node)
    return tuple(parsed)


def _parse(value: Any, at: str, depth: int) -> Condition | Group:
    if isinstance(value, (Condition, Group)):
        return value
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        example = "{'field': 'user.tier', 'operator': 'equals', 'value': 'premium'}"
        raise SpecError(f"{at}: must be a condition such as {example} or a group, not {shown(value)}")
    if any(key in _GROUPS for key in value):
        return Group(**_members(value, at, ".", depth + 1))
    with placed(at, "Condition"):
        return Condition(**value)


@contextmanager
def placed(at: str, owner: str) -> Iterator[None]:
    """Says where in a larger setting a fault is: ``Condition: operator: …`` becomes ``conditions[1]: operator: …``."""
    mark = f"{owner}: "
    try:
        yield
    except SpecError as error:
        lines = str(error).split("\n")  # one line a fault; those of a caret are left as they are
        moved = [f"{at}: {line.removeprefix(mark)}" if line.startswith(mark) else line for line in lines]
        raise SpecError("\n".join(moved)) from None


def dump_condition(node: Condition | Group) -> dict[str, Any]:
    """Plain JSON values that parse to the same condition or group."""
    if isinstance(node, Condition):
        value = {} if node.operator in ("exists", "not_exists") else {"value": _listed(node.value)}
        return {"field": node.field, "operator": node.operator, **value}
    members = [dump_condition(member) for member in node.members]
    return {node.kind: members[0] if node.kind == "not" else members}


def _listed(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value
