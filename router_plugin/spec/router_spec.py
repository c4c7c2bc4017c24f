"""What a router is, as one frozen value."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ..errors import SpecError
from ..redact import shown
from .budget import Budget
from .deployment import Deployment
from .fields import Text
from .options import Routing
from .rules import Rule, parse_rules

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.match(value):
        raise ValueError(
            f"must be 1 to 128 letters, digits, '.', '_' or '-' and start with a letter or digit, got {shown(value)}"
        )
    return value


def router_name(value: Any, what: str = "Router: name") -> str:
    """Raises: SpecError for what is no name of a router (or of ``what``, whose names are alike)."""
    try:
        return _name(value)
    except ValueError as error:
        raise SpecError(f"{what}: {error}") from None


def _deployments(value: Any) -> Any:
    if value == "any":
        return ()
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        raise ValueError(f"must be a list of model names and Deployments, or 'any', not {shown(value)}")
    made = []
    for item in value:
        if isinstance(item, Deployment):
            made.append(item)
        elif isinstance(item, dict) and all(isinstance(key, str) for key in item):
            made.append(Deployment(**item))
        elif isinstance(item, str):
            made.append(Deployment(item))
        else:
            raise ValueError(f"must hold model names and Deployments, not {shown(item)}")
    return _named_apart(made)


def _budgets(value: Any) -> Any:
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        raise ValueError(f"must be a list of Budgets, not {shown(value)}")
    made = []
    for item in value:
        if isinstance(item, dict) and all(isinstance(key, str) for key in item):
            item = Budget(**item)
        elif not isinstance(item, Budget):
            raise ValueError(f"must hold Budgets, not {shown(item)}")
        made.append(item)
    return tuple(made)


def _named_apart(deployments: list[Deployment]) -> tuple[Deployment, ...]:
    """Deployments that share a default name get ``#2`` …; the same one twice is an error."""
    seen: dict[str, Deployment] = {}
    for deployment in deployments:
        name, number = deployment.name, 1
        while name in seen:
            if seen[name] == deployment or deployment.name != deployment.model:
                raise ValueError(f"{deployment.name!r} is listed twice; give each deployment its own name=")
            number += 1
            name = f"{deployment.name}#{number}"
        seen[name] = deployment if name == deployment.name else deployment.model_copy(update={"name": name})
    return tuple(seen.values())


class RouterSpec(Routing):
    """A router: its name, its deployments, its rules, its budgets and the defaults of every routing option.

    ``any_model`` lets a call name any model litellm knows (``Router(…, models="any")``).
    ``artefact`` is the file (or folder) of a trained predictor, relative to the store's folder (of a router in memory:
    to the working directory). ``allow_request_endpoints`` lets a call bring ``api_base``, ``api_key`` and the like.
    """

    name: Annotated[str, BeforeValidator(_name)]
    deployments: Annotated[tuple[Deployment, ...], BeforeValidator(_deployments)] = ()
    any_model: bool = False
    rules: Annotated[tuple[Rule, ...], BeforeValidator(parse_rules)] = ()
    budgets: Annotated[tuple[Budget, ...], BeforeValidator(_budgets)] = ()
    allow_request_endpoints: bool = False
    artefact: Text | None = None
    description: str | None = Field(default=None, max_length=10_000)
    kind: Literal["router"] = "router"

    def __init__(self, /, **data: Any) -> None:
        if data.get("deployments") == "any":
            data.update(deployments=(), any_model=True)
        super().__init__(**data)
        if not self.deployments and not self.any_model:
            raise SpecError("RouterSpec: models: a router needs at least one model, or models='any'")
        names = [budget.name for budget in self.budgets]
        for name in names:
            if names.count(name) > 1:
                raise SpecError(f"RouterSpec: budgets: two budgets are named {name!r}; give each its own name=")
