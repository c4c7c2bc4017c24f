"""The commands that train and measure: fit, eval, frontier, judge, train (models answered by the loopback provider)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from router_plugin import Client, Deployment, Router
from router_plugin.cli.app import app
from router_plugin.testing import LoopbackProvider

PRICES = {"small": 1e-7, "large": 2e-6}


@pytest.fixture
def p(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackProvider]:
    monkeypatch.setenv("CLI_KEY", "k")
    with LoopbackProvider() as provider:
        for name in PRICES:
            provider.model(name, reply=lambda body, name=name: answer(name, body["messages"][-1]["content"]))
        yield provider


def answer(name: str, question: str) -> str:
    return "right" if name == "large" or "colour" in question else "wrong"


@pytest.fixture
def store(tmp_path: Path, p: LoopbackProvider) -> Path:
    models = [
        Deployment(
            f"openai/{name}", name=name, api_base=p.openai_base, api_key="os.environ/CLI_KEY",
            input_cost_per_token=price, output_cost_per_token=4 * price,
        )
        for name, price in PRICES.items()
    ]  # fmt: skip
    with Client(tmp_path / "s") as client:
        Router("demo", models=models, client=client)
    return tmp_path / "s"


def questions(count: int) -> list[str]:
    draw, words = random.Random(1), "alpha beta gamma delta zeta eta theta iota kappa".split()  # noqa: SIM905
    openings = ("prove the theorem about", "what colour is")
    return [f"{openings[number % 2]} {' '.join(draw.choices(words, k=6))}" for number in range(count)]


@pytest.fixture
def outcomes(tmp_path: Path) -> Path:
    file = tmp_path / "outcomes.jsonl"
    rows = [
        {
            "prompt": text,
            "scores": {f"openai/{name}": float(answer(name, text) == "right") for name in PRICES},
            "input_tokens": 20,
            "output_tokens": {f"openai/{name}": 10 for name in PRICES},
        }
        for text in questions(120)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def run(store: Path, *arguments: Any, code: int = 0) -> Any:
    done = CliRunner().invoke(app, ["--store", str(store), "--json", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if done.stdout else None


def test_fit_eval_and_frontier(store: Path, outcomes: Path, tmp_path: Path) -> None:
    assert run(store, "eval", "demo", outcomes, code=5) is None, "nothing is trained yet"
    assert run(store, "fit", "demo", outcomes)["version"] == 2
    assert run(store, "eval", "demo", outcomes)["accuracy"] == 1.0
    page = tmp_path / "f.html"
    found = run(store, "frontier", "demo", outcomes, "--page", page)
    strings = [setting["string"] for setting in found["settings"]]
    assert all(string.startswith("router/demo@") for string in strings)
    assert strings[0] in page.read_text()


def test_train_asks_models_and_deploys(store: Path, tmp_path: Path, p: LoopbackProvider) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": text, "ref_answer": "right"}) for text in questions(60)))
    asked = ("train", "demo", file, "--judge", "exact-match", "--llms", "openai/small,openai/large")
    assert run(store, *asked, "--estimate")["estimate_usd"] > 0
    assert p.requests == []
    told = run(store, *asked, "--budget", 1)
    assert told["status"] == "SUCCESS"
    assert 0 < told["spent_usd"] <= 1
    calls = len(p.requests)
    assert run(store, *asked, "--budget", 1)["status"] == "SUCCESS"
    assert len(p.requests) == calls, "nothing is paid for twice"
    with Client(store) as client:
        router = Router("demo", client=client)
        decided = {
            text: router.route({"prompt": text, "routing": {"willingness_to_pay": 3e-5}}) for text in questions(10)
        }
    assert {("colour" in text, result.deployment) for text, result in decided.items()} == {
        (True, "small"), (False, "large"),
    }  # fmt: skip


def test_judge(store: Path) -> None:
    given = ("--question", "2+2", "--reference", "4", "--answer")
    assert run(store, "judge", "exact-match", *given, "4")["score"] == 1.0
    assert run(store, "judge", "exact-match", *given, "5")["score"] == 0.0
    run(store, "judge", "nobody", *given, "5", code=3)


def test_people_are_told_the_estimate_before_anybody_is_asked(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text('{"prompt": "a", "ref_answer": "right"}')
    asked = ("train", "demo", file, "--judge", "exact-match", "--llms", "openai/small,openai/large", "--budget", 0)
    done = CliRunner().invoke(app, ["--store", str(store), *map(str, asked)])
    assert done.stderr.splitlines()[0].startswith("estimated $")
    assert done.stderr.splitlines()[0].endswith(" for 2 calls")
