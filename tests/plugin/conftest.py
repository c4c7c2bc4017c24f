"""One loopback provider for this folder, clean for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from plugin_modes import REPLIES, events, make_router  # noqa: F401  (events is a fixture)

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
    """"support": over "small" and "big", of which "big" is the better."""
    return make_router(p)


@pytest.fixture
def installed(router: Router) -> Iterator[Router]:
    """The same, installed for the test."""
    with install(router):
        yield router
