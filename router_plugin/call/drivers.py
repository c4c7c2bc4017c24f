"""Two loops that carry a plan out: one blocks, one awaits. No policy lives here."""

from __future__ import annotations

import asyncio
import queue
import threading
from contextvars import copy_context
from typing import Any

from ..clock import Clock
from ..provider.port import Provider
from ..records import LATE, Answered, Attempt, Failed, Race, Raced, Wait
from .inflight import InFlight
from .plan import Carried, Plan
from .steps import Check


def run(steps: Plan, provider: Provider, clock: Clock) -> InFlight:
    """Drive a plan with blocking calls."""
    sent: Any = None
    racing: _Threads | None = None
    try:
        while True:
            step = steps.send(sent)
            if step.__class__ is Wait:
                clock.sleep(step.seconds)
                sent = None
            elif step.__class__ is Check:
                sent = step.run()
            elif step.__class__ is Race:
                assert racing is not None
                sent = racing.finish(step)
                racing = None
            elif step.hedge_after_s is None:  # type: ignore[union-attr]
                sent = provider.call(step)  # type: ignore[arg-type]
            else:
                racing = _Threads(provider, step)  # type: ignore[arg-type]
                sent = racing.first(step.hedge_after_s)  # type: ignore[union-attr]
                racing = racing if sent is LATE else None
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    except Carried as carried:
        raise carried.error from None
    except BaseException:
        if racing is not None:
            racing.give_up()
        steps.close()
        raise


async def arun(steps: Plan, provider: Provider, clock: Clock) -> InFlight:
    """Drive a plan with awaits."""
    sent: Any = None
    racing: _Tasks | None = None
    try:
        while True:
            step = steps.send(sent)
            if step.__class__ is Wait:
                await clock.asleep(step.seconds)
                sent = None
            elif step.__class__ is Check:
                sent = await asyncio.to_thread(step.run)
            elif step.__class__ is Race:
                assert racing is not None
                sent = await racing.finish(step)
                racing = None
            elif step.hedge_after_s is None:  # type: ignore[union-attr]
                sent = await provider.acall(step)  # type: ignore[arg-type]
            else:
                racing = _Tasks(provider, step)  # type: ignore[arg-type]
                sent = await racing.first(step.hedge_after_s)  # type: ignore[union-attr]
                racing = racing if sent is LATE else None
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    except Carried as carried:
        raise carried.error from None
    except BaseException:
        if racing is not None:
            racing.give_up()
        steps.close()
        raise


def _discard(outcome: Any) -> None:
    """An answer that nobody waits for any more: its stream is ended."""
    if outcome.__class__ is Answered and outcome.discard is not None:
        outcome.discard()


def _goes_on(outcome: Any, race: Race) -> bool:
    """Whether the other one is waited for: this one failed, and with nothing that has to be raised at once."""
    return outcome.__class__ is Failed and not (race.final is not None and race.final(outcome))


def _discard_result(task: asyncio.Future[Any]) -> None:
    if not task.cancelled() and task.exception() is None:
        _discard(task.result())


class _Threads:
    """One or two attempts of a blocking call, each in a thread with a copy of the caller's context."""

    def __init__(self, provider: Provider, attempt: Attempt) -> None:
        self._provider = provider
        self._done: queue.SimpleQueue[tuple[Attempt, Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._over = False
        self._attempts = [attempt]
        self._start(attempt)

    def _start(self, attempt: Attempt) -> None:
        context = copy_context()
        threading.Thread(target=context.run, args=(self._run, attempt), name="router_plugin-hedge", daemon=True).start()

    def _run(self, attempt: Attempt) -> None:
        try:
            outcome: Any = self._provider.call(attempt)
        except BaseException as error:  # handed to the caller's thread, which raises it
            outcome = error
        with self._lock:
            if not self._over:
                self._done.put((attempt, outcome))
                return
        _discard(outcome)

    def first(self, seconds: float) -> Any:
        try:
            return _raised(self._done.get(timeout=seconds)[1])
        except queue.Empty:
            return LATE

    def finish(self, race: Race) -> Any:
        if race.second is None:
            return _raised(self._done.get()[1])
        self._attempts.append(race.second)
        self._start(race.second)
        failed: Any = None
        while True:
            attempt, outcome = self._done.get()
            outcome = _raised(outcome)
            if failed is None and _goes_on(outcome, race):
                failed = outcome
                continue
            loser = failed if failed is not None else self.give_up(attempt)
            return Raced(attempt is self._attempts[0], outcome, loser)

    def give_up(self, winner: Attempt | None = None) -> Answered | Failed | None:
        """Nobody waits for the others any more; what came of one in the meantime."""
        with self._lock:
            self._over = True
        late = None
        while not self._done.empty():
            late = self._done.get()[1]
            _discard(late)
        for attempt in self._attempts:
            if attempt is not winner and attempt.cancel is not None:
                attempt.cancel()
        return late if isinstance(late, (Answered, Failed)) else None


def _raised(outcome: Any) -> Any:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


class _Tasks:
    """One or two attempts of an awaited call, each in a task."""

    def __init__(self, provider: Provider, attempt: Attempt) -> None:
        self._provider = provider
        self._tasks = [asyncio.ensure_future(provider.acall(attempt))]

    async def first(self, seconds: float) -> Any:
        done, _ = await asyncio.wait(self._tasks, timeout=seconds)
        return self._tasks[0].result() if done else LATE

    async def finish(self, race: Race) -> Any:
        if race.second is None:
            await asyncio.wait(self._tasks)
            return self._tasks[0].result()
        self._tasks.append(asyncio.ensure_future(self._provider.acall(race.second)))
        failed: Any = None
        running = set(self._tasks)
        while True:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=self._tasks.index):
                outcome = task.result()
                if failed is None and _goes_on(outcome, race):
                    failed = outcome
                    continue
                other = self._tasks[1 - self._tasks.index(task)]
                loser: Any = failed
                if failed is None:
                    loser = other.result() if other.done() and not other.cancelled() else None
                    self._drop(other)
                return Raced(task is self._tasks[0], outcome, loser)

    def give_up(self) -> None:
        for task in self._tasks:
            self._drop(task)

    @staticmethod
    def _drop(task: asyncio.Future[Any]) -> None:
        """End an attempt that nobody waits for; if its answer is there already, the stream in it."""
        task.cancel()
        task.add_done_callback(_discard_result)
