"""Two loops that carry a plan out: one blocks, one awaits. No policy lives here."""

from __future__ import annotations

from typing import Any

from ..clock import Clock
from ..provider.port import Provider
from ..records import Wait
from .inflight import InFlight
from .plan import Carried, Plan


def run(steps: Plan, provider: Provider, clock: Clock) -> InFlight:
    """Drive a plan with blocking calls."""
    sent: Any = None
    try:
        while True:
            step = steps.send(sent)
            if type(step) is Wait:
                clock.sleep(step.seconds)
                sent = None
            else:
                sent = provider.call(step)  # type: ignore[arg-type]
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    except Carried as carried:
        raise carried.error from None
    except BaseException:
        steps.close()
        raise


async def arun(steps: Plan, provider: Provider, clock: Clock) -> InFlight:
    """Drive a plan with awaits."""
    sent: Any = None
    try:
        while True:
            step = steps.send(sent)
            if type(step) is Wait:
                await clock.asleep(step.seconds)
                sent = None
            else:
                sent = await provider.acall(step)  # type: ignore[arg-type]
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    except Carried as carried:
        raise carried.error from None
    except BaseException:
        steps.close()
        raise
