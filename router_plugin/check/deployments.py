"""Findings on the deployments themselves: known, priced, not about to be retired, and of use to the router at all."""

from __future__ import annotations

from datetime import date, timedelta

from ..errors import SpecError
from ..provider.catalog import deprecation_date, is_known
from ..records import Candidate
from ..redact import shown
from ..spec.policy import needs_prices
from ..version import Version
from .possible import is_certain, never_chosen, why
from .report import Level
from .subject import Subject

_SOON = timedelta(days=90)
_FILTERS = ("not_listed", "provider_not_listed", "skipped", "provider_skipped")


def check_deployments(subject: Subject, version: Version) -> None:
    for candidate in version.everyone():
        _known(subject, candidate)
        _retired(subject, candidate)
    if subject.spec.artefact is not None and version.learned is None:
        subject.say(
            "warning",
            "artefact",
            "artefact",
            f"the trained predictor {shown(subject.spec.artefact)} cannot be loaded: the router goes on without it",
        )
    _unpriced(subject, version)
    _use(subject, version)
    _quality(subject, version)
    for budget in subject.spec.budgets:
        where = f"budgets {shown(budget.name)}"
        if not budget.usd:
            subject.say("warning", "empty_budget", where, "allows $0: only deployments that are free can ever answer")
        if budget.require_key:
            subject.say("info", "required_key", where, f"refuses requests without {budget.key}")


def _where(candidate: Candidate) -> str:
    return f"models {shown(candidate.name)}"


def _known(subject: Subject, candidate: Candidate) -> None:
    deployment = candidate.deployment
    if not deployment.declares_prices and not is_known(deployment):
        subject.say(
            "warning",
            "unknown_model",
            _where(candidate),
            f"litellm's price map does not know {shown(deployment.model)}, and no prices are declared: check the "
            "spelling, or give input_cost_per_token and output_cost_per_token",
        )


def _retired(subject: Subject, candidate: Candidate) -> None:
    said = deprecation_date(candidate.deployment)
    try:
        retires = date.fromisoformat(said or "")
    except ValueError:
        return
    model = shown(candidate.deployment.model)
    if retires <= subject.today:
        subject.say("error", "deprecated_model", _where(candidate), f"{model} was to be retired on {retires}")
    elif retires <= subject.today + _SOON:
        days = (retires - subject.today).days
        subject.say("warning", "deprecated_model", _where(candidate), f"{model} retires on {retires}, in {days} days")


def _unpriced(subject: Subject, version: Version) -> None:
    policy, budgets = version.policy, subject.spec.budgets
    if policy.unpriced == "assume" or not (budgets or needs_prices(policy)):
        return
    what = "a budget is" if budgets else "a cost constraint or cost weight is"
    for candidate in version.everyone():
        if candidate.priced:
            continue
        level: Level = "error" if policy.unpriced == "error" else "warning"
        then = "every call fails (unpriced='error')" if policy.unpriced == "error" else "it is never chosen"
        message = f"has no known price per token while {what} in force: {then}"
        subject.say(level, "unpriced_deployment", _where(candidate), message)


def _use(subject: Subject, version: Version) -> None:
    """Deployments that the router's own policy never chooses."""
    try:
        never = never_chosen(version, version.policy, subject.predicted)
    except SpecError as error:
        if version.policy.unpriced != "error":
            subject.say("error", "spec", "", str(error))
        return
    listed = version.candidates()
    for candidate in listed:
        rejection = never.get(candidate)
        if rejection is None or rejection.code == "unpriced":
            continue
        level: Level = "info" if rejection.code in _FILTERS else "warning"
        subject.say(level, "never_chosen", _where(candidate), f"is never chosen: {why(rejection, version.policy)}")
    if listed and all(candidate in never for candidate in listed):
        hopeless = not subject.spec.rules and all(map(is_certain, never.values()))
        subject.say(
            "error" if hopeless else "warning",
            "nothing_possible",
            "models",
            "the router's own constraints leave no deployment for any request",
        )


def _quality(subject: Subject, version: Version) -> None:
    if subject.predicted or not any(bound.metric == "quality" for bound in version.policy.bounds):
        return
    unknown = [candidate.name for candidate in version.candidates() if candidate.quality is None]
    if unknown:
        then = "pass the bound unmeasured" if version.policy.unknown == "allow" else "never pass it"
        subject.say(
            "info",
            "unknown_quality",
            "min_quality",
            f"a bound on quality is set, and nobody has said that of {', '.join(unknown[:8])}: they {then}",
        )
