"""What was asked, what it cost, how it was judged; and what another version would have decided."""

import os
import random
import tempfile
from pathlib import Path

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm: do not download prices when imported

import litellm

from router_plugin import Client, Deployment, Router, RouteResult, install
from router_plugin.testing import LoopbackProvider

SPLIT = {
    "name": "even",
    "strategy": "SPLIT",
    "targets": [{"model_name": "small", "weight": 1}, {"model_name": "large", "weight": 1}],
}


def main() -> None:
    draw = random.Random(7)
    with LoopbackProvider() as provider, tempfile.TemporaryDirectory() as folder, Client(folder) as client:
        os.environ["HISTORY_KEY"] = "not-needed"
        here = {"api_base": provider.openai_base, "api_key": "os.environ/HISTORY_KEY"}
        models = []
        for name, price in (("small", 1e-7), ("large", 2e-6)):
            provider.model(name, reply=f"(the {name} model answers)")
            prices = {"input_cost_per_token": price, "output_cost_per_token": 4 * price}
            models.append(Deployment(f"openai/{name}", name=name, **prices, **here))
        router = Router("judged", models=models, rules=[SPLIT], seed=1, client=client)
        with install(router):
            for number in range(120):
                question = [{"role": "user", "content": f"question {number} " + "word " * draw.randrange(5, 200)}]
                answer = litellm.completion(model="router/judged", messages=question, user=f"user-{number % 3}")
                result = RouteResult.of(answer)
                # Your own judgement, when it is there: a thumb, a test that passed, a rubric.
                good = draw.random() < (0.9 if result.deployment == "large" else 0.6)
                router.feedback(result.request_id, float(good))

        newest = router.list_requests(limit=1, user="user-0")[0]
        kept = ("request_id", "matched_rule", "selected_target", "propensity", "cost_usd", "status", "feedback")
        print({name: newest[name] for name in kept})
        file = Path(folder) / "requests.jsonl"
        print(f"exported: {router.export_requests(file)} requests, {file.stat().st_size // 120} bytes each")
        assert "question" not in file.read_text(), "prompts are not kept unless log_content=True"

        # What would it have cost, and how good would it have been, to send everything to one of them?
        for target in ("small", "large"):
            rule = {"name": "all", "targets": [target]}
            print(f"\neverything to {target}:\n{router.replay(file, {'rules': [rule]}).text()}")


if __name__ == "__main__":
    main()
