"""CASCADE by a judge: priced, within the bound and the budgets, where the router says, and off the event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import litellm
import pytest
from cascading import HI, MODES, PRICE, ask, keeps_within, made, obey_caps, outcomes, rule
from hypothesis import given, settings
from hypothesis import strategies as st

from router_plugin import (
    Budget,
    Client,
    Contains,
    Deployment,
    Pairwise,
    Router,
    RouterError,
    RouteResult,
    RubricJudgeSpec,
    SpecError,
    checks,
    install,
)
from router_plugin.learn.judges import Judgement, repeat
from router_plugin.testing import FakeClock, LoopbackProvider, Reply, ScriptedProvider

GRADER = Deployment("openai/grader", name="grader", quality=0.1, **PRICE)
RUBRIC = RubricJudgeSpec(rubric="Rate it.", model="openai/grader", min_score=0, max_score=10)
JUDGED = rule(escalate_on=[RUBRIC])
BETTER = [Reply("a better answer")]


def scored(*scores: float) -> list[Reply]:
    return [Reply(f'{{"reason": "so", "score": {score}}}', 200, 20) for score in scores]


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_the_judge_wants_is_taken_and_judging_it_is_paid_for(mode: str) -> None:
    router, _ = made(JUDGED, {"cheap": [Reply("good")], "grader": scored(9)}, GRADER)
    text, result = ask(router, mode)
    assert text == "good"
    assert outcomes(result) == [("cheap", "answered"), ("grader", "judged")]
    assert result.cost_usd == pytest.approx(20e-6 + 200e-6 + 40e-6)
    assert result.deployment == "cheap"
    assert result.status == "answered"


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_below_the_least_escalates_and_the_record_says_why(mode: str) -> None:
    router, _ = made(JUDGED, {"cheap": [Reply("bad")], "grader": scored(2), "dear": BETTER}, GRADER)
    text, result = ask(router, mode)
    assert text == "a better answer"
    assert outcomes(result) == [("cheap", "failed"), ("grader", "judged"), ("dear", "answered")]
    assert "judged(RubricJudgeSpec): 0.20 is below 0.5" in router.explain(result)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("says", "why"),
    [
        (Reply("excellent!", 200, 20), "the judge's answer holds no score"),
        (Reply('{"score": 99}', 200, 20), "99 is not on the scale 0 to 10"),
        (litellm.AuthenticationError("x", "openai", "grader"), "the judge could not be asked (credential)"),
    ],
)
def test_a_judge_without_a_score_escalates_and_the_answer_is_kept_where_nobody_is_left(
    mode: str, says: Any, why: str
) -> None:
    router, _ = made(JUDGED, {"cheap": [Reply("good")], "grader": [says], "dear": BETTER}, GRADER)
    text, result = ask(router, mode)
    assert text == "a better answer"
    assert f"no score, {why}" in router.explain(result)
    gone = litellm.AuthenticationError("x", "openai", "dear")
    router, _ = made(JUDGED, {"cheap": [Reply("good")], "grader": [says], "dear": [gone]}, GRADER)
    text, result = ask(router, mode)
    assert text == "good"
    assert "taken, as nobody else answered" in router.explain(result)


def test_what_a_judge_quotes_is_not_in_the_record() -> None:
    def judge(request: Any, answer: str) -> float:
        raise ValueError(f"cannot read {answer}")

    router, _ = made(rule(escalate_on=[checks.judged(judge)]), {"cheap": [Reply("secret words")], "dear": BETTER})
    text, result = ask(router, "sync")
    assert text == "a better answer"
    assert "secret" not in str(router.get_request(result.request_id))


@pytest.mark.parametrize("score", [None, float("nan"), "high"])
def test_nonsense_of_an_object_that_judges_is_no_score(score: Any) -> None:
    class Odd:
        def judge(self, request: Any, answer: str, ref_answer: Any = None) -> Any:
            return Judgement(score)

    router, _ = made(rule(escalate_on=[Odd()]), {"cheap": [Reply("good")], "dear": BETTER})
    text, result = ask(router, "sync")
    assert text == "a better answer"
    assert "judged(Odd): no score" in str(result.attempts[0].error)


@pytest.mark.parametrize("mode", MODES)
def test_a_judge_that_asks_by_itself_is_counted_by_what_it_says(mode: str) -> None:
    class Own:
        def judge(self, request: Any, answer: str, ref_answer: Any = None) -> Judgement:
            return Judgement(1.0, cost_usd=0.002)

    router, _ = made(rule(escalate_on=[Own()]), {"cheap": [Reply("good")], "dear": BETTER})
    result = ask(router, mode)[1]
    assert outcomes(result) == [("cheap", "answered"), ("Own", "judged")]
    assert result.cost_usd == pytest.approx(0.00202)


@pytest.mark.parametrize("mode", MODES)
def test_what_the_judge_has_cost_is_no_longer_there_for_the_dear_one(mode: str) -> None:
    """The bound holds the cheap answer, the judge's worst case or the dear answer, and not both of these."""
    script = {"cheap": [Reply("bad")], "grader": scored(2), "dear": BETTER}
    router, provider = made(JUDGED, script, GRADER)
    obey_caps(provider)
    text, result = ask(router, mode, max_cost=0.0009, max_tokens=400)
    assert result.cost_usd <= 0.0009
    assert [name for name, _ in provider.calls] == ["cheap", "dear"]  # unjudged, and so not vouched for
    assert text == "a better answer"
    assert "no score, the judge could not be asked" in router.explain(result)


def test_a_judge_may_say_less_where_the_bound_leaves_less() -> None:
    router, provider = made(JUDGED, {"cheap": [Reply("good")], "grader": scored(9)}, GRADER)
    ask(router, "sync", max_cost=0.003, max_tokens=50)
    ((_, kwargs),) = [call for call in provider.calls if call[0] == "grader"]
    assert 256 <= kwargs["output_cap"] < 2_048
    router, provider = made(JUDGED, {"cheap": [Reply("good")], "grader": scored(9)}, GRADER)
    ask(router, "sync")
    assert provider.calls[1][1]["max_tokens"] == 2_048


def test_a_judge_is_not_paid_for_where_no_escalation_could_follow() -> None:
    router, _ = made(JUDGED, {"cheap": [Reply("good")]}, GRADER, dearer=20)
    text, result = ask(router, "sync", max_cost=0.004, max_tokens=300)
    assert (text, outcomes(result)) == ("good", [("cheap", "answered")])


@settings(max_examples=150, deadline=None)
@given(
    max_cost=st.floats(1e-5, 1e-2),
    cap=st.one_of(st.none(), st.integers(1, 600)),
    used=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 600)), min_size=2, max_size=2),
    score=st.sampled_from([1, 9]),
    times=st.integers(1, 3),
    dearer=st.sampled_from([0.5, 3.0]),
    budget=st.sampled_from([1.0, 0.004]),
    vote=st.booleans(),
    mode=st.sampled_from(MODES),
)
def test_judging_never_exceeds_the_bound_or_the_budget(
    max_cost: float, cap: int | None, used: Any, score: int, times: int, dearer: float, budget: float, vote: bool,
    mode: str,
) -> None:  # fmt: skip
    script = {"cheap": [Reply("4", *used[0])], "grader": scored(score), "dear": [Reply("5", *used[1])]}
    both = rule(escalate_on=[repeat(RUBRIC, times)], **({"self_consistency": {}} if vote else {}))
    router, provider = made(both, script, GRADER, budget=budget, dearer=dearer)
    keeps_within(router, provider, mode, max_cost, cap, budget)


def test_a_judge_counts_in_the_budget_of_the_one_who_asked() -> None:
    script = {"cheap": [Reply("good")], "grader": scored(9)}
    router, _ = made(JUDGED, script, GRADER)
    router.update(budgets=[Budget(1, key="user", name="each")])
    router.completion(messages=HI, user="ann")
    assert [(b["key"], round(b["settled_usd"], 9)) for b in router.budgets()] == [("ann", 0.00026)]


def test_a_budget_that_has_nothing_left_for_judging_escalates() -> None:
    script = {"cheap": [Reply("good")], "grader": scored(9), "dear": BETTER}
    router, provider = made(JUDGED, script, GRADER, budget=0.0006)
    text, _ = ask(router, "sync", max_tokens=100)
    assert text == "a better answer"
    assert [name for name, _ in provider.calls] == ["cheap", "dear"]


def test_comparing_with_a_reference_asks_in_both_orders_and_repeating_asks_as_often() -> None:
    """A judge with no reference answer gives no score; several askings are several attempts."""
    router, _ = made(rule(escalate_on=[repeat(RUBRIC, 3)]), {"cheap": [Reply("good")], "grader": scored(9)}, GRADER)
    assert outcomes(ask(router, "sync")[1]) == [("cheap", "answered")] + [("grader", "judged")] * 3
    pairwise = Pairwise(model="openai/grader")
    router, _ = made(rule(escalate_on=[pairwise]), {"cheap": [Reply("good")], "dear": BETTER}, GRADER)
    text, result = ask(router, "sync")
    assert text == "a better answer"
    assert "no reference answer to compare with" in router.explain(result)


def test_free_checks_come_before_the_judge() -> None:
    router, provider = made(rule(escalate_on=[RUBRIC, checks.empty_answer]), {"cheap": [Reply("")]}, GRADER)
    ask(router, "sync")
    assert "grader" not in [name for name, _ in provider.calls]


def test_the_judges_model_is_asked_where_the_router_says() -> None:
    """Over HTTP: its deployment has an address and a key of its own, and is named by its name."""
    with LoopbackProvider() as p, LoopbackProvider() as elsewhere:
        p.model("cheap", "bad")
        p.model("dear", "from dear")
        elsewhere.model("strict", '{"reason": "poor", "score": 1}')
        models = [
            *(
                Deployment(f"openai/{n}", name=n, api_base=p.openai_base, api_key="k", **PRICE)
                for n in ("cheap", "dear")
            ),
            Deployment("openai/strict", name="my-judge", api_base=elsewhere.openai_base, api_key="k-judge", **PRICE),
        ]
        by_name = RubricJudgeSpec(rubric="Rate it.", model="my-judge", min_score=0, max_score=10)
        router = Router("r", models=models, rules=[rule(escalate_on=[by_name])], budgets=[Budget(1)])

        async def main() -> Any:
            return await litellm.acompletion(model="router", messages=HI)

        with install(router):
            for answer in (litellm.completion(model="router", messages=HI), asyncio.run(main())):
                assert answer.choices[0].message.content == "from dear"
                result = RouteResult.of(answer)
                assert result is not None
                assert outcomes(result) == [("cheap", "failed"), ("my-judge", "judged"), ("dear", "answered")]
        assert elsewhere.calls("strict") == 2
        assert elsewhere.requests[0].headers["authorization"] == "Bearer k-judge"
        assert p.calls("strict") == 0


async def test_a_slow_judge_does_not_stop_the_event_loop() -> None:
    """The judge ends only once the loop has gone round a hundred times meanwhile."""
    ticks, enough = 0, threading.Event()
    seen: list[str] = []

    def judge(request: Any, answer: str) -> float:
        seen.append(threading.current_thread().name)
        return float(enough.wait(10))

    async def heartbeat() -> None:
        nonlocal ticks
        while ticks < 100:
            await asyncio.sleep(0)
            ticks += bool(seen)
        enough.set()

    router, _ = made(rule(escalate_on=[checks.judged(judge)]), {"cheap": [Reply("good")], "dear": BETTER})
    beating = asyncio.create_task(heartbeat())
    answer = await router.acompletion(messages=HI)
    await beating
    assert answer["choices"][0]["message"]["content"] == "good"
    assert seen != [threading.main_thread().name]


async def test_a_call_that_is_cancelled_while_its_judge_thinks_is_paid_for_and_holds_nothing() -> None:
    thinking, over = threading.Event(), threading.Event()

    def judge(request: Any, answer: str) -> float:
        thinking.set()
        return float(over.wait(10))

    router, _ = made(rule(escalate_on=[checks.judged(judge)]), {"cheap": [Reply("good")], "dear": BETTER})
    call = asyncio.create_task(router.acompletion(messages=HI))
    while not thinking.is_set():
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await call
    over.set()
    result = RouteResult.of(caught.value)
    assert result is not None
    assert outcomes(result) == [("cheap", "cancelled")]
    assert (router.budgets()[0]["reserved_usd"], router.budgets()[0]["settled_usd"]) == (0, pytest.approx(20e-6))


def test_a_judges_request_is_cut_when_its_call_is_cancelled() -> None:
    """Over HTTP: the judge would take a minute; the loop ends at once."""
    with LoopbackProvider() as p:
        p.model("cheap", "good")
        p.model("grader", "late", ttft_s=60.0)
        models = [
            Deployment(f"openai/{n}", name=n, api_base=p.openai_base, api_key="k", **PRICE)
            for n in ("cheap", "dear", "grader")
        ]
        router = Router("r", models=models, rules=[JUDGED], budgets=[Budget(1)])

        async def main() -> None:
            call = asyncio.create_task(router.acompletion(messages=HI))
            while not p.calls("grader"):
                await asyncio.sleep(0.001)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

        asyncio.run(main())
        assert router.budgets()[0]["reserved_usd"] == 0


def test_judges_are_for_any_routed_call_not_only_for_cascades() -> None:
    """In ``fallback_on`` too they are priced and asked where the router says."""
    script = {"cheap": [Reply("good")], "dear": [Reply("bad")], "grader": scored(1, 9)}
    router, _ = made(rule(strategy="FALLBACK"), script, GRADER, fallback_on=[RUBRIC])
    text, result = ask(router, "async")
    assert text == "bad"
    assert outcomes(result) == [("cheap", "failed"), ("grader", "judged"), ("dear", "answered")]


def test_judges_by_their_documents_are_stored(tmp_path: Any) -> None:
    client = Client(tmp_path)
    documents = [{"judge": RUBRIC.document(), "least": 0.7}, Contains(text="x").document()]
    router = Router("r", models=["openai/cheap", "openai/dear"], rules=[rule(escalate_on=documents)], client=client)
    (back,) = Router("r", client=Client(tmp_path)).rules
    assert [(one.by, one.least) for one in back.escalate_on] == [(RUBRIC, 0.7), (Contains(text="x"), 0.5)]
    router.update(rules=[rule(escalate_on=[checks.judged(RUBRIC, 0.9), Contains(text="x")])])
    assert router.diff(1, 2) == "~ rules[c].escalate_on[0].least: 0.7 -> 0.9"


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        ({"model_type": "rubrik"}, "model_type: unknown kind 'rubrik'"),
        ({"judge": RUBRIC.document(), "at_least": 0.7}, "judge: unknown field 'at_least'"),
        ({"judge": RUBRIC.document(), "least": 7}, "least: must be a number between 0 and 1, not 7"),
        ({"least": 0.7}, "judge: must be a judge's spec"),
    ],
)
def test_judges_that_are_none(judge: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Router("r", models=["openai/cheap", "openai/dear"], rules=[rule(escalate_on=[judge])])


def test_a_stored_judge_is_one(tmp_path: Any) -> None:
    stored = Client(tmp_path).judges.create("quality", RUBRIC)
    router, _ = made(rule(escalate_on=[stored, checks.judged(stored, 0.9)]), {})
    told = [checks.judge_document(one) for one in router.rules[0].escalate_on]
    assert told == [{"judge": RUBRIC.document(), "least": least} for least in (0.5, 0.9)]


@pytest.mark.parametrize("none", [None, 5, "quality"])
def test_what_is_no_judge_is_refused_before_any_call(none: Any) -> None:
    with pytest.raises(SpecError, match="judged: give a judge's spec, a stored judge, or a function"):
        checks.judged(none)


def test_a_function_that_does_not_say_that_it_reads_the_response_is_told_how() -> None:
    with pytest.raises(SpecError, match=r"escalate_on: .* parameter is called 'response', .*checks\.on_response"):
        made(rule(escalate_on=[lambda r: True]), {})


def test_what_a_check_asks_of_litellm_itself_is_never_routed() -> None:
    seen: list[str] = []

    def by_hand(response: Any, kwargs: Any) -> bool:
        try:
            litellm.completion(model="router", messages=[{"role": "user", "content": "Is it right?"}])
        except RouterError as error:
            seen.append(str(error))
        return False

    def judge(request: Any, answer: str) -> float:
        by_hand(None, None)
        return 1.0

    clock = FakeClock()
    router = Router("r", ["openai/a", "openai/b"], provider=ScriptedProvider(clock), clock=clock,
                    fallback_on=[checks.on_response(by_hand), checks.judged(judge)])  # fmt: skip
    with install(router):
        router.completion(messages=[{"role": "user", "content": "hi"}])
        assert litellm.completion(model="router", messages=[{"role": "user", "content": "hi"}]) is not None
    assert len(seen) == 4
    assert all("never routed again" in text for text in seen)
