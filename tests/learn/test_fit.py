"""Fitting: what it learns, what it makes of thin and broken data, and that it is the same every time."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import MODELS, judged

from router_plugin import Router
from router_plugin.errors import SpecError, TrainingError
from router_plugin.learn import Predictor, evaluate, fit
from router_plugin.learn.outcomes.rows import read_rows

SUM = "Solve the value of 12 * 7 + 12 for garden number 3."
STORY = "Write a short story about the winter and the sailor and the bridge, told by somebody who was there (9)."


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return fit(judged())


def test_it_tells_which_model_is_good_at_what(predictor: Predictor) -> None:
    told = predictor.predict([SUM, STORY])
    adder, teller = predictor.models.index("adder"), predictor.models.index("teller")
    assert told.quality[0, adder] > told.quality[0, teller] + 0.2
    assert told.quality[1, teller] > told.quality[1, adder] + 0.2
    assert told.output_tokens[0].max() < 120 < 250 < told.output_tokens[1].min()


def test_predictions_have_a_row_a_prompt_and_a_column_a_model(predictor: Predictor) -> None:
    assert predictor.models == tuple(sorted(MODELS))
    told = predictor.predict(["a", [{"role": "user", "content": "b"}], "", "漢字", "\ud800", "x" * 200_000])
    for array in (told.quality, told.quality_std, told.output_tokens):
        assert array.shape == (6, 3)
        assert np.isfinite(array).all()
    assert ((told.quality >= 0) & (told.quality <= 1) & (told.quality_std > 0) & (told.quality_std <= 0.5)).all()
    assert predictor.predict([]).quality.shape == (0, 3)


def test_it_is_better_than_the_best_single_model_on_prompts_that_it_has_not_seen(predictor: Predictor) -> None:
    found = evaluate(predictor, judged(seed=1))
    assert found.accuracy > found.best + 0.1
    assert found.ece < 0.12


@pytest.mark.parametrize("tasks", [True, False])
def test_fifty_prompts_are_not_worse_than_the_best_single_model(tasks: bool) -> None:
    rows = judged(50, seed=3)
    if not tasks:
        rows = [{k: v for k, v in row.items() if k != "task"} for row in rows]
    found = evaluate(fit(rows), judged(seed=4))
    assert found.accuracy >= found.best - 0.02


def test_the_same_rows_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        fit(judged(80), seed=7).save(tmp_path / name)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    fit(judged(80), seed=8).save(tmp_path / "b")
    assert bytes_of(tmp_path / "a") != bytes_of(tmp_path / "b")


def test_the_hash_seed_of_python_changes_nothing(tmp_path: Path) -> None:
    code = "import sys; from toy import judged; from router_plugin.learn import fit; fit(judged(40)).save(sys.argv[1])"
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / seed)], env=env, check=True)
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "2")


def test_a_task_is_no_feature_of_a_prompt() -> None:
    rows = judged(60)
    renamed = [dict(row, task={"sums": "x", "stories": "y"}[row["task"]]) for row in rows]
    assert np.allclose(fit(rows).predict([SUM]).quality, fit(renamed).predict([SUM]).quality)


@pytest.mark.parametrize(
    "rows",
    [
        [{"prompt": "one", "scores": {"a": 1.0}}],
        [{"prompt": "one", "scores": {"a": 1.0, "b": 0.0}}],
        [{"prompt": f"number {i} of many", "scores": {"a": 0.5, "b": 0.5}} for i in range(60)],
        [{"prompt": "the same", "scores": {"a": i % 2, "b": 1}} for i in range(60)],
        [{"prompt": f"{i}", "scores": {"a": i % 2}} for i in range(60)],
        [{"prompt": "", "scores": {"a": 1, "b": 0}}, {"prompt": [], "scores": {"a": 0, "b": 1}}],
    ],
    ids=["one prompt, one model", "one prompt", "all equal", "duplicates", "one model", "empty prompts"],
)
def test_rows_that_say_nothing_give_the_means(rows: list[dict[str, Any]]) -> None:
    told = fit(rows).predict(["anything at all", rows[0]["prompt"]])
    scores = [[row["scores"].get(m, math.nan) for m in sorted(rows[0]["scores"])] for row in rows]
    assert np.allclose(told.quality, np.mean(scores, axis=0), atol=0.15)
    assert np.isnan(told.output_tokens).all()


def test_contradictory_labels_and_duplicates_are_averaged() -> None:
    rows = judged(40)
    twice = rows + [dict(row, scores={m: 1 - s for m, s in row["scores"].items()}) for row in rows]
    predictor = fit(twice)
    assert predictor.about["prompts"] == 40
    assert np.allclose(predictor.predict([SUM]).quality, 0.5, atol=0.02)


def test_a_thin_column_is_thin_and_not_zero() -> None:
    rows = judged(200)
    for i, row in enumerate(rows):
        row["scores"]["new"] = float(row["task"] == "sums") if i < 8 else None
        if i % 3:
            del row["scores"]["cheap"]
    predictor = fit(rows)
    told = predictor.predict([SUM, STORY])
    new, old = predictor.models.index("new"), predictor.models.index("cheap")
    assert 0.2 < told.quality[:, new].mean() < 0.9
    assert told.quality_std[0, new] > told.quality_std[0, old]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("text", "must be a list of dicts"),
        ([3], r"rows\[0\]: must be a dict"),
        ([{"scores": {"a": 1}}], r"rows\[0\].prompt: must be text or a list of messages"),
        ([{"prompt": "p"}], r"rows\[0\].scores: must be a dict"),
        ([{"prompt": "p", "scores": {"a": math.inf}}], r"rows\[0\].scores\['a'\]: must lie in 0..1, got inf"),
        ([{"prompt": "p", "scores": {"a": 1.01}}], "must lie in 0..1"),
        ([{"prompt": "p", "scores": {"a": "good"}}], "must lie in 0..1"),
        ([{"prompt": "p", "scores": {3: 1}}], "a model's name must be text"),
        ([{"prompt": "p", "scores": {"a": 1}, "output_tokens": {"a": -1}}], "output_tokens"),
        ([{"prompt": "p", "scores": {"a": 1}, "output_tokens": 7}], "output_tokens: must be a dict"),
    ],
)
def test_malformed_rows_are_refused_by_name(rows: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        fit(rows)


@pytest.mark.parametrize("score", [None, math.nan, np.float32("nan"), " ", "nan"])
def test_a_score_that_says_nothing_is_missing_and_never_a_zero(score: Any, caplog: pytest.LogCaptureFixture) -> None:
    whole, thin = judged(60), judged(60)
    for row in thin[:20]:
        row["scores"]["adder"] = score
    thin.append({"prompt": "nobody judged this", "scores": dict.fromkeys(thin[0]["scores"], score)})
    table = read_rows(thin)
    assert (len(table), table.left_out) == (len(read_rows(whole)), 1)
    assert "1 of 61 prompts have no score" in caplog.text
    for row in whole[:20]:
        del row["scores"]["adder"]
    told, same = fit(thin).predict([SUM]), fit(whole).predict([SUM])
    assert (told.quality == same.quality).all()


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"prompt": "p", "scores": {}}],
        [{"prompt": "p", "scores": {"a": None}}],
        [{"prompt": "p", "scores": {"a": math.nan}}],
    ],
)
def test_no_scores_at_all_is_a_training_error(rows: Any) -> None:
    for measure in (fit, lambda given: evaluate({"a": [0.5]}, given)):
        with pytest.raises(TrainingError, match="no scores to learn from"):
            measure(rows)
    router = Router("r", ["openai/a"])
    with pytest.raises(TrainingError, match="no line has a prompt, a model and a score"):
        router.fit(rows)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1"])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(SpecError, match="seed"):
        fit(judged(5), seed=seed)


def bytes_of(folder: Path) -> dict[str, bytes]:
    assert json.loads((folder / "manifest.json").read_text())["schema"] == 3
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
