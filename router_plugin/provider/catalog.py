"""What litellm's price map says of a model, as ``ModelFacts``. Resolved once per deployment, off the hot path.

Source: ``litellm.model_cost`` (its ``get_model_info`` costs 165 µs and prints for unknown names, so the map is read
directly, in litellm's own order of names). The map object is replaced when litellm's background fetch lands: nothing
here keeps a reference to it, and ``stamp()`` tells when facts have to be resolved again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..fork import renew_in_child
from ..money import NANO
from ..records import UNBOUNDED, Candidate, ModelFacts
from ..spec import capability as cap
from ..spec.deployment import Deployment

# Known models lack what the map does not name; for these the map is too thin, so only an explicit False counts.
_STRICT = {
    "supports_function_calling": cap.TOOLS,
    "supports_response_schema": cap.JSON_SCHEMA,
    "supports_vision": cap.VISION,
    "supports_audio_input": cap.AUDIO_INPUT,
    "supports_audio_output": cap.AUDIO_OUTPUT,
    "supports_pdf_input": cap.FILES,
    "supports_reasoning": cap.REASONING,
}
_LENIENT = {
    "supports_parallel_function_calling": cap.PARALLEL_TOOLS,
    "supports_system_messages": cap.SYSTEM,
}
_DEAREST = 1e6  # USD for one token: beyond it a figure is a fault of the map (NaN fails every comparison)
# Names in the map that are patterns of prices: fine-tuned models, and Together's classes of sizes.
_NO_MODELS = ("ft:", "together-ai-", "fireworks-ai-")
_CHAT_MODES = (None, "chat", "completion", "responses")


def stamp() -> int:
    """Changes when the price map was replaced or grew."""
    import litellm

    prices = litellm.model_cost
    return id(prices) ^ (len(prices) - len(_PRICED) << 1)


def facts_of(deployment: Deployment) -> ModelFacts:
    """Facts of one deployment: the map's, overridden by what the deployment declares."""
    entry, provider = _entry(deployment)
    facts = _from_entry(entry, provider, deployment.model) if entry is not None else ModelFacts(provider=provider)
    return declared(deployment, facts)


_CHAT_MODELS: dict[tuple[str, ...], tuple[int, dict[str, None]]] = {}


def chat_models(providers: tuple[str, ...]) -> Mapping[str, None]:
    """The model strings of these providers' chat models, in the map's order; worked out once a state of the map."""
    import litellm

    state = stamp()
    known = _CHAT_MODELS.get(providers)
    if known is None or known[0] != state:
        found: dict[str, None] = {}
        for name, entry in list(litellm.model_cost.items()):
            provider = entry.get("litellm_provider") if isinstance(entry, Mapping) else None
            if provider in providers and entry.get("mode") == "chat" and not name.startswith(_NO_MODELS):
                found[name if name.startswith(f"{provider}/") else f"{provider}/{name}"] = None
        known = _CHAT_MODELS[providers] = (state, found)
    return known[1]


def deprecation_date(deployment: Deployment) -> str | None:
    """When the provider retires the model, as ISO 8601; None where the map says nothing."""
    entry, _ = _entry(deployment)
    date = entry.get("deprecation_date") if entry is not None else None
    return date if isinstance(date, str) else None


def is_known(deployment: Deployment) -> bool:
    """Whether litellm's price map has this model."""
    return _entry(deployment)[0] is not None


def _entry(deployment: Deployment) -> tuple[Mapping[str, Any] | None, str]:
    import litellm

    prices: Mapping[str, Any] = litellm.model_cost
    model, part, prefix = deployment.model, deployment.model_part, deployment.provider
    entry = prices.get(model)
    if entry is not None:
        return entry, prefix or str(entry.get("litellm_provider") or "openai")
    entry = prices.get(part)
    if entry is not None and _same_provider(prefix, str(entry.get("litellm_provider") or "")):
        return entry, prefix or str(entry.get("litellm_provider"))
    if prefix is not None and not _is_provider(prefix):
        prefix = None
    return None, prefix or _inferred_provider(model)


def _same_provider(prefix: str | None, listed: str) -> bool:
    # The map says "vertex_ai-language-models" or "bedrock_converse" where model strings say "vertex_ai", "bedrock".
    return prefix is None or listed == prefix or listed.startswith((prefix + "-", prefix + "_"))


def _is_provider(prefix: str) -> bool:
    import litellm

    return prefix in litellm.provider_list or any(p["provider"] == prefix for p in litellm.custom_provider_map)


def _inferred_provider(model: str) -> str:
    import litellm

    quiet, litellm.suppress_debug_info = litellm.suppress_debug_info, True
    try:
        return str(litellm.get_llm_provider(model)[1])
    except Exception:  # litellm raises BadRequestError or worse for names it does not know; the call itself will say so
        return model.split("/", 1)[0] if "/" in model else "unknown"
    finally:
        litellm.suppress_debug_info = quiet


def _price(entry: Mapping[str, Any], key: str) -> float | None:
    """Nano-dollars per unit; None where the map says nothing that can be a price."""
    value = entry.get(key)
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _DEAREST
    return float(value) * NANO if ok and value is not None else None


def _tokens(entry: Mapping[str, Any], key: str) -> int | None:
    value = entry.get(key)
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < UNBOUNDED
    return int(value) if ok and value is not None else None


def _from_entry(entry: Mapping[str, Any], provider: str, model: str) -> ModelFacts:
    always = provider == "perplexity" or "-search-" in model
    mode = entry.get("mode")
    lacks = sum(bit for key, bit in _STRICT.items() if entry.get(key) is not True)
    lacks |= sum(bit for key, bit in _LENIENT.items() if entry.get(key) is False)
    if provider == "anthropic" and not lacks & cap.TOOLS:
        lacks &= ~cap.JSON_SCHEMA  # litellm carries a schema to these models as a forced tool
    input_price, output_price = _price(entry, "input_cost_per_token"), _price(entry, "output_cost_per_token")
    max_input = _tokens(entry, "max_input_tokens") or (_tokens(entry, "max_tokens") if mode in _CHAT_MODES else None)
    max_output = _tokens(entry, "max_output_tokens")
    odd = any(
        _price(entry, key)
        for key in entry
        if key.startswith(("input_cost_per", "output_cost_per", "cost_per"))
        and not any(unit in key for unit in ("_token", "_image", "_audio", "_video"))
    )
    return ModelFacts(
        provider=provider,
        input_price=input_price,
        output_price=output_price,
        cache_read_price=_price(entry, "cache_read_input_token_cost"),
        cache_write_price=_price(entry, "cache_creation_input_token_cost"),
        audio_input_price=_price(entry, "input_cost_per_audio_token"),
        audio_output_price=_price(entry, "output_cost_per_audio_token"),
        reasoning_price=_price(entry, "output_cost_per_reasoning_token"),
        tiers=_tiers(entry, input_price, output_price),
        max_input=max_input,
        max_output=max_output,
        window=_window(provider, max_input, max_output),
        lacks=lacks,
        caps=cap.PREFILL if entry.get("supports_assistant_prefill") is True else 0,
        priority_factor=_priority_factor(entry, input_price, output_price),
        search_price=_search_price(entry),
        always_searches=always,
        odd_price=odd or (always and "deep-research" in model),
        known=True,
    )


def _priority_factor(entry: Mapping[str, Any], input_price: float | None, output_price: float | None) -> float:
    ratios = [1.0]
    for base, key in ((input_price, "input_cost_per_token"), (output_price, "output_cost_per_token")):
        if base:
            ratios += [(_price(entry, f"{key}_{tier}") or 0.0) / base for tier in ("priority", "ultrafast", "balanced")]
    return max(ratios)


def _search_price(entry: Mapping[str, Any]) -> float | None:
    """Of one web search, in the largest search context."""
    prices = entry.get("search_context_cost_per_query")
    known = [_price(prices, size) for size in prices] if isinstance(prices, dict) else []
    return max((price for price in known if price is not None), default=None)


# Input limits that stand beside the output limit (GPT-5 and later: 272k + 128k; 922k + 128k).
_INPUT_ONLY_LIMITS = (272_000, 922_000)


def _window(provider: str, max_input: int | None, max_output: int | None) -> int | None:
    """Input and output share one window, except where the map's input limit stands beside the output's."""
    if max_input is None:
        return None
    apart = provider in ("gemini", "vertex_ai") or max_input in _INPUT_ONLY_LIMITS
    return max_input + (max_output or 0) if apart else max_input


def _tiers(
    entry: Mapping[str, Any], input_price: float | None, output_price: float | None
) -> tuple[tuple[int, float, float], ...]:
    tiers = []
    for key in entry:
        if key.startswith("input_cost_per_token_above_") and key.endswith("k_tokens"):
            size = key[len("input_cost_per_token_above_") : -len("k_tokens")]
            above_in, above_out = _price(entry, key), _price(entry, key.replace("input_", "output_", 1))
            if size.isdigit() and above_in is not None:
                tiers.append((int(size) * 1000, above_in, above_out if above_out is not None else output_price or 0.0))
    return tuple(sorted(tiers))


def declared(deployment: Deployment, facts: ModelFacts) -> ModelFacts:
    """``facts``, overridden by what the deployment declares."""
    changes: dict[str, Any] = {}
    if deployment.declares_prices:
        changes.update(tiers=(), cache_read_price=None, cache_write_price=None, audio_input_price=None)
        changes.update(audio_output_price=None, reasoning_price=None, odd_price=False)
    for field, attribute in (
        ("input_price", "input_cost_per_token"),
        ("output_price", "output_cost_per_token"),
        ("search_price", "search_cost_per_query"),
        ("cache_read_price", "cache_read_input_token_cost"),
        ("cache_write_price", "cache_creation_input_token_cost"),
    ):
        value = getattr(deployment, attribute)
        if value is not None:
            changes[field] = value * NANO
    if deployment.max_output_tokens is not None:
        changes["max_output"] = deployment.max_output_tokens
    if deployment.max_input_tokens is not None:
        changes["max_input"] = deployment.max_input_tokens
        changes["window"] = deployment.max_input_tokens + (deployment.max_output_tokens or 0)
    if deployment.context_window is not None:
        changes["window"] = deployment.context_window
        changes.setdefault("max_input", min(facts.max_input or deployment.context_window, deployment.context_window))
    if deployment.supports:
        lacks, caps = facts.lacks, facts.caps
        for name, supported in deployment.supports.items():
            bit = cap.CAPABILITIES[name]
            lacks = lacks & ~bit if supported else lacks | bit
            caps = caps | bit if supported else caps & ~bit
        changes["lacks"], changes["caps"] = lacks, caps
    return replace(facts, **changes) if changes else facts


# Prices that attempts have put into litellm's map: key → attempts that need it. All of it goes when they are over, or,
# while something is installed, with the uninstall.
_PRICED: dict[str, int] = {}
_PRICED_LOCK = threading.RLock()


class _InChild:
    """A forked child has a lock of its own, and none of the parent's attempts."""

    def after_fork(self) -> None:
        global _PRICED_LOCK
        _PRICED_LOCK = threading.RLock()
        for key in _PRICED:
            _PRICED[key] = 0


_IN_CHILD = _InChild()
renew_in_child(_IN_CHILD)


def price_in_callbacks(kwargs: dict[str, Any], candidate: Candidate) -> str:
    """Make litellm's own cost (callbacks, ``response_cost``) use the prices the deployment declares.

    litellm's way of passing prices registers them for the *model*, for every other user of it, on each call. Its
    routers' way is a price under the deployment's own id, which only calls that carry the id in their metadata see.
    Returns the key, to be given to ``price_done`` when the attempt is over.
    """
    import litellm

    key = f"router_plugin/{candidate.name}/{candidate.input_price:g}/{candidate.output_price:g}"
    with _PRICED_LOCK:
        _PRICED[key] = _PRICED.get(key, 0) + 1
        if key not in litellm.model_cost:
            litellm.model_cost[key] = _price_entry(candidate)
    metadata = kwargs.get("metadata")
    info = {"id": key, "input_cost_per_token": candidate.input_price / NANO}
    kwargs["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "model_info": info}
    kwargs["model_info"] = info
    return key


def _price_entry(candidate: Candidate) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "litellm_provider": candidate.provider,
        "mode": "chat",
        "input_cost_per_token": candidate.input_price / NANO,
        "output_cost_per_token": candidate.output_price / NANO,
    }
    if candidate.facts.cache_read_price is not None:
        entry["cache_read_input_token_cost"] = candidate.facts.cache_read_price / NANO
    if candidate.facts.cache_write_price is not None:
        entry["cache_creation_input_token_cost"] = candidate.facts.cache_write_price / NANO
    return entry


def price_done(key: str, keep: bool) -> None:
    """An attempt no longer needs its price; ``keep`` leaves it for the next one."""
    with _PRICED_LOCK:
        _PRICED[key] -= 1
        if not keep and _PRICED[key] <= 0:
            _forget(key)


def forget_prices() -> None:
    """Take back every price that no running attempt needs."""
    with _PRICED_LOCK:
        for key in [key for key, users in _PRICED.items() if users <= 0]:
            _forget(key)


def _forget(key: str) -> None:
    import litellm

    _PRICED.pop(key, None)
    litellm.model_cost.pop(key, None)
