"""Soak: many concurrent callers over real HTTP for minutes, with faults throughout; nothing may be left or leak.

``python benchmarks/soak.py --seconds 600 --callers 200`` (``make soak``). A loopback provider in a process of its own
serves six models in moods that change all the time (errors, limits, silence, cuts, stalls); callers are async tasks and
threads, streams and whole answers, some of which are cancelled, closed early or dropped. At the end nothing may be
reserved or in flight, the budget may not be overspent, memory may not have grown, and every log line of ours is shown.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import sys
import threading
import time
from collections import Counter
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LITELLM_LOG", "ERROR")

import litellm
import openai

from router_plugin import Budget, BudgetExceededError, Deployment, NoCandidateError, Router, RouterError, install
from router_plugin.testing import LoopbackProvider, loopback

MODELS = ("a", "b", "c", "d", "e", "f")
USD = 5.0


def moods(provider: LoopbackProvider, draw: random.Random, over: threading.Event) -> None:
    """Every half second another model changes its mood; two of the six are always well."""
    faults: list[Any] = [
        loopback.Status(500),
        loopback.Status(503),
        loopback.RateLimited(retry_after="0.5"),
        loopback.RateLimited(),
        loopback.Silent(),
        loopback.Reset(),
        loopback.CutStream(2),
        loopback.StallStream(2, 20.0),
        loopback.CutBody(),
        loopback.RawBody(b"<html>no</html>", content_type="text/html"),
        loopback.MalformedEvent(1),
        None,
        None,
        None,
    ]
    while not over.wait(0.5):
        provider.always(draw.choice(MODELS[:-2]), draw.choice(faults) or loopback.Fault())


def resident_mb() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


class Said(logging.Handler):
    """Our own log lines, counted by their text."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines[f"{record.levelname}: {record.getMessage()[:160]}"] += 1


async def caller(router: Router, number: int, ends: float, seen: Counter[str]) -> None:
    draw = random.Random(number)
    while time.monotonic() < ends:
        stream, fate = draw.random() < 0.5, draw.random()
        kwargs = {
            "model": "router",
            "messages": [{"role": "user", "content": f"say something {'x' * draw.randrange(400)}"}],
            "user": f"u{number % 10}",
            "stream": stream,
            "timeout": 4,
            "max_tokens": 50,
        }
        try:
            if fate < 0.05:
                await asyncio.wait_for(_read(kwargs, draw), draw.uniform(0.01, 0.3))
            else:
                await _read(kwargs, draw)
            seen["answered"] += 1
        except (BudgetExceededError, NoCandidateError) as error:
            seen[type(error).__name__] += 1
            await asyncio.sleep(0.1)
        except (RouterError, asyncio.TimeoutError, openai.OpenAIError) as error:
            seen[type(error).__name__] += 1
        except Exception as error:
            seen[f"unexpected {type(error).__name__}: {str(error)[:80]}"] += 1


async def _read(kwargs: dict[str, Any], draw: random.Random) -> None:
    got = await litellm.acompletion(**kwargs)
    if kwargs["stream"]:
        how = draw.random()
        async for _ in got:
            if how < 0.1:
                await got.aclose()
                return
            if how < 0.2:
                return  # dropped


def in_threads(router: Router, ends: float, seen: Counter[str], count: int) -> list[threading.Thread]:
    def work(number: int) -> None:
        draw = random.Random(number)
        while time.monotonic() < ends:
            try:
                got = litellm.completion(
                    "router", [{"role": "user", "content": "hi"}], stream=draw.random() < 0.5, timeout=4, max_tokens=50
                )
                if hasattr(got, "__next__"):
                    for _ in got:
                        if draw.random() < 0.05:
                            break
                seen["sync answered"] += 1
            except Exception as error:
                seen[f"sync {type(error).__name__}"] += 1
            time.sleep(0.05)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


def main() -> int:
    parser = argparse.ArgumentParser(description="Many callers, many faults, for a long time.")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--callers", type=int, default=200)
    args = parser.parse_args()
    litellm.suppress_debug_info = True
    said = Said()
    logging.getLogger("router_plugin").addHandler(said)
    logging.getLogger("router_plugin").propagate = False
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    provider, over, seen = LoopbackProvider(keep=100), threading.Event(), Counter[str]()
    provider.start()
    for place, name in enumerate(MODELS):
        provider.model(name, "one two three four five", ttft_s=0.02 * (place + 1), itl_s=0.005)
    router = Router(
        "soak",
        models=[
            Deployment(
                f"openai/{name}",
                name=name,
                quality=0.9 - place / 100,
                api_base=provider.openai_base,
                api_key="k",
                input_cost_per_token=1e-7,
                output_cost_per_token=4e-7,
                max_output_tokens=500,
            )
            for place, name in enumerate(MODELS)
        ],
        budgets=[Budget(usd=USD, name="all"), Budget(usd=USD, per="minute", key="user", name="each")],
        midstream="restart",
        stall_timeout_s=1.0,
        hedge_after="p95",
    )
    threading.Thread(target=moods, args=(provider, random.Random(1), over), daemon=True).start()
    figures: list[tuple[float, float]] = []
    began = time.monotonic()
    ends = began + args.seconds

    async def watch() -> None:
        while time.monotonic() < ends:
            await asyncio.sleep(max(1.0, args.seconds / 20))
            gc.collect()
            figures.append((time.monotonic() - began, resident_mb()))
            print(f"{figures[-1][0]:6.0f} s  {figures[-1][1]:7.1f} MB  {sum(seen.values())} calls", flush=True)

    async def everybody() -> None:
        await asyncio.gather(watch(), *(caller(router, number, ends, seen) for number in range(args.callers)))

    with install(router):
        threads = in_threads(router, ends, seen, 8)
        asyncio.run(everybody())
        for thread in threads:
            thread.join()
    over.set()
    for _ in range(50):
        gc.collect()
        left = [b for b in router.budgets() if b["reserved_usd"]]
        flying = {name: s["in_flight"] for name, s in router.stats().items() if s["in_flight"]}
        if not left and not flying:
            break
        time.sleep(0.1)
    provider.stop()
    spent = next(b for b in router.budgets() if b["name"] == "all")["settled_usd"]
    half = [mb for at, mb in figures if at > args.seconds / 2]
    grown = (half[-1] - half[0]) if len(half) > 1 else 0.0
    print("\n".join(f"{count:8} {what}" for what, count in seen.most_common()))
    print("\n".join(f"{count:8} {line}" for line, count in said.lines.most_common()) or "no log line of ours")
    print(f"left reserved {left}, in flight {flying}, spent ${spent:.4f} of ${USD}; second half {grown:+.1f} MB")
    unexpected = any(what.startswith("unexpected") for what in seen)
    bad = bool(left or flying or unexpected or spent > USD + 1e-9 or grown > 30)
    print("failed" if bad else "passed")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
