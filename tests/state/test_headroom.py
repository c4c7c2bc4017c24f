"""Headroom: declared limits, what headers said, what 429s taught."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from router_plugin.records import RateWindow
from router_plugin.state.headroom import Headroom


def send(room: Headroom, now: float, count: int, tokens: float = 0.0) -> list[list[float]]:
    sent = []
    for _ in range(count):
        assert room.wait_s(now, tokens) == 0.0
        sent.append(room.sent(now, tokens))
    return sent


def test_without_a_limit_nothing_waits() -> None:
    room = Headroom()
    send(room, 0.0, 10_000, 1e6)


def test_requests_a_minute_are_a_sliding_minute() -> None:
    room = Headroom(rpm=10)
    send(room, 100.2, 6)
    send(room, 130.0, 4)
    assert room.wait_s(131.0, 0) == pytest.approx(30.0, abs=1.1)
    assert room.wait_s(161.5, 0) == 0.0
    send(room, 161.5, 6)
    assert room.wait_s(161.6, 0) > 0


def test_tokens_a_minute_count_what_is_in_flight_and_are_corrected_by_what_was_used() -> None:
    room = Headroom(tpm=1_000)
    counted = room.sent(0.0, 800)
    assert room.wait_s(0.0, 300) > 0
    room.back(counted, 800, 100)
    assert room.wait_s(0.0, 300) == 0.0


def test_a_request_beyond_the_limit_goes_when_the_minute_is_empty() -> None:
    room = Headroom(tpm=1_000)
    assert room.wait_s(0.0, 5_000) == 0.0
    room.sent(0.0, 5_000)
    assert room.wait_s(1.0, 10) > 0


def test_what_was_refused_takes_no_room() -> None:
    room = Headroom(rpm=1)
    room.back(room.sent(0.0, 0), 0, None, served=False)
    assert room.wait_s(0.0, 0) == 0.0


def test_headers_leave_what_they_say_less_what_is_in_flight() -> None:
    room = Headroom()
    room.told([RateWindow("requests", 100, 2, 58.8)], 0.0)
    send(room, 0.0, 2)
    wait = room.wait_s(0.0, 0)
    assert wait == pytest.approx(0.6, rel=0.05), "98 missing in 58.8 s: one comes back every 0.6 s"
    assert room.wait_s(0.7, 0) == 0.0


def test_headers_on_tokens_and_a_window_without_a_reset() -> None:
    room = Headroom()
    room.told([RateWindow("tokens", 1_000, 100, 6.0), RateWindow("input-tokens", None, 50, None)], 0.0)
    assert room.wait_s(0.0, 200) > 0
    assert room.wait_s(0.0, 40) == 0.0
    assert room.wait_s(61.0, 200) == 0.0, "a window that nobody described is over after a minute"


def test_a_surprise_shrinks_what_is_believed_and_answers_give_it_back() -> None:
    room = Headroom(rpm=100)
    room.surprised(0.0)
    assert room.shrink(0.0) < 1.0
    sent = send(room, 0.0, 70)
    assert room.wait_s(0.0, 0) > 0
    for counted in sent:
        room.back(counted, 0, 0)
    assert room.shrink(0.0) == 1.0
    room.surprised(0.0)
    assert room.shrink(0.0) < room.shrink(60.0) < room.shrink(300.0) == 1.0


def test_a_limit_that_only_429s_tell_of_is_learnt() -> None:
    """Against a fixed limit of 30 a minute that says nothing of itself."""
    room, draw, refused, served = Headroom(), random.Random(3), 0, []
    for tick in range(6_000):
        now = tick * 0.1
        if draw.random() < 0.2 and room.wait_s(now, 0) == 0.0:
            counted = room.sent(now, 0)
            served = [t for t in served if t > now - 60]
            if len(served) >= 30:
                refused += 1
                room.surprised(now)
                room.back(counted, 0, None, served=False)
            else:
                served.append(now)
                room.back(counted, 0, 0)
    assert refused <= 6, "twelve hundred requests over ten minutes"


def test_a_limit_that_says_the_same_again_is_tried_ever_more_seldom() -> None:
    room, now, surprises = Headroom(), 0.0, []
    while now < 3 * 3600.0:
        now += 0.5
        if room.wait_s(now, 0) == 0.0:
            counted = room.sent(now, 0)
            if room.used.requests > 60:
                surprises.append(now)
                room.surprised(now)
            room.back(counted, 0, 0.0, served=not (surprises and surprises[-1] == now))
    gaps = [later - sooner for sooner, later in pairwise(surprises)]
    assert len(surprises) < 12, "in three hours at twice the limit"
    assert gaps == sorted(gaps)


def test_one_429_of_a_few_requests_teaches_no_limit() -> None:
    room = Headroom()
    room.sent(0.0, 0)
    room.surprised(0.0)
    assert room.wait_s(0.0, 0) == 0.0


def test_a_learnt_limit_is_a_guess() -> None:
    room = Headroom()
    send(room, 0.0, 10)
    room.surprised(0.0)
    assert room.wait_s(0.0, 0) > 0
    assert room.wait_s(0.0, 0, guess=False) == 0.0


def test_what_ends_late_is_corrected_where_it_was_counted() -> None:
    room = Headroom(rpm=2)
    early, late = room.sent(0.0, 0), room.sent(58.0, 0)
    room.back(early, 0, None, served=False)
    room.sent(61.0, 0)
    assert room.wait_s(61.0, 0) > 0, "58 and 61"
    room.back(late, 0, 0)
    long = Headroom(tpm=1_000)
    counted = long.sent(0.0, 1_000)
    long.sent(70.0, 900)
    long.back(counted, 1_000, 10)
    assert long.wait_s(71.0, 200) > 0


def test_windows_of_input_and_output_take_what_is_theirs() -> None:
    room = Headroom()
    room.told([RateWindow("output-tokens", 8_000, 7_990, 30.0), RateWindow("input-tokens", 50_000, 49_000, 30.0)], 0.0)
    assert room.wait_s(0.0, 10_200, 10_000) == 0.0
    room.sent(0.0, 10_200, 10_000)
    assert room.wait_s(0.0, 10_200, 10_000) == 0.0
    assert room.wait_s(0.0, 40_100, 40_000) > 0
