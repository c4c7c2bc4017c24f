"""Anthropic messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .reply import Ask, Block, Body, Reply, Usage, count_prompt, texts, whole
from .wire import Event, Family, Problem, Wire, renamed, to_json

_NAMES: dict[str, str | None] = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": None,
}
_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), to_json({"type": kind, **fields}))


class Messages(Wire):
    """``POST /v1/messages``."""

    family: Family = "anthropic"
    request_id_header = "request-id"

    def ask(self, body: Body) -> Ask:
        messages = body.get("messages")
        contents = [m.get("content") for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
        system = [body["system"]] if body.get("system") else []
        return Ask(
            prompt_tokens=count_prompt(system + contents),
            last_text="".join(texts(contents[-1])) if contents else "",
            cap=whole(body.get("max_tokens")),
            choices=1,
            include_usage=True,
        )

    def answer(self, reply: Reply) -> Body:
        content = [_block(reply, place, block) for place, block in enumerate(reply.blocks)]
        stop = _STOP.get(reply.finish, reply.finish) if reply.finish else None
        return self._message(reply, content, stop, _usage(reply.usage, whole_answer=True))

    def events(self, reply: Reply) -> Iterator[Event]:
        opening = self._message(reply, [], None, _usage(reply.usage, whole_answer=False))
        yield Event(_event("message_start", message=opening))
        yield Event(_event("ping"))
        for place, block in enumerate(reply.blocks):
            yield Event(_event("content_block_start", index=place, content_block=_opening(reply, place, block)))
            kind, field = _DELTAS[block.kind]
            for part in block.parts:
                yield Event(_event("content_block_delta", index=place, delta={"type": kind, field: part}), content=True)
            if block.kind == "reasoning":
                delta = {"type": "signature_delta", "signature": _signature(reply)}
                yield Event(_event("content_block_delta", index=place, delta=delta))
            yield Event(_event("content_block_stop", index=place))
        stop = _STOP.get(reply.finish, reply.finish) if reply.finish else None
        closing: Body = {"delta": {"stop_reason": stop, "stop_sequence": None}}
        usage = _usage(reply.usage, whole_answer=True)
        if usage is not None:
            closing["usage"] = usage
        yield Event(_event("message_delta", **closing))
        yield Event(_event("message_stop"), done=True)

    def error(self, problem: Problem) -> Body:
        return {"type": "error", "error": {"type": problem.anthropic_type, "message": problem.message}}

    def error_event(self, problem: Problem) -> bytes:
        return _event("error", error={"type": problem.anthropic_type, "message": problem.message})

    def malformed_event(self) -> bytes:
        return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"del\n\n'

    @staticmethod
    def _message(reply: Reply, content: list[Body], stop: str | None, usage: Body | None) -> Body:
        message: Body = {
            "id": f"msg_{reply.serial}",
            "type": "message",
            "role": "assistant",
            "model": reply.model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
        }
        if usage is not None:
            message["usage"] = usage
        return message


_DELTAS = {
    "text": ("text_delta", "text"),
    "reasoning": ("thinking_delta", "thinking"),
    "tool": ("input_json_delta", "partial_json"),
}


def _signature(reply: Reply) -> str:
    return f"sig_{reply.serial}"


def _opening(reply: Reply, place: int, block: Block) -> Body:
    """A content block before any of its content."""
    if block.kind == "text":
        return {"type": "text", "text": ""}
    if block.kind == "reasoning":
        return {"type": "thinking", "thinking": "", "signature": ""}
    return {"type": "tool_use", "id": f"toolu_{reply.serial}_{place}", "name": block.name, "input": {}}


def _block(reply: Reply, place: int, block: Block) -> Body:
    opened = _opening(reply, place, block)
    if block.kind == "tool":
        return {**opened, "input": _arguments(block.content)}
    if block.kind == "reasoning":
        return {**opened, "thinking": block.content, "signature": _signature(reply)}
    return {**opened, "text": block.content}


def _arguments(text: str) -> Any:
    """The arguments as an object, which is what this API sends; {} for arguments that were cut or never JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return {}


def _usage(usage: Any, *, whole_answer: bool) -> Body | None:
    """At the start of a stream only the input is known; the API then says 1 output token."""
    if usage is None:
        return None
    if not isinstance(usage, Usage):
        return renamed(usage, _NAMES)
    return {
        "input_tokens": usage.prompt,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": usage.completion if whole_answer else min(1, usage.completion),
    }
