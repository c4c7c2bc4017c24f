"""The two ways in: a router (or spec) that loads, and settings that may not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timezone
from typing import Any

from ..clock import SYSTEM_CLOCK
from ..errors import SpecError
from ..provider.litellm_port import LitellmProvider
from ..redact import shown
from ..replay.apart import Apart
from ..router import Router
from ..spec.document import spec_of_document
from ..spec.router_spec import RouterSpec
from ..version import Version
from .coverage import cover
from .deployments import check_deployments
from .report import Finding, Report, made_of
from .rules import check_rules
from .subject import Subject
from .targets import admit_targets, check_routers, check_targets

_WHERE = re.compile(r"(?:[A-Z][A-Za-z]*: )?(?:rules: (?=rules))?([a-z_]+(?:\[\d+\])?(?: '[^']{1,80}')?): ")


def check(
    router_or_spec: Router | RouterSpec,
    sample: Iterable[Mapping[str, Any]] | None = None,
    *,
    others: Iterable[Router | RouterSpec] | Mapping[str, Router | RouterSpec] = (),
    today: date | str | None = None,
) -> Report:
    """What is wrong or doubtful in a router's active version, or in a spec.

    ``sample``: requests as for ``route()``, or records of the history, on which the rules are tried. ``others``: the
    routers that are installed beside it, which its rules may address. ``today`` is the day by which deprecations are
    judged.

    Raises: SpecError for arguments that are none of these.
    """
    subject = _subject(router_or_spec, _day(today, router_or_spec))
    for other in others.values() if isinstance(others, Mapping) else others:
        apart, spec, number = _apart(other)
        made = _made(subject, apart, spec, number, f"router {spec.name!r}: ")
        if made is not None and spec.name != subject.spec.name:
            subject.others[spec.name] = (apart, made)
    check_rules(subject)
    check_routers(subject)
    coverage, version = None, subject.version
    if version is not None:
        admit_targets(subject, version)
        check_deployments(subject, version)
        check_targets(subject, version)
        coverage = None if sample is None else cover(subject, version, sample)
    return made_of(subject.findings, coverage)


def check_document(
    data: Mapping[str, Any],
    sample: Iterable[Mapping[str, Any]] | None = None,
    *,
    others: Iterable[Router | RouterSpec] | Mapping[str, Router | RouterSpec] = (),
    today: date | str | None = None,
) -> Report:
    """The same for raw settings, as a file holds them: what does not load is an error among the findings."""
    try:
        if not isinstance(data, Mapping):
            raise SpecError(f"settings must be a mapping with 'name' and 'models', not {shown(data)}")
        spec = spec_of_document(data)
    except SpecError as error:
        place = _WHERE.match(str(error))
        where = place[1].replace("deployments", "models") if place else ""
        return made_of([Finding("error", "spec", where, str(error))])
    return check(spec, sample, others=others, today=today)


def _day(today: date | str | None, source: Router | RouterSpec) -> date:
    if isinstance(today, str):
        try:
            return date.fromisoformat(today)
        except ValueError:
            raise SpecError(f"check: today: must be a date such as '2026-01-31', got {shown(today)}") from None
    if isinstance(today, datetime):
        return today.date()
    if isinstance(today, date):
        return today
    if today is not None:
        raise SpecError(f"check: today: must be a date, not {shown(today)}")
    clock = source.clock if isinstance(source, Router) else SYSTEM_CLOCK
    return datetime.fromtimestamp(clock.wall(), timezone.utc).date()


def _apart(source: Any) -> tuple[Apart, RouterSpec, int]:
    if isinstance(source, Router):
        version = source._active()
        return Apart.of(source), version.spec, version.number
    if isinstance(source, RouterSpec):
        return Apart(source.name, SYSTEM_CLOCK, LitellmProvider()), source, 0
    raise SpecError(f"check: give a Router or a RouterSpec (settings go to check_document), not {shown(source)}")


def _subject(source: Any, today: date) -> Subject:
    apart, spec, number = _apart(source)
    apart.memory.said = {}  # a predictor has nothing to read yet
    subject = Subject(spec, number, apart, None, today)
    subject.version = _made(subject, apart, spec, number, "")
    return subject


def _made(subject: Subject, apart: Apart, spec: RouterSpec, number: int, prefix: str) -> Version | None:
    try:
        return apart.make(spec, number)
    except SpecError as error:
        subject.say("error", "unknown_name", "", f"{prefix}{error}")
        return None
