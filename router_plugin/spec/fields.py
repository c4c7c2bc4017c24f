"""Field types shared by the specs, and the one place where pydantic's complaints become ours."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from ..errors import SpecError, did_you_mean
from ..money import parse_usd
from ..redact import shown


def number(value: Any) -> float:
    """A finite number that is not a bool and not a string."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise ValueError(f"must be a number, not {shown(value)} ({type(value).__name__})")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValueError("must be finite, and within what a float can hold")
    return result


def non_negative(value: Any) -> float:
    result = number(value)
    if result < 0:
        raise ValueError(f"must not be negative, got {shown(value)}")
    return result


def positive(value: Any) -> float:
    result = number(value)
    if result <= 0:
        raise ValueError(f"must be greater than 0, got {shown(value)}")
    return result


def fraction(value: Any) -> float:
    result = number(value)
    if not 0 <= result <= 1:
        raise ValueError(f"must lie between 0 and 1, got {shown(value)}")
    return result


def count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be a whole number, not {shown(value)} ({type(value).__name__})")
    if value < 1:
        raise ValueError(f"must be at least 1, got {shown(value)}")
    return value


def plain_text(value: Any) -> str:
    """A non-empty string of printable characters without surrounding space."""
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {shown(value)} ({type(value).__name__})")
    if not value or value != value.strip() or not value.isprintable():
        raise ValueError(f"must be non-empty printable text without surrounding space, got {shown(value)}")
    if len(value) > 512:
        raise ValueError(f"must be at most 512 characters, got {len(value)}")
    return value


Usd = Annotated[float, BeforeValidator(parse_usd)]
Number = Annotated[float, BeforeValidator(number)]
NonNegative = Annotated[float, BeforeValidator(non_negative)]
Positive = Annotated[float, BeforeValidator(positive)]
Fraction = Annotated[float, BeforeValidator(fraction)]
Count = Annotated[int, BeforeValidator(count)]
Text = Annotated[str, BeforeValidator(plain_text)]


class Spec(BaseModel):
    """Base of every setting: frozen, no unknown fields, and errors that name the field and the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", revalidate_instances="never")

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise explain_validation(type(self), error) from None


def explain_validation(owner: type[BaseModel], error: ValidationError) -> SpecError:
    """One line per fault: the field's path, what is wrong, what would be right; never the value of a secret field."""
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        path = ".".join(str(part) for part in fault["loc"]) or owner.__name__
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            known = owner.model_fields
            near = did_you_mean(fault["loc"][-1], known)
            message = f"unknown field{near}; known fields: {', '.join(known)}"
        elif fault["type"] not in ("value_error", "missing") and not any(
            s in path for s in ("key", "headers", "params")
        ):
            message += f", got {shown(fault['input'])}"
        lines.append(f"{owner.__name__}: {path}: {message}")
    return SpecError("\n".join(lines))
