"""What follows which failure. One table, read by the plan; the facts come from the provider's translation."""

from __future__ import annotations

from ..records import Failed
from ..spec.policy import Policy

SAME, NEXT, LARGER, RAISE = "same", "next", "larger", "raise"

_FOLLOWS = {
    "server": SAME,
    "connection": SAME,
    "rate_limit": NEXT,
    "overloaded": NEXT,
    "conflict": NEXT,
    "timeout": NEXT,
    "credential": NEXT,
    "not_found": NEXT,
    "quota": NEXT,
    "unsupported": NEXT,
    "bad_answer": NEXT,
    "empty_answer": NEXT,
    "unwanted_answer": NEXT,
    "context_window": LARGER,
    "content_policy": RAISE,
    "bad_request": RAISE,
    "unknown": RAISE,
}
# Where nothing else is left, these are worth one more try of the same deployment: they often pass by themselves.
# A time-out is not: a silent route is not asked twice.
_WORTH_ANOTHER_TRY = ("rate_limit", "overloaded", "conflict")

THROTTLE_BACKOFF_S = 1.0
FAULT_BACKOFF_S = 0.05


def verdict(failure: Failed, policy: Policy, tries: int) -> str:
    """SAME deployment again, the NEXT one, one with a LARGER window, or RAISE. ``tries`` of this deployment so far."""
    if asked_to_fall_back(failure, policy):
        return NEXT
    follows = _FOLLOWS.get(failure.kind, RAISE)
    if failure.kind == "content_policy" and policy.content_policy_fallback:
        return NEXT
    if follows == SAME and (tries > policy.max_retries or not failure.billed and failure.kind == "connection"):
        return NEXT  # one retry only (or as many as asked for); and a refused connection is refused again in 50 ms
    if follows == SAME and (failure.retry_after_s or 0.0) > policy.patience_s:
        return NEXT
    return follows


def asked_to_fall_back(failure: Failed, policy: Policy) -> bool:
    """Whether the caller's ``fallback_on`` covers this exception. An error in a caller's function is the caller's."""
    for condition in policy.on_errors:
        if isinstance(condition, type):
            if isinstance(failure.error, condition):
                return True
        elif condition(failure.error):
            return True
    return False


def pause(failure: Failed, policy: Policy, jitter: float) -> float:
    """Seconds to wait before the same deployment is tried again; ``jitter`` in 0..1 spreads callers out."""
    if failure.retry_after_s is not None:
        return failure.retry_after_s
    base = THROTTLE_BACKOFF_S if failure.kind in _WORTH_ANOTHER_TRY else FAULT_BACKOFF_S
    return min(base * (0.5 + jitter), policy.patience_s) if base > policy.patience_s else base * (0.5 + jitter)


def throttled(failure: Failed) -> bool:
    """Whether it is capacity that failed: a retry of that costs the retry budget less."""
    return failure.kind in _WORTH_ANOTHER_TRY


def worth_waiting(failure: Failed, policy: Policy, alone: bool) -> bool:
    """Whether to wait for this deployment: it is limited for a short, known time and nothing else is left."""
    if failure.kind not in _WORTH_ANOTHER_TRY:
        return False
    if not alone and not (policy.on_rate_limit == "wait" and failure.kind == "rate_limit"):
        return False
    wait = failure.retry_after_s
    return wait is None or wait <= policy.patience_s
