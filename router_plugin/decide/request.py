"""What a call needs, read from its keyword arguments in one pass: capabilities, tokens, output cap.

Token figures are cheap on purpose. ``upper`` is a true bound: every byte-level BPE token covers at least one byte, so
text has at most as many tokens as UTF-8 bytes, plus a frame for each message. ``estimate`` is bytes/4 for ASCII and
bytes/3 beyond it (CJK: about one token a character). Where a bound falls between ``low`` and ``upper``, and only
there, the caller tokenises exactly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import SpecError
from ..records import UNBOUNDED, Request, whole_number
from ..spec import capability as cap
from .history import history_of

# Chat templates add a few tokens a message; a tool list brings the provider's own system prompt (Anthropic: up to
# about 700 tokens), so the bound is generous there.
FRAME_TOKENS = 8
TOOLS_TOKENS = 800
# Dearest image tokenisation met so far: gpt-4o-mini bills a high-detail image as up to 48,169 tokens.
IMAGE_TOKENS_UPPER = 48_169
IMAGE_TOKENS_ESTIMATE = 1_100
PDF_TOKENS_PER_BYTE = 1  # text and page images of a PDF; an uncompressed text layer is about a byte a character


# Keywords that say more of a request than its messages do.
_OPTIONS = frozenset(
    {"tools", "functions", "parallel_tool_calls", "response_format", "modalities", "reasoning_effort", "thinking"}
    | {"stream", "n", "best_of", "max_tokens", "max_completion_tokens", "service_tier"}
    | {"cache_control_injection_points", "enable_prompt_caching", "web_search_options"}
)
# Searches that litellm lets a provider make for each size of ``web_search_options`` (Anthropic's ``max_uses``).
_SEARCHES = {"low": 1, "medium": 5, "high": 10}
# Tools that run at the provider and cost nothing but tokens; of the others nobody knows a bound.
_PLAIN_TOOLS = ("function", "custom", "bash", "text_editor", "computer", "memory", "mcp", "tool_search")


# Parts of other kinds that are nothing but text.
_TEXT_PARTS = (
    "tool_use",
    "tool_result",
    "refusal",
    "redacted_thinking",
    "output_text",
    "guarded_text",
    "search_result",
)


# Characters whose bytes are counted at once: what is encoded then stays in the processor's cache.
_PIECE = 16_384


def _bytes(text: str) -> int:
    """How many bytes a text has in UTF-8. Of a long one, pieces that are ASCII need not be encoded, which most are."""
    if len(text) <= _PIECE:
        return len(text.encode("utf-8", "surrogatepass"))
    pieces = (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
    return sum(len(piece) if piece.isascii() else len(piece.encode("utf-8", "surrogatepass")) for piece in pieces)


class _Tally:
    """Sizes of one request while it is being read."""

    n: int
    cap: int | None
    service_tier: str | None
    searches: int
    unusual: bool
    __slots__ = (
        "audio_bytes",
        "cache_marks",
        "cap",
        "cjk_bytes",
        "file_bytes",
        "images",
        "n",
        "needs",
        "searches",
        "service_tier",
        "text_bytes",
        "unbounded",
        "unusual",
    )

    def __init__(self) -> None:
        self.needs = self.text_bytes = self.cjk_bytes = self.images = self.audio_bytes = self.file_bytes = 0
        self.searches = 0
        self.unbounded = self.cache_marks = self.unusual = False
        self.n, self.cap, self.service_tier = 1, None, None

    def text(self, text: str) -> None:
        if text.isascii():
            self.text_bytes += len(text)
        else:
            self.cjk_bytes += _bytes(text)

    def value(self, value: Any) -> None:
        """Anything that is sent as JSON: tool schemas, arguments, unknown parts."""
        try:
            text = json.dumps(value, ensure_ascii=False, default=str)
            self.cache_marks |= '"cache_control"' in text
            self.text(text)
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
            self.unbounded |= kind not in _TEXT_PARTS  # nobody knows what a provider makes of it
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
    messages = kwargs["messages"] if "messages" in kwargs else None
    if messages.__class__ is not list and (not isinstance(messages, Sequence) or isinstance(messages, (str, bytes))):
        raise SpecError(
            f"messages: must be a list of messages such as [{{'role': 'user', 'content': 'Hi'}}], "
            f"not {type(messages).__name__}"
        )
    tally = _Tally()
    for message in messages:
        # Nearly every message is a dict of role and text: such ones are read without a call that can be spared.
        content = message["content"] if message.__class__ is dict and "content" in message else None
        if content.__class__ is str and "role" in message and len(message) == 2:
            if content.isascii():
                tally.text_bytes += len(content)
            else:
                tally.text(content)
            if message["role"] == "system":
                tally.needs |= cap.SYSTEM
        else:
            _read_message(message, tally)
    if not _OPTIONS.isdisjoint(kwargs):
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
    elif isinstance(content, Sequence) and not isinstance(content, (bytes, bytearray)):
        for part in content:
            tally.part(part)
    elif content is not None:
        raise SpecError(f"messages: content must be text, a list of parts or None, not {type(content).__name__}")
    _read_rest(message, tally)


def _read_rest(message: Mapping[str, Any], tally: _Tally) -> None:
    tally.unusual = True
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
        tally.searches += _searches(tools)
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
    if get("cache_control_injection_points") or get("enable_prompt_caching"):
        tally.cache_marks = True
    search = get("web_search_options")
    if search is not None:
        size = search.get("search_context_size") if isinstance(search, Mapping) else None
        tally.searches += _SEARCHES.get(str(size), UNBOUNDED)
    tally.n = max(whole_number("n", get("n")) or 1, whole_number("best_of", get("best_of")) or 1)
    tally.service_tier = get("service_tier")
    spellings = [whole_number(name, get(name)) for name in ("max_tokens", "max_completion_tokens")]
    tally.cap = min((cap for cap in spellings if cap is not None), default=None)


def _searches(tools: Any) -> int:
    """How often the provider's own tools among these may search the web (or run at a price of their own)."""
    most = 0
    for tool in tools if isinstance(tools, Sequence) else ():
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if kind is None and isinstance(tool, Mapping) and any("search" in str(key).lower() for key in tool):
            most += UNBOUNDED  # Gemini's own spelling: {"googleSearch": {}}
        elif isinstance(kind, str) and not kind.startswith(_PLAIN_TOOLS):
            uses = tool.get("max_uses")
            most += uses if type(uses) is int and 0 <= uses < UNBOUNDED else UNBOUNDED
    return most


def longer(request: Request, text: str) -> Request:
    """The request with one more message of this text (what a stream is continued from)."""
    size = _bytes(text)
    tokens = size // 4 if text.isascii() else size // 3
    return replace(
        request,
        estimate=request.estimate + tokens,
        upper=min(request.upper + size + FRAME_TOKENS, UNBOUNDED),
        low=request.low + tokens // 2,
        messages=[*request.messages, {"role": "assistant", "content": text}],
        exact_counts={},
    )


def opening_key(messages: Sequence[Any]) -> str:
    """A session key made of how the conversation began: its first system and its first human message."""
    parts = []
    for role in ("system", "user"):
        for message in messages:
            if isinstance(message, Mapping) and message.get("role") == role:
                parts.append(f"{role}:{message.get('content')}")
                break
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


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
    frames = FRAME_TOKENS * len(messages)
    estimate = tally.text_bytes // 4 + tally.cjk_bytes // 3 + frames // 2
    upper = tally.text_bytes + tally.cjk_bytes + frames + 16
    low = estimate // 2
    if tally.images or tally.audio_bytes or tally.file_bytes:
        media = tally.audio_bytes // 1_000 + tally.file_bytes // 20
        estimate += tally.images * IMAGE_TOKENS_ESTIMATE + media
        upper += tally.images * IMAGE_TOKENS_UPPER + tally.audio_bytes // 20
        upper += tally.file_bytes * PDF_TOKENS_PER_BYTE
    if tally.unbounded:
        upper = UNBOUNDED
    user = kwargs["user"] if "user" in kwargs else None
    return Request(
        tally.needs,
        estimate,
        upper,
        low,
        tally.cap,
        tally.n,
        bool(tally.needs & cap.STREAMING),
        messages,
        kwargs["tools"] if "tools" in kwargs else None,
        tally.cache_marks,
        tally.service_tier,
        min(tally.searches, UNBOUNDED),
        history_of(messages) if tally.unusual else None,
        {"user": user, "extra": extra, "metadata": kwargs["metadata"] if "metadata" in kwargs else None},
        {},
    )
