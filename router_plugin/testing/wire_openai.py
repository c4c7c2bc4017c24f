"""OpenAI chat completions and legacy completions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from .reply import Ask, Body, Reply, Usage, count_prompt, texts, whole
from .wire import Event, Family, Problem, Wire, renamed, to_json

_NAMES: dict[str, str | None] = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}


def _data(value: Any) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"


def _include_usage(body: Body) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def openai_error(problem: Problem) -> Body:
    """The error object of every OpenAI API."""
    return {
        "error": {
            "message": problem.message,
            "type": problem.openai_type,
            "param": problem.param,
            "code": problem.openai_code,
        }
    }


class _OpenAI(Wire):
    """What chat and legacy completions share."""

    family: Family = "openai"
    request_id_header = "x-request-id"
    sentinel = b"data: [DONE]\n\n"
    prefix: str

    def error(self, problem: Problem) -> Body:
        return openai_error(problem)

    def error_event(self, problem: Problem) -> bytes:
        return _data(openai_error(problem))

    def malformed_event(self) -> bytes:
        return b'data: {"id":"' + self.prefix.encode() + b'-broken","choices":[{"index":0,"del\n\n'

    def envelope(self, reply: Reply, kind: str, choices: list[Body]) -> Body:
        return {
            "id": f"{self.prefix}-{reply.serial}",
            "object": kind,
            "created": reply.created,
            "model": reply.model,
            "choices": choices,
        }

    def usage(self, usage: Any) -> Body:
        if not isinstance(usage, Usage):
            return renamed(usage, _NAMES)
        prompt, completion, reasoning = usage
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }

    def chunk(self, reply: Reply, kind: str, choices: list[Body], usage: Body | None = None) -> bytes:
        """One stream chunk; with usage on, the chunks before the last say ``"usage": null``."""
        body = self.envelope(reply, kind, choices)
        if reply.include_usage and reply.usage is not None:
            body["usage"] = usage
        return _data(body)

    def tail(self, reply: Reply, kind: str) -> Iterator[Event]:
        """The usage chunk, if it was asked for, and the end mark."""
        if reply.include_usage and reply.usage is not None:
            yield Event(self.chunk(reply, kind, [], self.usage(reply.usage)))
        yield Event(self.sentinel, done=True)


class Chat(_OpenAI):
    """``POST /v1/chat/completions``."""

    prefix = "chatcmpl"

    def ask(self, body: Body) -> Ask:
        messages = body.get("messages")
        contents = [m.get("content") for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
        cap = whole(body.get("max_completion_tokens"))
        return Ask(
            prompt_tokens=count_prompt(contents),
            last_text="".join(texts(contents[-1])) if contents else "",
            cap=whole(body.get("max_tokens")) if cap is None else cap,
            choices=whole(body.get("n")) or 1,
            include_usage=_include_usage(body),
        )

    def answer(self, reply: Reply) -> Body:
        choices = [
            {"index": i, "message": self._message(reply, i), "logprobs": None, "finish_reason": reply.finish}
            for i in range(reply.choices)
        ]
        body = self.envelope(reply, "chat.completion", choices)
        if reply.usage is not None:
            body["usage"] = self.usage(reply.usage)
        return body

    def events(self, reply: Reply) -> Iterator[Event]:
        kind = "chat.completion.chunk"

        def event(index: int, delta: Body, *, content: bool = False, finish: str | None = None) -> Event:
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            return Event(self.chunk(reply, kind, [choice]), content)

        role: Body = {"role": "assistant", "content": ""}
        choices = range(reply.choices)
        deltas = [list(self._deltas(reply, i)) for i in choices]
        alone = reply.role_first or not deltas[0]
        if alone:
            yield from (event(i, role) for i in choices)
        for turn, row in enumerate(zip_longest(*deltas)):
            for i, delta in enumerate(row):
                yield event(i, delta if alone or turn else {**role, "content": None, **delta}, content=True)
        if reply.finish is not None:
            yield from (event(i, {}, finish=reply.finish) for i in choices)
        yield from self.tail(reply, kind)

    def _message(self, reply: Reply, index: int) -> Body:
        message: Body = {"role": "assistant", "content": reply.text(), "refusal": None}
        reasoning, tools = reply.reasoning(), reply.tools()
        if reasoning:
            message["reasoning_content"] = reasoning
        if tools:
            message["tool_calls"] = [
                {
                    "id": _tool_id(reply, index, place),
                    "type": "function",
                    "function": {"name": tool.name, "arguments": tool.content},
                }
                for place, tool in enumerate(tools)
            ]
        return message

    def _deltas(self, reply: Reply, index: int) -> Iterator[Body]:
        place = -1
        for kind, parts, name in reply.blocks:
            if kind == "tool":
                place += 1
                function: Body = {"name": name, "arguments": ""}
                call = {"index": place, "id": _tool_id(reply, index, place), "type": "function", "function": function}
                yield {"tool_calls": [call]}
                for part in parts:
                    yield {"tool_calls": [{"index": place, "function": {"arguments": part}}]}
            else:
                field = "content" if kind == "text" else "reasoning_content"
                for part in parts:
                    yield {field: part}


class Completions(_OpenAI):
    """``POST /v1/completions``: the text only, ``n`` choices for every prompt."""

    prefix = "cmpl"

    def ask(self, body: Body) -> Ask:
        prompt = body.get("prompt")
        many = prompt if isinstance(prompt, list) and prompt and isinstance(prompt[0], (str, list)) else [prompt]
        return Ask(
            prompt_tokens=count_prompt(many),
            last_text="".join(texts(many[-1])),
            cap=whole(body.get("max_tokens")),
            choices=(whole(body.get("n")) or 1) * len(many),
            include_usage=_include_usage(body),
        )

    def answer(self, reply: Reply) -> Body:
        choices = [self._choice(i, reply.text() or "", reply.finish) for i in range(reply.choices)]
        body = self.envelope(reply, "text_completion", choices)
        if reply.usage is not None:
            body["usage"] = self.usage(reply.usage)
        return body

    def events(self, reply: Reply) -> Iterator[Event]:
        kind = "text_completion"
        for part in (part for block in reply.blocks if block.kind == "text" for part in block.parts):
            for i in range(reply.choices):
                yield Event(self.chunk(reply, kind, [self._choice(i, part, None)]), content=True)
        if reply.finish is not None:
            for i in range(reply.choices):
                yield Event(self.chunk(reply, kind, [self._choice(i, "", reply.finish)]))
        yield from self.tail(reply, kind)

    @staticmethod
    def _choice(index: int, text: str, finish: str | None) -> Body:
        return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def _tool_id(reply: Reply, choice: int, place: int) -> str:
    return f"call_{reply.serial}_{choice}_{place}"
