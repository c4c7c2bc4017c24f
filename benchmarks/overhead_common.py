"""What the measurements share: quiet litellm, one provider in a process of its own, the routers, counting and timing.

Two figures are taken of a call:

* **Python function calls**, by ``cProfile`` in the calling thread (Python and C functions alike), with the garbage
  collector held still; the median of several single calls, each profiled alone. It does not depend on the machine or
  its load. On an event loop, work handed to the loop's executor runs inline while profiling, so that it is counted too.
* **Time**, as a ratio of variants that take turns on the same provider, one call of each a round, in random order. The
  figure is the median over rounds of the ratio within a round, so that slow phases of the machine hit both sides alike;
  its 95 % interval comes from resampling rounds (a bootstrap). The router stays installed meanwhile: bare calls pass
  through it, which adds to them what section e says (a few µs) and spares both the cost of swapping code in between.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import logging
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant. Answer briefly."},
    {"role": "user", "content": "say 20 words: what should one know before one moves to another city?"},
]
MODEL = "openai/gpt-4o-mini"
# Known to litellm's price map, so that nothing has to be declared; the first is the one that answers.
MODELS = (MODEL, "openai/gpt-4.1-nano", "openai/gpt-4.1-mini", "openai/gpt-4o", "openai/gpt-4.1")
MODES = ("sync", "async", "sync stream", "async stream")
SIZES = (5, 20, 100, 400)
_RESAMPLES = 1_000


@dataclass(frozen=True)
class Options:
    """How a section is to be run. ``base`` is the provider's OpenAI endpoint, "" where a section needs none."""

    quick: bool
    base: str = ""
    strategy: str = ""


# -- the provider ---------------------------------------------------------------------------------------------------


@contextmanager
def provider() -> Iterator[str]:
    """The loopback provider in a process of its own (its work is in nobody's figures); gives its OpenAI base URL."""
    command = [sys.executable, str(HERE / "overhead_provider.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        base = process.stdout.readline().strip()
        if not base.startswith("http://127.0.0.1:"):
            raise RuntimeError(f"the loopback provider did not start: {base!r}")
        try:
            yield base
        finally:
            process.stdin.close()
            process.wait(10)


def quiet_litellm() -> Any:
    """litellm, imported without a fetch of its price map and without anything to say.

    Its some hundred thousand objects are frozen (``gc.freeze``): no collection has to walk them.
    """
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ.setdefault("LITELLM_LOG", "ERROR")
    import litellm

    litellm.suppress_debug_info = True
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    gc.collect()
    gc.freeze()
    return litellm


# -- the routers ----------------------------------------------------------------------------------------------------


def deployments(count: int, base: str, **declared: Any) -> list[Any]:
    """``count`` deployments of five models at one endpoint; the first has the best quality and answers."""
    from router_plugin import Deployment

    return [
        Deployment(
            MODELS[number % len(MODELS)],
            name=f"d{number}",
            quality=round(0.95 - number * 0.002, 6),
            api_base=base,
            api_key="k",
            **declared,
        )
        for number in range(count)
    ]


def budgets() -> list[Any]:
    """Three budgets that never run out: by user and day, by team and hour, and one for all."""
    from router_plugin import Budget

    return [
        Budget(usd=100_000, per="day", key="user"),
        Budget(usd=100_000, per="hour", key="extra.team"),
        Budget(usd=1_000_000, per="month"),
    ]


def bounded_router(count: int, base: str, max_cost: float = 0.02, **declared: Any) -> Any:
    """The router that is measured: ``count`` deployments, three budgets, ``max_cost`` 2 cents a call.

    Three of the five models would cost more than that at their longest answer and get an output cap.
    """
    from router_plugin import Router

    return Router("bench", models=deployments(count, base, **declared), budgets=budgets(), max_cost=max_cost)


# -- one request in four modes ----------------------------------------------------------------------------------------


class _Inline(ThreadPoolExecutor):
    """An executor that runs what it is given at once, in the calling thread, where the profiler counts it."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:  # handed to whoever awaits it, as executors do
            future.set_exception(error)
        return future


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Requests:
    """Makes requests in one mode: one at a time, timed, profiled, or just to warm up."""

    def __init__(self, mode: str, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.stream = mode.endswith("stream")
        self.asynchronous = mode.startswith("async")

    def call(self, functions: Any, kwargs: dict[str, Any]) -> float:
        """One request with ``functions.completion`` or ``.acompletion``; a stream is read to its end. Seconds."""
        kwargs = {**kwargs, "stream": True} if self.stream else kwargs
        if self.asynchronous:
            return self.loop.run_until_complete(self._awaited(functions.acompletion, kwargs))
        started = time.perf_counter()
        answer = functions.completion(**kwargs)
        if self.stream:
            for _ in answer:
                pass
        return time.perf_counter() - started

    async def _awaited(self, function: Any, kwargs: dict[str, Any]) -> float:
        started = time.perf_counter()
        answer = await function(**kwargs)
        if self.stream:
            async for _ in answer:
                pass
        return time.perf_counter() - started

    def settle(self) -> None:
        """Let the loop's workers (litellm logs there) finish what a call left behind.

        Nothing sleeps: an idle core loses its caches, and the next call, whoever makes it, would be measured cold.
        """
        if self.asynchronous:
            self.loop.run_until_complete(_turns(20))

    def profile(self, functions: Any, kwargs: dict[str, Any], times: int = 3, warm: int = 4) -> cProfile.Profile:
        """The profile of a single request: the one with the median number of calls of ``times``."""
        self._inline(True)
        for _ in range(warm):
            self.call(functions, kwargs)
            self.settle()
        profiles = []
        for _ in range(times):
            profile = cProfile.Profile()
            self.settle()
            time.sleep(0.005)  # for litellm's logging threads, so that they do not switch in and out
            with still():
                profile.enable()
                self.call(functions, kwargs)
                profile.disable()
            profiles.append((calls_in(profile), len(profiles), profile))
        self._inline(False)
        return sorted(profiles)[times // 2][2]

    def _inline(self, on: bool) -> None:
        if self.asynchronous:
            self.loop.set_default_executor(_Inline(1) if on else ThreadPoolExecutor(4))


@contextmanager
def still() -> Iterator[None]:
    """Without garbage collection, whose finalisers would be counted where they happen to run."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def calls_in(profile: cProfile.Profile) -> int:
    """Function calls in a profile."""
    return sum(entry.callcount for entry in profile.getstats())


def calls_in_package(profile: cProfile.Profile) -> int:
    """Calls of functions that are defined in router_plugin."""
    return sum(e.callcount for e in profile.getstats() if "router_plugin" in getattr(e.code, "co_filename", ""))


# -- two variants, taking turns ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """One way to make the request; ``around`` is entered for each call."""

    name: str
    functions: Any
    kwargs: dict[str, Any]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass(frozen=True)
class Taken:
    """Seconds of each call of one variant, by the wall's clock and by this process's CPU (all its threads)."""

    wall: list[float]
    cpu: list[float]


def take_turns(
    requests: Requests, variants: list[Variant], rounds: int, limit_s: float, warm: int = 3
) -> dict[str, Taken]:
    """One call of each variant a round, in random order; what a call leaves on its loop is settled before the next.

    Stops after ``rounds``, or after ``limit_s`` seconds on a machine that is slow or busy.
    """
    order, taken = random.Random(7), {variant.name: Taken([], []) for variant in variants}
    ends = time.monotonic() + limit_s
    for number in range(-warm, rounds):
        if number > 1 and time.monotonic() > ends:
            break
        for variant in order.sample(variants, len(variants)):
            with variant.around():
                began = time.process_time()
                seconds = requests.call(variant.functions, variant.kwargs)
                requests.settle()
                cpu = time.process_time() - began
            if number >= 0:
                taken[variant.name].wall.append(seconds)
                taken[variant.name].cpu.append(cpu)
    return taken


def compare(ours: Taken, bare: Taken) -> dict[str, Any]:
    """Median over rounds of the ratio and of the difference (µs), with 95 % bootstrap intervals over rounds."""
    ratios = [a / b for a, b in zip(ours.wall, bare.wall, strict=True)]
    extras = [(a - b) * 1e6 for a, b in zip(ours.wall, bare.wall, strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "ratio_95": _interval(ratios),
        "extra_us": statistics.median(extras),
        "extra_us_95": _interval(extras),
        "cpu_ratio": statistics.median(a / b for a, b in zip(ours.cpu, bare.cpu, strict=True)),
        "ours_ms": statistics.median(ours.wall) * 1e3,
        "bare_ms": statistics.median(bare.wall) * 1e3,
        "rounds": len(ratios),
    }


def _interval(values: list[float]) -> list[float]:
    """Where 95 % of the medians of resamples lie."""
    dice = random.Random(11)
    medians = sorted(statistics.median(dice.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    return [medians[int(_RESAMPLES * 0.025)], medians[int(_RESAMPLES * 0.975) - 1]]


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` of the sorted values lie."""
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def slope(points: list[tuple[float, float]]) -> float:
    """Least-squares slope."""
    mean_x = statistics.fmean(x for x, _ in points)
    mean_y = statistics.fmean(y for _, y in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
