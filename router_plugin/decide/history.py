"""Whether a conversation can go on with another model: what in its history only some providers take.

==================== ================================== =========================================================
in the history       from                               who takes it
==================== ================================== =========================================================
thinking blocks      Anthropic (signed)                 Claude models, wherever they are hosted
thought signatures   Gemini (in tool calls)             Gemini models
tool-call ids        any                                OpenAI: at most 40 characters; Anthropic: letters, digits,
                                                        ``_`` and ``-``, at most 64; Mistral: 9 letters or digits
==================== ================================== =========================================================

Images, files and audio are capabilities (see request.py). ``portable`` makes a history that anybody takes: signed parts
are left out, ids are respelt, each in the same way wherever it stands.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..records import Candidate

_CLAUDE, _GEMINI, _OPENAI, _MISTRAL = "claude", "gemini", "openai", "mistral"
_IDS = {
    _OPENAI: re.compile(r".{1,40}\Z", re.DOTALL),
    _CLAUDE: re.compile(r"[A-Za-z0-9_-]{1,64}\Z"),
    _MISTRAL: re.compile(r"[A-Za-z0-9]{9}\Z"),
}
# What litellm appends to a tool call's id to carry Gemini's signature through the OpenAI format.
_THOUGHT = "__thought__"


@dataclass(frozen=True, slots=True)
class History:
    """What a history holds that not every model takes: families that signed parts of it, and tool-call ids."""

    signed: frozenset[str]
    tool_ids: tuple[str, ...]


def history_of(messages: Sequence[Any]) -> History | None:
    """None for the many conversations that anybody can go on with."""
    signed: set[str] = set()
    ids: dict[str, None] = {}
    for message in messages:
        if any(_is_signed(block) for block in _list(_field(message, "thinking_blocks"))):
            # litellm gives Gemini's thoughts the same form; Gemini's messages have its own marks beside them.
            signed.add(_GEMINI if _thinks_as_gemini(message) else _CLAUDE)
        if any(_is_signed(part) for part in _list(_field(message, "content"))):
            signed.add(_CLAUDE)
        for call in _list(_field(message, "tool_calls")):
            name = _field(call, "id")
            if isinstance(name, str):
                ids[name] = None
            if _has_thought(call) or (isinstance(name, str) and _THOUGHT in name):
                signed.add(_GEMINI)
        answered = _field(message, "tool_call_id")
        if isinstance(answered, str):
            ids[answered] = None
        if _has_thought(message):
            signed.add(_GEMINI)
    return History(frozenset(signed), tuple(ids)) if signed or ids else None


def _thinks_as_gemini(message: Any) -> bool:
    calls = _list(_field(message, "tool_calls"))
    return _has_thought(message) or any(_has_thought(c) or _THOUGHT in str(_field(c, "id")) for c in calls)


def family(candidate: Candidate) -> str:
    """Whose rules a model's history obeys."""
    part, provider = candidate.model_part.lower(), candidate.provider
    if provider == "anthropic" or "claude" in part:
        return _CLAUDE
    if provider == "gemini" or "gemini" in part:
        return _GEMINI
    if provider == "mistral" or "mistral" in part:
        return _MISTRAL
    return _OPENAI if provider in ("openai", "azure") else provider


def objection(candidate: Candidate, history: History) -> str | None:
    """Why this model cannot go on with the history, in words; None where it can."""
    of = family(candidate)
    for other in sorted(history.signed - {of}):
        return f"parts of the history are signed by {other}"
    rule = _IDS.get(of)
    wrong = next((one for one in history.tool_ids if rule is not None and not rule.match(one)), None)
    if wrong is not None:
        return f"a tool-call id of {len(wrong)} characters is not one of {of}'s"
    return None


def portable(messages: Sequence[Any], candidate: Candidate) -> list[Any]:
    """The messages as this model takes them; what it takes already is left as it is."""
    of = family(candidate)
    return [_plain(message, of) for message in messages]


def _plain(message: Any, of: str) -> dict[str, Any]:
    plain = dict(message) if isinstance(message, Mapping) else message.model_dump(exclude_none=True)
    if of != _CLAUDE:
        plain.pop("thinking_blocks", None)
        plain.pop("reasoning_content", None)
        if isinstance(plain.get("content"), list):
            plain["content"] = [part for part in plain["content"] if not _is_signed(part)] or None
    if of != _GEMINI:
        plain.pop("provider_specific_fields", None)
    if plain.get("tool_calls"):
        plain["tool_calls"] = [_plain_call(call, of) for call in _list(plain["tool_calls"])]
    if isinstance(plain.get("tool_call_id"), str):
        plain["tool_call_id"] = _id(plain["tool_call_id"], of)
    return plain


def _plain_call(call: Any, of: str) -> Any:
    if not isinstance(call, Mapping):
        dump = getattr(call, "model_dump", None)
        call = dump() if callable(dump) else {}
    plain = dict(call)
    if of != _GEMINI:
        plain.pop("provider_specific_fields", None)
        if isinstance(plain.get("function"), Mapping):
            plain["function"] = {k: v for k, v in plain["function"].items() if k != "provider_specific_fields"}
    if isinstance(plain.get("id"), str):
        plain["id"] = _id(plain["id"], of)
    return plain


def _id(name: str, of: str) -> str:
    rule = _IDS.get(of)
    if of != _GEMINI:
        name = name.split(_THOUGHT, 1)[0]
    if rule is None or rule.match(name):
        return name
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()[:9]


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def _field(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


def _is_signed(block: Any) -> bool:
    return isinstance(block, Mapping) and (
        block.get("type") == "redacted_thinking" or (block.get("type") == "thinking" and bool(block.get("signature")))
    )


def _has_thought(source: Any) -> bool:
    fields = _field(source, "provider_specific_fields")
    if isinstance(fields, Mapping) and (fields.get("thought_signature") or fields.get("thought_signatures")):
        return True
    function = _field(source, "function")
    return function is not None and _has_thought_in(function)


def _has_thought_in(function: Any) -> bool:
    fields = _field(function, "provider_specific_fields")
    return isinstance(fields, Mapping) and bool(fields.get("thought_signature"))
