"""OpenAI responses: the parts of it that clients need to accept an answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .reply import Ask, Block, Body, Reply, Usage, count_prompt, texts, whole
from .wire import Event, Family, Problem, Wire, renamed, to_json
from .wire_openai import openai_error

_NAMES: dict[str, str | None] = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}


class Responses(Wire):
    """``POST /v1/responses``."""

    family: Family = "openai"
    request_id_header = "x-request-id"

    def ask(self, body: Body) -> Ask:
        given = body.get("input")
        items = given if isinstance(given, list) else [given]
        contents = [item.get("content", item.get("output")) if isinstance(item, dict) else item for item in items]
        system = [body["instructions"]] if body.get("instructions") else []
        return Ask(
            prompt_tokens=count_prompt(system + contents),
            last_text="".join(texts(contents[-1])) if contents else "",
            cap=whole(body.get("max_output_tokens")),
            choices=1,
            include_usage=True,
        )

    def answer(self, reply: Reply) -> Body:
        status = {None: "in_progress", "length": "incomplete", "content_filter": "incomplete"}.get(
            reply.finish, "completed"
        )
        body = self._response(reply, status, [_item(reply, i, block) for i, block in enumerate(reply.blocks)])
        if status == "incomplete":
            reason = "max_output_tokens" if reply.finish == "length" else "content_filter"
            body["incomplete_details"] = {"reason": reason}
        if reply.usage is not None:
            body["usage"] = _usage(reply.usage)
        return body

    def events(self, reply: Reply) -> Iterator[Event]:
        for number, (kind, fields, content) in enumerate(self._stream(reply)):
            done = kind in ("response.completed", "response.incomplete")
            yield Event(_event(kind, sequence_number=number, **fields), content, done)

    def error(self, problem: Problem) -> Body:
        return openai_error(problem)

    def error_event(self, problem: Problem) -> bytes:
        return _event("error", code=problem.openai_code, message=problem.message, param=None, sequence_number=0)

    def malformed_event(self) -> bytes:
        return b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","del\n\n'

    def _stream(self, reply: Reply) -> Iterator[tuple[str, Body, bool]]:
        opening = self._response(reply, "in_progress", [])
        yield "response.created", {"response": opening}, False
        yield "response.in_progress", {"response": opening}, False
        for place, block in enumerate(reply.blocks):
            where: Body = {"output_index": place}
            whole_item = _item(reply, place, block)
            empty = _item(reply, place, block._replace(parts=()), status="in_progress")
            if block.kind == "text":
                empty["content"] = []
            yield "response.output_item.added", {**where, "item": empty}, False
            yield from _contents({**where, "item_id": whole_item["id"]}, block)
            yield "response.output_item.done", {**where, "item": whole_item}, False
        if reply.finish is not None:
            final = self.answer(reply)
            yield f"response.{final['status']}", {"response": final}, False

    @staticmethod
    def _response(reply: Reply, status: str, output: list[Body]) -> Body:
        return {
            "id": f"resp_{reply.serial}",
            "object": "response",
            "created_at": reply.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": reply.model,
            "output": output,
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": None,
        }


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), to_json({"type": kind, **fields}))


def _text_part(text: str) -> Body:
    return {"type": "output_text", "text": text, "annotations": []}


def _item(reply: Reply, place: int, block: Block, status: str = "completed") -> Body:
    key = f"{reply.serial}_{place}"
    if block.kind == "text":
        content = [_text_part(block.content)]
        return {"id": f"msg_{key}", "type": "message", "status": status, "role": "assistant", "content": content}
    if block.kind == "reasoning":
        return {"id": f"rs_{key}", "type": "reasoning", "summary": [{"type": "summary_text", "text": block.content}]}
    return {
        "id": f"fc_{key}",
        "type": "function_call",
        "status": status,
        "call_id": f"call_{key}",
        "name": block.name,
        "arguments": block.content,
    }


def _contents(where: Body, block: Block) -> Iterator[tuple[str, Body, bool]]:
    if block.kind == "text":
        where = {**where, "content_index": 0}
        yield "response.content_part.added", {**where, "part": _text_part("")}, False
        for part in block.parts:
            yield "response.output_text.delta", {**where, "delta": part, "logprobs": []}, True
        yield "response.output_text.done", {**where, "text": block.content, "logprobs": []}, False
        yield "response.content_part.done", {**where, "part": _text_part(block.content)}, False
    elif block.kind == "tool":
        for part in block.parts:
            yield "response.function_call_arguments.delta", {**where, "delta": part}, True
        yield "response.function_call_arguments.done", {**where, "arguments": block.content}, False
    else:
        where = {**where, "summary_index": 0}
        for part in block.parts:
            yield "response.reasoning_summary_text.delta", {**where, "delta": part}, True
        yield "response.reasoning_summary_text.done", {**where, "text": block.content}, False


def _usage(usage: Any) -> Body:
    if not isinstance(usage, Usage):
        return renamed(usage, _NAMES)
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }
