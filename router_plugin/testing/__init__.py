"""For our tests and for yours: ``FakeClock``, ``ScriptedProvider``, ``LoopbackProvider``.

Loaded on first use: the pytest plugin is imported by every pytest run of an environment that has this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fake_clock import FakeClock
    from .loopback import LoopbackProvider
    from .scripted import Reply, ScriptedProvider
    from .virtual_time import VirtualClock, VirtualLoop

__all__ = ["FakeClock", "LoopbackProvider", "Reply", "ScriptedProvider", "VirtualClock", "VirtualLoop"]
_HOME = {
    "FakeClock": "fake_clock",
    "LoopbackProvider": "loopback",
    "Reply": "scripted",
    "ScriptedProvider": "scripted",
    "VirtualClock": "virtual_time",
    "VirtualLoop": "virtual_time",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
