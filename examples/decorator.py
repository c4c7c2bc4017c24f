"""``@router.wrap``: routing around any function of ``(model, messages, …)``: litellm, the OpenAI SDK, or your own.

The function is called once an attempt, with the model that was chosen. It need not know anything about the router:
tokens and cost are read from the ``usage`` of what it returns.
"""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm: do not download prices when imported

import litellm
import openai

from router_plugin import Budget, Deployment, Router, RouteResult
from router_plugin.testing import LoopbackProvider
from router_plugin.testing.loopback import Status

litellm.suppress_debug_info = True  # litellm prints advice on every failed attempt; here they are part of the plan
QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]


def main() -> None:
    # The model strings are whatever the wrapped functions understand.
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6}
    models = [Deployment("large", quality=0.9, **prices), Deployment("small", quality=0.6, **prices)]
    router = Router("decorated", models=models, budgets=[Budget(usd=1, per="day")])
    with LoopbackProvider() as provider:
        provider.model("large", reply="Sunlight is scattered by the air, and blue light most of all.")
        provider.model("small", reply="Because of scattering.")
        around_litellm(router, provider)
        around_the_openai_sdk(router, provider)
        asyncio.run(around_an_async_client(router, provider))
    around_your_own(router)
    (budget,) = router.budgets()
    print(f"\nspent on all of these: ${budget['settled_usd']:.6f}; left reserved: ${budget['reserved_usd']:.2f}")
    assert budget["reserved_usd"] == 0


def tell(title: str, answer: Any, text: str) -> None:
    steps = [f"{attempt.deployment}: {attempt.error or attempt.outcome}" for attempt in RouteResult.of(answer).attempts]
    print(f"{title}\n    {text}\n    {' → '.join(steps)}, ${RouteResult.of(answer).cost_usd:.6f}")


def around_litellm(router: Router, provider: LoopbackProvider) -> None:
    @router.wrap(max_cost=0.01)
    def ask(model: str, messages: list[dict], **kwargs: Any) -> Any:
        base = {"api_base": provider.openai_base, "api_key": "not-needed", "max_retries": 0}
        return litellm.completion(model=f"openai/{model}", messages=messages, **base, **kwargs)

    provider.script("large", [Status(500), Status(500)])  # tried again once, then the next one answers
    answer = ask(messages=QUESTION)
    tell("litellm, with a fallback", answer, answer.choices[0].message.content)
    assert [attempt.deployment for attempt in RouteResult.of(answer).attempts] == ["large", "large", "small"]


def around_the_openai_sdk(router: Router, provider: LoopbackProvider) -> None:
    # max_retries=0: retrying is the router's business now.
    client = openai.OpenAI(base_url=provider.openai_base, api_key="not-needed", max_retries=0)
    ask = router.wrap(client.chat.completions.create)

    answer = ask(messages=QUESTION)
    tell("OpenAI SDK", answer, answer.choices[0].message.content)
    assert isinstance(answer, openai.types.chat.ChatCompletion)  # its own object, untouched

    stream = ask(messages=QUESTION, stream=True, stream_options={"include_usage": True})
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    tell("OpenAI SDK, streamed", stream, text)


async def around_an_async_client(router: Router, provider: LoopbackProvider) -> None:
    async with openai.AsyncOpenAI(base_url=provider.openai_base, api_key="not-needed", max_retries=0) as client:

        @router.wrap
        async def ask(model: str, messages: list[dict], **kwargs: Any) -> Any:
            return await client.chat.completions.create(model=model, messages=messages, **kwargs)

        one, two = await asyncio.gather(ask(messages=QUESTION), ask("small", QUESTION))
        tell("OpenAI SDK, async", one, one.choices[0].message.content)
        tell("the same, with a model named", two, two.choices[0].message.content)

        stream = await ask(messages=QUESTION, stream=True, stream_options={"include_usage": True})
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        tell("OpenAI SDK, async and streamed", stream, text)


def around_your_own(router: Router) -> None:
    @router.wrap
    def ask(model: str, messages: list[dict], **kwargs: Any) -> dict:
        if model == "large":
            raise TimeoutError("our own server did not answer")
        reply = {"role": "assistant", "content": f"{model} says: {len(messages)} message read."}
        return {"choices": [{"message": reply}], "usage": {"prompt_tokens": 12, "completion_tokens": 5}}

    answer = ask(messages=QUESTION)
    tell("a function that returns a dict", answer, answer["choices"][0]["message"]["content"])

    @router.wrap
    def tokens(model: str, messages: list[dict], **kwargs: Any) -> Iterator[dict]:
        for word in ("Blue", " is", " scattered."):
            yield {"choices": [{"delta": {"content": word}}]}
        yield {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 3}}

    stream = tokens(messages=QUESTION)
    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in stream if chunk["choices"])
    tell("a generator of dicts", stream, text)


if __name__ == "__main__":
    main()
