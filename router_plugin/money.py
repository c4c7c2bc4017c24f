"""Money inside the package is an integer number of nano-dollars (10^-9 USD).

Integers add up exactly, so a ledger of a million settlements has no drift. What is reserved is rounded up, what is
settled is rounded to the nearest, so a settlement of the reserved worst case never exceeds it.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from .redact import shown

NANO = 1_000_000_000
MAX_USD = 1e9  # a limit above a billion dollars is a typing error, and keeps every sum inside 64 bits


def to_nano_floor(usd: float) -> int:
    """Nano-dollars rounded down (with a hair for binary noise): a limit is never widened by rounding."""
    return math.floor(usd * NANO + 1e-6)


def to_usd(nano: int) -> float:
    return nano / NANO


def parse_usd(value: Any) -> float:
    """A finite amount >= 0 as float. bool, str, NaN, infinity and negatives are refused.

    Raises: ValueError that says what would be right.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise ValueError(f"must be a number of US dollars such as 0.01, not {shown(value)} ({type(value).__name__})")
    try:
        amount = float(value)
    except OverflowError:
        amount = math.inf
    if not math.isfinite(amount):
        raise ValueError(f"must be a finite number of US dollars, not {shown(value)}")
    if amount < 0:
        raise ValueError(f"must not be negative, got {shown(value)}")
    if amount > MAX_USD:
        raise ValueError(f"must be at most {MAX_USD:.0f} US dollars, got {shown(value)}")
    return amount
