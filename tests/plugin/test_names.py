"""Which model names are routed, by whom and over what, and which are left alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import litellm
import openai
import pytest
from litellm.types.utils import GenericStreamingChunk
from plugin_modes import (
    ASYNC,
    ASYNC_STREAM,
    MESSAGES,
    REPLIES,
    SYNC,
    SYNC_STREAM,
    Mode,
    call,
    complete,
    deployment,
    four_modes,
    make_router,
)

from router_plugin import (
    Budget,
    BudgetExceededError,
    Deployment,
    NoCandidateError,
    Router,
    RouteResult,
    RouterStringError,
    SpecError,
    install,
)
from router_plugin.testing.loopback import LoopbackProvider, Status


@pytest.fixture
def endpoint(p: LoopbackProvider, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Where concrete models live: for calls that name it, and in the environment for those that do not."""
    for variable in ("OPENAI_API_BASE", "OPENAI_BASE_URL", "DEEPSEEK_API_BASE"):
        monkeypatch.setenv(variable, p.openai_base)
    for variable in ("OPENAI_API_KEY", "DEEPSEEK_API_KEY"):
        monkeypatch.setenv(variable, "sk-env")
    return {"api_base": p.openai_base, "api_key": "sk-own"}


# --------------------------------------------------------------------------- names that route


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("router", "big"),
        ("router/support", "big"),
        ("router_support", "big"),
        ("router/support/versions/1", "big"),
        ("router@q:1", "big"),
        ("router@c:1", "small"),
        ("router@q:1|c:4.65e-03|t:2.08e-05|i:2.07e-03", "big"),
        ("router@q:0.001|c:1", "small"),
        ("router_support@c:1", "small"),
        ("router/support@c:1", "small"),
        ("router/support/versions/1@c:1", "small"),
        ("router@models:small", "small"),
        ("router@skip_models:openai/big", "small"),
        ("router@providers:openai", "big"),
        ("router@q:1|c<0.3", "small"),
        ("router@quality_thrs:0,0.7", "small"),
        ("router@q<0.7", "small"),
        ("openai/big@lowest-input-cost", "big"),
        ("small@input-cost<5", "small"),
        ("router/support->openai/small", "big"),
        ("openai/small->router/support", "small"),
        ("router@models:small->openai/big", "small"),
    ],
)
async def test_names_that_route(installed: Router, p: LoopbackProvider, name: str, served: str) -> None:
    heard = await complete(SYNC, name)
    assert (heard.text, heard.result.deployment) == (REPLIES[served], f"openai/{served}")
    assert p.calls() == 1


@four_modes
async def test_a_router_string_routes_in_every_mode(installed: Router, p: LoopbackProvider, mode: Mode) -> None:
    assert (await complete(mode, "router/support@q:0.001|c:1")).text == REPLIES["small"]


@pytest.mark.parametrize("name", ["router-v2", "router2", "openrouter/openai/gpt-4o", "my/router", "routers/support"])
async def test_names_that_only_look_like_a_router_are_litellms(
    installed: Router, p: LoopbackProvider, name: str
) -> None:
    with pytest.raises(openai.OpenAIError) as caught:  # the root of litellm's exceptions
        await complete(SYNC, name, api_key="k", api_base="http://127.0.0.1:9", max_retries=0, timeout=5)
    assert RouteResult.of(caught.value) is None
    assert p.calls() == 0


@pytest.mark.parametrize(
    "name", ["vertex_ai/claude-3-5-sonnet@20240620", "cloudflare/@cf/meta/llama", "ft:gpt-4o:x->y"]
)
def test_odd_names_of_concrete_models(name: str) -> None:
    """What stands behind "@" there is a version or a path; only an arrow makes a chain."""
    from router_plugin.spec.strings import routes

    assert routes(name) == ("->" in name)


async def test_the_first_router_of_an_install_is_the_default(p: LoopbackProvider) -> None:
    with install(make_router(p, "one", ["small"]), make_router(p, "two", ["big"])):
        assert (await complete(SYNC, "router")).result.router == "one"
        assert (await complete(SYNC, "router@q:1")).result.router == "one"
        assert (await complete(SYNC, "router/two")).result.router == "two"
        assert (await complete(SYNC, "router_two@q:1")).result.router == "two"


@four_modes
@pytest.mark.parametrize("name", ["router/suport", "router_suport@q:1", "router/suport@c:1", "router->router/suport"])
async def test_an_unknown_router_is_an_error_that_lists_the_known_ones(
    p: LoopbackProvider, mode: Mode, name: str
) -> None:
    with (
        install(make_router(p), make_router(p, "sales")),
        pytest.raises(SpecError, match=r"unknown router 'suport'.*did you mean 'support'.*known: sales, support"),
    ):
        await complete(mode, name)
    assert p.calls() == 0


async def test_an_unknown_version_is_an_error_that_names_the_known_one(installed: Router, p: LoopbackProvider) -> None:
    with pytest.raises(SpecError, match="'support' has no version 2; its version is 1"):
        await complete(SYNC, "router/support/versions/2")
    assert p.calls() == 0


@four_modes
@pytest.mark.parametrize(
    "name", ["router@", "router@q", "router@q:nan", "router@q:1|q:2", "router/", "router->", "big@ttft<"]
)
async def test_a_malformed_router_string_is_an_error_with_its_place(
    installed: Router, p: LoopbackProvider, mode: Mode, name: str
) -> None:
    with pytest.raises(RouterStringError, match=r"\^"):
        await complete(mode, name)
    assert p.calls() == 0


@pytest.mark.parametrize(
    "name", ["router@models:smal", "router@skip_models:smal", "openai/smal->router", "router->smal"]
)
async def test_an_unlisted_model_in_a_string_is_an_error_that_lists_the_known_ones(
    installed: Router, p: LoopbackProvider, name: str
) -> None:
    with pytest.raises(SpecError, match=r"unknown model '.*smal'.*openai/small, openai/big"):
        await complete(SYNC, name)
    assert p.calls() == 0


@pytest.mark.parametrize("model", [None, 7, ["router"], b"router"])
async def test_a_model_that_is_no_string_is_litellms_business(
    installed: Router, p: LoopbackProvider, model: Any
) -> None:
    with pytest.raises(Exception) as caught:
        await complete(SYNC, model)
    assert RouteResult.of(caught.value) is None
    assert p.calls() == 0


# --------------------------------------------------------------------------- what a name matches


@pytest.mark.parametrize(
    "name", ["mini", "openai/small", "small", "small@openai", "openai/openai/small", "openai/small@openai"]
)
@pytest.mark.parametrize("where", ["models=", "routing", "string", "skip"])
async def test_a_name_matches_a_deployment_by_all_its_spellings(p: LoopbackProvider, name: str, where: str) -> None:
    """Its name, litellm's model string, the model part, model@provider, and Martian's doubled provider."""
    router = Router("support", models=[deployment(p, "small", name="mini"), deployment(p, "big")])
    with install(router):
        if where == "models=":
            heard = await complete(SYNC, models=[name])
        elif where == "routing":
            heard = await complete(SYNC, routing={"models": [name]})
        elif where == "string":
            heard = await complete(SYNC, f"router@models:{name}")
        else:
            heard = await complete(SYNC, f"router@skip_models:{name}", routing={"objective": "cost"})
    assert heard.result.deployment == ("openai/big" if where == "skip" else "mini")


def test_a_model_part_means_the_model_at_all_its_providers(p: LoopbackProvider) -> None:
    here = deployment(p, "small", name="here")
    there = Deployment("hosted_vllm/small", name="there", api_base=p.openai_base, quality=0.9)
    router = Router("support", models=[here, there, deployment(p, "big")])
    assert router.route(messages=MESSAGES, models=["small"]).ranking == ["there", "here"]
    assert router.route(messages=MESSAGES, models=["small@openai"]).ranking == ["here"]
    assert router.route(messages=MESSAGES, models=["small@hosted_vllm", "big"]).ranking == ["openai/big", "there"]


async def test_an_unlisted_name_in_models_is_an_error_that_lists_the_known_ones(
    installed: Router, p: LoopbackProvider
) -> None:
    with pytest.raises(SpecError, match=r"unknown model 'smal'.*openai/small, openai/big"):
        await complete(SYNC, models=["smal"])
    with pytest.raises(SpecError, match=r"unknown model 'sm\*'"):
        await complete(SYNC, models=["sm*"])
    assert p.calls() == 0


async def test_a_router_over_any_model_takes_what_is_named(p: LoopbackProvider, endpoint: Any) -> None:
    with install(Router("support", models="any")):
        heard = await complete(SYNC, models=["openai/gpt-4o-mini"])
        chain = await complete(SYNC, "openai/gpt-4o->router/support@models:gpt-4o-mini")
    assert heard.result.deployment == "openai/gpt-4o-mini"
    assert chain.result.deployment == "openai/gpt-4o"
    assert [seen.model for seen in p.requests] == ["gpt-4o-mini", "gpt-4o"]


# --------------------------------------------------------------------------- intercept


@pytest.mark.parametrize(
    ("intercept", "covered", "left"),
    [
        (
            ["gpt-4o"],
            ["gpt-4o", "openai/gpt-4o", "openai/openai/gpt-4o"],
            ["gpt-4o-mini", "openai/gpt-4o-mini", "xgpt-4o"],
        ),
        (["openai/gpt-4o"], ["openai/gpt-4o", "openai/openai/gpt-4o"], ["gpt-4o-mini", "azure/gpt-4o"]),
        (["openai/openai/gpt-4o"], ["openai/gpt-4o"], ["openai/gpt-4o-mini"]),
        (["gpt-4o@openai"], ["openai/gpt-4o"], ["azure/gpt-4o"]),
        (["openai/*"], ["openai/gpt-4o", "openai/gpt-4o-mini"], ["gpt-4o", "azure/gpt-4o"]),
        (["gpt-4*"], ["gpt-4o", "gpt-4.1", "openai/gpt-4o"], ["gpt-3.5-turbo", "openai/o1"]),
        (["gpt-4[ox]"], ["gpt-4o"], ["gpt-4.1"]),
        ("all", ["gpt-4o", "openai/gpt-4o", "anthropic/claude-x", "unheard-of"], []),
        (["GPT-4o"], [], ["gpt-4o"]),
        ("gpt-4o", ["gpt-4o"], ["g"]),
    ],
    ids=str,
)
async def test_intercept_routes_the_concrete_names_it_covers(
    router: Router, p: LoopbackProvider, endpoint: Any, intercept: Any, covered: list[str], left: list[str]
) -> None:
    with install(router, intercept=intercept):
        for name in covered:
            heard = await complete(SYNC, name)
            assert (name, heard.text) == (name, REPLIES["big"])
            assert heard.result.router == "support"
        routed = p.calls()
        for name in left:
            try:
                plain = await complete(SYNC, name, api_base=p.openai_base, api_key="k", max_retries=0)
                found = RouteResult.of(plain.answer)
            except openai.OpenAIError as error:  # litellm does not know its provider, or that has another path
                found = RouteResult.of(error)
            assert (name, found) == (name, None)
    assert routed == len(covered)


@four_modes
async def test_an_intercepted_call_is_routed_in_every_mode(router: Router, p: LoopbackProvider, mode: Mode) -> None:
    with install(router, intercept=["gpt-4o"]):
        by_name = await complete(mode, "gpt-4o")
        by_position = await call(mode, litellm.completion, litellm.acompletion, "openai/gpt-4o", MESSAGES)
    assert [by_name.result.deployment, by_position.result.deployment] == ["openai/big"] * 2
    assert [seen.model for seen in p.requests] == ["big", "big"]


async def test_the_intercepted_model_comes_first_among_equals(p: LoopbackProvider) -> None:
    """…and only among equals: a better one still wins, and a cheaper equal does not."""
    equal = [deployment(p, "small", quality=0.8), deployment(p, "big", quality=0.8)]
    with install(Router("support", models=equal), intercept="all"):
        assert (await complete(SYNC, "openai/big")).text == REPLIES["big"]
        assert (await complete(SYNC, "big")).text == REPLIES["big"]
        assert (await complete(SYNC, "openai/small")).text == REPLIES["small"]
        assert (await complete(SYNC, "openai/gpt-4o")).text == REPLIES["small"]
    with install(make_router(p), intercept="all"):
        assert (await complete(SYNC, "openai/small")).text == REPLIES["big"]


async def test_an_intercepted_call_obeys_our_keywords(router: Router, p: LoopbackProvider) -> None:
    with install(router, intercept="all"):
        heard = await complete(SYNC, "openai/gpt-4o", models=["small"], max_cost=0.01, extra={"a": 1})
        assert heard.text == REPLIES["small"]
        with pytest.raises(NoCandidateError):
            await complete(SYNC, "openai/gpt-4o", max_cost=1e-12)


async def test_the_newest_installation_that_covers_a_name_gets_it(p: LoopbackProvider) -> None:
    one, two = make_router(p, "one", ["small"]), make_router(p, "two", ["big"])
    with install(one, intercept=["gpt-4o", "gpt-4.1"]), install(two, intercept=["gpt-4o"]):
        assert (await complete(SYNC, "gpt-4o")).result.router == "two"
        assert (await complete(SYNC, "gpt-4.1")).result.router == "one"


async def test_router_names_go_to_their_router_under_intercept_all(p: LoopbackProvider) -> None:
    one, two = make_router(p, "one", ["small"]), make_router(p, "two", ["big"])
    with install(one, two, intercept="all"):
        assert (await complete(SYNC, "router/two")).result.router == "two"
        assert (await complete(SYNC, "gpt-4o")).result.router == "one"


BRIDGES = {"text_completion": {"prompt": "x"}, "responses": {"input": "x"}}
bridges = pytest.mark.parametrize("bridge", BRIDGES)
# One that litellm calls by its own endpoint, one that it renames (text-completion-openai/…), one that it takes apart.
names_and_modes = pytest.mark.parametrize(
    ("name", "mode"),
    [
        *(("openai/gpt-4o", mode) for mode in (SYNC, ASYNC, SYNC_STREAM, ASYNC_STREAM)),
        ("openai/small", SYNC),
        ("deepseek/deepseek-chat", SYNC),
    ],
    ids=str,
)


@bridges
@names_and_modes
async def test_an_intercepted_name_is_routed_through_a_bridge(
    router: Router, p: LoopbackProvider, mode: Mode, bridge: str, name: str, endpoint: Any
) -> None:
    """Also where litellm would use the provider's own endpoint for it."""
    functions = (getattr(litellm, bridge), getattr(litellm, f"a{bridge}"))
    with install(router, intercept=[name]):
        heard = await call(mode, *functions, model=name, **BRIDGES[bridge])
    assert heard.result.deployment == "openai/big"
    assert p.calls("big") == p.calls() == 1


# --------------------------------------------------------------------------- concrete names


@four_modes
async def test_a_concrete_name_is_left_alone(installed: Router, p: LoopbackProvider, mode: Mode, endpoint: Any) -> None:
    heard = await complete(mode, "openai/small", **endpoint)
    assert RouteResult.of(heard.answer) is None
    assert type(heard.answer) is (litellm.CustomStreamWrapper if mode.stream else litellm.ModelResponse)
    assert "route_result" not in heard.answer._hidden_params
    assert [(s.model, s.headers["authorization"]) for s in p.requests] == [("small", "Bearer sk-own")]
    assert installed.stats()["openai/small"]["attempts"] == 0


async def test_a_concrete_call_is_handed_on_with_its_own_arguments(
    installed: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very objects reach litellm, and its very answer comes back."""
    seen: list[dict[str, Any]] = []

    class Own(litellm.CustomLLM):
        def completion(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(kwargs)
            return kwargs["model_response"]

    monkeypatch.setattr(litellm, "custom_provider_map", [{"provider": "own", "custom_handler": Own()}])
    heard = await complete(SYNC, "own/x")
    assert heard.answer is seen[0]["model_response"]
    assert "route_result" not in heard.answer._hidden_params


@four_modes
async def test_models_alone_beside_a_concrete_name_is_not_ours(
    installed: Router, p: LoopbackProvider, mode: Mode, endpoint: Any
) -> None:
    """OpenRouter's own API takes it."""
    heard = await complete(mode, "openai/small", models=["openai/a", "openai/b"], **endpoint)
    assert RouteResult.of(heard.answer) is None
    assert p.requests[0].body["models"] == ["openai/a", "openai/b"]


OURS: dict[str, Any] = {
    "max_cost": 0.01,
    "max_cost_per_million_tokens": 5.0,
    "willingness_to_pay": 0.001,
    "extra": {"team": "x"},
    "routing": {"max_attempts": 2},
}


@four_modes
@pytest.mark.parametrize("keyword", OURS)
async def test_a_concrete_name_with_one_of_our_keywords_is_routed_over_that_model_alone(
    installed: Router, p: LoopbackProvider, mode: Mode, keyword: str
) -> None:
    heard = await complete(mode, "openai/small", **{keyword: OURS[keyword]})
    assert (heard.text, heard.result.ranking) == (REPLIES["small"], ["openai/small"])
    assert [seen.model for seen in p.requests] == ["small"]
    assert keyword not in p.requests[0].body


async def test_a_concrete_name_with_our_keyword_does_not_fall_back_to_other_models(
    installed: Router, p: LoopbackProvider
) -> None:
    p.always("small", Status(401))
    with pytest.raises(litellm.AuthenticationError):
        await complete(SYNC, "openai/small", extra={"team": "x"})
    assert [seen.model for seen in p.requests] == ["small"]


@four_modes
async def test_an_unlisted_concrete_name_with_our_keyword_is_routed_at_litellms_defaults(
    installed: Router, p: LoopbackProvider, mode: Mode, endpoint: Any
) -> None:
    heard = await complete(mode, "openai/gpt-4o-mini", max_cost=0.01)
    assert (heard.result.router, heard.result.ranking) == ("support", ["openai/gpt-4o-mini"])
    assert [(s.model, s.headers["authorization"]) for s in p.requests] == [("gpt-4o-mini", "Bearer sk-env")]


async def test_an_unlisted_concrete_name_does_not_become_a_choice_of_other_calls(
    installed: Router, p: LoopbackProvider, endpoint: Any
) -> None:
    await complete(SYNC, "openai/gpt-4o-mini", max_cost=0.01)
    heard = await complete(SYNC)
    assert set(heard.result.ranking) == {"openai/small", "openai/big"}
    assert not heard.result.rejected
    assert installed.stats()["openai/gpt-4o-mini"]["successes"] == 1, "but what it cost is seen"


async def test_bounds_and_budgets_apply_to_a_concrete_name_with_our_keyword(p: LoopbackProvider) -> None:
    budget = Budget(usd=1.0, key="user")
    with install(make_router(p, budgets=[budget])) as installation:
        with pytest.raises(NoCandidateError, match="max_cost"):
            await complete(SYNC, "openai/small", max_cost=1e-9)
        heard = await complete(SYNC, "openai/small", extra={}, user="ann")
        (account,) = installation.routers[0].budgets()
        assert (account["key"], account["settled_usd"]) == ("ann", pytest.approx(heard.result.cost_usd))
    with install(make_router(p, budgets=[Budget(usd=1e-9)])), pytest.raises(BudgetExceededError):
        await complete(SYNC, "openai/small", extra={})
    assert p.calls() == 1


async def test_bare_model_names_with_our_keyword(installed: Router, p: LoopbackProvider, endpoint: Any) -> None:
    """``gpt-4o-mini`` without its provider is litellm's own short form; ``small`` names a listed deployment."""
    assert (await complete(SYNC, "small", max_cost=0.01)).result.deployment == "openai/small"
    heard = await complete(SYNC, "gpt-4o-mini", max_cost=0.01)
    assert heard.result.model == "gpt-4o-mini"
    assert [seen.model for seen in p.requests] == ["small", "gpt-4o-mini"]


@bridges
@names_and_modes
async def test_our_keywords_beside_a_concrete_name_never_reach_the_provider_through_a_bridge(
    installed: Router, p: LoopbackProvider, mode: Mode, bridge: str, name: str, endpoint: Any
) -> None:
    functions = (getattr(litellm, bridge), getattr(litellm, f"a{bridge}"))
    await call(mode, *functions, model=name, max_cost=0.01, extra={"team": "x"}, **BRIDGES[bridge])
    assert not {"max_cost", "extra"} & set(p.requests[0].body)


@bridges
@names_and_modes
async def test_a_bound_beside_a_concrete_name_holds_through_a_bridge(
    installed: Router, p: LoopbackProvider, mode: Mode, bridge: str, name: str, endpoint: Any
) -> None:
    """A hard bound that is silently ignored is worse than an error."""
    functions = (getattr(litellm, bridge), getattr(litellm, f"a{bridge}"))
    with pytest.raises(Exception, match="max_cost"):
        await call(mode, *functions, model=name, max_cost=1e-12, **BRIDGES[bridge])
    assert p.calls() == 0


@bridges
@four_modes
async def test_a_listed_concrete_name_with_our_keyword_is_routed_through_a_bridge(
    installed: Router, p: LoopbackProvider, mode: Mode, bridge: str
) -> None:
    functions = (getattr(litellm, bridge), getattr(litellm, f"a{bridge}"))
    heard = await call(mode, *functions, model="openai/small", max_cost=0.01, **BRIDGES[bridge])
    assert heard.result.deployment == "openai/small"


# --------------------------------------------------------------------------- chains


@four_modes
async def test_a_chain_goes_on_to_the_second_router_when_the_first_has_failed(p: LoopbackProvider, mode: Mode) -> None:
    one, two = make_router(p, "one", ["big"]), make_router(p, "two", ["small"])
    p.always("big", Status(401))
    with install(one, two):
        heard = await complete(mode, "router/one->router/two")
    assert heard.text == REPLIES["small"]
    assert heard.result.ranking == ["openai/big", "openai/small"]
    assert [seen.model for seen in p.requests] == ["big", "small"]
    assert two.stats()["openai/small"]["successes"] == 1
    assert one.stats()["openai/big"]["failures"] == 1


async def test_a_chain_goes_on_to_the_second_router_when_the_first_has_no_candidate(p: LoopbackProvider) -> None:
    one, two = make_router(p, "one", ["big"]), make_router(p, "two", ["small"])
    with install(one, two):
        heard = await complete(SYNC, "router/one@c<0.0001->router/two")
    assert heard.text == REPLIES["small"]
    assert "openai/big" in heard.result.rejected


async def test_each_tag_of_a_chain_spends_its_own_routers_budget(p: LoopbackProvider) -> None:
    one = make_router(p, "one", ["big"], budgets=[Budget(usd=1.0)])
    two = make_router(p, "two", ["small"], budgets=[Budget(usd=1.0)])
    p.always("big", Status(401))
    with install(one, two):
        heard = await complete(SYNC, "router/one->router/two")
    assert one.budgets()[0]["settled_usd"] == one.budgets()[0]["reserved_usd"] == 0.0
    assert 0 < heard.result.cost_usd == pytest.approx(two.budgets()[0]["settled_usd"])


async def test_a_chain_through_a_router_that_is_not_installed_is_refused_as_a_whole(
    installed: Router, p: LoopbackProvider
) -> None:
    with pytest.raises(SpecError, match=r"unknown router 'gone'; known: support"):
        await complete(SYNC, "router/support->router/gone")
    assert p.calls() == 0


async def test_a_chain_that_begins_with_a_concrete_model_is_the_default_routers(installed: Router) -> None:
    heard = await complete(SYNC, "openai/small->openai/big")
    assert (heard.result.router, heard.result.ranking) == ("support", ["openai/small", "openai/big"])


# --------------------------------------------------------------------------- calls made inside an attempt


class Nesting(litellm.CustomLLM):
    """A user's own provider that asks litellm in turn."""

    def __init__(self, inner: dict[str, Any]) -> None:
        super().__init__()
        self.inner = inner
        self.heard: list[Any] = []

    def _keep(self, answer: Any) -> Any:
        self.heard.append(answer)
        return answer

    def completion(self, *args: Any, **kwargs: Any) -> Any:
        return self._keep(litellm.completion(messages=MESSAGES, **self.inner))

    async def acompletion(self, *args: Any, **kwargs: Any) -> Any:
        return self._keep(await litellm.acompletion(messages=MESSAGES, **self.inner))

    def streaming(self, *args: Any, **kwargs: Any) -> Iterator[GenericStreamingChunk]:
        answer = self._keep(litellm.completion(messages=MESSAGES, **self.inner))
        yield from _chunks(answer)

    async def astreaming(self, *args: Any, **kwargs: Any) -> AsyncIterator[GenericStreamingChunk]:
        answer = self._keep(await litellm.acompletion(messages=MESSAGES, **self.inner))
        for chunk in _chunks(answer):
            yield chunk


def _chunks(answer: Any) -> list[GenericStreamingChunk]:
    words = answer.choices[0].message.content.split(" ")
    return [_chunk(word if i == 0 else f" {word}") for i, word in enumerate(words)] + [_chunk("", True)]


def _chunk(text: str, last: bool = False) -> GenericStreamingChunk:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2} if last else None
    return {  # type: ignore[typeddict-item]
        "text": text,
        "is_finished": last,
        "finish_reason": "stop" if last else None,
        "usage": usage,
        "index": 0,
        "tool_use": None,
    }


@pytest.fixture
def nest(p: LoopbackProvider, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Register a provider "nesting" that makes a call of its own; returns it, and a router over it."""

    def make(kind: type[Nesting] = Nesting, **inner: Any) -> tuple[Nesting, Router]:
        handler = kind(inner)
        monkeypatch.setattr(litellm, "custom_provider_map", [{"provider": "nesting", "custom_handler": handler}])
        return handler, Router("outer", models=[Deployment("nesting/x", quality=1.0)])

    return make


@four_modes
async def test_calls_made_inside_an_attempt_are_not_intercepted(
    nest: Any, p: LoopbackProvider, mode: Mode, endpoint: Any
) -> None:
    _, outer = nest(model="openai/small", **endpoint)
    with install(outer, intercept="all"):
        heard = await complete(mode, "router/outer")
    assert heard.text == REPLIES["small"]
    assert heard.result.deployment == "nesting/x"
    assert [seen.model for seen in p.requests] == ["small"]
    assert len(outer.stats()) == 1


@four_modes
async def test_the_answer_of_a_call_inside_an_attempt_is_no_routed_answer(
    nest: Any, p: LoopbackProvider, mode: Mode, endpoint: Any
) -> None:
    class Apart(Nesting):
        def completion(self, *args: Any, **kwargs: Any) -> Any:
            answer = super().completion()
            return answer.model_copy(deep=True)

        async def acompletion(self, *args: Any, **kwargs: Any) -> Any:
            return (await super().acompletion()).model_copy(deep=True)

    handler, outer = nest(Apart, model="openai/small", **endpoint)
    with install(outer, intercept="all"):
        await complete(mode, "router/outer")
    assert [RouteResult.of(answer) for answer in handler.heard] == [None]


@four_modes
async def test_our_keywords_of_a_call_inside_an_attempt_are_taken_out_and_not_obeyed(
    nest: Any, p: LoopbackProvider, mode: Mode, endpoint: Any
) -> None:
    _, outer = nest(model="openai/small", max_cost=1e-12, extra={"a": 1}, routing={}, **endpoint)
    with install(outer):
        heard = await complete(mode, "router/outer")
    assert heard.text == REPLIES["small"]
    assert not {"max_cost", "extra", "routing"} & set(p.requests[0].body)


@four_modes
@pytest.mark.parametrize("name", ["router/outer", "router", "router@q:1"])
async def test_a_provider_that_names_a_router_gets_a_clear_error(
    nest: Any, p: LoopbackProvider, mode: Mode, name: str
) -> None:
    _, outer = nest(model=name)
    with install(outer), pytest.raises(Exception, match=r"never routed again.*Name a concrete model") as caught:
        await complete(mode, "router/outer")
    assert RouteResult.of(caught.value) is not None
    assert p.calls() == 0


class Late(Nesting):
    """Asks after its first chunk was handed over: the attempt is still running then."""

    def streaming(self, *args: Any, **kwargs: Any) -> Iterator[GenericStreamingChunk]:
        yield _chunk("first ")
        yield from super().streaming()

    async def astreaming(self, *args: Any, **kwargs: Any) -> AsyncIterator[GenericStreamingChunk]:
        yield _chunk("first ")
        async for chunk in super().astreaming():
            yield chunk


@pytest.mark.parametrize("mode", [SYNC_STREAM, ASYNC_STREAM], ids=str)
async def test_calls_made_in_the_middle_of_a_routed_stream_are_not_intercepted(
    nest: Any, p: LoopbackProvider, mode: Mode, endpoint: Any
) -> None:
    handler, outer = nest(Late, model="openai/small", **endpoint)
    with install(outer, intercept="all"):
        heard = await complete(mode, "router/outer")
    assert heard.text == "first " + REPLIES["small"]
    assert [RouteResult.of(answer) for answer in handler.heard] == [None]


async def test_the_caller_may_route_between_the_chunks_of_a_stream(installed: Router, p: LoopbackProvider) -> None:
    """The attempt of a stream is not the caller's context."""
    texts = []
    for chunk in litellm.completion(model="router/support", messages=MESSAGES, stream=True):
        texts.append(chunk.choices[0].delta.content or "")
        assert (await complete(ASYNC, "router@c:1")).text == REPLIES["small"]
    assert "".join(texts) == REPLIES["big"]


async def test_a_thread_or_task_started_by_the_caller_after_a_call_routes(installed: Router) -> None:
    await complete(SYNC)
    assert (await asyncio.create_task(complete(ASYNC))).text == REPLIES["big"]
    found: list[str] = []
    thread = threading.Thread(
        target=lambda: found.append(litellm.completion(model="router", messages=MESSAGES).choices[0].message.content)
    )
    thread.start()
    thread.join(10)
    assert found == [REPLIES["big"]]


async def test_a_callback_of_a_routed_call_may_route_in_turn(
    installed: Router, p: LoopbackProvider, events: Any
) -> None:
    """litellm runs it in a copy of the attempt's context, but the attempt is over."""
    found: list[Any] = []

    def once(kwargs: Any, answer: Any, start: Any, end: Any) -> None:
        if not found:
            found.append(None)
            found[0] = litellm.completion(model="router@c:1", messages=MESSAGES)

    litellm.success_callback = [once]
    await complete(SYNC)
    await events.settled()
    assert RouteResult.of(found[0]) is not None
    assert p.calls() == 2


@pytest.mark.parametrize("bridge", [None, "text_completion", "responses"])
@pytest.mark.parametrize("mode", [SYNC, ASYNC], ids=str)
async def test_a_callback_that_routes_gets_the_router_it_names(
    router: Router, p: LoopbackProvider, mode: Mode, bridge: str | None, events: Any
) -> None:
    """Not what the call it reports had asked for."""
    found: list[Any] = []

    async def asuccess(kwargs: Any, answer: Any, start: Any, end: Any) -> None:
        if not found:
            found.append(None)
            found[0] = await litellm.acompletion(model="router/support", messages=MESSAGES)

    def success(kwargs: Any, answer: Any, start: Any, end: Any) -> None:
        if not found:
            found.append(None)
            found[0] = litellm.completion(model="router/support", messages=MESSAGES)

    litellm.success_callback = [asuccess if mode.asynchronous else success]
    with install(router):
        if bridge is None:
            heard = await complete(mode, "openai/small", extra={})
        else:
            functions = (getattr(litellm, bridge), getattr(litellm, f"a{bridge}"))
            heard = await call(mode, *functions, model="openai/small", extra={}, **BRIDGES[bridge])
        await events.settled()
    assert heard.text == REPLIES["small"]
    assert RouteResult.of(found[0]).deployment == "openai/big"  # type: ignore[union-attr]
