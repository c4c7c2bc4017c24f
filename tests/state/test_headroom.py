"""Headroom: declared limits, what headers said, what 429s taught."""

from __future__ import annotations

import random

import pytest

from router_plugin.records import RateWindow
from router_plugin.state.headroom import Headroom


def send(room: Headroom, now: float, count: int, tokens: float = 0.0) -> None:
    for _ in range(count):
        assert room.wait_s(now, tokens) == 0.0
        room.sent(now, tokens)


def test_without_a_limit_nothing_waits() -> None:
    room = Headroom()
    send(room, 0.0, 10_000, 1e6)
    assert not room.limited


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
    room.sent(0.0, 800)
    assert room.wait_s(0.0, 300) > 0
    room.back(800, 100)
    assert room.wait_s(0.0, 300) == 0.0


def test_a_request_beyond_the_limit_goes_when_the_minute_is_empty() -> None:
    room = Headroom(tpm=1_000)
    assert room.wait_s(0.0, 5_000) == 0.0
    room.sent(0.0, 5_000)
    assert room.wait_s(1.0, 10) > 0


def test_what_was_refused_takes_no_room() -> None:
    room = Headroom(rpm=1)
    room.sent(0.0, 0)
    room.back(0, None, served=False)
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
    assert room.shrink < 1.0
    send(room, 0.0, 70)
    assert room.wait_s(0.0, 0) > 0
    for _ in range(70):
        room.back(0, 0)
    assert room.shrink == 1.0


def test_a_limit_that_only_429s_tell_of_is_learnt() -> None:
    """Against a fixed limit of 30 a minute that says nothing of itself."""
    room, draw, refused, served = Headroom(), random.Random(3), 0, []
    for tick in range(6_000):
        now = tick * 0.1
        if draw.random() < 0.2 and room.wait_s(now, 0) == 0.0:
            room.sent(now, 0)
            served = [t for t in served if t > now - 60]
            if len(served) >= 30:
                refused += 1
                room.surprised(now)
                room.back(0, None, served=False)
            else:
                served.append(now)
                room.back(0, 0)
    assert refused <= 6, "twelve hundred requests over ten minutes"
