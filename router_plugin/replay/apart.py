"""Versions that stand apart from everything live: made in a home of their own, with a fresh fleet, accounts that nobody
has spent from and a history that is never written. Nothing live is read or changed, and nobody is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..errors import RouterError, SpecError
from ..history import History
from ..online import ask, foundation
from ..provider.port import CataloguedProvider
from ..records import Candidate, ModelFacts, Request
from ..shadow import Shadows
from ..snapshot import Score, Scorer
from ..spec.deployment import Deployment
from ..spec.router_spec import RouterSpec
from ..state.ledger import Ledger
from ..version import Home, Version
from .recorded import COUNTED

if TYPE_CHECKING:
    from ..clock import Clock
    from ..router import Router
    from ..shelf import Kept


class Catalogue:
    """What a provider knows of models, for a home in which nobody is called."""

    def __init__(self, provider: CataloguedProvider) -> None:
        self._provider = provider

    def facts(self, deployment: Deployment) -> ModelFacts:
        return self._provider.facts(deployment)

    def stamp(self) -> int:
        return self._provider.stamp()

    def count_tokens(self, model: str, request: Request) -> int:
        """What the provider billed then; else the exact count of what was kept, else the estimate."""
        counted = request.exact_counts.get(COUNTED)
        if counted is not None:
            return counted
        return self._provider.count_tokens(model, request) if request.messages else request.estimate


class Memory:
    """What predictors said of the request that is being decided: quality by model. None: they have a prompt to read."""

    __slots__ = ("said",)

    def __init__(self) -> None:
        self.said: Mapping[str, float] | None = None


class Recalled:
    """A predictor where it has the prompt to read; else what was said of each model then."""

    def __init__(self, scorer: Scorer, memory: Memory) -> None:
        self._scorer, self._memory = scorer, memory

    def score(self, request: Request, models: Sequence[str]) -> Sequence[Score | float | None]:
        said = self._memory.said
        return self._scorer.score(request, models) if said is None else [said.get(model) for model in models]

    def score_candidates(self, request: Request, candidates: Sequence[Candidate]) -> Sequence[Score | float | None]:
        if self._memory.said is None:
            return ask(self._scorer, request, candidates)
        return self.score(request, [candidate.deployment.model for candidate in candidates])


class Apart:
    """Versions of one router in a home of their own. ``folder`` is where its artefacts lie."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        provider: CataloguedProvider,
        scorer: Scorer | None = None,
        load: Callable[[int], Kept] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name, self.scorer, self._load = name, scorer, load
        self.memory = Memory()
        recalled = None if scorer is None else Recalled(scorer, self.memory)
        quiet = cast("CataloguedProvider", Catalogue(provider))  # deciding asks for facts and counts only
        self.home = Home(clock, quiet, 0, recalled, History(name, clock), Shadows(clock))
        self.home.folder, self.home.foundation = folder, self._foundation
        self._versions: dict[int, Version] = {}

    @classmethod
    def of(cls, router: Router) -> Apart:
        home = router._home
        return cls(router.name, home.clock, home.provider, home.scorer, router._shelf.load, home.folder)

    def make(self, spec: RouterSpec, number: int = 0, digest: str = "") -> Version:
        """A version of this spec.

        Raises: SpecError for names that it uses and does not know.
        """
        version = Version(self.home, number, spec, digest)
        if version.learned is not None:
            version.learned = Recalled(version.learned, self.memory)
        version.candidates()
        return version

    def _foundation(self) -> Scorer | None:
        found = foundation()
        return None if found is None else Recalled(found, self.memory)

    def predictor(self, version: Version) -> object:
        """What predicts quality for a version: the same thing for versions that share it; None where nothing does."""
        if self.scorer is not None:
            return self.scorer
        return None if version.learned is None else version.spec.artefact

    def at(self, number: int) -> Version:
        """A version that is kept.

        Raises: SpecError where there is none.
        """
        if number not in self._versions:
            if self._load is None:
                raise SpecError(f"router {self.name!r}: its versions are not known here")
            try:
                kept = self._load(number)
            except RouterError as error:
                raise SpecError(str(error)) from None
            self._versions[number] = self.make(kept.spec, kept.number, kept.hash)
        return self._versions[number]


def unspent(version: Version) -> Ledger:
    """The version's budgets as if nothing had been spent: they bound one request, and tell that money matters."""
    budgets = [budget.model_copy(update={"key": None, "require_key": False}) for budget in version.spec.budgets]
    return Ledger(budgets, version.home.clock)
