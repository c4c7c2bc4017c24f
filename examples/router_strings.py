"""Router strings: a whole routing policy in the model's name. Nothing is called here: ``route`` only decides."""

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm: do not download prices when imported

import litellm

from router_plugin import Deployment, Router, RouterStringError, install, parse_router_string

# Real models, with the prices and abilities that litellm knows of them. The qualities are ours.
router = Router(
    "support",
    models=[
        Deployment("openai/gpt-4o-mini", quality=0.70),
        Deployment("anthropic/claude-haiku-4-5", quality=0.82),
        Deployment("openai/gpt-4o", quality=0.86),
        Deployment("azure/gpt-4o", quality=0.86, api_base="https://example.invalid", api_key="os.environ/AZURE_KEY"),
    ],
)
question = [{"role": "user", "content": "My parcel has not arrived. What now?"}]

STRINGS = {
    "router": "the router's own objective: here the best quality",
    "router/support": "the same, by name",
    "router@q:1|c:0.05": "a tenth of quality is worth two dollars a million tokens",
    "router@q:1|c:4.65e-03|t:2.08e-05|i:2.07e-03": "weights as they are published: quality, cost, first token, pace",
    "router@c:1|quality>0.75": "the cheapest of those that are good enough",
    "router@cost<2|skip_providers:azure": "filters alone keep the objective",
    "router@models:gpt-4o-mini,claude-haiku-4-5": "these models only",
    "gpt-4o@lowest-input-cost": "one model, and the provider where its input is cheapest",
    "gpt-4o@azure->anthropic/claude-haiku-4-5->router": "a chain: this endpoint, then that model, then anything",
}


def main() -> None:
    for text, meaning in STRINGS.items():
        ranking = router.route(model=text, messages=question).ranking
        print(f"{text}\n    {meaning}\n    → {', then '.join(ranking)}\n")

    # A string is a value: it can be parsed, compared, and printed in one canonical way.
    parsed = parse_router_string("router_support@quality_thrs:0.75,1|c:1.0")
    print(f"canonical: {parsed}")
    assert parse_router_string(str(parsed)) == parsed

    # Nothing is ever ignored: what cannot be meant is an error that points at the place.
    try:
        router.route(model="router@q:1|speed:3", messages=question)
    except RouterStringError as error:
        print(f"\n{error}\n")
    else:
        raise AssertionError("a mistake went unnoticed")

    # Each call may bring its own string. (mock_response is litellm's own: it answers without calling anybody.)
    with install(router):
        answer = litellm.completion(
            model="router@c:1|quality>0.75", messages=question, mock_response="Let me look.", api_key=None
        )
    print(router.explain(answer))
    assert router.route(model="router@c:1|quality>0.75", messages=question).ranking[0] == "anthropic/claude-haiku-4-5"


if __name__ == "__main__":
    main()
