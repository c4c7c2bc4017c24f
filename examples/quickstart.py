"""The smallest routed call: two models, one router, plain litellm. Needs no key: the provider is a local server."""

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm: do not download prices when imported

import litellm

from router_plugin import Budget, Deployment, Router, install
from router_plugin.testing import LoopbackProvider

with LoopbackProvider() as provider:
    provider.model("small", reply="Paris.")
    provider.model("large", reply="Paris has been the capital of France since 987, with interruptions.")
    here = {"api_base": provider.openai_base, "api_key": "not-needed"}
    router = Router(
        "quick",
        models=[
            Deployment("openai/small", quality=0.6, input_cost_per_token=1e-7, output_cost_per_token=4e-7, **here),
            Deployment("openai/large", quality=0.9, input_cost_per_token=2e-6, output_cost_per_token=8e-6, **here),
        ],
        budgets=[Budget(usd=1, per="day", key="user")],
    )
    question = [{"role": "user", "content": "What is the capital of France?"}]
    with install(router):
        best = litellm.completion(model="router/quick", messages=question, user="ann")
        cheap = litellm.completion(model="router/quick", messages=question, user="ann", max_cost=0.001)

    print(f"{best.model}: {best.choices[0].message.content}")
    print(f"{cheap.model}: {cheap.choices[0].message.content}\n")
    print(router.explain(cheap))
    assert (best.model, cheap.model) == ("large", "small")
