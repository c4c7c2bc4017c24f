"""Who answers: the Protocols between carrying out a call and whatever carries it to a provider."""

from __future__ import annotations

from typing import Any, Protocol

from ..records import Answered, Attempt, Candidate, Failed, ModelFacts, Request, Usage
from ..spec.deployment import Deployment


class Streams(Protocol):
    """What a handover needs to know of one client's streams."""

    def usage(self, source: Any) -> Usage | None: ...
    def text(self, source: Any) -> str: ...
    def translate(self, error: BaseException, guard: Any) -> Failed: ...
    def restart_chunk(self, source: Any) -> Any: ...
    def present(self, handover: Any) -> Any: ...


class Provider(Protocol):
    """Calls deployments. ``call``/``acall`` return ``Failed`` for a provider's failure and raise no Exception for it;
    BaseExceptions (cancellation, KeyboardInterrupt) pass through."""

    @property
    def streams(self) -> Streams: ...
    def call(self, attempt: Attempt) -> Answered | Failed: ...
    async def acall(self, attempt: Attempt) -> Answered | Failed: ...
    def bill(self, response: Any, candidate: Candidate, request: Request) -> tuple[int, Usage]: ...


class Catalogue(Protocol):
    """What is known of models. ``stamp`` changes when ``facts`` have to be asked again."""

    def facts(self, deployment: Deployment) -> ModelFacts: ...
    def stamp(self) -> int: ...
    def count_tokens(self, model: str, request: Request) -> int: ...


class CataloguedProvider(Provider, Catalogue, Protocol):
    """Both: what a router is made with."""
