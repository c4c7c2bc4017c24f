"""Shadow traffic: a new model is tried on real requests. The caller's answer never depends on it, not even its time."""

import os
import time

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm: do not download prices when imported

import litellm

from router_plugin import Deployment, Router, install
from router_plugin.testing import LoopbackProvider
from router_plugin.testing.loopback import Status

litellm.suppress_debug_info = True  # litellm prints advice on every failed attempt; here one is part of the plan
RULE = {
    "name": "try the new one",
    "strategy": "SHADOW",
    "targets": ["proven", "new"],  # the first answers
    "shadow": {"budget_usd": 0.50, "per": "day", "max_concurrency": 4, "timeout_s": 20, "sample": 1.0},
}


def main() -> None:
    with LoopbackProvider() as provider:
        here = {"api_base": provider.openai_base, "api_key": "not-needed"}
        models = []
        for name, price in (("proven", 1e-6), ("new", 5e-7)):
            provider.model(name, reply=f"(the {name} model answers)")
            prices = {"input_cost_per_token": price, "output_cost_per_token": 4 * price}
            models.append(Deployment(f"openai/{name}", name=name, **prices, **here))
        provider.script("new", [Status(500)])  # its first call fails
        router = Router("shadowed", models=models, rules=[RULE], log_content=True)
        with install(router):
            for number in range(3):
                question = [{"role": "user", "content": f"question {number}"}]
                print(litellm.completion(model="router/shadowed", messages=question).choices[0].message.content)
                time.sleep(0.2)
        for record in reversed(router.list_requests()):
            (shadow,) = record["shadows"]
            took = f"{record['latency_ms']:.0f} ms" + f" / {shadow['latency_ms']:.0f} ms"
            print(f"primary ${record['cost_usd']:.6f}, shadow {shadow['outcome']} ${shadow['cost_usd']:.6f}; {took}")
        counts = router.shadows()["try the new one"]["new"]
        print(f"shadow: {counts['answered']} answered, {counts['failed']} failed (last: {counts['last_error']})")
        assert (counts["answered"], counts["failed"]) == (2, 1)


if __name__ == "__main__":
    main()
