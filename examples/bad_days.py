"""Bad days: limits that are kept before they are hit, outages, a late deployment that is raced, a warm conversation,
answers that are not wanted. Everything runs against a local provider; no key is needed."""

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm: do not download prices when imported

import litellm

from router_plugin import Deployment, Router, RouteResult, checks, install
from router_plugin.testing import LoopbackProvider
from router_plugin.testing.loopback import Status

litellm.suppress_debug_info = True  # litellm prints advice on every failed attempt; here they are part of the plan
QUESTION = [{"role": "user", "content": "Where is my parcel?"}]


def make_router(provider: LoopbackProvider, rpm: int | None = None, **options: object) -> Router:
    common = {"api_base": provider.openai_base, "api_key": "not-needed"}
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6}
    return Router(
        "support",
        models=[
            Deployment("openai/first", name="first", quality=0.9, rpm=rpm, **common, **prices),
            Deployment("openai/second", name="second", quality=0.8, **common, **prices),
        ],
        **options,
    )


def ask(**keywords: object) -> str:
    answer = litellm.completion("router", QUESTION, timeout=10, **keywords)
    served = RouteResult.of(answer)
    assert served is not None
    tries = ", ".join(f"{a.deployment} {a.outcome}" for a in served.attempts)
    return f"{served.deployment:7} ({tries}; {sum(a.latency_ms or 0 for a in served.attempts):.0f} ms)"


def limits(provider: LoopbackProvider) -> None:
    print("\nthree requests a minute go to the first, what is more goes on before anybody says 429")
    with install(make_router(provider, rpm=3)):
        for _ in range(5):
            print("  ", ask())


def outage(provider: LoopbackProvider) -> None:
    print("\nan outage is asked five times, then rests; the states are in stats()")
    provider.always("first", Status(500))
    router = make_router(provider, max_retries=0)
    with install(router):
        for _ in range(7):
            print("  ", ask())
    for name, seen in router.stats().items():
        print(f"   {name}: {seen['state']}, {seen['failures']} failures, {seen['successes']} answers")


def race(provider: LoopbackProvider) -> None:
    print("\na deployment that is late is raced: the second is asked after 0.2 s, the loser is cancelled and paid for")
    provider.model("first", reply="at last", ttft_s=3.0)
    with install(make_router(provider, hedge_after=0.2)):
        print("  ", ask())


def conversation(provider: LoopbackProvider) -> None:
    print("\na conversation stays where its prompt cache is warm, even when others are as good")
    with install(make_router(provider)):
        print("  ", ask(routing={"session": "talk-1", "models": ["second"]}))
        print("  ", ask(routing={"session": "talk-1"}), "still there")
        print("  ", ask(), "without a session")


def unwanted(provider: LoopbackProvider) -> None:
    print("\nan answer that is empty, refused, or not the JSON that was asked for goes on to the next deployment")
    provider.model("first", reply="Sure! Here is your JSON:")
    provider.model("second", reply='{"parcel": "on its way"}')
    with install(make_router(provider, fallback_on=list(checks.READY))):
        print("  ", ask(response_format={"type": "json_object"}))


def main() -> None:
    for scene in (limits, outage, race, conversation, unwanted):
        with LoopbackProvider() as provider:
            for name in ("first", "second"):
                provider.model(name, reply="It is on its way.")
            scene(provider)


if __name__ == "__main__":
    main()
