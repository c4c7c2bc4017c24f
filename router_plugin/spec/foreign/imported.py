"""What an import yields, and the draft in which it comes about: what is read is noted, so that the rest can be told."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from ...errors import SpecError
from ...redact import redact, secrets_in, shown
from ..deployment import Deployment
from ..fields import number
from ..files import MAX_BYTES, MAX_DEPTH, MAX_VALUES, spec_of
from ..options import Routing

DEFAULT_NAME = "imported"  # it gives way to a name that the source has
ENVIRONMENT = "os.environ/"
MAX_RULES = 1_000  # of a router, and as many deployments of litellm's, whose groups become rules
_START = 6  # ``redact`` looks for no shorter secret
MAX_TARGETS = 256  # of a rule
# Keys whose values are secrets. Wide on purpose: what it covers in error is only not shown. "max_tokens" is no secret.
SECRET = re.compile(
    r"(?i)(?:key|token(?!iz)|secret|passw|credential|authorization|headers?|cookie|webhook|_url\Z|dsn|connection_string)"
)
_NO_SECRET = re.compile(r"(?i)(?:max_|min_|cost|price|num_|_tokens\Z|key_alias|split_key)")


@dataclass(frozen=True)
class Imported:
    """``document``: the keywords of ``Router``, ready for JSON. ``left_out``: "place: why" for all that it lacks."""

    document: dict[str, Any]
    left_out: tuple[str, ...]

    def text(self) -> str:
        """A summary to read: what was carried over, then what was not."""
        models, rules = self.document["models"], self.document.get("rules", [])
        listed = "any model" if models == "any" else f"{len(models)} model{'s' * (len(models) != 1)}"
        lines = [f"{self.document['name']}: {listed}, {len(rules)} rule{'s' * (len(rules) != 1)}"]
        for model in [] if models == "any" else models:
            name, string = (model, model) if isinstance(model, str) else (model.get("name"), model["model"])
            lines.append(f"  model  {string}" if name in (None, string) else f"  model  {name} ({string})")
        for rule in rules:
            targets = ", ".join(target["model_name"] for target in rule["targets"])
            lines.append(f"  rule   {rule['name']}: {rule['strategy']} {targets}{'' if rule['enabled'] else ' (off)'}")
        for key, value in self.document.items():
            if key not in ("name", "models", "rules", "description"):
                lines.append(f"  option {key} = {value!r}")
        lines.append(f"left out: {len(self.left_out) or 'nothing'}")
        return "\n".join([*lines, *(f"  {line}" for line in self.left_out)])


class Draft:
    """The document that is being made, and what was left out of it."""

    def __init__(self, data: Any) -> None:
        self.document: dict[str, Any] = {}
        self._secrets: dict[str, set[str]] = {}  # by their first characters: there may be thousands, and as many texts
        for secret in _secrets(data):
            self._secrets.setdefault(secret[:_START], set()).add(secret)
        self._left_out: list[str] = []
        self._variables: dict[str, str] = {}  # literal key -> the variable to put it into

    def said(self, text: str) -> str:
        starts = (text[i : i + _START] for i in range(len(text) - _START + 1)) if self._secrets else ()
        return redact(text, {secret for start in starts for secret in self._secrets.get(start, ())})

    def error(self, place: str, reason: str) -> SpecError:
        """The error to raise for a fault at a place of the source."""
        return SpecError(f"{self.said(place)}: {self.said(reason)}")

    def variable(self, key: str, owner: str) -> str:
        """The environment variable that a literal key is to be put into; the same one for the same key."""
        stem = re.sub(r"[^A-Z0-9]+", "_", owner.upper()).strip("_")[:60]
        stem = f"{stem}_API_KEY" if stem[:1].isalpha() else f"MODEL_{stem}_API_KEY".replace("__", "_")
        count, name = 1, stem
        while key not in self._variables and name in self._variables.values():
            count += 1
            name = f"{stem}_{count}"
        return self._variables.setdefault(key, name)

    def leave(self, place: str, reason: str, value: Any = None) -> None:
        """Say that this was not carried over; of a container, all the keys inside are named."""
        inner = ", ".join(self.said(name) for name in _leaves(value))
        self._left_out.append(f"{self.said(place)}{f' ({inner})' if inner else ''}: {self.said(reason)}")

    def option(self, place: str, name: str, value: Any) -> None:
        """Set a routing option, checked here so that a fault is told with its place in the source."""
        self._checked(place, lambda: Routing(**{name: value}))
        self.document[name] = value

    def deployment(self, place: str, fields: dict[str, Any]) -> dict[str, Any]:
        """``fields`` of a Deployment, checked."""
        self._checked(place, lambda: Deployment(**fields))
        return fields

    def named(self, name: str, found: str | None, place: str) -> None:
        """The document's name: the one asked for, else the source's own, spelt as names are here."""
        if found is not None and name == DEFAULT_NAME:
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", found).strip("-._")[:128] or DEFAULT_NAME
        if found is not None and found != name:
            self.leave(place, f"the router is called {name!r} here")
        self.document["name"] = name

    def done(self) -> Imported:
        """The import. Its document, rules aside, is loaded once: what comes out of here loads."""
        settings = {key: value for key, value in self.document.items() if key != "rules"}
        self._checked("the imported document", lambda: spec_of(settings))
        order = ("name", "description", "models", "rules")
        document = {key: self.document[key] for key in order if key in self.document}
        return Imported(document | self.document, tuple(dict.fromkeys(self._left_out)))

    def _checked(self, place: str, make: Callable[[], object]) -> None:
        try:
            make()
        except SpecError as error:
            raise self.error(place, str(error)) from None


class Fields:
    """One mapping of the source. ``rest`` tells of every key that nobody has taken."""

    def __init__(self, draft: Draft, place: str, data: Any) -> None:
        if not isinstance(data, dict):
            raise draft.error(place, f"must be a mapping, not {shown(data)}")
        self.draft, self.place, self.data = draft, place, data
        self._taken: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return self.data.get(key) is not None

    def at(self, key: str) -> str:
        return joined(self.place, key)

    def done(self, key: str) -> bool:
        return key in self._taken

    def take(self, key: str) -> Any:
        """The value, or None; the caller answers for it from here on."""
        self._taken.add(key)
        return self.data.get(key)

    def text(self, key: str) -> str | None:
        value = self.take(key)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise self.draft.error(self.at(key), f"must be non-empty text, not {shown(value)}")
        return value

    def required(self, key: str) -> str:
        value = self.text(key)
        if value is None:
            raise self.draft.error(self.at(key), "is missing")
        return value

    def number(self, key: str) -> float | None:
        value = self.take(key)
        try:
            return None if value is None else number(value)
        except ValueError as error:
            raise self.draft.error(self.at(key), str(error)) from None

    def flag(self, key: str) -> bool | None:
        value = self.take(key)
        if value is not None and not isinstance(value, bool):
            raise self.draft.error(self.at(key), f"must be true or false, not {shown(value)}")
        return value

    def fields(self, key: str) -> Fields:
        """The mapping under a key (an empty one where there is none)."""
        value = self.take(key)
        return Fields(self.draft, self.at(key), {} if value is None else value)

    def each(self, key: str) -> list[tuple[str, Any]]:
        """(place, item) of the list under a key."""
        value = self.take(key)
        if value is not None and not isinstance(value, list):
            raise self.draft.error(self.at(key), f"must be a list, not {shown(value)}")
        return [(f"{self.at(key)}[{i}]", item) for i, item in enumerate(value or ())]

    def names(self, key: str) -> list[str]:
        """The list of texts under a key."""
        for place, item in (items := self.each(key)):
            if not isinstance(item, str) or not item.strip():
                raise self.draft.error(place, f"must be non-empty text, not {shown(item)}")
        return [item for _, item in items]

    def leave(self, key: str, reason: str) -> None:
        if (value := self.take(key)) is not None:
            self.draft.leave(self.at(key), reason, value)

    def rest(self, reason: str | Callable[[str], str]) -> None:
        for key in self.data:
            if key not in self._taken:
                self.leave(key, reason if isinstance(reason, str) else reason(key))


def fallback_rule(name: str, targets: list[str], model: str | None = None) -> dict[str, Any]:
    """A rule that falls from target to target: always, or where the request names ``model``."""
    conditions = [] if model is None else [{"field": "model", "operator": "equals", "value": model}]
    return {
        "name": name,
        "priority": 0,
        "conditions": conditions,
        "strategy": "FALLBACK",
        "targets": [{"model_name": target, "weight": 1.0} for target in targets],
        "enabled": True,
    }


def plain(data: Any) -> Any:
    """A copy of the source as JSON knows it, within the limits of a settings file.

    Raises: SpecError naming the place of what is too deep, too much or no data.
    """
    return _plain(data, "the source", 0, [MAX_VALUES, MAX_BYTES])


def _plain(value: Any, place: str, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    left[1] -= len(value) if isinstance(value, str) else 0
    if depth > MAX_DEPTH or min(left) < 0:
        limit = f"nested more than {MAX_DEPTH} deep" if depth > MAX_DEPTH else f"more than {MAX_BYTES} characters"
        raise SpecError(f"{redact(place)}: {limit if left[0] >= 0 else f'more than {MAX_VALUES} values'}")
    if isinstance(value, dict):
        copy = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise SpecError(f"{redact(place)}: keys must be text, not {shown(key)}")
            left[1] -= len(key)
            copy[key] = _plain(item, joined(place, key), depth + 1, left)
        return copy
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{place}[{i}]", depth + 1, left) for i, item in enumerate(value)]
    if isinstance(value, date):  # YAML makes them of created_at: 2025-01-31
        return value.isoformat()
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise SpecError(f"{redact(place)}: must be a value that JSON has, not {shown(value)}")


def joined(place: str, key: str) -> str:
    """``place.key``; the source itself has no name in places."""
    step = key if key.isprintable() and key.strip() == key and 0 < len(key) <= 120 else shown(key)
    return step if place in ("", "the source") else f"{place}.{step}"


def _leaves(value: Any, place: str = "") -> Iterator[str]:
    """The names of all keys inside a value that hold no mapping themselves."""
    if isinstance(value, dict):
        for key, item in value.items():
            inner = list(_leaves(item, joined(place, key)))
            yield from inner or [joined(place, key)]
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{place}[{i}]")


def is_secret(key: str) -> bool:
    """Whether values under this key are credentials, going by its name."""
    return bool(SECRET.search(key)) and not _NO_SECRET.search(key)


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if is_secret(key):
                yield from (text for text in secrets_in([item]) if not text.startswith(ENVIRONMENT))
            else:
                yield from _secrets(item)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item)
