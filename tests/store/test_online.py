"""Feedback corrects predictions in O(1), a drift is said once, a damaged artefact costs no call."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from router_plugin import Client, Deployment, Router, RouteResult, Score, SpecError, TrainingError
from router_plugin.online import Posterior, load_predictor
from router_plugin.testing import FakeClock, Reply, ScriptedProvider

PRICE: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
HI = [{"role": "user", "content": "hello there"}]


class Fixed:
    """A predictor that says the same of every prompt."""

    def score(self, request: Any, models: Any) -> list[Score]:
        return [Score({"openai/a": 0.8, "openai/b": 0.7}[model], quality_std=0.05) for model in models]


def made(**options: Any) -> Router:
    clock = FakeClock()
    models = [Deployment(f"openai/{n}", name=n) for n in "ab"]
    return Router("r", models=models, clock=clock, provider=ScriptedProvider(clock), scorer=Fixed(), **options)


def test_bad_feedback_moves_traffic_to_the_other_model() -> None:
    router = made()
    served = []
    for _ in range(40):
        result = RouteResult.of(router.completion(messages=HI))
        assert result is not None
        served.append(result.deployment)
        router.feedback(result.request_id, 0.5 if result.deployment == "a" else 0.7)
    assert served[0] == "a"
    assert served[-1] == "b"
    drift = router.drift()
    assert drift["openai/a"]["mean_residual"] == pytest.approx(-0.3)
    assert abs(drift["openai/b"]["mean_residual"]) < 1e-9


def test_the_band_of_a_prediction_is_explained() -> None:
    router = made()
    assert "0.800 ± 0.050" in router.explain(router.completion(messages=HI))


def test_a_drift_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    posterior = Posterior()
    for number in range(90):
        posterior.learn("m", 0.8 + posterior._seen["m"].offset if number else 0.8, 0.5 + 0.01 * (number % 3))
    assert caplog.text.count("has drifted") == 1
    assert posterior.report()["m"]["drifted"]


def test_a_row_of_right_answers_is_no_drift() -> None:
    posterior = Posterior()
    for number in range(60):
        posterior.learn("m", 0.93 + (posterior._seen["m"].offset if number else 0), 1.0)
    assert not posterior.report()["m"]["drifted"]


def test_honest_feedback_is_no_drift(caplog: pytest.LogCaptureFixture) -> None:
    posterior = Posterior()
    for number in range(400):
        posterior.learn("m", 0.75 + (posterior._seen["m"].offset if number else 0), float(number % 4 != 0))
    assert "drifted" not in caplog.text
    assert abs(posterior.report()["m"]["mean_residual"]) < 0.01


def test_a_missing_artefact_is_warned_about_once_and_the_router_serves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(tmp_path)
    clock = FakeClock()
    router = Router(
        "r",
        models=["openai/a"],
        artefact="artefacts/gone",
        client=client,
        clock=clock,
        provider=ScriptedProvider(clock),
    )
    for _ in range(3):
        assert router.completion(messages=HI)
    assert caplog.text.count("goes on without its trained predictor") == 1


def test_an_artefact_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="below the store's folder"):
        load_predictor("../../etc", tmp_path / "store")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("../..", "must lie below the store's folder, got '../..'"),
        ("/etc", "must lie below the store's folder"),
        ("artefacts/../../x", "must lie below the store's folder"),
        (".", "must lie below the store's folder"),
        ("link", "must lie below the store's folder"),
        ("artefacts/gone", "there is none at 'artefacts/gone'; must be the path, relative to the store's folder"),
        ("x" * 5_000, "there is none at"),
        ("a\0b", "must be the path of an artefact"),
        (7, "artefact"),
    ],
)
def test_an_artefact_that_cannot_be_is_refused_when_it_is_named(tmp_path: Path, path: Any, words: str) -> None:
    home = tmp_path / "store"
    router = Router("r", ["openai/a"], client=Client(home))
    (home / "link").symlink_to(tmp_path)
    with pytest.raises(SpecError, match=re.escape(words)):
        router.update(artefact=path)
    with pytest.raises(SpecError):
        router._client.routers.update_router("r", {"artefact": path})  # type: ignore[union-attr]
    assert router.version == 1
    alone = Router("r", ["openai/a"])
    with pytest.raises(SpecError, match="artefact"):
        alone.update(artefact=path)
    assert alone.version == 1


def test_an_artefact_that_is_there_is_taken_and_its_damage_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from router_plugin.learn import fit

    rows = [{"prompt": f"question {n}", "scores": {"openai/a": n % 2, "openai/b": 1 - n % 2}} for n in range(20)]
    clock = FakeClock()
    models = ["openai/a", "openai/b"]
    router = Router("r", models, client=Client(tmp_path), clock=clock, provider=ScriptedProvider(clock))
    fit(rows).save(tmp_path / "mine")
    router.update(artefact="mine")
    assert router._active().predictor is not None
    for file in (tmp_path / "mine").iterdir():
        file.write_bytes(b"damaged")
    router.update(description="the path stays, whatever has become of it")
    router.update(artefact="mine")
    assert router.completion(messages=HI)
    assert "goes on without its trained predictor" in caplog.text
    router.update(artefact="foundation")
    assert router.route({"prompt": "hi"}).guessed
    router.update(artefact=None)
    assert router._active().predictor is None
    fit(rows).save(tmp_path / "elsewhere" / "mine")
    alone = Router("s", models)
    alone.update(artefact=str(tmp_path / "elsewhere" / "mine"))
    assert alone._active().predictor is not None


class Unsure:
    """The second is believed to be worse, but nobody is sure."""

    def score(self, request: Any, models: Any) -> list[Score]:
        return [Score({"openai/a": 0.70, "openai/b": 0.66}[model], quality_std=0.05) for model in models]


def exploring(**options: Any) -> Router:
    clock = FakeClock()
    prices = {"a": 1e-6, "b": 3e-6}
    models = [
        Deployment(f"openai/{n}", name=n, input_cost_per_token=p, output_cost_per_token=p) for n, p in prices.items()
    ]
    provider = ScriptedProvider(clock)
    return Router("r", models=models, clock=clock, provider=provider, scorer=Unsure(), seed=3, **options)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_scorer_may_be_the_path_of_what_was_saved(tmp_path: Path, kind: Any) -> None:
    rows = [{"prompt": f"q{number}", "scores": {"openai/a": 0.0, "openai/b": 1.0}} for number in range(3)]
    made().fit(rows).save(tmp_path / "p")
    models = ["openai/a", "openai/b"]
    assert Router("r", models=models, scorer=kind(tmp_path / "p")).route({"prompt": "x"}).model == "openai/b"


def test_what_is_uncertain_is_tried_in_proportion_to_its_chance_of_being_the_best() -> None:
    router = exploring(explore_usd=10)
    results = [router.route({"prompt": "x"}) for _ in range(600)]
    share = sum(result.deployment == "b" for result in results) / 600
    assert share == pytest.approx(0.286, abs=0.05), "P(N(.66, .05) > N(.70, .05))"
    told = [result.propensity for result in results if result.deployment == "b"]
    assert sum(told) / len(told) == pytest.approx(0.286, abs=0.05)
    assert {result.deployment for result in [exploring().route({"prompt": "x"}) for _ in range(20)]} == {"a"}


def test_exploring_ends_with_its_money() -> None:
    router = exploring(explore_usd=0.001)
    tried = sum(router.route({"prompt": "x"}).deployment == "b" for _ in range(600))
    extra = 500 * 2e-6  # USD, about what b costs beyond a for one expected answer
    assert 0 < tried <= 0.001 / extra + 1
    router.clock.advance(86_400)  # type: ignore[attr-defined]
    assert any(router.route({"prompt": "x"}).deployment == "b" for _ in range(50)), "another day"


def test_what_exploring_really_costs_counts_and_not_what_was_expected() -> None:
    router = exploring(explore_usd=0.01)
    router.provider.script("b", [Reply("long", 10, 5_000)])  # type: ignore[attr-defined]  # $0.015, $0.0009 expected
    served = [RouteResult.of(router.completion(messages=HI)) for _ in range(60)]
    assert [result.deployment for result in served if result is not None].count("b") == 1
    router.clock.advance(86_400)  # type: ignore[attr-defined]
    assert "b" in {router.route({"messages": HI}).deployment for _ in range(50)}, "another day"


def test_a_conversation_keeps_its_draw() -> None:
    router = exploring(explore_usd=10)
    for number in range(12):
        asked = {"prompt": "x", "routing": {"session": f"s{number}"}}
        assert len({router.route(asked).deployment for _ in range(5)}) == 1


def test_models_of_the_outcomes_that_the_router_does_not_have_are_named(caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"prompt": f"q{number}", "scores": {"a": 1.0, "openai/stranger": 0.0}} for number in range(3)]
    made().fit(rows)
    assert "router 'r' has no deployment of 'openai/stranger', of which the outcomes tell" in caplog.text
    assert "'a'" not in caplog.text


def test_a_new_model_joins_with_what_a_judge_says_of_it() -> None:
    from router_plugin import ExactMatch

    clock = FakeClock()
    provider = ScriptedProvider(clock, {"c": [Reply("right")]})
    models = [Deployment(f"openai/{n}", name=n, quality=0.5, **PRICE) for n in "ab"]
    router = Router("r", models=models, clock=clock, provider=provider)
    requests = [{"prompt": f"q{number}", "ref_answer": "right"} for number in range(10)]
    found = router.add_model(Deployment("openai/c", name="c", **PRICE), requests, ExactMatch())
    assert found == pytest.approx((10 + 5 * router.candidates()[2].guess) / 15)
    assert (router.version, router.route({"prompt": "x"}).deployment) == (2, "c")
    with pytest.raises(SpecError, match="has 'c' already"):
        router.add_model("c")
    assert router.add_model("openai/d", quality=0.1) == 0.1
    assert router.add_model("openai/e") is None


def joined(**options: Any) -> Router:
    """``made()``, which has been trained on a and b, and the model c that joined later."""
    router = made(**options)
    router.add_model(Deployment("openai/c", name="c", **PRICE), quality=0.9)
    return router


class Knows(Fixed):
    """Was trained on a and b."""

    def score(self, request: Any, models: Any) -> Any:
        return [None if model not in ("openai/a", "openai/b") else super(Knows, self).score(request, [model])[0]
                for model in models]  # fmt: skip


def test_feedback_on_a_model_that_joined_later_moves_its_traffic() -> None:
    router = joined()
    router.scorer = Knows()
    first = router.route({"messages": HI})
    assert (first.deployment, first.quality_bands["c"], first.guessed) == ("c", 0.2, [])
    for _ in range(20):
        result = RouteResult.of(router.completion(messages=HI))
        assert result is not None
        router.feedback(result.request_id, 0.4 if result.deployment == "c" else 0.8)
    last = router.route({"messages": HI})
    assert last.deployment == "a"
    assert last.quality_bands["c"] < 0.2, "and it is known better"


def test_a_model_that_joined_later_is_explored() -> None:
    router = joined(explore_usd=10, seed=1)
    router.scorer = Knows()
    router.update(models=[*router.spec.deployments[:2], Deployment("openai/c", name="c", quality=0.7, **PRICE)])
    assert "c" in {router.route({"messages": HI}).deployment for _ in range(60)}


def test_a_model_that_joined_later_and_says_nothing_of_itself_is_a_guess_that_no_bound_reads() -> None:
    router = made()
    router.scorer = Knows()
    router.add_model(Deployment("openai/c", name="c", **PRICE))
    result = router.route({"messages": HI, "routing": {"min_quality": 0.75}})
    assert (sorted(result.ranking), result.guessed) == (["a", "c"], ["c"])


def test_where_nobody_is_predicted_what_is_declared_is_taken_at_its_word() -> None:
    router = joined()
    router.scorer = "declared"
    assert router.route({"messages": HI}).quality_bands == {}


def test_a_bound_on_quality_reads_no_guess_of_the_foundation_when_that_is_asked_by_name() -> None:
    router = made()
    router.scorer = "foundation"
    assert sorted(router.route({"messages": HI, "routing": {"min_quality": 0.99}}).ranking) == ["a", "b"]


def test_the_foundation_tells_easy_from_hard_for_models_that_nobody_judged() -> None:
    clock = FakeClock()
    prices = {"weak": (0.4, 1e-7), "strong": (0.8, 2e-6)}
    models = [
        Deployment(f"openai/{n}", name=n, quality=q, input_cost_per_token=p, output_cost_per_token=4 * p)
        for n, (q, p) in prices.items()
    ]
    router = Router("r", models=models, clock=clock, provider=ScriptedProvider(clock), scorer="foundation")
    easy = router.route({"prompt": "What is the capital of France?"})
    hard = router.route(
        {"prompt": "Let G be a finite group whose order is divisible by p^2. How many subgroups of order p has G? "
         "(A) 0 (B) 1 modulo p (C) p modulo 2 (D) none of these"}
    )  # fmt: skip
    assert easy.qualities["strong"] > easy.qualities["weak"]
    assert easy.qualities["weak"] != hard.qualities["weak"], "it reads the prompt"
    assert any("nobody judged" in note for note in easy.notes)
    assert router.route({"prompt": "hi", "model": "router@q:1|c:1000"}).deployment == "weak"


def test_a_judgement_that_is_sent_again_counts_once() -> None:
    router = made()
    result = RouteResult.of(router.completion(messages=HI))
    assert result is not None
    for _ in range(40):
        router.feedback(result.request_id, 0.0)
    assert router.drift()["openai/a"]["judged"] == 1
    router.feedback(result.request_id, 0.8)
    assert abs(router.drift()["openai/a"]["mean_residual"]) < 1e-9


@pytest.mark.parametrize("quality", [7, -1, True, "x", float("nan")])
def test_a_quality_that_is_none_adds_no_model(quality: Any) -> None:
    router = made()
    with pytest.raises(SpecError, match="quality"):
        router.add_model("openai/new", quality=quality)
    assert router.version == 1


def test_an_answer_that_fails_is_one_judgement_less_and_none_at_all_is_the_providers_error() -> None:
    from router_plugin import ExactMatch

    class Bad(Exception):
        status_code = 400

    requests = [{"prompt": f"q{number}", "ref_answer": "right"} for number in range(5)]
    router = made()
    router.provider.script("c", [Reply("right"), Bad("no"), Reply("right")])  # type: ignore[attr-defined]
    found = router.add_model(Deployment("openai/c", name="c", **PRICE), requests, ExactMatch())
    assert found == pytest.approx((4 + 5 * router.candidates()[2].guess) / 9)
    router.provider.script("d", [Bad("no")])  # type: ignore[attr-defined]
    with pytest.raises(Bad):
        router.add_model(Deployment("openai/d", name="d", **PRICE), requests, ExactMatch())
    assert router.version == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"judge": lambda request, answer: 1}, "requests: a judge needs some"),
        ({"judge": lambda request, answer: 1, "requests": ["x"], "quality": 0.5}, "one of the two"),
    ],
)
def test_what_would_be_ignored_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        made().add_model("openai/c", **given)


def test_a_judge_that_gives_no_score_adds_no_model() -> None:
    router = made()

    def broken(request: Any, answer: str) -> float:
        raise KeyError("judge")

    with pytest.raises(TrainingError, match="no score at all"):
        router.add_model(Deployment("openai/c", name="c", **PRICE), [{"prompt": "q"}], broken)
    assert router.version == 1


def test_judging_a_new_model_stays_within_its_budget() -> None:
    from router_plugin import BudgetExceededError, ExactMatch

    router = made()
    requests = [{"prompt": f"q{number}", "ref_answer": "right"} for number in range(10)]
    with pytest.raises(BudgetExceededError):
        router.add_model(Deployment("openai/c", name="c", **PRICE), requests, ExactMatch(), budget_usd=1e-9)
    assert router.version == 1


def test_a_judges_model_is_asked_where_the_router_says() -> None:
    from router_plugin import RubricJudgeSpec

    clock = FakeClock()
    provider = ScriptedProvider(clock, {"judge": [Reply('{"score": 10}')]})
    models = [Deployment(f"openai/{n}", name=n, api_base="http://127.0.0.1:1", **PRICE) for n in ("a", "judge")]
    router = Router("r", models=models, clock=clock, provider=provider)
    judge = RubricJudgeSpec(rubric="Rate it.", model="openai/judge", min_score=1, max_score=10)
    found = router.add_model(Deployment("openai/c", name="c", **PRICE), [{"prompt": "q"}], judge)
    assert found is not None
    assert [name for name, _ in provider.calls] == ["c", "judge"]


def test_a_stored_judge_of_the_routers_client_is_known_by_its_name(tmp_path: Path) -> None:
    from router_plugin import ResourceNotFoundError, RubricJudgeSpec

    client, clock = Client(tmp_path), FakeClock()
    provider = ScriptedProvider(clock, {"judge": [Reply('{"score": 10}')]})
    models = [Deployment(f"openai/{n}", name=n, api_base="http://127.0.0.1:1", **PRICE) for n in ("a", "judge")]
    router = Router("r", models, client=client, clock=clock, provider=provider)
    client.judges.create("good", RubricJudgeSpec(rubric="Rate it.", model="openai/judge", min_score=1, max_score=10))
    joining = Deployment("openai/c", name="c", api_base="http://127.0.0.1:2", **PRICE)
    found = router.add_model(joining, [{"prompt": "q"}], "good")
    assert found == pytest.approx((1 + 5 * router.candidates()[2].guess) / 6)
    assert [name for name, _ in provider.calls] == ["c", "judge"]
    with pytest.raises(ResourceNotFoundError, match=r"no judge 'god'.*did you mean 'good'"):
        router.add_model("openai/d", [{"prompt": "q"}], "god")
    with pytest.raises(SpecError, match="judge: 'good' can name a stored judge of a router of a client"):
        made().add_model("openai/d", [{"prompt": "q"}], "good")
    assert len(provider.calls) == 2
