"""Health: ejection, rest, one probe, slow start, and what the last candidate may do."""

from __future__ import annotations

import pytest

from router_plugin.state.health import (
    BASE_REST_S,
    FAILURES_IN_A_ROW,
    LONGEST_REST_S,
    PROBE_EVERY_S,
    PROBE_SHARE,
    Health,
)


def no_jitter() -> float:
    return 0.5


def fail(health: Health, now: float, times: int = 1) -> bool:
    return max([health.failed(now, "server", no_jitter, now) for _ in range(times)])


def ejected(now: float = 100.0) -> Health:
    health = Health()
    assert fail(health, now, FAILURES_IN_A_ROW)
    return health


def test_failures_in_a_row_eject() -> None:
    health = Health()
    assert not fail(health, 1.0, FAILURES_IN_A_ROW - 1)
    assert fail(health, 1.0)
    assert health.state(2.0) == "cooling"
    assert health.wait_s(1.0) == pytest.approx(BASE_REST_S)


def test_an_error_rate_of_half_ejects_from_five_samples_on() -> None:
    health = Health()
    for number in range(2):
        assert not fail(health, number * 0.1)
        health.succeeded(number * 0.1)
    assert fail(health, 0.3), "three of five"


def test_a_third_of_errors_ejects_nobody() -> None:
    health = Health()
    for number in range(300):
        if number % 3 == 0:
            assert not fail(health, number * 0.1)
        else:
            health.succeeded(number * 0.1)


def test_one_probe_after_the_rest_and_no_second_one() -> None:
    health = ejected()
    assert not health.take_probe(101.0, panic=False)
    assert health.state(106.0) == "half_open"
    assert health.take_probe(106.0, panic=False)
    assert not health.take_probe(106.0, panic=False)


def test_a_probe_that_succeeds_closes_and_traffic_comes_back_slowly() -> None:
    health = ejected()
    health.take_probe(106.0, panic=False)
    assert health.succeeded(107.0)
    assert health.state(108.0) == "slow_start"
    assert health.burden(108.0) > health.burden(112.0) > 1.0
    assert health.burden(118.0) == 1.0
    assert health.state(118.0) == "ok"


def test_rests_within_an_outage_grow_to_ten_seconds_then_with_its_length_and_are_capped() -> None:
    health, now, rests, lengths = ejected(), 100.0, [], []
    for _ in range(1_000):
        now = health.until + 0.1
        assert health.take_probe(now, panic=False)
        fail(health, now)
        rests.append(health.until - now)
        lengths.append(now - 100.0)
    assert rests[0] == pytest.approx(2 * BASE_REST_S)
    assert rests[1:40] == pytest.approx([PROBE_EVERY_S] * 39), "whoever mends within ten minutes is asked soon"
    assert rests[200] == pytest.approx(PROBE_SHARE * lengths[200])
    assert rests[-1] == LONGEST_REST_S
    assert health.ejections == 1, "a probe that fails is no further ejection"


def test_rests_grow_with_each_ejection_up_to_the_cap() -> None:
    health, now, rests = Health(), 100.0, []
    for _ in range(70):
        fail(health, now, FAILURES_IN_A_ROW)
        rests.append(health.until - now)
        now = health.until
        health.take_probe(now, panic=False)
        health.succeeded(now)
    assert rests[:3] == pytest.approx([BASE_REST_S, 2 * BASE_REST_S, 3 * BASE_REST_S])
    assert rests[-1] == LONGEST_REST_S


def test_the_second_overload_in_a_row_ejects() -> None:
    health = Health()
    assert not health.failed(1.0, "overloaded", no_jitter, 1.0)
    assert health.failed(2.0, "overloaded", no_jitter, 2.0)


def test_a_probe_that_nothing_comes_of_is_lost() -> None:
    health = ejected()
    assert health.take_probe(106.0, panic=False)
    health.silent(108.0, no_jitter)
    assert not health.take_probe(109.0, panic=False)
    assert health.wait_s(108.0) == pytest.approx(2 * BASE_REST_S)


def test_a_cancelled_probe_is_given_back() -> None:
    health = ejected()
    health.take_probe(106.0, panic=False)
    health.give_back()
    assert health.take_probe(106.0, panic=False)


def test_ejections_are_forgotten_in_health() -> None:
    health = ejected()
    health.take_probe(106.0, panic=False)
    health.succeeded(106.0)
    assert health.ejections == 1
    health.succeeded(170.0)
    assert health.ejections == 0


def test_rests_are_jittered() -> None:
    rests = set()
    for draw in (0.0, 0.25, 0.5, 1.0):
        health = Health()
        for _ in range(FAILURES_IN_A_ROW):
            health.failed(0.0, "server", lambda draw=draw: draw, 0.0)
        rests.add(round(health.until, 3))
    assert rests == {4.0, 4.5, 5.0, 6.0}


def test_a_failure_from_before_the_ejection_changes_nothing() -> None:
    health = ejected()
    until = health.until
    assert not health.failed(101.0, "timeout", no_jitter, started=90.0)
    assert health.until == until


def test_where_nothing_else_is_left_it_is_tried_until_it_is_dead_and_then_once_a_second() -> None:
    health = ejected()
    assert health.take_probe(100.5, panic=True), "it may be the requests that are bad"
    for now in (100.5, 101.0, 101.5):
        fail(health, now)
    assert health.take_probe(102.0, panic=True)
    health.give_back()
    assert health.take_probe(102.0, panic=True)
    fail(health, 102.1)
    assert not health.take_probe(102.5, panic=True)
    assert 0 < health.wait_s(102.5, panic=True) <= 1.0


def test_slow_answers_alone_eject() -> None:
    health = Health()
    for number in range(20):
        health.succeeded(number * 0.1, slow=True)
    assert health.too_slow(2.0, no_jitter)
    assert health.why == "slow"
