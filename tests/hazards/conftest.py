"""Settings that must stand before litellm is imported, and the provider that most of these tests talk to."""

from __future__ import annotations

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LITELLM_TELEMETRY", "False")

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `stage`, whatever pytest's import mode

from stage import LoopbackProvider, warm_up

from router_plugin.testing.plans import Plans


@pytest.fixture(scope="package", autouse=True)
def _warm() -> Iterator[None]:
    """The first call of a process carries seconds of litellm's lazy imports: no deadline is tested with them.

    What was imported is out of the garbage collector's sight, so that a test may collect often; and it runs only when
    a test asks for it, because a stream collected inside httpcore's pool lock stops the process (tested on its own).
    """
    warm_up()
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()
    _SERVER.stop()


# One server, always on the same port: litellm makes (and TLS-initialises) a client for every address it meets.
_SERVER = LoopbackProvider()


@pytest.fixture
def p() -> Iterator[LoopbackProvider]:
    """A provider that knows nothing of the test before."""
    _SERVER.start()
    _SERVER._plans = Plans()
    _SERVER.forget()
    yield _SERVER
    _SERVER.clear()
