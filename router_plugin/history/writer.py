"""The thread that makes the records of stores, off the hot path."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Iterator
from typing import Protocol

from ..fork import renew_in_child

_PAUSE_S = 0.5


class Flushed(Protocol):
    """Something that waits to be written."""

    def try_flush(self) -> None: ...


class Writer:
    """The thread that makes records. One for the process; it ends with it."""

    def __init__(self) -> None:
        self._served: weakref.WeakSet[Flushed] = weakref.WeakSet()
        self._work = threading.Event()
        self._thread: threading.Thread | None = None
        self.ended = False
        self._lock = threading.Lock()
        renew_in_child(self)
        atexit.register(self.finish)

    def after_fork(self) -> None:
        self._work, self._lock, self._thread = threading.Event(), threading.Lock(), None

    def serve(self, history: Flushed) -> None:
        with self._lock:
            self._served.add(history)

    def wake(self) -> None:
        if not self._work.is_set() and not self.ended:
            self._work.set()
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="router_plugin-history", daemon=True)
                self._thread.start()

    def _all(self) -> Iterator[Flushed]:
        with self._lock:
            served = list(self._served)
        yield from served

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._work.wait()
            pause.wait(_PAUSE_S)
            self._work.clear()
            for history in self._all():
                history.try_flush()
            history = None  # type: ignore[assignment]  # a router that nobody holds any more may go

    def finish(self) -> None:
        """The interpreter ends: keep what waits. Streams that are collected later start no thread any more."""
        self.ended = True
        for history in self._all():
            history.try_flush()


WRITER = Writer()
