"""A router's deployments made ready for deciding, once per version of the price map and not per request."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ..errors import SpecError, did_you_mean
from ..records import UNBOUNDED, Candidate, ModelFacts, Rejection
from ..redact import shown
from ..spec.deployment import Deployment, normalise_model
from ..spec.policy import Policy

# Shares of a million tokens in the blend of router strings: (3·input + output)/4, in USD where prices are nano-dollars.
_BLEND_USD = 1e6 / 4 / 1e9
# Providers whose prompt caches fill by themselves, so that any request may pay the price of a cache write.
SELF_CACHING = ("openai", "azure")


def guessed_quality(facts: ModelFacts) -> float:
    """A prior from the price, for models nobody has scored: 0.5 at $1 per million blended tokens, +0.12 a decade.

    Dearer models are better on the whole (RouterBench, LMArena); a free or unpriced one is put in the middle.
    """
    if not facts.input_price or facts.output_price is None:
        return 0.5
    blend = (3 * facts.input_price + facts.output_price) * _BLEND_USD
    return min(0.9, max(0.1, 0.5 + 0.12 * math.log10(blend))) if blend > 0 else 0.5


def make_candidates(
    deployments: Sequence[Deployment], facts_of: Callable[[Deployment], ModelFacts], start: int = 0
) -> tuple[Candidate, ...]:
    """One candidate a deployment. Deployments of one model share its declared quality."""
    declared: dict[str, float] = {}
    for deployment in deployments:
        if deployment.quality is not None:
            declared.setdefault(deployment.model, deployment.quality)
    return tuple(
        _candidate(start + index, deployment, facts_of(deployment), declared.get(deployment.model))
        for index, deployment in enumerate(deployments)
    )


def _candidate(index: int, deployment: Deployment, facts: ModelFacts, quality: float | None) -> Candidate:
    priced = facts.input_price is not None and facts.output_price is not None and not facts.odd_price
    base_in, base_out = facts.input_price or 0.0, facts.output_price or 0.0
    writes, provider = facts.cache_write_price or 0.0, facts.provider or deployment.provider or "unknown"
    return Candidate(
        index=index,
        name=deployment.name,
        deployment=deployment,
        facts=facts,
        provider=provider,
        model_part=deployment.model_part,
        quality=deployment.quality if deployment.quality is not None else quality,
        guess=guessed_quality(facts),
        priced=priced,
        input_price=base_in,
        output_price=base_out,
        guard_input=max(base_in, facts.cache_read_price or 0.0, writes if provider in SELF_CACHING else 0.0),
        guard_output=max(base_out, facts.reasoning_price or 0.0),
        tier_from=-1 if facts.always_searches else facts.tiers[0][0] if facts.tiers else UNBOUNDED,
        blend=(3 * base_in + base_out) * _BLEND_USD,
        lacks=facts.lacks,
        max_input=facts.max_input or UNBOUNDED,
        window=facts.window or UNBOUNDED,
        max_output=facts.max_output,
        own_price=deployment.declares_prices,
    )


def matches(candidate: Candidate, name: str) -> bool:
    """Whether a model name means this candidate: its name, litellm string, model part, or ``model@provider``."""
    return (
        name == candidate.name
        or name == candidate.deployment.model
        or name == candidate.model_part
        or name == f"{candidate.model_part}@{candidate.provider}"
        or name == f"{candidate.deployment.model}@{candidate.provider}"
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """The candidates that a policy's names leave, and what is true of all of them at once.

    ``lacks`` is what at least one of them lacks, ``window`` the smallest, ``priced`` whether all are: a request within
    these passes those constraints without a look at any candidate. ``undeclared``: whether the quality of at least one
    has not been declared. ``everything`` has those that were left out too.
    """

    candidates: tuple[Candidate, ...] = ()
    excluded: tuple[Rejection, ...] = ()
    lacks: int = 0
    window: int = 0
    priced: bool = True
    undeclared: bool = False
    everything: tuple[Candidate, ...] = ()


def select(candidates: Sequence[Candidate], policy: Policy) -> Selection:
    """Apply the include and exclude lists.

    Raises: SpecError for a name that matches nothing, listing the known ones.
    """
    _bind(candidates, policy)
    kept, out = [], []
    for candidate in candidates:
        reason = _excluded(candidate, policy)
        if reason is None:
            kept.append(candidate)
        else:
            out.append(Rejection(candidate, reason, "hard"))
    if policy.unpriced == "assume":
        kept = [candidate if candidate.priced else _assumed(candidate, policy) for candidate in kept]
    lacks = 0
    for candidate in kept:
        lacks |= candidate.lacks
    window = min((min(candidate.window, candidate.max_input) for candidate in kept), default=0)
    priced, undeclared = all(c.priced for c in kept), any(c.quality is None for c in kept)
    return Selection(tuple(kept), tuple(out), lacks, window, priced, undeclared, tuple(candidates))


def _assumed(candidate: Candidate, policy: Policy) -> Candidate:
    price_in = (policy.assumed_input_cost_per_token or 0.0) * 1e9
    price_out = (policy.assumed_output_cost_per_token or 0.0) * 1e9
    return replace(
        candidate,
        priced=True,
        input_price=price_in,
        output_price=price_out,
        guard_input=price_in,
        guard_output=price_out,
        blend=(3 * price_in + price_out) * _BLEND_USD,
        own_price=True,
    )


def _excluded(candidate: Candidate, policy: Policy) -> str | None:
    for names in policy.include_models:
        if not any(matches(candidate, normalise_model(name)) for name in names):
            return "not_listed"
    for names in policy.include_providers:
        if candidate.provider not in names:
            return "provider_not_listed"
    if any(matches(candidate, normalise_model(name)) for name in policy.exclude_models):
        return "skipped"
    if candidate.provider in policy.exclude_providers:
        return "provider_skipped"
    return None


def _bind(candidates: Sequence[Candidate], policy: Policy) -> None:
    named: list[str] = [name for names in policy.include_models for name in names]
    named += policy.exclude_models
    named += [*policy.max_cost_of_model, *policy.min_quality_of_model]
    named += [policy.base_model] if policy.base_model else []
    for name in named:
        wanted = normalise_model(name)
        if not any(matches(candidate, wanted) for candidate in candidates):
            known = [candidate.name for candidate in candidates]
            raise SpecError(
                f"unknown model {shown(name)}{did_you_mean(wanted, known)}; this router knows {_listed(known)}"
            )
    providers = {candidate.provider for candidate in candidates}
    for name in (*(n for names in policy.include_providers for n in names), *policy.exclude_providers):
        if name not in providers:
            known = sorted(providers)
            raise SpecError(
                f"unknown provider {shown(name)}{did_you_mean(name, known)}; this router knows {_listed(known)}"
            )


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:30]) + (f" … and {len(shown) - 30} more" if len(shown) > 30 else "")
