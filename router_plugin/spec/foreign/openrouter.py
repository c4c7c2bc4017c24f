"""An OpenRouter request body (``model``, ``models``, ``provider``, ``route``) as a settings document.

``provider`` chooses among the providers that OpenRouter has for one model, which only OpenRouter can do: it travels on
with every request of the deployments, in ``params``. What of it means something among models too (``sort``,
``max_price``) becomes an option besides.
"""

from __future__ import annotations

from typing import Any

from ...redact import shown
from .imported import DEFAULT_NAME, Draft, Fields, Imported, fallback_rule, is_secret, plain

PREFIX = "openrouter/"
_SORT = {"price": ("objective", "cost"), "latency": ("weights", {"t": 1.0}), "throughput": ("weights", {"i": 1.0})}
_OF_A_CALL = "it belongs to a call, not to a router; give it with the call"


def from_openrouter(data: Any, name: str = DEFAULT_NAME) -> Imported:
    """An OpenRouter request body as a settings document.

    Raises: SpecError naming the place of the fault.
    """
    data = plain(data)
    draft = Draft(data)
    source = Fields(draft, "", data)
    draft.document["name"] = name
    first = source.text("model")
    given = ([("model", first)] if first is not None else []) + [
        (f"models[{i}]", model) for i, model in enumerate(source.names("models"))
    ]
    if not given:
        raise draft.error("model", "is missing; name one in 'model' or several in 'models'")
    provider = source.fields("provider")
    made: dict[str, dict[str, Any]] = {}
    for place, model in given:
        model = model if model.startswith(PREFIX) else PREFIX + model
        made[model] = draft.deployment(place, {"model": model})
    ranked = _provider(provider)
    sent = {key: value for key, value in provider.data.items() if not is_secret(key)}
    for deployment in made.values():
        deployment["params"] = {"extra_body": {"provider": sent}}
    draft.document["models"] = list(made.values()) if sent else list(made)
    _order(source, list(made), ranked)
    source.rest(_OF_A_CALL)
    return draft.done()


def _order(source: Fields, models: list[str], ranked: bool) -> None:
    """OpenRouter tries the models in order (``route: fallback``, its default)."""
    route = source.text("route")
    if route not in (None, "fallback"):
        source.leave("route", f"the only route known is 'fallback', not {shown(route)}")
    if len(models) > 1 and not ranked:
        source.draft.document["rules"] = [fallback_rule("models in order", models)]
    elif len(models) > 1:
        source.draft.leave("models", "with provider.sort they are ranked by it here, rather than tried in order")


def _provider(provider: Fields) -> bool:
    """The options that ``provider`` has among models too; whether they rank them."""
    draft, sort, place = provider.draft, provider.take("sort"), provider.at("sort")
    if isinstance(sort, dict):  # {"by": …, "partition": …}
        sort, place = Fields(draft, place, sort).text("by"), f"{place}.by"
    if sort is not None:
        if not isinstance(sort, str) or sort not in _SORT:
            raise draft.error(place, f"must be one of {', '.join(_SORT)}, not {shown(sort)}")
        draft.option(place, *_SORT[sort])
    _max_price(provider.fields("max_price"))
    for key, value in provider.data.items():
        if is_secret(key):
            provider.leave(key, "not known, and it may be a secret")
        elif key in ("order", "only", "ignore", "quantizations"):
            provider.names(key)
        elif key in ("allow_fallbacks", "require_parameters", "zdr", "enforce_distillable_text"):
            provider.flag(key)
        elif key == "data_collection" and value not in (None, "allow", "deny"):
            raise draft.error(provider.at(key), f"must be 'allow' or 'deny', not {shown(value)}")
    return sort is not None


def _max_price(price: Fields) -> None:
    """USD per million tokens, of input and output apart; here one price is bounded, on one basis."""
    draft, bounds = price.draft, {}
    for key in price.data:
        value = price.take(key)
        if isinstance(value, str):  # OpenRouter writes prices as text too
            price.data[key] = value = _parsed(value)
        if (found := price.number(key)) is not None and found < 0:
            raise draft.error(price.at(key), f"must not be negative, got {shown(found)}")
        if key in ("prompt", "completion") and found is not None:
            bounds[key] = found
    if len(set(bounds.values())) > 1:
        reason = "the two bounds are kept by OpenRouter alone (in params); here one price is bounded, on one basis"
        draft.leave(price.place, reason, bounds)
    elif bounds:
        basis = "max" if len(bounds) == 2 else "input" if "prompt" in bounds else "output"
        draft.option(price.place, "max_cost_per_million_tokens", next(iter(bounds.values())))
        draft.option(price.place, "price_basis", basis)
    for key in price.data:
        if key not in ("prompt", "completion"):
            draft.leave(price.at(key), "kept by OpenRouter alone (in params); here prices of tokens are bounded")


def _parsed(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
