"""What the hazard tests share: deployments on the loopback, a call in each of the four modes, and what must hold after.

A test that asks in four modes calls :func:`ask`, which never raises what the call raised: it hands it back with what
was received, so that a test can look at the money first.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import litellm
import pytest

from router_plugin import Budget, Deployment, Router, RouteResult
from router_plugin.testing import FakeClock, LoopbackProvider, ScriptedProvider
from router_plugin.testing import Reply as Says

litellm.suppress_debug_info = True

__all__ = ["FakeClock", "LoopbackProvider", "Says", "ScriptedProvider"]

ROOT = Path(__file__).parents[2]
HI: list[dict[str, Any]] = [{"role": "user", "content": "one two three four five six"}]
MODES = ["sync", "async", "sync stream", "async stream"]
four_modes = pytest.mark.parametrize("mode", MODES)
WIRES = ["openai", "anthropic"]
both_wires = pytest.mark.parametrize("wire", WIRES)
# Each mode and each wire format, where every pair of them would be four times too much.
four_pairs = pytest.mark.parametrize(
    ("wire", "mode"),
    [("openai", "sync"), ("anthropic", "async"), ("anthropic", "sync stream"), ("openai", "async stream")],
)
PRICE: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}

# One loop for all tests that do not bring their own: litellm makes (and TLS-initialises) a client for every loop.
_LOOP = asyncio.new_event_loop()


def go(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return _LOOP.run_until_complete(coroutine)


def deployment(p: LoopbackProvider, name: str = "m", wire: str = "openai", **more: Any) -> Deployment:
    base = p.openai_base if wire == "openai" else p.url
    return Deployment(f"{wire}/{name}", **{"name": name, "api_base": base, "api_key": "sk-k", **PRICE, **more})


def router(p: LoopbackProvider, *names: str, wire: str = "openai", usd: float = 1.0, **more: Any) -> Router:
    """A router over loopback models, the first one best, with one budget over all traffic."""
    made = [deployment(p, name, wire, quality=0.9 - place / 100) for place, name in enumerate(names or ("m",))]
    return Router("hazard", models=made, **{"budgets": [Budget(usd=usd)], **more})


def scripted(clock: Any, *names: str, script: Any = None, **more: Any) -> tuple[Router, ScriptedProvider]:
    """A router over scripted models ``openai/<name>``, the first one best."""
    provider = ScriptedProvider(clock, script)
    made = [
        Deployment(f"openai/{name}", name=name, quality=0.9 - place / 1000, **PRICE)
        for place, name in enumerate(names or ("m",))
    ]
    given = {"budgets": [Budget(usd=1)], "clock": clock, "provider": provider, **more}
    return Router("hazard", models=given.pop("models", made), **given), provider


@dataclass
class Told:
    """What one call came to."""

    answer: Any = None
    error: BaseException | None = None
    chunks: list[Any] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def text(self) -> str:
        if self.chunks:
            return "".join(_delta(chunk) for chunk in self.chunks)
        return "" if self.answer is None else _content(self.answer)

    @property
    def result(self) -> RouteResult:
        found = RouteResult.of(self.error if self.error is not None else self.answer)
        assert found is not None, f"no record on {self.error!r} / {type(self.answer).__name__}"
        return found

    def raises(self, *kinds: type[BaseException]) -> BaseException:
        assert isinstance(self.error, kinds), f"wanted {kinds}, got {self.error!r} (answered {self.text!r})"
        return self.error

    def answered(self) -> str:
        if self.error is not None:
            short = len(str(self.error)) < 2_000
            raise AssertionError(f"wanted an answer, got {self.error!r:.600}") from (self.error if short else None)
        return self.text


def _delta(chunk: Any) -> str:
    if isinstance(chunk, dict):
        return "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
    return "".join(choice.delta.content or "" for choice in chunk.choices)


def _content(answer: Any) -> str:
    if isinstance(answer, dict):
        return answer["choices"][0]["message"]["content"] or ""
    return answer.choices[0].message.content or ""


def ask(mode: str, r: Router, **kwargs: Any) -> Told:
    """One call in a mode of ``MODES``, read to its end."""
    kwargs = {"messages": HI, **kwargs}
    if mode.endswith("stream"):
        kwargs["stream"] = True
    told = Told()
    started = time.monotonic()
    try:
        if mode.startswith("async"):
            go(_ask(r, kwargs, told))
        else:
            told.answer = r.completion(**kwargs)
            if "stream" in mode:
                for chunk in told.answer:
                    told.chunks.append(chunk)
    except Exception as error:
        told.error = error
    told.seconds = time.monotonic() - started
    return told


def ask_at_once(calls: list[tuple[str, Router]], **kwargs: Any) -> list[Told]:
    """The calls, each in its mode, all at the same time: sync ones in threads, async ones on one loop."""
    told: list[Told | None] = [None] * len(calls)

    async def asynchronous() -> None:
        places = [place for place, (mode, _) in enumerate(calls) if mode.startswith("async")]
        asked = [aask(calls[place][1], **_for_mode(calls[place][0], kwargs)) for place in places]
        for place, one in zip(places, await asyncio.gather(*asked), strict=True):
            told[place] = one

    places = [place for place, (mode, _) in enumerate(calls) if not mode.startswith("async")]
    with ThreadPoolExecutor(max(1, len(places))) as pool:
        futures = [pool.submit(ask, *calls[place], **kwargs) for place in places]
        go(asynchronous())
        for place, future in zip(places, futures, strict=True):
            told[place] = future.result()
    return [one for one in told if one is not None]


def _for_mode(mode: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    return {**kwargs, "stream": True} if mode.endswith("stream") else kwargs


async def aask(r: Router, **kwargs: Any) -> Told:
    told = Told()
    started = time.monotonic()
    try:
        await _ask(r, {"messages": HI, **kwargs}, told)
    except Exception as error:
        told.error = error
    told.seconds = time.monotonic() - started
    return told


async def _ask(r: Router, kwargs: dict[str, Any], told: Told) -> None:
    told.answer = await r.acompletion(**kwargs)
    if kwargs.get("stream"):
        async for chunk in told.answer:
            told.chunks.append(chunk)


def nothing_held(r: Router) -> None:
    """No reservation is left, and nobody is thought to be in flight."""
    for account in r.budgets():
        assert account["reserved_usd"] == 0, f"still reserved: {account}"
    for name, seen in r.stats().items():
        assert seen["in_flight"] == 0, f"{name} still has {seen['in_flight']} in flight"


def let_go(r: Router, within_s: float = 3.0) -> None:
    """Collect garbage until nothing is held: litellm's logging thread keeps a sync stream for 0.2 s of its own."""
    pause = threading.Event()
    end = time.monotonic() + within_s
    while True:
        try:
            return nothing_held(r)
        except AssertionError:
            if time.monotonic() > end:
                raise
        gc.collect()
        pause.wait(0.005)


def spent(r: Router) -> float:
    return float(r.budgets()[0]["settled_usd"])


def in_subprocess(code: str, *flags: str, env: dict[str, str] | None = None, timeout_s: float = 60.0) -> str:
    """Run a script in a fresh interpreter with this checkout on its path; its stdout, once it ended well."""
    full = {**os.environ, "PYTHONPATH": str(ROOT), "LITELLM_LOCAL_MODEL_COST_MAP": "True", **(env or {})}
    done = subprocess.run(
        [sys.executable, *flags, "-c", code], env=full, capture_output=True, text=True, timeout=timeout_s
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr[-4000:]}"
    return done.stdout


def warm_up() -> None:
    with LoopbackProvider() as p:
        for wire in WIRES:
            for mode in MODES:
                ask(mode, router(p, "warm", wire=wire)).answered()
