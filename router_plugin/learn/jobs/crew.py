"""Threads that work on pairs: as many at once as asked for, none where one is enough.

They are daemons: a process that ends does not wait for answers, and what was in flight is written down as such.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Crew(Generic[T, R]):
    """``put`` gives work out, ``get`` waits for what has been done; ``running`` counts what is in hand."""

    def __init__(self, size: int, work: Callable[[T], R]) -> None:
        self.size, self.running = size, 0
        self._work = work
        self._todo: SimpleQueue[T | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[T, R | BaseException]] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def put(self, item: T) -> None:
        """Work on this. With a crew of one it is done before this returns, and what it raises is raised."""
        self.running += 1
        if self.size == 1:
            self._done.put((item, self._work(item)))
            return
        self._todo.put(item)
        if len(self._threads) < min(self.size, self.running):
            thread = threading.Thread(target=self._run, name="router_plugin-training", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self) -> None:
        while (item := self._todo.get()) is not None:
            try:
                self._done.put((item, self._work(item)))
            except BaseException as error:  # whoever waits for it is told
                self._done.put((item, error))

    def get(self) -> tuple[T, R]:
        """The next that is done. What its work raised is raised here."""
        item, result = self._done.get()
        self.running -= 1
        if isinstance(result, BaseException):
            raise result
        return item, result

    def dismiss(self) -> None:
        """Let what is in hand come to its end, and end the threads."""
        while self.size > 1 and self.running:
            self._done.get()
            self.running -= 1
        for _ in self._threads:
            self._todo.put(None)
        self._threads.clear()
