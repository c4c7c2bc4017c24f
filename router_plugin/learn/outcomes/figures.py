"""Numbers in outcomes and price lists: one rule of what is missing and what is wrong.

Rule: None, NaN (a data frame's way to say nothing) and blank text are missing, never 0. Everything else must be a
finite number within its bounds, or is refused by the place where it stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from ...errors import SpecError
from ...redact import shown

Prices = Mapping[str, Sequence[float]]  # model -> (input, output), USD per million tokens


def figure(value: Any, where: str, most: float = math.inf) -> float | None:
    """A number in 0..``most``; None where nothing is said.

    Raises: SpecError.
    """
    if value is None or type(value).__name__ == "NAType" or (isinstance(value, str) and not value.strip()):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.inf
    if math.isnan(found):
        return None
    if not 0.0 <= found <= most or math.isinf(found):
        bounds = "be a number >= 0" if math.isinf(most) else f"lie in 0..{most:g}"
        raise SpecError(f"{where}: must {bounds}, got {shown(value)}")
    return found


def whole_number(value: Any, where: str, least: int) -> int:
    """A whole number of at least ``least``.

    Raises: SpecError.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpecError(f"{where}: must be a whole number of at least {least}, got {shown(value)}")
    return value


def some(models: Sequence[str]) -> str:
    """The first of many names, for a message."""
    return ", ".join(map(shown, models[:8])) + (" …" if len(models) > 8 else "")


def fees(prices: Any, models: Iterable[str]) -> dict[str, tuple[float, float]]:
    """(input, output) of those of the models that a price list has; of none without a list.

    Raises: SpecError naming the model and what would be right.
    """
    if prices is None:
        return {}
    if not isinstance(prices, Mapping):
        raise SpecError(f"prices: must be {{model: (input, output)}} in USD per million tokens, got {shown(prices)}")
    return {model: _pair(prices[model], model) for model in models if model in prices}


def _pair(given: Any, model: str) -> tuple[float, float]:
    numbers = [] if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable) else list(given)
    if len(numbers) != 2 or not all(_is_price(number) for number in numbers):
        raise SpecError(
            f"prices[{shown(model)}]: must be two numbers >= 0, (input, output) in USD per million tokens, got "
            f"{shown(given)}"
        )
    return float(numbers[0]), float(numbers[1])


def _is_price(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0.0 <= float(value) < math.inf
