"""Memory over a million calls of ``router.completion`` with a provider in the same process."""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

from overhead_common import MESSAGES, Options, budgets

_MARKS = (0.1, 0.5, 1.0)
_USERS = 1_000  # budget accounts are never forgotten, by design, so the users are a fixed crowd
# What two marks may differ by: pages that the allocator keeps, not a leak of even one byte a call.
FLAT_RSS_MB, FLAT_TRACED_MB = 1.0, 0.1


def rss_mb() -> float:
    """Resident memory of this process, from /proc (Linux); elsewhere its peak."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def measure(options: Options) -> dict[str, Any]:
    """Resident memory over all calls; memory traced by ``tracemalloc`` over a tenth of them again (it makes them slow).

    Each figure is taken after a garbage collection. Flat: the last mark lies at most ``FLAT_*`` above the first.
    """
    calls = 20_000 if options.quick else 1_000_000
    router = _router()
    _run(router, 0, _USERS * 2)  # every account exists, every cache is filled
    started = time.perf_counter()
    resident = _marks(router, calls, rss_mb)
    seconds = time.perf_counter() - started
    traced_calls = max(calls // 10, 10_000)
    tracemalloc.start()
    _run(router, 0, 2_000)  # objects that replace older ones are traced from now on
    traced = _marks(router, traced_calls, lambda: tracemalloc.get_traced_memory()[0] / 1e6)
    tracemalloc.stop()
    return {
        "calls": calls,
        "us_a_call": seconds / calls * 1e6,
        "rss_mb": resident,
        "traced_calls": traced_calls,
        "traced_mb": traced,
        "flat": resident["1.0"] - resident["0.1"] <= FLAT_RSS_MB and traced["1.0"] - traced["0.1"] <= FLAT_TRACED_MB,
        "reserved_usd": sum(account["reserved_usd"] for account in router.budgets()),
    }


def _router() -> Any:
    from router_plugin import Deployment, Router
    from router_plugin.clock import SYSTEM_CLOCK
    from router_plugin.testing import ScriptedProvider

    class Forgetful(ScriptedProvider):
        """Keeps no list of its calls."""

        def _next(self, attempt: Any) -> Any:
            self.calls.clear()
            return super()._next(attempt)

    prices = {"input_cost_per_token": 1e-7, "output_cost_per_token": 4e-7}
    models = [Deployment(f"openai/m{n}", name=f"d{n}", quality=0.9 - n / 100, **prices) for n in range(5)]
    return Router("bench", models=models, budgets=budgets(), max_cost=0.02, provider=Forgetful(SYSTEM_CLOCK))


def _run(router: Any, first: int, count: int) -> None:
    completion = router.completion
    for number in range(first, first + count):
        completion(messages=MESSAGES, user=f"user-{number % _USERS}")


def _marks(router: Any, calls: int, read: Any) -> dict[str, float]:
    done, figures = 0, {}
    for mark in _MARKS:
        _run(router, done, int(calls * mark) - done)
        done = int(calls * mark)
        gc.collect()
        figures[str(mark)] = read()
    return figures
