"""Feedback corrects predictions in O(1), a drift is said once, a damaged artefact costs no call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router_plugin import Client, Deployment, Router, RouteResult, Score, SpecError
from router_plugin.online import Posterior, load_predictor
from router_plugin.testing import FakeClock, ScriptedProvider

HI = [{"role": "user", "content": "hello there"}]


class Fixed:
    """A predictor that says the same of every prompt."""

    def score(self, request: Any, models: Any) -> list[Score]:
        return [Score({"openai/a": 0.8, "openai/b": 0.7}[model], quality_std=0.05) for model in models]


def made(**options: Any) -> Router:
    clock = FakeClock()
    models = [Deployment(f"openai/{n}", name=n) for n in "ab"]
    return Router("r", models=models, clock=clock, provider=ScriptedProvider(clock), scorer=Fixed(), **options)


def test_bad_feedback_moves_traffic_to_the_other_model() -> None:
    router = made()
    served = []
    for _ in range(40):
        result = RouteResult.of(router.completion(messages=HI))
        assert result is not None
        served.append(result.deployment)
        router.feedback(result.request_id, 0.5 if result.deployment == "a" else 0.7)
    assert served[0] == "a"
    assert served[-1] == "b"
    drift = router.drift()
    assert drift["openai/a"]["mean_residual"] == pytest.approx(-0.3)
    assert abs(drift["openai/b"]["mean_residual"]) < 1e-9


def test_the_band_of_a_prediction_is_explained() -> None:
    router = made()
    assert "0.800 ± 0.050" in router.explain(router.completion(messages=HI))


def test_a_drift_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    posterior = Posterior()
    for number in range(60):
        posterior.learn("m", 0.8 + posterior._seen["m"].offset if number else 0.8, 0.5 + 0.01 * (number % 3))
    assert caplog.text.count("has drifted") == 1
    assert posterior.report()["m"]["drifted"]


def test_honest_feedback_is_no_drift(caplog: pytest.LogCaptureFixture) -> None:
    posterior = Posterior()
    for number in range(400):
        posterior.learn("m", 0.75 + (posterior._seen["m"].offset if number else 0), float(number % 4 != 0))
    assert "drifted" not in caplog.text
    assert abs(posterior.report()["m"]["mean_residual"]) < 0.01


def test_a_missing_artefact_is_warned_about_once_and_the_router_serves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(tmp_path)
    clock = FakeClock()
    router = Router(
        "r",
        models=["openai/a"],
        artefact="artefacts/gone",
        client=client,
        clock=clock,
        provider=ScriptedProvider(clock),
    )
    for _ in range(3):
        assert router.completion(messages=HI)
    assert caplog.text.count("goes on without its trained predictor") == 1


def test_an_artefact_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="below the store's folder"):
        load_predictor("../../etc", tmp_path / "store")
