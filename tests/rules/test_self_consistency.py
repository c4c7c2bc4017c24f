"""CASCADE by self-consistency: the cheap one is asked again, the majority answers, or the dear one does."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import litellm
import pytest
from cascading import HI, MODES, PRICE, ask, keeps_within, made, outcomes, rule, settled
from hypothesis import given, settings
from hypothesis import strategies as st

from router_plugin import Client, Deployment, Router, RouteResult, SpecError, checks, install
from router_plugin.testing import LoopbackProvider, Reply

BY_VOTE = rule(self_consistency={"samples": 3, "agree": 0.67})
BETTER = [Reply("a better answer: 42")]


def says(*texts: str) -> dict[str, Any]:
    return {"cheap": [Reply(text) for text in texts], "dear": BETTER}


@pytest.mark.parametrize("mode", MODES)
def test_two_that_agree_decide_it_and_no_third_is_asked(mode: str) -> None:
    router, provider = made(BY_VOTE, says("The answer is 4.", "So it is 4"))
    text, result = ask(router, mode)
    assert text == "The answer is 4."
    assert [name for name, _ in provider.calls] == ["cheap", "cheap"]
    assert outcomes(result) == [("cheap", "answered"), ("cheap", "sampled")]
    assert result.status == "answered"


@pytest.mark.parametrize("mode", MODES)
def test_the_majority_answers_though_it_was_not_the_first(mode: str) -> None:
    router, _ = made(BY_VOTE, says("4", "it is 5", "Answer: 5"))
    text, result = ask(router, mode)
    assert text == "it is 5"
    assert outcomes(result) == [("cheap", "sampled"), ("cheap", "answered"), ("cheap", "sampled")]
    assert result.deployment == "cheap"


@pytest.mark.parametrize("mode", MODES)
def test_no_majority_escalates_and_all_of_it_is_paid_for(mode: str) -> None:
    router, _ = made(BY_VOTE, says("4", "5", "6"))
    text, result = ask(router, mode)
    assert text == "a better answer: 42"
    assert outcomes(result) == [("cheap", "failed"), ("cheap", "sampled"), ("cheap", "sampled"), ("dear", "answered")]
    assert result.cost_usd == pytest.approx(4 * 20e-6)
    assert "self_consistent: 1 of 3 answers agree, 2 of 3 have to" in router.explain(result)
    assert router.stats()["cheap"]["cost_usd"] == pytest.approx(3 * 20e-6)


def test_samples_are_warm_and_of_other_seeds() -> None:
    """Where the call is cold or seeded, the same answer would come again; its own temperature stays."""
    router, provider = made(BY_VOTE, says("4", "5", "6"))
    ask(router, "sync", temperature=0, seed=7)
    assert [(kwargs["temperature"], kwargs["seed"]) for _, kwargs in provider.calls] == [(0, 7), (1, 8), (1, 9), (0, 7)]
    router, provider = made(BY_VOTE, says("4", "5", "6"))
    ask(router, "sync", temperature=0.3)
    assert {kwargs["temperature"] for _, kwargs in provider.calls} == {0.3}


@pytest.mark.parametrize("mode", MODES)
def test_a_sample_that_fails_agrees_with_none(mode: str) -> None:
    error: Exception = litellm.InternalServerError("broken", "openai", "cheap")
    router, _ = made(BY_VOTE, {"cheap": [Reply("4"), error, Reply("4")], "dear": BETTER})
    assert outcomes(ask(router, mode)[1]) == [("cheap", "answered"), ("cheap", "failed"), ("cheap", "sampled")]
    error = litellm.RateLimitError("busy", "openai", "cheap")
    router, provider = made(BY_VOTE, {"cheap": [Reply("4"), error], "dear": BETTER})
    assert ask(router, mode)[0] == "a better answer: 42"
    assert [name for name, _ in provider.calls] == ["cheap", "cheap", "dear"]  # a limited one is left alone


def test_the_majority_answer_has_to_pass_the_other_checks_too() -> None:
    def no_five(response: Any) -> str | None:
        return "five is unlucky" if "5" in response["choices"][0]["message"]["content"] else None

    router, _ = made(rule(self_consistency={}, escalate_on=[no_five]), says("4", "it is 5", "Answer: 5"))
    text, result = ask(router, "sync")
    assert text == "a better answer: 42"
    assert result.attempts[1].error == "unwanted_answer: no_five: five is unlucky"


def test_a_bad_answer_is_not_asked_for_again() -> None:
    """Free checks come first."""
    router, provider = made(rule(self_consistency={}, escalate_on=[checks.empty_answer]), says(""))
    ask(router, "sync")
    assert [name for name, _ in provider.calls] == ["cheap", "dear"]


def test_a_key_gives_the_form_and_two_votes_share_their_samples() -> None:
    def first_word(response: Any) -> str:
        return str(response["choices"][0]["message"]["content"].split()[0])

    vote = checks.self_consistent(3, 0.67, key=first_word)
    router, _ = made(rule(escalate_on=[vote]), says("yes, 4", "yes, 5"))
    assert ask(router, "sync")[0] == "yes, 4"
    router, provider = made(rule(escalate_on=[vote], self_consistency={}), says("yes, 4", "yes, 5", "no, 4"))
    assert ask(router, "sync")[0] == "yes, 4"
    assert len(provider.calls) == 3


def test_a_key_that_raises_is_the_callers_error_and_all_is_paid_for() -> None:
    asked: list[int] = []

    def key(response: Any) -> str:
        asked.append(1)
        if len(asked) > 1:
            raise KeyError("no such field")
        return "x"

    router, _ = made(rule(escalate_on=[checks.self_consistent(key=key)]), says("4", "5"))
    with pytest.raises(KeyError) as caught:
        router.completion(messages=HI)
    result = RouteResult.of(caught.value)
    assert result is not None
    assert outcomes(result) == [("cheap", "check raised"), ("cheap", "check raised")]
    settled(router, result)


def test_where_nobody_is_left_the_most_frequent_answer_is_better_than_none() -> None:
    """The dear one fails; of the cheap one's answers one is handed over, and its record says so."""
    script = {**says("4", "5", "6"), "dear": [litellm.AuthenticationError("x", "openai", "dear")]}
    for mode in MODES:
        router, _ = made(BY_VOTE, script)
        text, result = ask(router, mode)
        assert text == "4"
        assert result.status == "answered"
        assert router.list_requests()[0]["status"] == "answered"
        assert "taken, as nobody else answered" in router.explain(result)


@settings(max_examples=150, deadline=None)
@given(
    max_cost=st.floats(1e-5, 4e-3),
    cap=st.one_of(st.none(), st.integers(1, 600)),
    used=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 600)), min_size=4, max_size=4),
    dearer=st.sampled_from([0.5, 1.0, 3.0]),
    texts=st.lists(st.sampled_from("123"), min_size=3, max_size=3),
    budget=st.sampled_from([1.0, 0.001]),
    mode=st.sampled_from(MODES),
)
def test_samples_and_escalation_never_exceed_the_bound(
    max_cost: float, cap: int | None, used: Any, dearer: float, texts: list[str], budget: float, mode: str
) -> None:
    replies = [Reply(text, tokens_in, tokens_out) for text, (tokens_in, tokens_out) in zip(texts, used, strict=False)]
    script = {"cheap": replies, "dear": [Reply("9", *used[3])]}
    router, provider = made(BY_VOTE, script, budget=budget, dearer=dearer)
    keeps_within(router, provider, mode, max_cost, cap, budget)


def test_no_sample_is_paid_for_where_no_escalation_could_follow() -> None:
    """The bound leaves room for another sample, and then for nothing else: the answer is taken."""
    router, provider = made(BY_VOTE, says("4", "5", "6"), dearer=10)
    text, result = ask(router, "sync", max_cost=0.0008, max_tokens=300)
    assert (text, len(provider.calls)) == ("4", 1)
    assert result.attempts[0].outcome == "answered"


def test_what_the_next_one_needs_is_set_aside_before_samples_are_asked() -> None:
    """Two samples and the dear one do not fit in together: one is asked, and the dear one."""
    cheap = 40e-6 + 300 * 2e-6
    router, provider = made(BY_VOTE, {"cheap": [Reply("4", 40, 300), Reply("5", 40, 300)], "dear": BETTER})
    text, result = ask(router, "sync", max_cost=3.2 * cheap, max_tokens=300)
    assert [name for name, _ in provider.calls] == ["cheap", "cheap", "dear"]
    assert text == "a better answer: 42"
    assert "no further one could be asked" in str(result.attempts[0].error)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"self_consistency": {"samples": 1}}, "samples: must be a whole number from 2 to 16, not 1"),
        ({"self_consistency": {"samples": 2.5}}, "samples: must be a whole number"),
        ({"self_consistency": {"samples": True}}, "samples: must be a whole number"),
        ({"self_consistency": {"agree": 0}}, "agree: must be a number above 0"),
        ({"self_consistency": {"agree": "most"}}, "agree: must be a number above 0"),
        ({"self_consistency": {"sample": 3}}, "did you mean 'samples'"),
        ({"self_consistency": 3}, "self_consistency"),
        ({"self_consistency": {}, "strategy": "FALLBACK"}, "self_consistency are of a CASCADE.*FALLBACK"),
    ],
)
def test_votes_that_are_none(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Router("r", models=["openai/cheap", "openai/dear"], rules=[rule(**change)])


@pytest.mark.parametrize("given", [{"samples": 0}, {"agree": 1.1}, {"key": "last"}])
def test_checks_that_are_none(given: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=f"self_consistent: {next(iter(given))}: must be"):
        checks.self_consistent(**given)


def test_the_share_counts_to_two_decimals() -> None:
    needed = {
        (n, a): checks.self_consistent(n, a).needed for n, a in [(3, 0.67), (3, 0.66), (5, 0.6), (4, 1), (16, 0.01)]
    }
    assert needed == {(3, 0.67): 2, (3, 0.66): 2, (5, 0.6): 3, (4, 1): 4, (16, 0.01): 1}


@pytest.mark.parametrize("samples", range(2, 6))
def test_an_early_end_never_changes_the_vote(samples: int) -> None:
    """Over all votes of up to five: where it is decided, the rest cannot change who is chosen, or whether."""
    for share in (0.3, 0.5, 0.67, 1.0):
        vote = checks.self_consistent(samples, share)
        for forms in itertools.product((None, "a", "b", "c"), repeat=samples):
            chosen, why = vote.vote(forms)
            for asked in range(1, samples):
                if vote.decided(forms[:asked]):
                    early, why_early = vote.vote(forms[:asked])
                    assert (why is None) == (why_early is None)
                    assert why is not None or forms[chosen] == forms[early]


def test_a_cascade_by_vote_is_stored_and_compared(tmp_path: Any) -> None:
    client, models = Client(tmp_path), ["openai/cheap", "openai/dear"]
    router = Router("r", models=models, rules=[BY_VOTE], client=client)
    (back,) = Router("r", client=Client(tmp_path)).rules
    assert back == router.rules[0]
    assert back.self_consistency is not None
    assert (back.self_consistency.samples, back.self_consistency.agree) == (3, 0.67)
    router.update(rules=[rule(self_consistency={"samples": 5})])
    assert router.diff(1, 2) == "~ rules[c].self_consistency.samples: 3 -> 5"
    assert "self_consistency" in router.export(format="yaml")
    with pytest.raises(SpecError, match="cannot be kept"):
        Router("s", models=models, rules=[rule(escalate_on=[checks.self_consistent()])], client=client)


def test_samples_do_not_come_from_litellms_cache() -> None:
    """An answer that is asked for again and comes from a cache would agree with itself."""
    from litellm.caching.caching import Cache

    words = iter(["4", "5", "6"])
    with LoopbackProvider() as p:
        p.model("cheap", lambda body: next(words))
        p.model("dear", "from dear")
        models = [
            Deployment(f"openai/{n}", name=n, api_base=p.openai_base, api_key="k", **PRICE) for n in ("cheap", "dear")
        ]
        router = Router("r", models=models, rules=[BY_VOTE])
        litellm.cache = Cache(type="local")
        try:
            answer = router.completion(messages=HI)
        finally:
            litellm.cache = None
        assert answer.choices[0].message.content == "from dear"
        assert p.calls("cheap") == 3


def test_over_http_samples_are_real_requests_of_the_same_deployment() -> None:
    """Streamed in the event loop, and with tools: names and arguments are compared."""
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    words = iter(["so it is 4", "5", "Answer: 4"])
    with LoopbackProvider() as p:
        p.model("cheap", lambda body: next(words))
        p.model("caller", tool_calls=[{"name": "weather", "arguments": {"city": "Bern"}}])
        models = [
            Deployment(f"openai/{n}", name=n, api_base=p.openai_base, api_key="k", **PRICE)
            for n in ("cheap", "caller", "dear")
        ]
        with_tools = rule(
            name="t", priority=1, targets=["caller", "dear"], conditions=[{"field": "tools", "operator": "exists"}]
        )
        router = Router("r", models=models, rules=[BY_VOTE, {**with_tools, "self_consistency": {}}])

        async def main() -> tuple[str, Any]:
            stream = await litellm.acompletion(model="router", messages=HI, stream=True, temperature=0)
            text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
            return text, await litellm.acompletion(model="router", messages=HI, tools=tools)

        with install(router):
            text, answer = asyncio.run(main())
        assert text == "so it is 4"
        result = RouteResult.of(answer)
        assert result is not None
        assert answer.choices[0].message.tool_calls[0].function.name == "weather"
        assert outcomes(result) == [("caller", "answered"), ("caller", "sampled")]
        assert [seen.body.get("temperature") for seen in p.requests] == [0, 1.0, 1.0, None, None]
