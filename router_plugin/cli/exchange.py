"""Versions and settings as files: ``export``, ``import``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ResourceAlreadyExistsError, SpecError
from ..spec.document import document, read_export, spec_of_document
from ..spec.foreign import import_config
from ..spec.foreign.imported import DEFAULT_NAME
from ..spec.router_spec import RouterSpec
from .arguments import Name, Note, OfVersion
from .command import Session, command
from .inputs import SUFFIXES, parsed, read_text
from .screen import count


class Format(str, Enum):
    json = "json"
    yaml = "yaml"


class Kind(str, Enum):
    mixtrain = "mixtrain"
    litellm = "litellm"
    openrouter = "openrouter"
    unify = "unify"
    export = "export"


@command
def export(
    session: Session,
    name: Name,
    version: OfVersion = None,
    format: Annotated[Format | None, typer.Option(help="By default by the file's ending, else json.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it here, not to stdout.")
    ] = None,
) -> None:
    """A version as text that `import` reads; the same bytes every time, and no secrets."""
    kind = format.value if format is not None else "json"
    if format is None and output is not None and output.suffix.lower() in (".yaml", ".yml"):
        kind = "yaml"
    if session.json and output is None and kind != "json":
        raise typer.BadParameter("--json and --format yaml exclude each other without --output")
    router = session.router(name, version)
    text = router.export(format=kind)
    if output is None:
        session.screen.document(text)
        return
    output.write_bytes(text.encode("utf-8", "surrogatepass"))
    if session.json:
        session.screen.json({"name": name, "version": router.version, "file": str(output)})
    else:
        session.screen.line(f"{output.name}: {name}, version {router.version}")


@dataclass(frozen=True)
class _Ready:
    """One file that can be saved. ``left_out``: what of a foreign configuration could not be carried over."""

    file: Path
    kind: str
    spec: RouterSpec
    summary: str
    left_out: tuple[str, ...] = ()


@command
def import_(
    session: Session,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files to import, or - for stdin.")],
    kind: Annotated[Kind | None, typer.Option(help="What they are; found out where it is not given.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The router's name, whatever the file says.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be saved, and save nothing.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Save a foreign configuration as a new version of a router that exists.")
    ] = False,
    note: Note = None,
) -> None:
    """Save exported versions, or configurations of Mixtrain, litellm.Router, OpenRouter and Unify, and deploy them.

    An export becomes the newest version of its router. Nothing is saved unless all files can be."""
    if name is not None and len(files) > 1:
        raise typer.BadParameter("--name is for one file")
    quiet, said = session.json, "" if kind is None else kind.value
    reading = session.screen.tracked(files, "reading", quiet or len(files) == 1, len(files))
    ready = [_read(file, said, name) for file in reading]
    if not replace:
        _new(session, ready)
    saved = []
    for one in session.screen.tracked(ready, "saving", quiet or len(ready) == 1, len(ready)):
        saved.append(None if dry_run else _save(session, one, note))
    if session.json:
        session.screen.json([_told(one, number) for one, number in zip(ready, saved, strict=True)])
        return
    for one, number in zip(ready, saved, strict=True):
        session.screen.lines(one.summary)
        name = one.spec.name
        session.screen.line("dry run: nothing was saved" if number is None else f"{name}: saved as version {number}")


def _read(file: Path, kind: str, name: str | None) -> _Ready:
    text = read_text(file)
    data: Any = text.strip()
    if file.suffix.lower() in SUFFIXES or (file == Path("-") and kind != "unify"):
        data = parsed(file, text)
    try:
        if kind == "export" or (not kind and _is_ours(data)):
            return _read_ours(file, data, name)
        found = import_config(data, kind or None, name or DEFAULT_NAME)
        settings = found.document | ({} if name is None else {"name": name})
        return _Ready(file, kind or "foreign", spec_of_document(settings), found.text(), found.left_out)
    except SpecError as error:
        raise SpecError(f"{file.name}: {error}") from None


def _is_ours(data: Any) -> bool:
    return isinstance(data, dict) and ({"spec", "hash"} <= data.keys() or {"name", "models"} <= data.keys())


def _read_ours(file: Path, data: Any, name: str | None) -> _Ready:
    spec, _ = read_export(json.dumps(data, default=str) if isinstance(data, dict) else str(data))
    if name is not None and name != spec.name:
        spec = spec_of_document({**document(spec), "name": name})
    models = "any model" if spec.any_model else count(len(spec.deployments), "model")
    return _Ready(file, "export", spec, f"{spec.name}: {models}, {count(len(spec.rules), 'rule')}")


def _new(session: Session, ready: list[_Ready]) -> None:
    """Foreign configurations make new routers.

    Raises: ResourceAlreadyExistsError.
    """
    taken: set[str] = set()
    for one in ready:
        name = one.spec.name
        if one.kind != "export" and (name in taken or session.client.store.latest(name)):
            raise ResourceAlreadyExistsError(
                f"{one.file.name}: there is a router {name!r} already; give --name, or --replace for a new version"
            )
        taken.add(name)


def _save(session: Session, one: _Ready, note: str | None) -> int:
    text = json.dumps(document(one.spec), ensure_ascii=True)
    note = note or f"imported from {one.file.name}"
    return session.client.routers.import_router(text, note).version


def _told(one: _Ready, version: int | None) -> dict[str, Any]:
    return {
        "file": str(one.file),
        "kind": one.kind,
        "name": one.spec.name,
        "version": version,
        "saved": version is not None,
        "left_out": list(one.left_out),
        "settings": document(one.spec, strict=False),
    }
