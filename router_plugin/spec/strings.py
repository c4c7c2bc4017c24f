"""Router strings: one string that names a deployment, a router with its settings, or a fallback chain of them.

::

    string    := tag ("->" tag)*                               spaces are allowed around "->" and nowhere else
    tag       := model | provider "/" model | model "@" provider
               | model "@" mode threshold*                     the same model, the provider chosen by the mode
               | "router" ["_" name | "/" name ["/versions/" int]] ["@" pair ("|" pair)*]
    pair      := ("q"|"c"|"t"|"i"|"q0"|"c0"|"t0"|"i0") ":" float
               | ("quality"|"cost"|"ttft"|"itl") "_thrs:" float "," float       open interval
               | metric op float
               | ("models"|"providers"|"skip_models"|"skip_providers") ":" name ("," name)*
    mode      := ["lowest-"] ("input-cost"|"output-cost"|"itl"|"ttft") | ["highest-"] "tks-per-sec"
    threshold := op float [metric]                             value first; without a metric, the mode's own
    op        := "<" | ">" | "<=" | ">="
    metric    := "quality"|"q" | "cost"|"c" | "time-to-first-token"|"ttft"|"t" | "inter-token-latency"|"itl"|"i"
               | "input-cost"|"ic" | "output-cost"|"oc" | "output-tks-per-sec"|"ots"

Units: quality 0..1; cost USD per million tokens, the blend (3·input + output)/4; input and output cost USD per million
tokens; ttft and itl milliseconds; output_tks_per_sec tokens a second. Nothing is converted here.

The format is that of Unify's router strings (both generations); chains and versions are this package's. Only syntax is
known here, so no name is ever unknown: names are bound by whoever asks. Nothing is ignored: what cannot be read is a
:class:`~router_plugin.errors.RouterStringError` with the place of the fault.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import NamedTuple

from ..errors import RouterStringError, did_you_mean

MAX_LENGTH = 4096  # characters, as written and in the canonical spelling

_SPELLINGS = {  # the canonical one first
    "quality": ("q", "quality"),
    "cost": ("c", "cost"),
    "ttft": ("ttft", "t", "time-to-first-token"),
    "itl": ("itl", "i", "inter-token-latency"),
    "input_cost": ("ic", "input-cost"),
    "output_cost": ("oc", "output-cost"),
    "output_tks_per_sec": ("ots", "output-tks-per-sec"),
}
METRICS = tuple(_SPELLINGS)
_SHORT = {metric: spellings[0] for metric, spellings in _SPELLINGS.items()}
_ALIASES = {spelling: metric for metric, spellings in _SPELLINGS.items() for spelling in spellings}
_CANONICAL_MODES = {
    "input_cost": "lowest-input-cost",
    "output_cost": "lowest-output-cost",
    "itl": "lowest-itl",
    "ttft": "lowest-ttft",
    "output_tks_per_sec": "highest-tks-per-sec",
}
_MODES = {spelling: metric for metric, full in _CANONICAL_MODES.items() for spelling in (full, full.split("-", 1)[1])}
_THRESHOLDS = {f"{metric}_thrs": metric for metric in ("quality", "cost", "ttft", "itl")}
_LISTS = ("models", "providers", "skip_models", "skip_providers")

_ROUTER = re.compile(r"router(?![A-Za-z0-9.-])")  # "openrouter/x", "router-v2" and "router2" are ordinary names
# What follows "@" in names such as "vertex_ai/claude-3-5-sonnet@20240620" or "cloudflare/@cf/…" is no provider.
_PROVIDER = re.compile(r"(?!(?:default|latest)\Z)[A-Za-z][A-Za-z0-9_.-]*")
_ROUTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")  # fits 64 bits; no leading zero, so a version has one spelling
_FLOAT = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")  # no metric begins with "e": 5e-3ic is 0.005 ic
_PAIR = re.compile(r"([^:<>=]*)(:|[<>]=?)")
_LIMIT = re.compile(rf"([<>]=?)({_FLOAT.pattern}|)([^<>]*)")
_ARROW = re.compile(r"(?:(?<! ) +)?-> *")  # the look-behind: a long run of spaces is tried once, not at every space


@dataclass(frozen=True, slots=True)
class Bound:
    """An interval on one metric (of ``METRICS``, in its unit). A side that is None is unbounded, and open."""

    metric: str
    low: float | None = None
    low_open: bool = True
    high: float | None = None
    high_open: bool = True

    def sides(self) -> tuple[tuple[str, str], ...]:
        """(operator, value) as written in a router string, the lower side first."""
        sides = ((">", self.low, self.low_open), ("<", self.high, self.high_open))
        return tuple((op if is_open else op + "=", _printed(v)) for op, v, is_open in sides if v is not None)


@dataclass(frozen=True, slots=True)
class Weights:
    """The objective: minimise ``-q·Q + c·C + t·TTFT + i·ITL`` (0..1, $/M tokens, ms, ms); ``q0``… are offsets."""

    q: float = 0.0
    c: float = 0.0
    t: float = 0.0
    i: float = 0.0
    q0: float = 0.0
    c0: float = 0.0
    t0: float = 0.0
    i0: float = 0.0


_WEIGHTS = tuple(field.name for field in fields(Weights))


@dataclass(frozen=True, slots=True)
class ModelTag:
    """A concrete model: ``openai/gpt-4o``, ``gpt-4o@openai``, ``gpt-4o@lowest-ttft<0.5ic``.

    ``provider`` only for the spelling ``model@provider``. ``mode`` is the metric by which the provider is chosen,
    ``lowest`` whether less of it is better; both None without a mode. Every bound must hold.
    """

    model: str
    provider: str | None = None
    mode: str | None = None
    lowest: bool | None = None
    bounds: tuple[Bound, ...] = ()

    def __str__(self) -> str:
        if self.mode is None:
            return self.model if self.provider is None else f"{self.model}@{self.provider}"
        limits = (f"{op}{value}{_SHORT[b.metric]}" for b in self.bounds for op, value in b.sides())
        return f"{self.model}@{_CANONICAL_MODES[self.mode]}{''.join(limits)}"


@dataclass(frozen=True, slots=True)
class RouterTag:
    """A router with what the string sets on it. ``name`` None: the router in charge; ``version`` None: the active one.

    ``weights`` is None where the string gives none (its objective stays). ``bounds`` are in the order of ``METRICS``,
    names in the order written.
    """

    name: str | None = None
    version: int | None = None
    weights: Weights | None = None
    bounds: tuple[Bound, ...] = ()
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    skip_models: tuple[str, ...] = ()
    skip_providers: tuple[str, ...] = ()

    def __str__(self) -> str:
        address = "router" + (f"/{self.name}" if self.name is not None else "")
        address += f"/versions/{self.version}" if self.version is not None else ""
        weights = ((key, getattr(self.weights, key, 0.0)) for key in _WEIGHTS)
        pairs = [f"{key}:{_printed(value)}" for key, value in weights if value]
        pairs += [f"{_SHORT[b.metric]}{op}{value}" for b in self.bounds for op, value in b.sides()]
        pairs += [f"{key}:{','.join(getattr(self, key))}" for key in _LISTS if getattr(self, key)]
        return f"{address}@{'|'.join(pairs)}" if pairs else address


@dataclass(frozen=True, slots=True)
class RouterString:
    """A fallback chain of one or more tags, first choice first. ``str()`` is canonical and parses to the same value."""

    tags: tuple[ModelTag | RouterTag, ...]

    def __str__(self) -> str:
        return "->".join(map(str, self.tags))


def routes(name: object) -> bool:
    """Whether this model name addresses a router, rather than one concrete model of litellm's.

    True for ``router``, ``router@…``, ``router/…``, ``router_…``, any chain (``->``) and ``model@mode…``. True does
    not mean that the string parses. Anything but a string is False. Cheap: it is asked on every litellm call.
    """
    if not isinstance(name, str):
        return False
    if "@" in name and _is_mode(name[name.rfind("@") + 1 :]):
        return True
    return "->" in name or (name.startswith("router") and _ROUTER.match(name) is not None)


def _is_mode(suffix: str) -> bool:
    # Anything with "<" or ">" is meant as a mode: a misspelt one gets our caret rather than "unknown provider".
    return suffix in _MODES or suffix.startswith(("lowest-", "highest-")) or "<" in suffix or ">" in suffix


def parse_router_string(text: str) -> RouterString:
    """The value of a router string; the grammar and the units are in this module's docstring.

    Raises :class:`~router_plugin.errors.RouterStringError` for everything else: a fault has its position; what is not
    a string at all is shown as its repr. Pure, and cached by text.
    """
    if not isinstance(text, str):
        kind = type(text).__name__
        raise RouterStringError(reprlib.repr(text), 0, f"a router string is a str, not {kind}")
    return _parse(str.__str__(text))  # a subclass (an enum, say) may print, compare or hash as it likes


@lru_cache(maxsize=512)
def _parse(text: str) -> RouterString:
    if not text.strip():
        raise RouterStringError(text, 0, "it is empty")
    if len(text) > MAX_LENGTH:
        raise RouterStringError(text, MAX_LENGTH, f"{len(text)} characters are more than the limit of {MAX_LENGTH:,}")
    if strange := re.search(r"[^ -~]", text):
        reason = f"only printable ASCII is allowed, not U+{ord(strange[0]):04X}"
        raise RouterStringError(text, strange.start(), reason)
    value = RouterString(tuple(_tag(member) for member in _members(text)))
    if len(str(value)) > MAX_LENGTH:  # "a@itl" prints longer than it is written; what we print must parse
        reason = f"its canonical spelling is longer than the limit of {MAX_LENGTH:,} characters"
        raise RouterStringError(text, len(text), reason)
    return value


class _Part(NamedTuple):
    """A piece of the whole string that knows where it stands, so that every error can point at its place."""

    source: str
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source[self.start : self.end]

    def cut(self, start: int, end: int | None = None) -> _Part:
        """The piece between two offsets of this piece."""
        return _Part(self.source, self.start + start, self.end if end is None else self.start + end)

    def split(self, separator: str) -> list[_Part]:
        parts, at = [], 0
        for piece in self.text.split(separator):
            parts.append(self.cut(at, at + len(piece)))
            at += len(piece) + len(separator)
        return parts

    def fail(self, reason: str, offset: int = 0) -> RouterStringError:
        return RouterStringError(self.source, self.start + offset, reason)

    def unknown(self, kind: str, known: Iterable[str]) -> RouterStringError:
        names = list(known)
        hint = did_you_mean(self.text, names) or f" (known: {', '.join(names)})"
        return self.fail(f"unknown {kind} {_shown(self.text)}{hint}")


def _members(text: str) -> list[_Part]:
    whole = _Part(text, 0, len(text))
    arrows = [arrow.span() for arrow in _ARROW.finditer(text)]
    starts, ends = [0, *(end for _, end in arrows)], [*(start for start, _ in arrows), len(text)]
    members = [whole.cut(start, end) for start, end in zip(starts, ends, strict=True)]
    for member in members:
        if not member.text:
            raise member.fail("a member of the chain is missing")
        if " " in member.text:
            raise member.fail("a space is allowed only around '->'", member.text.index(" "))
    return members


def _tag(tag: _Part) -> ModelTag | RouterTag:
    at = tag.text.rfind("@")
    if _ROUTER.match(tag.text):
        return _router_tag(tag)
    if at < 0:
        return ModelTag(_name(tag, "model name"))
    head, suffix = tag.cut(0, at), tag.cut(at + 1)
    if _is_mode(suffix.text):
        return _mode_tag(head, suffix)
    if _PROVIDER.fullmatch(suffix.text):
        return ModelTag(_name(head, "model name"), suffix.text)
    return ModelTag(_name(tag, "model name"))


def _mode_tag(head: _Part, suffix: _Part) -> ModelTag:
    model = _name(head, "model name")
    fixed = model.rfind("@") + 1
    if fixed and _PROVIDER.fullmatch(model, fixed):
        raise suffix.fail(f"a mode chooses the provider, and {_shown(model[fixed:])} is one already")
    spelling = suffix.cut(0, len(re.split("[<>]", suffix.text, maxsplit=1)[0]))
    mode = _MODES.get(spelling.text)
    if mode is None:
        raise spelling.unknown("mode", _MODES)
    bounds = _Bounds()
    for limit in _LIMIT.finditer(suffix.text, len(spelling.text)):
        value, metric = _number(suffix.cut(*limit.span(2))), suffix.cut(*limit.span(3))
        if metric.text and metric.text not in _ALIASES:
            raise metric.unknown("metric", _ALIASES)
        bounds.add(suffix.cut(limit.start()), _ALIASES.get(metric.text, mode), limit[1], value)
    return ModelTag(model, None, mode, _CANONICAL_MODES[mode].startswith("lowest"), bounds.build())


def _router_tag(tag: _Part) -> RouterTag:
    at = tag.text.find("@")
    name, version = _address(tag if at < 0 else tag.cut(0, at))
    if at < 0:
        return RouterTag(name, version)
    pairs = _Pairs()
    for pair in tag.cut(at + 1).split("|"):
        pairs.read(pair)
    return pairs.build(name, version)


def _address(part: _Part) -> tuple[str | None, int | None]:
    text = part.text
    if text == "router":
        return None, None
    if text[6] not in "_/":
        raise part.fail("expected '@', '/' or '_' after 'router'", 6)
    name = _ROUTER_NAME.match(text, 7)
    if name is None:
        raise part.fail("a router name is missing, or does not begin with a letter or digit", 7)
    rest = part.cut(name.end())
    if not rest.text:
        return name[0], None
    if not rest.text.startswith("/"):
        raise rest.fail("a router name has only letters, digits, '.', '_' and '-'")
    if text[6] == "_" or not rest.text.startswith("/versions/"):
        raise rest.fail("only '/versions/<n>' may follow, and only after 'router/<name>'")
    version = rest.cut(len("/versions/"))
    if not _VERSION.fullmatch(version.text):
        raise version.fail("a version is a positive whole number (at most 18 digits, no leading zero)")
    return name[0], int(version.text)


class _Pairs:
    """Collects what follows ``router…@``."""

    def __init__(self) -> None:
        self.weights: dict[str, float] = {}
        self.lists: dict[str, tuple[str, ...]] = {}
        self.bounds = _Bounds()
        self.first_weight: _Part | None = None

    def read(self, pair: _Part) -> None:
        match = _PAIR.match(pair.text)
        if match is None:
            raise pair.fail("expected 'key:value' or a comparison such as 'q>0.8'")
        key, value = pair.cut(0, match.end(1)), pair.cut(match.end())
        if match[2] != ":":
            if key.text not in _ALIASES:
                raise key.unknown("metric", _ALIASES)
            self.bounds.add(key, _ALIASES[key.text], match[2], _number(value))
        elif key.text in self.weights or key.text in self.lists:
            raise key.fail(f"{key.text!r} is repeated")
        elif key.text in _WEIGHTS:
            self._weight(key, value)
        elif key.text in _THRESHOLDS:
            self._interval(key, value)
        elif key.text in _LISTS:
            self.lists[key.text] = _names(value, key.text.removeprefix("skip_")[:-1])
        else:
            raise key.unknown("key", (*_WEIGHTS, *_THRESHOLDS, *_LISTS))

    def _weight(self, key: _Part, value: _Part) -> None:
        weight = _number(value)
        if weight < 0 and len(key.text) == 1:  # offsets may be negative
            raise value.fail("a weight is not negative")
        self.weights[key.text] = weight
        self.first_weight = self.first_weight or key

    def _interval(self, key: _Part, value: _Part) -> None:
        ends = value.split(",")
        if len(ends) != 2:
            raise value.fail(f"{key.text} takes two numbers, 'low,high'")
        low, high = map(_number, ends)
        if low >= high:
            raise value.fail(f"{_printed(low)} is not below {_printed(high)}")
        metric = _THRESHOLDS[key.text]
        self.bounds.add(key, metric, ">", low)
        self.bounds.add(key, metric, "<", high)

    def build(self, name: str | None, version: int | None) -> RouterTag:
        # Offsets alone are refused too: an objective that is the same for every model decides nothing.
        if self.first_weight is not None and not any(self.weights.get(key) for key in "qcti"):
            raise self.first_weight.fail("all weights are zero")
        weights = Weights(**self.weights) if self.weights else None
        return RouterTag(name, version, weights, self.bounds.build(), **self.lists)


class _Bounds:
    """Collects the sides of intervals: each side of a metric once, and never an interval that nothing satisfies."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, tuple[float, bool]]] = {}

    def add(self, part: _Part, metric: str, operator: str, value: float) -> None:
        sides = self.found.setdefault(metric, {})
        if operator[0] in sides:
            raise part.fail(f"the {'lower' if operator[0] == '>' else 'upper'} bound on {metric} is repeated")
        sides[operator[0]] = (value, operator[-1] != "=")
        low, low_open = max(sides.get(">", (0.0, False)), (0.0, False))  # no metric is ever negative
        top = 1.0 if metric == "quality" else float("inf")
        high, high_open = sides.get("<", (top, False))
        if low > min(high, top) or (low == min(high, top) and (low_open or (high_open and high <= top))):
            wanted = " and ".join(op + limit for op, limit in self._bound(metric).sides())
            limits = "between 0 and 1" if metric == "quality" else "never negative"
            raise part.fail(f"no {metric} is {wanted} ({metric} is {limits})")

    def _bound(self, metric: str) -> Bound:
        sides = self.found[metric]
        return Bound(metric, *sides.get(">", (None, True)), *sides.get("<", (None, True)))

    def build(self) -> tuple[Bound, ...]:
        return tuple(self._bound(metric) for metric in METRICS if metric in self.found)


def _names(part: _Part, kind: str) -> tuple[str, ...]:
    names: list[str] = []
    for item in part.split(","):
        name = _name(item, f"{kind} name")
        if name in names:
            raise item.fail(f"{_shown(name)} is repeated")
        names.append(name)
    return tuple(names)


def _name(part: _Part, kind: str) -> str:
    if not part.text:
        raise part.fail(f"a {kind} is missing")
    # "<" and ">" would be legal in a name, but they are always a comparison in the wrong place.
    if bad := re.search(r"[|,<>]", part.text):
        raise part.fail(f"{bad[0]!r} is not allowed in a {kind}", bad.start())
    if part.text[-1] in "@/":
        raise part.fail(f"a name is missing after {part.text[-1]!r}", len(part.text))
    return part.text


def _number(part: _Part) -> float:
    if not _FLOAT.fullmatch(part.text):
        raise part.fail(f"{_shown(part.text)} is not a finite number" if part.text else "a number is missing")
    value = float(part.text)
    lost = value == 0 and re.match(r"[^eE]*[1-9]", part.text)
    if lost or value in (float("inf"), float("-inf")):
        raise part.fail(f"{_shown(part.text)} is too {'small' if lost else 'large'} for a float")
    return value + 0.0  # turns -0.0 into 0.0


def _printed(value: float) -> str:
    return repr(float(value) + 0.0).removesuffix(".0")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
