"""Tokens and text of an answer, whoever made it: litellm's and the OpenAI SDK's objects, Anthropic's, plain dicts.

Usage that is missing, negative or not a number is no usage: the caller then estimates from the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..records import Candidate, Request, Usage, hidden_params

_MOST = 1_000_000_000_000


def field(source: Any, name: str) -> Any:
    """``source[name]`` or ``source.name``; None where there is neither."""
    if isinstance(source, Mapping):
        return source.get(name)
    return getattr(source, name, None)


def _count(source: Any, *names: str) -> int | None:
    for name in names:
        value = field(source, name)
        if value is not None:
            ok = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _MOST
            return int(value) if ok else None
    return None


def read_usage(answer: Any) -> Usage | None:
    """The usage an answer carries; None where it carries none that can be believed."""
    usage = answer.get("usage") if answer.__class__ is dict else getattr(answer, "usage", None)
    if usage is None:
        return None
    try:
        # litellm's and the SDKs' models keep their fields there; the usual answer is read without a call.
        plain, more = usage.__dict__, usage.__pydantic_extra__
        prompt, completion = plain["prompt_tokens"], plain["completion_tokens"]
        details, spoken = plain["prompt_tokens_details"], plain["completion_tokens_details"]
    except (AttributeError, KeyError):
        return _read_any(usage)
    if prompt.__class__ is not int or completion.__class__ is not int:
        return _read_any(usage)
    if not (0 <= prompt < _MOST and 0 <= completion < _MOST) or prompt + completion == 0:
        return None
    result = Usage(prompt, completion)
    if _tells_nothing(details, spoken, plain, more):
        return result
    return _with_details(result, usage, details, spoken)


# What else an answer's usage may count, by the names in litellm's objects.
_INPUT_DETAILS = ("cached_tokens", "cache_creation_tokens", "audio_tokens", "web_search_requests")
_OUTPUT_DETAILS = ("reasoning_tokens", "audio_tokens")
_BESIDE = ("server_tool_use", "cache_read_input_tokens", "cache_creation_input_tokens")


def _tells_nothing(details: Any, spoken: Any, plain: Any, more: Any) -> bool:
    """Whether every further count is absent or 0, as in most answers; False where that is not seen at once."""
    try:
        if details is not None:
            figures = details.__dict__
            for name in _INPUT_DETAILS:
                if name in figures and figures[name]:
                    return False
        if spoken is not None:
            figures = spoken.__dict__
            for name in _OUTPUT_DETAILS:
                if name in figures and figures[name]:
                    return False
    except AttributeError:
        return False
    for name in _BESIDE:  # a generator would be a call for each
        if name in plain and plain[name]:  # and so would .get()
            return False
        if more and name in more and more[name]:
            return False
    return True


def _read_any(usage: Any) -> Usage | None:
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    completion = _count(usage, "completion_tokens", "output_tokens")
    if prompt is None or completion is None or prompt + completion == 0:
        return None
    details = field(usage, "prompt_tokens_details") or field(usage, "input_tokens_details")
    spoken = field(usage, "completion_tokens_details") or field(usage, "output_tokens_details")
    return _with_details(Usage(prompt, completion), usage, details, spoken)


def _with_details(result: Usage, usage: Any, details: Any, spoken: Any) -> Usage:
    if details is not None:
        figures = details if details.__class__ is dict else getattr(details, "__dict__", details)
        result.searches = _figure(figures, "web_search_requests")
        result.cached_tokens = _figure(figures, "cached_tokens")
        result.cache_write_tokens = _figure(figures, "cache_creation_tokens")
        result.audio_input_tokens = _figure(figures, "audio_tokens")
    if spoken is not None:
        figures = spoken if spoken.__class__ is dict else getattr(spoken, "__dict__", spoken)
        result.reasoning_tokens = _figure(figures, "reasoning_tokens")
        result.audio_output_tokens = _figure(figures, "audio_tokens")
    # Anthropic's own names stand beside the OpenAI ones in litellm's objects, and alone in Anthropic's.
    figures = usage if usage.__class__ is dict else getattr(usage, "__pydantic_extra__", usage)
    if figures:
        result.cached_tokens = max(result.cached_tokens, _figure(figures, "cache_read_input_tokens"))
        result.cache_write_tokens = max(result.cache_write_tokens, _figure(figures, "cache_creation_input_tokens"))
    made = field(usage, "server_tool_use")
    if made is not None:
        result.searches = max(result.searches, _count(made, "web_search_requests") or 0)
    return result


def _figure(figures: Any, name: str) -> int:
    """A count in a mapping (or an object); 0 where it is missing or nonsense."""
    if figures.__class__ is dict:
        value = figures[name] if name in figures else 0
        if value is None:
            return 0
        if value.__class__ is int and value >= 0:
            return value
    return _count(figures, name) or 0


def cost_of(candidate: Candidate, usage: Usage) -> float:
    """What the usage costs at the candidate's prices, nano-dollars.

    litellm's convention: ``prompt_tokens`` include what was read from and written to a cache.
    """
    facts, scale = candidate.facts, 1.0
    price_in, price_out = candidate.input_price, candidate.output_price
    if not (
        facts.tiers
        or usage.cached_tokens
        or usage.cache_write_tokens
        or usage.audio_input_tokens
        or usage.audio_output_tokens
        or usage.reasoning_tokens
        or usage.searches
    ):
        return usage.input_tokens * price_in + usage.output_tokens * price_out
    for threshold, above_in, above_out in facts.tiers:
        if usage.input_tokens > threshold:
            price_in, price_out = above_in, above_out
            scale = above_in / candidate.input_price if candidate.input_price else 1.0
    cached = min(usage.cached_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - cached)
    audio = min(usage.audio_input_tokens, usage.input_tokens - cached - written)
    cost = (usage.input_tokens - cached - written - audio) * price_in
    cost += cached * _or(facts.cache_read_price, price_in, scale)
    cost += written * _or(facts.cache_write_price, price_in, scale)
    cost += audio * _or(facts.audio_input_price, price_in)
    if usage.searches:
        cost += usage.searches * (facts.search_price or 0.0)
    spoken = min(usage.audio_output_tokens, usage.output_tokens)
    thought = min(usage.reasoning_tokens, usage.output_tokens - spoken)
    cost += (usage.output_tokens - spoken - thought) * price_out
    return cost + spoken * _or(facts.audio_output_price, price_out) + thought * _or(facts.reasoning_price, price_out)


def count_searches(usage: Usage, candidate: Candidate, request: Request) -> None:
    """Where litellm does not say what searches cost (in streams): at least one was made where any could be."""
    if not usage.searches and (request.searches or candidate.facts.always_searches):
        usage.searches = 1


def _or(price: float | None, default: float, scale: float = 1.0) -> float:
    return default if price is None else price * scale


def cut_short(usage: Usage | None, text: str) -> Usage | None:
    """What a provider reported of an answer that did not end, with at least the output received."""
    if usage is not None:
        usage.output_tokens, usage.exact = max(usage.output_tokens, tokens_of_text(text)), False
    return usage


def tokens_of_text(text: str) -> int:
    """Estimated tokens of a piece of output: bytes/4 for ASCII, bytes/3 beyond, rounded up."""
    if not text:
        return 0
    return -(-len(text) // 4) if text.isascii() else -(-len(text.encode("utf-8", "surrogatepass")) // 3)


def output_text(answer: Any) -> str:
    """All text that an answer or a chunk holds (content, reasoning, tool arguments), for estimating its tokens."""
    parts: list[str] = []
    if isinstance(answer, str):
        return answer
    for choice in _items(field(answer, "choices")):
        message = field(choice, "message") or field(choice, "delta")
        if message is None:
            text = field(choice, "text")
            parts += [text] if isinstance(text, str) else []
            continue
        parts += [v for v in (field(message, "content"), field(message, "reasoning_content")) if isinstance(v, str)]
        for call in _items(field(message, "tool_calls")):
            function = field(call, "function")
            parts += [v for v in (field(function, "name"), field(function, "arguments")) if isinstance(v, str)]
    for block in (*_items(field(answer, "content")), field(answer, "delta")):  # Anthropic's answers and events
        for name in ("text", "thinking", "partial_json"):
            text = field(block, name)
            parts += [text] if isinstance(text, str) else []
    return "".join(parts)


def bill(response: Any, candidate: Candidate, request: Request) -> tuple[int, Usage]:
    """What an answer cost in nano-dollars, and its usage: usage × prices, or an estimate from the text.

    litellm's own figure counts where the deployment declares no price: as it is where we know none either, or where a
    service tier was asked for; else where it is higher (it knows of searches and the like). What a request can make
    litellm believe never lowers what a budget is charged.
    """
    usage, hidden = read_usage(response), hidden_params(response)
    if hidden is not None and "cache_hit" in hidden and hidden["cache_hit"] is True:
        return 0, usage or Usage(0, 0)  # litellm's own cache answered: nobody is paid
    if usage is None:
        usage = Usage(request.estimate, tokens_of_text(output_text(response)), exact=False)
    if request.searches and candidate.own_price:
        count_searches(usage, candidate, request)
    ours = int(cost_of(candidate, usage) + 0.5)
    if usage.exact and not candidate.own_price:
        cost = hidden["response_cost"] if hidden is not None and "response_cost" in hidden else None
        if cost.__class__ in (float, int) and 0 < cost < 1e9:
            theirs = int(cost * 1e9 + 0.5)
            if theirs > ours or not candidate.priced or request.service_tier is not None:
                return theirs, usage
    return ours, usage


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, (list, tuple)) else ()
