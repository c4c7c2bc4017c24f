"""What is stored: ``list``, ``show``, ``update``, ``deploy``, ``rollback``, ``diff``, ``delete``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from ..errors import ResourceNotFoundError, RouterError, SpecError, VersionConflictError
from ..redact import shown
from ..router import Router
from ..spec.document import spec_of_document
from ..spec.rules import dump_rule
from .arguments import File, Name, Note, OfVersion
from .command import NO, OK, Session, command
from .inputs import changes_of, read_settings
from .screen import Screen, moment


@command
def list_(session: Session) -> None:
    """All routers: their active versions, models and rules."""
    found = [_summary(router) for router in session.client.routers.list()]
    if session.json:
        session.screen.json(found)
    elif not found:
        session.screen.line("no routers yet; `router-plugin update NAME FILE --create` makes one")
    else:
        names = ("router", "active", "versions", "models", "rules", "changed", "description")
        keys = ("name", "version", "versions", "models", "rules")
        said = [(moment(one.get("changed_at")), one.get("error") or one.get("description")) for one in found]
        rows = [(*map(one.get, keys), *more) for one, more in zip(found, said, strict=True)]
        session.screen.table(names, rows)


def _summary(router: Router) -> dict[str, Any]:
    try:
        versions, spec = router.versions, router.spec
    except RouterError as error:  # one that is damaged must not hide the others
        return {"name": router.name, "error": str(error)}
    return {
        "name": router.name,
        "version": router.version,
        "versions": len(versions),
        "models": "any" if spec.any_model else len(spec.deployments),
        "rules": len(spec.rules),
        "changed_at": versions[-1]["created_at"],
        "description": spec.description,
    }


@command
def show(session: Session, name: Name, version: OfVersion = None) -> None:
    """The settings of a router; secrets are masked."""
    router = session.router(name, version)
    config, versions = router.config, router.versions
    if session.json:
        found = {"name": name, "version": router.version, "active_version": router.active_version}
        session.screen.json({**found, "config": config, "versions": versions})
        return
    screen = session.screen
    active = "" if router.version == router.active_version else f" (active: {router.active_version})"
    screen.heading(f"{name}, version {router.version}{active}")
    for key, value in config.items():
        if key not in ("name", "models", "rules", "budgets"):
            screen.line(f"  {key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    _show_models(screen, config["models"])
    _part(screen, "rules", ("priority", "name", "strategy", "if", "targets"), map(_rule, router.rules))
    _part(screen, "budgets", ("name", "limit", "per", "by", "further"), map(_budget, config.get("budgets", [])))
    rows = [(f"{one['version']}{' *' * one['active']}", moment(one["created_at"]), one["hash"][:12], one["note"])
            for one in versions[-20:]]  # fmt: skip
    _part(screen, "versions" if len(versions) <= 20 else "the newest versions", ("", "at", "hash", "note"), rows)


def _part(screen: Screen, title: str, names: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    if found := list(rows):
        screen.line()
        screen.heading(title)
        screen.table(names, found, indent=2)


def _show_models(screen: Screen, models: Any) -> None:
    if models == "any":
        screen.line("  models: any")
        return
    rows = []
    for one in models:
        one = {"model": one} if isinstance(one, str) else dict(one)
        model = one.pop("model")
        name, quality = one.pop("name", model), one.pop("quality", None)
        rows.append((name, model, quality, ", ".join(f"{key}={_brief(value)}" for key, value in one.items())))
    _part(screen, "models", ("name", "model", "quality", "settings"), rows)


def _rule(rule: Any) -> tuple[Any, ...]:
    dumped = dump_rule(rule)
    split = f" by {rule.split_key}" if rule.split_key is not None else ""
    weighed = rule.strategy == "SPLIT"
    targets = ", ".join(t.model_name + (f" ({t.weight:g})" if weighed else "") for t in rule.targets)
    conditions = " and ".join(_condition(one) for one in dumped.get("conditions", ())) or "always"
    name = rule.name if rule.enabled else f"{rule.name} (off)"
    return rule.priority, name, rule.strategy + split, conditions, targets


def _condition(node: Mapping[str, Any]) -> str:
    if "field" in node:
        value = f" {_brief(node['value'])}" if "value" in node else ""
        return f"{node['field']} {node['operator']}{value}"
    ((kind, inner),) = node.items()
    if kind == "not":
        return f"not ({_condition(inner)})"
    return "(" + (" and " if kind == "all" else " or ").join(_condition(one) for one in inner) + ")"


def _budget(budget: Mapping[str, Any]) -> tuple[Any, ...]:
    known = ("name", "usd", "per", "key")
    further = ", ".join(f"{key}={_brief(value)}" for key, value in budget.items() if key not in known)
    return budget.get("name"), f"${budget['usd']:g}", budget.get("per", "total"), budget.get("key"), further


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:119]}…"


@command
def update(
    session: Session,
    name: Name,
    file: File,
    deploy: Annotated[bool, typer.Option("--deploy/--no-deploy", help="Make the new version the active one.")] = True,
    note: Note = None,
    create: Annotated[bool, typer.Option("--create", help="Create the router where there is none.")] = False,
    based_on: Annotated[
        int | None, typer.Option(metavar="N", help="Refuse (exit code 4) unless the newest version is N.")
    ] = None,
) -> None:
    """Write a new version: the active one with the settings of a file, each of which replaces the old (null takes it
    away)."""
    settings = read_settings(file)
    if "spec" in settings and "hash" in settings:
        raise SpecError(f"{file.name}: is an exported version; `router-plugin import` reads it")
    if settings.setdefault("name", name) != name:
        raise SpecError(f"{file.name}: name: is {shown(settings['name'])}, and the router is {name!r}")
    latest = session.client.store.latest(name)
    if based_on is not None and based_on != latest:
        raise VersionConflictError(f"router {name!r}: its newest version is {latest}, not {based_on}")
    if not latest and create:
        spec = spec_of_document({key: value for key, value in settings.items() if value is not None})
        session.client.store.save(spec, None, True, note)
        _tell(session, name, 1, 1, f"{name}: created, version 1")
        return
    router = session.router(name)
    before = router.version
    router.update(deploy=deploy, note=note, **changes_of(router.spec, settings))
    number = router.versions[-1]["version"]
    told = f"{name}: version {number} is {'active' if deploy else f'kept; {before} stays active'}"
    _tell(session, name, number, router.version, told, router.diff(before, number))


def _tell(session: Session, name: str, number: int, active: int, told: str, changes: str = "") -> None:
    """What a command has done to the versions of a router."""
    if session.json:
        found = {"name": name, "version": number, "active_version": active, "changes": changes.splitlines()}
        session.screen.json(found)
        return
    session.screen.line(told)
    for line in changes.splitlines():
        session.screen.line(f"  {line}")


@command
def deploy(
    session: Session, name: Name, version: Annotated[int, typer.Argument(metavar="VERSION", help="Its number.")]
) -> None:
    """Make a version the active one."""
    _deploy(session, session.router(name), version)


def _deploy(session: Session, router: Router, version: int) -> None:
    before = router.version
    router.deploy(version)
    told = f"{router.name}: version {version} is active (it was {before})"
    _tell(session, router.name, version, version, told, router.diff(before, version))


@command
def rollback(
    session: Session,
    name: Name,
    to: Annotated[int | None, typer.Option(metavar="N", help="To this version.")] = None,
) -> None:
    """Go back to the highest version below the active one, or to another."""
    router = session.router(name)
    if to is None:
        older = [one["version"] for one in router.versions if one["version"] < router.version]
        if not older:
            raise ResourceNotFoundError(f"router {name!r} has no version below {router.version}")
        to = older[-1]
    _deploy(session, router, to)


@command
def diff(
    session: Session,
    name: Name,
    old: Annotated[int, typer.Argument(metavar="V1", help="The older version.")],
    new: Annotated[int, typer.Argument(metavar="V2", help="The newer version.")],
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where they differ.")] = False,
) -> int:
    """What changed between two versions: one line a change; nothing where they are the same."""
    changes = session.router(name).diff(old, new).splitlines()
    if session.json:
        session.screen.json({"name": name, "old": old, "new": new, "changes": changes})
    else:
        for line in changes:
            session.screen.line(line)
    return NO if changes and exit_code else OK


@command
def delete(
    session: Session, name: Name, yes: Annotated[bool, typer.Option("--yes", help="Really: it is needed.")] = False
) -> None:
    """Remove a router with all its versions. Its requests stay in the history."""
    if not yes:
        raise typer.BadParameter(f"deleting {name!r} with all its versions needs --yes")
    session.client.routers.delete(name)
    if session.json:
        session.screen.json({"name": name, "deleted": True})
    else:
        session.screen.line(f"{name}: deleted")
