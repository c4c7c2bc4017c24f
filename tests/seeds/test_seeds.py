"""The code examples of the five documents the project was created from, as written: imports adapted, and the model
calls answered by the loopback provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litellm
import pytest

import router_plugin
from router_plugin import (
    ALL_MODELS,
    ANTHROPIC_MODELS,
    GEMINI_MODELS,
    OPENAI_MODELS,
    TOGETHER_MODELS,
    Client,
    ConstraintValue,
    CostConstraint,
    Deployment,
    NoCandidateError,
    QualityConstraint,
    ResourceAlreadyExistsError,
    ResourceNotFoundError,
    Router,
    RouteResult,
    RoutersClient,
    RoutingConstraint,
    SpecError,
    parse_router_string,
)
from router_plugin.testing import LoopbackProvider


@pytest.fixture
def p() -> Iterator[LoopbackProvider]:
    with LoopbackProvider() as provider:
        yield provider


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


def at(p: LoopbackProvider, model: str, **more: Any) -> Deployment:
    """A model of the seeds, answered by the loopback provider at litellm's own prices."""
    return Deployment(model, api_base=p.url if model.startswith("anthropic/") else p.openai_base, api_key="k", **more)


# --------------------------------------------------------------------------- 000, 001: Martian's RoutersClient


def test_creating_a_router(client: Client) -> None:
    assert isinstance(client.routers, RoutersClient)
    router = client.routers.create_router(
        router_id="my-router",
        base_model="anthropic/anthropic/claude-3-opus-latest",  # Initial model before training
        description="Routes between different models based on quality and cost",
    )
    assert router.name == "my-router"
    assert router.description == "Routes between different models based on quality and cost"
    assert router.route({"prompt": "hi"}).model == "anthropic/claude-3-opus-latest", "its base model alone"
    with pytest.raises(ResourceAlreadyExistsError):
        client.routers.create_router(router_id="my-router", base_model="openai/openai/gpt-4o")


def test_model_sets_combine() -> None:
    llms = list(ANTHROPIC_MODELS | OPENAI_MODELS)
    assert "openai/gpt-4o" in llms
    assert len(llms) == len(ANTHROPIC_MODELS) + len(OPENAI_MODELS)
    assert set(ALL_MODELS) == set(OPENAI_MODELS | ANTHROPIC_MODELS | TOGETHER_MODELS | GEMINI_MODELS)
    assert OPENAI_MODELS <= ALL_MODELS
    assert not OPENAI_MODELS & ANTHROPIC_MODELS
    assert all(name.startswith("gemini/") for name in GEMINI_MODELS)


def test_a_new_model_of_litellms_appears_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "openai/gpt-next" not in ALL_MODELS
    monkeypatch.setitem(litellm.model_cost, "gpt-next", {"litellm_provider": "openai", "mode": "chat"})
    assert "openai/gpt-next" in OPENAI_MODELS
    assert "openai/gpt-next" in ALL_MODELS


def test_updates_are_non_destructive(client: Client) -> None:
    router = client.routers.create("test_router", base_model="openai/openai/gpt-4o")
    updated = client.routers.update_router(
        "test_router", {"models": ["openai/gpt-4o", "openai/gpt-4o-mini"]}, description="two"
    )
    assert (updated.version, updated.description) == (2, "two")
    first = client.routers.get("test_router", version=1)
    newest = client.routers.get("test_router")
    assert first is not None
    assert newest is not None
    assert (first.version, newest.version) == (1, 2)
    assert client.routers.get("missing") is None
    assert [one.name for one in client.routers.list()] == [router.name]
    with pytest.raises(ResourceNotFoundError):
        client.routers.update_router("missing", {"max_cost": 1})


def test_run_returns_the_text_within_constraints(client: Client, p: LoopbackProvider, monkeypatch: Any) -> None:
    monkeypatch.setenv("SEED_KEY", "k")
    made = [
        Deployment(m, api_base=p.openai_base, api_key="os.environ/SEED_KEY", quality=q)
        for m, q in (("openai/gpt-4o", 0.9), ("openai/gpt-4o-mini", 0.7))
    ]
    router = Router("martian", models=made, client=client)
    p.model("gpt-4o", "the large one")
    p.model("gpt-4o-mini", "the small one")
    request = {"messages": [{"role": "user", "content": "What is Python?"}], "max_tokens": 100}

    def run(constraint: RoutingConstraint | None) -> Any:
        return client.routers.run(router, constraint, request)

    assert run(None) == "the large one"
    cost = RoutingConstraint(cost_constraint=CostConstraint(value=ConstraintValue(numeric_value=0.0002)))
    assert run(cost) == "the small one", "the best quality within the cap"
    assert run(RoutingConstraint(cost_constraint=CostConstraint(numeric_value=0.1))) == "the large one"
    floor = RoutingConstraint(quality_constraint=QualityConstraint(ConstraintValue(numeric_value=0.6)))
    assert run(floor) == "the small one", "the cheapest above the floor"
    like = RoutingConstraint(quality_constraint=QualityConstraint(model_name="gpt-4o"))
    assert run(like) == "the large one"
    both = RoutingConstraint(CostConstraint(0.1), QualityConstraint(0.6))
    text = run(both)
    assert isinstance(text, str)
    assert text == "the small one"
    assert text.response.choices[0].message.content == "the small one"
    assert text.route_result.deployment == "openai/gpt-4o-mini"
    with pytest.raises(NoCandidateError):
        run(RoutingConstraint(quality_constraint=QualityConstraint(0.99)))
    with pytest.raises(SpecError, match="one of the two"):
        ConstraintValue(numeric_value=1.0, model_name="gpt-4o")
    router.update(models=[made[1]])
    assert client.routers.run("martian", None, request, version=1) == "the large one"
    assert client.routers.run("martian", None, request) == "the small one"
    with pytest.raises(ResourceNotFoundError):
        client.routers.run("missing", None, request)


# --------------------------------------------------------------------------- 002: Mixtrain's Router


RULES = [
    {
        "name": "premium",
        "priority": 10,
        "conditions": [{"field": "user.tier", "operator": "equals", "value": "premium"}],
        "strategy": "SINGLE",
        "targets": [{"model_name": "openai/gpt-4o", "weight": 1.0}],
    },
    {
        "name": "everybody",
        "priority": 0,
        "conditions": [],
        "strategy": "SPLIT",
        "targets": [
            {"model_name": "openai/gpt-4o-mini", "weight": 0.8},
            {"model_name": "openai/gpt-4o", "weight": 0.2},
        ],
    },
]


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Router:
    monkeypatch.setenv("ROUTER_PLUGIN_HOME", str(tmp_path / "home"))
    Router("image-gen-router", models=["openai/gpt-4o", "openai/gpt-4o-mini"], rules=RULES, client=Client())
    return Router("image-gen-router")


def test_the_properties_of_a_reference(images: Router) -> None:
    router = images
    assert router.name == "image-gen-router"
    assert isinstance(router.config, dict)
    assert [rule.name for rule in router.rules] == ["premium", "everybody"]
    assert [version["version"] for version in router.versions] == [1]
    assert router.active_version == 1


def test_route_list_and_get_requests(images: Router, capsys: pytest.CaptureFixture[str]) -> None:
    router = images
    result = router.route({"user": {"tier": "premium"}, "prompt": "A sunset"})
    print(f"Matched rule: {result.matched_rule.name}")
    print(f"Target: {result.selected_targets[0].model_name}")
    assert capsys.readouterr().out == "Matched rule: premium\nTarget: openai/gpt-4o\n"
    assert (result.matched_rule.priority, result.selected_targets[0].weight) == (10, 1.0)
    requests = router.list_requests(limit=50)
    for req in requests:
        print(f"{req['matched_rule']}: {req['selected_target']}")
    assert capsys.readouterr().out == "premium: openai/gpt-4o\n"
    assert router.get_request(requests[0]["request_id"]) == requests[0]


def test_update_deploy_refresh_delete(images: Router) -> None:
    router = images
    assert router.update(rules=RULES[1:]) is None
    router.update(rules=RULES[:1])
    assert router.active_version == 3
    assert router.deploy(version=1) is None
    assert [rule.name for rule in router.rules] == ["premium", "everybody"]
    assert router.refresh() is None
    assert router.active_version == 1
    assert router.delete() is None
    with pytest.raises(ResourceNotFoundError):
        _ = router.config


OPERATORS: list[tuple[dict[str, Any], Any, Any]] = [
    ({"field": "tier", "operator": "equals", "value": "premium"}, "premium", "free"),
    ({"field": "status", "operator": "not_equals", "value": "blocked"}, "fine", "blocked"),
    ({"field": "credits", "operator": "greater_than", "value": 100}, 101, 100),
    ({"field": "tokens", "operator": "less_than", "value": 1000}, 999, 1000),
    ({"field": "region", "operator": "is_in", "value": ["us-east", "us-west"]}, "us-west", "eu"),
    ({"field": "query", "operator": "contains", "value": "urgent"}, "most urgent!", "calm"),
    ({"field": "id", "operator": "regex_match", "value": "^prod_"}, "prod_1", "test_prod_1"),
]


@pytest.mark.parametrize(("condition", "yes", "no"), OPERATORS, ids=lambda value: str(value)[:40])
def test_every_operator_of_the_table(condition: dict[str, Any], yes: Any, no: Any) -> None:
    rule = {"name": "r", "conditions": [condition], "targets": ["openai/gpt-4o"]}
    router = Router("r", models=["openai/gpt-4o-mini", "openai/gpt-4o"], rules=[rule])
    matched = router.route({"prompt": "x", condition["field"]: yes}).matched_rule
    assert matched is not None
    assert matched.name == "r"
    assert router.route({"prompt": "x", condition["field"]: no}).matched_rule is None


# --------------------------------------------------------------------------- 003: Martian's gateway parameters


def body(text: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(text)
    return data


@pytest.fixture
def gateway(p: LoopbackProvider) -> Iterator[Router]:
    for name in ("gpt-3.5-turbo", "claude-2.1", "gpt-4"):
        p.model(name, f"from {name}")
    made = [
        at(p, "openai/gpt-3.5-turbo", quality=0.6, input_cost_per_token=5e-7, output_cost_per_token=15e-7),
        at(p, "anthropic/claude-2.1", quality=0.7, input_cost_per_token=8e-6, output_cost_per_token=24e-6),
        at(p, "openai/gpt-4", quality=0.9, input_cost_per_token=3e-5, output_cost_per_token=6e-5),
    ]
    router = Router("gateway", models=made)
    with router_plugin.install(router):
        yield router


def test_models_restrict_the_choice(gateway: Router) -> None:
    answer = litellm.completion(
        **body(
            """{
  "model": "router",
  "models": ["gpt-3.5-turbo", "claude-2.1"],
  "messages": [{"role": "user", "content": "Hello world!"}],
  "temperature": 1
}"""
        )
    )
    assert answer.choices[0].message.content == "from claude-2.1"


def test_max_cost_and_willingness_to_pay(gateway: Router) -> None:
    answer = litellm.completion(
        **body(
            """{
  "model": "router",
  "models": ["gpt-3.5-turbo", "claude-2.1"],
  "max_cost": 0.02,
  "willingness_to_pay": 0.01,
  "messages": [{"role": "user", "content": "Hello world!"}],
  "temperature": 1
}"""
        )
    )
    result = RouteResult.of(answer)
    assert result is not None
    assert result.cost_usd <= 0.02
    assert result.objective == "willingness to pay $0.01 per 0.10 of quality"


def test_extra_is_kept_and_never_sent(gateway: Router, p: LoopbackProvider) -> None:
    request = body(
        """{
  "model": "gpt-4",
  "messages": [{"role": "user", "content": "Write small poem"}],
  "extra": {"ip": "123.123.123.123", "Timezone": "UTC+0", "Country": "US", "City": "New York"}
}"""
    )
    answer = litellm.completion(**request)
    assert answer.choices[0].message.content == "from gpt-4"
    assert "extra" not in p.requests[-1].body
    (record,) = gateway.list_requests()
    assert record["extra"]["City"] == "New York"
    assert record["model"] == "openai/gpt-4"


# --------------------------------------------------------------------------- 004: Unify's router strings


def test_the_foundation_routers_string() -> None:
    tag = parse_router_string("router@q:1|c:4.65e-03|t:2.08e-05|i:2.07e-03").tags[0]
    assert (tag.weights.q, tag.weights.c, tag.weights.t, tag.weights.i) == (1, 0.00465, 2.08e-05, 0.00207)


def test_a_router_string_decides_and_filters(gateway: Router) -> None:
    answer = litellm.completion(
        model="router@q:1|c:4.65e-03|t:2.08e-05|i:2.07e-03|models:gpt-4,claude-2.1|skip_providers:anthropic",
        messages=[{"role": "user", "content": "Hello world!"}],
    )
    assert answer.choices[0].message.content == "from gpt-4"
