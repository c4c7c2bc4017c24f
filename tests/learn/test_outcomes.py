"""Outcomes that exist already become rows, or an error that says where they do not."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from router_plugin import Client, Deployment, Router, RouteResult, SpecError, TrainingError
from router_plugin.learn import fit
from router_plugin.learn.outcomes.tables import read_outcomes
from router_plugin.testing import FakeClock, Reply, ScriptedProvider

LINES: list[dict[str, Any]] = [
    {"prompt": "a", "model": "x", "score": 1, "tokens": 10, "cost": 0.5, "latency": 0.25, "input_tokens": 3},
    {"prompt": "a", "model": "y", "score": 0.5, "task": ""},
    {"prompt": "b", "model": "x", "score": None},
    {"prompt": "b", "model": "y", "score": 0.0, "output_tokens": 7, "cost_usd": 0, "latency_ms": 9},
    {"prompt": "a", "model": "y", "score": 1.0},
]
ROWS = [
    {
        "prompt": "a",
        "scores": {"x": 1.0, "y": 0.75},
        "input_tokens": 3,
        "output_tokens": {"x": 10.0},
        "cost_usd": {"x": 0.5},
        "latency_ms": {"x": 250.0},
    },
    {
        "prompt": "b",
        "scores": {"y": 0.0},
        "output_tokens": {"y": 7.0},
        "cost_usd": {"y": 0.0},
        "latency_ms": {"y": 9.0},
    },
]


def test_lines_become_rows_with_means_and_without_what_is_missing() -> None:
    assert read_outcomes(LINES) == ROWS


def test_a_jsonl_file(tmp_path: Path) -> None:
    file = tmp_path / "o.jsonl"
    file.write_text("\n\n".join(json.dumps(line) for line in LINES) + "\n")
    assert read_outcomes(file) == read_outcomes(str(file)) == ROWS


def test_a_csv_file_with_long_prompts(tmp_path: Path) -> None:
    file = tmp_path / "o.csv"
    long = 'say "hi",\nüber ' + "x" * 300_000
    quoted = '"' + long.replace('"', '""') + '"'
    file.write_text(f"\ufeffprompt,model,score,tokens\n{quoted},x,1,\n{quoted},y,,5\n", encoding="utf-8")
    assert read_outcomes(file) == [{"prompt": long, "scores": {"x": 1.0}, "output_tokens": {"y": 5.0}}]


def test_rows_of_fit_pass_through() -> None:
    rows = [
        {"id": "1", "task": "t", "prompt": "a", "scores": {"x": 1, "y": None}, "output_tokens": {"x": 5}},
        {"id": "2", "task": "t", "prompt": [{"role": "user", "content": "b"}], "scores": {"x": 0.5}},
    ]
    assert read_outcomes(rows) == [
        {"id": "1", "task": "t", "prompt": "a", "scores": {"x": 1.0}, "output_tokens": {"x": 5.0}},
        {"id": "2", "task": "t", "prompt": "b", "scores": {"x": 0.5}},
    ]


def test_tasks_stay_apart_and_conversations_stay_messages() -> None:
    talk = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    lines = [
        {"messages": talk, "model": "x", "score": 1, "task": "one"},
        {"messages": talk, "model": "x", "score": 0, "task": "two"},
    ]
    assert [(row["prompt"], row["task"]) for row in read_outcomes(lines)] == [(talk, "one"), (talk, "two")]


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_parquet_without_a_reader_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SpecError, match=r"o\.parquet.*router-plugin\[parquet\]"):
        read_outcomes(tmp_path / "o.parquet")


def test_parquet_by_either_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = SimpleNamespace(to_pylist=lambda maps_as_pydicts: LINES)
    monkeypatch.setitem(sys.modules, "pyarrow", SimpleNamespace(parquet=SimpleNamespace(read_table=lambda path: table)))
    assert read_outcomes(tmp_path / "o.parquet") == ROWS
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    nan = [{**line, "score": float("nan")} if line["score"] is None else line for line in LINES]
    frame = SimpleNamespace(to_dict=lambda how: nan, columns=())
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(read_parquet=lambda path: frame))
    assert read_outcomes(tmp_path / "o.parquet") == read_outcomes(frame) == ROWS


def test_parquet_for_real(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "o.parquet"
    talk = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    for lines, rows in (
        (LINES, ROWS),
        ([{"messages": talk, "model": "x", "score": 1}], [{"prompt": talk, "scores": {"x": 1.0}}]),
        ([{"prompt": "a", "scores": {"x": 1.0, "y": None}}], [{"prompt": "a", "scores": {"x": 1.0}}]),
    ):
        columns = dict.fromkeys(name for line in lines for name in line)
        parquet.write_table(pyarrow.table({name: [line.get(name) for line in lines] for name in columns}), file)
        assert read_outcomes(file) == rows
    scores = pyarrow.array([[("x", 1.0), ("y", None)]], pyarrow.map_(pyarrow.string(), pyarrow.float64()))
    parquet.write_table(pyarrow.table({"prompt": ["a"], "scores": scores}), file)
    assert read_outcomes(file) == [{"prompt": "a", "scores": {"x": 1.0}}]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(SpecError, match=r"o\.parquet: is no Parquet"):
        read_outcomes(file)
    with pytest.raises(FileNotFoundError):
        read_outcomes(tmp_path / "none.parquet")


@pytest.mark.parametrize("stored", [True, False])
def test_the_history_with_feedback_and_content(tmp_path: Path, stored: bool) -> None:
    clock = FakeClock()
    price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    router = Router(
        "r",
        models=[Deployment("openai/a", **price)],
        client=Client(tmp_path) if stored else None,
        provider=ScriptedProvider(clock, {"openai/a": [Reply("hi", 10, 5)]}),
        clock=clock,
        log_content=True,
    )
    for number in range(3):
        result = RouteResult.of(router.completion(messages=[{"role": "user", "content": f"q{number}"}]))
        assert result is not None
        if number:
            router.feedback(result.request_id, number / 2)
    (one, two) = sorted(read_outcomes(router.list_requests()), key=lambda row: str(row["prompt"]))
    assert (one["prompt"], one["scores"], two["scores"]) == ("q1", {"openai/a": 0.5}, {"openai/a": 1.0})
    assert (one["input_tokens"], one["output_tokens"]) == (10, {"openai/a": 5.0})
    assert one["cost_usd"]["openai/a"] == pytest.approx(20e-6)
    for name in ("history.jsonl", "history.csv"):
        router.export_requests(tmp_path / name)
        told = sorted(read_outcomes(tmp_path / name), key=lambda row: str(row["prompt"]))
        assert [{key: row[key] for key in one} for row in told] == [one, two]


def test_a_model_that_never_had_a_score_is_named(caplog: pytest.LogCaptureFixture) -> None:
    lines = [{"prompt": "a", "model": "x", "score": 1}, {"prompt": "a", "model": "silent", "score": None}]
    rows = [{"prompt": "a", "scores": {"x": 1.0, "silent": float("nan")}}]
    for read, given in ((read_outcomes, lines), (fit, rows)):
        caplog.clear()
        read(given)
        assert "no row has a score of 'silent'" in caplog.text
        assert "'x'" not in caplog.text


def test_feedback_without_content_is_told(caplog: pytest.LogCaptureFixture) -> None:
    record = {"request_id": "1", "ranking": ["a"], "model": "a", "feedback": 1.0, "attempts": [], "messages": None}
    with pytest.raises(TrainingError, match=r"of 2 records .* 1 have feedback, and their content was not kept: .*log_"):
        read_outcomes([record, {**record, "feedback": None}])
    assert read_outcomes([record, {"prompt": "p", "model": "a", "score": 1}]) == [{"prompt": "p", "scores": {"a": 1.0}}]
    assert "1 of 1 records of requests have feedback without content" in caplog.text


def test_of_a_cascade_the_served_answer_counts_and_not_what_checked_it() -> None:
    attempts = [
        {"outcome": "failed", "output_tokens": 1},
        {"outcome": "answered", "output_tokens": 5},
        {"outcome": "judged", "output_tokens": 99},
    ]
    record = {"request_id": "1", "ranking": [], "model": "a", "feedback": 1.0, "attempts": attempts}
    (row,) = read_outcomes([{**record, "messages": [{"role": "user", "content": "q"}]}])
    assert row["output_tokens"] == {"a": 5.0}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (5, "must be rows"),
        ({"prompt": "a"}, "must be rows"),
        ([5], r"outcomes\[0\]"),
        ([{"prompt": "a", "model": "x", "scroe": 1}], r"no column 'score' \(did you mean 'scroe'"),
        ([{"prompt": "a", "model": "x", "score": 2}], r"outcomes\[0\]: score"),
        ([{"prompt": "a", "model": "x", "score": "good"}], r"score: must lie in 0\.\.1, got 'good'"),
        ([{"prompt": "a", "model": "x", "score": float("inf")}], r"outcomes\[0\]: score: must lie in 0\.\.1, got inf"),
        ([{"prompt": "a", "model": "", "score": 1}], "model"),
        ([{"prompt": 5, "model": "x", "score": 1}], "prompt"),
        ([{"prompt": "a", "model": "x", "score": 1, "tokens": -1}], "tokens"),
        ([{"prompt": "a", "scores": {"x": 1.5}}], "score"),
        ("o.xlsx", "jsonl"),
    ],
)
def test_what_is_wrong_is_said(source: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        read_outcomes(source)


@pytest.mark.parametrize("score", [None, float("nan"), "", "NaN"])
def test_what_nobody_judged_is_left_out_and_counted(score: Any, caplog: pytest.LogCaptureFixture) -> None:
    lines = [{"prompt": "a", "model": "x", "score": 1}, {"prompt": "b", "model": "x", "score": score}]
    assert read_outcomes(lines) == [{"prompt": "a", "scores": {"x": 1.0}}]
    assert "1 of 2 prompts have no score" in caplog.text
    for source in ([], lines[1:]):
        with pytest.raises(TrainingError, match="no line has a prompt, a model and a score"):
            read_outcomes(source)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("o.jsonl", '{"prompt": "a"}\n{', "line 1"),
        ("o.jsonl", "[1]", "line 1: must be a JSON object"),
        ("o.csv", "prompt,model,score\na,x\n", "line 2: has not as many fields"),
        ("o.csv", "prompt,model,score\na,x,1,2\n", "line 2: has not as many fields"),
        ("o.csv", "prompt,model\na,x\n", "no column 'score'"),
    ],
)
def test_a_file_that_is_wrong_says_its_line(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SpecError, match=rf"{name}: .*{words}|{words}"):
        read_outcomes(tmp_path / name)
