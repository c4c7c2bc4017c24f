"""What every test stands on: litellm without its network, and nothing left in litellm's globals by the test before."""

from __future__ import annotations

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # before litellm is imported: it fetches its price map at import

import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

import pytest

_FIXTURES = "router_plugin.testing.fixtures"
if not any(entry.value == _FIXTURES for entry in entry_points(group="pytest11")):
    pytest_plugins = [_FIXTURES]  # a source tree that was never installed

_CALLBACK_LISTS = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "service_callback",
    "_async_input_callback",
    "_async_success_callback",
    "_async_failure_callback",
)


@pytest.fixture(autouse=True)
def quiet_litellm() -> Iterator[None]:
    """litellm says nothing and remembers no callback of another test. Tests without litellm do not import it."""
    _clear_litellm()
    yield
    _clear_litellm()


def _clear_litellm() -> None:
    litellm: Any = sys.modules.get("litellm")
    if litellm is None or not hasattr(litellm, "completion"):
        return
    litellm.suppress_debug_info = True
    for name in _CALLBACK_LISTS:
        setattr(litellm, name, [])
    litellm.num_retries = None  # litellm itself clears this one when a call fails


@pytest.fixture
def respx_transport(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """litellm's async clients on httpx instead of aiohttp, which respx cannot see; only tests with respx ask for it."""
    import litellm

    monkeypatch.setenv("DISABLE_AIOHTTP_TRANSPORT", "True")
    litellm.in_memory_llm_clients_cache.flush_cache()
    yield
    litellm.in_memory_llm_clients_cache.flush_cache()
