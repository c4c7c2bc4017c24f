"""What a call needs, read from its keyword arguments in one pass: capabilities, tokens, output cap.

Token figures are cheap on purpose. ``upper`` is a true bound: every byte-level BPE token covers at least one byte, so
text has at most as many tokens as UTF-8 bytes, plus a frame for each message. ``estimate`` is bytes/4 for ASCII and
bytes/3 beyond it (CJK: about one token a character). Where a bound falls between ``low`` and ``upper``, and only
there, the caller tokenises exactly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import SpecError
from ..records import UNBOUNDED, Request
from ..spec import capability as cap

# Chat templates add a few tokens a message; a tool list brings the provider's own system prompt (Anthropic: up to
# about 700 tokens), so the bound is generous there.
FRAME_TOKENS = 8
TOOLS_TOKENS = 800
# Dearest image tokenisation met so far: gpt-4o-mini bills a high-detail image as up to 48,169 tokens.
IMAGE_TOKENS_UPPER = 48_169
IMAGE_TOKENS_ESTIMATE = 1_100
PDF_TOKENS_PER_BYTE = 1  # text and page images of a PDF; an uncompressed text layer is about a byte a character


class _Tally:
    """Sizes of one request while it is being read."""

    __slots__ = ("audio_bytes", "cache_marks", "cjk_bytes", "file_bytes", "images", "needs", "text_bytes", "unbounded")

    def __init__(self) -> None:
        self.needs = self.text_bytes = self.cjk_bytes = self.images = self.audio_bytes = self.file_bytes = 0
        self.unbounded = self.cache_marks = False

    def text(self, text: str) -> None:
        if text.isascii():
            self.text_bytes += len(text)
        else:
            self.cjk_bytes += len(text.encode("utf-8", "surrogatepass"))

    def value(self, value: Any) -> None:
        """Anything that is sent as JSON: tool schemas, arguments, unknown parts."""
        try:
            self.text(json.dumps(value, ensure_ascii=False, default=str))
        except (TypeError, ValueError, RecursionError):
            self.unbounded = True

    def part(self, part: Any) -> None:
        kind = None
        if isinstance(part, Mapping):
            kind = part.get("type")
            self.cache_marks |= "cache_control" in part
        if kind in ("text", "input_text", "thinking") and isinstance(part.get("text", part.get("thinking")), str):
            self.text(part.get("text") or part.get("thinking") or "")
        elif kind in ("image_url", "image", "input_image"):
            self.needs |= cap.VISION
            self.images += 1
        elif kind in ("input_audio", "audio", "audio_url"):
            self.needs |= cap.AUDIO_INPUT
            self.audio_bytes += _payload(part) or 0
            self.unbounded |= _payload(part) is None
        elif kind in ("file", "document", "input_file"):
            self.needs |= cap.FILES
            self.file_bytes += _payload(part) or 0
            self.unbounded |= _payload(part) is None
        elif isinstance(part, str):
            self.text(part)
        else:
            self.value(part)


def _payload(part: Mapping[str, Any]) -> int | None:
    """Bytes of inline data in a media part; None where it is only referred to (a URL or an id)."""
    for value in part.values():
        if isinstance(value, Mapping):
            data = value.get("data") or value.get("file_data")
            if isinstance(data, str):
                return len(data) * 3 // 4
    return None


def read_request(kwargs: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> Request:
    """The request in ``kwargs`` (litellm's keyword arguments) and the call's ``extra``.

    Raises: SpecError where ``messages`` is not a list of messages.
    """
    messages = kwargs.get("messages")
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)):
        raise SpecError(
            f"messages: must be a list of messages such as [{{'role': 'user', 'content': 'Hi'}}], "
            f"not {type(messages).__name__}"
        )
    tally = _Tally()
    for message in messages:
        # Nearly every message is a dict with text: kept free of calls that it does not need.
        content = message.get("content") if type(message) is dict else None
        if type(content) is str:
            if content.isascii():
                tally.text_bytes += len(content)
            else:
                tally.text(content)
            if message.get("role") == "system":
                tally.needs |= cap.SYSTEM
            if len(message) > 2:
                _read_rest(message, tally)
        else:
            _read_message(message, tally)
    _read_options(kwargs, tally)
    return _sized(kwargs, messages, tally, extra)


def _read_message(message: Any, tally: _Tally) -> None:
    if not isinstance(message, Mapping):
        dump = getattr(message, "model_dump", None)
        message = dump() if callable(dump) else None
        if not isinstance(message, Mapping):
            raise SpecError("messages: every message must be a mapping with 'role' and 'content'")
    content = message.get("content")
    if isinstance(content, str):
        tally.text(content)
    elif isinstance(content, Sequence):
        for part in content:
            tally.part(part)
    elif content is not None:
        raise SpecError(f"messages: content must be text, a list of parts or None, not {type(content).__name__}")
    _read_rest(message, tally)


def _read_rest(message: Mapping[str, Any], tally: _Tally) -> None:
    if message.get("role") in ("system", "developer"):
        tally.needs |= cap.SYSTEM
    for key, value in message.items():
        if key == "cache_control":
            tally.cache_marks = True
        elif key not in ("role", "content") and value is not None:
            tally.value(value)


def _read_options(kwargs: Mapping[str, Any], tally: _Tally) -> None:
    get = kwargs.get
    tools = get("tools") or get("functions")
    if tools:
        tally.needs |= cap.TOOLS
        tally.value(tools)
        tally.text_bytes += TOOLS_TOKENS
        if get("parallel_tool_calls") is True:
            tally.needs |= cap.PARALLEL_TOOLS
    response_format = get("response_format")
    if response_format is not None:
        _read_format(response_format, tally)
    if get("modalities") and "audio" in get("modalities", ()):
        tally.needs |= cap.AUDIO_OUTPUT
    if get("reasoning_effort") not in (None, "none") or get("thinking"):
        tally.needs |= cap.REASONING
    if get("stream"):
        tally.needs |= cap.STREAMING


def _read_format(response_format: Any, tally: _Tally) -> None:
    if isinstance(response_format, Mapping):
        kind = response_format.get("type")
        tally.needs |= cap.JSON_SCHEMA if kind == "json_schema" else cap.JSON_MODE if kind == "json_object" else 0
        tally.value(response_format)
    elif isinstance(response_format, type):
        tally.needs |= cap.JSON_SCHEMA
        schema = getattr(response_format, "model_json_schema", None)
        if callable(schema):
            tally.value(schema())


def _sized(
    kwargs: Mapping[str, Any], messages: Sequence[Any], tally: _Tally, extra: Mapping[str, Any] | None
) -> Request:
    frame = 16 + FRAME_TOKENS * len(messages)
    estimate = tally.text_bytes // 4 + tally.cjk_bytes // 3 + FRAME_TOKENS // 2 * len(messages)
    upper = tally.text_bytes + tally.cjk_bytes + frame
    low = estimate // 2
    if tally.images or tally.audio_bytes or tally.file_bytes:
        media = tally.audio_bytes // 1_000 + tally.file_bytes // 20
        estimate += tally.images * IMAGE_TOKENS_ESTIMATE + media
        upper += tally.images * IMAGE_TOKENS_UPPER + tally.audio_bytes // 20
        upper += tally.file_bytes * PDF_TOKENS_PER_BYTE
    if tally.unbounded:
        upper = UNBOUNDED
    n = kwargs.get("n")
    user = kwargs.get("user")
    return Request(
        tally.needs,
        estimate,
        upper,
        low,
        output_cap(kwargs),
        n if type(n) is int and n > 1 else 1,
        bool(kwargs.get("stream")),
        messages,
        kwargs.get("tools"),
        user if isinstance(user, str) else None,
        tally.cache_marks or bool(kwargs.get("cache_control_injection_points") or kwargs.get("enable_prompt_caching")),
        kwargs.get("service_tier"),
        {"user": user, "extra": extra, "metadata": kwargs.get("metadata")},
    )


def output_cap(kwargs: Mapping[str, Any]) -> int | None:
    """The caller's own cap on output tokens: the lower of the two spellings; nonsense is left to the provider."""
    one, two = kwargs.get("max_tokens"), kwargs.get("max_completion_tokens")
    if one is None and two is None:
        return None
    caps = [value for value in (one, two) if type(value) is int and value > 0]
    return min(caps) if caps else None
