"""Rejections in words, with their numbers: what a person reads in ``RouteResult.rejected`` and in error messages."""

from __future__ import annotations

from ..records import UNBOUNDED, Rejection, Request
from ..spec.capability import names_of
from .cost import search_cost

_UNITS = {"ttft": "ms", "itl": "ms", "cost": "USD/M", "input_cost": "USD/M", "output_cost": "USD/M", "quality": ""}


def reason(rejection: Rejection) -> str:
    """One line, e.g. ``max_cost: at least $0.0123 (input up to 900 tokens, 256 out), limit $0.01``."""
    code, detail, candidate = rejection.code, rejection.detail, rejection.candidate
    if code == "capability":
        return f"capability: lacks {', '.join(names_of(detail[0]))}"
    if code == "context_window":
        low, cap, window = detail
        wanted = f" + {cap} tokens of output" if cap else ""
        return f"context_window: needs at least {low} tokens of input{wanted}, window {window}"
    if code in ("max_cost", "budget"):
        return _money(rejection)
    if code == "unpriced":
        return "unpriced: no known price per token while money is bounded (declare it, or set unpriced='assume')"
    if code == "searches":
        return (
            "searches: nothing bounds what its web searches may cost while money is bounded (give the tool a max_uses, "
            "or the Deployment a search_cost_per_query)"
        )
    if code == "max_cost_per_million_tokens":
        return f"{code}: ${detail[0]:.4g} per million tokens ({detail[2]}), limit ${detail[1]:.4g}"
    if code == "bound":
        return _bound(rejection)
    if code in ("cost_of_model", "quality_of_model"):
        what = code.split("_", 1)[0]
        return f"{code}: predicted {what} {detail[1]:.4g}, that of {detail[0]} is {detail[2]:.4g}"
    if code == "cooldown":
        rest = "" if detail[0] == float("inf") else f"rests another {detail[0]:.2f} s "
        return f"cooldown: {rest}({detail[1]})"
    if code == "headroom":
        return f"headroom: its rate limit has room in {detail[0]:.2f} s"
    if code == "history":
        return f"history: {detail[0]} (routing={{'sanitise': True}} would make it portable)"
    words = {
        "not_listed": "not among the models asked for",
        "provider_not_listed": f"provider {candidate.provider} is not among those asked for",
        "skipped": "excluded by name",
        "provider_skipped": f"provider {candidate.provider} is excluded",
    }
    return words.get(code, code)


def _money(rejection: Rejection) -> str:
    limit, request, least = rejection.detail
    candidate = rejection.candidate
    assert isinstance(request, Request)
    tokens = request.exact_counts.get(candidate.deployment.model, min(request.upper, candidate.max_input))
    output = request.cap if request.cap is not None else least
    output = min(output, candidate.max_output or output)
    searches = search_cost(candidate, request) or 0.0
    cost = (tokens * candidate.guard_input + output * request.n * candidate.guard_output + searches) / 1e9
    size = "input of unknown size" if tokens >= UNBOUNDED else f"input up to {tokens} tokens"
    many = f" × {request.n}" if request.n > 1 else ""
    return (
        f"{rejection.code}: up to ${cost:.6f} ({size}, output {output}{many}), "
        f"{'limit' if rejection.code == 'max_cost' else 'left'} ${max(limit, 0) / 1e9:.6f}"
    )


def _bound(rejection: Rejection) -> str:
    bound, value = rejection.detail
    low = "" if bound.low is None else f"{'>' if bound.low_open else '>='} {bound.low:g}"
    high = "" if bound.high is None else f"{'<' if bound.high_open else '<='} {bound.high:g}"
    wanted = " and ".join(part for part in (low, high) if part)
    got = "not measured yet" if value is None else f"{value:.4g} {_UNITS.get(bound.metric, '')}".rstrip()
    return f"{bound.metric}: {got}, wanted {wanted}"
