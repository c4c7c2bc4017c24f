"""The one canonical form that every surface is merged into before anything decides.

Layers, outermost first: router, rule target, router string, call. Bounds combine to the tighter; of dials the innermost
given wins; the rest overrides.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..checks import reads_response
from .options import Routing
from .strings import Bound, ModelTag, RouterTag, Weights

# Names compare exact spelling; globs exist in `intercept` only.
NameSet = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What one decision obeys. Units as in ``Routing``; None is "not given"."""

    max_cost: float | None = None
    price_bounds: tuple[tuple[float, str], ...] = ()  # USD per million tokens, each on its own basis
    price_basis: str = "request"
    bounds: tuple[Bound, ...] = ()
    max_cost_of_model: NameSet = ()  # each layer's; all hold
    min_quality_of_model: NameSet = ()
    include_models: tuple[NameSet, ...] = ()  # each layer's list; a candidate must match one name of every list
    include_providers: tuple[NameSet, ...] = ()
    exclude_models: NameSet = ()
    exclude_providers: NameSet = ()
    willingness_to_pay: float | None = None
    weights: Weights | None = None
    objective: str = "quality"
    minimise: str | None = None  # "ttft" … of "model@lowest-ttft"
    maximise: str | None = None
    prefer: str | None = None  # named first among equals (intercept)
    on_infeasible: str = "raise"
    base_model: str | None = None
    unknown: str = "allow"
    unpriced: str = "exclude"
    assumed_input_cost_per_token: float | None = None
    assumed_output_cost_per_token: float | None = None
    min_output_tokens: int = 256
    default_output_cap: int = 4096
    timeout_s: float = 600.0
    attempt_timeout_s: float | None = None
    ttft_timeout_s: float | None = None
    stall_timeout_s: float | None = None
    max_attempts: int = 4
    max_retries: int = 1  # of one deployment
    patience_s: float = 3.0
    hedge_after: str | float | None = None
    session: str | bool | None = None
    balance_tolerance: float = 0.0
    explore_usd: float | None = None  # a day
    sanitise: bool = False
    on_rate_limit: str = "next"
    content_policy_fallback: bool = False
    fallback_on: tuple[Any, ...] = ()
    midstream: str = "raise"
    buffer: bool = False

    # Worked out from the above, once: whether quality alone decides (no dial has been given), and whether a price or a
    # bound relative to a model is given (``bounds`` holds the rest of the soft bounds).
    plain_objective: bool = field(init=False, default=True)
    bounded: bool = field(init=False, default=False)
    relative: bool = field(init=False, default=False)
    # ``fallback_on`` in its two kinds: conditions on exceptions, functions of the whole response.
    on_errors: tuple[Any, ...] = field(init=False, default=())
    on_responses: tuple[Any, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        dials = (self.weights, self.willingness_to_pay, self.minimise, self.maximise)
        relative = bool(self.max_cost_of_model or self.min_quality_of_model)
        put = object.__setattr__
        put(self, "plain_objective", self.objective == "quality" and not any(dial is not None for dial in dials))
        put(self, "relative", relative)
        put(self, "on_responses", tuple(one for one in self.fallback_on if reads_response(one)))
        put(self, "on_errors", tuple(one for one in self.fallback_on if not reads_response(one)))
        put(self, "bounded", relative or bool(self.price_bounds))
        put(self, "patience_s", min(self.patience_s, LONGEST_WAIT_S))


# Beyond this a Retry-After is a quota that is used up: nobody sleeps until it is back.
LONGEST_WAIT_S = 120.0
DEFAULT_POLICY = Policy()
_AS_BOUND = {"min_quality": ("quality", True), "max_ttft_ms": ("ttft", False), "max_itl_ms": ("itl", False)}
_DIALS = ("willingness_to_pay", "weights", "objective")
_LISTS = {"models": "include_models", "providers": "include_providers"}
_KNOWN = {f.name for f in fields(Policy) if f.init}


def with_options(policy: Policy, options: Routing) -> Policy:
    """``policy`` with one more inner layer of options."""
    given = {name: value for name in options.model_fields_set if (value := getattr(options, name)) is not None}
    if not given:
        return policy
    changes: dict[str, Any] = {}
    bounds = list(policy.bounds)
    for name, value in given.items():
        if name == "max_cost":
            changes[name] = value if policy.max_cost is None else min(policy.max_cost, value)
        elif name == "max_cost_per_million_tokens":
            basis = given.get("price_basis", policy.price_basis)
            changes["price_bounds"] = (*policy.price_bounds, (value, basis))
        elif name in ("max_cost_of_model", "min_quality_of_model"):
            changes[name] = (*getattr(policy, name), value)
        elif name in _AS_BOUND:
            metric, low = _AS_BOUND[name]
            bounds.append(Bound(metric, value, False, None, False) if low else Bound(metric, None, False, value, False))
        elif name in _LISTS:
            field = _LISTS[name]
            changes[field] = (*getattr(policy, field), tuple(value))
        elif name in ("exclude_models", "exclude_providers"):
            changes[name] = (*getattr(policy, name), *value)
        elif name not in _DIALS and name in _KNOWN:
            changes[name] = value
    if any(dial in given for dial in _DIALS):
        changes.update(_dials(given.get("willingness_to_pay"), given.get("weights"), given.get("objective")))
    return replace(policy, bounds=tuple(bounds), **changes)


def with_tag(policy: Policy, tag: RouterTag | ModelTag) -> Policy:
    """``policy`` with the layer that one tag of a router string adds."""
    if isinstance(tag, RouterTag):
        changes: dict[str, Any] = {"bounds": (*policy.bounds, *tag.bounds)}
        if tag.weights is not None:
            changes.update(_dials(None, Routing(weights=tag.weights).weights, None))
        if tag.models:
            changes["include_models"] = (*policy.include_models, tag.models)
        if tag.providers:
            changes["include_providers"] = (*policy.include_providers, tag.providers)
        changes["exclude_models"] = (*policy.exclude_models, *tag.skip_models)
        changes["exclude_providers"] = (*policy.exclude_providers, *tag.skip_providers)
        return replace(policy, **changes)
    name = f"{tag.model}@{tag.provider}" if tag.provider else tag.model
    changes = {
        "include_models": (*policy.include_models, (name,)),
        "bounds": (*policy.bounds, *tag.bounds),
    }
    if tag.mode:
        changes.update(_dials(None, None, None))
        changes["minimise" if tag.lowest else "maximise"] = tag.mode
    return replace(policy, **changes)


def _dials(pay: float | None, weights: Weights | None, objective: str | None) -> dict[str, Any]:
    return {
        "willingness_to_pay": pay,
        "weights": weights,
        "objective": objective or "quality",
        "minimise": None,
        "maximise": None,
    }


def needs_prices(policy: Policy) -> bool:
    """Whether a cost constraint or cost weight is in force, so that an unpriced deployment is left out."""
    return (
        policy.max_cost is not None
        or bool(policy.price_bounds)
        or bool(policy.max_cost_of_model)
        or policy.willingness_to_pay is not None
        or policy.objective == "cost"
        or (policy.weights is not None and policy.weights.c > 0)
        or (policy.minimise or "").endswith("cost")
        or any(bound.metric.endswith("cost") for bound in policy.bounds)
    )
