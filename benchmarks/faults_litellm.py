"""litellm.Router in a world of ``faults_world``: its real routing, cooldowns, retries and callbacks, in virtual time.

Whole answers: a stream of a custom provider shows its errors too late for litellm's retries, which would be unfair.
Runs in a process of its own (its callbacks are global, and the time module is patched before litellm is imported):
``python faults_litellm.py WORLD SEED MINUTES RATE STRATEGY`` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from faults_ours import TIMEOUT_S, Outcome, drive
from faults_table import summary
from faults_world import Ask, Refused, World, make

from router_plugin.testing.virtual_time import VirtualClock, VirtualLoop

ATTEMPT_S = TIMEOUT_S / 3  # as an HTTP client would, so that there is time for a fallback
STRATEGIES = ("simple-shuffle", "latency-based-routing", "cost-based-routing", "usage-based-routing-v2", "least-busy")


def handler(litellm: Any, world: World) -> Any:
    """The world as a custom provider of litellm's."""

    class Provider(litellm.CustomLLM):  # type: ignore[misc]
        async def acompletion(self, model: str, *args: Any, **kwargs: Any) -> Any:
            ask: Ask = kwargs["optional_params"]["ask"]
            try:
                await asyncio.wait_for(_whole(world, model, ask), ATTEMPT_S)
            except asyncio.TimeoutError:
                raise litellm.Timeout("no answer", model, "world") from None
            except Refused as refused:
                raise _error(litellm, refused, model) from None
            except ConnectionError as error:
                raise litellm.APIConnectionError(str(error), "world", model) from None
            answer = kwargs["model_response"]
            answer.choices[0].message.content = "x"
            usage = {"prompt_tokens": ask.input_tokens, "completion_tokens": ask.output_tokens}
            answer.usage = litellm.Usage(**usage, total_tokens=ask.input_tokens + ask.output_tokens)
            return answer

    return Provider()


async def _whole(world: World, model: str, ask: Ask) -> None:
    async for _ in world.answer(model, ask):
        pass


def _error(litellm: Any, refused: Refused, model: str) -> Exception:
    import httpx

    headers = {} if refused.retry_after_s is None else {"retry-after": f"{refused.retry_after_s:.0f}"}
    response = httpx.Response(refused.status, headers=headers, request=httpx.Request("POST", "http://world"))
    kinds = {429: litellm.RateLimitError, 500: litellm.InternalServerError, 503: litellm.ServiceUnavailableError}
    made: Exception = kinds.get(refused.status, litellm.InternalServerError)(
        f"HTTP {refused.status}", llm_provider="world", model=model, response=response
    )
    return made


async def theirs(litellm: Any, world: World, strategy: str) -> Outcome:
    litellm.custom_provider_map = [{"provider": "world", "custom_handler": handler(litellm, world)}]
    router = litellm.Router(
        model_list=[
            {
                "model_name": "world",
                "litellm_params": {
                    "model": f"world/{place.name}",
                    "input_cost_per_token": place.input_price / 1e6,
                    "output_cost_per_token": place.output_price / 1e6,
                    "rpm": place.rpm,
                },
            }
            for place in world.places.values()
        ],
        routing_strategy=strategy,
        num_retries=3,
        timeout=TIMEOUT_S,
    )

    async def one(ask: Ask) -> AsyncIterator[Any]:
        messages = [{"role": "user", "content": "x" * (4 * min(ask.input_tokens, 500))}]
        # What a caller of litellm's Router would bound himself: the same deadline for all of it.
        yield await asyncio.wait_for(router.acompletion(model="world", messages=messages, ask=ask), TIMEOUT_S)

    return await drive(world, one, (Exception,), whole=True)


def main() -> None:
    kind, seed, minutes, rate, strategy = sys.argv[1:6]
    os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="CRITICAL", LITELLM_TELEMETRY="False")
    loop = VirtualLoop()
    clock = VirtualClock(loop)
    time.time, time.monotonic, time.perf_counter = clock.wall, clock.monotonic, clock.monotonic
    asyncio.set_event_loop(loop)
    import litellm

    litellm.suppress_debug_info = True
    logging.disable(logging.CRITICAL)
    world = make(kind, int(seed), float(minutes), float(rate))
    outcome = loop.run_until_complete(theirs(litellm, world, strategy))
    print(json.dumps(summary(world, outcome)))
    sys.stdout.flush()
    os._exit(0)  # litellm's workers would go on waiting in virtual time


if __name__ == "__main__":
    main()
