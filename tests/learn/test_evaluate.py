"""The metrics: on cases whose figures are known by hand, and on what cannot be measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from toy import judged

from router_plugin.errors import SpecError, TrainingError
from router_plugin.learn import evaluate
from router_plugin.learn.frontier.curve import frontier
from router_plugin.learn.measure.mixes import area, cost_at, hull
from router_plugin.learn.measure.pairs import apgr, cpt, recovered
from router_plugin.learn.serving.foundation import Foundation, fit_foundation, foundation

PRICES = {"strong": (10.0, 10.0), "weak": (1.0, 1.0)}


def pair(n: int = 100) -> list[dict[str, Any]]:
    """The strong model is right on everything, the weak one on the first half."""
    return [
        {
            "prompt": f"prompt {i}",
            "scores": {"strong": 1.0, "weak": float(i < n / 2)},
            "input_tokens": 10,
            "output_tokens": {"strong": 90, "weak": 90},
        }
        for i in range(n)
    ]


def test_a_perfect_order_of_two_models() -> None:
    rows = pair()
    found = evaluate({"strong": np.ones(100), "weak": np.arange(100) < 50}, rows, PRICES)
    assert (found.accuracy, found.best, found.oracle) == (1.0, 1.0, 1.0)
    assert found.cpt50 == pytest.approx(0.25)
    assert found.cpt80 == pytest.approx(0.40)
    assert found.apgr == pytest.approx(0.75)  # a straight rise to 1 at half the calls, and 1 from there
    assert found.cost_save == pytest.approx(1 - (1e-3 * 0.5 + 1e-4 * 0.5) / 1e-3)
    assert found.cost_range == pytest.approx((1e-4, 1e-3))
    assert found.aiq == pytest.approx(found.aiq_oracle)
    assert found.aiq_norm == pytest.approx(1.0)
    assert found.ece == 0.0
    assert found.at_cost_of == pytest.approx({"strong": 1.0, "weak": 0.5})


def test_a_score_that_knows_nothing_is_worth_a_random_mix() -> None:
    draw = np.random.default_rng(0)
    found = evaluate(draw.random((2_000, 2)), pair(2_000))
    assert found.apgr == pytest.approx(0.5, abs=0.03)
    low, high = found.intervals["apgr"]
    assert low < 0.5 < high
    assert math.isnan(found.aiq)


def test_means_alone_are_the_zero_router() -> None:
    found = evaluate(np.tile([1.0, 0.5], (100, 1)), pair(), PRICES)
    assert found.aiq_norm == pytest.approx(0.0, abs=1e-9)
    assert found.perf_gain == 0.0
    assert found.cost_save == pytest.approx(0.0, abs=1e-9)


def test_hulls_are_concave_and_never_fall() -> None:
    corners = hull(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.2, 0.3, 0.8, 0.7]))
    assert corners[0].tolist() == [1.0, 3.0]
    assert area(corners, 1.0, 4.0) == pytest.approx((0.5 * 2 + 0.8) / 3)
    assert cost_at(corners, 0.5) == pytest.approx(2.0)
    assert cost_at(corners, 0.9) == math.inf


def test_curves_of_two_equal_models_are_not_a_number() -> None:
    curve = recovered(np.arange(4.0), np.ones(4), np.ones(4))
    assert math.isnan(apgr(curve))
    assert math.isnan(cpt(curve, 0.5))


def by_hand() -> list[dict[str, Any]]:
    truth = ((1, 0), (1, 1), (1, 0), (0, 0))
    costs = {"cost_usd": {"s": 4.0, "w": 1.0}}
    return [{"prompt": f"p{i}", "scores": {"s": s, "w": w}, **costs} for i, (s, w) in enumerate(truth)]


def test_four_prompts_are_as_a_pencil_has_them() -> None:
    told = {"s": [0.9, 0.5, 0.8, 0.1], "w": [0.1, 0.5, 0.1, 0.1]}
    found = evaluate(told, by_hand())
    assert (found.apgr, found.cpt50, found.cpt80) == (0.75, 0.25, 0.5)
    assert found.ece == pytest.approx((0.9 + 0.8) / 4 / 2)
    assert (found.aiq_zero, found.aiq, found.aiq_oracle, found.aiq_norm) == pytest.approx((0.5, 0.625, 0.625, 1.0))
    assert found.cost_save == pytest.approx(1 - 2.5 / 4)
    # A sample of the bootstrap in which both models are alike has no gap: the interval is that of the others.
    assert 0.5 <= found.intervals["apgr"][0] <= found.intervals["apgr"][1] <= 1.0


def test_a_score_that_is_no_share_of_right_answers_ranks_all_the_same() -> None:
    found = evaluate({"s": [5.0, 0.0, 4.0, -3.0], "w": [-1.0] * 4}, by_hand())
    assert (found.apgr, found.cpt50) == (0.75, 0.25)


def test_of_what_is_free_nothing_is_saved() -> None:
    rows = [{**row, "cost_usd": {"s": 0.0, "w": 0.0}} for row in by_hand()]
    assert math.isnan(evaluate(np.ones((4, 2)), rows).cost_save)


@pytest.mark.parametrize("number", [np.int64, np.float32, str, float])
def test_tokens_of_a_data_frame_are_numbers(number: Any) -> None:
    rows = [{**row, "input_tokens": number(row["input_tokens"])} for row in pair()]
    assert evaluate(np.ones((100, 2)), rows, PRICES).cost_range == pytest.approx((1e-4, 1e-3))
    rows[3]["input_tokens"] = "many"
    with pytest.raises(SpecError, match=r"rows\[3\]\.input_tokens: must lie in"):
        evaluate(np.ones((100, 2)), rows, PRICES)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seed": -1}, "seed: must be a whole number of at least 0"),
        ({"seed": "x"}, "seed"),
        ({"resamples": 0}, "resamples: must be a whole number of at least 1"),
        ({"resamples": 1.5}, "resamples"),
        ({"rows": None}, "rows: must be a list of dicts"),
        ({"rows": "abc"}, "rows"),
    ],
)
def test_what_evaluation_cannot_use_is_named(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        evaluate(np.ones((100, 2)), **{"rows": pair(), **wrong})


def test_the_same_seed_gives_the_same_intervals() -> None:
    told = np.random.default_rng(1).random((100, 2))
    assert evaluate(told, pair(), PRICES, seed=3).intervals == evaluate(told, pair(), PRICES, seed=3).intervals


def test_output_tokens_are_compared_with_the_mean() -> None:
    from router_plugin.learn import fit

    found = evaluate(fit(judged()), judged(seed=1))
    assert found.token_error < 0.3 < found.token_error_of_mean


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (np.ones((3, 2)), SpecError),
        (np.full((100, 2), math.nan), SpecError),
        ({}, SpecError),
        ({"strong": [1.0]}, SpecError),
        ({"strong": [1.0] * 100, "weak": [1.0]}, SpecError),
        ([["a", "b"]] * 100, SpecError),
        (object(), SpecError),
    ],
)
def test_predictions_of_the_wrong_shape_are_refused(told: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="must give finite qualities"):
        evaluate(told, pair())


def test_rows_without_a_whole_prompt_cannot_be_counted() -> None:
    rows = [{"prompt": "a", "scores": {"x": 1.0}}, {"prompt": "b", "scores": {"y": 1.0}}]
    with pytest.raises(TrainingError, match="no prompt has a score for every model"):
        evaluate(np.ones((2, 2)), rows)


@pytest.mark.parametrize(
    "price",
    [(1.0,), (1.0, 2.0, 3.0), (-1.0, 1.0), (1.0, math.inf), (1.0, math.nan), ("1", "2"), "12", None, 3.0, (None, 1.0)],
)
def test_prices_are_checked(price: Any) -> None:
    message = r"prices\['weak'\]: must be two numbers >= 0, \(input, output\) in USD per million tokens, got "
    with pytest.raises(SpecError, match=message):
        evaluate(np.ones((100, 2)), pair(), {"strong": (1.0, 2.0), "weak": price})
    with pytest.raises(SpecError, match=message):
        frontier(pair(), prices={"strong": (1.0, 2.0), "weak": price})


@pytest.mark.parametrize("prices", [7, "cheap", [(1.0, 2.0)]])
def test_a_price_list_that_is_none_is_refused(prices: Any) -> None:
    for measure in (lambda: evaluate(np.ones((100, 2)), pair(), prices), lambda: frontier(pair(), prices=prices)):
        with pytest.raises(SpecError, match=r"prices: must be {model"):
            measure()


def test_a_cost_that_is_none_is_refused_and_one_that_is_missing_is_not() -> None:
    rows = [{**row, "cost_usd": {"strong": 0.1, "weak": 0.01}} for row in pair()]
    rows[3]["cost_usd"]["weak"] = math.nan
    assert evaluate(np.ones((100, 2)), rows).cost_range[1] == pytest.approx(0.1)
    rows[3]["cost_usd"]["weak"] = "dear"
    with pytest.raises(SpecError, match=r"rows\[3\]\.cost_usd\['weak'\]: must be a number >= 0, got 'dear'"):
        evaluate(np.ones((100, 2)), rows)


def test_the_foundation_that_ships_knows_hard_from_easy() -> None:
    shipped = foundation()
    told = shipped.predict(
        ["What is the capital of France?", "Prove that every finite integral domain is a field."], [0.9, 0.5]
    )
    assert told.quality.shape == (2, 2)
    assert (told.quality[:, 0] > told.quality[:, 1]).all()
    assert told.quality[0, 1] > told.quality[1, 1]
    assert shipped.guess("What is the capital of France?", [0.9, 0.5]) == pytest.approx(told.quality[0], abs=1e-4)
    assert shipped.marked == "guess"


def test_a_foundation_is_fitted_saved_and_loaded_the_same(tmp_path: Any) -> None:
    one = fit_foundation([judged(80), judged(60, seed=2)])
    one.save(tmp_path / "a")
    fit_foundation([judged(80), judged(60, seed=2)]).save(tmp_path / "b")
    assert [p.read_bytes() for p in sorted((tmp_path / "a").iterdir())] == [
        p.read_bytes() for p in sorted((tmp_path / "b").iterdir())
    ]
    loaded = Foundation.load(tmp_path / "a")
    assert np.array_equal(loaded.predict(["a", "b"], [0.3]).quality, one.predict(["a", "b"], [0.3]).quality)
    with pytest.raises(SpecError, match="abilities"):
        loaded.predict(["a"], [1.5])
    with pytest.raises(TrainingError, match="at least two models"):
        fit_foundation([[{"prompt": "p", "scores": {"a": 1.0}}]])
