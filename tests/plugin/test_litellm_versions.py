"""A litellm that is not built as the known ones: a clear error or a warning, never silent non-routing."""

from __future__ import annotations

import importlib.metadata
import logging

import litellm
import pytest

from router_plugin import Deployment, Router, RouterError, install, plugin


@pytest.fixture
def router() -> Router:
    return Router("r", models=[Deployment("openai/m", input_cost_per_token=0, output_cost_per_token=0)])


def test_a_newer_litellm_is_said_once(
    router: Router, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9.9")
    with caplog.at_level(logging.WARNING, "router_plugin"):
        for _ in range(2):
            install(router).uninstall()
    assert [record.levelname for record in caplog.records if "newer than the newest" in record.message] == ["WARNING"]


def test_a_litellm_without_our_seams_is_an_error_and_stays_as_it_was(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    from litellm.litellm_core_utils import fallback_generalizations as rules

    codes = litellm.completion.__code__, litellm.main.acompletion.__code__
    monkeypatch.delattr(rules, "set_fallback_generalizations")
    with pytest.raises(RouterError, match="not built as those"):
        install(router)
    assert (litellm.completion.__code__, litellm.main.acompletion.__code__) == codes
    assert plugin._HOST.default is None


def test_a_rule_that_litellm_does_not_follow_is_an_error(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    code = litellm.completion.__code__
    monkeypatch.setattr(plugin, "_RULES", [])
    with pytest.raises(Exception, match=r"not built as those|LLM Provider"):
        install(router)
    assert litellm.completion.__code__ is code
