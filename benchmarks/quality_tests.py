"""Harder tests of quality.py: few labels, a task never seen, another table."""

from __future__ import annotations

from typing import Any

import numpy as np
from quality_data import Prices, Rows, by_task, folds, priced, split, tiers
from quality_rows import Line, length_scores, means_of, measure

from router_plugin.learn import evaluate, fit
from router_plugin.learn.serving.foundation import fit_foundation


def _usable(rows: Rows, prices: Prices) -> Rows:
    pair = len({m for row in rows for m in row["scores"]}) == 2
    return rows if pair else (priced(rows, prices) or rows)


def learning_curve(name: str, rows: Rows, prices: Prices, sizes: Any, seeds: int) -> list[Line]:
    """So many judged prompts, drawn from the training side of a 5-fold split; the first fold is the test."""
    table, out = _usable(rows, prices), []
    for size in sizes:
        ours, means = [], []
        for seed in range(seeds):
            train, test = split(table, folds(table, 5, seed)[0])
            if size > len(train):
                continue
            at = np.random.default_rng(seed).choice(len(train), size, replace=False)
            predictor = fit([train[i] for i in sorted(at)], seed=seed)
            ours.append(measure(predictor, test, prices))
            means.append(measure(means_of(predictor), test, prices))
        if ours:
            out += [Line(name, f"{size} labels", "ours", ours), Line(name, f"{size} labels", "means", means)]
    return out


def leave_one_task_out(name: str, rows: Rows, prices: Prices, most: int) -> list[Line]:
    """Every task in turn is unseen; figures are weighted by its prompts."""
    table, ours, means, sizes = _usable(rows, prices), [], [], []
    for number, (_, train, test) in enumerate(by_task(table)):
        if number >= most:
            break
        predictor = fit(train)
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
    guess = fit_foundation(others.values()).predict(prompts, ability).quality
    out = [Line(name, "out of domain", "foundation", [evaluate(guess, rows, resamples=100)])]
    out.append(Line(name, "out of domain", "prompt length alone", [evaluate(length_scores(rows), rows, resamples=100)]))
    if len(models) == 2:
        trained = fit([row for table in others.values() for row in tiers(table)]).predict(prompts).quality
        at = [1, 0] if ability[0] < ability[1] else [0, 1]  # columns are "strong", "weak"
        out.append(Line(name, "out of domain", "ours, by tiers", [evaluate(trained[:, at], rows, resamples=100)]))
    return out
