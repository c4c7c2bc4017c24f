"""What was asked: ``history``, ``explain``, ``feedback``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .arguments import Name, RequestId
from .command import Session, command
from .records import show_record
from .screen import count, moment, ms, usd, without_content

_TIME = "A time (2026-01-31, or 2026-01-31T12:00:00+00:00), or seconds of the epoch."


@command
def history(
    session: Session,
    name: Name,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    since: Annotated[str | None, typer.Option(metavar="TIME", help=f"Not before. {_TIME}")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before.")] = None,
    model: Annotated[str | None, typer.Option(help="Answered by this model.")] = None,
    rule: Annotated[str | None, typer.Option(help="Which this rule took.")] = None,
    status: Annotated[str | None, typer.Option(help="answered, failed, refused, decided …")] = None,
    user: Annotated[str | None, typer.Option(help="Of this user.")] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all that fit to a .jsonl or .csv file.")
    ] = None,
) -> None:
    """Requests, newest first. Prompts and answers are not shown (a file of --export has them, where they were kept)."""
    found = session.router_of_old(name)
    filters: dict[str, Any] = {"model": model, "rule": rule, "status": status, "user": user}
    filters |= {"since": _time(since), "until": _time(until)}
    if export is not None:
        with session.screen.progress(f"writing {export.name}", session.json):
            written = found.export_requests(export, **filters)
        if session.json:
            session.screen.json({"name": name, "file": str(export), "requests": written})
        else:
            session.screen.line(f"{export.name}: {count(written, 'request')}")
        return
    records = [without_content(record) for record in found.list_requests(limit, **filters)]
    if session.json:
        session.screen.json(records)
    elif not records:
        session.screen.line("no requests")
    else:
        names = ("at", "request", "status", "rule", "deployment", "tokens in", "tokens out", "cost", "latency", "user",
                 "feedback")  # fmt: skip
        session.screen.table(names, map(_row, records))


def _row(record: dict[str, Any]) -> tuple[Any, ...]:
    return (
        moment(record.get("created_at")),
        record["request_id"],
        record.get("status"),
        record.get("matched_rule"),
        record.get("deployment"),
        record.get("input_tokens"),
        record.get("output_tokens"),
        usd(record.get("cost_usd")),
        ms(record.get("latency_ms")),
        record.get("user"),
        record.get("feedback"),
    )


def _time(value: str | None) -> Any:
    """Seconds where it is a number, else as it is."""
    try:
        return value if value is None else float(value)
    except ValueError:
        return value


@command
def explain(session: Session, name: Name, request_id: RequestId) -> None:
    """Why a request went where it did: candidates with scores and reasons, attempts, cost."""
    record = without_content(session.router_of_old(name).get_request(request_id))
    if session.json:
        session.screen.json(record)
    else:
        show_record(session.screen, record)


@command
def feedback(
    session: Session,
    name: Name,
    request_id: RequestId,
    score: Annotated[float, typer.Argument(metavar="SCORE", help="0 (bad) to 1 (good).")],
) -> None:
    """Attach a judgement to a request; a later one replaces it."""
    session.router_of_old(name).feedback(request_id, score)
    if session.json:
        session.screen.json({"name": name, "request_id": request_id, "feedback": score})
    else:
        session.screen.line(f"{request_id}: feedback {score:g}")
