"""Where the versions of one router are kept: in memory, or in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .clock import Clock, iso
from .errors import ResourceNotFoundError, VersionConflictError, no_version
from .spec.document import digest, document
from .spec.router_spec import RouterSpec

if TYPE_CHECKING:
    from .spec.store import Store


class Kept(Protocol):
    """One version as it is kept."""

    @property
    def number(self) -> int: ...
    @property
    def spec(self) -> RouterSpec: ...
    @property
    def hash(self) -> str: ...


class Shelf(Protocol):
    """The versions of one router. ``save`` adds one to those that its writer knew of (``based_on``, the highest)."""

    def active(self) -> int: ...
    def latest(self) -> int: ...
    def versions(self) -> list[dict[str, Any]]: ...
    def load(self, number: int) -> Kept: ...
    def save(self, spec: RouterSpec, based_on: int | None, deploy: bool, note: str | None) -> Kept: ...
    def deploy(self, number: int) -> None: ...
    def delete(self) -> None: ...


class _InMemory(NamedTuple):
    number: int
    spec: RouterSpec
    hash: str
    created_at: float
    note: str | None


class MemoryShelf:
    """Versions that end with the process. They may hold what no file may: keys that are written out, functions."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name, self._clock = name, clock
        self._kept: list[_InMemory] = []
        self._active = 0

    def active(self) -> int:
        if not self._kept:
            raise ResourceNotFoundError(f"router {self._name!r} was deleted")
        return self._active

    def latest(self) -> int:
        return len(self._kept)

    def versions(self) -> list[dict[str, Any]]:
        return [
            {
                "version": one.number,
                "hash": one.hash,
                "created_at": iso(one.created_at),
                "active": one.number == self._active,
                "note": one.note,
            }
            for one in self._kept
        ]

    def load(self, number: int) -> Kept:
        if not 1 <= number <= len(self._kept):
            raise no_version(self._name, number, [one.number for one in self._kept])
        return self._kept[number - 1]

    def save(self, spec: RouterSpec, based_on: int | None, deploy: bool, note: str | None) -> Kept:
        if (based_on or 0) != len(self._kept):
            raise VersionConflictError(
                f"router {self._name!r}: its newest version is {len(self._kept)}, not {based_on}; refresh() and update"
            )
        number = len(self._kept) + 1
        self._kept.append(_InMemory(number, spec, digest(document(spec, strict=False)), self._clock.wall(), note))
        self._active = number if deploy or number == 1 else self._active
        return self._kept[-1]

    def deploy(self, number: int) -> None:
        self._active = self.load(number).number

    def delete(self) -> None:
        self._kept.clear()


class StoredShelf:
    """The versions of one router in a store, which is opened when it is first needed."""

    def __init__(self, name: str, store: Store) -> None:
        self._name, self._store = name, store

    def active(self) -> int:
        return self._store.active(self._name)

    def latest(self) -> int:
        return self._store.latest(self._name)

    def versions(self) -> list[dict[str, Any]]:
        return self._store.versions(self._name)

    def load(self, number: int) -> Kept:
        return self._store.load(self._name, number)

    def save(self, spec: RouterSpec, based_on: int | None, deploy: bool, note: str | None) -> Kept:
        return self._store.save(spec, based_on, deploy, note)

    def deploy(self, number: int) -> None:
        self._store.deploy(self._name, number)

    def delete(self) -> None:
        self._store.delete(self._name)
