"""A Unify router string, or a fallback chain of them, as a settings document.

One router tag becomes options, one model tag a deployment. A chain of several becomes a rule that always matches and
falls from tag to tag, for there the settings of a tag hold for that tag only. Models take litellm's spelling
(``gpt-4o@openai`` -> ``openai/gpt-4o``), and so do providers.
"""

from __future__ import annotations

from dataclasses import fields, replace

from ..strings import Bound, ModelTag, RouterTag, Weights, parse_router_string
from .imported import DEFAULT_NAME, Draft, Imported, fallback_rule

# Providers that litellm spells otherwise.
_PROVIDERS = {
    "aws-bedrock": "bedrock",
    "azure-ai": "azure_ai",
    "fireworks-ai": "fireworks_ai",
    "mistral-ai": "mistral",
    "perplexity-ai": "perplexity",
    "together-ai": "together_ai",
    "vertex-ai": "vertex_ai",
}
# metric -> the option that bounds it from above, and the price basis it has.
_UPPER = {
    "ttft": ("max_ttft_ms", None),
    "itl": ("max_itl_ms", None),
    "cost": ("max_cost_per_million_tokens", "blend"),
    "input_cost": ("max_cost_per_million_tokens", "input"),
    "output_cost": ("max_cost_per_million_tokens", "output"),
}


def from_unify(text: str, name: str = DEFAULT_NAME) -> Imported:
    """A Unify router string as a settings document (``models`` is "any" where the string names none).

    Raises: RouterStringError with the place of the fault.
    """
    tags = parse_router_string(text).tags
    draft = Draft(None)
    names = [tag.name for tag in tags if isinstance(tag, RouterTag) and tag.name is not None]
    for tag in tags:
        if isinstance(tag, RouterTag) and tag.name is not None:
            _of_elsewhere(draft, tag)
    draft.named(name, names[0] if len(tags) == 1 and names else None, "router name")
    models = list(dict.fromkeys(model for tag in tags for model in _models(draft, tag)))
    draft.document["models"] = [draft.deployment(model, {"model": model})["model"] for model in models] or "any"
    if len(tags) == 1:
        _options(draft, tags[0], models)
    else:
        _chain(draft, tags)
    return draft.done()


def litellm_model(tag: ModelTag) -> str:
    """litellm's spelling: provider/model."""
    return tag.model if tag.provider is None else f"{_provider(tag.provider)}/{tag.model}"


def _provider(name: str) -> str:
    return _PROVIDERS.get(name, name)


def _models(draft: Draft, tag: ModelTag | RouterTag) -> list[str]:
    if isinstance(tag, ModelTag):
        if tag.provider in _PROVIDERS:
            reason = f"the provider is written {_provider(tag.provider)!r} here; it may know the model by another name"
            draft.leave(str(tag), reason)
        return [litellm_model(tag)]
    return [_listed(name, tag) for name in tag.models]


def _listed(name: str, tag: RouterTag) -> str:
    """A name of a list: as a model tag, and with the provider where the string allows only one."""
    found = parse_router_string(name).tags[0] if "->" not in name else None
    model = litellm_model(found) if isinstance(found, ModelTag) else name
    return f"{_provider(tag.providers[0])}/{model}" if len(tag.providers) == 1 and "/" not in model else model


def _of_elsewhere(draft: Draft, tag: RouterTag) -> None:
    address = f"router/{tag.name}" + (f"/versions/{tag.version}" if tag.version is not None else "")
    draft.leave(address, "what that router was trained on is not in the string; its settings are carried over")


def _chain(draft: Draft, tags: tuple[ModelTag | RouterTag, ...]) -> None:
    targets = []
    for tag in tags:
        if isinstance(tag, ModelTag):
            target = litellm_model(tag) if tag.mode is None else str(tag)
        else:
            if not tag.models and draft.document["models"] != "any":
                draft.leave(str(tag), "without models: it ranges over those that the rest of the chain names")
            here = replace(tag, name=None, version=None, models=tuple(_listed(name, tag) for name in tag.models))
            providers, skipped = (tuple(map(_provider, names)) for names in (tag.providers, tag.skip_providers))
            target = str(replace(here, providers=providers, skip_providers=skipped))
        targets.append(target)
    draft.document["rules"] = [fallback_rule("chain", targets)]


def _options(draft: Draft, tag: ModelTag | RouterTag, models: list[str]) -> None:
    for bound in tag.bounds:
        _bound(draft, bound)
    if isinstance(tag, ModelTag):
        if tag.mode is not None:
            suffix = f"{'lowest' if tag.lowest else 'highest'} {tag.mode}"
            draft.leave(str(tag), f"no option chooses by the {suffix}; a rule's target or a call may carry this string")
        return
    if tag.weights is not None:
        given = {f.name: value for f in fields(Weights) if (value := getattr(tag.weights, f.name))}
        draft.option("weights", "weights", given)
    _filters(draft, tag, models)


def _filters(draft: Draft, tag: RouterTag, models: list[str]) -> None:
    # A filter that names what the router does not have is an error at every call, and needless: it is not there.
    closed = bool(models) and all("/" in model for model in models)
    own = {model.split("/", 1)[0] for model in models}
    for key, option in (("providers", "providers"), ("skip_providers", "exclude_providers")):
        given = [_provider(name) for name in getattr(tag, key)]
        kept = [name for name in given if not closed or name in own]
        if key == "providers" and not kept:
            kept = given  # none is allowed, and that stays so
        for name in given:
            if name not in kept:
                draft.leave(f"{key}:{name}", "no model that the string names is of this provider")
        if kept and not (len(tag.providers) == 1 and closed and key == "providers" and own == set(kept)):
            draft.option(key, option, kept)
    skipped = []
    for name in tag.skip_models:
        model = _listed(name, replace(tag, providers=()))
        if models and not any(model in (known, known.split("/", 1)[-1]) for known in models):
            draft.leave(f"skip_models:{name}", "it is not among the models that the string names")
        else:
            skipped.append(model)
    if skipped:
        draft.option("skip_models", "exclude_models", skipped)


def _bound(draft: Draft, bound: Bound) -> None:
    for operator, value in bound.sides():
        written = f"{bound.metric}{operator}{value}"
        option, basis, limit = None, None, bound.high
        if operator[0] == "<":
            option, basis = _UPPER.get(bound.metric, (None, None))
        elif bound.metric == "quality":
            option, limit = "min_quality", bound.low
        if option is None or (basis is None and limit == 0 and option != "min_quality"):
            side = "upper" if operator[0] == "<" else "lower"
            draft.leave(written, f"there is no option for this {side} bound; a rule's target or a call may carry it")
        elif option in draft.document:
            basis_held = draft.document["price_basis"]
            draft.leave(written, f"one price is bounded in one place, and {basis_held!r} is already")
        else:
            draft.option(written, option, limit)
            if basis is not None:
                draft.option(written, "price_basis", basis)
            if operator in "<>":
                draft.leave(written, f"carried over as {option}, within which {value} itself lies too")
