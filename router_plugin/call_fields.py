"""What rules can read of a call: the fields of semantics.md section 6, looked up when a condition asks for them.

Live calls: ``messages``, ``prompt`` (the newest human turn), ``model`` (the name that was asked for), ``tokens.input``
(estimated), ``tools`` (their names), ``has_image``, ``stream``, ``user``, ``extra.*``, ``metadata.*``,
``budget.<name>.used_fraction`` (0..1, of this request's account), ``stats.<deployment>.*`` (the record of
``router.stats()``); keys of ``extra`` can be read bare where they do not collide. In ``route(data)`` the keys of
``data`` come before all of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .decide.rules import MISSING, lookup
from .records import Request
from .spec.capability import VISION
from .spec.paths import Path

if TYPE_CHECKING:
    from .version import Version

_KNOWN = frozenset({"messages", "prompt", "model", "tokens", "tools", "has_image", "stream", "user", "extra"})
_NAMESPACES = _KNOWN | {"metadata", "budget", "stats"}


class CallFields:
    """The fields of one call."""

    __slots__ = ("_data", "_model", "_request", "_version")

    def __init__(
        self,
        version: Version,
        request: Request,
        model: str | None,
        data: Mapping[str, Any] | None,
    ) -> None:
        self._version, self._request, self._model, self._data = version, request, model, data

    def get(self, path: Path) -> Any:
        """The value at a path; MISSING where there is none."""
        if self._data is not None and (found := lookup(self._data, path)) is not MISSING:
            return found
        if path[0] in _NAMESPACES:
            return self._known(str(path[0]), path[1:])
        extra = self._request.keys["extra"]
        return lookup(extra, path) if extra is not None else MISSING

    def _known(self, name: str, rest: Path) -> Any:
        request = self._request
        if name in ("user", "extra", "metadata"):
            value = request.keys[name]
            return MISSING if value is None else lookup(value, rest)
        if name == "tokens":
            return request.estimate if rest == ("input",) else MISSING
        if name == "budget":
            return self._budget(rest)
        if name == "stats":
            return self._stats(rest)
        if name == "messages":
            return lookup(request.messages, rest)
        if name == "tools":
            return lookup(tool_names(request.tools) if request.tools else MISSING, rest)
        if rest:
            return MISSING
        if name == "prompt":
            return newest_turn(request.messages)
        if name == "model":
            return MISSING if self._model is None else self._model
        return request.stream if name == "stream" else bool(request.needs & VISION)

    def _budget(self, rest: Path) -> Any:
        ledger = self._version.ledger
        name = ".".join(map(str, rest[:-1]))
        if rest[-1:] != ("used_fraction",):
            return MISSING
        used = ledger.used_fraction(name, self._request.keys)
        return MISSING if used is None else used

    def _stats(self, rest: Path) -> Any:
        """A deployment's name may have dots in it: the last part of the path is the field."""
        name = ".".join(map(str, rest[:-1]))
        for candidate in self._version.everyone():
            if candidate.name == name:
                report = self._version.home.fleet.report({name: candidate.deployment.model})
                return lookup(report[name], rest[-1:])
        return MISSING


def newest_turn(messages: Sequence[Any]) -> Any:
    """The text of the newest message of a human; MISSING where there is none."""
    for message in reversed(messages):
        if lookup(message, ("role",)) == "user":
            content = lookup(message, ("content",))
            if isinstance(content, (list, tuple)):
                texts = [lookup(part, ("text",)) for part in content]
                return "\n".join(text for text in texts if isinstance(text, str))
            return MISSING if content is None else content
    return MISSING


def tool_names(tools: Sequence[Any]) -> list[Any]:
    """The names of tools in OpenAI's form; what has none appears as it is."""
    names = []
    for tool in tools:
        name = lookup(tool, ("function", "name"))
        name = lookup(tool, ("name",)) if name is MISSING else name
        names.append(tool if name is MISSING else name)
    return names
