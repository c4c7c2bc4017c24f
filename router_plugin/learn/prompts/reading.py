"""What is read of a prompt: the text of the newest human turn after the system prompt's beginning, head and tail only.

Reading never fails: what is no message, or has no text, counts as nothing.
Defaults: 1,000 characters of head, 300 of tail; the system prompt gives at most 400 more; the last 50 messages. Reading
1,500 and 600 takes a sixth more time and tells no more on three tables, where a tenth of the prompts is longer.
Part of the features' version: see features.FEATURES.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

HEAD, TAIL, SYSTEM = 1_000, 300, 400


class Text(NamedTuple):
    """What is read of a prompt: its cut text, its whole length in characters, turns, and parts that are no text."""

    text: str
    length: int
    turns: int = 1
    system: int = 0
    other: int = 0


def cut(text: str, head: int = HEAD, tail: int = TAIL) -> str:
    """The beginning and the end of a text."""
    return text if len(text) <= head + tail else f"{text[:head]}\n{text[-tail:]}"


def read_prompt(prompt: str | Sequence[Any]) -> Text:
    """A prompt's text: a string as it is; of messages the system prompt's beginning and the newest human turn.

    What is no message, or has no text, counts as nothing: reading never fails.
    """
    if isinstance(prompt, str):
        return Text(cut(prompt), len(prompt))
    if prompt.__class__ is not list and not isinstance(prompt, Sequence):
        return Text("", 0)
    system, user, last, turns, length, other = "", "", "", 0, 0, 0
    newest: Sequence[Any] = list(prompt)[-50:] if len(prompt) > 51 else prompt
    for message in newest:
        # Nearly every message is a dict of role and text: such ones are read without a call.
        plain = message.__class__ is dict and "role" in message and "content" in message
        if plain and message["content"].__class__ is str:
            role, text, odd = str(message["role"]), message["content"], 0
        else:
            role, text, odd = _message(message)
        length, other = length + len(text), other + odd
        if role in ("system", "developer"):
            system = system or text
        else:
            turns += 1
            last = text or last
            user = text if role == "user" and text else user
    user = user or last
    return Text(f"{system[:SYSTEM]}\n{cut(user)}" if system else cut(user), length, turns, len(system), other)


def _message(message: Any) -> tuple[str, str, int]:
    if not isinstance(message, Mapping):
        return "", message if isinstance(message, str) else "", 0
    role, content = message.get("role"), message.get("content")
    if isinstance(content, str):
        return str(role), content, 0
    parts = content if isinstance(content, (list, tuple)) else ()
    texts = [p["text"] for p in parts if isinstance(p, Mapping) and isinstance(p.get("text"), str)]
    return str(role), "\n".join(texts), len(parts) - len(texts)
