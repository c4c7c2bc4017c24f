"""Installing changes litellm and uninstalling changes it back: every function, list, rule and price as it was."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import os
import threading
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import litellm
import litellm.main
import litellm.utils
import pytest
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils import fallback_generalizations, get_model_cost_map
from plugin_modes import (
    ASYNC,
    ASYNC_STREAM,
    MESSAGES,
    PATIENCE_S,
    REPLIES,
    SYNC,
    SYNC_STREAM,
    Events,
    Mode,
    call,
    complete,
    four_modes,
    make_router,
)

from router_plugin import Installation, Router, RouteResult, SpecError, install
from router_plugin.testing.loopback import LoopbackProvider, Redirect, Status

_LISTS = ("callbacks", "input_callback", "success_callback", "failure_callback", "service_callback")
_ASYNC_LISTS = ("_async_input_callback", "_async_success_callback", "_async_failure_callback")
_MODULES = (litellm, litellm.main, litellm.utils, fallback_generalizations, get_model_cost_map)


def state() -> dict[str, Any]:
    """Everything of litellm's that an install might touch: identities, and copies of what can be edited in place."""
    litellm.provider_list  # noqa: B018  (litellm makes it when it is first asked for)
    functions = {
        f"{module.__name__}.{name}": (function, function.__code__, _shape(function))
        for module in _MODULES
        for name, function in list(vars(module).items())
        if isinstance(function, types.FunctionType)
    }
    lists = {name: list(getattr(litellm, name)) for name in (*_LISTS, *_ASYNC_LISTS)}
    return {
        "functions": functions,
        "lists": lists,
        "provider_list": list(litellm.provider_list),
        "custom_provider_map": list(litellm.custom_provider_map),
        "custom providers": list(litellm._custom_providers),
        "rules": copy.deepcopy(fallback_generalizations.get_fallback_generalization_rules()),
        "routing rules": fallback_generalizations._registry.routing_rules,
        "model_cost": (id(litellm.model_cost), copy.deepcopy(dict(litellm.model_cost))),
        "send": (httpx.Client.send, httpx.AsyncClient.send),
        "globals": {name: getattr(litellm, name) for name in ("num_retries", "drop_params", "cache", "api_base")},
    }


def _shape(function: types.FunctionType) -> tuple[Any, ...]:
    closure = tuple(cell.cell_contents for cell in function.__closure__ or ())
    return (function.__defaults__, function.__kwdefaults__, dict(function.__dict__), closure)


def unchanged(before: dict[str, Any]) -> None:
    """The state is as before, told apart by part; functions litellm loaded since then do not count."""
    after = state()
    changed = {name for name, value in before["functions"].items() if after["functions"].get(name) != value}
    assert not changed
    for part in before.keys() - {"functions", "model_cost"}:
        assert after[part] == before[part], part
    assert after["model_cost"][0] == before["model_cost"][0]
    assert after["model_cost"][1].keys() ^ before["model_cost"][1].keys() == set()
    assert after["model_cost"][1] == before["model_cost"][1]


@pytest.fixture
def warm(p: LoopbackProvider) -> None:
    """litellm loads parts of itself at its first calls: not to be taken for what an install does."""
    endpoint = {"api_base": p.openai_base, "api_key": "k"}
    litellm.completion("openai/plain", MESSAGES, **endpoint)
    litellm.text_completion(model="openai/plain", prompt="x", **endpoint)
    litellm.get_model_info("gpt-4o")
    for name in [name for name in litellm.model_cost if name.startswith("router")]:
        del litellm.model_cost[name]  # whatever a test before this one left there
    p.forget()


# --------------------------------------------------------------------------- as before


def test_an_install_alone_is_taken_back(router: Router, warm: None) -> None:
    before = state()
    installation = install(router)
    assert state()["functions"] != before["functions"]
    installation.uninstall()
    unchanged(before)


async def test_everything_is_as_before_after_routed_calls_of_all_kinds(
    p: LoopbackProvider, warm: None, events: Events
) -> None:
    """Deployments with prices of their own, fallbacks, failures, streams, bridges and questions."""
    router = make_router(p)
    await complete(SYNC, "openai/plain", api_base=p.openai_base, api_key="k")  # litellm copies callbacks now
    before = state()
    with install(router, intercept=["gpt-4o"]):
        for mode in (SYNC, ASYNC, SYNC_STREAM, ASYNC_STREAM):
            await complete(mode)
            await complete(mode, "gpt-4o")
        p.script("big", [Status(401)])
        await complete(SYNC)
        await call(SYNC, litellm.text_completion, None, model="router/support", prompt="x")
        await call(ASYNC, None, litellm.aresponses, model="router/support", input="x")
        p.always("small", Status(400))
        with pytest.raises(litellm.BadRequestError):
            await complete(SYNC, models=["small"])
        litellm.get_model_info("router")
        litellm.supports_function_calling("router")
    await events.settled()
    unchanged(before)


@four_modes
async def test_a_router_that_is_not_installed_leaves_nothing_behind(
    p: LoopbackProvider, warm: None, mode: Mode
) -> None:
    """router.completion() alone, over deployments that declare prices: there is no uninstall that could clean up."""
    router = make_router(p)
    before = state()
    await call(mode, router.completion, router.acompletion, messages=MESSAGES)
    unchanged(before)


def test_leaving_the_with_by_an_exception_uninstalls(router: Router, warm: None) -> None:
    before = state()
    with pytest.raises(KeyError), install(router):
        raise KeyError("x")
    unchanged(before)


def test_uninstalling_twice_does_nothing_more(router: Router, warm: None) -> None:
    before = state()
    installation = install(router)
    with installation:
        installation.uninstall()
        unchanged(before)
    installation.uninstall()
    unchanged(before)


def test_function_objects_keep_their_identity_and_looks(router: Router) -> None:
    names = ("completion", "acompletion", "text_completion", "atext_completion", "responses", "aresponses")
    before = {name: getattr(litellm, name) for name in names}
    looks = {name: (f.__name__, f.__doc__, f.__module__, inspect.signature(f)) for name, f in before.items()}
    asked = {name: getattr(litellm, name) for name in ("get_model_info", "token_counter", "supports_vision")}
    with install(router):
        for name, f in before.items():
            assert getattr(litellm, name) is f
            assert (f.__name__, f.__doc__, f.__module__, inspect.signature(f)) == looks[name]
        assert {name: getattr(litellm, name) for name in asked} == asked


def test_async_functions_stay_coroutine_functions_and_sync_ones_sync(router: Router) -> None:
    """instructor and others look before they call."""
    for inside in (False, True):
        installation = install(router) if inside else None
        for name in ("acompletion", "atext_completion", "aresponses"):
            assert inspect.iscoroutinefunction(getattr(litellm, name)), name
            assert asyncio.iscoroutinefunction(functools.partial(getattr(litellm, name))), name
        for name in ("completion", "text_completion", "responses"):
            assert not inspect.iscoroutinefunction(getattr(litellm, name)), name
        assert inspect.iscoroutinefunction(litellm.main.acompletion)
        if installation:
            installation.uninstall()


async def test_frames_of_replaced_functions_can_be_looked_into(installed: Router, p: LoopbackProvider) -> None:
    """Debuggers, pytest and error trackers read the local variables of every frame of a traceback."""
    with pytest.raises(litellm.BadRequestError) as plain:
        await complete(SYNC, "no-such-model")
    p.always("big", Status(400))
    with pytest.raises(litellm.BadRequestError) as routed:
        await complete(ASYNC)
    with pytest.raises(SpecError) as refused:
        litellm.main.completion(model="router/support", messages=MESSAGES, api_key="k")
    assert _survives(lambda: [_walk(caught.value) for caught in (plain, routed, refused)])


def _walk(error: BaseException) -> None:
    at = error.__traceback__
    while at is not None:
        dict(at.tb_frame.f_locals)
        at = at.tb_next


def _survives(action: Callable[[], Any]) -> bool:
    """Whether the interpreter lives through it; in a forked child, because one that does not takes pytest along."""
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == 0


# --------------------------------------------------------------------------- nested and refused installs


@pytest.mark.parametrize("first_out", [0, 1])
async def test_two_installations_are_undone_in_any_order(p: LoopbackProvider, warm: None, first_out: int) -> None:
    before = state()
    installations = [install(make_router(p, "one", ["small"])), install(make_router(p, "two", ["big"]))]
    assert (await complete(SYNC, "router/one")).text == REPLIES["small"]
    assert (await complete(SYNC, "router/two")).text == REPLIES["big"]
    installations.pop(first_out).uninstall()
    left, gone = ("two", "one") if first_out == 0 else ("one", "two")
    assert (await complete(SYNC, f"router/{left}")).result.router == left
    assert (await complete(SYNC, "router")).result.router == left
    with pytest.raises(SpecError, match=f"unknown router '{gone}'.*{left}"):
        await complete(SYNC, f"router/{gone}")
    installations.pop().uninstall()
    unchanged(before)


async def test_the_same_router_installed_twice_routes_until_both_are_taken_back(router: Router, warm: None) -> None:
    before = state()
    outer = install(router)
    with install(router):
        assert (await complete(SYNC)).text == REPLIES["big"]
    assert (await complete(SYNC)).text == REPLIES["big"]
    outer.uninstall()
    unchanged(before)


async def test_a_nested_installation_covers_the_outer_one_and_gives_it_back(p: LoopbackProvider) -> None:
    """Two routers of one name: the newer answers while it is there."""
    with install(make_router(p, "support", ["small"])):
        with install(make_router(p, "support", ["big"])):
            assert (await complete(SYNC)).text == REPLIES["big"]
        assert (await complete(SYNC)).text == REPLIES["small"]


async def test_a_call_costs_one_request_however_often_routers_are_installed(p: LoopbackProvider) -> None:
    router = make_router(p)
    with install(router), install(router), install(make_router(p, "other")):
        await complete(SYNC)
        await complete(ASYNC)
    assert p.calls() == 2


def test_an_installation_says_what_it_holds(router: Router) -> None:
    with install(router, intercept="gpt-4o") as installation:
        assert isinstance(installation, Installation)
        assert (installation.routers, installation.intercept) == ((router,), ("gpt-4o",))


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((), {}, "at least one Router"),
        (("support",), {}, "expected a Router, not 'support'"),
        ((None,), {}, "expected a Router, not None"),
        ((), {"intercept": "all"}, "at least one Router"),
    ],
)
def test_what_is_no_router_is_refused(
    warm: None, arguments: tuple[Any, ...], keywords: dict[str, Any], message: str
) -> None:
    before = state()
    with pytest.raises(SpecError, match=message):
        install(*arguments, **keywords)
    unchanged(before)


def test_two_routers_of_one_name_and_patterns_that_are_no_names_are_refused(p: LoopbackProvider, warm: None) -> None:
    before = state()
    with pytest.raises(SpecError, match="share a name: support, support"):
        install(make_router(p), make_router(p))
    for bad in ([None], [""], [1], ["gpt-4o", b"x"]):
        with pytest.raises(SpecError, match="intercept"):
            install(make_router(p), intercept=bad)  # type: ignore[arg-type]
    unchanged(before)


def test_an_install_that_fails_half_way_takes_everything_back(
    router: Router, warm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another library has replaced one of litellm's functions by something that has no code to swap."""
    monkeypatch.setattr(litellm, "aresponses", functools.partial(litellm.aresponses))
    before = state()
    with pytest.raises(Exception, match="another library has replaced it"):
        install(router)
    unchanged(before)
    monkeypatch.undo()
    with install(router):
        assert litellm.completion(model="router", messages=MESSAGES).choices[0].message.content == REPLIES["big"]


def _wrapped_by_original(original: Any) -> Any:
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    return wrapper


def _wrapped_by_names_of_ours(entry: Any) -> Any:
    args, kwargs = (), {"user": "ann"}

    def completion(*given: Any, **named: Any) -> Any:
        return entry(*args, *given, **kwargs, **named)

    return completion


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "a decorator": _wrapped_by_original,
    "awkward free variables": _wrapped_by_names_of_ours,
    "a lambda": lambda inner: lambda *args, **kwargs: inner(*args, **kwargs),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
async def test_a_function_that_another_library_has_wrapped_is_routed_too(
    router: Router, p: LoopbackProvider, warm: None, monkeypatch: pytest.MonkeyPatch, wrapper: str
) -> None:
    """A tracer that put a plain function of its own in litellm's place."""
    monkeypatch.setattr(litellm, "completion", WRAPPERS[wrapper](litellm.completion))
    before = state()
    with install(router):
        heard = await complete(SYNC)
        plain = await complete(SYNC, "openai/plain", api_base=p.openai_base, api_key="k")
    assert heard.result.deployment == "openai/big"
    assert RouteResult.of(plain.answer) is None
    assert [seen.model for seen in p.requests] == ["big", "plain"]
    unchanged(before)


# --------------------------------------------------------------------------- names of what is gone


@four_modes
@pytest.mark.parametrize("name", ["router", "router/support", "router@q:1|c:1"])
async def test_names_of_an_uninstalled_router_fail_with_litellms_own_error(
    router: Router, p: LoopbackProvider, mode: Mode, name: str
) -> None:
    with install(router):
        await complete(mode, name)
    p.forget()
    with pytest.raises(litellm.BadRequestError, match="LLM Provider NOT provided"):
        await complete(mode, name)
    assert p.calls() == 0


def test_questions_about_an_uninstalled_router_are_litellms_again(router: Router) -> None:
    with install(router):
        assert litellm.get_model_info("router/support")["litellm_provider"] == "router"
    with pytest.raises(Exception, match="isn't mapped"):
        litellm.get_model_info("router/support")


async def test_an_uninstalled_router_still_answers_when_it_is_called_itself(router: Router) -> None:
    with install(router):
        pass
    assert (await call(SYNC, router.completion, None, messages=MESSAGES)).text == REPLIES["big"]


# --------------------------------------------------------------------------- the price map is fetched again


BRIDGED: dict[str, Callable[[], Any]] = {
    "completion": lambda: litellm.completion(model="router/support", messages=MESSAGES),
    "text_completion": lambda: litellm.text_completion(model="router@c:1", prompt="x"),
    "responses": lambda: litellm.responses(model="router@c:1", input="x"),
    "an entry of litellm.Router": lambda: litellm.Router(
        model_list=[{"model_name": "x", "litellm_params": {"model": "router@c:1"}}]
    ).completion("x", MESSAGES),
}


@pytest.mark.parametrize("entry", BRIDGED)
def test_routing_outlives_a_new_set_of_litellms_rules(
    installed: Router, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """litellm replaces its rules when its background fetch of the price map lands."""
    fresh = {"name": "fresh", "pattern": "^fresh-", "model_info": {"litellm_provider": "openai"}}
    before = copy.deepcopy(fallback_generalizations.get_fallback_generalization_rules())
    try:
        get_model_cost_map.set_fallback_generalizations([fresh])
        assert RouteResult.of(BRIDGED[entry]()) is not None
        assert litellm.get_llm_provider("fresh-1")[1] == "openai"
        fallback_generalizations.set_fallback_generalizations(rules=None)
        assert RouteResult.of(BRIDGED[entry]()) is not None
    finally:
        fallback_generalizations.set_fallback_generalizations(before)


def test_rules_that_came_while_installed_stay_after_the_uninstall(router: Router) -> None:
    before = copy.deepcopy(fallback_generalizations.get_fallback_generalization_rules())
    fresh = [{"name": "fresh", "pattern": "^fresh-", "model_info": {"litellm_provider": "openai"}}]
    try:
        with install(router):
            get_model_cost_map.set_fallback_generalizations(fresh)
        assert fallback_generalizations.get_fallback_generalization_rules() == fresh
    finally:
        fallback_generalizations.set_fallback_generalizations(before)


@pytest.mark.parametrize("entry", BRIDGED)
def test_routing_outlives_a_replaced_price_map(installed: Router, monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    BRIDGED[entry]()
    monkeypatch.setattr(litellm, "model_cost", dict(litellm.model_cost))
    assert RouteResult.of(BRIDGED[entry]()) is not None


async def test_prices_declared_by_a_deployment_outlive_a_replaced_price_map(
    installed: Router, p: LoopbackProvider, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    first = await complete(SYNC)
    monkeypatch.setattr(litellm, "model_cost", dict(litellm.model_cost))
    second = await complete(SYNC)
    assert second.result.cost_usd == pytest.approx(first.result.cost_usd)
    costs = [event.cost for event in await events.settled()]
    assert costs == [pytest.approx(first.result.cost_usd)] * 2


def test_a_new_price_in_a_replaced_map_is_used(p: LoopbackProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    router = Router("priced", models=["openai/gpt-4o"])
    with install(router):
        before = router.route(messages=MESSAGES, max_tokens=100).estimated_cost_usd
        dearer = {**litellm.model_cost["gpt-4o"], "input_cost_per_token": 1.0, "output_cost_per_token": 1.0}
        monkeypatch.setattr(litellm, "model_cost", {**litellm.model_cost, "gpt-4o": dearer})
        after = router.route(messages=MESSAGES, max_tokens=100).estimated_cost_usd
    assert before is not None
    assert after is not None
    assert before < 0.01 < 1 < after


# --------------------------------------------------------------------------- threads, and calls in flight


def test_threads_may_install_uninstall_and_call_at_once(p: LoopbackProvider, warm: None) -> None:
    """One installation stays; others come and go. Every routed and every plain call is answered, and all is undone."""
    before = state()
    rounds, stop = 60, threading.Event()
    others = [make_router(p, f"other{i}", ["small"]) for i in range(2)]

    def come_and_go(router: Router) -> int:
        for _ in range(rounds):
            with install(router, intercept=["never-named"]):
                assert router.name in _routers()
        return rounds

    def ask(model: str, **more: Any) -> int:
        asked = 0
        while not stop.is_set() or asked < 3:
            answer = litellm.completion(model=model, messages=MESSAGES, **more)
            assert (RouteResult.of(answer) is not None) == (model == "router/support")
            asked += 1
        return asked

    with install(make_router(p)), ThreadPoolExecutor(4) as pool:
        callers = [
            pool.submit(ask, "router/support"),
            pool.submit(ask, "openai/plain", api_base=p.openai_base, api_key="k"),
        ]
        movers = [pool.submit(come_and_go, router) for router in others]
        try:
            assert [mover.result(60) for mover in movers] == [rounds] * 2
        finally:
            stop.set()
        answered = sum(caller.result(60) for caller in callers)
    assert p.calls() == answered >= 6
    unchanged(before)


def test_plain_calls_survive_the_first_install_and_the_last_uninstall(p: LoopbackProvider, warm: None) -> None:
    """litellm's functions are replaced under the feet of a running call, and put back."""
    before = state()
    router, stop = make_router(p), threading.Event()

    def ask() -> int:
        asked = 0
        while not stop.is_set() or asked < 3:
            litellm.completion(model="openai/plain", messages=MESSAGES, api_base=p.openai_base, api_key="k")
            asked += 1
        return asked

    with ThreadPoolExecutor(3) as pool:
        callers = [pool.submit(ask) for _ in range(2)]
        try:
            for _ in range(60):
                with install(router):
                    pass
        finally:
            stop.set()
        assert sum(caller.result(60) for caller in callers) == p.calls()
    unchanged(before)


def _routers() -> set[str]:
    from router_plugin import plugin

    return set(plugin._HOST.routers)


@four_modes
async def test_an_attempt_keeps_its_protection_when_everything_is_uninstalled_under_it(
    p: LoopbackProvider, mode: Mode
) -> None:
    """Between its start and its request: it is still ours to keep the prompt from going elsewhere."""

    class Uninstalls(CustomLogger):
        def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
            installation.uninstall()

    installation = install(make_router(p, "support", ["big", "small"]))
    litellm.callbacks = [Uninstalls()]
    with LoopbackProvider() as elsewhere:
        p.script("big", [Redirect(f"{elsewhere.openai_base}/chat/completions")])
        heard = await complete(mode)
        assert elsewhere.calls() == 0
    assert heard.text == REPLIES["small"]
    assert not installation.active


class Gate:
    """A model's answer that waits until the test opens it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.opened = threading.Event()

    def __call__(self, body: Any) -> str:
        assert self.opened.wait(PATIENCE_S)
        return self.text


@four_modes
async def test_a_call_in_flight_finishes_on_the_router_it_began_with(p: LoopbackProvider, mode: Mode) -> None:
    gate = Gate("late")
    p.model("big", gate)
    old, new = make_router(p, "support", ["big"]), make_router(p, "support", ["small"])
    installation = install(old)
    task = asyncio.create_task(complete(mode))
    assert await asyncio.to_thread(p.wait_until, lambda: p.in_flight == 1)
    installation.uninstall()
    with install(new):
        meanwhile = await complete(mode)
        gate.opened.set()
        late = await task
    assert (late.text, late.result.deployment) == ("late", "openai/big")
    assert (meanwhile.text, meanwhile.result.deployment) == (REPLIES["small"], "openai/small")
    assert (old.stats()["openai/big"]["in_flight"], old.stats()["openai/big"]["successes"]) == (0, 1)


@four_modes
async def test_a_call_in_flight_still_falls_back_after_everything_was_uninstalled(
    p: LoopbackProvider, warm: None, mode: Mode
) -> None:
    before = state()
    gate = Gate("late")
    p.model("gated", gate)
    p.script("gated", [Status(401)])

    class FirstWaits(Status):
        def steps(self, request: Any) -> Any:
            gate("")
            return super().steps(request)

    p.clear("big")
    p.script("big", [FirstWaits(401)])
    installation = install(make_router(p))
    task = asyncio.create_task(complete(mode))
    assert await asyncio.to_thread(p.wait_until, lambda: p.in_flight == 1)
    installation.uninstall()
    gate.opened.set()
    heard = await task
    assert heard.text == REPLIES["small"]
    assert [attempt.outcome for attempt in heard.result.attempts] == ["failed", "answered"]
    unchanged(before)


@pytest.mark.parametrize("mode", [SYNC_STREAM, ASYNC_STREAM], ids=str)
async def test_a_stream_handed_over_before_the_uninstall_can_be_read_after_it(p: LoopbackProvider, mode: Mode) -> None:
    router = make_router(p)
    installation = install(router)
    if mode.asynchronous:
        stream = await litellm.acompletion(model="router/support", messages=MESSAGES, stream=True)
        installation.uninstall()
        chunks = [chunk async for chunk in stream]
    else:
        stream = litellm.completion(model="router/support", messages=MESSAGES, stream=True)
        installation.uninstall()
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == REPLIES["big"]
    assert RouteResult.of(stream).attempts[0].outcome == "answered"  # type: ignore[union-attr]
    assert router.stats()["openai/big"]["in_flight"] == 0
