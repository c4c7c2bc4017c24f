"""What one training job is: the router, the judge, the models and the requests, checked, and a key of its content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...decide.pool import make_candidates
from ...errors import SpecError
from ...records import Candidate
from ...redact import shown
from ...router import Router
from ...spec.budget import Budget
from ...spec.deployment import Deployment, normalise_model
from ...spec.document import digest, document
from ...spec.router_spec import RouterSpec
from ..judges.making import asks, described
from ..judges.placing import known_deployment, known_deployments
from .estimate import Estimate, estimated
from .training_requests import TrainingRequest

PATIENCE_S = 60.0  # a job waits for rate limits longer than a person would
CAP = 4_096  # output tokens of an answer, where a budget has to hold its worst case


@dataclass(frozen=True, slots=True)
class Plan:
    """One job. ``deployments`` are the models to train, one each; ``cap`` bounds their answers (None: nothing does);
    ``stored`` the deployments that the job was last run with, for what the router does not know any more."""

    name: str
    router: Router
    judge: Any
    deployments: tuple[Deployment, ...]
    requests: tuple[TrainingRequest, ...]
    seed: int = 0
    concurrency: int = 8
    budget_usd: float | None = None
    cap: int | None = None
    stored: tuple[Deployment, ...] = ()

    @property
    def llms(self) -> tuple[str, ...]:
        return tuple(deployment.model for deployment in self.deployments)

    def digest(self) -> str:
        """A key of what is asked and judged. Orders, the budget and the concurrency do not change what a job is."""
        keys, models = sorted(one.key for one in self.requests), sorted(self.llms)
        judge = described(self.judge)
        return digest({"router": self.router.name, "judge": judge, "llms": models, "keys": keys, "seed": self.seed})

    def content(self) -> dict[str, Any]:
        """What a job needs beside its requests to go on in another process, as JSON-ready values."""
        try:
            models: Any = document(RouterSpec(name="models", deployments=self.everyone()))["models"]
        except SpecError:  # written-out keys are kept nowhere: the router has them
            models = [one.model for one in self.everyone()]
        settings = {"seed": self.seed, "concurrency": self.concurrency, "budget_usd": self.budget_usd, "cap": self.cap}
        return {"judge": described(self.judge), "models": models, **settings}

    def everyone(self) -> tuple[Deployment, ...]:
        """The models to train and those that the judge asks."""
        found = list(self.deployments)
        for model, _, _ in asks(self.judge):
            if not any(one.model == model for one in found):
                known = [one for one in (*known_deployments(self.router), *self.stored) if one.model == model]
                found.append(known[0] if known else Deployment(model))
        return _named_apart(found)

    def with_stored(self, stored: tuple[Deployment, ...]) -> Plan:
        """With the settings that the job was last run with, where none are given now."""
        by_model = {one.model: one for one in stored}
        now = (by_model.get(d.model, d) if d == Deployment(d.model) else d for d in self.deployments)
        return replace(self, deployments=tuple(now), stored=stored)

    def router_for(self, left_usd: float | None) -> Router:
        """The router that all calls of the job go through."""
        budgets = [] if left_usd is None else [Budget(left_usd, name="training")]
        return Router(
            "training",
            models=list(self.everyone()),
            budgets=budgets,
            seed=self.seed,
            clock=self.router.clock,
            provider=self.router.provider,
            history_rows=1,
            max_attempts=1,
            max_retries=0,
            patience_s=PATIENCE_S,
        )

    def estimate(self) -> Estimate:
        made = make_candidates(self.everyone(), self.router.provider.facts)
        candidates: dict[str, Candidate] = {one.deployment.model: one for one in made}
        return estimated(self.requests, self.llms, self.judge, candidates)


def _named_apart(deployments: Sequence[Deployment]) -> tuple[Deployment, ...]:
    names = [one.name for one in deployments]
    return tuple(
        one if names.count(one.name) == 1 else one.model_copy(update={"name": one.model}) for one in deployments
    )


def resolved(router: Router, llms: Any) -> tuple[Deployment, ...]:
    """The deployments that names mean: those of the router with their settings, else new ones. Deployments of one model
    are one model here.

    Raises: SpecError for what is no list of models.
    """
    if isinstance(llms, (str, bytes, Mapping)) or not isinstance(llms, Iterable):
        raise SpecError(f"llms: must be a list of model names, not {shown(llms)}")
    known, found = known_deployments(router), dict[str, Deployment]()
    for llm in llms:
        if not isinstance(llm, (str, Deployment)):
            raise SpecError(f"llms: must hold model names and Deployments, not {shown(llm)}")
        deployment = llm if isinstance(llm, Deployment) else known_deployment(known, normalise_model(llm))
        found.setdefault(deployment.model, deployment)
    if not found:
        raise SpecError("llms: there is none")
    return tuple(found.values())


def restored(models: Iterable[Any]) -> tuple[Deployment, ...]:
    """The deployments that ``content()`` wrote down."""
    return tuple(Deployment(data) if isinstance(data, str) else Deployment(**data) for data in models)
