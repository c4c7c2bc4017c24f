"""The ledger: nothing is ever overspent, everything ends once, nothing is forgotten."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from router_plugin import Budget, SpecError
from router_plugin.state.ledger import Ledger, Refusal, Reservation
from router_plugin.testing import FakeClock

DOLLAR = 1_000_000_000


class LedgerMachine(RuleBasedStateMachine):
    """Reserve and end in any order, while time passes: settled + reserved never exceeds a limit."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.budgets = [Budget(1, per="day", key="user"), Budget(2, per="total"), Budget(1, per="hour", rolling=True)]
        self.ledger = Ledger(self.budgets, self.clock)

    @rule(target=held, user=st.sampled_from(["a", "b", None]), amount=st.integers(0, DOLLAR))
    def reserve(self, user: str | None, amount: int) -> Reservation | Refusal:
        return self.ledger.reserve(self.ledger.keys_of({"user": user}), amount)

    @rule(reservation=consumes(held), share=st.floats(0, 1))
    def end(self, reservation: Reservation | Refusal, share: float) -> None:
        if isinstance(reservation, Reservation):
            self.ledger.end(reservation, int(reservation.amount * share))
            self.ledger.end(reservation, reservation.amount)  # a second end changes nothing

    @rule(seconds=st.sampled_from([1, 59, 3600, 86_400]))
    def pass_time(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-3600, 3600]))
    def step_wall_clock(self, seconds: int) -> None:
        self.clock.step_wall(seconds)

    @invariant()
    def never_over(self) -> None:
        for row in self.ledger.report():
            assert row["settled_usd"] + row["reserved_usd"] <= row["limit_usd"] + 1e-12
            assert row["reserved_usd"] >= 0


LedgerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase


def test_a_thousand_threads_never_overspend_a_dollar() -> None:
    ledger = Ledger([Budget(1)], FakeClock())
    granted: list[int] = []

    def work() -> None:
        for _ in range(50):
            held = ledger.reserve((None,), 3_333_333)
            if isinstance(held, Reservation):
                ledger.end(held, 3_333_333)
                granted.append(1)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 300  # 300 × 0.003333333 = 0.9999999
    assert ledger.report()[0]["reserved_usd"] == 0


def test_all_budgets_hold_or_none_is_charged() -> None:
    ledger = Ledger([Budget(1), Budget(0.5, key="user")], FakeClock())
    assert isinstance(ledger.reserve((None, "a"), DOLLAR * 3 // 4), Refusal)
    assert all(row["reserved_usd"] == 0 for row in ledger.report())


def test_a_settlement_above_its_reservation_is_recorded_in_full_and_blocks() -> None:
    ledger = Ledger([Budget(1)], FakeClock())
    held = ledger.reserve((None,), DOLLAR // 2)
    assert isinstance(held, Reservation)
    ledger.end(held, 3 * DOLLAR)
    assert ledger.report()[0]["settled_usd"] == 3
    assert isinstance(ledger.reserve((None,), 1), Refusal)
    assert isinstance(ledger.reserve((None,), 0), Reservation), "free calls go on"


def test_an_answer_after_midnight_is_paid_from_yesterday() -> None:
    clock = FakeClock()
    ledger = Ledger([Budget(1, per="day")], clock)
    held = ledger.reserve((None,), DOLLAR)
    assert isinstance(held, Reservation)
    clock.advance(86_400)
    fresh = ledger.reserve((None,), DOLLAR)
    assert isinstance(fresh, Reservation)
    ledger.end(held, DOLLAR)
    assert ledger.report()[0]["settled_usd"] == 0


def test_a_wall_clock_that_steps_back_reopens_nothing() -> None:
    clock = FakeClock()
    ledger = Ledger([Budget(1, per="hour")], clock)
    ledger.end(ledger.reserve((None,), DOLLAR), DOLLAR)
    clock.step_wall(-3600)
    assert isinstance(ledger.reserve((None,), 1), Refusal)


def test_a_sliding_window_forgets_after_its_length_and_not_before() -> None:
    clock = FakeClock()
    ledger = Ledger([Budget(1, per="minute", rolling=True)], clock)
    ledger.end(ledger.reserve((None,), DOLLAR), DOLLAR)
    clock.advance(59)
    assert isinstance(ledger.reserve((None,), 1), Refusal)
    clock.advance(3)
    assert isinstance(ledger.reserve((None,), DOLLAR), Reservation)


@pytest.mark.parametrize(
    ("per", "resets"),
    [
        ("minute", "2026-01-01T00:01:00+00:00"),
        ("hour", "2026-01-01T01:00:00+00:00"),
        ("day", "2026-01-02T00:00:00+00:00"),
        ("week", "2026-01-05T00:00:00+00:00"),
        ("month", "2026-02-01T00:00:00+00:00"),
        ("total", None),
    ],
)
def test_windows_end_with_the_calendar(per: str, resets: str | None) -> None:
    ledger = Ledger([Budget(1, per=per)], FakeClock(wall=1_767_225_600.0))  # 2026-01-01, a Thursday
    assert ledger.report()[0]["resets_at"] == resets


def key_of(path: str, request: dict[str, Any]) -> Any:
    return Ledger([Budget(1, key=path)], FakeClock()).keys_of(request)[0]


def test_keys_are_told_apart_by_type_and_never_joined() -> None:
    assert key_of("extra.id", {"extra": {"id": "1"}}) != key_of("extra.id", {"extra": {"id": 1}})
    assert key_of("user", {"user": "a:b"}) == "a:b"
    assert key_of("user", {"user": ""}) is None
    assert key_of("extra.team", {"extra": None}) is None
    assert key_of("user", {"user": "é"}) == key_of("user", {"user": "é"})


@pytest.mark.parametrize("value", [True, 10**50, 1.5, ["a"], {"a": 1}, "x" * 513])
def test_a_key_that_is_no_key_is_an_error(value: object) -> None:
    with pytest.raises(SpecError, match="budget key"):
        key_of("user", {"user": value})


def test_a_person_called_none_has_an_account_of_his_own() -> None:
    ledger = Ledger([Budget(1, key="user")], FakeClock())
    ledger.end(ledger.reserve(ledger.keys_of({"user": None}), DOLLAR), DOLLAR)
    assert isinstance(ledger.reserve(ledger.keys_of({"user": "(none)"}), DOLLAR), Reservation)


def test_at_its_cap_of_keys_the_ledger_refuses_new_ones_and_forgets_none() -> None:
    clock = FakeClock()
    ledger = Ledger([Budget(1, per="day", key="user", max_keys=2)], clock)
    for user in ("a", "b"):
        ledger.end(ledger.reserve((user,), 1000), 1000)
    refusal = ledger.reserve(("c",), 1)
    assert isinstance(refusal, Refusal)
    assert {row["key"] for row in ledger.report()} == {"a", "b"}
    clock.advance(86_400)
    assert isinstance(ledger.reserve(("c",), 1), Reservation), "accounts of a finished window make room"


def test_a_forked_child_holds_none_of_the_parents_reservations() -> None:
    ledger = Ledger([Budget(1)], FakeClock())
    held = ledger.reserve((None,), DOLLAR)
    assert isinstance(held, Reservation)
    ledger.books.after_fork()
    ledger.end(held, DOLLAR)  # the parent's to settle, not the child's
    assert ledger.report()[0]["settled_usd"] == 0
    assert ledger.report()[0]["reserved_usd"] == 0
