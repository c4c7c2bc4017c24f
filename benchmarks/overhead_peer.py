"""litellm's own Router against bare litellm: one strategy a process, because its callbacks are process-wide.

Deployments, provider and bare call are those of our own measurement. litellm.Router's callbacks fire on plain calls
too, so they are taken out of litellm's lists for bare calls and put back for its own. Its figures are a lower bound:
what its callbacks do in logging threads is in neither the call counts nor the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from overhead_calls import bare_kwargs
from overhead_common import (
    MESSAGES,
    MODEL,
    MODES,
    SIZES,
    Options,
    Requests,
    Variant,
    calls_in,
    compare,
    quiet_litellm,
    take_turns,
)

GROUP = {"model": "group", "messages": MESSAGES, "user": "ann"}
_LISTS = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "service_callback",
    "_async_success_callback",
    "_async_failure_callback",
    "_async_input_callback",
)


def _callbacks(litellm: Any) -> dict[str, list[Any]]:
    return {name: list(getattr(litellm, name)) for name in _LISTS if hasattr(litellm, name)}


def _put(litellm: Any, callbacks: dict[str, list[Any]]) -> None:
    for name, entries in callbacks.items():
        getattr(litellm, name)[:] = entries


@contextmanager
def _its_callbacks(litellm: Any, callbacks: dict[str, list[Any]], none: dict[str, list[Any]]) -> Iterator[None]:
    _put(litellm, callbacks)
    try:
        yield
    finally:
        callbacks.update(_callbacks(litellm))  # litellm copies its callback objects between the lists on a call
        _put(litellm, none)


def _router(litellm: Any, count: int, strategy: str, base: str) -> Any:
    entries = [
        {
            "model_name": "group",
            "litellm_params": {"model": MODEL, "api_base": base, "api_key": "k", "max_retries": 0},
            "model_info": {"id": f"d{number}"},
        }
        for number in range(count)
    ]
    return litellm.Router(model_list=entries, routing_strategy=strategy)


def measure(options: Options) -> dict[str, Any]:
    """Function calls and time of ``litellm.Router`` over those of bare litellm, by mode and number of deployments.

    Time for calls that are not streamed only, to bound the run.
    """
    litellm, loop = quiet_litellm(), asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    none, bare, rows = _callbacks(litellm), bare_kwargs(options.base), []
    modes, sizes = (MODES[:2], SIZES[1:2]) if options.quick else (MODES, SIZES)
    without = {mode: calls_in(Requests(mode, loop).profile(litellm, bare)) for mode in modes}
    for size in sizes:
        started = time.perf_counter()
        router = _router(litellm, size, options.strategy, options.base)
        seconds = time.perf_counter() - started
        its = _callbacks(litellm)
        _put(litellm, none)
        around = partial(_its_callbacks, litellm, its, none)
        for mode in modes:
            requests = Requests(mode, loop)
            row: dict[str, Any] = {"mode": mode, "deployments": size, "bare_calls": without[mode], "made_s": seconds}
            try:
                with around():
                    row["calls"] = calls_in(requests.profile(router, GROUP))
                row["calls_ratio"] = row["calls"] / without[mode]
                if not options.quick and not requests.stream:
                    variants = [Variant("bare", litellm, bare), Variant("router", router, GROUP, around)]
                    taken = take_turns(requests, variants, rounds=60, limit_s=4.0)
                    row["time"] = compare(taken["router"], taken["bare"])
            except Exception as error:  # a strategy that cannot do a mode is a finding, not the end of the run
                row["error"] = f"{type(error).__name__}: {error}"[:300]
            rows.append(row)
    return {"rows": rows}
