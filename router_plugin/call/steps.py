"""What the plan asks of its drivers, and what they send back."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from ..records import Attempt, Race, Wait

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Check:
    """Let ``run`` judge an answer, away from the event loop, and send back what it gives. It does not raise."""

    run: Callable[[], Any]


Step = Attempt | Wait | Race | Check
Sent = Any  # Answered | Failed | Late | Raced | what a check gave | None
Steps = Generator[Step, Sent, _Result]
