"""What a loopback model says: its behaviour, the token arithmetic, and one resolved reply in no particular wire format.

A *token* here is a whitespace-separated piece of text, so that every count can be checked by eye.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Body = dict[str, Any]
ReplySource = str | Callable[[Body], str] | None

_PIECE = re.compile(r"\s*\S+(?:\s+\Z)?")


@dataclass(frozen=True)
class Behaviour:
    """How a model answers when no fault is due. Times are seconds; see :meth:`LoopbackProvider.model`."""

    reply: ReplySource = None
    ttft_s: float = 0.0
    itl_s: float = 0.0
    chunks: int | None = None
    output_tokens: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    tool_calls: Sequence[Mapping[str, Any]] = ()
    reasoning: str | None = None
    finish_reason: str = "stop"

    def __post_init__(self) -> None:
        if self.ttft_s < 0 or self.itl_s < 0:
            raise ValueError(f"ttft_s and itl_s are seconds and not negative: {self.ttft_s!r}, {self.itl_s!r}")
        if self.chunks is not None and self.chunks < 1:
            raise ValueError(f"chunks is at least 1, or None for one per token: {self.chunks!r}")
        if self.output_tokens is not None and self.output_tokens < 0:
            raise ValueError(f"output_tokens is not negative: {self.output_tokens!r}")


class Ask(NamedTuple):
    """What the server needs of a request, whatever its wire format."""

    prompt_tokens: int
    last_text: str  # what an echo repeats
    cap: int | None  # most output tokens per choice
    choices: int
    include_usage: bool  # in a stream


class Usage(NamedTuple):
    """Honest token counts; ``completion`` counts all choices and includes ``reasoning``."""

    prompt: int
    completion: int
    reasoning: int


class Block(NamedTuple):
    """A run of output of one kind, as the parts it is streamed in."""

    kind: Literal["reasoning", "text", "tool"]
    parts: tuple[str, ...]
    name: str = ""

    @property
    def content(self) -> str:
        """The whole text of the block; for a tool call its arguments."""
        return "".join(self.parts)


@dataclass(frozen=True)
class Reply:
    """One answer, ready to be written in any wire format.

    ``finish`` is an OpenAI finish reason, None for an answer that never says why it ended. ``usage`` is the honest
    count, a mapping to report instead of it, or None for an answer without usage.
    """

    serial: str
    model: str
    created: int
    choices: int
    blocks: tuple[Block, ...]
    finish: str | None
    usage: Usage | Mapping[str, Any] | None
    include_usage: bool
    role_first: bool = False

    def text(self) -> str | None:
        """The visible text; None when the model only called tools."""
        texts = [block.content for block in self.blocks if block.kind == "text"]
        if texts:
            return "".join(texts)
        return None if self.tools() else ""

    def reasoning(self) -> str:
        """The thinking text, "" for none."""
        return "".join(block.content for block in self.blocks if block.kind == "reasoning")

    def tools(self) -> list[Block]:
        """The tool calls."""
        return [block for block in self.blocks if block.kind == "tool"]


def pieces(text: str) -> list[str]:
    """The text cut into tokens; joined together they are the text again."""
    return _PIECE.findall(text) or ([text] if text else [])


def part(tokens: Sequence[str], chunks: int | None) -> tuple[str, ...]:
    """The tokens grouped into ``chunks`` parts as even as possible; fewer if the text is too short, none empty."""
    if chunks is None:
        return tuple(tokens)
    units: Sequence[str] = tokens if chunks <= len(tokens) else "".join(tokens)
    size, count = len(units), min(chunks, len(units))
    return tuple("".join(units[i * size // count : (i + 1) * size // count]) for i in range(count))


def texts(content: Any) -> Iterable[str]:
    """Every text in a message's content: a string, or parts with ``text``, or nested ``content`` (tool results)."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, (list, tuple)):
        for item in content:
            yield from texts(item)
    elif isinstance(content, Mapping):
        if isinstance(content.get("text"), str):
            yield content["text"]
        else:
            yield from texts(content.get("content"))


def count_prompt(messages: Iterable[Any]) -> int:
    """Prompt tokens of message contents: all their characters / 4, rounded up, plus 4 for every message."""
    characters = extra = 0
    for content in messages:
        extra += 4
        characters += sum(map(len, texts(content)))
    return -(-characters // 4) + extra


def whole(value: Any) -> int | None:
    """The value if it is a whole number of at least 0, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def compose(behaviour: Behaviour, ask: Ask, body: Body, *, serial: str, model: str, created: int) -> Reply:
    """Let a model answer: its text within the cap of the request, counted."""
    drafts = _drafts(behaviour, ask, body)
    spoken = sum(_size(kind, tokens) for kind, tokens, _ in drafts)
    total = spoken if behaviour.output_tokens is None else behaviour.output_tokens
    finish = behaviour.finish_reason
    if any(kind == "tool" for kind, _, _ in drafts) and finish == "stop":
        finish = "tool_calls"
    if ask.cap is not None and total > ask.cap:
        keep = ask.cap if behaviour.output_tokens is None else -(-spoken * ask.cap // total)
        drafts, total, finish = _cut(drafts, keep), ask.cap, "length"
    blocks = tuple(
        Block(kind, part(tokens, behaviour.chunks if kind == "text" else None), name) for kind, tokens, name in drafts
    )
    thought = sum(len(tokens) for kind, tokens, _ in drafts if kind == "reasoning")
    usage = Usage(ask.prompt_tokens, total * ask.choices, min(thought, total) * ask.choices)
    return Reply(serial, model, created, ask.choices, blocks, finish, usage, ask.include_usage)


_Draft = tuple[Literal["reasoning", "text", "tool"], list[str], str]


def _drafts(behaviour: Behaviour, ask: Ask, body: Body) -> list[_Draft]:
    source = behaviour.reply
    text = source(body) if callable(source) else source
    if text is None and not behaviour.tool_calls:
        text = ask.last_text or "ok"
    drafts: list[_Draft] = []
    if behaviour.reasoning:
        drafts.append(("reasoning", pieces(behaviour.reasoning), ""))
    if text is not None:
        drafts.append(("text", pieces(text), ""))
    for call in behaviour.tool_calls:
        arguments = call.get("arguments", {})
        written = arguments if isinstance(arguments, str) else json.dumps(arguments)
        drafts.append(("tool", pieces(written), call["name"]))
    return drafts


def _size(kind: str, tokens: Sequence[str]) -> int:
    """Tokens of a block: a tool call's name is one token."""
    named = 1 if kind == "tool" else 0
    return named + (0 if len(tokens) == 1 and tokens[0].isspace() else len(tokens))


def _cut(drafts: Iterable[_Draft], keep: int) -> list[_Draft]:
    kept: list[_Draft] = []
    for kind, tokens, name in drafts:
        room = keep - (1 if kind == "tool" else 0)
        if room < 0 or (keep <= 0 and tokens):
            break
        kept.append((kind, tokens[:room], name))
        keep -= _size(kind, tokens[:room])
    return kept
