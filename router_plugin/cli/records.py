"""A decision, or the record of a request, as tables: what could take it, in which order and why, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..result import RouteResult
from .screen import Screen, ms, number, usd, without_content

_OVER = ("answered", "left early")


def of_result(result: RouteResult) -> dict[str, Any]:
    return {**result.model_dump(), "qualities": result.qualities}


def show_record(screen: Screen, record: Mapping[str, Any]) -> None:
    """All of it but what was asked and answered."""
    record = without_content(record)
    served = record.get("status") in _OVER
    screen.heading(
        f"request {record['request_id']} · router {record['router']} (version {record['version']}) · {record['status']}"
    )
    facts = [
        ("at", record.get("created_at")),
        ("served by" if served else "first choice", record.get("deployment") or "nothing"),
        ("model", record.get("model") if record.get("model") != record.get("deployment") else None),
        ("rule", record.get("matched_rule")),
        ("by", record.get("objective")),
        ("set aside", ", ".join(record.get("waived") or ())),
        ("user", record.get("user")),
        ("cost", _money(record)),
        ("latency", ms(record.get("latency_ms"))),
        ("feedback", record.get("feedback")),
    ]
    for name, value in facts:
        if value not in (None, ""):
            screen.line(f"  {name}: {value}")
    screen.line()
    screen.table(("#", "candidate", "score", "quality", "why"), _candidates(record))
    for title, rows in (("rules that did not match", _tried(record)), ("shadows", _shadows(record))):
        if found := list(rows):
            screen.line()
            screen.heading(title)
            screen.table(("", ""), found, indent=2)
    if record.get("attempts"):
        screen.line()
        names = ("#", "attempt", "outcome", "latency", "first token", "tokens in", "tokens out", "cost")
        screen.table(names, _attempts(record))
    for note in record.get("notes") or ():
        screen.line(f"note: {note}")


def _money(record: Mapping[str, Any]) -> str:
    estimate = record.get("estimated_cost_usd")
    spent = usd(record.get("cost_usd")) if record.get("attempts") else ""
    expected = f"{usd(estimate)} estimated" if estimate is not None else ""
    return ", ".join(part for part in (spent, expected) if part)


def _candidates(record: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    scores, qualities = record.get("scores") or {}, record.get("qualities") or {}
    best = "served" if record.get("status") in _OVER else "first choice"
    for place, name in enumerate(record.get("ranking") or (), 1):
        score = "unknown" if scores.get(name) is None else f"{scores[name]:.6g}"
        why = best if name == record.get("deployment") else ""
        yield f"{place}", name, score, number(qualities.get(name)), why
    for name, why in (record.get("rejected") or {}).items():
        yield "-", name, "", "", f"left out: {why}"


def _tried(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for one in record.get("rule_trace") or ():
        if not one["matched"]:
            yield one["rule"], one["why"]


def _shadows(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for one in record.get("shadows") or ():
        yield str(one.get("target", "")), ", ".join(f"{key} {value}" for key, value in one.items() if key != "target")


def _attempts(record: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for place, one in enumerate(record["attempts"], 1):
        yield (
            place,
            one["deployment"],
            one.get("error") or one["outcome"],
            ms(one.get("latency_ms")),
            ms(one.get("ttft_ms")),
            one.get("input_tokens"),
            one.get("output_tokens"),
            usd(one.get("cost_usd")),
        )
