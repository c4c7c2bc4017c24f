"""Settings: what is accepted, what is refused with which words, and files under limits."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from router_plugin import Budget, Deployment, Router, Routing, SpecError

NOT_MONEY = [float("nan"), float("inf"), -1, -0.01, "0.01", True, None, [], 1e300]


@pytest.mark.parametrize("value", [v for v in NOT_MONEY if v is not None])
def test_money_that_is_none_is_refused_never_allowed(value: Any) -> None:
    with pytest.raises(SpecError, match="max_cost"):
        Routing(max_cost=value)
    with pytest.raises(SpecError, match="usd"):
        Budget(usd=value)


@pytest.mark.parametrize("value", [0, 0.0, 1e-30, Decimal("0.01"), 5])
def test_money_that_is_money(value: Any) -> None:
    assert Routing(max_cost=value).max_cost == float(value)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"q": float("nan")}, "finite"),
        ({"q": -1}, "negative"),
        ({"q": 0, "c": 0}, "all weights are zero"),
        ({"quality": 1}, "unknown field"),
        ({"q": 1e308, "c": 1e308}, "too large"),
        ([1], "mapping"),
    ],
)
def test_weights_that_cannot_rank(weights: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Routing(weights=weights)


def test_two_dials_in_one_place_are_an_error() -> None:
    with pytest.raises(SpecError, match="two dials"):
        Routing(weights={"q": 1}, willingness_to_pay=0.1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": ""}, "non-empty"),
        ({"model": None}, "model"),
        ({"model": 5}, "string"),
        ({"model": "router/x"}, "addresses a router"),
        ({"model": "a->b"}, "addresses a router"),
        ({"model": "gpt 4"}, "no spaces"),
        ({"model": "gpt\x00"}, "printable"),
        ({"model": "m", "quality": 1.5}, "between 0 and 1"),
        ({"model": "m", "quality": "0.5"}, "must be a number"),
        ({"model": "m", "rpm": 0}, "at least 1"),
        ({"model": "m", "input_cost_per_token": -1}, "negative"),
        ({"model": "m", "qualty": 0.5}, "did you mean 'quality'"),
        ({"model": "m", "supports": {"visoin": True}}, "unknown capability"),
        ({"model": "m", "api_key": ""}, "os.environ/NAME"),
    ],
)
def test_deployments_that_are_none(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Deployment(**fields)


def test_a_key_is_in_no_representation() -> None:
    deployment = Deployment("openai/m", api_key="sk-canary", extra_headers={"x-secret": "canary-2"})
    shown = repr(deployment) + str(deployment) + repr(Router("r", models=[deployment]).spec)
    assert "canary" not in shown
    with pytest.raises(SpecError) as caught:
        Deployment("openai/m", api_key="sk-canary", quality=7)
    assert "canary" not in str(caught.value)


def test_martians_spellings_are_normalised() -> None:
    assert Deployment("openai/openai/gpt-4o").model == "openai/gpt-4o"
    assert Deployment("together/mistralai/M").model == "together_ai/mistralai/M"


def test_the_same_deployment_twice_is_an_error_and_a_second_endpoint_gets_a_number() -> None:
    with pytest.raises(SpecError, match="listed twice"):
        Router("r", models=["openai/m", "openai/m"])
    two = Router("r", models=["openai/m", Deployment("openai/m", api_base="http://127.0.0.1:1")])
    assert [d.name for d in two.spec.deployments] == ["openai/m", "openai/m#2"]


@pytest.mark.parametrize("name", ["", "a/b", "../../x", "ｒouter", "a\n", "x" * 129, None, 5])
def test_router_names_that_are_none(name: Any) -> None:
    with pytest.raises(SpecError, match="name"):
        Router(name, models=["openai/m"])


@pytest.mark.parametrize("models", [None, [], "openai/m", [5], {"a": 1}])
def test_models_that_are_none(models: Any) -> None:
    with pytest.raises(SpecError, match=r"models|deployments"):
        Router("r", models=models)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"usd": 1, "per": "fortnight"}, "per"),
        ({"usd": 1, "key": "tenant"}, "extra."),
        ({"usd": 1, "key": "extra"}, "extra.team"),
        ({"usd": 1, "per": "total", "rolling": True}, "cannot slide"),
        ({"usd": 1, "limit": 5}, "unknown field"),
    ],
)
def test_budgets_that_are_none(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Budget(**fields)


def test_two_budgets_of_one_name_are_an_error() -> None:
    with pytest.raises(SpecError, match="give each its own name"):
        Router("r", models=["openai/m"], budgets=[Budget(1), Budget(2)])


SETTINGS = {
    "name": "filed",
    "models": ["openai/gpt-4o-mini", {"model": "openai/gpt-4o", "name": "eu", "api_key": "os.environ/EU_KEY"}],
    "budgets": [{"usd": 5, "per": "day", "key": "user"}],
    "max_cost": 0.02,
    "weights": {"q": 1, "c": 0.005},
}
AS_YAML = """
name: filed
models:
  - openai/gpt-4o-mini
  - {model: openai/gpt-4o, name: eu, api_key: os.environ/EU_KEY}
budgets: [{usd: 5, per: day, key: user}]
max_cost: 0.02
weights: {q: 1, c: 0.005}
"""
AS_TOML = """
name = "filed"
models = ["openai/gpt-4o-mini", {model = "openai/gpt-4o", name = "eu", api_key = "os.environ/EU_KEY"}]
max_cost = 0.02
weights = {q = 1, c = 0.005}
[[budgets]]
usd = 5
per = "day"
key = "user"
"""


@pytest.mark.parametrize(
    ("name", "text"), [("r.json", json.dumps(SETTINGS)), ("r.yaml", AS_YAML), ("r.yml", AS_YAML), ("r.toml", AS_TOML)]
)
def test_one_router_from_three_kinds_of_file(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    assert Router.from_file(file).spec == Router(**SETTINGS).spec  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("r.yaml", "name: a\nname: b\nmodels: [m]", "stands twice"),
        ("r.json", '{"name": "a", "name": "b", "models": ["m"]}', "stands twice"),
        ("r.yaml", "name: !!python/object/apply:os.system ['true']\nmodels: [m]", "not valid YAML"),
        ("r.yaml", "a: &a [x]\n" + "b: [" + ", ".join(["*a"] * 60) + "]", "aliases"),
        ("r.json", '{"name": "a", "models": ' + "[" * 40 + "]" * 40 + "}", "deep"),
        ("r.yaml", "name: a\nmodels: [openai/m]\nmax_costs: 1", "did you mean 'max_cost'"),
        ("r.yaml", "- a", "mapping"),
        ("r.yaml", "name: a", "'models' is missing"),
        ("r.yaml", "1: a\nmodels: [m]", "keys must be text"),
        ("r.json", '{"name": "a",', "r.json"),
        ("r.txt", "x", "not .\\.txt"),
        ("r.yaml", "x" * 1_000_001, "at most"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_files_that_are_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(SpecError, match=words) as caught:
        Router.from_file(file)
    assert name in str(caught.value)
