"""Where a judge's model is asked: at the address, with the key and for the price that a router says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from ...errors import RouterError, SpecError
from ...router import Router
from ...spec.deployment import Deployment
from .making import asks

_LOOK_BACK = 10  # versions
_ASIDE = {"name", "quality", "model"}  # what says nothing of where a model is asked


def known_deployments(router: Router) -> list[Deployment]:
    """Those of the active version, then of older ones: training leaves the judge's model out of the next version, and
    whatever failed; their addresses and prices still hold."""
    numbers = [one["version"] for one in router.versions if one["version"] != router.version]
    specs = [router.spec, *(router.at(number).spec for number in reversed(numbers[-_LOOK_BACK:]))]
    return [deployment for spec in specs for deployment in spec.deployments]


def known_deployment(deployments: Sequence[Deployment], name: str) -> Deployment:
    """The deployment that a name means among these, else one with litellm's defaults."""
    found = _meant(deployments, name)
    return found if found is not None else Deployment(name)


def _meant(deployments: Sequence[Deployment], name: str) -> Deployment | None:
    for attribute in ("name", "model", "model_part"):
        for deployment in deployments:
            if getattr(deployment, attribute) == name:
                return deployment
    return None


def placed(judge: Any, router: Router) -> list[tuple[str, Deployment]]:
    """(the model that a judge names, where a router says that it is)."""
    names = [model for model, _, _ in asks(judge)]
    known = known_deployments(router) if names else []
    return [(name, known_deployment(known, name)) for name in names]


def placed_among(judge: Any, routers: Iterable[Router]) -> tuple[list[Deployment], Router | None]:
    """The deployments of a judge's models as any of these routers knows them (where no active version does, as an older
    one did), and the first router that does.

    Raises: SpecError where two routers say different things of one.
    """
    names, found, knows = [model for model, _, _ in asks(judge)], list[Deployment](), list[Router]()
    readable = list(routers) if names else []
    for name in names:
        said = _said(name, readable, lambda router: router.spec.deployments) or _said(name, readable, known_deployments)
        own = [one for one in said if _place(one[1])] or said
        others = [router for router, deployment in own if _place(deployment) != _place(own[0][1])]
        if others:
            raise SpecError(
                f"judge: routers {own[0][0].name!r} and {others[0].name!r} say different things of {name!r}; give "
                "router=, the one that holds"
            )
        found.append(own[0][1] if own else Deployment(name))
        knows += [router for router, _ in own]
    return found, knows[0] if knows else None


def _said(
    name: str, routers: Iterable[Router], listed: Callable[[Router], Sequence[Deployment]]
) -> list[tuple[Router, Deployment]]:
    """What each router says of a name; one that is damaged, or deleted meanwhile, says nothing."""
    found = []
    for router in routers:
        with suppress(RouterError):
            meant = _meant(listed(router), name)
            found += [] if meant is None else [(router, meant)]
    return found


def _place(deployment: Deployment) -> dict[str, Any]:
    return {name: getattr(deployment, name) for name in deployment.model_fields_set - _ASIDE}
