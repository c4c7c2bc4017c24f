"""``router.route()`` alone: no HTTP, prices and limits from litellm's own map."""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

from overhead_common import MESSAGES, MODELS, Options, budgets, deployments, percentile, quiet_litellm, slope

SIZES = (1, 5, 20, 100, 400)
_BASE = "http://127.0.0.1:9/v1"  # never called
_LENGTHS = (1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7, 8, 9, 11)  # of words
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
        given = {**({} if case == "plain" else {"budgets": budgets()}), **keywords}
        listed = given.pop("models", lambda count: deployments(count, _BASE))
        routers = {n: Router("bench", models=listed(n), **given) for n in SIZES}
        taken = _take(routers, request, rounds=3 if options.quick else 10, calls=100 if options.quick else 300)
        p50 = {n: statistics.median(seconds) * 1e6 for n, seconds in taken.items()}
        p95 = {n: percentile(seconds, 0.95) * 1e6 for n, seconds in taken.items()}
        further = slope([(n, p50[n]) for n in SIZES if n >= 20])
        rows.append({"case": case, "p50_us": p50, "p95_us": p95, "further_us": further})
    return {"rows": rows, "python_call_ns": _call_ns()}


def _further_cases() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Fifty rules of which none matches, and a trained predictor on prompts from a sentence to a book."""
    conditions = [{"field": "extra.tier", "operator": "equals", "value": "none"}]
    rules = [{"name": f"rule {n}", "conditions": conditions, "targets": [MODELS[0]]} for n in range(50)]
    scorer = {"scorer": _predictor(), "models": _judged_models}
    cases: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "50 rules, none matches": ({"rules": rules}, {**_REQUEST, "extra": {"tier": "x"}})
    }
    for size in (100, 1_000, 8_000, 800_000):
        messages = [{"role": "user", "content": _text(random.Random(size), size)}]
        cases[f"a trained predictor, {size:,} characters"] = scorer, {"messages": messages, "user": "ann"}
    return cases


def _predictor() -> Any:
    """A predictor of 20 models that are better at some of eight tasks than at others, with output tokens: everything
    that a fit can find is found, so nothing that a prediction may take is spared."""
    from router_plugin.learn import fit

    draw, rows = random.Random(1), []
    for number in range(1_200):
        task, size = number % 8, draw.randint(100, 900)
        chances = {f"judged-{n}": 0.3 + 0.02 * n + 0.05 * ((n * 7 + task * 3) % 8) for n in range(20)}
        rows.append(
            {
                "prompt": _text(draw, size, task * 60),
                "task": f"task {task}",
                "scores": {model: float(draw.random() < min(0.95, chance)) for model, chance in chances.items()},
                "output_tokens": {model: 50 + 40 * task + draw.randint(0, 30) for model in chances},
            }
        )
    return fit(rows)


def _judged_models(count: int) -> list[Any]:
    """Deployments of the predictor's 20 models."""
    from router_plugin import Deployment

    prices = {"input_cost_per_token": 1.5e-7, "output_cost_per_token": 6e-7}
    return [
        Deployment(f"openai/judged-{n % 20}", name=f"d{n}", api_base=_BASE, api_key="k", **prices) for n in range(count)
    ]


def _text(draw: random.Random, size: int, first: int = 0) -> str:
    """So many characters of made-up words of natural lengths, of which some are common and some are a task's own, with
    punctuation, numbers and lines."""
    letters, words, length = random.Random(3), [], 0
    known = ["".join(letters.choices("etaoinshrdlucmfw", k=letters.choice(_LENGTHS))) for _ in range(2_000)]
    while length < size:
        word = known[int(draw.random() ** 2 * 300)] if draw.random() < 0.6 else known[300 + first + draw.randrange(900)]
        word += draw.choices(("", ",", ".", "?", f" {draw.randrange(100)}", "\n"), (80, 6, 6, 1, 3, 4))[0]
        words.append(word.capitalize() if draw.random() < 0.1 else word)
        length += len(words[-1]) + 1
    return " ".join(words)[:size]


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
