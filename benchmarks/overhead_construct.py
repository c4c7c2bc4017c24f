"""Making 5,000 deployments and a router of them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

from overhead_common import MESSAGES, MODELS, Options, budgets, quiet_litellm

COUNT = 5_000


def measure(options: Options) -> dict[str, Any]:
    """Milliseconds (median of several), first without litellm in the process, the first decision with it.

    ``deployments``: with endpoint, key, quality, limits and prices; ``bare_deployments``: a model string and a name;
    ``router``: a Router of them; ``first_decision``: reading litellm's price map for each, once.
    """
    from router_plugin import Router

    repeats = 3 if options.quick else 7

    deployments = _full()
    result = {
        "count": COUNT,
        "deployments_ms": _median_ms(_full, repeats),
        "bare_deployments_ms": _median_ms(_short, repeats),
        "router_ms": _median_ms(lambda: Router("bench", models=deployments, budgets=budgets()), repeats),
    }
    quiet_litellm()
    repeats = 1 if options.quick else repeats
    routers = [Router("bench", models=_short(), budgets=budgets()) for _ in range(repeats)]
    result["first_decision_ms"] = _median_ms(lambda: routers.pop().route({"messages": MESSAGES}), repeats)
    router = Router("bench", models=_short())
    router.route({"messages": MESSAGES})
    result["later_decision_ms"] = _median_ms(lambda: router.route({"messages": MESSAGES}), repeats)
    return result


def _full() -> list[Any]:
    from router_plugin import Deployment

    return [
        Deployment(
            MODELS[number % len(MODELS)],
            name=f"d{number}",
            quality=0.5,
            api_base="http://127.0.0.1:9/v1",
            api_key="k",
            rpm=500,
            tpm=200_000,
            input_cost_per_token=2.5e-6,
            output_cost_per_token=1e-5,
        )
        for number in range(COUNT)
    ]


def _short() -> list[Any]:
    from router_plugin import Deployment

    return [Deployment(MODELS[number % len(MODELS)], name=f"d{number}") for number in range(COUNT)]


def _median_ms(function: Callable[[], Any], repeats: int) -> float:
    """Garbage is collected before each run; the collector stays on."""
    taken = []
    for _ in range(repeats):
        gc.collect()
        started = time.perf_counter()
        function()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e3
