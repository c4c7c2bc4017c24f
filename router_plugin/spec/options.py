"""Every knob of a routed call: given to a router as its defaults, or to one call as ``routing={…}``."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from .. import checks
from ..redact import shown
from .fields import Count, Fraction, NonNegative, Number, Positive, Spec, Text, Usd
from .strings import Weights

# Where a condition that is named in a text may come from.
_CONDITIONS = ("litellm", "openai", "builtins", "router_plugin")
PriceBasis = Literal["request", "blend", "input", "output", "max"]
OnInfeasible = Literal["raise", "cheapest", "best", "base_model"]
Midstream = Literal["raise", "restart", "continue"]


def _names(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise ValueError(f"must be a list of names, not {shown(value)}")
    if not value:
        raise ValueError("must not be an empty list: leave it out to allow all")
    return tuple(value)


def _weights(value: Any) -> Any:
    if value is None:
        return value
    if isinstance(value, Weights):
        value = {name: getattr(value, name) for name in _WeightsSpec.model_fields}
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping such as {{'q': 1, 'c': 0.005}}, not {shown(value)}")
    return _WeightsSpec(**value).value()


class _WeightsSpec(Spec):
    q: NonNegative = 0.0
    c: NonNegative = 0.0
    t: NonNegative = 0.0
    i: NonNegative = 0.0
    q0: Number = 0.0
    c0: Number = 0.0
    t0: Number = 0.0
    i0: Number = 0.0

    def value(self) -> Weights:
        if not (self.q or self.c or self.t or self.i):
            raise ValueError("all weights are zero: nothing would be left to rank by")
        if sum(abs(float(v)) for v in self.__dict__.values()) > 1e15:
            raise ValueError("weights are too large to add up exactly; scale them down")
        return Weights(**self.__dict__)


def _hedge(value: Any) -> Any:
    """ "p50" … "p99" (of the deployment's own times), or seconds."""
    if value is None or (isinstance(value, str) and re.fullmatch(r"p[1-9][0-9]?", value)):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ValueError(f"must be a quantile such as 'p95' or a number of seconds, not {shown(value)}")
    return float(value)


def _retries(value: Any) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError(f"must be a whole number of at least 0, got {shown(value)}")
    return value


def _session(value: Any) -> Any:
    """A key, or True for one made of the conversation's opening."""
    if value is None or isinstance(value, bool):
        return value or None
    if not isinstance(value, str) or not value or len(value) > 512:
        raise ValueError(f"must be a key of 1 to 512 characters, or True to derive it, not {shown(value)}")
    return value


def _flag(value: Any) -> Any:
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"must be True or False, not {shown(value)}")
    return value


def condition_of(name: str) -> Any:
    """The condition of ``fallback_on`` that a text names (``litellm.exceptions:RateLimitError``): an exception type of
    Python, litellm or openai, or a function of ``router_plugin.checks``; None where it names none of these."""
    module, _, qualified = name.partition(":")
    if module.split(".")[0] not in _CONDITIONS or not qualified.isidentifier() or qualified.startswith("_"):
        return None
    try:
        found = getattr(importlib.import_module(module), qualified, None)
    except ImportError:
        return None
    if isinstance(found, type):
        return found if issubclass(found, BaseException) else None
    return found if module == checks.__name__ and checks.reads_response(found) else None


def condition_name(condition: Any) -> str:
    """How a condition is named in a text; ``condition_of`` finds those that may be."""
    return f"{getattr(condition, '__module__', '?')}:{getattr(condition, '__qualname__', '?')}"


def conditions_of(value: Any) -> Any:
    """One condition or several: those that are named are found, judges become checks of the response."""
    if value is None:
        return None
    items = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(
        _named_condition(item) if isinstance(item, str) else checks.judged(item) if checks.is_judge(item) else item
        for item in items
    )


def _named_condition(name: str) -> Any:
    found = condition_of(name)
    if found is None:
        raise ValueError(f"unknown condition {shown(name)}; e.g. 'litellm.exceptions:RateLimitError'")
    return found


Names = Annotated[tuple[Text, ...] | None, BeforeValidator(_names)]
Condition = type[BaseException] | Callable[..., Any]


class Routing(Spec):
    """Options of routing; all may be left out.

    Bounds (of several layers the tighter wins): ``max_cost`` USD for the whole call; ``max_cost_per_million_tokens``
    USD on ``price_basis``; ``min_quality`` 0..1; ``max_cost_of_model`` / ``min_quality_of_model`` (that model's own
    prediction on this request); ``max_ttft_ms``, ``max_itl_ms``; ``models``, ``providers``, ``exclude_models``,
    ``exclude_providers``. Dials (the innermost layer wins): ``willingness_to_pay`` USD per 0.10 of quality,
    ``weights`` (q per unit of quality, c per USD/M tokens, t and i per ms), ``objective``.
    ``session`` keeps a conversation on its deployment while its prompt cache is warm (a key, or True to derive one from
    the opening); ``hedge_after`` ("p95", or seconds) asks a second deployment when the first is late; ``fallback_on``
    takes exception types, functions of the exception, and functions of the response (see ``router_plugin.checks``);
    ``explore_usd`` is what trying out uncertain models may cost a day beyond the best choice (Thompson sampling, by
    conversation); ``balance_tolerance`` is the difference in score within which load decides; ``sanitise`` makes a
    history portable.
    ``timeout_s`` (also ``default_timeout_s``) is the deadline of calls that bring no ``timeout=``.
    Times are seconds unless the name says ms. Source of the vocabulary: Martian's gateway, Unify's router strings.
    """

    max_cost: Usd | None = None
    max_cost_per_million_tokens: Usd | None = None
    price_basis: PriceBasis | None = None
    min_quality: Fraction | None = None
    max_cost_of_model: Text | None = None
    min_quality_of_model: Text | None = None
    max_ttft_ms: Positive | None = None
    max_itl_ms: Positive | None = None
    models: Names = None
    providers: Names = None
    exclude_models: Names = None
    exclude_providers: Names = None

    willingness_to_pay: Usd | None = None
    weights: Annotated[Weights | None, BeforeValidator(_weights)] = None
    objective: Literal["quality", "cost"] | None = None

    on_infeasible: OnInfeasible | None = None
    base_model: Text | None = None
    unknown: Literal["allow", "exclude"] | None = None
    unpriced: Literal["exclude", "error", "assume"] | None = None
    assumed_input_cost_per_token: NonNegative | None = None
    assumed_output_cost_per_token: NonNegative | None = None
    min_output_tokens: Count | None = None
    default_output_cap: Count | None = None

    timeout_s: Positive | None = None
    attempt_timeout_s: Positive | None = None
    ttft_timeout_s: Positive | None = None
    stall_timeout_s: Positive | None = None
    max_attempts: Count | None = None
    max_retries: Annotated[int | None, BeforeValidator(_retries)] = None
    patience_s: NonNegative | None = None
    hedge_after: Annotated[str | float | None, BeforeValidator(_hedge)] = None
    session: Annotated[str | bool | None, BeforeValidator(_session)] = None
    balance_tolerance: NonNegative | None = None
    explore_usd: Usd | None = None
    sanitise: Annotated[bool | None, BeforeValidator(_flag)] = None
    on_rate_limit: Literal["next", "wait"] | None = None
    content_policy_fallback: bool | None = None
    fallback_on: Annotated[tuple[Condition, ...] | None, BeforeValidator(conditions_of)] = Field(
        default=None, repr=False
    )
    midstream: Midstream | None = None
    buffer: bool | None = None

    def __init__(self, /, **data: Any) -> None:
        if "default_timeout_s" in data:
            data.setdefault("timeout_s", data.pop("default_timeout_s"))
        super().__init__(**data)

    def given(self) -> dict[str, Any]:
        """The options that were set, by name."""
        return {name: getattr(self, name) for name in self.model_fields_set}

    @model_validator(mode="after")
    def _consistent(self) -> Routing:
        if self.weights is not None and self.willingness_to_pay is not None:
            raise ValueError("weights and willingness_to_pay are two dials; give one of them in one place")
        if self.objective is not None and (self.weights is not None or self.willingness_to_pay is not None):
            raise ValueError("objective stands alone; leave out weights and willingness_to_pay")
        if self.unpriced == "assume" and None in (
            self.assumed_input_cost_per_token,
            self.assumed_output_cost_per_token,
        ):
            raise ValueError(
                "unpriced='assume' needs assumed_input_cost_per_token and assumed_output_cost_per_token (USD per token)"
            )
        return self
