"""Which deployments a policy can never choose, whatever is asked.

Two requests are decided that lie at the ends of what calls are: one without input (nothing costs less, and its price
per million tokens is that of the output), one that is all input. Who is left out of both, for a reason that no request
can change, is left out of every one.
"""

from __future__ import annotations

from ..decide.constraints import LATENCIES
from ..decide.reasons import reason
from ..records import Candidate, Rejection, Request
from ..replay.apart import unspent
from ..spec.policy import Policy
from ..version import Version

_ALWAYS = {"not_listed", "provider_not_listed", "skipped", "provider_skipped", "unpriced"}
_MONEY = {"max_cost", "budget"}
_KEYS = {"user": None, "extra": None, "metadata": None}
_ALL_INPUT = 10**9  # tokens, beside which the output does not matter


def _request(estimate: int) -> Request:
    return Request(needs=0, estimate=estimate, upper=0, low=0, cap=None, n=1, stream=False, keys=_KEYS)


def never_chosen(version: Version, policy: Policy, predicted: bool) -> dict[Candidate, Rejection]:
    """The candidates that this policy never chooses, each with its reason. ``predicted``: a scorer may say another
    quality than what is declared.

    Raises: SpecError for names that the version does not know, and for an unpriced one where that is an error.
    """
    found: list[dict[Candidate, Rejection]] = []
    for estimate in (0, _ALL_INPUT):
        decision = version.decide(policy, _request(estimate), money=unspent(version)).decision
        left_out = {one.candidate: one for one in decision.rejections if _for_good(one, policy, predicted)}
        found.append(left_out)
    return {candidate: one for candidate, one in found[0].items() if candidate in found[1]}


def _for_good(rejection: Rejection, policy: Policy, predicted: bool) -> bool:
    """Whether no request changes it. Soft bounds are set aside where ``on_infeasible`` says so."""
    if rejection.code in _ALWAYS or rejection.code in _MONEY:
        return True
    if policy.on_infeasible != "raise":
        return False
    if rejection.code == "bound":
        metric = rejection.detail[0].metric
        return metric not in LATENCIES and not (metric == "quality" and predicted)
    return rejection.code == "max_cost_per_million_tokens"


def is_certain(rejection: Rejection) -> bool:
    """Whether it holds of every call: one that caps its own output low may cost less than is asked for here."""
    return rejection.code not in _MONEY


def why(rejection: Rejection, policy: Policy) -> str:
    """The reason in words."""
    if rejection.code in _MONEY:
        limit, candidate = rejection.detail[0] / 1e9, rejection.candidate
        least = min(policy.min_output_tokens, candidate.max_output or policy.min_output_tokens)
        cost = least * candidate.guard_output / 1e9
        return (
            f"{rejection.code}: ${limit:.6f} does not pay for {least} tokens of output (${cost:.6f}), even without any "
            "input; only calls that cap their output lower can be answered"
        )
    return reason(rejection)
