"""hazards.md 3, "Strings and configuration": an error of ours that names the field and what would be right, no call."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import litellm
import pytest
from stage import HI, PRICE, FakeClock, ask, nothing_held, scripted

from router_plugin import (
    Budget,
    Deployment,
    Router,
    RouterError,
    RouterStringError,
    SpecError,
    Weights,
    install,
    parse_router_string,
)

TEN_KB = "x" * 10_240
STRINGS = [
    "",
    " ",
    "\n",
    "router:",
    "router@",
    "router/",
    "router_",
    "router@q",
    "router@q:",
    "router@q:1e999",
    "router@q:nan",
    "router@q:inf",
    "router@q:-1",
    "router@q:1|q:1",
    "router@quality_thrs:0.2,0.8|q>0.1",
    "router@models:",
    "router@models:a,,b",
    "router@bogus:1",
    "router@q:1\x00",
    "router@q:1\n",
    "router\n",
    "router@q:１",
    "ｒｏｕｔｅｒ@q:1->openai/m",
    "router@\u202eq:1",
    "router/../../x",
    "router@q:" + "9" * 10_240,
    "router@models:" + TEN_KB,
    "router/" + TEN_KB,
    "->",
    "router->",
    "->router",
    "router->router@q:1e999",
    "router@q:1|c:0.5;drop",
    "router@c:0",
    "router@q0:1",
    "router/no-such-router",
    "router/hazard/versions/2",
    "router/hazard/versions/0",
    "router@models:no-such-model",
    "router@providers:no-such-provider",
    "router@skip_models:no-such-model",
    "no-such-model",
    "../../x",
    "m\n",
    "m\x00",
    "ｍ",
    "m@no-such-provider",
    "m@lowest-bogus",
    "m@ttft<",
    TEN_KB,
]


@pytest.mark.parametrize("text", STRINGS, ids=lambda s: repr(s[:30]))
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_string_that_is_no_address(text: str, mode: str) -> None:
    r, provider = scripted(FakeClock())
    error = ask(mode, r, model=text).raises(SpecError)
    assert provider.calls == []
    assert len(str(error)) < 2_000, f"an error of {len(str(error))} characters"
    assert all(c.isprintable() or c == "\n" for c in str(error)), ascii(str(error))
    nothing_held(r)


@pytest.mark.parametrize("text", STRINGS, ids=lambda s: repr(s[:30]))
def test_a_string_that_is_no_address_through_litellm(text: str) -> None:
    """Installed: what looks like a router's name gets our error; what does not is litellm's business, and neither
    reaches a provider."""
    r, provider = scripted(FakeClock())
    with install(r), pytest.raises((SpecError, litellm.BadRequestError)):
        litellm.completion(text, HI)
    assert provider.calls == []


@pytest.mark.parametrize("model", [5, 5.0, True, [], ["openai/m"], {}, ("openai/m",), object(), b"openai/m"])
def test_a_model_that_is_no_string(model: Any) -> None:
    r, provider = scripted(FakeClock())
    ask("sync", r, model=model).raises(SpecError)
    with pytest.raises(SpecError):
        r.route({"model": model, "messages": HI})
    with install(r), pytest.raises(Exception) as caught:
        litellm.completion(model, HI)
    assert not isinstance(caught.value, AssertionError)
    assert provider.calls == []


def test_a_model_that_is_none_is_the_router_itself() -> None:
    r, _ = scripted(FakeClock())
    assert ask("sync", r, model=None).answered() == "ok"


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a/b", "a@b", "a\n", "a\x00", "../../x", "ａ", "-a", 5, None, TEN_KB, "a->b"]
)
def test_a_router_name_that_is_none(name: Any) -> None:
    with pytest.raises(SpecError, match="name"):
        Router(name, models=["openai/m"])


MODELS: list[Any] = [
    None,
    [],
    (),
    "openai/m",
    "",
    5,
    {},
    {"model": "openai/m"},
    [None],
    [5],
    [""],
    [" openai/m"],
    ["openai/m\n"],
    ["openai/\u202em"],
    ["router"],
    ["router/x"],
    ["router@q:1"],
    ["a->b"],
    [TEN_KB],
    [["openai/m"]],
    [("openai/m", {"quality": 1})],
    [{}],
    [{"name": "x"}],
    [{"model": "openai/m", "qualitty": 0.5}],
    [{"model": "openai/m", "quality": "high"}],
    [{"model": "openai/m", 5: 5}],
    ["openai/m", "openai/m"],
    [Deployment("openai/m"), Deployment("openai/m")],
    [Deployment("openai/m", name="a"), Deployment("openai/n", name="a")],
]


@pytest.mark.parametrize("models", MODELS, ids=lambda m: repr(m)[:40])
def test_models_that_are_none(models: Any) -> None:
    with pytest.raises(SpecError, match=r"models|model|name|qualit|Deployment") as caught:
        Router("r", models=models)
    assert len(str(caught.value)) < 3_000


SETTINGS: list[dict[str, Any]] = [
    {"max_costt": 1},
    {"budget": []},
    {"budgets": 5},
    {"budgets": [5]},
    {"budgets": ["5"]},
    {"budgets": {"usd": 5}},
    {"budgets": [{"used": 5}]},
    {"budgets": [{"usd": 5, "per": "fortnight"}]},
    {"budgets": [{"usd": 5, "key": ""}]},
    {"budgets": [{"usd": 5, "key": "tenant"}]},
    {"budgets": [{"usd": 5, "key": "extra"}]},
    {"budgets": [{"usd": 5, "key": "extra."}]},
    {"budgets": [{"usd": 5, "key": "extra..team"}]},
    {"budgets": [{"usd": 5, "key": "user.name"}]},
    {"budgets": [{"usd": 5}, {"usd": 6}]},
    {"price_basis": "avg"},
    {"on_infeasible": "whatever"},
    {"on_infeasible": 1},
    {"midstream": "resume"},
    {"weights": {}},
    {"weights": {"q": 1, "x": 1}},
    {"weights": "q:1"},
    {"weights": {"q": 1}, "willingness_to_pay": 1},
    {"objective": "cost", "willingness_to_pay": 1},
    {"models_": ["a"]},
    {"providers": []},
    {"providers": "openai"},
    {"exclude_models": "openai/m"},
    {"timeout_s": "20"},
    {"max_attempts": 0},
    {"max_attempts": 1.5},
    {"max_attempts": True},
    {"fallback_on": 5},
    {"fallback_on": "TimeoutError"},
    {"unpriced": "assume"},
    {"buffer": "yes please"},
    {"content_policy_fallback": 2},
    {"base_model": 5},
    {"allow_request_endpoints": "perhaps"},
    {"description": "x" * 20_000},
    {"description": 5},
    {"seed": "abc", "max_cost": "1"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: repr(s)[:50])
def test_a_misspelt_or_mistyped_field_of_a_router(settings: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        Router("r", models=["openai/m"], **settings)
    assert any(field in str(caught.value) for field in [*settings, *(str(k) for k in _inner(settings))]), caught.value


def _inner(settings: dict[str, Any]) -> list[Any]:
    return [
        "budget",
        "Budget",
        "weight",
        "model",
        "two budgets",
        *(key for v in settings.values() if isinstance(v, dict) for key in v),
    ]


def test_a_misspelt_field_names_the_nearest_one() -> None:
    for make, hint in (
        (lambda: Router("r", models=["openai/m"], max_costt=1), "max_cost"),
        (lambda: Deployment("openai/m", qualitty=1), "quality"),
        (lambda: Budget(usd=1, perr="day"), "per"),
    ):
        with pytest.raises(SpecError, match=f"did you mean '{hint}'"):
            make()


ROUTING: list[Any] = [
    {"max_costt": 1},
    {"on_infeasibel": "raise"},
    {1: 2},
    {"": 1},
    {"max_cost": 1, "timeout": 5},
    {TEN_KB: 1},
    "max_cost",
    5,
    ["max_cost"],
    True,
    {"max_cost": {"usd": 1}},
    {"models": []},
    {"models": "openai/m"},
    {"models": [5]},
    {"models": ["no-such-model"]},
    {"base_model": "no-such-model"},
    {"weights": {"q": float("nan")}},
]


@pytest.mark.parametrize("routing", ROUTING, ids=lambda r: repr(r)[:40])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_misspelt_key_inside_routing(routing: Any, mode: str) -> None:
    r, provider = scripted(FakeClock())
    error = ask(mode, r, routing=routing).raises(SpecError)
    assert provider.calls == []
    assert len(str(error)) < 3_000


def test_a_setting_given_twice() -> None:
    r, provider = scripted(FakeClock())
    error = ask("sync", r, max_cost=1, routing={"max_cost": 2}).raises(SpecError)
    assert "max_cost" in str(error)
    assert provider.calls == []


@pytest.mark.parametrize("models", [[], "openai/m", 5, ["no-such"], [5], [""], {}, [None]])
def test_models_of_a_call_that_are_none(models: Any) -> None:
    r, provider = scripted(FakeClock())
    ask("sync", r, models=models).raises(SpecError)
    assert provider.calls == []


@pytest.mark.parametrize("thing", [None, 5, "router", object(), Router])
def test_install_of_something_that_is_no_router(thing: Any) -> None:
    with pytest.raises(SpecError):
        install(thing)


@pytest.mark.parametrize("patterns", [5, [5], [""], [None], {"a": 1}, [["gpt-4o"]]])
def test_intercept_patterns_that_are_none(patterns: Any) -> None:
    r, _ = scripted(FakeClock())
    before = litellm.completion.__code__
    if patterns != {"a": 1}:
        with pytest.raises(SpecError):
            install(r, intercept=patterns)
    assert litellm.completion.__code__ is before


@pytest.mark.parametrize("pattern", ["[", "[!", "*" * 60 + "b", "(?=x)", "(a+)+$", "x" * 10_000])
def test_intercept_patterns_that_are_hard_to_match(pattern: str) -> None:
    r, provider = scripted(FakeClock())
    started = time.monotonic()
    with install(r, intercept=[pattern]), pytest.raises(litellm.BadRequestError):
        litellm.completion("a" * 60, HI)
    assert time.monotonic() - started < 2
    assert provider.calls == []


# --------------------------------------------------------------------------- router strings, as values


@pytest.mark.parametrize("text", [None, 5, b"router", ["router"], object()])
def test_parsing_something_that_is_no_string(text: Any) -> None:
    with pytest.raises(RouterStringError):
        parse_router_string(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("router@q:1|c:-0.0", "router@q:1"), ("router@q:1|c:0.0|t:-0", "router@q:1"), ("router@q:1e0", "router@q:1")],
)
def test_negative_zero_is_zero(text: str, canonical: str) -> None:
    assert str(parse_router_string(text)) == canonical


@pytest.mark.parametrize("text", ["router@q:1e308|c:1e308|t:1e308|i:1e308", "router@c:1e308|c0:-1e308|q0:-1e308"])
def test_weights_whose_sum_overflows(text: str) -> None:
    """Refused as ``Routing(weights=…)`` refuses them, or ranked by numbers that are numbers."""
    r, _ = scripted(FakeClock(), "a", "b")
    try:
        result = r.route({"model": text, "messages": HI})
    except SpecError:
        return
    json.dumps(result.model_dump(), allow_nan=False)


def test_weights_given_as_a_value_obey_the_same_rules() -> None:
    for weights in (Weights(), Weights(q=float("nan")), Weights(q=-1), Weights(q=float("inf")), Weights(q="1")):  # type: ignore[arg-type]
        with pytest.raises(SpecError):
            Router("r", models=["openai/m"], weights=weights)


def test_look_alikes_are_not_the_same_name() -> None:
    """Full-width and Cyrillic letters: another deployment, never the one it looks like."""
    cyrillic = "openai/g\u0440t"
    r, provider = scripted(FakeClock(), models=[Deployment("openai/gpt", **PRICE), Deployment(cyrillic, **PRICE)])
    for model in (cyrillic, "openai/gpt"):
        ask("sync", r, models=[model]).answered()
    assert [name for name, _ in provider.calls] == [cyrillic, "openai/gpt"]
    with pytest.raises(SpecError):
        r.route({"messages": HI, "models": ["openai/ｇｐｔ"]})


# --------------------------------------------------------------------------- files


def load(tmp_path: Path, text: str | bytes, name: str = "router.yaml") -> Router:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return Router.from_file(path)


GOOD = "name: r\nmodels: [openai/m]\n"
YAML: list[tuple[str, str]] = [
    ("empty", ""),
    ("a scalar", "router"),
    ("a list", "- a\n- b"),
    ("python tag", GOOD + "description: !!python/object/apply:os.system ['echo hi']"),
    ("python name", GOOD + "fallback_on: [!!python/name:builtins.TimeoutError]"),
    ("unknown tag", GOOD + "description: !secret x"),
    ("duplicate key", GOOD + "name: s\n"),
    ("duplicate key of a deployment", "name: r\nmodels: [{model: openai/m, quality: 0.1, quality: 0.9}]"),
    ("number as key", GOOD + "5: 6\n"),
    ("null key", GOOD + "~: 6\n"),
    ("list as key", GOOD + "? [a, b]\n: 6\n"),
    ("misspelt", GOOD + "max_costt: 1\n"),
    ("no models", "name: r\n"),
    ("no name", "models: [openai/m]\n"),
    ("models null", "name: r\nmodels:\n"),
    ("models a number", "name: r\nmodels: 5\n"),
    ("budgets a number", GOOD + "budgets: 5\n"),
    ("budgets of numbers", GOOD + "budgets: [5]\n"),
    ("budgets a mapping", GOOD + "budgets: {usd: 5}\n"),
    ("budgets of text", GOOD + "budgets: [daily]\n"),
    ("internal field", GOOD + "any_model: true\n"),
    ("nan", GOOD + "max_cost: .nan\n"),
    ("inf", GOOD + "max_cost: .inf\n"),
    ("text for a number", GOOD + "max_cost: '0.01'\n"),
    ("yes for a number", GOOD + "max_cost: yes\n"),
    ("a date for a number", GOOD + "max_cost: 2024-01-01\n"),
    ("tab", "name: r\n\tmodels: []"),
    ("unclosed", "name: [r"),
    ("two documents", GOOD + "---\n" + GOOD),
    ("an anchor of itself", GOOD + "description: &a [*a]\n"),
    ("NUL", GOOD + 'description: "a\\0b"\nmax_costt: 1'),
    ("control characters", "name: r\x07\nmodels: [openai/m]"),
    ("deep", "a: " + "[" * 3_000 + "]" * 3_000),
    ("deep mapping", "".join("  " * depth + f"k{depth}:\n" for depth in range(400))),
    ("deep flow mapping", GOOD + "description: " + "{a: " * 5_000 + "1" + "}" * 5_000),
    ("huge", GOOD + "description: " + "x" * 1_100_000),
    ("a huge integer", GOOD + "max_cost: " + "9" * 400 + "\n"),
    ("a long integer", GOOD + "max_cost: " + "9" * 5_000 + "\n"),
]


@pytest.mark.parametrize("text", [y[1] for y in YAML], ids=[y[0] for y in YAML])
def test_a_yaml_file_that_is_no_router(tmp_path: Path, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    with pytest.raises(SpecError, match=r"router\.yaml") as caught:
        load(tmp_path, text)
    assert time.monotonic() - started < 3
    assert len(str(caught.value)) < 3_000
    assert "hi" not in capfd.readouterr().out


@pytest.mark.parametrize("width", [2, 3, 9])
def test_anchor_bombs(tmp_path: Path, width: int) -> None:
    """Aliases of aliases: few of them are enough for more leaves than a walk over them ever sees the end of."""
    levels = {2: 23, 3: 13, 9: 9}[width]
    lines = ["params:", f"  l0: &l0 [{', '.join(['x'] * width)}]"]
    lines += [f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * width)}]" for n in range(1, levels)]
    bomb = "name: r\nmodels:\n- model: openai/m\n" + "\n".join("  " + line for line in lines)
    started = time.monotonic()
    with pytest.raises(SpecError):
        load(tmp_path, bomb)
    assert time.monotonic() - started < 3


def test_a_few_aliases_are_fine(tmp_path: Path) -> None:
    text = "name: r\nmodels:\n- {model: openai/a, params: &p {seed: 1}}\n- {model: openai/b, params: *p}\n"
    assert len(load(tmp_path, text).spec.deployments) == 2


OTHERS: list[tuple[str, str | bytes]] = [
    ("r.json", ""),
    ("r.json", "[]"),
    ("r.json", "null"),
    ("r.json", '{"name": "r", "name": "s", "models": ["openai/m"]}'),
    ("r.json", '{"name": "r", "models": ["openai/m"], "max_cost": NaN}'),
    ("r.json", '{"name": "r", "models": ["openai/m"], "max_cost": 1e999}'),
    ("r.json", '{"name": "r", "models": ["openai/m"], "max_cost": -0.01}'),
    ("r.json", '{"name": "r", "models": ["openai/m"], "max_cost": ' + "9" * 400 + "}"),
    ("r.json", '{"name": "r", "models": ["openai/m"], "budgets": 5}'),
    ("r.json", "[" * 100_000),
    ("r.json", '{"name": "r", "models": ["openai/m"], "description": "\\ud800"} x'),
    ("r.json", b"\xff\xfe\x00"),
    ("r.toml", ""),
    ("r.toml", 'name = "r"\nname = "s"\nmodels = ["openai/m"]'),
    ("r.toml", 'name = "r"\nmodels = ["openai/m"]\nmax_cost = nan'),
    ("r.toml", 'name = "r"\nmodels = ["openai/m"]\nmax_cost = 2024-01-01'),
    ("r.toml", 'name = "r"\nmodels = ["openai/m"]\nbudgets = 5'),
    ("r.toml", "a = " + "[" * 5_000),
    ("r.toml", b"name = '\xff'"),
    ("r.txt", GOOD),
    ("r", GOOD),
    ("r.py", "import os"),
]


@pytest.mark.parametrize(("name", "text"), OTHERS, ids=[f"{n} {t[:40]!r}" for n, t in OTHERS])
def test_another_file_that_is_no_router(tmp_path: Path, name: str, text: str | bytes) -> None:
    with pytest.raises(SpecError):
        load(tmp_path, text, name)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Router.from_file(tmp_path / "missing.yaml")
    with pytest.raises((OSError, SpecError)):
        Router.from_file(tmp_path)


def test_a_good_file_in_three_formats(tmp_path: Path) -> None:
    """The counter-check: what is refused above is refused for its fault."""
    for name, text in (
        ("r.yaml", GOOD + "max_cost: 0.02\nbudgets: [{usd: 5, per: day, key: user}]\n"),
        ("r.json", '{"name": "r", "models": ["openai/m"], "max_cost": 0.02, "budgets": [{"usd": 5}]}'),
        ("r.toml", 'name = "r"\nmodels = ["openai/m"]\nmax_cost = 0.02\n[[budgets]]\nusd = 5\n'),
    ):
        assert load(tmp_path, text, name).spec.max_cost == 0.02


def test_every_error_of_ours_is_one_kind() -> None:
    assert issubclass(RouterStringError, SpecError)
    assert issubclass(SpecError, RouterError)
    assert issubclass(SpecError, ValueError)
