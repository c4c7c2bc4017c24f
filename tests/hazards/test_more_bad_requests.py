"""hazards.md 3, "Requests" and "Candidates": what is changed under way, who asks, what is sent, chains in circles."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import litellm
import pytest
from stage import (
    HI,
    PRICE,
    FakeClock,
    Says,
    ask,
    deployment,
    four_modes,
    four_pairs,
    let_go,
    nothing_held,
    router,
    scripted,
    spent,
)

from router_plugin import Budget, BudgetExceededError, Deployment, NoCandidateError, Router, SpecError, install
from router_plugin.testing import loopback as lb
from router_plugin.testing.exchange import Call, Step
from router_plugin.testing.loopback import LoopbackProvider

# --------------------------------------------------------------------------- changed by the caller during the call


@dataclass(frozen=True)
class Meanwhile(lb.Fault):
    """While the provider has the request, the caller goes on with what he gave; then the attempt fails."""

    work: Callable[[], Any]

    def steps(self, call: Call) -> Iterable[Step]:
        self.work()
        return lb.Status(503).steps(call)


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


@four_pairs
def test_messages_changed_during_the_call(p: LoopbackProvider, wire: str, mode: str) -> None:
    """Appended to, emptied, a text replaced: the second attempt sends what was asked, and what was reserved for."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "short"}]

    def change() -> None:
        messages[0]["content"] = "CHANGED"
        messages.append({"role": "user", "content": "LATER " * 5_000})

    p.always("m", Meanwhile(change))
    r = router(p, "m", "n", wire=wire)
    ask(mode, r, messages=messages, max_tokens=10, timeout=10).answered()
    assert [seen.model for seen in p.requests] == ["m", "n"]
    assert not any(word in json.dumps(p.requests[1].body) for word in ("CHANGED", "LATER"))
    let_go(r)


@four_pairs
@pytest.mark.parametrize("what", ["a part is changed", "a part is added", "a tool is changed"])
def test_parts_and_tools_changed_during_the_call(p: LoopbackProvider, wire: str, mode: str, what: str) -> None:
    """What was decided on and reserved for is what every attempt sends."""
    parts = [text_part("short")]
    messages = [{"role": "user", "content": parts}]
    function: dict[str, Any] = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": function}]

    def change() -> None:
        if what == "a part is changed":
            parts[0]["text"] = "LATER " * 5_000
        elif what == "a part is added":
            parts.append(text_part("LATER " * 5_000))
        else:
            function["description"] = "LATER " * 5_000

    p.always("m", Meanwhile(change))
    r = router(p, "m", "n", wire=wire)
    ask(mode, r, messages=messages, tools=tools, max_tokens=10, timeout=10, max_cost=0.01).answered()
    assert [seen.model for seen in p.requests] == ["m", "n"]
    assert "LATER" not in json.dumps(p.requests[1].body)
    let_go(r)


# --------------------------------------------------------------------------- who asks

# (the path of a budget's key, the keywords that say who it is)
WHERE: list[tuple[str, Callable[[Any], dict[str, Any]]]] = [
    ("extra.tenant", lambda value: {"extra": {"tenant": value}}),
    ("metadata.tenant", lambda value: {"metadata": {"tenant": value}}),
]
tenants = pytest.mark.parametrize(("path", "given"), WHERE, ids=[w[0] for w in WHERE])


@tenants
@pytest.mark.parametrize("tenant", ["", None])
def test_a_tenant_that_is_nobody_counts_under_none(path: str, given: Any, tenant: Any) -> None:
    r, _ = scripted(FakeClock(), budgets=[Budget(usd=1, key=path)])
    ask("sync", r, **given(tenant)).answered()
    ask("sync", r).answered()
    assert [account["key"] for account in r.budgets()] == ["(none)"]
    strict, provider = scripted(FakeClock(), budgets=[Budget(usd=1, key=path, require_key=True)])
    error = ask("sync", strict, **given(tenant)).raises(SpecError)
    assert path in str(error)
    assert provider.calls == []


@tenants
@pytest.mark.parametrize(
    "tenant", ["x" * 10_240, True, 1.5, ["a"], {"id": 5}, b"a", object(), 10**5_000], ids=lambda v: type(v).__name__
)
def test_a_tenant_that_is_no_key(path: str, given: Any, tenant: Any) -> None:
    r, provider = scripted(FakeClock(), budgets=[Budget(usd=1, key=path)])
    error = ask("sync", r, **given(tenant)).raises(SpecError)
    assert path in str(error)
    assert len(str(error)) < 500
    assert provider.calls == []
    nothing_held(r)


@tenants
def test_tenants_that_look_alike_share_nothing(path: str, given: Any) -> None:
    alike = ["a:b", "a", "b", "a:b:c", "1", 1, "A", "\uff41", "\u0430", "(none)", "a\x00", "a ", "a.b", "\ud800"]
    r, _ = scripted(FakeClock(), budgets=[Budget(usd=1.5e-4, key=path)], script={"m": [Says(output_tokens=40)]})
    for tenant in alike:
        ask("sync", r, max_tokens=40, **given(tenant)).answered()
        ask("sync", r, max_tokens=40, **given(tenant)).raises(BudgetExceededError)
    assert len(r.budgets()) == len(alike)
    for form in ("\u00e9", "e\u0301"):
        ask("sync", r, max_tokens=40, **given(form))
    assert len(r.budgets()) == len(alike) + 1, "the same but for the Unicode normal form"


# --------------------------------------------------------------------------- parts

PNG = base64.b64encode(bytes.fromhex("89504e470d0a1a0a") + b"\0" * 40).decode()
PARTS: list[tuple[str, dict[str, Any]]] = [
    ("image", {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}}),
    ("audio", {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}}),
    ("file", {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PNG}", "filename": "a.pdf"}}),
]
NEEDS = {"image": "vision", "audio": "audio_input", "file": "files"}


@four_modes
@pytest.mark.parametrize(("kind", "part"), PARTS, ids=[x[0] for x in PARTS])
def test_parts_of_other_media_go_to_who_can_take_them_and_as_they_are(
    p: LoopbackProvider, mode: str, kind: str, part: dict[str, Any]
) -> None:
    for name in ("m", "n"):
        p.model(name, "fine")
    blind = deployment(p, "m", quality=0.9, supports=dict.fromkeys(NEEDS.values(), False))
    able = deployment(p, "n", quality=0.1, supports={NEEDS[kind]: True})
    messages = [{"role": "user", "content": [text_part("what is this?"), part]}]
    given = copy.deepcopy(messages)
    r = Router("r", models=[blind, able], budgets=[Budget(usd=1)])
    told = ask(mode, r, messages=messages, max_tokens=20, timeout=10)
    assert told.answered() == "fine"
    assert told.result.deployment == "n"
    assert NEEDS[kind] in told.result.rejected["m"]
    (seen,) = p.requests
    assert seen.body["messages"] == messages == given
    let_go(r)


def test_a_20_mb_prompt_that_fits_is_sent_whole_and_paid_for(p: LoopbackProvider) -> None:
    p.model("m", "fine")
    r = Router("r", models=[deployment(p, context_window=100_000_000)], budgets=[Budget(usd=1_000)])
    told = ask("sync", r, messages=[{"role": "user", "content": "x" * 20_000_000}], max_tokens=20, timeout=30)
    assert told.answered() == "fine"
    assert len(p.requests[0].body["messages"][0]["content"]) == 20_000_000
    assert spent(r) == pytest.approx(5.0, rel=0.01)
    nothing_held(r)


# --------------------------------------------------------------------------- chains in circles

CIRCLES = ["m->m", "m->n->m", "m->n->m->n->m->n", "router->router", "router@models:m->m", "m->router@models:n->m"]


@four_modes
@pytest.mark.parametrize("chain", CIRCLES)
def test_a_chain_in_a_circle_asks_nobody_twice(mode: str, chain: str) -> None:
    late = [TimeoutError("late")]
    r, provider = scripted(FakeClock(), "m", "n", script={"m": late, "n": late}, max_attempts=9)
    told = ask(mode, r, model=chain)
    told.raises(TimeoutError)
    asked = [name for name, _ in provider.calls]
    assert sorted(set(asked)) == sorted(asked), asked
    assert set(asked) == ({"m"} if chain in ("m->m", "router@models:m->m") else {"m", "n"})
    nothing_held(r)


@pytest.mark.parametrize("fallbacks", [["m"], ["n", "m"], ["router"], ["m", "m", "m"]], ids=str)
def test_fallbacks_in_a_circle_ask_nobody_twice(fallbacks: list[str]) -> None:
    late = [TimeoutError("late")]
    r, provider = scripted(FakeClock(), "m", "n", script={"m": late, "n": late}, max_attempts=9)
    ask("sync", r, model="m", fallbacks=fallbacks).raises(TimeoutError)
    asked = [name for name, _ in provider.calls]
    assert len(asked) == len(set(asked))
    nothing_held(r)


def test_routers_that_name_each_other_end(p: LoopbackProvider) -> None:
    """a→b→a over two installed routers: each deployment once, and each router's money for its own."""
    for name in ("m", "n"):
        p.always(name, lb.Status(503))
    a = Router("a", models=[deployment(p, "m")], budgets=[Budget(usd=1)], patience_s=0.01)
    b = Router("b", models=[deployment(p, "n")], budgets=[Budget(usd=1)], patience_s=0.01)
    with install(a, b), pytest.raises(litellm.ServiceUnavailableError):
        litellm.completion("router/a->router/b->router/a->router/b", HI, timeout=5, max_tokens=5)
    models = [seen.model for seen in p.requests]
    assert set(models) == {"m", "n"}
    assert len(models) <= 4
    nothing_held(a)
    nothing_held(b)


# --------------------------------------------------------------------------- candidates


@four_modes
def test_all_limited_by_their_own_figures_says_when_to_come_back(mode: str) -> None:
    """Bounded: the patience of one call, however many deployments there are to wait for."""
    clock = FakeClock()
    made = [Deployment(f"openai/{n}", name=n, rpm=1, **PRICE) for n in "abcd"]
    r, provider = scripted(clock, models=made, patience_s=2)
    for _ in made:
        ask(mode, r).answered()
    began = clock.monotonic()
    error = ask(mode, r).raises(NoCandidateError)
    assert clock.monotonic() - began <= 2
    assert error.retry_after_s is not None
    assert 50 < error.retry_after_s <= 62
    assert set(error.rejected) == set("abcd")
    assert len(provider.calls) == 4
    nothing_held(r)


@four_modes
def test_a_replaced_installation_in_mid_flight_leaves_the_call_on_its_own_router(
    p: LoopbackProvider, mode: str
) -> None:
    """The spec of that name is another one by the time the first attempt has failed: the call ends where it began."""
    other = Router("hazard", models=[deployment(p, "other")], budgets=[Budget(usd=1)])
    r = router(p, "m", "n")
    swapped: list[Any] = []
    p.always("m", Meanwhile(lambda: swapped.append(install(other))))
    p.model("n", "fine")
    with install(r):
        try:
            told = ask(mode, _Installed(), timeout=5, max_tokens=20)  # type: ignore[arg-type]
        finally:
            for one in swapped:
                one.uninstall()
    assert told.answered() == "fine"
    assert [seen.model for seen in p.requests] == ["m", "n"]
    let_go(r)
    assert spent(other) == 0


class _Installed:
    """litellm itself, asked for the router's name."""

    def completion(self, **kwargs: Any) -> Any:
        return litellm.completion("router/hazard", **kwargs)

    async def acompletion(self, **kwargs: Any) -> Any:
        return await litellm.acompletion("router/hazard", **kwargs)
