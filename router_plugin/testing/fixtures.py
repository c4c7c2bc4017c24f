"""The package's pytest plugin: one fixture. Importing this module costs nothing but pytest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .loopback import LoopbackProvider


@pytest.fixture
def loopback_provider() -> Iterator[LoopbackProvider]:
    """A running :class:`~router_plugin.testing.loopback.LoopbackProvider`, stopped after the test."""
    from .loopback import LoopbackProvider

    with LoopbackProvider() as provider:
        yield provider
