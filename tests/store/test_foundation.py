"""Without anything trained, weights tell easy prompts from hard ones; what is declared is taken at its word."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router_plugin import Client, Deployment, Router, RouteResult, Score, SpecError, online
from router_plugin.learn.serving import foundation as shipped
from router_plugin.testing import FakeClock, ScriptedProvider

EASY = "Translate 'good morning' into Spanish."
HARD = (
    "Let G be a finite group whose order is divisible by p^2. How many subgroups of order p has G? (A) 0 (B) 1 modulo "
    "p (C) p modulo 2 (D) none of these"
)
DIAL = "router@q:1|c:0.0175"  # between what the dear one adds where it is easy, and where it is hard
PRICES = {"weak": 1e-7, "strong": 4e-6}


def deployment(name: str, quality: float | None = None, **more: Any) -> Deployment:
    price = PRICES[name]
    given = {"input_cost_per_token": price, "output_cost_per_token": 4 * price, **more}
    return Deployment(f"openai/{name}", name=name, quality=quality, **given)


def made(weak: float | None = None, strong: float | None = None, **options: Any) -> Router:
    clock = FakeClock()
    models = [deployment("weak", weak), deployment("strong", strong)]
    return Router("r", options.pop("models", models), clock=clock, provider=ScriptedProvider(clock), **options)


def asked(text: str, model: str | None = DIAL, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **({} if model is None else {"model": model}), **more}


@pytest.fixture
def anew() -> Iterator[None]:
    """The foundation is read anew, before and after."""
    for cached in (online.foundation, shipped.foundation):
        cached.cache_clear()
    yield
    for cached in (online.foundation, shipped.foundation):
        cached.cache_clear()


def test_a_string_sends_easy_prompts_to_the_cheap_one_and_hard_ones_to_the_dear() -> None:
    router = made()
    assert [router.route(asked(text)).deployment for text in (EASY, HARD)] == ["weak", "strong"]
    weights = {"weights": {"q": 1, "c": 0.0175}}
    assert [router.route(asked(t, None, routing=weights)).deployment for t in (EASY, HARD)] == ["weak", "strong"]
    of_its_own = made(weights={"q": 1, "c": 0.0175})
    assert [of_its_own.route(asked(text, None)).deployment for text in (EASY, HARD)] == ["weak", "strong"]


def test_a_live_call_its_record_and_its_explanation_say_what_route_says_and_mark_the_guess() -> None:
    router = made()
    for text in (EASY, HARD):
        decided, response = router.route(asked(text)), router.completion(**asked(text))
        result = RouteResult.of(response)
        assert result is not None
        assert (result.ranking, result.qualities) == (decided.ranking, decided.qualities)
        assert sorted(result.guessed) == sorted(result.model_dump()["guessed"]) == ["strong", "weak"]
        assert "± 0.200" in router.explain(response)
        assert "guessed for models that nobody judged" in router.explain(response)
        assert sorted(router.list_requests()[0]["guessed"]) == ["strong", "weak"]


def test_declared_qualities_are_taken_at_their_word() -> None:
    router = made(0.6, 0.8)
    for text in (EASY, HARD):
        result = router.route(asked(text))
        assert (result.qualities, result.guessed) == ({"strong": 0.8, "weak": 0.6}, [])
        assert result.scores["weak"] == pytest.approx(0.6 - 0.0175 * 0.175)


def test_one_that_is_not_declared_among_those_in_question_is_enough() -> None:
    router = made(None, 0.8)
    assert len(router.route(asked(EASY)).guessed) == 2
    only = router.route(asked(EASY, DIAL + "|models:strong"))
    assert (only.qualities, only.guessed) == ({"strong": 0.8}, [])


def test_without_a_weight_on_quality_nothing_is_asked() -> None:
    router = made()
    for request in (
        asked(EASY, None),
        asked(EASY, "router@c:1"),
        asked(EASY, None, willingness_to_pay=0.01),
        asked(EASY, None, max_cost=0.1),
        asked(EASY, "router@models:weak"),
    ):
        result = router.route(request)
        assert (result.guessed, result.quality_bands) == ([], {})


def test_what_was_trained_or_given_is_asked_instead() -> None:
    class Says:
        def score(self, request: Any, models: Any) -> list[Score]:
            return [Score(0.5) for _ in models]

    result = made(scorer=Says()).route(asked(HARD))
    assert (result.qualities, result.guessed) == ({"weak": 0.5, "strong": 0.5}, [])


def test_it_is_switched_off_by_name(tmp_path: Path) -> None:
    router = made(scorer="declared")
    priced = router.route(asked(HARD))
    assert priced.qualities == router.route(asked(EASY)).qualities
    assert priced.guessed == []
    assert any("guessed from the price" in note for note in priced.notes)
    router.update(description="a version later")
    assert router.route(asked(HARD)).guessed == []
    router.scorer = None
    assert router.route(asked(HARD)).guessed
    file = tmp_path / "router.json"
    file.write_text('{"name": "f", "models": ["openai/gpt-4o", "openai/gpt-4o-mini"]}')
    assert Router.from_file(file, scorer="declared").route(asked(HARD)).guessed == []
    assert Router.from_file(file).route(asked(HARD)).guessed
    assert Router.from_file(file, scorer="foundation").route(asked(HARD, None)).guessed


@pytest.mark.parametrize("scorer", [False, 7, "foundaton", [], object()])
def test_a_scorer_that_is_none_is_an_error_that_says_what_would_be_right(scorer: Any) -> None:
    with pytest.raises(SpecError, match="scorer: must be 'foundation', 'declared'"):
        made(scorer=scorer)
    with pytest.raises(SpecError, match="scorer: must be"):
        made().scorer = scorer


def test_a_guess_is_no_ground_to_leave_a_model_out() -> None:
    router = made(None, 0.8)
    result = router.route(asked(HARD, DIAL + "|q>0.75"))
    assert sorted(result.ranking) == ["strong", "weak"], "nobody has measured the weak one, the strong one is declared"
    assert router.route(asked(HARD, DIAL + "|q>0.75", routing={"unknown": "exclude"})).ranking == ["strong"]
    assert router.route(asked(EASY, DIAL + "|q>0.85")).ranking == ["weak"], "what is declared binds"


def test_models_that_only_the_call_names_are_guessed_too() -> None:
    result = Router("any", models="any").route(asked(HARD, DIAL + "|models:gpt-4o,gpt-4o-mini"))
    assert sorted(result.guessed) == ["gpt-4o", "gpt-4o-mini"]
    listed = Router("one", models=["openai/gpt-4o"], rules=[{"name": "x", "targets": [DIAL]}])
    assert listed.route(asked(HARD, None)).guessed == ["openai/gpt-4o"]


def test_feedback_corrects_it() -> None:
    router = made()
    before = router.route(asked(HARD)).qualities["strong"]
    for _ in range(20):
        result = RouteResult.of(router.completion(**asked(HARD, DIAL + "|models:strong")))
        assert result is not None
        router.feedback(result.request_id, 0.1)
    assert router.route(asked(HARD)).qualities["strong"] < before - 0.2


def test_exploring_draws_around_a_guess() -> None:
    router = made(explore_usd=100, seed=1)
    assert {router.route(asked(HARD)).deployment for _ in range(60)} == {"weak", "strong"}


# --------------------------------------------------------------------------- replay


@pytest.mark.parametrize("logged", [True, False])
@pytest.mark.parametrize("scorer", [None, "foundation", "declared"])
def test_replay_decides_as_the_live_calls_did(logged: bool, scorer: Any) -> None:
    router = made(weights={"q": 1, "c": 0.0175}, log_content=logged, scorer=scorer)
    for text in (EASY, HARD):
        router.completion(**asked(text, None))
    found = router.replay()
    assert (found.decided, found.changed, found.reproduced) == (2, 0, 1.0)
    cheaper = router.replay(spec={"weights": {"q": 1, "c": 1}})
    assert {(move.from_model, move.to_model) for move in cheaper.moves} <= {("openai/strong", "openai/weak")}


def test_without_the_prompt_a_guess_that_would_be_another_one_is_not_made_up() -> None:
    plain = made()
    plain.completion(**asked(HARD, None))
    found = plain.replay(spec={"weights": {"q": 1, "c": 0.0175}})
    assert found.undecidable == 1, "nothing was guessed then: the price alone has spoken"
    router = made(weights={"q": 1, "c": 0.0175})
    router.completion(**asked(HARD, None))
    other = {"models": [deployment("weak", 0.7), deployment("strong")], "weights": {"q": 1, "c": 0.0175}}
    assert router.replay(spec=other).undecidable == 1, "the weak one is another one now"
    assert router.replay(spec={"weights": None}).decided == 1, "best quality asks for no guess"


# --------------------------------------------------------------------------- where it is not to be had


@pytest.mark.usefixtures("anew")
def test_damaged_files_are_said_once_and_cost_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(shipped._SHIPPED, tmp_path / "shipped")
    weights = next((tmp_path / "shipped").glob("*.npz"))
    weights.write_bytes(weights.read_bytes()[:1000] + b"\0" * 1000)
    monkeypatch.setattr(shipped, "_SHIPPED", tmp_path / "shipped")
    for router in (made(), made(weights={"q": 1, "c": 0.01})):
        for _ in range(3):
            result = router.route(asked(HARD))
            assert result.guessed == []
            assert any("guessed from the price" in note for note in result.notes)
    assert caplog.text.count("foundation") == 1


@pytest.mark.usefixtures("anew")
def test_without_numpy_the_price_speaks_and_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'numpy'")

    monkeypatch.setattr(online, "import_module", missing)
    result = made().route(asked(HARD))
    assert (result.guessed, caplog.text) == ([], "")
    assert any("guessed from the price" in note for note in result.notes)


def test_it_is_read_where_weights_are_the_routers_own_or_first_asked_for_and_not_else() -> None:
    code = (
        "import sys; from router_plugin import Deployment, Router\n"
        "said = lambda: 'numpy' in sys.modules\n"
        "models = [Deployment(f'openai/{n}', input_cost_per_token=1e-6, output_cost_per_token=1e-6) for n in 'ab']\n"
        "router = Router('r', models)\n"
        "router.route({'prompt': 'hi'}); router.route({'prompt': 'hi', 'willingness_to_pay': 1})\n"
        "before = said()\n"
        "Router('w', models, weights={'q': 1})\n"
        "print(before, said())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "True"]


def test_routers_of_a_store_use_it_too(tmp_path: Path) -> None:
    client = Client(tmp_path / "routers.db")
    clock = FakeClock()
    models = [deployment("weak"), deployment("strong")]
    Router("saved", models, client=client, clock=clock, provider=ScriptedProvider(clock))
    again, name = Router("saved", client=client), "router/saved@q:1|c:0.0175"
    assert [again.route(asked(text, name)).deployment for text in (EASY, HARD)] == ["weak", "strong"]
