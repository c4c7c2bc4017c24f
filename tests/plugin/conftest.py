"""One loopback provider for this folder, clean for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import litellm
import pytest
from plugin_modes import LOGGING, REPLIES, Events, make_router

from router_plugin import Router, install
from router_plugin.testing.loopback import LoopbackProvider


@pytest.fixture(scope="session")
def _server() -> Iterator[LoopbackProvider]:
    with LoopbackProvider() as provider:
        yield provider


@pytest.fixture
def p(_server: LoopbackProvider) -> Iterator[LoopbackProvider]:
    """The provider: models "small", "big" and "claude-x" say what REPLIES has, every other model echoes."""
    _server.clear()
    for name, reply in REPLIES.items():
        _server.model(name, reply)
    _server.forget()
    yield _server
    _server.clear()


@pytest.fixture
def router(p: LoopbackProvider) -> Router:
    """ "support": over "small" and "big", of which "big" is the better."""
    return make_router(p)


@pytest.fixture
def installed(router: Router) -> Iterator[Router]:
    """The same, installed for the test."""
    with install(router):
        yield router


@pytest.fixture(scope="session", autouse=True)
def _watched_logging() -> Iterator[None]:
    LOGGING.start()
    yield
    LOGGING.stop()


@pytest.fixture
async def events() -> AsyncIterator[Events]:
    """A user's logger in ``litellm.callbacks``, which sees nothing of the tests before this one."""
    await LOGGING.ended()
    seen = Events()
    litellm.callbacks = [seen]
    yield seen
    await LOGGING.ended()


@pytest.fixture(autouse=True)
def _nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is not sent to the loopback provider is refused at once, whatever the machine's environment says."""
    for provider in ("OPENAI", "ANTHROPIC", "DEEPSEEK"):
        monkeypatch.setenv(f"{provider}_API_BASE", "http://127.0.0.1:9")
        monkeypatch.setenv(f"{provider}_BASE_URL", "http://127.0.0.1:9")
        monkeypatch.delenv(f"{provider}_API_KEY", raising=False)
