"""What a forked child makes anew: locks that a thread of the parent may have held, random numbers, reservations."""

from __future__ import annotations

import os
import weakref
from typing import Any

_OBJECTS: weakref.WeakSet[Any] = weakref.WeakSet()


def renew_in_child(thing: Any) -> None:
    """Call ``thing.after_fork()`` in every child that is forked while ``thing`` lives."""
    _OBJECTS.add(thing)


def _after_fork() -> None:
    for thing in list(_OBJECTS):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
