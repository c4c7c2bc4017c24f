"""What is believed before any prompt was judged: a few labels lean on it, many overrule it."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import random
from typing import Any

import numpy as np
import pytest

from router_plugin.errors import TrainingError
from router_plugin.learn import evaluate, fit
from router_plugin.learn.fitting.hardness import fit_hardness, guess_of, within_tasks
from router_plugin.learn.fitting.targets import split
from router_plugin.learn.outcomes.rows import read_rows
from router_plugin.learn.prompts.features import NAMES
from router_plugin.learn.prompts.space import analyse_all
from router_plugin.learn.serving.foundation import ease_of, foundation

THINGS = ["a lamp", "a cart", "two ropes", "the pump", "a kite", "the mill", "an arch", "the gate", "a drum", "a sail"]


def table(n: int, longer_is_harder: bool = True, seed: int = 0) -> list[dict[str, Any]]:
    """Two models; the strong one is worth more on long prompts (or on short ones)."""
    draw, rows = random.Random(seed), []
    for i in range(n):
        size = draw.randint(1, 12)
        text = f"Question {i}: " + ", then ".join(f"move {draw.choice(THINGS)}" for _ in range(size)) + "."
        hard = (size - 1) / 11 if longer_is_harder else (12 - size) / 11
        scores = {"strong": float(draw.random() < 0.95 - 0.2 * hard), "weak": float(draw.random() < 0.9 - 0.6 * hard)}
        rows.append({"prompt": text, "scores": scores})
    return rows


@pytest.mark.parametrize(("labels", "least"), [(25, 0.6), (1_500, 0.6)])
def test_few_labels_lean_on_what_is_usual(labels: int, least: float) -> None:
    assert evaluate(fit(table(labels)), table(600, seed=9), resamples=2).apgr > least


def test_many_labels_overrule_it() -> None:
    unusual = fit(table(1_500, longer_is_harder=False))
    assert evaluate(unusual, table(600, longer_is_harder=False, seed=9), resamples=2).apgr > 0.6


def test_another_foundation_may_be_given() -> None:
    blank = dataclasses.replace(foundation(), hardness=np.zeros(len(NAMES)))
    prompts = [row["prompt"] for row in table(40, seed=5)]
    with_it, without = fit(table(25)).predict(prompts), fit(table(25), foundation=blank).predict(prompts)
    assert np.abs(with_it.quality - without.quality).max() > 0.01


def test_a_damaged_foundation_costs_no_fit(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def damaged() -> Any:
        raise TrainingError("artefact 'x' is damaged")

    monkeypatch.setattr(importlib.import_module("router_plugin.learn.fit"), "shipped", damaged)
    with caplog.at_level(logging.WARNING, logger="router_plugin"):
        assert fit(table(60)).models == ("strong", "weak")
    assert "goes without the foundation" in caplog.text


def test_hardness_is_fitted_within_tasks_and_rises_with_length() -> None:
    rows = [dict(row, task="a") for row in table(300)]
    rows += [{"prompt": f"Why {i}?", "task": "b", "scores": {"strong": 0.2, "weak": 0.0}} for i in range(100)]
    read = read_rows(rows)
    ease = ease_of(read)
    kept = within_tasks(ease, read)
    in_b = read.tasks == "b"
    assert abs(kept[in_b].mean() - kept[~in_b].mean()) < 0.35 * abs(ease[in_b].mean() - ease[~in_b].mean())
    weights = fit_hardness([(analyse_all(read.prompts), kept)])
    assert weights.shape == (len(NAMES),)
    assert weights[NAMES.index("length")] > 0


def test_the_guess_lets_hard_prompts_cost_weak_models_more() -> None:
    targets = split(np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]), 2)
    moved = guess_of(np.ones(len(NAMES)), targets)[0] @ targets.basis.T
    assert moved[1] < moved[0] < 0
