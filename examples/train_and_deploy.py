"""Learned routing, end to end: judged data → fit → frontier → pick a star → deploy → live calls → feedback → replay.

Three local models that really differ in what they get right: ``tiny`` knows facts, ``coder`` writes code, ``large``
does everything and costs twenty times as much. A router that is trained on their judged answers sends each question to
the cheapest that will get it right. Needs no key.
"""

import os
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm: do not download prices when imported
os.environ.setdefault("TRAIN_KEY", "not-needed")

import litellm

from router_plugin import Client, Deployment, Router, RouteResult, install, parse_router_string
from router_plugin.learn import evaluate
from router_plugin.learn.judges import ExactMatch
from router_plugin.testing import LoopbackProvider

CAPITALS = {
    "France": "Paris", "Japan": "Tokyo", "Kenya": "Nairobi", "Peru": "Lima", "Norway": "Oslo", "Chad": "N'Djamena",
    "Cuba": "Havana", "Egypt": "Cairo", "Ghana": "Accra", "Iran": "Tehran", "Italy": "Rome", "Nepal": "Kathmandu",
    "Qatar": "Doha", "Spain": "Madrid", "Syria": "Damascus", "Yemen": "Sanaa",
}  # fmt: skip
THINGS = (
    "apples", "books", "candles", "doors", "eggs", "forks", "gloves", "hats", "islands", "jars", "keys", "lamps",
    "maps", "nails", "onions", "pens",
)  # fmt: skip
VERBS = (
    "sum", "product", "median", "maximum", "minimum", "mode", "range", "variance", "reverse", "length", "mean",
    "square", "cube", "negation",
)  # fmt: skip
ASKED = ("What is the capital of {}?", "Name the capital city of {}.", "Which city is the capital of {}?")
CODED = ("Write a Python function that returns the {} of a list.", "def {}(values): complete this function.",
         "Implement `{}` for a list of numbers in Python.")  # fmt: skip
COUNTED = ("A crate holds {a} {thing}. How many {thing} are in {b} crates?", "Multiply {a} {thing} by {b}.",
           "{b} people carry {a} {thing} each. How many {thing} is that?")  # fmt: skip
# Who gets which kind of question right, out of a hundred.
SKILL = {"tiny": {"fact": 95, "code": 10, "sum": 5}, "coder": {"fact": 40, "code": 95, "sum": 30},
         "large": {"fact": 98, "code": 97, "sum": 96}}  # fmt: skip
PRICE = {"tiny": 1e-7, "coder": 4e-7, "large": 2e-6}
ANSWERS: dict[str, tuple[str, str]] = {}  # question → (kind, right answer)


def questions(count: int, draw: random.Random) -> list[str]:
    """Questions of three kinds, each with its right answer in ANSWERS."""
    made = []
    while len(made) < count:
        kind = draw.choice(("fact", "code", "sum"))
        if kind == "fact":
            country = draw.choice(list(CAPITALS))
            text, answer = draw.choice(ASKED).format(country), CAPITALS[country]
        elif kind == "code":
            verb = draw.choice(VERBS)
            text, answer = draw.choice(CODED).format(verb), f"def {verb}(values): ..."
        else:
            a, b = draw.randrange(12, 99), draw.randrange(12, 99)
            text, answer = draw.choice(COUNTED).format(a=a, b=b, thing=draw.choice(THINGS)), str(a * b)
        ANSWERS[text] = (kind, answer)
        made.append(text)
    return made


def reply_of(name: str) -> Any:
    """A model that is right as often as its skill says, and always the same way for the same question."""

    def reply(body: dict[str, Any]) -> str:
        text = body["messages"][-1]["content"]
        kind, answer = ANSWERS[text]
        right = random.Random(f"{name} {text}").randrange(100) < SKILL[name][kind]
        return answer if right else "I am not sure."

    return reply


def main() -> None:
    draw = random.Random(5)
    with LoopbackProvider() as provider, tempfile.TemporaryDirectory() as folder, Client(folder) as client:
        here = {"api_base": provider.openai_base, "api_key": "os.environ/TRAIN_KEY"}
        llms = []
        for name, price in PRICE.items():
            provider.model(name, reply=reply_of(name))
            prices = {"input_cost_per_token": price, "output_cost_per_token": 4 * price}
            llms.append(Deployment(f"openai/{name}", name=name, **prices, **here))
        router = Router("learned", models=llms, client=client)

        # 1. A training job: every model answers, a judge scores, a predictor is fitted, a version is written.
        asked = [{"prompt": text, "ref_answer": ANSWERS[text][1]} for text in questions(240, draw)]
        job = client.routers.run_training_job(
            router,
            judge=ExactMatch(),
            llms=[f"openai/{name}" for name in SKILL],
            requests=asked,
            budget_usd=0.50,
            wait=True,
        )
        print(f"job {job.name}: {job.status}, {job.n_done} answers, ${job.spent_usd:.4f} of an estimated "
              f"${job.estimate_usd:.4f}; version {router.version}")  # fmt: skip

        # 2. What is it worth, on questions that it has not seen?
        fresh = questions(200, random.Random(6))
        rows = [outcome(text, number) for number, text in enumerate(fresh)]
        metrics = evaluate(router._active().predictor, rows, prices=per_million())
        print(f"on {metrics.prompts} unseen questions: {metrics.accuracy:.1%} right (best single {metrics.best:.1%}, "
              f"oracle {metrics.oracle:.1%}); AIQ {metrics.aiq:.3f} (mixing models {metrics.aiq_zero:.3f}); the best "
              f"single's accuracy for {metrics.cost_save:.0%} less")  # fmt: skip

        # 3. The frontier: settings of the dials, each as a router string; the page has them to click on.
        frontier = router.frontier(rows)
        page = Path(folder) / "frontier.html"
        frontier.save_page(page)
        for setting in frontier.settings:
            print(f"  quality {setting.quality:.3f}  ${setting.cost_usd * 1000:.4f} per 1,000  {setting.string}")
        print(f"page: {page.stat().st_size // 1000} kB")

        # 4. Pick a star and deploy it: its weights become the router's own.
        star = frontier.best(min_quality=0.95)
        router.update(weights=parse_router_string(star.string).tags[0].weights, note=f"the star {star.string}")
        served: Counter[tuple[str, str]] = Counter()
        right = cost = 0.0
        with install(router):
            for text in fresh:
                answer = litellm.completion(model="router/learned", messages=[{"role": "user", "content": text}])
                result = RouteResult.of(answer)
                kind, wanted = ANSWERS[text]
                good = answer.choices[0].message.content == wanted
                router.feedback(result.request_id, float(good))
                served[kind, result.deployment] += 1
                right, cost = right + good, cost + result.cost_usd
        print(f"live: {right / len(fresh):.1%} right for ${cost:.5f}; {dict(sorted(served.items()))}")
        print(router.explain(answer, messages=[{"role": "user", "content": fresh[-1]}]))

        # 5. Replay: what would another version have done with the same requests?
        print(router.replay(spec={"rules": [{"name": "always large", "targets": ["large"]}]}).text())
        best_single = sum(row["scores"]["openai/large"] for row in rows) / len(rows)
        assert right / len(fresh) > best_single - 0.06
        assert job.status == "SUCCESS"


def outcome(text: str, number: int) -> dict[str, Any]:
    """One row of judged outcomes: every model's score on one question."""
    kind, _ = ANSWERS[text]
    scores = {
        f"openai/{name}": float(random.Random(f"{name} {text}").randrange(100) < skill[kind])
        for name, skill in SKILL.items()
    }
    tokens = {"input_tokens": 20, "output_tokens": dict.fromkeys(scores, 6)}
    return {"id": str(number), "task": kind, "prompt": text, "scores": scores, **tokens}


def per_million() -> dict[str, tuple[float, float]]:
    return {f"openai/{name}": (price * 1e6, 4 * price * 1e6) for name, price in PRICE.items()}


if __name__ == "__main__":
    main()
