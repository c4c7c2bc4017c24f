"""What a request costs at a candidate: the worst case that guards bounds, and the price that ranks.

Worst case = upper bound on input tokens × dearest input price that may apply + output cap × dearest output price.
Source: semantics of ``max_cost`` (a hard bound); no published router offers one, so the arithmetic is our own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..records import UNBOUNDED, Candidate, Request
from ..spec import capability as cap

# What an answer is expected to need where nothing better is known: chat answers of LMSYS-Chat-1M have about 215 tokens
# on average, graded benchmarks with reasoning 200 to 600.
EXPECTED_OUTPUT_TOKENS = 300
# Tokenisers that we cannot run (Claude, Gemini …) against the one we can: Claude's newest counts up to 1.35 times more.
FOREIGN_TOKENISER = 1.4
# Billed by the grounded request, however often it searched; so are chat completions of OpenAI.
_ONE_SEARCH = ("gemini-1", "gemini-2")
_OWN_TOKENISER = ("openai", "azure", "text-completion-openai")
# An explicitly marked cache may be the long-lived one, dearer than the listed write price by 2 : 1.25 (Anthropic).
LONG_CACHE = 1.6

_MEDIA = cap.VISION | cap.AUDIO_INPUT | cap.FILES
CountTokens = Callable[[str, Request], int]


def is_plain(request: Request) -> bool:
    """Whether base prices (and self-filling caches) are all that this request may meet."""
    return not (
        request.cache_marks
        or request.needs & (cap.AUDIO_INPUT | cap.AUDIO_OUTPUT)
        or request.service_tier not in (None, "default", "flex")
        or request.searches
    )


def search_cost(candidate: Candidate, request: Request) -> float | None:
    """What its web searches may cost at most, nano-dollars; None where nothing bounds that."""
    facts = candidate.facts
    searches = request.searches or (1 if facts.always_searches else 0)
    if not searches:
        return 0.0
    if candidate.provider in _OWN_TOKENISER or candidate.model_part.startswith(_ONE_SEARCH):
        searches = 1
    if searches >= UNBOUNDED or facts.search_price is None:
        return None
    return searches * facts.search_price * request.n


def worst_prices(candidate: Candidate, request: Request, input_tokens: int) -> tuple[float, float]:
    """The dearest input and output price (nano-dollars per token) that this request may meet."""
    facts = candidate.facts
    price_in, price_out = candidate.guard_input, candidate.guard_output
    for threshold, above_in, above_out in facts.tiers:
        if input_tokens > threshold:
            price_in, price_out = max(price_in, above_in), max(price_out, above_out)
    if request.cache_marks and facts.cache_write_price:
        dearer = max(1.0, facts.cache_write_price / candidate.input_price) if candidate.input_price else 1.0
        price_in = max(price_in * dearer, facts.cache_write_price) * LONG_CACHE
    if request.needs & cap.AUDIO_INPUT:
        price_in = max(price_in, facts.audio_input_price or 0.0)
    if request.needs & cap.AUDIO_OUTPUT:
        price_out = max(price_out, facts.audio_output_price or 0.0)
    if request.service_tier not in (None, "default", "flex"):
        price_in, price_out = price_in * facts.priority_factor, price_out * facts.priority_factor
    return price_in, price_out


def exact_upper(candidate: Candidate, request: Request, count_tokens: CountTokens) -> int:
    """An upper bound on input tokens from real tokenisation, memoised per model; never above the cheap bound.

    Images, audio and files have no tokeniser that we could run: with them the cheap bound stands.
    """
    if request.needs & _MEDIA or request.upper >= UNBOUNDED:
        return request.upper
    model = candidate.deployment.model
    known = request.exact_counts.get(model)
    if known is None:
        counted = count_tokens(model, request)
        factor = 1.0 if candidate.provider in _OWN_TOKENISER else FOREIGN_TOKENISER
        known = min(request.upper, math.ceil(counted * factor) + 16)
        request.exact_counts[model] = known
    return known


def fit(
    candidate: Candidate, request: Request, limit: float, min_output: int, default_cap: int, count_tokens: CountTokens
) -> tuple[float, int | None] | None:
    """Worst-case cost within ``limit`` (nano-dollars), and the output cap to set for it.

    Returns None where not even ``min_output`` tokens of output fit. The caller's own cap is never lowered: where it
    does not fit, nothing does.
    """
    upper = min(request.upper, candidate.max_input)
    fitted = _fit(candidate, request, upper, limit, min_output, default_cap)
    if fitted is None and limit > 0 and _fit(candidate, request, request.low, limit, min_output, default_cap):
        # The estimate's band straddles the bound: only now is exact tokenisation worth its time.
        upper = min(upper, exact_upper(candidate, request, count_tokens))
        fitted = _fit(candidate, request, upper, limit, min_output, default_cap)
    return fitted


def _fit(
    candidate: Candidate, request: Request, upper: int, limit: float, min_output: int, default_cap: int
) -> tuple[float, int | None] | None:
    price_in, price_out = worst_prices(candidate, request, upper)
    most, wanted = candidate.max_output, request.cap
    input_cost, per_token = upper * price_in + (search_cost(candidate, request) or 0.0), price_out * request.n
    if wanted is not None:
        bound = input_cost + (wanted if most is None else min(wanted, most)) * per_token
        return (bound, None) if bound <= limit else None
    bound = input_cost + (most or default_cap) * per_token
    if bound <= limit:
        # Where the model has no known maximum nothing but a cap of ours would stop it.
        return bound, None if most is not None else default_cap
    affordable = int((limit - input_cost) / per_token) if per_token > 0 else -1
    if affordable < min_output:
        return None
    return input_cost + affordable * per_token, affordable


def price_per_million(candidate: Candidate, request: Request, output_tokens: float, basis: str) -> float:
    """USD per million tokens on a price basis: request mix, blend (3:1), input, output, max."""
    if basis == "blend":
        return candidate.blend
    if basis == "input":
        return candidate.input_price / 1e3
    if basis == "output":
        return candidate.output_price / 1e3
    if basis == "max":
        return max(candidate.input_price, candidate.output_price) / 1e3
    output = output_tokens * request.n
    cost = request.estimate * candidate.input_price + output * candidate.output_price
    return cost / max(request.estimate + output, 1) / 1e3
