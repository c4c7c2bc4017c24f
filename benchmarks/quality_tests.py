"""Harder tests of quality.py: few labels, a task never seen, another table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from quality_data import Prices, Rows, by_task, folds, priced, split, tiers, without_twins
from quality_rows import Line, length_scores, means_of, measure

from router_plugin.learn import Predictor, evaluate, fit
from router_plugin.learn.fitting import heads
from router_plugin.learn.serving.foundation import Foundation, fit_foundation

SUBJECTS = {
    "science": "math|physic|chem|bio|comput|engin|statis|algebra|astronomy|machine|electr|logic",
    "medicine": "med|anat|clinic|nutri|virol|human|psych|aging|bio|gene|health",
    "society": "law|juris|moral|phil|relig|history|politic|foreign|security|socio|policy|relations",
}


def _usable(rows: Rows, prices: Prices) -> Rows:
    pair = len({m for row in rows for m in row["scores"]}) == 2
    return rows if pair else (priced(rows, prices) or rows)


def foundation_without(rows: Rows, others: dict[str, Rows]) -> Foundation:
    """A foundation that knows nothing of these rows: fitted on the other tables without their twins; without other
    tables one that has no sense of hardness."""
    rest = [kept for table in others.values() if (kept := without_twins(table, rows))]
    made = fit_foundation(rest or [rows])
    return made if rest else replace(made, hardness=0.0 * made.hardness)


@contextmanager
def only(learner: Any) -> Iterator[None]:
    """Inside, ``fit`` stacks this learner and the guess alone."""
    kept = heads.learners
    heads.learners = lambda problem: (learner, heads.guessed)
    try:
        yield
    finally:
        heads.learners = kept


def each_learner(train: Rows, foundation: Foundation, seed: int) -> dict[str, Predictor]:
    """Predictors of one learner each, without the guess; and the guess alone."""
    blank = replace(foundation, hardness=0.0 * foundation.hardness)
    tasks = len({row.get("task") for row in train}) > 2
    named = {"ridge alone": heads.ridges, "surface alone": heads.surface}
    if tasks:
        named["task means alone"] = heads.hierarchy
    made = {}
    for label, learner in named.items():
        with only(learner):
            made[label] = fit(train, seed=seed, foundation=blank)
    with only(heads.guessed):
        made["the guess alone"] = fit(train, seed=seed, foundation=foundation)
    return made


def learning_curve(name: str, rows: Rows, prices: Prices, sizes: Any, seeds: int, foundation: Foundation) -> list[Line]:
    """So many judged prompts, drawn from the training side of a 5-fold split; the first fold is the test."""
    table, out = _usable(rows, prices), []
    for size in sizes:
        ours, means = [], []
        for seed in range(seeds):
            train, test = split(table, folds(table, 5, seed)[0])
            if size > len(train):
                continue
            at = np.random.default_rng(seed).choice(len(train), size, replace=False)
            predictor = fit([train[i] for i in sorted(at)], seed=seed, foundation=foundation)
            ours.append(measure(predictor, test, prices))
            means.append(measure(means_of(predictor), test, prices))
        if ours:
            out += [Line(name, f"{size} labels", "ours", ours), Line(name, f"{size} labels", "means", means)]
    return out


def leave_one_task_out(name: str, rows: Rows, prices: Prices, most: int, foundation: Foundation) -> list[Line]:
    """Every task in turn is unseen; figures are weighted by its prompts."""
    table, ours, means, sizes = _usable(rows, prices), [], [], []
    for number, (_, train, test) in enumerate(by_task(table)):
        if number >= most:
            break
        predictor = fit(train, foundation=foundation)
        ours.append(measure(predictor, test, prices))
        means.append(measure(means_of(predictor), test, prices))
        sizes.append(float(len(test)))
    test_name = "task unseen"
    return [Line(name, test_name, "ours", ours, sizes), Line(name, test_name, "means", means, sizes)] if ours else []


def out_of_domain(name: str, rows: Rows, others: dict[str, Rows]) -> list[Line]:
    """Trained on the other tables (without twins), tested on this one: two tiers by ``fit``, and a foundation that gets
    the models' mean qualities and nothing else of this table."""
    models = sorted({model for row in rows for model in row["scores"]})
    ability = [float(np.mean([r["scores"][m] for r in rows if r["scores"].get(m) is not None])) for m in models]
    prompts = [row["prompt"] for row in rows]
    foundation = fit_foundation(others.values())
    guess = foundation.predict(prompts, ability).quality
    out = [Line(name, "out of domain", "foundation", [evaluate(guess, rows, resamples=100)])]
    out.append(Line(name, "out of domain", "prompt length alone", [evaluate(length_scores(rows), rows, resamples=100)]))
    if len(models) == 2:
        trained = fit([row for table in others.values() for row in tiers(table)], foundation=foundation)
        trained = trained.predict(prompts).quality
        at = [1, 0] if ability[0] < ability[1] else [0, 1]  # columns are "strong", "weak"
        out.append(Line(name, "out of domain", "ours, by tiers", [evaluate(trained[:, at], rows, resamples=100)]))
    return out


def across_subjects(name: str, rows: Rows, prices: Prices, foundation: Foundation) -> list[Line]:
    """Trained on one group of subjects (tasks by their names), tested on all others, and the other way round; groups of
    less than a tenth of the prompts are left out."""
    table, out = _usable(rows, prices), []
    for group, names in SUBJECTS.items():
        inside = [bool(re.search(names, str(row.get("task")).lower())) for row in table]
        sides = [[row for row, at in zip(table, inside, strict=True) if at is side] for side in (True, False)]
        if min(map(len, sides)) < len(table) / 10:
            continue
        for train, test, label in ((*sides, f"{group} to the rest"), (*sides[::-1], f"the rest to {group}")):
            predictor = fit(without_twins(train, test), foundation=foundation)
            out.append(Line(name, label, "ours", [measure(predictor, test, prices)]))
            out.append(Line(name, label, "prompt length alone", [measure(length_scores(test), test, prices)]))
            out.append(Line(name, label, "means", [measure(means_of(predictor), test, prices)]))
    return out
