"""Foreign configurations: what is carried over, what is said to be left out, and that nothing is lost or given away."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_plugin import RouterStringError, SpecError
from router_plugin.spec.files import spec_of
from router_plugin.spec.foreign import (
    Imported,
    from_litellm,
    from_mixtrain,
    from_openrouter,
    from_unify,
    import_config,
)

PROXY = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-eu
      api_base: https://eu.example.com
      api_key: os.environ/AZURE_EU_KEY
      api_version: "2024-06-01"
      rpm: 900
      timeout: 30
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: sk-canary-0001
      rpm: 100
    model_info: {id: openai-direct, base_model: gpt-4o, supports_vision: true, owner: search-team}
  - model_name: claude
    litellm_params:
      model: bedrock/anthropic.claude-3-haiku-20240307-v1:0
      aws_region_name: eu-central-1
      aws_secret_access_key: canary-aws-0002
      input_cost_per_token: 2.5e-07
      output_cost_per_token: 1.25e-06
      temperature: 0.2
  - model_name: long
    litellm_params: {model: gemini/gemini-1.5-pro, api_key: os.environ/GEMINI_API_KEY}
router_settings:
  routing_strategy: simple-shuffle
  fallbacks: [{gpt-4o: [claude]}]
  context_window_fallbacks: [{claude: [long]}]
  model_group_alias: {gpt-4: gpt-4o}
  redis_host: redis.internal
  redis_password: canary-redis-0003
  num_retries: 2
  cooldown_time: 30
litellm_settings:
  request_timeout: 60
  drop_params: true
  cache_params: {type: redis, password: canary-cache-0004}
general_settings: {master_key: sk-canary-0005, database_url: "postgresql://u:canary-db-0006@db/x"}
"""
CANARIES = [f"canary-{n}" for n in ("0001", "aws-0002", "redis-0003", "cache-0004", "0005", "db-0006")]

MIXTRAIN: dict[str, Any] = {
    "name": "image gen router",
    "description": "By tier",
    "metadata": {"team": "growth"},
    "rules": [
        {
            "name": "premium",
            "priority": 100,
            "description": "the paying",
            "is_enabled": True,
            "conditions": [
                {"field": "user.tier", "operator": "equals", "value": "premium", "description": "paying"},
                {"field": "status", "operator": "not_equals", "value": "blocked"},
                {"field": "credits", "operator": "greater_than", "value": 100},
                {"field": "tokens", "operator": "less_than", "value": 1000},
                {"field": "region", "operator": "in", "value": ["us-east", "us-west"]},
                {"field": "region", "operator": "not_in", "value": ["eu"]},
                {"field": "region", "operator": "is_in", "value": ["us-east"]},
                {"field": "query", "operator": "contains", "value": "urgent"},
                {"field": "query", "operator": "not_contains", "value": "spam"},
                {"field": "id", "operator": "regex", "value": "^prod_"},
                {"field": "id", "operator": "regex_match", "value": "_eu$"},
                {"field": "trace", "operator": "exists", "value": None},
                {"field": "debug", "operator": "not_exists"},
            ],
            "strategy": "split",
            "targets": [
                {
                    "provider": "custom",
                    "model_name": "openai/gpt-4o",
                    "endpoint": "https://a.example.com",
                    "weight": 0.9,
                },
                {"model_name": "anthropic/claude-3-haiku-20240307", "weight": 0.1, "label": "control"},
            ],
        },
        {
            "name": "rest",
            "is_enabled": False,
            "strategy": "shadow",
            "targets": [
                {"model_name": "groq/llama-3.1-8b-instant", "is_shadow": True, "headers": {"X-Key": "canary-0001"}},
                {"model_name": "openai/gpt-4o", "timeout_ms": 500, "retry_count": 2},
            ],
        },
    ],
}
OPENROUTER: dict[str, Any] = {
    "model": "anthropic/claude-3.5-sonnet",
    "models": ["openrouter/openai/gpt-4o", "meta-llama/llama-3.1-70b-instruct:nitro"],
    "route": "fallback",
    "provider": {
        "order": ["Anthropic", "Together"],
        "only": ["anthropic", "together", "openai"],
        "ignore": ["deepinfra"],
        "allow_fallbacks": False,
        "max_price": {"prompt": 3, "completion": "15", "image": 0.1},
        "data_collection": "deny",
        "zdr": True,
        "require_parameters": True,
        "quantizations": ["fp8"],
        "preferred_min_throughput": {"p90": 50},
    },
    "messages": [{"role": "user", "content": "hello"}],
    "temperature": 0.1,
}
SEED = "router@q:1|c:4.65e-03|t:2.08e-05|i:2.07e-03"


def proxy() -> dict[str, Any]:
    import yaml

    data: dict[str, Any] = yaml.safe_load(PROXY.replace("2.5e-07", "0.00000025").replace("1.25e-06", "0.00000125"))
    return data


def about(imported: Imported, place: str) -> str:
    """The one line of left_out on a place."""
    lines = [line for line in imported.left_out if line.startswith((f"{place}:", f"{place} "))]
    assert len(lines) == 1, (place, imported.left_out)
    return lines[0]


def loads(imported: Imported) -> Any:
    document = json.loads(json.dumps(imported.document))
    assert document == imported.document
    if "rules" in document:
        parse_rules = pytest.importorskip("router_plugin.spec.rules").parse_rules
        parse_rules(document.pop("rules"))
    return spec_of(document)


# Mixtrain


def test_mixtrain_rules_are_carried_over_in_our_spelling() -> None:
    imported = from_mixtrain(MIXTRAIN)
    document = imported.document
    assert (document["name"], document["description"]) == ("image-gen-router", "By tier")
    assert document["models"] == [
        "openai/gpt-4o",
        "anthropic/claude-3-haiku-20240307",
        "groq/llama-3.1-8b-instant",
    ]
    premium, rest = document["rules"]
    assert (premium["priority"], premium["strategy"], premium["enabled"]) == (100, "SPLIT", True)
    assert [condition["operator"] for condition in premium["conditions"]] == [
        *("equals", "not_equals", "greater_than", "less_than", "is_in", "not_in", "is_in", "contains"),
        *("not_contains", "regex_match", "regex_match", "exists", "not_exists"),
    ]
    assert premium["conditions"][4] == {"field": "region", "operator": "is_in", "value": ["us-east", "us-west"]}
    assert premium["conditions"][11] == {"field": "trace", "operator": "exists"}
    assert [target["weight"] for target in premium["targets"]] == [0.9, 0.1]
    assert rest["enabled"] is False
    assert [t["model_name"] for t in rest["targets"]] == ["openai/gpt-4o", "groq/llama-3.1-8b-instant"]
    assert "(team)" in about(imported, "metadata")
    assert "api_key" in about(imported, "rules[1].targets[0].headers")
    about(imported, "rules[0].targets[0].endpoint")
    about(imported, "rules[0].conditions[0].description")
    loads(imported)


def test_a_list_of_rules_is_a_mixtrain_router_too() -> None:
    imported = from_mixtrain([{"targets": [{"model_name": "gpt-4o"}]}], name="mine")
    assert imported.document["name"] == "mine"
    assert imported.document["rules"][0]["name"] == "rule 1"
    assert imported.left_out == ()
    loads(imported)


def test_a_condition_that_cannot_hold_here_switches_its_rule_off_rather_than_widening_it() -> None:
    conditions = [
        {"field": "tier", "operator": "equals", "value": "a"},
        {"field": "id", "operator": "regex", "value": "(?=x)"},
    ]
    imported = from_mixtrain([{"name": "r", "conditions": conditions, "targets": [{"model_name": "gpt-4o"}]}])
    (rule,) = imported.document["rules"]
    assert (rule["enabled"], len(rule["conditions"])) == (False, 1)
    assert "switched off" in about(imported, "rules[0].conditions[1]")


def test_targets_that_are_router_strings_name_their_models() -> None:
    targets = [{"model_name": "router@q:1|models:gpt-4o,o3"}, {"model_name": "gpt-4o@openai->groq/x"}]
    imported = from_mixtrain([{"strategy": "FALLBACK", "targets": targets}])
    assert imported.document["models"] == ["gpt-4o", "o3", "openai/gpt-4o", "groq/x"]
    assert from_mixtrain([{"targets": [{"model_name": "router@q:1"}]}]).document["models"] == "any"


def test_rules_of_one_name_are_told_apart() -> None:
    imported = from_mixtrain([{"name": "a", "targets": [{"model_name": "gpt-4o"}]} for _ in range(3)])
    assert [rule["name"] for rule in imported.document["rules"]] == ["a", "a #2", "a #3"]
    about(imported, "rules[1].name")


# litellm


def test_a_litellm_proxy_configuration_becomes_deployments_and_a_rule_per_group() -> None:
    imported = import_config(PROXY)
    document = imported.document
    eu, direct, claude, long = document["models"]
    assert eu == {
        "name": "gpt-4o#1",  # "gpt-4o" would mean openai/gpt-4o too
        "model": "azure/gpt-4o-eu",
        "api_base": "https://eu.example.com",
        "api_key": "os.environ/AZURE_EU_KEY",
        "api_version": "2024-06-01",
        "rpm": 900,
    }
    assert (direct["name"], direct["supports"]) == ("openai-direct", {"vision": True})
    assert direct["api_key"] == "os.environ/GPT_4O_API_KEY"
    assert claude["params"] == {"aws_region_name": "eu-central-1"}
    assert (claude["input_cost_per_token"], claude["output_cost_per_token"]) == (2.5e-07, 1.25e-06)
    assert long["name"] == "long"
    group, second, third, alias = document["rules"]
    assert group["conditions"] == [{"field": "model", "operator": "equals", "value": "gpt-4o"}]
    assert group["strategy"] == "SPLIT"
    assert group["targets"] == [
        {"model_name": "gpt-4o#1->openai-direct->claude->long", "weight": 900.0},
        {"model_name": "openai-direct->gpt-4o#1->claude->long", "weight": 100.0},
    ]
    assert [t["model_name"] for t in second["targets"]] == ["claude", "long"]
    assert (second["strategy"], third["name"], alias["name"]) == ("FALLBACK", "long", "gpt-4")
    assert alias["targets"] == group["targets"]
    assert (document["max_retries"], document["timeout_s"]) == (2, 60)
    assert "variable GPT_4O_API_KEY" in about(imported, "model_list[1].litellm_params.api_key")
    assert "Redis" in about(imported, "router_settings.redis_host")
    assert "give it with the call" in about(imported, "model_list[2].litellm_params.temperature")
    assert "(type, password)" in about(imported, "litellm_settings.cache_params")
    assert "litellm.drop_params" in about(imported, "litellm_settings.drop_params")
    assert "balanced" in about(imported, "router_settings.routing_strategy")
    assert len(loads(imported).deployments) == 4


def entries(*params: dict[str, Any], group: str = "g") -> list[dict[str, Any]]:
    return [{"model_name": group, "litellm_params": one} for one in params]


def test_a_group_without_shares_is_one_target_so_that_objective_and_load_choose() -> None:
    data = {"model_list": entries({"model": "openai/a"}, {"model": "azure/b"}), "routing_strategy": "least-busy"}
    (rule,) = from_litellm(data).document["rules"]
    assert (rule["strategy"], rule["targets"]) == ("FALLBACK", [{"model_name": "router@models:g,g#2", "weight": 1.0}])


def test_order_makes_tiers() -> None:
    data = {"model_list": entries({"model": "openai/a", "order": 2}, {"model": "azure/b", "order": 1, "weight": 3})}
    imported = from_litellm(data)
    assert [t["model_name"] for t in imported.document["rules"][0]["targets"]] == ["g#2", "g"]
    about(imported, "model_list[1].litellm_params.weight")


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("cost-based-routing", {"objective": "cost"}),
        ("latency-based-routing", {"weights": {"t": 1.0}}),
        ("simple-shuffle", {}),
        ("least-busy", {}),
        ("usage-based-routing-v2", {}),
        ("something-new", {}),
    ],
)
def test_routing_strategies_of_litellm(strategy: str, options: dict[str, Any]) -> None:
    imported = from_litellm({"model_list": entries({"model": "openai/a"}), "routing_strategy": strategy})
    assert {key: imported.document.get(key) for key in options} == options
    assert bool(options) != any("routing_strategy" in line for line in imported.left_out)
    loads(imported)


def test_fallbacks_of_fallbacks_and_default_fallbacks_are_followed() -> None:
    models = [one for name in "abcd" for one in entries({"model": f"openai/m-{name}"}, group=name)]
    data = {"model_list": models, "fallbacks": [{"a": ["b", "nowhere"]}, {"b": ["c", "a"]}], "default_fallbacks": ["d"]}
    imported = from_litellm(data)
    reached = {r["name"]: [t["model_name"] for t in r["targets"]] for r in imported.document["rules"]}
    assert reached == {"a": ["a", "b", "c", "d"], "b": ["b", "c", "d", "a"], "c": ["c", "d"], "d": ["d"]}
    about(imported, "fallbacks[0].a[1]")


def test_a_literal_key_gives_each_deployment_a_variable_of_its_own() -> None:
    models = entries(
        {"model": "openai/a", "api_key": "sk-canary-a"},
        {"model": "openai/b", "api_key": "sk-canary-b"},
        {"model": "openai/c", "api_key": "sk-canary-a"},
    )
    made = from_litellm(models).document["models"]
    assert [one["api_key"] for one in made] == [f"os.environ/{n}" for n in ("G_API_KEY", "G_API_KEY_2", "G_API_KEY")]


def test_an_address_that_must_be_completed_stays_so_that_no_call_goes_elsewhere() -> None:
    models = entries(
        {"model": "openai/a", "api_base": "os.environ/VLLM_URL"},
        {"model": "openai/b", "api_base": "https://u:canary-0001@h.example.com/v1?code=canary-0002"},
    )
    imported = from_litellm(models)
    assert imported.document["models"][0]["api_base"] == "os.environ/VLLM_URL"
    assert imported.document["models"][1]["api_base"].startswith("https://***@h.example.com/v1")
    assert "canary" not in json.dumps([imported.document, imported.left_out])
    about(imported, "model_list[0].litellm_params.api_base")


def test_defaults_of_all_entries_are_taken_over_where_an_entry_has_none() -> None:
    models = entries({"model": "vertex_ai/a"}, {"model": "vertex_ai/b", "vertex_project": "mine"})
    data = {"model_list": models, "default_litellm_params": {"vertex_project": "all", "base_url": "https://a.example"}}
    first, second = from_litellm(data).document["models"]
    assert (first["params"], second["params"]) == ({"vertex_project": "all"}, {"vertex_project": "mine"})
    assert first["api_base"] == "https://a.example"
    wild = from_litellm({**data, "model_list": entries({"model": "openai/*"}, group="*")})
    assert "vertex_project" in about(wild, "default_litellm_params")


def test_names_never_mean_another_deployment() -> None:
    models = [
        *entries({"model": "openai/gpt-4o"}, group="gpt-4o"),
        *entries({"model": "azure/gpt-4o"}, group="cheap"),
        *entries({"model": "openai/x"}, group="router"),
    ]
    imported = from_litellm(models)
    assert [one["name"] for one in imported.document["models"]] == ["gpt-4o#1", "cheap", "openai/x"]
    assert imported.document["rules"][2]["targets"] == [{"model_name": "openai/x", "weight": 1.0}]


def test_large_configurations_are_quick_or_refused() -> None:
    same = from_litellm(entries(*[{"model": "openai/a", "rpm": 1}] * 1000))
    assert [one["name"] for one in same.document["models"]][::999] == ["g", "g#1000"]
    assert len(same.document["rules"][0]["targets"]) == 256
    models = [one for i in range(400) for one in entries({"model": f"openai/m{i}"}, group=f"g{i}")]
    falls = from_litellm({"model_list": models, "default_fallbacks": [f"g{i}" for i in range(400)]})
    assert {len(rule["targets"]) for rule in falls.document["rules"]} == {256}
    about(falls, "fallbacks of 'g0'")
    variables = {f"V{i}_KEY": f"canary-{i}" for i in range(20_000)}
    assert len(from_litellm({"model_list": models, "environment_variables": variables}).left_out) == 20_000
    with pytest.raises(SpecError, match="model_list: must be at most 1000"):
        from_litellm(entries(*[{"model": "openai/a"}] * 1001))
    with pytest.raises(SpecError, match="rules: must be at most 1000"):
        from_mixtrain([{"name": "a", "targets": [{"model_name": "a"}]}] * 1001)


def test_wildcards_and_models_of_other_modes_are_left_out() -> None:
    models = entries({"model": "openai/*", "api_key": "sk-canary-a"}, group="openai/*")
    imported = from_litellm(models)
    assert imported.document["models"] == "any"
    assert "litellm_params.api_key" in about(imported, "model_list[0]")
    embedding = {**entries({"model": "openai/e"})[0], "model_info": {"mode": "embedding"}}
    with pytest.raises(SpecError, match="at least one deployment"):
        from_litellm([embedding])


def test_what_both_sections_say_counts_once() -> None:
    data = {
        "model_list": entries({"model": "openai/a"}),
        "router_settings": {"num_retries": 1, "timeout": 5},
        "litellm_settings": {"num_retries": 7, "request_timeout": 9},
    }
    imported = from_litellm(data)
    assert (imported.document["max_retries"], imported.document["timeout_s"]) == (1, 5)
    assert "outranks" in about(imported, "litellm_settings.num_retries")
    assert "outranks" in about(imported, "litellm_settings.request_timeout")


# OpenRouter


def test_an_openrouter_body_keeps_its_order_and_its_provider_preferences() -> None:
    imported = from_openrouter(OPENROUTER)
    document = imported.document
    names = [
        "openrouter/anthropic/claude-3.5-sonnet",
        "openrouter/openai/gpt-4o",
        "openrouter/meta-llama/llama-3.1-70b-instruct:nitro",
    ]
    assert [one["model"] for one in document["models"]] == names
    assert [target["model_name"] for target in document["rules"][0]["targets"]] == names
    sent = document["models"][0]["params"]["extra_body"]["provider"]
    assert sent == {**OPENROUTER["provider"], "max_price": {"prompt": 3, "completion": 15.0, "image": 0.1}}
    assert "max_cost_per_million_tokens" not in document
    about(imported, "provider.max_price")
    about(imported, "provider.max_price.image")
    assert "with the call" in about(imported, "messages")
    loads(imported)


@pytest.mark.parametrize(
    ("sort", "options"),
    [
        ("price", {"objective": "cost"}),
        ("latency", {"weights": {"t": 1.0}}),
        ("throughput", {"weights": {"i": 1.0}}),
        ({"by": "price", "partition": "none"}, {"objective": "cost"}),
    ],
)
def test_sort_is_an_objective_and_replaces_the_order(sort: Any, options: dict[str, Any]) -> None:
    imported = from_openrouter({"models": ["a/b", "c/d"], "provider": {"sort": sort}})
    assert {key: imported.document[key] for key in options} == options
    assert "rules" not in imported.document
    assert "ranked" in about(imported, "models")
    loads(imported)


@pytest.mark.parametrize(
    ("price", "bound"),
    [
        ({"prompt": 2, "completion": 2}, (2, "max")),
        ({"prompt": "0.5"}, (0.5, "input")),
        ({"completion": 8}, (8, "output")),
        ({"request": 1}, (None, None)),
    ],
)
def test_max_price_is_a_bound_where_one_bound_says_it(price: dict[str, Any], bound: tuple[Any, Any]) -> None:
    document = from_openrouter({"model": "a/b", "provider": {"max_price": price}}).document
    assert (document.get("max_cost_per_million_tokens"), document.get("price_basis")) == bound


def test_one_model_without_preferences_is_only_its_name() -> None:
    imported = from_openrouter({"model": "openrouter/a/b"})
    assert (imported.document, imported.left_out) == ({"name": "imported", "models": ["openrouter/a/b"]}, ())


# Unify


def test_the_seeds_router_string_becomes_weights_over_any_model() -> None:
    imported = from_unify(SEED)
    weights = {"q": 1.0, "c": 0.00465, "t": 2.08e-05, "i": 0.00207}
    assert imported.document == {"name": "imported", "models": "any", "weights": weights}
    assert imported.left_out == ()
    assert loads(imported).any_model


def test_a_filter_that_allows_nothing_does_not_allow_everything() -> None:
    document = from_unify("router@models:gpt-4o@openai|providers:groq").document
    assert document["providers"] == ["groq"]


def test_filters_and_bounds_of_a_router_string_become_options() -> None:
    text = f"{SEED}|q>=0.7|c<5|c>1|ttft<=900|itl<30|ots>20|models:gpt-4o@openai,llama-3@together-ai"
    imported = from_unify(f"{text}|providers:openai,together-ai|skip_models:o3|skip_providers:groq")
    document = imported.document
    assert document["models"] == ["openai/gpt-4o", "together_ai/llama-3"]
    assert (document["min_quality"], document["max_ttft_ms"], document["max_itl_ms"]) == (0.7, 900, 30)
    assert (document["max_cost_per_million_tokens"], document["price_basis"]) == (5, "blend")
    assert document["providers"] == ["openai", "together_ai"]
    assert "lower bound" in about(imported, "cost>1")
    assert "lower bound" in about(imported, "output_tks_per_sec>20")
    assert "itself" in about(imported, "itl<30")
    about(imported, "skip_models:o3")
    about(imported, "skip_providers:groq")
    assert not any(line.startswith(("ttft", "quality")) for line in imported.left_out)
    loads(imported)


def test_models_of_one_provider_take_its_prefix() -> None:
    document = from_unify("router@models:gpt-4o,o3|providers:openai|skip_models:o3").document
    assert document == {"name": "imported", "models": ["openai/gpt-4o", "openai/o3"], "exclude_models": ["o3"]}


def test_a_model_with_a_provider_is_a_deployment_and_a_mode_is_left_out() -> None:
    assert from_unify("gpt-4o@openai").document["models"] == ["openai/gpt-4o"]
    imported = from_unify("llama-3-8b-chat@lowest-ttft<0.5ic")
    assert imported.document["models"] == ["llama-3-8b-chat"]
    assert (imported.document["max_cost_per_million_tokens"], imported.document["price_basis"]) == (0.5, "input")
    assert any("lowest ttft" in line for line in imported.left_out)


def test_a_chain_is_a_rule_that_falls_from_tag_to_tag() -> None:
    imported = from_unify("router_mine@q:1|models:o3|providers:openai->llama-3@together-ai->x@itl", name="mine")
    document = imported.document
    assert document["models"] == ["openai/o3", "together_ai/llama-3", "x"]
    assert [target["model_name"] for target in document["rules"][0]["targets"]] == [
        "router@q:1|models:openai/o3|providers:openai",
        "together_ai/llama-3",
        "x@lowest-itl",
    ]
    assert "weights" not in document
    about(imported, "router/mine")
    loads(imported)


def test_a_second_price_bound_and_a_named_version_are_told() -> None:
    imported = from_unify("router/mine/versions/3@c<5|ic<2")
    assert imported.document["name"] == "mine"
    assert "'blend'" in about(imported, "input_cost<2")
    about(imported, "router/mine/versions/3")


# All of them


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (PROXY, "litellm"),
        ([{"model_name": "a", "litellm_params": {"model": "openai/a"}}], "litellm"),
        (MIXTRAIN, "mixtrain"),
        (json.dumps(MIXTRAIN["rules"]), "mixtrain"),
        (OPENROUTER, "openrouter"),
        (SEED, "unify"),
        ("gpt-4o@openai", "unify"),
    ],
)
def test_the_kind_is_found_out_from_the_shape(source: Any, name: str) -> None:
    assert import_config(source) == import_config(source, kind=name)


def test_files_are_read_by_their_ending(tmp_path: Path) -> None:
    for ending, text in (("yaml", PROXY), ("json", json.dumps(MIXTRAIN))):
        path = tmp_path / f"config.{ending}"
        path.write_text(text)
        assert import_config(path) == import_config(str(path)) == import_config(text)
    path = tmp_path / "router.txt"
    path.write_text(f"{SEED}\n")
    assert import_config(path, kind="unify") == from_unify(SEED)


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            inner = list(leaves(item))
            yield from inner or ([key] if item is not None else [])
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)


# Keys that have another name in a document, with the text that stands for them there.
RESPELT = {
    "model_name": '"name"',
    "num_retries": "max_retries",
    "request_timeout": "timeout_s",
    "id": "openai-direct",
    "gpt-4o": '"gpt-4o"',
    "claude": '"claude"',
    "supports_vision": '"vision"',
    "is_enabled": "enabled",
    "is_shadow": "SHADOW",
    "route": "FALLBACK",
}


@pytest.mark.parametrize("source", [proxy(), MIXTRAIN, OPENROUTER], ids=["litellm", "mixtrain", "openrouter"])
def test_every_key_of_the_source_is_in_the_document_or_left_out(source: dict[str, Any]) -> None:
    imported = import_config(source)
    document, left_out = json.dumps(imported.document), "\n".join(imported.left_out)
    for key in leaves(source):
        assert RESPELT.get(key, f'"{key}"') in document or key in left_out, key


def mappings(value: Any, key: str = "") -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if key not in ("model_group_alias", "default_litellm_params"):
            yield value
        for name, item in value.items():
            yield from mappings(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from mappings(item, key)


KEYS = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12).map(lambda text: f"zz{text}zz")
VALUES = st.recursive(
    st.booleans() | st.integers(0, 9) | st.text("xyz", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def outcome(source: Any) -> str:
    """The document and what is left out, or why it is refused."""
    try:
        imported = import_config(source, "litellm" if "model_list" in source else None)
    except SpecError as error:
        return f"refused: {error}"
    return json.dumps(imported.document) + "left out: " + "\n".join(imported.left_out)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([proxy(), MIXTRAIN, OPENROUTER]), st.integers(0, 1000), KEYS, VALUES)
def test_no_unknown_key_is_dropped_wherever_it_stands(source: Any, place: int, key: str, value: Any) -> None:
    source = copy.deepcopy(source)
    found = list(mappings(source))
    found[place % len(found)][key] = value
    said = outcome(source)
    names = (key,) if said.startswith("refused: ") else (key, *leaves(value))  # a fallback of that name must be a list
    assert all(name in said for name in names)


@pytest.mark.parametrize("source", [PROXY, MIXTRAIN], ids=["litellm", "mixtrain"])
def test_secrets_are_neither_shown_nor_carried(source: Any) -> None:
    imported = import_config(source)
    said = "\n".join([json.dumps(imported.document), *imported.left_out, imported.text(), repr(imported)])
    assert not [canary for canary in CANARIES if canary in said]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_secrets_are_not_in_errors_either(data: st.DataObject) -> None:
    """Each value of the source in turn becomes one of the wrong kind that holds a secret known from elsewhere."""
    source = proxy()
    target = data.draw(st.sampled_from([m for m in mappings(source) if m]))
    key = data.draw(st.sampled_from(sorted(target)))
    target[key] = data.draw(st.sampled_from(["canary-redis-0003", ["canary-redis-0003"], {"canary-redis-0003": 1}, 7]))
    source["general_settings"] = {"master_key": "canary-redis-0003"}
    said = outcome(source)
    assert "canary" not in (said if said.startswith("refused: ") else said.split("left out: ")[1])


def test_a_summary_reads() -> None:
    text = import_config(PROXY).text()
    assert text.startswith("imported: 4 models, 4 rules\n  model  gpt-4o#1 (azure/gpt-4o-eu)")
    assert "  option max_retries = 2\n" in text
    assert "left out: " in text
    assert from_unify(SEED).text().endswith("left out: nothing")


DEEP: Any = "x"
for _ in range(40):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ({"foo": 1}, None, "cannot tell what kind.*mixtrain: .*litellm: .*openrouter: .*unify: "),
        ({"name": "a", "models": ["gpt-4o"]}, None, "cannot tell"),
        ("gpt-4o", None, "cannot tell"),
        (None, None, "cannot tell"),
        ({}, "mixtran", "did you mean 'mixtrain'"),
        ([], "mixtrain", "rules: must list at least one"),
        (7, "mixtrain", "must be a mapping"),
        ([{"targets": []}], "mixtrain", r"rules\[0\].targets"),
        ([{"targets": [{"weight": 1}]}], "mixtrain", r"rules\[0\].targets\[0\].model_name: is missing"),
        ([{"targets": [{"model_name": "a b"}]}], "mixtrain", r"targets\[0\].model_name: .*no spaces"),
        ([{"targets": [{"model_name": "router@zz:1"}]}], "mixtrain", r"targets\[0\].model_name: .*unknown key"),
        ([{"targets": [{"model_name": "a", "weight": -1}]}], "mixtrain", "must not be negative"),
        ([{"strategy": "SPLIT", "targets": [{"model_name": "a", "weight": 0}]}], "mixtrain", "all weights are zero"),
        ([{"strategy": "MIRROR", "targets": [{"model_name": "a"}]}], "mixtrain", "strategy: must be one of SINGLE"),
        ([{"priority": "1", "targets": [{"model_name": "a"}]}], "mixtrain", "priority: must be a whole number"),
        ([{"conditions": [{"operator": "equals"}], "targets": []}], "mixtrain", r"conditions\[0\].field: is missing"),
        ([{"conditions": [{"field": "a", "operator": "near"}]}], "mixtrain", "unknown operator 'near'; known: equals"),
        ({"model_list": "a"}, None, "model_list: must be a list"),
        ({"model_list": []}, None, "model_list: must list at least one"),
        ({"model_list": [{"model_name": "a"}]}, None, r"model_list\[0\].litellm_params.model: is missing"),
        ({"model_list": entries({"model": ["a"]})}, None, "model: must be non-empty text"),
        ({"model_list": entries({"model": "a", "rpm": "9"})}, None, r"model_list\[0\]: Deployment: rpm"),
        ({"model_list": entries({"model": "a"}), "timeout": -1}, None, "timeout: Routing: timeout_s"),
        ({"model_list": entries({"model": "a"}), "fallbacks": {"a": "b"}}, None, "fallbacks: must be a list"),
        ({"provider": {}}, "openrouter", "model: is missing"),
        ({"model": "a", "provider": {"sort": "speed"}}, None, "provider.sort: must be one of price"),
        ({"model": "a", "provider": {"max_price": {"prompt": "x"}}}, None, "provider.max_price.prompt"),
        ({"model": "a", "provider": {"order": "x"}}, None, "provider.order: must be a list"),
        ({"models": ["a", 1]}, None, r"models\[1\]: must be non-empty text"),
        (7, "unify", "is a str, not int"),
        ("router@zz:1", None, "unknown key"),
        ({"model": "x" * 1_000_001}, "openrouter", "model: more than 1000000 characters"),
        ({"model": "a", "x": DEEP}, None, r"x\[0\].*nested more than"),
        ({"model": float("nan")}, None, "model: must be a value that JSON has"),
        ({"model": object()}, None, "model: must be a value that JSON has, not a object"),
        ({1: "a"}, "openrouter", "keys must be text"),
        ("{" + '"a":{' * 100_000, None, "nested too deep"),
        ("{nope}", None, "not valid JSON"),
        ("a: b: c\n- d", None, "not valid YAML"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_the_place(source: Any, kind: str | None, words: str) -> None:
    with pytest.raises(SpecError, match=f"(?s){words}"):
        import_config(source, kind)


def test_a_router_string_that_does_not_parse_shows_its_caret() -> None:
    with pytest.raises(RouterStringError):
        from_unify("router@q:1|")


def test_files_that_are_too_large_or_no_text_are_refused_by_name(tmp_path: Path) -> None:
    large, binary, other = tmp_path / "large.json", tmp_path / "binary.yaml", tmp_path / "router.ini"
    large.write_text(" " * 1_000_001)
    binary.write_bytes(b"\xff\xfe\x00")
    other.write_text("x")
    for path in (large, binary, other):
        with pytest.raises(SpecError, match=path.name):
            import_config(path)
    with pytest.raises(FileNotFoundError):
        import_config(tmp_path / "none.json")


def test_a_name_that_is_none_is_an_error() -> None:
    with pytest.raises(SpecError, match="name"):
        from_unify(SEED, name="no name")
