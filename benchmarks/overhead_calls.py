"""A routed call against a bare one, a routed stream's chunks against bare ones, and a call that is not routed.

*Bare* is litellm without the plugin installed, called with the keyword arguments an application would use for the
deployment that answers. *Routed* is the same litellm function with ``model="router/bench"``, installed by ``install``;
both send ``user``. Streams are compared with two baselines: bare, and bare with ``include_usage``, because the router
must ask for usage (without it litellm reports usage and cost 0 for an endpoint of one's own).
"""

from __future__ import annotations

import asyncio
import cProfile
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from overhead_common import (
    MESSAGES,
    MODEL,
    MODES,
    SIZES,
    Options,
    Requests,
    Variant,
    bounded_router,
    calls_in,
    calls_in_package,
    compare,
    quiet_litellm,
    still,
    take_turns,
)

USAGE = {"stream_options": {"include_usage": True}}
ROUTED = {"model": "router/bench", "messages": MESSAGES, "user": "ann"}


def bare_kwargs(base: str) -> dict[str, Any]:
    """What an application gives litellm for the deployment that answers."""
    return {
        "model": MODEL,
        "messages": MESSAGES,
        "user": "ann",
        "api_base": base,
        "api_key": "k",
        "max_retries": 0,
    }


# -- a: routed against bare -------------------------------------------------------------------------------------------


def measure_calls(options: Options) -> list[dict[str, Any]]:
    """Function calls and time of a routed call over those of a bare one, by mode and number of deployments.

    A row of the bare call against itself shows what the method cannot tell apart.
    """
    litellm = quiet_litellm()
    loop = asyncio.new_event_loop()
    rows = []
    for mode in MODES:
        requests = Requests(mode, loop)
        for size in (20,) if options.quick else SIZES:
            rounds, limit_s = (1_000, 1.5 if options.quick else 20.0) if size == 20 else (150, 6.0)
            rows += _rows(litellm, requests, mode, size, (rounds, limit_s), options.base)
    return rows


def _rows(
    litellm: Any, requests: Requests, mode: str, size: int, extent: tuple[int, float], base: str
) -> list[dict[str, Any]]:
    """``extent``: at most so many rounds and seconds."""
    from router_plugin import install

    router = bounded_router(size, base)
    bare = [Variant("bare", litellm, bare_kwargs(base))]
    if requests.stream:
        bare.append(Variant("bare + usage", litellm, {**bare_kwargs(base), **USAGE}))
    counts = {variant.name: calls_in(requests.profile(litellm, variant.kwargs)) for variant in bare}
    variants = [*bare, Variant("routed", litellm, ROUTED)]
    if size == 20:
        variants.append(Variant("bare again", litellm, bare[0].kwargs))
    with install(router):
        profile = requests.profile(litellm, ROUTED)
        taken = take_turns(requests, variants, *extent)
    routed = calls_in(profile)
    rows = [
        {
            "mode": mode,
            "deployments": size,
            "what": "routed",
            "baseline": variant.name,
            "calls": routed,
            "bare_calls": counts[variant.name],
            "calls_ratio": routed / counts[variant.name],
            "calls_in_package": calls_in_package(profile),
            "time": compare(taken["routed"], taken[variant.name]),
        }
        for variant in bare
    ]
    if "bare again" in taken:
        row = {"what": "bare again", "time": compare(taken["bare again"], taken["bare"]), "calls_in_package": 0}
        rows.append({**rows[0], **row, "calls": counts["bare"], "calls_ratio": 1.0})
    return rows


def measure_variants(options: Options) -> list[dict[str, Any]]:
    """Function calls of a routed call (sync, 20 deployments) beyond a bare one, for other ways to call the router."""
    from router_plugin import install

    litellm, requests = quiet_litellm(), Requests("sync", asyncio.new_event_loop())
    bare = calls_in(requests.profile(litellm, bare_kwargs(options.base)))
    prices = {"input_cost_per_token": 1.5e-7, "output_cost_per_token": 6e-7}
    ways: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "router/bench": ({}, ROUTED),
        "with extra={'team': …}": ({}, {**ROUTED, "extra": {"team": "x"}}),
        "with its own max_cost=0.01": ({}, {**ROUTED, "max_cost": 0.01}),
        "with timeout=20": ({}, {**ROUTED, "timeout": 20}),
        "a router string of weights": ({}, {**ROUTED, "model": "router/bench@q:1|c:4.65e-03|t:2.08e-05|i:2.07e-03"}),
        "deployments declare prices": (prices, ROUTED),
        "max_cost that no deployment needs a cap for": ({"max_cost": 1.0}, ROUTED),
    }
    rows = []
    for name, (given, kwargs) in ways.items():
        with install(bounded_router(20, options.base, **given)):
            calls = calls_in(requests.profile(litellm, kwargs))
        rows.append({"way": name, "extra_calls": calls - bare, "calls_ratio": calls / bare})
    return rows


# -- d: what a chunk costs --------------------------------------------------------------------------------------------


def measure_chunks(options: Options) -> list[dict[str, Any]]:
    """What the router adds to a stream chunk: calls and µs.

    *Alone*: a routed stream against a bare one, both of which hand out one ready chunk over and over in place of what
    litellm reads and builds. This is the router's own work, and the only measurement fine enough for microseconds.
    *End to end*: a long and a short stream of each variant; the difference of their calls, divided by the difference of
    their lengths, is what a chunk costs there. It also has what litellm does more or less because usage was asked for:
    a provider then sends ``"usage": null`` with every chunk. Time is that of the long streams, divided by the chunks.
    """
    from router_plugin import install

    litellm, loop = quiet_litellm(), asyncio.new_event_loop()
    short, long = (20, 60) if options.quick else (100, 500)
    rows = []
    for mode in ("sync stream", "async stream"):
        requests = Requests(mode, loop)
        calls = _calls_a_chunk(litellm, requests, options.base, short, long)
        variants = _streams(litellm, long, options.base)
        with install(bounded_router(20, options.base)):
            taken = take_turns(requests, variants, 2 if options.quick else 20, limit_s=20.0, warm=1)
        alone = chunk_alone(litellm, requests, options.base, 9 if options.quick else 31)
        for name in ("bare", "bare + usage"):
            found = compare(taken["routed"], taken[name])
            extra = {"extra_calls": calls["routed"] - calls[name], "extra_us": found["extra_us"] / long}
            interval = [value / long for value in found["extra_us_95"]]
            bare = {"bare_calls": calls[name], "bare_us": found["bare_ms"] * 1e3 / long}
            row = {"mode": mode, "baseline": name, "chunks": long, **alone, **extra, "extra_us_95": interval, **bare}
            rows.append(row)
    return rows


def _streams(litellm: Any, words: int, base: str) -> list[Variant]:
    messages = {"messages": [{"role": "user", "content": f"say {words} words"}]}
    bare = {**bare_kwargs(base), **messages}
    return [
        Variant("bare", litellm, bare),
        Variant("bare + usage", litellm, {**bare, **USAGE}),
        Variant("routed", litellm, {**ROUTED, **messages}),
    ]


def _calls_a_chunk(litellm: Any, requests: Requests, base: str, short: int, long: int) -> dict[str, float]:
    from router_plugin import install

    calls: dict[str, list[int]] = {}
    router = bounded_router(20, base)
    for words in (short, long):
        for variant in _streams(litellm, words, base):
            with install(router):
                profile = requests.profile(litellm, variant.kwargs, warm=1)
            calls.setdefault(variant.name, []).append(calls_in(profile))
    return {name: (more - few) / (long - short) for name, (few, more) in calls.items()}


def chunk_alone(litellm: Any, requests: Requests, base: str, repeats: int) -> dict[str, float]:
    """Calls and µs that the routed stream adds to a chunk, without litellm's own work on chunks.

    Of the µs the fastest of ``repeats`` long runs of each, as in ``timeit``: what is slower was disturbed.
    """
    from router_plugin import install

    few, many = 100, 5_000
    seconds: dict[bool, list[float]] = {True: [], False: []}
    with ready_chunks(), install(bounded_router(20, base)):

        def read(routed: bool, count: int) -> Any:
            return _reader(_ready_stream(litellm, requests, routed, count, base), requests.asynchronous)

        calls = [_calls_of(requests, read(routed, count)) for routed in (True, False) for count in (many, few)]
        for _ in range(repeats):
            for routed in seconds:
                run = read(routed, many)
                with still():
                    seconds[routed].append(requests.loop.run_until_complete(run()))
    added = ((calls[0] - calls[1]) - (calls[2] - calls[3])) / (many - few)
    return {"alone_calls": added, "alone_us": (min(seconds[True]) - min(seconds[False])) / many * 1e6}


@contextmanager
def ready_chunks() -> Iterator[None]:
    """Meanwhile litellm's streams hand out the chunks in their attribute ``ready``, where they have one."""
    from litellm import CustomStreamWrapper

    from router_plugin.provider.streams import routed_stream_class

    original, aoriginal = CustomStreamWrapper.__next__, CustomStreamWrapper.__anext__

    def step(self: Any) -> Any:
        ready = self.ready
        return original(self) if ready is None else next(ready)

    async def astep(self: Any) -> Any:
        ready = self.ready
        if ready is None:
            return await aoriginal(self)
        for chunk in ready:
            return chunk
        raise StopAsyncIteration

    CustomStreamWrapper.ready = None
    CustomStreamWrapper.__next__, CustomStreamWrapper.__anext__ = step, astep
    routed_stream_class.cache_clear()  # it keeps litellm's methods
    try:
        yield
    finally:
        CustomStreamWrapper.__next__, CustomStreamWrapper.__anext__ = original, aoriginal
        del CustomStreamWrapper.ready
        routed_stream_class.cache_clear()


def _ready_stream(litellm: Any, requests: Requests, routed: bool, count: int, base: str) -> Any:
    """A real stream (so that all about it is real), begun, its connection read to the end, ready chunks to come."""
    kwargs = {**(ROUTED if routed else bare_kwargs(base)), "stream": True}

    async def begun() -> Any:
        stream = await litellm.acompletion(**kwargs)
        chunks = [await stream.__anext__() for _ in range(3)]
        async for _ in stream.completion_stream:
            pass
        return stream, chunks

    if requests.asynchronous:
        stream, chunks = requests.loop.run_until_complete(begun())
    else:
        stream = litellm.completion(**kwargs)
        chunks = [next(stream) for _ in range(3)]
        for _ in stream.completion_stream:
            pass
    stream.ready = iter([chunks[-1]] * count)
    return stream


def _reader(stream: Any, asynchronous: bool) -> Any:
    """A coroutine function that reads the stream to its end and returns the seconds it took."""

    async def read() -> float:
        started = time.perf_counter()
        if asynchronous:
            async for _ in stream:
                pass
        else:
            for _ in stream:
                pass
        return time.perf_counter() - started

    return read


def _calls_of(requests: Requests, read: Any) -> int:
    profile = cProfile.Profile()
    with still():
        profile.enable()
        requests.loop.run_until_complete(read())
        profile.disable()
    return calls_in(profile)


# -- e: calls of concrete models ---------------------------------------------------------------------------------------


def measure_passthrough(options: Options) -> list[dict[str, Any]]:
    """What an installed router costs a call that names a concrete model.

    µs an entry: the code that ``install`` put into ``litellm.completion``, with litellm's own function behind it
    replaced by one that does nothing, against that function alone. A call passes an entry for each of litellm's
    functions that were swapped (the profile of a whole call shows which ran); µs a call is their sum. ``extra_calls``
    is that profile against one without the router installed.
    """
    from router_plugin import install

    litellm, loop = quiet_litellm(), asyncio.new_event_loop()
    router, kwargs, rows = bounded_router(20, options.base), bare_kwargs(options.base), []
    for mode in ("sync", "async"):
        requests = Requests(mode, loop)
        without = calls_in(requests.profile(litellm, kwargs))
        with install(router):
            profile = requests.profile(litellm, kwargs)
            entries = _entries(litellm, profile)
        us = {}
        for name, intercept in (("us", ()), ("us_with_an_intercept", ("gemini/*",))):
            with install(router, intercept=intercept):
                one = {function: _entry_us(function, kwargs, options) for function in {*entries, _function(mode)}}
            us[name] = one[_function(mode)]
            us[f"{name}_a_call"] = sum(one[function] for function in entries)
        rows.append({"mode": mode, **us, "entries": len(entries), "extra_calls": calls_in(profile) - without})
    return rows


def _function(mode: str) -> str:
    return "acompletion" if mode == "async" else "completion"


def _entries(litellm: Any, profile: cProfile.Profile) -> list[str]:
    """The swapped functions that ran, each as the name of its kind. A resumed coroutine counts once."""
    ran = {entry.code for entry in profile.getstats()}
    swapped = [
        (name, getattr(module, name)) for module in (litellm, litellm.main) for name in ("completion", "acompletion")
    ]
    return [name for name, function in swapped if function.__code__ in ran]


def _entry_us(name: str, kwargs: dict[str, Any], options: Options) -> float:
    """µs that the swapped ``litellm.completion`` or ``litellm.acompletion`` adds to a function behind it.

    The fastest of several long runs of each, as in ``timeit``: what is slower was disturbed.
    """
    import litellm

    async def nothing_async(*args: Any, **kwargs: Any) -> None:
        return None

    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    swapped = getattr(litellm, name)
    stub = nothing_async if name == "acompletion" else nothing
    code = swapped.__code__
    originals = [c for c in code.co_consts if isinstance(c, types.FunctionType) and c.__name__ == swapped.__name__]
    if not originals:
        raise RuntimeError(f"the code that install() put into {name} does not hold litellm's own function any more")
    constants = tuple(stub if constant in originals else constant for constant in code.co_consts)
    entry = types.FunctionType(code.replace(co_consts=constants), swapped.__globals__, name, None, swapped.__closure__)
    count, repeats = 5_000, (9 if options.quick else 31)
    seconds = [(_many(name, entry, kwargs, count), _many(name, stub, kwargs, count)) for _ in range(repeats)]
    return (min(entered for entered, _ in seconds) - min(alone for _, alone in seconds)) / count * 1e6


def _many(name: str, function: Any, kwargs: dict[str, Any], count: int) -> float:
    async def awaited() -> None:
        for _ in range(count):
            await function(**kwargs)

    with still():
        started = time.perf_counter()
        if name == "acompletion":
            try:
                awaited().send(None)
            except StopIteration:
                pass
        else:
            for _ in range(count):
                function(**kwargs)
        return time.perf_counter() - started


def measure(options: Options) -> dict[str, Any]:
    """Sections a, d and e; they share one process because importing litellm takes seconds."""
    return {
        "calls": measure_calls(options),
        "variants": measure_variants(options),
        "chunks": measure_chunks(options),
        "passthrough": measure_passthrough(options),
    }
