"""hazards.md 3, "Numbers": refused with the field's name, or used as what they are; never "allow" for a bad bound."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import litellm
import pytest
from stage import HI, PRICE, FakeClock, Says, ask, nothing_held, scripted, spent

from router_plugin import (
    Budget,
    BudgetExceededError,
    Deployment,
    NoCandidateError,
    Router,
    RouteResult,
    Score,
    SpecError,
)

NAN, INF = float("nan"), float("inf")
NO_NUMBERS: list[Any] = [
    NAN,
    INF,
    -INF,
    -0.01,
    "0.01",
    "",
    True,
    False,
    [1],
    {},
    b"1",
    Fraction(1, 3),
    1j,
    Decimal("NaN"),
]
NO_NUMBERS += [Decimal("-1"), Decimal("sNaN"), Decimal("Infinity"), 10**400, -(10**400), object()]
shown = {"ids": lambda v: repr(v)[:24]}


@pytest.mark.parametrize("value", [*NO_NUMBERS, 1e999, 1e10], **shown)
@pytest.mark.parametrize("where", ["router", "call", "routing", "budget"])
def test_max_cost_that_is_no_amount_denies_and_never_allows(where: str, value: Any) -> None:
    r, provider = scripted(FakeClock())
    uses: dict[str, Callable[[], Any]] = {
        "router": lambda: Router("r", models=["openai/m"], max_cost=value),
        "budget": lambda: Budget(usd=value),
        "call": lambda: r.completion(messages=HI, max_cost=value),
        "routing": lambda: r.completion(messages=HI, routing={"max_cost": value}),
    }
    with pytest.raises(SpecError, match=r"max_cost|usd|Budget"):
        uses[where]()
    assert provider.calls == []
    nothing_held(r)


@pytest.mark.parametrize("value", [0, 0.0, -0.0, 1e-30, 5e-324, Decimal("0"), Decimal("1E-30"), 1e-9])
@pytest.mark.parametrize("where", ["router", "call", "budget"])
def test_max_cost_of_next_to_nothing_denies(where: str, value: Any) -> None:
    """Zero is a bound, not the lack of one."""
    settings = {"router": {"max_cost": value}, "budget": {"budgets": [Budget(usd=value)]}}.get(where, {})
    r, provider = scripted(FakeClock(), **settings)
    error = ask("sync", r, **({"max_cost": value} if where == "call" else {})).raises(NoCandidateError)
    assert "openai/m" in str(error) or "m:" in str(error)
    assert provider.calls == []
    nothing_held(r)


@pytest.mark.parametrize("value", [0, -0.0, 1e-30])
@pytest.mark.parametrize("where", ["router", "call", "budget"])
def test_a_price_of_zero_is_free_under_any_bound(where: str, value: Any) -> None:
    settings = {"router": {"max_cost": value}, "budget": {"budgets": [Budget(usd=value)]}}.get(where, {})
    free = Deployment("openai/free", input_cost_per_token=0, output_cost_per_token=0.0)
    r, _ = scripted(FakeClock(), models=[Deployment("openai/m", quality=0.9, **PRICE), free], **settings)
    told = ask("sync", r, **({"max_cost": value} if where == "call" else {}))
    assert told.answered() == "ok"
    assert told.result.deployment == "openai/free"
    assert told.result.cost_usd == 0
    nothing_held(r)


def test_max_cost_as_a_decimal_or_int_is_an_amount() -> None:
    for value in (Decimal("0.01"), 1, 0.01):
        r, _ = scripted(FakeClock(), max_cost=value)
        ask("sync", r, max_cost=value).answered()


@pytest.mark.parametrize("value", NO_NUMBERS, **shown)
@pytest.mark.parametrize("field", ["max_cost_per_million_tokens", "willingness_to_pay", "min_quality", "max_ttft_ms"])
def test_other_dials_and_bounds_that_are_no_numbers(field: str, value: Any) -> None:
    r, provider = scripted(FakeClock())
    direct = field in ("max_cost_per_million_tokens", "willingness_to_pay")
    with pytest.raises(SpecError, match=field):
        r.completion(messages=HI, **({field: value} if direct else {"routing": {field: value}}))
    assert provider.calls == []


@pytest.mark.parametrize("value", [NAN, INF, -INF, -1, "1", True, None, 10**400], **shown)
@pytest.mark.parametrize("key", ["q", "c", "t", "i"])
def test_weights_that_are_no_weights(key: str, value: Any) -> None:
    with pytest.raises(SpecError, match=r"weights|weight"):
        Router("r", models=["openai/m"], weights={"q": 1, "c": 1, key: value})


@pytest.mark.parametrize("weights", [{}, {"q": 0}, {"q": 0, "c": 0, "t": 0, "i": 0}, {"q0": 5}, {"q": -0.0}])
def test_all_weights_zero(weights: Any) -> None:
    with pytest.raises(SpecError, match="weight"):
        Router("r", models=["openai/m"], weights=weights)


@pytest.mark.parametrize(
    "weights", [{"q": 1e308, "c": 1e308}, {"c": 1e308, "c0": -1e308, "q0": -1e308}, {"t": 1.7e308}]
)
def test_a_sum_of_weights_that_overflows(weights: Any) -> None:
    with pytest.raises(SpecError, match="weight"):
        Router("r", models=["openai/m"], weights=weights)


def test_large_and_small_weights_still_rank() -> None:
    """The largest that are taken: scores stay numbers, and the order is the one they ask for."""
    dear = Deployment("openai/dear", quality=0.9, input_cost_per_token=1e-3, output_cost_per_token=1e-3)
    cheap = Deployment("openai/cheap", quality=0.1, input_cost_per_token=1e-9, output_cost_per_token=1e-9)
    for weights, first in (({"q": 1e14, "c": 1e-300}, "openai/dear"), ({"q": 1e-300, "c": 1e14}, "openai/cheap")):
        r, _ = scripted(FakeClock(), models=[dear, cheap], weights=weights)
        result = r.route({"messages": HI})
        assert result.ranking[0] == first
        json.dumps(result.model_dump(), allow_nan=False)


@pytest.mark.parametrize(
    "window", [0, -1, 60, "0", "", "fortnight", None, True, ["day"], "Day", "total "], ids=lambda v: repr(v)
)
def test_a_budget_window_that_is_none(window: Any) -> None:
    with pytest.raises(SpecError, match="per"):
        Budget(usd=1, per=window)


@pytest.mark.parametrize("field", ["max_keys", "wait_s"])
@pytest.mark.parametrize("value", [-1, NAN, INF, "5", True], **shown)
def test_other_figures_of_a_budget(field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=field):
        Budget(usd=1, **{field: value})


@pytest.mark.parametrize("rolling", ["total", "month"])
def test_a_rolling_window_without_a_length(rolling: Any) -> None:
    with pytest.raises(SpecError, match="rolling"):
        Budget(usd=1, per=rolling, rolling=True)


PRICES = [
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
]


@pytest.mark.parametrize("field", PRICES)
@pytest.mark.parametrize("value", NO_NUMBERS, **shown)
def test_a_price_that_is_none(field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=field):
        Deployment("openai/m", **{field: value})


@pytest.mark.parametrize("field", ["rpm", "tpm", "max_input_tokens", "max_output_tokens", "context_window"])
@pytest.mark.parametrize("value", [0, -1, 1.5, NAN, INF, "5", True], **shown)
def test_a_count_of_a_deployment_that_is_none(field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=field):
        Deployment("openai/m", **{field: value})


@pytest.mark.parametrize("value", [NAN, INF, -0.1, 1.1, "0.5", True, 10**400], **shown)
def test_a_quality_that_is_none(value: Any) -> None:
    with pytest.raises(SpecError, match="quality"):
        Deployment("openai/m", quality=value)


# --------------------------------------------------------------------------- prices in the map


def listed(monkeypatch: pytest.MonkeyPatch, **entry: Any) -> None:
    """A model ``openai/zz-hazard`` in a price map of this test's own."""
    given = {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 1_000_000, "max_output_tokens": 1_000}
    monkeypatch.setattr(litellm, "model_cost", {**litellm.model_cost, "zz-hazard": {**given, **entry}})


UNPRICED: list[tuple[str, dict[str, Any]]] = [
    ("unknown price", {}),
    ("no output price", {"input_cost_per_token": 1e-6}),
    ("no input price", {"output_cost_per_token": 1e-6}),
    ("negative price", {"input_cost_per_token": -1e-6, "output_cost_per_token": 1e-6}),
    ("NaN price", {"input_cost_per_token": NAN, "output_cost_per_token": 1e-6}),
    ("infinite price", {"input_cost_per_token": INF, "output_cost_per_token": 1e-6}),
    ("text price", {"input_cost_per_token": "1e-6", "output_cost_per_token": "1e-6"}),
    ("bool price", {"input_cost_per_token": True, "output_cost_per_token": True}),
    ("huge integer price", {"input_cost_per_token": 10**400, "output_cost_per_token": 1e-6}),
    ("per image only", {"input_cost_per_image": 0.01, "output_cost_per_image": 0.04}),
    ("per second only", {"input_cost_per_second": 0.0002, "output_cost_per_second": 0.0002}),
    ("per character only", {"input_cost_per_character": 1e-6, "output_cost_per_character": 1e-6}),
    ("price of a request beside zero per token", {"input_cost_per_request": 0.005, "input_cost_per_token": None}),
]


@pytest.mark.parametrize("entry", [u[1] for u in UNPRICED], ids=[u[0] for u in UNPRICED])
@pytest.mark.parametrize("money", [{"max_cost": 1}, {"budgets": [Budget(usd=1)]}, {"willingness_to_pay": 1}], ids=str)
def test_unpriced_is_never_zero(monkeypatch: pytest.MonkeyPatch, entry: dict[str, Any], money: dict[str, Any]) -> None:
    listed(monkeypatch, **entry)
    r = Router("r", models=["openai/zz-hazard"], **money)
    with pytest.raises(NoCandidateError, match="unpriced"):
        r.route({"messages": HI})
    with pytest.raises(SpecError, match="price"):
        Router("r", models=["openai/zz-hazard"], **money, unpriced="error").route({"messages": HI})


def test_a_price_per_request_beside_prices_per_token_is_part_of_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that costs half a cent a request whatever it says (Perplexity) does not fit a tenth of a cent."""
    listed(monkeypatch, input_cost_per_request=0.005, input_cost_per_token=1e-6, output_cost_per_token=1e-6)
    r = Router("r", models=["openai/zz-hazard"], max_cost=0.001)
    with pytest.raises(NoCandidateError):
        r.route({"messages": HI, "max_tokens": 10})


def test_a_tiered_price_above_200k_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    listed(
        monkeypatch,
        input_cost_per_token=1e-6,
        output_cost_per_token=1e-6,
        input_cost_per_token_above_200k_tokens=4e-6,
        output_cost_per_token_above_200k_tokens=8e-6,
    )
    r = Router("r", models=["openai/zz-hazard"], budgets=[Budget(usd=10)])
    for tokens, dearest in ((190_000, 190_000e-6 + 1e-3), (250_000, 250_000 * 4e-6 + 1_000 * 8e-6)):
        held: list[float] = []

        @r.wrap
        def call(model: str, messages: Any, held: list[float] = held, **kwargs: Any) -> Any:
            held.append(r.budgets()[0]["reserved_usd"])
            return {"choices": [{"message": {"content": "ok"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}

        call("router", [{"role": "user", "content": "x" * tokens}])
        assert held[0] >= dearest


def test_a_tier_that_is_cheaper_never_lowers_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    listed(
        monkeypatch,
        input_cost_per_token=4e-6,
        output_cost_per_token=4e-6,
        input_cost_per_token_above_100k_tokens=1e-6,
        output_cost_per_token_above_100k_tokens=1e-6,
    )
    r = Router("r", models=["openai/zz-hazard"], max_cost=0.45)
    with pytest.raises(NoCandidateError):
        r.route({"messages": [{"role": "user", "content": "x y z " * 40_000}], "max_tokens": 10})


@pytest.mark.parametrize(
    "entry",
    [
        {"max_input_tokens": "1000", "max_output_tokens": "lots"},
        {"max_input_tokens": -1, "max_output_tokens": 0},
        {"max_input_tokens": NAN, "max_output_tokens": INF},
        {"max_input_tokens": None, "max_output_tokens": None, "max_tokens": None},
        {"max_input_tokens": 1.5e6, "max_output_tokens": 1e3},
        {"mode": 5},
        {"supports_vision": "yes", "supports_function_calling": 1},
        {"input_cost_per_token_above_XXk_tokens": 1e-6, "input_cost_per_token_above_k_tokens": 1e-6},
    ],
    ids=str,
)
def test_a_price_map_with_odd_figures(monkeypatch: pytest.MonkeyPatch, entry: dict[str, Any]) -> None:
    """litellm's map is somebody else's file: what cannot be read there is unknown, and deciding goes on."""
    listed(monkeypatch, input_cost_per_token=1e-6, output_cost_per_token=1e-6, **entry)
    result = Router("r", models=["openai/zz-hazard"], max_cost=1).route({"messages": HI})
    assert result.ranking == ["openai/zz-hazard"]


# --------------------------------------------------------------------------- scores


@pytest.mark.parametrize(
    "score",
    [
        NAN,
        INF,
        -1.0,
        2,
        "0.5",
        True,
        Score(quality=NAN),
        Score(quality=0.5, output_tokens=NAN),
        Score(quality=0.5, output_tokens=INF),
        Score(quality=0.5, output_tokens=-100),
        Score(quality="high"),  # type: ignore[arg-type]
        object(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("objective", [{}, {"willingness_to_pay": 0.01}, {"weights": {"q": 1, "c": 1}}], ids=str)
def test_a_scorer_that_says_nonsense(score: Any, objective: dict[str, Any]) -> None:
    """It is left out, once reported; the decision is a decision all the same, and its figures are numbers."""

    class Nonsense:
        def score(self, request: Any, models: Any) -> Any:
            return [score, *([0.5] * (len(models) - 1))]

    r, _ = scripted(FakeClock(), "a", "b", scorer=Nonsense(), **objective)
    told = ask("sync", r)
    assert told.answered() == "ok"
    json.dumps(told.result.model_dump(), allow_nan=False)
    assert told.result.estimated_cost_usd is None or told.result.estimated_cost_usd >= 0


@pytest.mark.parametrize("given", [None, [], [0.5], [0.5] * 3, 5, "ab", {"a": 1}, ValueError("broken")], ids=repr)
def test_a_scorer_that_fails_or_miscounts(given: Any) -> None:
    class Broken:
        def score(self, request: Any, models: Any) -> Any:
            if isinstance(given, Exception):
                raise given
            return given

    r, _ = scripted(FakeClock(), "a", "b", scorer=Broken())
    assert ask("sync", r).answered() == "ok"


def test_ties_go_to_the_cheaper_then_to_the_order_of_definition() -> None:
    same = {"quality": 0.5, "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    cheaper = {**same, "output_cost_per_token": 9e-7}
    models = [Deployment("openai/c", **same), Deployment("openai/a", **same), Deployment("openai/b", **cheaper)]
    r, _ = scripted(FakeClock(), models=models)
    assert r.route({"messages": HI}).ranking == ["openai/b", "openai/c", "openai/a"]


# --------------------------------------------------------------------------- sums


def test_nano_dollars_add_up_exactly() -> None:
    """A million settlements of a third of a cent and odd sums: no drift, and the limit is met to the last nano."""
    clock = FakeClock()
    r, _ = scripted(clock, budgets=[Budget(usd=0.001)], script={"m": [Says(input_tokens=1, output_tokens=1)]})
    count = 0
    while True:
        told = ask("sync", r, max_tokens=1)
        if told.error is not None:
            told.raises(BudgetExceededError)
            break
        count += 1
    assert spent(r) == count * 3000 / 1e9
    assert spent(r) <= 0.001
    assert isinstance(RouteResult.of(told.error), RouteResult)


@pytest.mark.parametrize("usd", [0.1, 0.2, 0.3, 0.7, 1.1, 2.675, 1e-9, 1.5e-9, 123456.789, 1e9])
def test_a_limit_is_never_widened_by_rounding(usd: float) -> None:
    r, _ = scripted(FakeClock(), budgets=[Budget(usd=usd)])
    (account,) = r.budgets()
    assert account["limit_usd"] <= usd * (1 + 1e-12)
    assert math.isclose(account["limit_usd"], usd, rel_tol=1e-6, abs_tol=1e-9)
