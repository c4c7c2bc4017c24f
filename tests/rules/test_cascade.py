"""CASCADE: the cheap one first, on to the next where its answer is not good enough; all is paid for and bounded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import litellm
import pytest
from cascading import HI, MODES, PRICE, ask, made

from router_plugin import Client, Deployment, Router, SpecError, checks, install
from router_plugin.testing import LoopbackProvider, Reply


def too_short(response: Any) -> bool:
    return len(response["choices"][0]["message"]["content"]) < 10


def cascade(**more: Any) -> dict[str, Any]:
    return {"name": "c", "strategy": "CASCADE", "targets": ["cheap", "dear"], "escalate_on": [too_short], **more}


@pytest.mark.parametrize("mode", MODES)
def test_a_good_answer_of_the_cheap_one_is_taken(mode: str) -> None:
    router, provider = made(cascade(), {"cheap": [Reply("long enough an answer")]})
    text, result = ask(router, mode)
    assert text == "long enough an answer"
    assert [name for name, _ in provider.calls] == ["cheap"]
    assert result.matched_rule.strategy == "CASCADE"


@pytest.mark.parametrize("mode", MODES)
def test_a_bad_answer_escalates_and_both_are_paid_for(mode: str) -> None:
    router, _ = made(cascade(), {"cheap": [Reply("no")], "dear": [Reply("a much better answer")]})
    text, result = ask(router, mode)
    assert text == "a much better answer"
    assert [(a.deployment, a.outcome) for a in result.attempts] == [("cheap", "failed"), ("dear", "answered")]
    assert all(attempt.cost_usd > 0 for attempt in result.attempts)
    assert router.budgets()[0]["settled_usd"] == pytest.approx(sum(a.cost_usd for a in result.attempts))


def test_both_costs_count_against_the_bound() -> None:
    """What the cheap one has cost is no longer there for the dear one: its answer is better than none."""
    cheap = Reply("no", input_tokens=40, output_tokens=400)
    router, provider = made(cascade(), {"cheap": [cheap], "dear": [Reply("a much better answer")]})
    text, result = ask(router, "sync", max_cost=0.0009, max_tokens=400)
    assert [name for name, _ in provider.calls] == ["cheap"]
    assert text == "no"
    assert result.cost_usd <= 0.0009


def test_the_last_ones_answer_is_taken_as_it_is() -> None:
    router, provider = made(cascade(), {"cheap": [Reply("no")], "dear": [Reply("nor I")]})
    assert ask(router, "sync")[0] == "nor I"
    assert len(provider.calls) == 2


@pytest.fixture
def p() -> Iterator[LoopbackProvider]:
    with LoopbackProvider() as provider:
        yield provider


@pytest.mark.parametrize(("probability", "served"), [(0.95, "cheap"), (0.4, "dear")])
def test_confidence_is_the_mean_probability_of_the_tokens(probability: float, served: str) -> None:
    seen: list[dict[str, Any]] = []
    models = [Deployment(f"openai/{n}", name=n, **PRICE) for n in ("cheap", "dear")]
    rule = {"name": "c", "strategy": "CASCADE", "targets": ["cheap", "dear"], "min_confidence": 0.7}
    router = Router("r", models=models, rules=[rule])

    @router.wrap
    def call(model: str, messages: Any, **kwargs: Any) -> Any:
        seen.append(kwargs)
        tokens = [{"token": "x", "logprob": math.log(probability)}] * 5
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": model},
            "finish_reason": "stop",
            "logprobs": {"content": tokens},
        }
        return {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 5}}

    assert call("router", HI)["choices"][0]["message"]["content"] == f"openai/{served}"
    assert all(kwargs["logprobs"] is True for kwargs in seen)


def test_an_answer_without_logprobs_is_not_sure(p: LoopbackProvider) -> None:
    for name in ("cheap", "dear"):
        p.model(name, f"from {name}")
    models = [
        Deployment(f"openai/{n}", name=n, api_base=p.openai_base, api_key="k", **PRICE) for n in ("cheap", "dear")
    ]
    rule = {"name": "c", "strategy": "CASCADE", "targets": ["cheap", "dear"], "min_confidence": 0.7}
    router = Router("r", models=models, rules=[rule])
    with install(router):
        assert litellm.completion(model="router", messages=HI).choices[0].message.content == "from dear"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"escalate_on": []}, "escalate_on"),
        ({"targets": ["cheap"]}, "at least two"),
        ({"escalate_on": [lambda error: True]}, "functions of the response"),
        ({"escalate_on": ["os:system"]}, "unknown condition"),
        ({"min_confidence": 2}, "min_confidence"),
        ({"strategy": "FALLBACK"}, "of a CASCADE"),
    ],
)
def test_cascades_that_are_none(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Router("r", models=["openai/cheap"], rules=[cascade(**change)])


def test_a_cascade_by_named_checks_is_stored(tmp_path: Any) -> None:
    rule = cascade(escalate_on=["router_plugin.checks:refusal", checks.empty_answer], min_confidence=0.5)
    client = Client(tmp_path)
    Router("r", models=["openai/cheap", "openai/dear"], rules=[rule], client=client)
    (back,) = Router("r", client=Client(tmp_path)).rules
    assert back.escalate_on == (checks.refusal, checks.empty_answer)
    assert back.min_confidence == 0.5
    with pytest.raises(SpecError, match="cannot be kept"):
        Router("s", models=["openai/cheap", "openai/dear"], rules=[cascade()], client=client)


@pytest.mark.parametrize("mode", MODES)
def test_a_judge_is_a_check(mode: str) -> None:
    from router_plugin import Contains

    router, _ = made(
        cascade(escalate_on=[Contains(text="better")]),
        {"cheap": [Reply("no")], "dear": [Reply("a much better answer")]},
    )
    text, result = ask(router, mode)
    assert text == "a much better answer"
    assert [attempt.deployment for attempt in result.attempts] == ["cheap", "dear"]


def test_a_function_as_a_judge_sees_what_was_asked() -> None:
    seen: list[Any] = []

    def judge(request: Any, answer: str) -> float:
        seen.append((request["messages"][0]["content"], answer))
        return 0.0 if answer == "no" else 1.0

    router, _ = made(
        cascade(escalate_on=[checks.judged(judge)]), {"cheap": [Reply("no")], "dear": [Reply("a much better answer")]}
    )
    assert ask(router, "sync")[0] == "a much better answer"
    assert seen == [("hello there", "no")]
