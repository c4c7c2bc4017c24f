"""An A/B test: a SPLIT by weight, where each user stays with his arm, and what the arms cost and took afterwards."""

import os
from collections import Counter, defaultdict

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm: do not download prices when imported

import litellm

from router_plugin import Deployment, Router, RouteResult, install
from router_plugin.testing import LoopbackProvider

SPLIT = {
    "name": "new model for a tenth",
    "strategy": "SPLIT",
    "split_key": "user",
    "targets": [{"model_name": "old", "weight": 9}, {"model_name": "new", "weight": 1}],
}


def main() -> None:
    with LoopbackProvider() as provider:
        here = {"api_base": provider.openai_base, "api_key": "not-needed"}
        models = []
        for name, price in (("old", 1e-6), ("new", 5e-7)):
            provider.model(name, reply=f"(the {name} model answers)")
            prices = {"input_cost_per_token": price, "output_cost_per_token": 4 * price}
            models.append(Deployment(f"openai/{name}", name=name, **prices, **here))
        router = Router("ab", models=models, rules=[SPLIT])
        arms: dict[str, set[str]] = defaultdict(set)
        with install(router):
            for turn in range(3):
                for number in range(60):
                    user = f"user-{number}"
                    answer = litellm.completion(
                        model="router/ab", messages=[{"role": "user", "content": f"turn {turn}"}], user=user
                    )
                    arms[user].add(RouteResult.of(answer).deployment)
        shares = Counter(next(iter(seen)) for seen in arms.values())
        print(f"users by arm: {dict(shares)}; users that met both arms: {sum(len(seen) > 1 for seen in arms.values())}")

        records = router.list_requests(limit=1000)
        for arm in ("old", "new"):
            mine = [record for record in records if record["selected_target"] == arm]
            cost = sum(record["cost_usd"] for record in mine)
            print(f"{arm}: {len(mine)} calls, ${cost:.6f}, propensity {mine[0]['propensity']:.1f}")
        assert all(len(seen) == 1 for seen in arms.values())


if __name__ == "__main__":
    main()
