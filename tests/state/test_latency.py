"""Latency: decayed means and quantiles, what was cut short, streams and whole answers, load, silence, age."""

from __future__ import annotations

import math

import pytest

from router_plugin.state.latency import HALF_LIFE_S, Congestion, Distribution, Latency, Line


def filled(*seconds: float, at: float = 0.0) -> Distribution:
    one = Distribution()
    for number, value in enumerate(seconds):
        one.add(value, at + number * 0.01)
    return one


def test_nothing_is_known_before_the_first_sample() -> None:
    one = Distribution()
    assert math.isnan(one.mean)
    assert math.isnan(one.quantile(0.5))


def test_quantiles_are_within_a_bucket_of_the_truth() -> None:
    one = filled(*[0.1 * (i % 100 + 1) for i in range(1_000)], at=0)
    for share, truth in ((0.05, 0.5), (0.5, 5.0), (0.95, 9.5)):
        assert one.quantile(share) == pytest.approx(truth, rel=0.25)


def test_old_samples_count_for_less() -> None:
    one = Distribution()
    for _ in range(50):
        one.add(1.0, 0.0)
    for _ in range(10):
        one.add(5.0, 10 * HALF_LIFE_S)
    assert one.quantile(0.5) == pytest.approx(5.0, rel=0.15)
    assert one.mean > 4.5


def test_a_time_out_never_makes_a_deployment_look_faster() -> None:
    one = filled(*[4.0] * 20)
    one.add_at_least(1.0, 30.0)
    assert one.mean == pytest.approx(4.0)
    one.add_at_least(10.0, 31.0)
    assert one.mean > 4.0
    assert one.done == pytest.approx(4.0), "what it usually needs is told by what was not cut short"


def test_what_was_cut_short_counts_as_what_took_longer_took() -> None:
    one = filled(*[1.0] * 10, *[20.0] * 10)
    before = one.quantile(0.95)
    one.add_at_least(2.0, 30.0)
    assert one.quantile(0.95) == pytest.approx(before, rel=0.15)
    assert one.mean > 10


def test_a_year_of_samples_overflows_nothing() -> None:
    one = Distribution()
    for day in range(365):
        one.add(1.0 + day % 2, day * 86_400.0)
    assert 1.0 <= one.mean <= 2.0
    assert math.isfinite(one.quantile(0.9))


def test_whole_answers_of_different_lengths_tell_first_tokens_and_gaps_apart() -> None:
    line = Line()
    for number in range(20):
        tokens = 50 + 20 * number
        line.add(tokens, 0.8 + 0.02 * tokens, float(number))
    first, gap = line.fit() or (0.0, 0.0)
    assert first == pytest.approx(0.8, rel=0.05)
    assert gap == pytest.approx(0.02, rel=0.05)


def test_answers_of_one_length_tell_nothing_apart() -> None:
    line = Line()
    for number in range(20):
        line.add(100, 2.0, float(number))
    assert line.fit() is None


def test_streams_are_preferred_to_what_whole_answers_suggest() -> None:
    latency = Latency()
    for number in range(10):
        latency.answered(1.0 + number * 0.5, 50 * number, float(number), 0)
    assert latency.first_s() == pytest.approx(1.0, rel=0.2)
    latency.streamed(0.3, 1.3, 101, 11.0, 0)
    assert latency.first_s() == pytest.approx(0.3)
    assert latency.gap_s() == pytest.approx(0.01)


def test_load_that_slows_a_deployment_is_learnt_and_one_that_does_not_is_not_blamed() -> None:
    crowded, free = Congestion(), Congestion()
    for number in range(200):
        beside = number % 20
        crowded.add(beside, 0.5 * math.exp(0.1 * beside), float(number))
        free.add(beside, 0.5, float(number))
    assert crowded.factor(30) > 3 * crowded.factor(10)
    assert free.factor(30) == pytest.approx(1.0)
    assert Congestion().factor(100) == 1.0


def test_a_bad_figure_fades_when_nobody_has_seen_it_again() -> None:
    latency = Latency()
    for number in range(50):
        latency.streamed(0.5, 1.0, 10, float(number), 0)
    for number in range(10):
        latency.streamed(9.0, 10.0, 10, 50.0 + number, 0)
    fresh, later, latest = latency.first_s(60.0), latency.first_s(80.0), latency.first_s(300.0)
    assert fresh > later > latest
    assert latest == pytest.approx(0.5, rel=0.15)


def test_who_is_back_is_not_judged_by_his_absence() -> None:
    latency = Latency()
    for number in range(30):
        latency.streamed(0.5, 1.0, 10, float(number), 0)
    for number in range(5):
        latency.cut(30.0, True, 31.0 + number)
    assert latency.first_s() > 3
    latency.recovered()
    assert latency.first_s() == pytest.approx(0.5, rel=0.15)
