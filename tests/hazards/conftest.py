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


# Faults that are known and not mended yet: each test says what should hold, and fails today.
KNOWN_FAULTS = {
    "test_what_a_web_search_costs_is_part_of_the_bound": "the bound does not count web searches",
    "test_cancelled_at_every_await_of_a_scripted_call": "one await of a stream leaves something held",
    "test_a_glitch_into_the_far_future_does_not_spend_the_budget_for_ever": "a clock that jumps back keeps the spend",
    "test_a_stream_of_the_parents_that_is_dropped_in_the_child_ends_nothing_there": "the child settles it too",
    "test_a_child_uses_none_of_the_parents_connections": "litellm's HTTP clients are shared over a fork",
    "test_answers_do_not_cross_between_a_parent_and_its_child": "litellm's HTTP clients are shared over a fork",
    "test_a_request_that_pretends_to_come_from_litellm_itself_gets_no_endpoint_either": "litellm_logging_obj is believed",
    "test_no_secret_in_what_describes_a_router": "a password inside api_base is shown",
    "test_no_secret_in_the_dump_of_a_spec": "a password inside api_base is shown",
    "test_no_secret_in_an_error_of_ours_around_a_provider_that_echoes_it": "a provider's words are quoted as they are",
    "test_no_secret_in_an_error_about_a_setting": "the wrong value is quoted as it is",
    "test_no_secret_in_an_error_about_a_file": "the wrong value is quoted as it is",
    "test_no_secret_in_an_error_about_a_request": "the wrong value is quoted as it is",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        name = getattr(item, "originalname", item.name)
        if (
            name == "test_a_sync_stream_left_early" and "[drop-" in item.name
        ):  # its fixture fails too: xfail can't say so
            item.add_marker(
                pytest.mark.skip(reason="known fault: a sync stream that is dropped unclosed stays reserved")
            )
        if name in KNOWN_FAULTS and "hazards" in item.path.parts:
            item.add_marker(pytest.mark.xfail(reason=KNOWN_FAULTS[name], strict=False))
