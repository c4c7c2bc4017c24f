"""The money ledger: reserve → settle | release, atomically over all budgets of a request.

Promise: given honest usage, settled + reserved never exceeds a limit, under any interleaving of threads and tasks.
One short lock guards plain integers; nothing else happens under it. Every reservation ends exactly once: ending is
idempotent. A settlement above its reservation is recorded in full and blocks new admissions until the window ends.
The ledger forgets nothing under pressure: at ``max_keys`` new keys are refused.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..clock import Clock, iso
from ..errors import SpecError
from ..money import to_nano_floor, to_usd
from ..spec.budget import Budget
from .accounts import Account, SlidingAccount

# Shown for requests without the key of a budget; a person of that name has an account of his own all the same.
NO_KEY = "(none)"
_LONGEST_KEY = 512
Key = str | int | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing was reserved: the budget that had too little left. Money in nano-dollars."""

    budget: Budget
    key: Key
    limit: int
    spent: int
    left: int
    resets_at: float | None
    granted: ClassVar[bool] = False


class Reservation:
    """An amount held in several accounts until it ends. Not thread-safe by itself: the ledger's lock guards it."""

    __slots__ = ("accounts", "amount", "epoch", "ledger", "open")
    granted = True

    def __init__(self, ledger: Ledger, accounts: list[Account], amount: int) -> None:
        self.ledger, self.accounts, self.amount, self.open = ledger, accounts, amount, True
        self.epoch = ledger.books.epoch


def _key(value: Any, path: tuple[str, ...]) -> Key:
    """The account key for the value of a budget's path in a request; None where it is empty.

    Text and numbers are told apart (``"1"`` is not ``1``) and nothing is joined, so no two keys share an account by
    accident; spellings that differ in Unicode normal form only are one key.

    Raises: SpecError for a value that is neither text nor a whole number, or is absurdly long.
    """
    if value == "":
        return None
    if isinstance(value, str):
        if len(value) > _LONGEST_KEY:
            raise SpecError(
                f"{'.'.join(path)}: a budget key may have at most {_LONGEST_KEY} characters, this has {len(value)}"
            )
        return value if value.isascii() else unicodedata.normalize("NFC", value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
        return value
    raise SpecError(f"{'.'.join(path)}: a budget key must be text or a whole number, not {type(value).__name__}")


class Books:
    """What the ledgers of one router's versions share: the lock, and the accounts of every budget there ever was."""

    def __init__(self) -> None:
        # Re-entrant: the garbage collector may end a dropped stream's reservation inside any allocation made under it.
        self.lock = threading.RLock()
        self.epoch = 0  # counts forks
        self.accounts: dict[tuple[Any, ...], dict[Key, Account]] = {}

    def of(self, budget: Budget) -> dict[Key, Account]:
        """The accounts of a budget: of one with this name, window and key, whatever its limit was."""
        return self.accounts.setdefault((budget.name, budget.per, budget.rolling, budget.key), {})

    def after_fork(self) -> None:
        """In a forked child: a fresh lock, and none of the parent's reservations (they are the parent's to end)."""
        self.lock = threading.RLock()
        self.epoch += 1
        for accounts in self.accounts.values():
            for account in accounts.values():
                account.reserved = 0


class Ledger:
    """All budgets of one version of a router. What was spent under another version counts here too."""

    def __init__(self, budgets: Sequence[Budget], clock: Clock, books: Books | None = None) -> None:
        self.budgets = tuple(budgets)
        self.books = Books() if books is None else books
        self._paths = tuple(None if b.key is None else tuple(b.key.split(".")) for b in self.budgets)
        self._limits = tuple(to_nano_floor(budget.usd) for budget in self.budgets)
        self._accounts: tuple[dict[Key, Account], ...] = tuple(map(self.books.of, self.budgets))
        self._requiring = any(budget.require_key for budget in self.budgets)
        self._clock = clock
        self._wall, self._monotonic = clock.wall, clock.monotonic

    def keys_of(self, request: Mapping[str, Any]) -> tuple[Key, ...]:
        """The account keys of a request, one a budget.

        Raises: SpecError where a budget requires a key that the request does not have.
        """
        keys: list[Key] = []
        for path in self._paths:
            if path is None:
                keys += (None,)
                continue
            value: Any = request
            for part in path:
                inside = value.__class__ is dict or (value is not None and isinstance(value, Mapping))
                value = value[part] if inside and part in value else None
            keys += (_key(value, path),) if value is not None else (None,)
        if self._requiring:
            for budget, key in zip(self.budgets, keys, strict=True):
                if key is None and budget.require_key:
                    raise SpecError(f"budget {budget.name!r} needs {budget.key!r} in the request (require_key=True)")
        return tuple(keys)

    def left(self, keys: tuple[Key, ...]) -> int | None:
        """What is left for these keys in the tightest budget; advice only: ``reserve`` is the guarantee."""
        wall, least = self._wall(), None
        with self.books.lock:
            for limit, accounts, key in zip(self._limits, self._accounts, keys, strict=True):
                left = limit
                if key in accounts:
                    account = accounts[key]
                    if account.end is None:
                        account.expire(self._monotonic())
                        left -= account.settled + account.reserved
                    elif 0 < account.end - wall <= account.length or not account.over(wall, self._monotonic):
                        left -= account.settled + account.reserved
                    if account.waits and left != limit:  # what others hold may come back while this call waits
                        left += account.reserved
                if least is None or left < least:
                    least = left
        return least

    def reserve(self, keys: tuple[Key, ...], amount: int) -> Reservation | Refusal:
        """Hold ``amount`` in every account of ``keys``, or in none."""
        wall = self._wall()
        with self.books.lock:
            for index, (accounts, key) in enumerate(zip(self._accounts, keys, strict=True)):
                account: Account | None
                if key not in accounts:
                    account = self._open(index, key, wall)
                else:
                    account = accounts[key]
                    if account.end is None:
                        account.expire(self._monotonic())
                    elif not 0 < account.end - wall <= account.length and account.over(wall, self._monotonic):
                        account = self._open(index, key, wall)
                if account is None:
                    return self._refuse(index, key, None, wall)
                if amount and account.settled + account.reserved + amount > self._limits[index]:
                    return self._refuse(index, key, account, wall)
            held = [accounts[key] for accounts, key in zip(self._accounts, keys, strict=True)]
            for account in held:
                account.reserved += amount
        return Reservation(self, held, amount)

    def end(self, reservation: Reservation, nano: int) -> None:
        """End a reservation with what was spent (0 releases it). The second and later endings do nothing."""
        with self.books.lock:
            if not reservation.open or reservation.epoch != self.books.epoch:
                return
            reservation.open = False
            for account in reservation.accounts:
                account.reserved -= reservation.amount
                if account.end is None:  # sliding windows and totals keep their own books
                    account.spend(nano, self._monotonic())
                else:
                    account.settled += nano

    def _open(self, index: int, key: Key, wall: float) -> Account | None:
        budget, accounts = self.budgets[index], self._accounts[index]
        if key not in accounts and len(accounts) >= budget.max_keys:
            self._forget_finished(accounts, wall)
            if len(accounts) >= budget.max_keys:
                return None
        account = (SlidingAccount if budget.rolling else Account)(budget, wall, self._monotonic())
        accounts[key] = account
        return account

    def _forget_finished(self, accounts: dict[Key, Account], wall: float) -> None:
        """Drop accounts whose window is over and that hold nothing: they are equal to no account."""
        for key in [k for k, a in accounts.items() if a.over(wall, self._monotonic) and not a.reserved]:
            del accounts[key]

    def _refuse(self, index: int, key: Key, account: Account | None, wall: float) -> Refusal:
        limit = self._limits[index]
        spent = limit if account is None else account.settled + account.reserved
        resets = account.resets_at(wall, self._monotonic()) if account is not None else None
        return Refusal(self.budgets[index], key, limit, spent, limit - spent, resets)

    def used_fraction(self, name: str, request: Mapping[str, Any]) -> float | None:
        """What this request's account of a budget has settled and reserved, as a share of the limit (0..1, more after
        an overrun); None where there is no such budget."""
        for index, budget in enumerate(self.budgets):
            if budget.name == name:
                left = Ledger((budget,), self._clock, self.books)
                key = left.keys_of(request)
                limit = self._limits[index]
                return 1.0 if limit <= 0 else (limit - (left.left(key) or 0)) / limit
        return None

    def refusal(self, keys: tuple[Key, ...]) -> Refusal | None:
        """The budget with least left for these keys, as a refusal; None without budgets."""
        wall, worst = self._wall(), None
        with self.books.lock:
            for index, key in enumerate(keys):
                account = self._accounts[index].get(key)
                if account is None or account.over(wall, self._monotonic):
                    account = Account(self.budgets[index], wall, self._monotonic())
                refusal = self._refuse(index, key, account, wall)
                if worst is None or refusal.left < worst.left:
                    worst = refusal
        return worst

    def report(self) -> list[dict[str, Any]]:
        """Every account that holds anything, and every unused budget, as records of USD."""
        wall, now, rows = self._wall(), self._monotonic(), []
        with self.books.lock:
            for budget, limit, accounts in zip(self.budgets, self._limits, self._accounts, strict=True):
                live = {k: a for k, a in accounts.items() if not a.over(wall, self._monotonic) or a.reserved}
                for key, account in live.items() or [(None, Account(budget, wall, now))]:
                    account.expire(now)
                    rows.append(_record(budget, key, limit, account, account.resets_at(wall, now)))
        return rows


def _record(budget: Budget, key: Key, limit: int, account: Account, resets: float | None) -> dict[str, Any]:
    return {
        "name": budget.name,
        "key": None if budget.key is None else NO_KEY if key is None else key,
        "limit_usd": to_usd(limit),
        "settled_usd": to_usd(account.settled),
        "reserved_usd": to_usd(account.reserved),
        "left_usd": to_usd(max(0, limit - account.settled - account.reserved)),
        "resets_at": iso(resets),
    }
