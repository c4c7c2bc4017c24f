"""Prompts of a kind that nobody has seen: the best model on the whole keeps its place; known kinds still gain."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router_plugin.learn import Predictor, fit
from router_plugin.learn.fitting.curve import bent, curve_of
from router_plugin.learn.fitting.incumbent import hold, press, spread_for
from router_plugin.learn.fitting.novelty import fit_novelty, odds
from router_plugin.learn.fitting.unfamiliar import lead_for, strange, widen

KINDS = {
    "law": ("Under the statute, may the {} tenant recover damages from the {} landlord in court?", (0.6, 0.9, 0.1)),
    "chemistry": ("Balance the reaction of {} acid with {} oxide and name the salt.", (0.7, 0.1, 0.9)),
    "code": ("def merge_{}(left, right): # returns {} sorted items, what is missing?", (0.6, 0.2, 0.9)),
    "verse": ("Write four rhymed lines about a {} moon above the {} sea.", (0.7, 0.9, 0.2)),
    "travel": ("Which train goes from {} to the {} valley in winter?", (0.6, 0.95, 0.3)),
    "sums": ("Compute {} times {} plus the square root of nine.", (0.8, 0.2, 0.3)),
}
WORDS = ["amber", "quiet", "northern", "sulphur", "iron", "seven", "old", "green", "third", "silver", "upper", "cold"]


def table(n: int, kinds: list[str], seed: int = 0) -> list[dict[str, Any]]:
    draw, rows = random.Random(seed), []
    for i in range(n):
        kind = draw.choice(kinds)
        text, skill = KINDS[kind]
        prompt = text.format(*draw.sample(WORDS, 2)) + f" ({i})"
        scores = {m: float(draw.random() < s) for m, s in zip(("even", "left", "right"), skill, strict=True)}
        rows.append({"task": kind, "prompt": prompt, "scores": scores})
    return rows


@pytest.mark.parametrize("unseen", ["sums", "code", "verse"])
def test_a_kind_left_out_is_no_worse_than_the_best_single_model_and_known_kinds_gain(unseen: str) -> None:
    known = [kind for kind in KINDS if kind != unseen]
    predictor = fit(table(600, known))
    best = predictor.models[int(predictor.quality.mean.argmax())]
    for kinds, least in ((known, 0.05), ([unseen], -0.02)):
        test = table(300, kinds, seed=1)
        quality = predictor.predict([row["prompt"] for row in test]).quality
        chosen = [predictor.models[at] for at in quality.argmax(axis=1)]
        gains = [row["scores"][model] - row["scores"][best] for row, model in zip(test, chosen, strict=True)]
        assert np.mean(gains) >= least


def test_the_margin_keeps_the_order_of_the_others_and_changes_no_figure_by_more_than_its_lead() -> None:
    draw = np.random.default_rng(0)
    quality, mean = draw.random((200, 5)), np.array([0.5, 0.6, 0.4, 0.55, 0.3])
    held = hold(quality, mean, 0.2, np.full(200, 1.0))
    others = [0, 2, 3, 4]
    assert (quality[:, others].argsort(axis=1) == held[:, others].argsort(axis=1)).all()
    assert (held[:, 1] == quality[:, 1]).all()
    assert (held <= quality + 1e-12).all()
    assert (quality - held <= np.maximum(quality - quality[:, 1:2], 0.0) + 0.1 + 1e-12).all()
    far = hold(quality, mean, 0.2, np.full(200, 20.0))
    assert (far.argmax(axis=1) == 1).mean() > 0.99
    assert np.abs(far - mean).max() < 0.3
    near = hold(quality, mean, 0.2, np.full(200, 1e-6))
    assert np.allclose(near, quality, atol=1e-5)


def test_there_is_no_margin_where_kinds_left_out_gain_as_well() -> None:
    truth = np.tile(np.eye(3), (40, 1))
    assert spread_for((truth, truth), (truth, truth), 0) == 0.0
    assert spread_for((truth, truth), (truth[:, ::-1], truth), 0) > 0.0
    assert spread_for((truth[:, :2], truth[:, :2]), (truth[:, ::-1], truth), 0) == 0.0


def test_two_models_are_told_apart_by_length_where_a_prompt_is_new_and_as_learned_where_it_is_not() -> None:
    mean, quality = np.array([0.6, 0.8]), np.array([[0.9, 0.5], [0.3, 0.9], [0.6, 0.8]])
    leads = 0.1 * np.array([2.0, -1.0, 0.0])
    assert np.allclose(widen(quality, mean, leads, strange(np.full(3, 0.05))), quality, atol=1e-5)
    far = widen(quality, mean, leads, strange(np.full(3, 20.0)))
    assert np.allclose(far[:, 1] - far[:, 0], 0.2 + leads, atol=0.01)
    assert np.allclose(far.sum(axis=1), quality.sum(axis=1))
    mirrored = widen(quality[:, ::-1], mean[::-1], leads, strange(np.full(3, 20.0)))
    assert np.allclose(mirrored[:, ::-1], far)
    assert np.allclose(widen(quality[0], mean, leads[0], strange(20.0)), far[0])


def test_no_prompt_of_a_new_kind_is_taken_from_the_better_of_two_models_lightly() -> None:
    rows = [{**row, "scores": {m: row["scores"][m] for m in ("left", "right")}} for row in table(400, list(KINDS))]
    head = fit(rows).quality
    head.lead, head.margin = 0.1, 0.01
    best = int(head.mean.argmax())
    values = np.tile(head.mean, (50, 1))
    values[:, 1 - best] += np.linspace(0.0, 0.5, 50)
    known, new = (head.held(values, np.full(50, odds), np.zeros(50)) for odds in (0.1, 20.0))
    assert (known.argmax(axis=1) != best).any()
    assert (new.argmax(axis=1) == best).all()


def test_what_follows_the_truth_on_kinds_left_out_is_always_followed() -> None:
    draw = np.random.default_rng(3)
    truth, mean = draw.random((400, 2)), np.array([0.7, 0.4])
    noise = draw.random((400, 2))
    assert lead_for((truth, truth), (truth, truth), mean) == 0.0
    assert lead_for((truth, truth), (noise, truth), mean) > 0.0
    assert lead_for((truth, truth), (truth[:9], truth[:9]), mean) > 0.0, "nine prompts make nothing sure"
    assert lead_for((truth, truth), (truth[:0], truth[:0]), mean) == 0.0
    assert lead_for((truth, truth), (0.0 * noise, truth), np.array([0.3, 0.1])) < 0.0, "both mostly fail what is hard"


@pytest.mark.parametrize("better", [0, 1])
def test_few_labels_do_not_take_a_prompt_from_the_better_of_two_models(better: int) -> None:
    draw, skill = random.Random(better), (0.8, 0.65)
    gains = []
    for seed in range(6):
        rows = [
            {
                "prompt": row["prompt"],
                "scores": {m: float(draw.random() < skill[at ^ better]) for at, m in enumerate("ab")},
            }
            for row in table(50, list(KINDS), seed)
        ]
        mean = np.mean([[row["scores"][m] for m in "ab"] for row in rows], axis=0)
        quality = fit(rows).predict([row["prompt"] for row in table(200, list(KINDS), seed + 100)]).quality
        gains.append((quality.argmax(axis=1) == mean.argmax()).mean())
    assert np.mean(gains) > 0.95


def test_pressing_keeps_the_order_of_prompts() -> None:
    quality = np.column_stack([np.full(301, 0.5), np.linspace(0.0, 1.0, 301)])
    held = press(quality, 0, 0.1, 0.1)
    ahead = held[:, 1] - held[:, 0]
    assert (np.diff(ahead) > 0.0).all()
    assert (ahead[quality[:, 1] > 0.6001] > 0.0).all()
    assert (ahead[quality[:, 1] < 0.5999] < 0.0).all()


def test_novelty_tells_kinds_left_out_and_says_even_odds_where_it_knows_nothing() -> None:
    draw = np.random.default_rng(1)
    inside = np.column_stack(
        [np.ones(300), draw.uniform(0.8, 1.0, 300), draw.uniform(0.5, 1.0, 300), np.full(300, 0.3)]
    )
    outside = np.column_stack([np.ones(90), draw.uniform(0.2, 0.6, 90), draw.uniform(0.0, 0.4, 90), np.full(90, 0.4)])
    weights = fit_novelty(inside, outside)
    assert np.median(odds(weights, inside)) < 0.2
    assert np.median(odds(weights, outside)) > 5.0
    assert odds(weights, outside).max() <= 20.0
    assert (odds(fit_novelty(inside, outside[:0]), inside) == 1.0).all()


def test_the_curve_rises_bends_what_is_bent_and_stays_straight_for_few() -> None:
    draw = np.random.default_rng(2)
    true = draw.random((3_000, 3))
    curve = curve_of(0.25 + 0.5 * true, (draw.random(true.shape) < true).astype(float))
    assert (np.diff(curve) >= 0.0).all()
    assert np.abs(bent(0.25 + 0.5 * true, curve) - true).mean() < 0.04
    few = draw.random((5, 3))
    assert np.allclose(bent(few, curve_of(few, 1.0 - few)), few)


def test_no_band_is_wider_than_an_expectation_can_vary() -> None:
    predictor = fit(table(400, list(KINDS)))
    told = predictor.predict([row["prompt"] for row in table(200, list(KINDS), seed=3)])
    _, always = predictor.quality.unsure()
    assert (told.quality_std <= np.sqrt(np.maximum(told.quality * (1 - told.quality), always)) + 1e-9).all()


def test_nothing_is_certain_even_where_the_best_is_expected() -> None:
    told = fit(table(200, ["law", "travel"])).predict([row["prompt"] for row in table(100, ["law", "sums"], seed=4)])
    assert told.quality.max() > 0.9
    assert told.quality_std.min() > 0.01


def test_a_few_equal_scores_make_nothing_sure() -> None:
    told = fit([{"prompt": f"Question {i}", "scores": {"a": 1.0, "b": 1.0}} for i in range(2)]).predict(["Another"])
    assert (told.quality_std > 0.1).all()


@pytest.mark.parametrize("beyond", [1e-16, 0.02])
def test_a_curve_of_truth_that_is_beyond_an_end_by_rounding_still_rises(beyond: float) -> None:
    said = np.linspace(0.0, 1.0, 900).reshape(300, 3)
    for truth in (np.ones_like(said) + 2 * beyond, np.zeros_like(said) - beyond):
        curve = curve_of(said, truth)
        assert (np.diff(curve) >= 0.0).all()
        assert (curve.min(), curve.max()) == (0.0, 1.0)


@pytest.mark.parametrize("size", [201, 1_003, 4_999])
def test_a_curve_of_equal_predictions_rises(size: int) -> None:
    draw = np.random.default_rng(size)
    for value in (0.1, 0.3, 0.7, 0.9, 1.0 - 1e-16, 1.0):
        said = np.full((size, 3), value)
        for truth in (said, np.ones_like(said), (draw.random(said.shape) < value).astype(float)):
            assert (np.diff(curve_of(said, truth)) >= 0.0).all()


def test_what_was_fitted_on_certain_outcomes_can_be_loaded(tmp_path: Path) -> None:
    rows = table(400, list(KINDS))
    for row in rows:
        right = KINDS[row["task"]][1]
        row["scores"] = {m: float(s > 0.55) for m, s in zip(("even", "left", "right"), right, strict=True)}
    fit(rows).save(tmp_path)
    prompts = [row["prompt"] for row in rows[:50]]
    assert (Predictor.load(tmp_path).predict(prompts).quality == fit(rows).predict(prompts).quality).all()
