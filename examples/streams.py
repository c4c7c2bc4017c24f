"""Streams: what happens when a provider breaks one off, before and after the first token, and when the caller does."""

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm: do not download prices when imported

import litellm

from router_plugin import Budget, Deployment, Router, RouteResult, StreamInterruptedError, install
from router_plugin.testing import LoopbackProvider
from router_plugin.testing.loopback import CutStream

litellm.suppress_debug_info = True  # litellm prints advice on every failed attempt; here they are part of the plan
QUESTION = {"messages": [{"role": "user", "content": "Tell me about rivers."}], "user": "ann", "stream": True}
STORY = "A river begins small, gathers what the land gives it, and ends in something larger than itself."


def main() -> None:
    scenes = (before_the_first_token, raising, restarting, buffered, continuing, closing_early)
    for scene in scenes:
        with LoopbackProvider() as provider:
            router = make_router(provider)
            with install(router):
                scene(provider, router)
            # However a stream ends, its money is settled exactly once, and nothing stays reserved.
            assert router.budgets()[0]["reserved_usd"] == 0
            assert router.budgets()[0]["settled_usd"] > 0
    print(f"\nleft reserved after all {len(scenes)}: nothing")


def make_router(provider: LoopbackProvider) -> Router:
    provider.model("river", reply=STORY)
    provider.model("lake", reply=finish_the_story)
    common = {
        "api_base": provider.openai_base,
        "api_key": "not-needed",
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 5e-6,
        "supports": {"prefill": True},  # may be asked to go on from half an answer
    }
    models = [Deployment("openai/river", quality=0.9, **common), Deployment("openai/lake", quality=0.8, **common)]
    return Router("streams", models=models, budgets=[Budget(usd=1, per="day", key="user")])


def finish_the_story(body: dict) -> str:
    """The second model goes on where the first one stopped, if it is shown half an answer."""
    last = body["messages"][-1]
    return STORY.removeprefix(last["content"]) if last["role"] == "assistant" else STORY


def before_the_first_token(provider: LoopbackProvider, router: Router) -> None:
    """Nobody has seen anything yet: the next model answers, and the caller notices nothing."""
    provider.script("river", [CutStream(after_chunks=0), CutStream(after_chunks=0)])
    stream = litellm.completion(model="router/streams", **QUESTION)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    steps = [f"{attempt.deployment}: {attempt.error or attempt.outcome}" for attempt in RouteResult.of(stream).attempts]
    print(f"broken before the first token\n    {' → '.join(steps)}\n    {text}")
    assert text == STORY


def raising(provider: LoopbackProvider, router: Router) -> None:
    """The default: a short answer is never passed off as a whole one. The error carries what had come."""
    provider.script("river", [CutStream(after_chunks=5)])
    try:
        list(litellm.completion(model="router/streams", **QUESTION))
        raise AssertionError("half an answer was passed off as a whole one")
    except StreamInterruptedError as error:
        partial = error.partial_text
    print(f"\nmidstream='raise'\n    StreamInterruptedError, after: {partial!r}")
    assert partial == "A river begins small, gathers"


def restarting(provider: LoopbackProvider, router: Router) -> None:
    """The next model begins anew. A chunk without choices tells the caller to discard what came before."""
    provider.script("river", [CutStream(after_chunks=5)])
    seen, shown = "", ""
    for chunk in litellm.completion(model="router/streams", routing={"midstream": "restart"}, **QUESTION):
        if getattr(chunk, "router_event", None) == "restart":
            seen, shown = "", f"{shown}⟲ "
            continue
        piece = chunk.choices[0].delta.content or ""
        seen, shown = seen + piece, shown + piece
    print(f"\nmidstream='restart'\n    {shown}")
    assert seen == STORY


def buffered(provider: LoopbackProvider, router: Router) -> None:
    """Restart without a seam: nothing is handed over until an answer is whole."""
    provider.script("river", [CutStream(after_chunks=5), CutStream(after_chunks=9)])
    stream = litellm.completion(model="router/streams", routing={"buffer": True}, **QUESTION)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    print(f"\nbuffer=True\n    {text}")
    assert text == STORY


def continuing(provider: LoopbackProvider, router: Router) -> None:
    """The next model is shown half an answer and goes on from there: one text, two models."""
    provider.script("river", [CutStream(after_chunks=5)])
    stream = litellm.completion(model="router/streams", routing={"midstream": "continue"}, **QUESTION)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    models = [attempt.deployment for attempt in RouteResult.of(stream).attempts]
    print(f"\nmidstream='continue'\n    {text}\n    by {' and '.join(models)}")
    assert text == STORY
    assert models == ["openai/river", "openai/lake"]


def closing_early(provider: LoopbackProvider, router: Router) -> None:
    """The caller has enough: the connection is given back, and what was sent and received is paid for."""
    stream = litellm.completion(model="router/streams", **QUESTION)
    for place, _ in enumerate(stream):
        if place == 3:
            break
    stream.close()
    (attempt,) = RouteResult.of(stream).attempts
    print(f"\nclosed early\n    {attempt.outcome}: paid ${attempt.cost_usd:.6f} for the part that had come")
    assert attempt.cost_usd == router.budgets()[0]["settled_usd"]


if __name__ == "__main__":
    main()
