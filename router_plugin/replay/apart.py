"""Versions that stand apart from everything live: made in a home of their own, with a fresh fleet, accounts that nobody
has spent from and a history that is never written. Nothing live is read or changed, and nobody is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from ..errors import RouterError, SpecError
from ..history import History
from ..provider.port import CataloguedProvider
from ..records import ModelFacts, Request
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


class Recalled:
    """The scorer where it has the prompt to read; else what it said then."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.said: Mapping[str, float] | None = None

    def score(self, request: Request, models: Sequence[str]) -> Sequence[Score | float | None]:
        if self.said is None:
            return self._scorer.score(request, models)
        return [self.said.get(model) for model in models]


class Apart:
    """Versions of one router in a home of their own."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        provider: CataloguedProvider,
        scorer: Scorer | None = None,
        load: Callable[[int], Kept] | None = None,
    ) -> None:
        self.name, self._load = name, load
        self.recalled = None if scorer is None else Recalled(scorer)
        quiet = cast("CataloguedProvider", Catalogue(provider))  # deciding asks for facts and counts only
        self.home = Home(clock, quiet, 0, self.recalled, History(name, clock), Shadows(clock))
        self._versions: dict[int, Version] = {}

    @classmethod
    def of(cls, router: Router) -> Apart:
        home = router._home
        return cls(router.name, home.clock, home.provider, home.scorer, router._shelf.load)

    def make(self, spec: RouterSpec, number: int = 0, digest: str = "") -> Version:
        """A version of this spec.

        Raises: SpecError for names that it uses and does not know.
        """
        version = Version(self.home, number, spec, digest)
        version.candidates()
        return version

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
