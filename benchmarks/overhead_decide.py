"""``router.route()`` alone: no HTTP, prices and limits from litellm's own map."""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

from overhead_common import MESSAGES, MODELS, Options, budgets, deployments, percentile, quiet_litellm, slope

SIZES = (1, 5, 20, 100, 400)
_BASE = "http://127.0.0.1:9/v1"  # never called
_STRING = "router@q:1|c:4.65e-03|t:2.08e-05|i:2.07e-03"
# name → (router's keywords beside its deployments, the request)
_REQUEST = {"messages": MESSAGES, "user": "ann"}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, _REQUEST),
    "3 budgets, max_cost": ({"max_cost": 1.0}, _REQUEST),
    "3 budgets, max_cost that needs caps": ({"max_cost": 0.02}, _REQUEST),
    "3 budgets, max_cost, weights": ({"max_cost": 1.0}, {**_REQUEST, "model": _STRING}),
    "3 budgets, max_cost of the call": ({}, {**_REQUEST, "max_cost": 1.0}),
}


def measure(options: Options) -> dict[str, Any]:
    """p50 and p95 of single calls in µs (less the cost of reading the clock), and what a further candidate adds.

    The slope is fitted by least squares to the p50 at 20, 100 and 400 candidates. Rounds go over all sizes in turn.
    """
    quiet_litellm()
    from router_plugin import Router

    rows = []
    for case, (keywords, request) in {**CASES, **_further_cases()}.items():
        given = {} if case == "plain" else {"budgets": budgets()}
        routers = {n: Router("bench", models=deployments(n, _BASE), **given, **keywords) for n in SIZES}
        taken = _take(routers, request, rounds=3 if options.quick else 10, calls=100 if options.quick else 300)
        p50 = {n: statistics.median(seconds) * 1e6 for n, seconds in taken.items()}
        p95 = {n: percentile(seconds, 0.95) * 1e6 for n, seconds in taken.items()}
        further = slope([(n, p50[n]) for n in SIZES if n >= 20])
        rows.append({"case": case, "p50_us": p50, "p95_us": p95, "further_us": further})
    return {"rows": rows, "python_call_ns": _call_ns()}


def _further_cases() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Fifty rules of which none matches, and a trained predictor on a short and on a very long prompt."""
    from router_plugin.learn import fit

    conditions = [{"field": "extra.tier", "operator": "equals", "value": "none"}]
    rules = [{"name": f"rule {n}", "conditions": conditions, "targets": [MODELS[0]]} for n in range(50)]
    draw, words = random.Random(1), [f"word{n}" for n in range(500)]
    judged = [
        {
            "prompt": " ".join(draw.choices(words, k=30)),
            "scores": {model: float(draw.random() < 0.7) for model in MODELS},
        }
        for _ in range(400)
    ]
    scorer = fit(judged)
    long = [{"role": "user", "content": "word1 word2 word3 " * 45_000}]
    return {
        "50 rules, none matches": ({"rules": rules}, {**_REQUEST, "extra": {"tier": "x"}}),
        "a trained predictor": ({"scorer": scorer}, _REQUEST),
        "a trained predictor, 800,000 characters": ({"scorer": scorer}, {"messages": long, "user": "ann"}),
    }


def _take(routers: dict[int, Any], request: dict[str, Any], rounds: int, calls: int) -> dict[int, list[float]]:
    taken: dict[int, list[float]] = {n: [] for n in routers}
    clock, idle = time.perf_counter, _clock_cost()
    for _ in range(rounds):
        for n, router in routers.items():
            route = router.route
            for _ in range(20):
                route(request)
            for _ in range(calls):
                started = clock()
                route(request)
                taken[n].append(clock() - started - idle)
    return taken


def _call_ns() -> float:
    """What a call of an empty Python function costs on this machine now, to compare µs of different machines by."""

    def nothing() -> None:
        return None

    taken = []
    for _ in range(200):
        started = time.perf_counter()
        for _ in range(1_000):
            nothing()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e6


def _clock_cost() -> float:
    readings = []
    for _ in range(2_000):
        started = time.perf_counter()
        readings.append(time.perf_counter() - started)
    return statistics.median(readings)
