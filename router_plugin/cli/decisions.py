"""What would be decided: ``check``, ``route``, ``replay``. Nobody is called."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..check import check_document
from ..errors import NoCandidateError
from ..result import RouteResult
from ..spec.document import spec_of_document
from .arguments import Name, OfVersion, Target, names
from .command import NO, OK, Session, command
from .inputs import SUFFIXES, changes_of, read_lines, read_request, read_settings
from .records import of_result, show_record


@command
def check(
    session: Session,
    target: Target,
    sample: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Requests to try the rules on: a .jsonl file, or - for stdin.")
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A router that is installed beside it: its rules may address that.",
            autocompletion=names,
        ),
    ] = None,
    version: OfVersion = None,
) -> int:
    """What is wrong or doubtful in a router or a file of settings. Exit code 1: there are errors."""
    path = Path(target)
    others = [session.router(one) for one in beside or ()]
    requests = None
    if sample is not None:
        requests = list(session.screen.tracked(read_lines(sample), "reading the sample", session.json))
    is_file = path.is_file() or path.suffix.lower() in SUFFIXES or target == "-"
    if is_file and (path.is_file() or not session.client.store.latest(target)):
        if version is not None:
            raise typer.BadParameter("--version is of a stored router, and this is a file")
        report = check_document(read_settings(path), requests, others=others)
    else:
        report = session.router(target, version).check(requests, others=others)
    if session.json:
        session.screen.json(report.model_dump())
    else:
        session.screen.lines(report.text())
    return OK if report.ok else NO


@command
def route(
    session: Session,
    name: Name,
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="What is asked.")] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="JSON|@FILE|-", help="The request: litellm's arguments and ours, as a JSON object."),
    ] = None,
    version: OfVersion = None,
) -> None:
    """Where a request would go, and why. Exit code 1: nothing may take it."""
    if prompt is None and data is None:
        raise typer.BadParameter("give --prompt or --data")
    request = read_request(prompt, data)
    router = session.router(name, version)
    try:
        _show(session, router.route(request))
    except NoCandidateError as error:
        refused = RouteResult.of(error)
        if refused is not None:
            _show(session, refused)
        raise


def _show(session: Session, result: RouteResult) -> None:
    if session.json:
        session.screen.json(of_result(result))
    else:
        show_record(session.screen, of_result(result))


@command
def replay(
    session: Session,
    name: Name,
    version: OfVersion = None,
    spec: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Under the settings of this file; without models: changes of the active."),
    ] = None,
    requests: Annotated[
        Path | None, typer.Option(metavar="FILE", help="These requests (.jsonl, or -), not those of the history.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest of the history.")] = 100_000,
) -> None:
    """Decide past requests again under another version or other settings: what would go elsewhere."""
    if version is not None and spec is not None:
        raise typer.BadParameter("give --version or --spec, not both")
    router = session.router(name)
    other: Any = version
    if spec is not None:
        settings = read_settings(spec)
        changes = changes_of(router.spec, settings)
        other = spec_of_document({"name": name, **settings}) if "models" in settings else changes
    records: Iterable[Any] = router.list_requests(limit) if requests is None else read_lines(requests)
    total = len(records) if isinstance(records, list) else None
    found = router.replay(session.screen.tracked(records, "deciding again", session.json, total), other, limit=limit)
    if session.json:
        session.screen.json(found.model_dump())
    else:
        session.screen.lines(found.text())
