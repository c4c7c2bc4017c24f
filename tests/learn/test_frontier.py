"""The frontier: strings that parse and do live what they did here, settings that nothing beats, ends that are kept."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from router_plugin import Deployment, Router
from router_plugin.decide.decision import Situation, decide
from router_plugin.decide.pool import select
from router_plugin.decide.request import read_request
from router_plugin.errors import SpecError
from router_plugin.learn import fit
from router_plugin.learn.frontier.canvas import place_labels
from router_plugin.learn.frontier.curve import Frontier, frontier
from router_plugin.learn.frontier.sweep import efficient, spread
from router_plugin.snapshot import Score, Scores, Snapshot
from router_plugin.spec.policy import DEFAULT_POLICY, with_tag
from router_plugin.spec.strings import RouterTag, parse_router_string

MODELS = ("tiny", "middle", "large")
PRICES = {"tiny": (0.1, 0.4), "middle": (0.8, 2.4), "large": (3.0, 15.0)}
TTFT = {"tiny": 180.0, "middle": 650.0, "large": 400.0}
ITL = {"tiny": 6.0, "middle": 11.0, "large": 25.0}


def judged(count: int = 120, seed: int = 3) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Prompts of which large answers most and tiny the easy ones, with predictions that know a little of it."""
    rng = np.random.default_rng(seed)
    ease = rng.random(count)
    skill = np.array([0.1, 0.3, 0.6])
    chance = np.clip(ease[:, None] + skill - 0.15, 0.02, 0.98)
    scores = (rng.random((count, 3)) < chance).astype(float)
    rows = [
        {
            "id": f"p/{at}",
            "prompt": f"question {at} " + "word " * int(rng.integers(1, 60)),
            "scores": dict(zip(MODELS, map(float, scores[at]), strict=True)),
            "output_tokens": {name: int(rng.integers(20, 400)) for name in MODELS},
        }
        for at in range(count)
    ]
    return rows, np.clip(chance + rng.normal(0, 0.05, chance.shape), 0, 1)


def made(**more: Any) -> Frontier:
    rows, predicted = judged()
    return frontier(rows, predicted, models=MODELS, prices=PRICES, **more)


def router_of(scorer: Any = None) -> Router:
    deployments = [
        Deployment(f"lab/{name}", name=name, input_cost_per_token=i / 1e6, output_cost_per_token=o / 1e6)
        for name, (i, o) in PRICES.items()
    ]
    return Router("r", deployments, scorer=scorer)


class Known:
    """A scorer that knows the prediction of every prompt."""

    def __init__(self, rows: list[dict[str, Any]], predicted: np.ndarray) -> None:
        self.found = {row["prompt"]: values for row, values in zip(rows, predicted, strict=True)}

    def score(self, request: Any, models: Sequence[str]) -> list[float]:
        return [float(value) for value in self.found[request.messages[-1]["content"]]]


def test_every_string_is_canonical() -> None:
    for one in made(ttft_ms=TTFT, itl_ms=ITL).settings:
        assert str(parse_router_string(one.string)) == one.string
        assert one.string.startswith("router@")


def test_a_name_can_be_addressed() -> None:
    assert all(one.string.startswith("router/support@") for one in made(router="support").settings)


def test_a_string_makes_a_live_router_choose_what_was_measured() -> None:
    rows, predicted = judged()
    found, router = made(), router_of(Known(rows, predicted))
    for one in found.settings:
        chosen = [router.route(prompt=row["prompt"], model=one.string).deployment for row in rows]
        assert {name: chosen.count(name) / len(rows) for name in set(chosen)} == pytest.approx(one.mix)
        quality = np.mean([row["scores"][name] for row, name in zip(rows, chosen, strict=True)])
        assert one.quality == pytest.approx(quality)


def test_a_willingness_to_pay_makes_a_live_router_choose_what_was_measured() -> None:
    rows, predicted = judged()
    router = router_of(Known(rows, predicted))
    for one in made().pay:
        keyword, _, value = one.string.partition("=")
        chosen = [router.route(prompt=row["prompt"], **{keyword: float(value)}).deployment for row in rows]
        assert {name: chosen.count(name) / len(rows) for name in set(chosen)} == pytest.approx(one.mix)


def test_with_times_the_decision_is_the_same_too() -> None:
    rows, predicted = judged()
    candidates, snapshot = router_of().candidates(), Snapshot(ttft_ms=TTFT, itl_ms=ITL)
    found = made(ttft_ms=TTFT, itl_ms=ITL).settings
    assert any("t:" in one.string for one in found)
    assert any("i:" in one.string for one in found)
    for one in found:
        (tag,) = parse_router_string(one.string).tags
        assert isinstance(tag, RouterTag)
        policy, chosen = with_tag(DEFAULT_POLICY, tag), []
        for row, values in zip(rows, predicted, strict=True):
            request = read_request({"messages": [{"role": "user", "content": row["prompt"]}]})
            scores = Scores.of([Score(float(value)) for value in values])
            at = Situation(policy, request, snapshot, lambda *_: 0, scores=scores)
            chosen.append(decide(select(candidates, policy), at).ranking[0][-1][0].name)
        assert {name: chosen.count(name) / len(rows) for name in set(chosen)} == pytest.approx(one.mix)
        assert one.ttft_ms == pytest.approx(np.mean([TTFT[name] for name in chosen]))
        assert one.itl_ms == pytest.approx(np.mean([ITL[name] for name in chosen]))


def test_no_setting_beats_another() -> None:
    for found in (made(), made(ttft_ms=TTFT, itl_ms=ITL)):
        for a, b in itertools.permutations(found.settings, 2):
            no_worse = a.quality >= b.quality and a.cost_usd <= b.cost_usd
            if a.ttft_ms is not None and b.ttft_ms is not None and a.itl_ms is not None and b.itl_ms is not None:
                no_worse = no_worse and a.ttft_ms <= b.ttft_ms and a.itl_ms <= b.itl_ms
            assert not no_worse, (a, b)


def test_the_ends_are_kept_however_few_points_are_asked_for() -> None:
    many, few = made(points=200, ttft_ms=TTFT, itl_ms=ITL).settings, made(points=2, ttft_ms=TTFT, itl_ms=ITL).settings
    assert len(few) <= 6 < len(many)
    assert max(s.quality for s in few) == max(s.quality for s in many)
    for measure in ("cost_usd", "ttft_ms", "itl_ms"):
        assert min(getattr(s, measure) for s in few) == min(getattr(s, measure) for s in many)


def test_it_is_worth_more_than_mixing_at_random_and_less_than_the_oracle() -> None:
    rows, predicted = judged(1500)
    found = frontier(rows, predicted, models=MODELS, prices=PRICES)
    middle = found.best(max_cost_usd=(found.singles[0].cost_usd + found.singles[2].cost_usd) / 2)
    costs, qualities = [p.cost_usd for p in found.random_mix], [p.quality for p in found.random_mix]
    assert middle.quality > float(np.interp(middle.cost_usd, costs, qualities)) + 0.02
    assert middle.quality < found.oracle.quality


def test_intervals_hold_the_mean_and_shrink_with_more_prompts() -> None:
    few, many = made(), frontier(*judged(2000), models=MODELS, prices=PRICES)
    for one in (*few.settings, *few.singles, *few.pay):
        assert 0 <= one.low <= one.quality <= one.high <= 1
    width = [np.mean([one.high - one.low for one in found.singles]) for found in (few, many)]
    assert width[1] < 0.5 * width[0]


def test_equal_prompts_are_drawn_together() -> None:
    rows, predicted = judged()
    doubled = frontier([*rows, *rows], np.vstack([predicted, predicted]), models=MODELS, prices=PRICES)
    for one, twice in zip(made().singles, doubled.singles, strict=True):
        assert one.high - one.low == pytest.approx(twice.high - twice.low, rel=1e-9)


def test_the_same_seed_gives_the_same_frontier() -> None:
    assert json.dumps(made().model_dump()) == json.dumps(made().model_dump())
    other = made(seed=1)
    assert [s.string for s in other.settings] == [s.string for s in made().settings]
    assert [s.low for s in other.settings] != [s.low for s in made().settings]


def test_best_obeys_the_cap_and_the_floor() -> None:
    found = made()
    cheap, dear = found.settings[0], found.settings[-1]
    assert found.best().quality == max(one.quality for one in found.settings)
    assert found.best(max_cost_usd=cheap.cost_usd) == cheap
    assert found.best(min_quality=0.0) == cheap
    assert found.best(min_quality=dear.quality) == dear
    with pytest.raises(SpecError, match="cheapest setting, router@"):
        found.best(max_cost_usd=cheap.cost_usd / 2)
    with pytest.raises(SpecError, match="reaches"):
        found.best(max_cost_usd=cheap.cost_usd, min_quality=1.0)


def test_declared_qualities_choose_one_model_a_setting() -> None:
    rows, _ = judged()
    for declared in ({"tiny": 0.4, "middle": 0.6, "large": 0.9}, None):
        found = frontier(rows, declared, prices=PRICES)
        assert {model for one in found.settings for model in one.mix} <= set(MODELS)
        assert all(list(one.mix.values()) == [1.0] for one in found.settings)
        assert len(found.settings) >= 2


def test_a_predictor_brings_its_columns_in_its_own_order() -> None:
    rows, predicted = judged()

    class Predictor:
        models = ("large", "tiny", "middle")

        def predict(self, prompts: Sequence[str]) -> Any:
            order = [MODELS.index(name) for name in self.models]
            quality = predicted[:, order]
            return type("Prediction", (), {"quality": quality, "output_tokens": np.full_like(quality, 300.0)})

    by_array = {one.string: one.quality for one in made(points=200).settings}
    by_predictor = {one.string: one.quality for one in frontier(rows, Predictor(), prices=PRICES, points=200).settings}
    assert by_predictor == by_array


def test_a_fitted_predictor_behind_a_live_router_does_what_was_measured() -> None:
    rows, predictor = toy.judged(60, seed=1), fit(toy.judged(160))
    prices = dict(zip(toy.MODELS, PRICES.values(), strict=True))
    deployments = [
        Deployment(f"lab/{name}", name=name, input_cost_per_token=i / 1e6, output_cost_per_token=o / 1e6)
        for name, (i, o) in prices.items()
    ]
    found, router = frontier(rows, predictor, prices=prices), Router("r", deployments, scorer=predictor)
    assert len(found.settings) > 2
    for one in found.settings:
        chosen = [router.route(prompt=row["prompt"], model=one.string).deployment for row in rows]
        assert {name: chosen.count(name) / len(rows) for name in set(chosen)} == pytest.approx(one.mix)


def lived(router: Router, rows: list[dict[str, Any]], string: str) -> dict[str, float]:
    chosen = [router.route(prompt=row["prompt"], model=string).deployment for row in rows]
    return {str(name): chosen.count(name) / len(rows) for name in set(chosen)}


@pytest.mark.parametrize("kind", ["guessed", "declared", "foundation", "scorer", "fitted", "joined", "corrected"])
def test_whatever_a_router_believes_by_its_strings_do_what_was_measured(kind: str) -> None:
    rows, predicted = judged()
    router = router_of({"scorer": Known(rows, predicted), "foundation": "foundation"}.get(kind))
    if kind == "declared":
        told = zip(router.spec.deployments, (0.3, 0.6, 0.9), strict=True)
        router.update(models=[d.model_copy(update={"quality": quality}) for d, quality in told])
    elif kind in ("fitted", "joined", "corrected"):
        known = MODELS[:2] if kind == "joined" else MODELS
        router.fit([{**row, "scores": {name: row["scores"][name] for name in known}} for row in rows])
    if kind == "corrected":
        router._home.posterior.learn("lab/large", 0.9, 0.1)
    found = router.frontier(rows)
    if kind != "joined":  # two judged models are told apart by length, if hardly, where nothing else tells
        assert any(len(one.mix) > 1 for one in found.settings) == (kind in ("guessed", "foundation", "scorer"))
    for one in found.settings:
        assert lived(router, rows, one.string) == pytest.approx(one.mix)


def test_strings_name_the_models_where_the_router_has_others_that_nobody_measured() -> None:
    rows, predicted = judged()
    router = router_of(Known(rows, predicted))
    for row in rows:
        del row["scores"]["large"]
    for one in router.frontier(rows).settings:
        assert one.string.endswith("models:tiny,middle")
        assert lived(router, rows, one.string) == pytest.approx(one.mix)
    assert router.frontier(rows, models=["tiny"]).settings[0].string == "router/r@q:1|models:tiny"


def test_models_without_a_deployment_or_a_price_are_told(caplog: pytest.LogCaptureFixture) -> None:
    rows, _ = judged()
    router_of().frontier([{**row, "scores": {**row["scores"], "stranger": 1.0}} for row in rows])
    assert "frontier: goes without 'stranger': no deployment of router 'r', or unpriced" in caplog.text
    with pytest.raises(SpecError, match=r"tell \('stranger'\) none is a deployment of router 'r' whose price is known"):
        router_of().frontier([{"prompt": "x", "scores": {"stranger": 1.0}}])


@pytest.mark.parametrize("bound", [float("nan"), "cheap", "", -1.0, float("inf")])
@pytest.mark.parametrize("name", ["max_cost_usd", "min_quality"])
def test_a_bound_that_is_no_number_is_refused_and_bounds(name: str, bound: Any) -> None:
    with pytest.raises(SpecError, match=f"{name}: "):
        made().best(**{name: bound})


def test_prompts_may_be_messages() -> None:
    rows, predicted = judged()
    talks = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in rows]
    assert frontier(talks, predicted, models=MODELS, prices=PRICES) == made()


def test_recorded_costs_go_before_tokens_times_prices() -> None:
    rows, _ = judged(10)
    for row in rows:
        row["cost_usd"] = {"tiny": 0.25}
    found = frontier(rows, None, prices=PRICES)
    assert found.singles[0].cost_usd == pytest.approx(0.25)
    tokens = np.mean([row["output_tokens"]["large"] for row in rows])
    assert found.singles[2].cost_usd > tokens * 15 / 1e6


def test_times_of_the_rows_count_where_every_model_has_some() -> None:
    rows, _ = judged(10)
    rows[0]["ttft_ms"] = dict(TTFT)
    assert frontier(rows, None, prices=PRICES).singles[0].ttft_ms == TTFT["tiny"]
    del rows[0]["ttft_ms"]["large"]
    assert frontier(rows, None, prices=PRICES).singles[0].ttft_ms is None


def test_one_model_is_one_setting() -> None:
    rows = [{"prompt": "a", "scores": {"only": 1.0}}]
    found = frontier(rows, prices={"only": (1, 2)})
    assert [one.string for one in found.settings] == ["router@q:1"]
    assert found.settings[0].mix == {"only": 1.0}
    assert found.random_mix == found.hull


def test_equal_scores_leave_the_cheapest_alone() -> None:
    rows = [{"prompt": f"p{at}", "scores": dict.fromkeys(MODELS, 0.5)} for at in range(20)]
    (one,) = frontier(rows, prices=PRICES).settings
    assert one.mix == {"tiny": 1.0}
    assert one.low == one.high == 0.5


def test_free_models_are_drawn_and_swept() -> None:
    rows, predicted = judged()
    found = frontier(rows, predicted, models=MODELS, prices={**PRICES, "tiny": (0, 0)})
    assert found.settings[0].cost_usd == 0.0
    assert len(found.settings) > 3


def test_rows_without_a_score_of_every_model_are_left_out_and_counted() -> None:
    rows, predicted = judged()
    del rows[0]["scores"]["large"]
    rows[1]["scores"]["tiny"] = float("nan")
    found = frontier(rows, predicted, models=MODELS, prices=PRICES)
    assert (found.prompts, found.left_out) == (len(rows) - 2, 2)


def bad(change: Any) -> Any:
    rows = judged(5)[0]
    change(rows)
    return rows


@pytest.mark.parametrize(
    ("rows", "keywords", "message"),
    [
        ([], {}, "rows: there are none"),
        (judged(5)[0], {"prices": None}, "USD per million tokens.*missing: 'tiny', 'middle', 'large'"),
        (judged(5)[0], {"prices": {**PRICES, "large": (1,)}}, "two numbers"),
        (judged(5)[0], {"prices": {"tiny": (1, 1), "middle": (1, 1)}}, "missing: 'large'"),
        (judged(5)[0], {"ttft_ms": {"tiny": 1.0}}, "ttft_ms: .*'middle' is missing"),
        (judged(5)[0], {"itl_ms": {**ITL, "tiny": -1.0}}, "itl_ms of 'tiny'"),
        (judged(5)[0], {"qualities": {"tiny": 0.1}}, "quality of 'middle' is missing"),
        (judged(5)[0], {"qualities": np.zeros((5, 3))}, "needs models="),
        (judged(5)[0], {"qualities": np.zeros((4, 3)), "models": MODELS}, r"\(5, 3\), got \(4, 3\)"),
        (judged(5)[0], {"qualities": np.full((5, 3), np.nan), "models": MODELS}, "between 0 and 1"),
        (judged(5)[0], {"models": ["midle"]}, "did you mean 'middle'"),
        (judged(5)[0], {"points": 1}, "points"),
        (bad(lambda rows: rows[2].pop("prompt")), {}, r"rows\[2\].prompt"),
        (bad(lambda rows: rows[2].pop("scores")), {}, r"rows\[2\]: must be a mapping"),
        (bad(lambda rows: rows[2]["scores"].update(tiny=7)), {}, r"rows\[2\].scores\['tiny'\]"),
        (bad(lambda rows: [row["scores"].pop("tiny") for row in rows[1:]]) or [], {"models": ["none"]}, "no row has"),
    ],
)
def test_what_is_wrong_is_named(rows: Any, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        frontier(rows, keywords.pop("qualities", None), **{"prices": PRICES, **keywords})


def test_a_model_that_never_answered_is_named() -> None:
    rows = judged(6)[0]
    for at, row in enumerate(rows):
        row["scores"].pop("tiny" if at else "large")
    with pytest.raises(SpecError, match="'tiny' has the fewest"):
        frontier(rows, prices=PRICES)


values = st.lists(st.tuples(*[st.integers(0, 6).map(float)] * 3), min_size=1, max_size=30).map(np.array)


@given(values)
def test_what_is_efficient_is_beaten_by_nothing_and_beats_or_equals_all_else(points: np.ndarray) -> None:
    kept = efficient(points)
    for at, row in enumerate(points):
        beaten = ((points <= row).all(axis=1) & (points < row).any(axis=1)).any()
        twin = any((points[other] == row).all() for other in kept)
        assert (at in kept) <= (not beaten)
        assert beaten or twin


@given(values, st.integers(1, 12))
def test_spreading_keeps_the_best_of_every_column_and_no_more_than_asked(points: np.ndarray, count: int) -> None:
    kept = spread(points, count)
    assert len(set(kept)) == len(kept) <= max(count, points.shape[1])
    assert (points[kept].min(axis=0) == points.min(axis=0)).all()


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 900), st.floats(0, 600)), min_size=1, max_size=12))
def test_labels_do_not_lie_on_each_other(anchors: list[tuple[float, float]]) -> None:
    boxes = place_labels(anchors, [(80.0, 12.0)] * len(anchors), [], (-100.0, -100.0, 1000.0, 700.0))
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] + 1e-6 or b[2] <= a[0] + 1e-6 or a[3] <= b[1] + 1e-6 or b[3] <= a[1] + 1e-6
