"""Router strings: every spelling of the grammar, every fault with its place, and round trips over generated values."""

from __future__ import annotations

import ast
import enum
import pickle
import re
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router_plugin.errors import RouterStringError, SpecError
from router_plugin.spec import strings
from router_plugin.spec.strings import (
    MAX_LENGTH,
    METRICS,
    Bound,
    ModelTag,
    RouterString,
    RouterTag,
    Weights,
    parse_router_string,
    routes,
)


def only(text: str) -> ModelTag | RouterTag:
    (tag,) = parse_router_string(text).tags
    return tag


def fault(text: object) -> RouterStringError:
    with pytest.raises(RouterStringError) as caught:
        parse_router_string(text)  # type: ignore[arg-type]
    return caught.value


def attempt(text: str) -> RouterString | RouterStringError:
    try:
        return parse_router_string(text)
    except RouterStringError as error:
        return error


def below(metric: str, high: float, high_open: bool = True) -> Bound:
    return Bound(metric, high=high, high_open=high_open)


def above(metric: str, low: float, low_open: bool = True) -> Bound:
    return Bound(metric, low=low, low_open=low_open)


# What is read, and how it prints -------------------------------------------------------------------------------------

TAGS = [
    ("gpt-4o", ModelTag("gpt-4o"), "gpt-4o"),
    ("openai/gpt-4o", ModelTag("openai/gpt-4o"), "openai/gpt-4o"),
    ("gpt-4o@openai", ModelTag("gpt-4o", "openai"), "gpt-4o@openai"),
    ("meta-llama/Llama-3@together_ai", ModelTag("meta-llama/Llama-3", "together_ai"), "meta-llama/Llama-3@together_ai"),
    ("claude-3@20240620@vertex_ai", ModelTag("claude-3@20240620", "vertex_ai"), "claude-3@20240620@vertex_ai"),
    ("gpt-4o@cost", ModelTag("gpt-4o", "cost"), "gpt-4o@cost"),  # not a mode in the grammar, so a provider's name
    # an "@" that is part of the model's own name
    ("vertex_ai/claude-3@20240620", ModelTag("vertex_ai/claude-3@20240620"), "vertex_ai/claude-3@20240620"),
    ("vertex_ai/claude-5@default", ModelTag("vertex_ai/claude-5@default"), "vertex_ai/claude-5@default"),
    ("cloudflare/@cf/meta/llama", ModelTag("cloudflare/@cf/meta/llama"), "cloudflare/@cf/meta/llama"),
    ("bedrock/anthropic.claude-v2:1", ModelTag("bedrock/anthropic.claude-v2:1"), "bedrock/anthropic.claude-v2:1"),
    # modes
    ("gpt-4o@lowest-ttft", ModelTag("gpt-4o", None, "ttft", True), "gpt-4o@lowest-ttft"),
    ("gpt-4o@ttft", ModelTag("gpt-4o", None, "ttft", True), "gpt-4o@lowest-ttft"),
    ("gpt-4o@itl", ModelTag("gpt-4o", None, "itl", True), "gpt-4o@lowest-itl"),
    ("gpt-4o@input-cost", ModelTag("gpt-4o", None, "input_cost", True), "gpt-4o@lowest-input-cost"),
    ("gpt-4o@lowest-output-cost", ModelTag("gpt-4o", None, "output_cost", True), "gpt-4o@lowest-output-cost"),
    ("x@tks-per-sec", ModelTag("x", None, "output_tks_per_sec", False), "x@highest-tks-per-sec"),
    ("x@highest-tks-per-sec", ModelTag("x", None, "output_tks_per_sec", False), "x@highest-tks-per-sec"),
    ("a/x@20240620@ttft", ModelTag("a/x@20240620", None, "ttft", True), "a/x@20240620@lowest-ttft"),
    # thresholds: the value before the metric
    (
        "gpt-4o@lowest-ttft<0.5ic<15itl",
        ModelTag("gpt-4o", None, "ttft", True, (below("itl", 15), below("input_cost", 0.5))),
        "gpt-4o@lowest-ttft<15itl<0.5ic",
    ),
    (
        "gpt-4o@ttft<500",
        ModelTag("gpt-4o", None, "ttft", True, (below("ttft", 500),)),
        "gpt-4o@lowest-ttft<500ttft",
    ),
    (
        "x@itl<5e-3ic>2E1output-tks-per-sec",
        ModelTag("x", None, "itl", True, (below("input_cost", 0.005), above("output_tks_per_sec", 20))),
        "x@lowest-itl<0.005ic>20ots",
    ),
    (
        "x@itl>.2q<=0.9quality",
        ModelTag("x", None, "itl", True, (Bound("quality", 0.2, True, 0.9, False),)),
        "x@lowest-itl>0.2q<=0.9q",
    ),
    ("x@itl<0.5itl", ModelTag("x", None, "itl", True, (below("itl", 0.5),)), "x@lowest-itl<0.5itl"),
    # routers
    ("router", RouterTag(), "router"),
    ("router_support", RouterTag("support"), "router/support"),
    ("router/support", RouterTag("support"), "router/support"),
    ("router_my_own.v2-x", RouterTag("my_own.v2-x"), "router/my_own.v2-x"),
    ("router/support/versions/3", RouterTag("support", 3), "router/support/versions/3"),
    ("router/versions/versions/3@q:1", RouterTag("versions", 3, Weights(q=1)), "router/versions/versions/3@q:1"),
    (
        "router@q:1|c:4.65e-03|t:2.08e-05|i:2.07e-03",
        RouterTag(weights=Weights(q=1.0, c=0.00465, t=2.08e-05, i=0.00207)),
        "router@q:1|c:0.00465|t:2.08e-05|i:0.00207",
    ),
    ("router@i:0|c0:-2.50|c:+1.|q0:-0", RouterTag(weights=Weights(c=1, c0=-2.5)), "router@c:1|c0:-2.5"),
    ("router@q:-0.0|c:1e16", RouterTag(weights=Weights(c=1e16)), "router@c:1e+16"),
    (
        "router_s@skip_providers:azure,b|models:openai/gpt-4o,bedrock/anthropic.claude-v2:1|c<5",
        RouterTag(
            "s",
            bounds=(below("cost", 5),),
            models=("openai/gpt-4o", "bedrock/anthropic.claude-v2:1"),
            skip_providers=("azure", "b"),
        ),
        "router/s@c<5|models:openai/gpt-4o,bedrock/anthropic.claude-v2:1|skip_providers:azure,b",
    ),
    (
        "router@providers:a|skip_models:m,n@p",
        RouterTag(providers=("a",), skip_models=("m", "n@p")),
        "router@providers:a|skip_models:m,n@p",
    ),
]

BOUNDS = [
    ("quality_thrs:0.2,0.8", Bound("quality", 0.2, True, 0.8, True), "q>0.2|q<0.8"),
    ("q>0.2|q<0.8", Bound("quality", 0.2, True, 0.8, True), "q>0.2|q<0.8"),
    ("quality<0.8|q>0.2", Bound("quality", 0.2, True, 0.8, True), "q>0.2|q<0.8"),
    ("cost_thrs:0,5", Bound("cost", 0, True, 5, True), "c>0|c<5"),
    ("ttft_thrs:1e1,5e2", Bound("ttft", 10, True, 500, True), "ttft>10|ttft<500"),
    ("itl_thrs:1,2", Bound("itl", 1, True, 2, True), "itl>1|itl<2"),
    ("q>0.8", above("quality", 0.8), "q>0.8"),
    ("quality>=0.5", above("quality", 0.5, False), "q>=0.5"),
    ("q>=0.5|q<=0.5", Bound("quality", 0.5, False, 0.5, False), "q>=0.5|q<=0.5"),
    ("q>=1", above("quality", 1, False), "q>=1"),
    ("c<=0", below("cost", 0, False), "c<=0"),
    ("c<5", below("cost", 5), "c<5"),
    ("cost<5", below("cost", 5), "c<5"),
    ("t<500", below("ttft", 500), "ttft<500"),
    ("ttft<500", below("ttft", 500), "ttft<500"),
    ("time-to-first-token<500", below("ttft", 500), "ttft<500"),
    ("i<20", below("itl", 20), "itl<20"),
    ("itl<=20", below("itl", 20, False), "itl<=20"),
    ("inter-token-latency<=20", below("itl", 20, False), "itl<=20"),
    ("ic<1", below("input_cost", 1), "ic<1"),
    ("input-cost<1", below("input_cost", 1), "ic<1"),
    ("oc<1", below("output_cost", 1), "oc<1"),
    ("output-cost<1", below("output_cost", 1), "oc<1"),
    ("ots>30", above("output_tks_per_sec", 30), "ots>30"),
    ("output-tks-per-sec>30", above("output_tks_per_sec", 30), "ots>30"),
]
TAGS += [(f"router@{text}", RouterTag(bounds=(bound,)), f"router@{printed}") for text, bound, printed in BOUNDS]


@pytest.mark.parametrize(("text", "value", "printed"), TAGS, ids=[text for text, _, _ in TAGS])
def test_a_tag_is_read_and_printed(text: str, value: ModelTag | RouterTag, printed: str) -> None:
    assert only(text) == value
    assert str(parse_router_string(text)) == printed
    assert only(printed) == value
    assert "-0.0" not in repr(only(text))


def test_the_published_example_keeps_its_exponents() -> None:
    # A later parser of Unify's own read 4.65e-03 as 4.65, which turns the ranking upside down.
    tag = only("router@q:1|c:4.65e-03|t:2.08e-05|i:2.07e-03")
    assert isinstance(tag, RouterTag)
    assert tag.weights == Weights(1.0, 0.00465, 0.0000208, 0.00207)


def test_a_chain_keeps_its_order_and_takes_spaces_around_arrows_only() -> None:
    value = RouterString((RouterTag("a-", None, Weights(q=1)), ModelTag("b-"), ModelTag("c", None, "ttft", True)))
    for text in ("router/a-@q:1->b-->c@ttft", "router_a-@q:1 ->  b- -> c@lowest-ttft"):
        assert parse_router_string(text) == value
    assert str(value) == "router/a-@q:1->b-->c@lowest-ttft"
    assert len(parse_router_string("router->router -> a").tags) == 3


def test_no_weights_is_none_and_bounds_do_not_depend_on_their_order() -> None:
    one, other = only("router@c<5|q>0.5|t<9"), only("router@t<9|q>0.5|c<5")
    assert one == other
    assert isinstance(one, RouterTag)
    assert one.weights is None


def test_values_are_frozen_hashable_pickled_and_cached() -> None:
    text = "router/support@q:1|c<5->gpt-4o@lowest-ttft<5itl"
    value = parse_router_string(text)
    assert parse_router_string(text) is value
    assert pickle.loads(pickle.dumps(value)) == value
    assert hash(value) == hash(parse_router_string(str(value)))
    with pytest.raises(AttributeError):
        value.tags = ()  # type: ignore[misc]


def test_a_subclass_of_str_is_read_as_its_characters() -> None:
    class Model(str, enum.Enum):
        SMART = "router@q:1"

    assert parse_router_string(Model.SMART) == parse_router_string("router@q:1")
    assert routes(Model.SMART)


# What is refused, and where ------------------------------------------------------------------------------------------

# The caret is written as ‸ before the character at fault.
FAULTS = [
    ("‸", "empty"),
    ("‸   ", "empty"),
    ("‸\n\t", "empty"),
    ("router‸:", "expected '@', '/' or '_'"),
    ("router‸:q:1", "expected '@', '/' or '_'"),
    ("router‸|q:1", "expected '@', '/' or '_'"),
    ("router@‸", "expected 'key:value'"),
    ("router@‸|q:1", "expected 'key:value'"),
    ("router@q:1|‸", "expected 'key:value'"),
    ("router@‸q", "expected 'key:value'"),
    ("router@‸lowest-ttft", "expected 'key:value'"),
    ("router@‸openai", "expected 'key:value'"),
    ("router@‸q=5", "expected 'key:value'"),
    ("router@‸q==5", "expected 'key:value'"),
    # keys and metrics
    ("router@‸Q:1", "unknown key 'Q' (known: q, c,"),
    ("router@‸:1", "unknown key ''"),
    ("router@‸quality:1", "did you mean 'quality_thrs'"),
    ("router@q:1|‸modles:a", "did you mean 'models'"),
    ("router@‸input-cost_thrs:1,2", "unknown key"),
    ("router@‸qualty>0.5", "did you mean 'quality'"),
    ("router@‸input_cost<5", "did you mean 'input-cost'"),
    ("router@‸q0<5", "unknown metric 'q0'"),
    ("gpt-4o@lowest-ttft<5‸x", "unknown metric 'x'"),
    ("gpt-4o@lowest-ttft<5.‸itl.", "unknown metric"),
    ("gpt-4o@lowest-ttft<0.5ic<15‸ilt", "did you mean 'itl'"),
    # repetition
    ("router@q:1|‸q:1", "'q' is repeated"),
    ("router@models:a|‸models:b", "'models' is repeated"),
    ("router@q>0.2|‸q>0.3", "lower bound on quality is repeated"),
    ("router@q>0.2|‸quality>=0.2", "lower bound on quality is repeated"),
    ("router@c<5|q<1|‸cost<=5", "upper bound on cost is repeated"),
    ("router@itl_thrs:1,2|‸itl_thrs:1,2", "is repeated"),
    ("router@itl_thrs:1,2|‸i<9", "is repeated"),
    ("router@t<9|‸ttft_thrs:1,2", "is repeated"),
    ("x@ttft<5ic‸<6ic", "is repeated"),
    ("x@ttft<5‸<6ttft", "is repeated"),
    # lists
    ("router@models:‸", "a model name is missing"),
    ("router@skip_providers:‸", "a provider name is missing"),
    ("router@models:a,‸", "is missing"),
    ("router@models:‸,a", "is missing"),
    ("router@models:a,‸,b", "is missing"),
    ("router@models:a,b,‸a", "'a' is repeated"),
    ("router@skip_providers:p,‸p", "'p' is repeated"),
    ("router@models:a‸<b", "not allowed"),
    ("router@models:openai/‸", "missing after '/'"),
    # numbers
    ("router@q:‸", "a number is missing"),
    *((f"router@q:‸{bad}", "not a finite number") for bad in ("nan", "NaN", "inf", "-inf", "Infinity", "one", "1.2.3")),
    *((f"router@q:‸{bad}", "not a finite number") for bad in ("1_000", "0x10", "1e", ".", "--1", "1:2", "1,5", "=1")),
    *((f"router@c<‸{bad}", "not a finite number") for bad in ("nan", "inf", "5ms", "<5", "1<2")),
    ("router@q:‸1e999", "too large"),
    ("router@q0:‸-1e999", "too large"),
    ("router@q:‸1e-999", "too small"),
    ("router@c<‸1e999", "too large"),
    ("router@q:1|c:‸-1", "not negative"),
    ("router@q:‸-1e-9", "not negative"),
    ("router@‸q:0|c:0", "all weights are zero"),
    ("router@c<5|‸t:-0.0", "all weights are zero"),
    ("router@‸q0:1", "all weights are zero"),
    ("x@ttft<‸", "a number is missing"),
    ("x@ttft<‸<5", "a number is missing"),
    ("x@ttft<‸nanic", "a number is missing"),
    # intervals
    ("router@quality_thrs:‸0.8,0.2", "0.8 is not below 0.2"),
    ("router@quality_thrs:‸0.5,0.5", "0.5 is not below 0.5"),
    ("router@quality_thrs:‸0.2", "takes two numbers"),
    ("router@quality_thrs:‸0.2,0.3,0.4", "takes two numbers"),
    ("router@quality_thrs:0.2,‸", "a number is missing"),
    ("router@quality_thrs:0.2,‸inf", "not a finite number"),
    ("router@q>0.9|‸q<0.2", "no quality is >0.9 and <0.2"),
    ("router@q<0.2|‸q>0.9", "no quality is >0.9 and <0.2"),
    ("router@q>=0.5|‸q<0.5", "no quality"),
    ("router@q>0.5|‸q<=0.5", "no quality"),
    ("router@‸q>80", "between 0 and 1"),
    ("router@‸q>1", "between 0 and 1"),
    ("router@‸quality_thrs:1,2", "between 0 and 1"),
    ("router@‸c<-5", "never negative"),
    ("router@‸c<0", "never negative"),
    ("x@ttft>5ic‸<5ic", "no input_cost is >5 and <5"),
    # router addresses
    ("router/‸", "a router name is missing"),
    ("router_‸", "a router name is missing"),
    ("router_‸@q:1", "a router name is missing"),
    ("router/‸../../x", "a router name is missing"),
    ("router/‸-a", "does not begin with"),
    ("router/a‸:b", "a router name has only"),
    ("router/a‸/b", "only '/versions/<n>'"),
    ("router/a‸/version/3", "only '/versions/<n>'"),
    ("router_a‸/versions/3", "only '/versions/<n>'"),
    ("router/versions‸/3", "only '/versions/<n>'"),
    *((f"router/a/versions/‸{bad}", "positive whole number") for bad in ("", "0", "-1", "+1", "1.0", "03", "x", "1/x")),
    ("router/a/versions/‸" + "9" * 19, "positive whole number"),
    # models, providers, modes
    ("gpt-4o@‸", "missing after '@'"),
    ("‸@openai", "a model name is missing"),
    ("‸@lowest-ttft", "a model name is missing"),
    ("gpt-4o@‸@openai", "missing after '@'"),
    ("openai/‸", "missing after '/'"),
    ("gpt-4o‸|q:1", "not allowed"),
    ("gpt-4o‸,gpt-4", "not allowed"),
    ("gpt-4o‸<5", "not allowed"),
    ("gpt-4o@‸lowest-foo", "unknown mode"),
    ("gpt-4o@‸lowest-tks-per-sec", "did you mean 'highest-tks-per-sec'"),
    ("gpt-4o@‸highest-ttft", "did you mean 'lowest-ttft'"),
    ("gpt-4o@‸tfft<500", "did you mean 'ttft'"),
    ("gpt-4o@‸q>0.5", "unknown mode 'q'"),
    ("gpt-4o@openai@‸ttft", "'openai' is one already"),
    # chains and spaces
    ("‸->a", "a member of the chain is missing"),
    ("a->‸", "a member of the chain is missing"),
    ("a -> ‸", "a member of the chain is missing"),
    ("a->‸->b", "a member of the chain is missing"),
    ("a->  ‸->b", "a member of the chain is missing"),
    ("‸->", "a member of the chain is missing"),
    ("a->router@‸x", "expected 'key:value'"),
    ("‸ router", "a space"),
    ("router‸ ", "a space"),
    ("a->b‸ ", "a space"),
    ("a‸ b", "a space"),
    ("a -> b‸ c", "a space"),
    ("router@q:1‸ |c:1", "a space"),
    ("router@models:a,‸ b", "a space"),
    # characters
    ("router‸\n", "U+000A"),
    ("router@q:1‸\n", "U+000A"),
    ("router@q:1‸\r\n", "U+000D"),
    ("a‸\t->b", "U+0009"),
    ("rou‸\0ter", "U+0000"),
    ("router‸\x7f", "U+007F"),
    ("router/a‸\u00a0", "U+00A0"),
    ("‸ｒouter", "U+FF52"),
    ("r‸оuter@q:1", "U+043E"),  # Cyrillic
    ("router‸＠q:1", "U+FF20"),
    ("router@q:‸１", "U+FF11"),
    ("router/a/versions/‸٣", "U+0663"),
    ("‸\u202erouter", "U+202E"),
    ("router/a‸\u200b", "U+200B"),
    ("a‸→b", "U+2192"),
    ("‸\ud800", "U+D800"),
]


@pytest.mark.parametrize(("marked", "reason"), FAULTS, ids=[ascii(marked) for marked, _ in FAULTS])
def test_a_fault_is_refused_at_its_place(marked: str, reason: str) -> None:
    text = marked.replace("‸", "")
    error = fault(text)
    assert reason in error.reason
    assert (error.text, error.position) == (text, marked.index("‸"))
    assert isinstance(error, SpecError)
    assert isinstance(error, ValueError)
    assert all(line.isprintable() for line in str(error).split("\n"))


def test_the_message_points_at_the_character() -> None:
    _, shown, caret = str(fault("router@q:1|modles:a")).split("\n")
    assert shown[caret.index("^") :] == "modles:a"


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("value", [None, 1, 1.5, True, b"router", [], ["router"], {"a": 1}, object(), Unprintable()])
def test_what_is_no_string_is_refused(value: object) -> None:
    error = fault(value)
    assert error.position == 0
    assert error.reason == f"a router string is a str, not {type(value).__name__}"
    assert routes(value) is False


def test_length_is_limited_as_written_and_as_printed() -> None:
    longest = "router@models:" + "m" * (MAX_LENGTH - 14)
    assert str(parse_router_string(longest)) == longest
    error = fault(longest + "m")
    assert error.position == MAX_LENGTH
    assert "limit of 4,096" in error.reason
    assert "limit of 4,096" in fault("x" * 10_000).reason
    # "@itl" prints as "@lowest-itl": what we print must be short enough to be read again
    assert "canonical spelling" in fault("->".join(["a@itl"] * 585)).reason


@pytest.mark.parametrize(
    "unit",
    [" ", "a ", "->", " -> ", "a->", "1", "q:1|", "a,", "@", "a@itl<", "<", "q>1|", "router/", "."],
)
@pytest.mark.parametrize("lead", ["", "router@", "router@q:", "router@models:", "a@ttft<", "a"])
def test_hostile_repetition_is_answered_at_once(lead: str, unit: str) -> None:
    text = (lead + unit * MAX_LENGTH)[: MAX_LENGTH - 1] + "!"
    began = time.perf_counter()
    attempt(text)
    routes(text)
    assert time.perf_counter() - began < 1.0


# Generated values ----------------------------------------------------------------------------------------------------

NAME_CHARACTERS = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in "|,<>@")
plain_names = (
    st.text(NAME_CHARACTERS, min_size=1, max_size=20)
    .filter(lambda name: not name.endswith("/") and not name.startswith("router"))
    .flatmap(lambda name: st.sampled_from([name, f"{name}@20240620", f"x/@cf/{name}", f"{name}@latest"]))
)
providers = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,10}", fullmatch=True).filter(
    lambda name: (
        name not in ("default", "latest", "input-cost", "output-cost", "itl", "ttft", "tks-per-sec")
        and not name.startswith(("lowest-", "highest-"))
    )
)
list_names = st.lists(plain_names, unique=True, max_size=4).map(tuple)
numbers = st.floats(min_value=0, allow_infinity=False, allow_nan=False)


@st.composite
def bounds_of(draw: st.DrawFn, metric: str) -> Bound:
    domain = st.floats(0, 1) if metric == "quality" else numbers
    low, high = sorted((draw(domain), draw(domain)))
    sides = draw(st.sampled_from(["low", "high", "both"]))
    low_open, high_open = draw(st.booleans()), draw(st.booleans())
    if sides == "low":
        return Bound(metric, low, low_open and not (metric == "quality" and low == 1))
    if sides == "high":
        return Bound(metric, high=high, high_open=high_open and high > 0)
    return Bound(metric, low, low_open and low < high, high, high_open and low < high)


@st.composite
def bound_sets(draw: st.DrawFn) -> tuple[Bound, ...]:
    chosen = draw(st.sets(st.sampled_from(METRICS)))
    return tuple(draw(bounds_of(metric)) for metric in METRICS if metric in chosen)


offsets = st.floats(allow_infinity=False, allow_nan=False)
weights = st.builds(
    Weights, q=numbers, c=numbers, t=numbers, i=numbers, q0=offsets, c0=offsets, t0=offsets, i0=offsets
).filter(lambda w: any((w.q, w.c, w.t, w.i)))
MODES = [("input_cost", True), ("output_cost", True), ("itl", True), ("ttft", True), ("output_tks_per_sec", False)]
mode_tags = st.builds(
    lambda model, mode, bounds: ModelTag(model, None, mode[0], mode[1], bounds),
    plain_names,
    st.sampled_from(MODES),
    bound_sets(),
)
model_tags = st.one_of(st.builds(ModelTag, plain_names), st.builds(ModelTag, plain_names, providers), mode_tags)
addresses = st.tuples(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True),
    st.none() | st.integers(min_value=1, max_value=10**18 - 1),
)
router_tags = st.builds(
    lambda address, *rest: RouterTag(*address, *rest),
    st.just((None, None)) | addresses,
    st.none() | weights,
    bound_sets(),
    *[list_names] * 4,
)
router_strings = st.lists(model_tags | router_tags, min_size=1, max_size=4).map(lambda tags: RouterString(tuple(tags)))


def is_concrete(value: RouterString) -> bool:
    first = value.tags[0]
    return len(value.tags) == 1 and isinstance(first, ModelTag) and first.mode is None


@given(router_strings)
def test_what_is_printed_is_read_as_the_same_value(value: RouterString) -> None:
    text = str(value)
    assert parse_router_string(text) == value
    assert str(parse_router_string(text)) == text
    assert parse_router_string(text.replace("->", " -> ")) == value


@given(router_strings)
def test_routes_is_true_for_what_is_not_one_concrete_model(value: RouterString) -> None:
    assert routes(str(value)) is not is_concrete(value)


FRAGMENTS = [
    *("router", "router_", "router/", "/versions/", "@", "->", " ", "|", ":", ",", "<", ">", "<=", ">=", "-", "_", "/"),
    *("q", "c", "t", "i", "q0", "quality_thrs:", "itl_thrs:", "models:", "skip_providers:", "gpt-4o", "openai", "x"),
    *("lowest-", "highest-", "ttft", "itl", "tks-per-sec", "input-cost", "ic", "ots", "output-tks-per-sec"),
    *("0", "1", "0.5", "-1", "1e-3", "1e999", "nan", "e", ".", "\n", "\0", "１", "é"),
]
near_misses = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)


@given(st.text() | near_misses | near_misses.map("router@".__add__) | near_misses.map("gpt-4o@".__add__))
@example("router@q:1" + "|" * 4086)
@example("a@itl->" * 585 + "a")
def test_any_text_is_a_value_or_a_router_string_error(text: str) -> None:
    routes(text)
    value = attempt(text)
    if isinstance(value, RouterStringError):
        assert value.text == text
        assert pickle.loads(pickle.dumps(value)).position == value.position
        return
    printed = str(value)
    assert parse_router_string(printed) == value
    assert str(parse_router_string(printed)) == printed
    assert not re.search(r"=(?:-0\.0|-?nan|-?inf)[,)]", repr(value))
    assert routes(printed) == routes(text)


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False))
def test_numbers_print_in_their_shortest_exact_form(number: float) -> None:
    printed = str(parse_router_string(f"router@c:{number!r}"))
    assert float(printed.removeprefix("router@c:")) == number
    assert not printed.endswith(".0")


# Which names are ours ------------------------------------------------------------------------------------------------

OURS = [
    *("router", "router@q:1", "router@", "router/support", "router/support/versions/3", "router_support"),
    *("router_support@q:1", "router:", "router->gpt-4o", "gpt-4o->gpt-4", "gpt-4o -> gpt-4", "openai/gpt-4o->router"),
    *("gpt-4o@lowest-ttft", "gpt-4o@lowest-ttft<0.5ic<15itl", "openai/gpt-4o@ttft", "gpt-4o@ttft<500", "gpt-4o@itl>5"),
    *("gpt-4o@highest-tks-per-sec", "gpt-4o@tks-per-sec", "gpt-4o@input-cost", "gpt-4o@output-cost<5"),
    *("vertex_ai/claude-3-5-sonnet@20240620@lowest-itl", "cloudflare/@cf/meta/llama@ttft"),
    *("gpt-4o@lowest-nonsense", "gpt-4o@tfft<500"),  # ours to refuse, with a caret
]
NOT_OURS = [
    *("", "gpt-4o", "openai/gpt-4o", "gpt-4o@openai", "openrouter/auto", "openrouter/openai/gpt-4o", "auto_router/x"),
    *("vertex_ai/claude-3-5-sonnet@20240620", "vertex_ai/claude-opus-4-6@default", "vertex_ai/codestral@latest"),
    *("cloudflare/@cf/meta/llama-2-7b-chat-fp16", "cloudflare/@hf/thebloke/codellama-7b-instruct-awq", "x@001"),
    *("bedrock/anthropic.claude-v2:1", "ft:gpt-4o-2024-08-06:org::id", "hosted_vllm//models/llama", "ollama/router"),
    *("router2", "routers/x", "router-v2", "router.x", "Router", "my-router", "openai/router", "ttft", "lowest-ttft"),
    *("gpt-4o@cost", "gpt-4o@ttft-labs", "gpt-4o@itlx", "gpt-4o@", "ｒouter", "1024-x-1024/dall-e-2"),
]


@pytest.mark.parametrize("name", OURS)
def test_names_that_address_a_router(name: str) -> None:
    assert routes(name) is True


@pytest.mark.parametrize("name", NOT_OURS)
def test_ordinary_names_pass(name: str) -> None:
    assert routes(name) is False


@given(near_misses)
def test_a_name_that_routes_is_never_read_as_one_concrete_model(text: str) -> None:
    value = attempt(text)
    if isinstance(value, RouterString):
        assert routes(text) is not is_concrete(value)


def test_the_module_needs_only_the_standard_library_and_the_errors() -> None:
    tree = ast.parse(Path(strings.__file__).read_text(encoding="utf-8"))
    absolute = {a.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    absolute |= {(node.module or "").split(".")[0] for node in froms if not node.level}
    assert absolute <= sys.stdlib_module_names
    assert {node.module for node in froms if node.level} == {"errors"}
