"""Frameworks that call litellm are routed by naming a router; each is skipped where it is not installed."""

from __future__ import annotations

from typing import Any

import litellm
import pytest
from plugin_modes import REPLIES
from pydantic import BaseModel

from router_plugin import Router, RouteResult, install
from router_plugin.testing.loopback import LoopbackProvider, Status

QUESTION = "How many moons has Mars?"


class Moons(BaseModel):
    """How many there are."""

    n: int


def asked(p: LoopbackProvider) -> list[str]:
    return [seen.model for seen in p.requests]


# --------------------------------------------------------------------------- instructor


@pytest.fixture
def counting(p: LoopbackProvider) -> None:
    """The models answer by a tool call, as instructor asks them to."""
    for name in ("small", "big"):
        p.model(name, tool_calls=[{"name": "Moons", "arguments": {"n": 2}}])


def test_instructor_bound_before_the_install(router: Router, p: LoopbackProvider, counting: None) -> None:
    instructor = pytest.importorskip("instructor")
    client = instructor.from_litellm(litellm.completion)
    messages = [{"role": "user", "content": QUESTION}]
    with install(router):
        moons, raw = client.chat.completions.create_with_completion(
            model="router/support", messages=messages, response_model=Moons
        )
    assert moons.n == 2
    assert RouteResult.of(raw).deployment == "openai/big"  # type: ignore[union-attr]
    assert asked(p) == ["big"]


async def test_instructor_async_bound_before_the_install(router: Router, p: LoopbackProvider, counting: None) -> None:
    """instructor looks whether the function is a coroutine function."""
    instructor = pytest.importorskip("instructor")
    client = instructor.from_litellm(litellm.acompletion)
    with install(router):
        moons = await client.chat.completions.create(
            model="router@q:1", messages=[{"role": "user", "content": QUESTION}], response_model=Moons
        )
    assert moons.n == 2
    assert asked(p) == ["big"]


async def test_instructor_made_while_installed(installed: Router, p: LoopbackProvider, counting: None) -> None:
    instructor = pytest.importorskip("instructor")
    messages = [{"role": "user", "content": QUESTION}]
    sync, asynchronous = instructor.from_litellm(litellm.completion), instructor.from_litellm(litellm.acompletion)
    kwargs: dict[str, Any] = {"model": "router/support", "messages": messages, "response_model": Moons}
    assert sync.chat.completions.create(**kwargs).n == 2
    assert (await asynchronous.chat.completions.create(**kwargs, max_cost=0.01)).n == 2
    assert asked(p) == ["big", "big"]


# --------------------------------------------------------------------------- smolagents


def test_smolagents_model(router: Router, p: LoopbackProvider) -> None:
    smolagents = pytest.importorskip("smolagents")
    model = smolagents.LiteLLMModel(model_id="router/support")
    message = smolagents.ChatMessage(role="user", content=[{"type": "text", "text": QUESTION}])
    p.script("big", [Status(401)])
    with install(router):
        first = model.generate([message])
        stream = list(model.generate_stream([message], max_cost=0.01))
    assert first.content == REPLIES["small"]
    assert "".join(delta.content or "" for delta in stream) in REPLIES.values()
    assert asked(p)[:2] == ["big", "small"]


# --------------------------------------------------------------------------- dspy


@pytest.mark.parametrize("name", ["router/support", "router@q:1|c:1e-6"])
def test_dspy_lm(router: Router, p: LoopbackProvider, name: str) -> None:
    dspy = pytest.importorskip("dspy")
    with install(router):
        lm = dspy.LM(name, cache=False, max_tokens=200)
        said = lm(QUESTION)
        p.model("big", "[[ ## answer ## ]]\ntwo\n\n[[ ## completed ## ]]")
        with dspy.context(lm=lm):
            predicted = dspy.Predict("question -> answer")(question=QUESTION)
    assert [one["text"] if isinstance(one, dict) else one for one in said] == [REPLIES["big"]]
    assert predicted.answer == "two"
    assert asked(p) == ["big", "big"]


async def test_dspy_lm_async(router: Router, p: LoopbackProvider) -> None:
    dspy = pytest.importorskip("dspy")
    with install(router):
        said = await dspy.LM("router/support", cache=False).acall(QUESTION)
    assert [one["text"] if isinstance(one, dict) else one for one in said] == [REPLIES["big"]]
    assert asked(p) == ["big"]


def test_dspy_asks_what_a_router_can_do(router: Router, p: LoopbackProvider) -> None:
    dspy = pytest.importorskip("dspy")
    with install(Router("able", models=["openai/gpt-4o", "anthropic/claude-haiku-4-5"])):
        lm = dspy.LM("router/able", cache=False)
        assert lm.supports_function_calling is True
        assert lm.supports_response_schema is True
        assert {"tools", "response_format"} <= set(lm.supported_params)


# --------------------------------------------------------------------------- openai-agents


@pytest.fixture
def agents() -> Any:
    agents = pytest.importorskip("agents")
    agents.set_tracing_disabled(True)
    return agents


async def test_openai_agents_litellm_model(agents: Any, router: Router, p: LoopbackProvider) -> None:
    from agents.extensions.models.litellm_model import LitellmModel

    agent = agents.Agent(name="a", instructions="Be brief.", model=LitellmModel(model="router/support"))
    with install(router):
        run = await agents.Runner.run(agent, QUESTION)
    assert run.final_output == REPLIES["big"]
    assert asked(p) == ["big"]


async def test_openai_agents_streamed_with_a_tool(agents: Any, router: Router, p: LoopbackProvider) -> None:
    from agents.extensions.models.litellm_model import LitellmModel

    calls: list[str] = []

    @agents.function_tool
    def moons(planet: str) -> str:
        """Counts moons."""
        calls.append(planet)
        p.model("big", "two it is")
        return "2"

    p.model("big", tool_calls=[{"name": "moons", "arguments": {"planet": "Mars"}}])
    agent = agents.Agent(name="a", model=LitellmModel(model="router@q:1"), tools=[moons])
    with install(router):
        run = agents.Runner.run_streamed(agent, QUESTION)
        async for _ in run.stream_events():
            pass
    assert run.final_output == "two it is"
    assert calls == ["Mars"]
    assert asked(p) == ["big", "big"]
