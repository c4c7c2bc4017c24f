"""The demo's providers: four servers on 127.0.0.1 that speak OpenAI's and Anthropic's wire formats, each with a mood.

They are servers like any other: real HTTP, real streams, real 429s. Only the answers are made up. Every model keeps a
meter of what it would bill, so that in the end two sets of books can be compared: the router's and the providers'.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from questions import TOOL_QUESTIONS

from router_plugin import Deployment
from router_plugin.testing import LoopbackProvider
from router_plugin.testing.exchange import Call, Send, Step
from router_plugin.testing.loopback import CutStream, Fault, RateLimited, Status


@dataclass
class Model:
    """One deployment of the demo: what it costs (USD per million tokens in and out), how fast and how moody it is."""

    name: str
    wire: str  # "openai" or "anthropic": litellm's provider, and so the wire format
    server: str
    quality: float
    prices: tuple[float, float]
    ttft_s: float
    words: tuple[int, int]  # length of its answers
    mood: str
    eyes: bool = True  # whether it takes pictures
    outage: tuple[float, float] | None = None  # every so many seconds, so many seconds of 500s
    cuts: float = 0.0  # share of streams that break off in the middle
    burst: int | None = None  # requests in any two seconds; beyond that: 429 with Retry-After

    @property
    def model(self) -> str:
        """brook-large and brook-large-eu are the same model at two endpoints."""
        return self.name.removesuffix("-eu")


MODELS = [
    Model("brook-mini", "openai", "brook", 0.62, (0.15, 0.60), 0.05, (30, 90), eyes=False, mood="cheap, fast"),
    Model("brook-large", "openai", "brook", 0.86, (2.50, 10.0), 0.20, (50, 160), outage=(7.0, 3.0), mood="outages"),
    Model("brook-large-eu", "openai", "brook-eu", 0.86, (2.75, 11.0), 0.26, (50, 160), mood="steady, dear"),
    Model(
        "fjord-medium",
        "openai",
        "fjord",
        0.74,
        (0.50, 1.50),
        0.12,
        (40, 120),
        eyes=False,
        cuts=0.4,
        mood="cuts streams",
    ),
    Model("ridge-swift", "anthropic", "ridge", 0.80, (0.80, 4.00), 0.09, (40, 130), burst=9, mood="rate limits"),
    Model("ridge-summit", "anthropic", "ridge", 0.93, (5.00, 25.0), 0.80, (80, 200), mood="best, slow"),
]

SENTENCES = [
    "That depends on two things you have not told me yet, so here is the answer for both of them.",
    "In short: yes, with one exception that matters in practice.",
    "Start with the part that is easy to undo, and measure before and after.",
    "The usual advice is older than the evidence, and the evidence is mixed.",
    "Most people get this wrong the first time, because the obvious step comes second.",
    "If it were mine, I would wait a week and look again.",
    "There is a rule of thumb for this, and it is right nine times out of ten.",
    "Two of the three options cost nothing, so try those first.",
]
RECORD = {"name": "somebody", "date": "2025-01-09", "amount": 75.0, "currency": "EUR"}
TOOL_CALLS = {question: {"name": tool, "arguments": arguments} for question, tool, arguments in TOOL_QUESTIONS}


class Meter:
    """What one model has billed: tokens in and out, in dollars, by its own count."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.input_tokens = self.output_tokens = self.answers = self.broken = 0
        self._lock = threading.Lock()

    def bill(self, input_tokens: int, output_tokens: int, whole: bool) -> None:
        with self._lock:
            self.input_tokens += input_tokens
            self.output_tokens += output_tokens
            self.answers += 1
            self.broken += not whole

    @property
    def usd(self) -> float:
        return (self.input_tokens * self.model.prices[0] + self.output_tokens * self.model.prices[1]) / 1e6


class Mood(Fault):
    """How a model answers: by its temper an error, a stream that breaks, or a normal answer, which is billed."""

    def __init__(self, model: Model, meter: Meter) -> None:
        self._model, self._meter = model, meter
        self._rng = random.Random(model.name)
        self._since = time.monotonic()
        self._recent: deque[float] = deque()
        self._lock = threading.Lock()

    def steps(self, call: Call) -> Iterable[Step]:
        with self._lock:
            fault = self._temper(call)
            words = self._rng.randrange(*self._model.words)
        if isinstance(fault, (Status, RateLimited)):
            return fault.steps(call)  # refused: nothing is billed
        call.behaviour = replace(call.behaviour, **_answer(call, words))
        return self._metered(call, (fault or Fault()).steps(call))

    def _temper(self, call: Call) -> Fault | None:
        if self._model.burst is not None:
            now = time.monotonic()
            while self._recent and now - self._recent[0] > 2.0:
                self._recent.popleft()
            if len(self._recent) >= self._model.burst:
                return RateLimited(retry_after=1)
            self._recent.append(now)
        if self._model.outage is not None:
            period, length = self._model.outage
            if (time.monotonic() - self._since) % period > period - length:
                return Status(500, message="upstream connect error")
        if call.streamed and self._rng.random() < self._model.cuts:
            return CutStream(after_chunks=self._rng.choice([0, 0, 5, 12]))
        return None

    def _metered(self, call: Call, steps: Iterable[Step]) -> Iterator[Step]:
        """A whole answer is billed in full; one that broke off, for the input and the chunks that were sent."""
        usage: Any = call.reply().usage
        chunks, whole = 0, False
        try:
            for step in steps:
                yield step
                if isinstance(step, Send):
                    chunks += step.chunk
            whole = not call.streamed or chunks >= sum(len(block.parts) for block in call.reply().blocks)
        finally:
            self._meter.bill(usage.prompt, usage.completion if whole else chunks, whole)


def _answer(call: Call, words: int) -> dict[str, Any]:
    """What the model says: a tool call where tools are offered, an object where JSON is asked for, or prose."""
    tools = call.body.get("tools")
    if tools:
        # litellm asks Anthropic's models for JSON by way of a tool, which it calls json_tool_call.
        otherwise = {"name": tools[0].get("name", "find_order"), "arguments": RECORD}
        return {"tool_calls": (TOOL_CALLS.get(call.ask.last_text, otherwise),)}
    if call.body.get("response_format"):
        return {"reply": json.dumps(RECORD)}
    text = f"({call.model} speaking, from 127.0.0.1.) " + " ".join(SENTENCES * (1 + words // 60))
    return {"reply": " ".join(text.split()[:words])}


@dataclass
class Town:
    """All that runs: the deployments that point at the servers, and every deployment's meter by name."""

    deployments: list[Deployment]
    meters: dict[str, Meter]
    servers: dict[str, LoopbackProvider]

    def settled(self) -> bool:
        """Wait until every server is done with every request."""
        return all(server.wait_until(partial(_idle, server)) for server in self.servers.values())


def _idle(server: LoopbackProvider) -> bool:
    return server.in_flight == 0


@contextmanager
def providers() -> Iterator[Town]:
    """Start the servers of all ``MODELS``; they stop when the ``with`` ends."""
    with ExitStack() as stack:
        town = Town([], {}, {})
        for model in MODELS:
            if model.server not in town.servers:
                town.servers[model.server] = stack.enter_context(LoopbackProvider(keep=0))
            server, meter = town.servers[model.server], Meter(model)
            server.model(model.model, ttft_s=model.ttft_s, itl_s=0.005)
            server.always(model.model, Mood(model, meter))
            town.meters[model.name] = meter
            town.deployments.append(_deployment(model, server))
        yield town


def _deployment(model: Model, server: LoopbackProvider) -> Deployment:
    return Deployment(
        f"{model.wire}/{model.model}",
        name=model.name,
        quality=model.quality,
        api_base=server.openai_base if model.wire == "openai" else server.url,
        api_key="not-needed",
        input_cost_per_token=model.prices[0] / 1e6,
        output_cost_per_token=model.prices[1] / 1e6,
        context_window=64_000,
        max_output_tokens=500,
        supports={"vision": model.eyes},
    )
