"""Which behaviour and which fault the next call of a model gets."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from .faults import Fault
from .reply import Behaviour

EVERY_MODEL = "*"
"""A model name for ``model``, ``script`` and ``always``: stands for every model without an entry of its own."""

_ECHO = Behaviour()


class Plans:
    """Behaviours, scripts and permanent faults by model name. Safe to change while calls are answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[str, Behaviour] = {}
        self._scripts: dict[str, deque[Fault | None]] = {}
        self._always: dict[str, Fault] = {}

    def model(self, name: str, behaviour: Behaviour) -> None:
        """Set the behaviour under everything else."""
        with self._lock:
            self._models[name] = behaviour

    def script(self, name: str, faults: Iterable[Fault | None]) -> None:
        """Queue faults; None is a normal answer."""
        added = [None if fault is None else _checked(fault) for fault in faults]
        with self._lock:
            self._scripts.setdefault(name, deque()).extend(added)

    def always(self, name: str, fault: Fault) -> None:
        """Set the fault for when the queue is empty."""
        with self._lock:
            self._always[name] = _checked(fault)

    def clear(self, name: str | None) -> None:
        """Drop the faults of a model, or with None all faults."""
        with self._lock:
            for known in [*self._scripts, *self._always] if name is None else [name]:
                self._scripts.pop(known, None)
                self._always.pop(known, None)

    def take(self, model: str) -> tuple[Behaviour, Fault | None]:
        """The behaviour and fault for a call that is made now."""
        with self._lock:
            behaviour = self._models.get(model) or self._models.get(EVERY_MODEL) or _ECHO
            for name in (model, EVERY_MODEL):
                queue = self._scripts.get(name)
                if queue:
                    return behaviour, queue.popleft()
                if name in self._always:
                    return behaviour, self._always[name]
        return behaviour, None


def _checked(fault: Fault) -> Fault:
    if not isinstance(fault, Fault):
        hint = f"; write {fault.__name__}()" if isinstance(fault, type) else ""
        raise TypeError(f"not a fault: {fault!r}{hint}")
    return fault
