"""Rules: who is sent where, by what a request says. The first match by priority decides; bounds hold all the same."""

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm: do not download prices when imported

import litellm

from router_plugin import Deployment, Router, RouteResult, install
from router_plugin.testing import LoopbackProvider

RULES = [
    {
        "name": "code goes to the specialist",
        "priority": 20,
        "conditions": [{"field": "prompt", "operator": "regex_match", "value": r"\b(def|class|SELECT)\b"}],
        "targets": ["coder"],
    },
    {
        "name": "premium customers",
        "priority": 10,
        "conditions": [{"any": [
            {"field": "extra.tier", "operator": "equals", "value": "premium"},
            {"field": "extra.spend", "operator": "greater_than", "value": 1000},
        ]}],
        "strategy": "FALLBACK",  # in this order
        "targets": ["large", "small"],
    },
    {
        "name": "when the day's money runs low",
        "priority": 5,
        "conditions": [{"field": "budget.day.used_fraction", "operator": "greater_than", "value": 0.8}],
        "targets": ["small"],
    },
]  # fmt: skip


def main() -> None:
    with LoopbackProvider() as provider:
        here = {"api_base": provider.openai_base, "api_key": "not-needed"}
        models = []
        for name, quality, price in (("small", 0.6, 1e-7), ("large", 0.9, 2e-6), ("coder", 0.8, 5e-7)):
            provider.model(name, reply=f"(the {name} model answers)")
            prices = {"input_cost_per_token": price, "output_cost_per_token": 4 * price}
            models.append(Deployment(f"openai/{name}", name=name, quality=quality, **prices, **here))
        router = Router("rules", models=models, rules=RULES, budgets=[{"usd": 1, "per": "day", "name": "day"}])
        with install(router):
            for text, extra in (
                ("Please explain: def f(x): return x", {"tier": "free"}),
                ("Where is my parcel?", {"tier": "premium"}),
                ("Where is my parcel?", {"tier": "free", "spend": 5000}),
                ("Where is my parcel?", {"tier": "free"}),
            ):
                question = [{"role": "user", "content": text}]
                result = RouteResult.of(litellm.completion(model="router/rules", messages=question, extra=extra))
                rule = result.matched_rule.name if result.matched_rule else "no rule: the best quality"
                print(f"{text[:34]:<34} {extra!s:<34} -> {result.deployment:<6} ({rule})")

        # Deciding alone calls nobody, and rules can read every key of the data.
        decided = router.route({"prompt": "A sunset", "extra": {"tier": "premium"}})
        print(f"\nroute(): {decided.matched_rule.name} -> {[target.model_name for target in decided.selected_targets]}")
        for tried in decided.rule_trace:
            print(f"  {tried['rule']}: {tried['why']}")
        print(f"\n{router.check().text()}")


if __name__ == "__main__":
    main()
