"""Decision tables: every JSON case in tests/cases/decide is one behaviour of deciding, free of any state."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router_plugin.decide.decision import Situation, decide
from router_plugin.decide.pool import make_candidates, select
from router_plugin.decide.reasons import reason
from router_plugin.decide.request import read_request
from router_plugin.provider.catalog import declared
from router_plugin.records import Decision, ModelFacts
from router_plugin.snapshot import Snapshot
from router_plugin.spec.deployment import Deployment
from router_plugin.spec.options import Routing
from router_plugin.spec.policy import DEFAULT_POLICY, with_options

CASES = json.loads((Path(__file__).parent.parent / "cases/decide/ranking.json").read_text())
MESSAGES = [{"role": "user", "content": "x" * 400}]


def deployment(case: dict[str, Any]) -> Deployment:
    """Prices in the cases are USD per million tokens."""
    prices = {}
    if "in" in case:
        prices = {"input_cost_per_token": case["in"] / 1e6, "output_cost_per_token": case["out"] / 1e6}
    return Deployment(
        case.get("model", f"test/{case['name']}"),
        name=case["name"],
        quality=case.get("quality"),
        max_output_tokens=case.get("max_output"),
        context_window=case.get("window"),
        supports=case.get("supports", {}),
        **prices,
    )


def decided(case: dict[str, Any]) -> Decision:
    deployments = [deployment(model) for model in case["models"]]
    candidates = make_candidates(deployments, lambda d: declared(d, ModelFacts(provider=d.provider)))
    policy = with_options(DEFAULT_POLICY, Routing(**case.get("options", {})))
    if "minimise" in case:
        policy = replace(policy, minimise=case["minimise"])
    request = read_request({"messages": MESSAGES, **case.get("request", {})})
    cooling = {name: (100.0 + seconds, "server") for name, seconds in case.get("cooling", {}).items()}
    snapshot = Snapshot(100.0, cooling, case.get("ttft_ms", {}), case.get("itl_ms", {}))
    return decide(select(candidates, policy), Situation(policy, request, snapshot, lambda model, r: r.estimate))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_decision(case: dict[str, Any]) -> None:
    decision = decided(case)
    rows = [ranked[-1] for ranked in decision.ranking]
    assert [row[0].name for row in rows] == case["ranking"]
    reasons = {rejection.candidate.name: reason(rejection) for rejection in decision.rejections}
    for name, expected in case.get("rejected", {}).items():
        assert expected in reasons[name]
    for name, cap in case.get("caps", {}).items():
        assert next(row[3] for row in rows if row[0].name == name) == cap
    if "waived" in case:
        assert list(decision.waived) == case["waived"]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_model_is_ranked_or_has_a_reason(case: dict[str, Any]) -> None:
    decision = decided(case)
    ranked = {ranked[-1][0].name for ranked in decision.ranking}
    out = {rejection.candidate.name for rejection in decision.rejections}
    assert ranked | out == {model["name"] for model in case["models"]}
