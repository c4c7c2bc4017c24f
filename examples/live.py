"""The demo's job against real providers, with the keys that are in the environment. It may spend at most ten cents.

Without any key it says which variables to set, and that is all.

    OPENAI_API_KEY=… ANTHROPIC_API_KEY=… python examples/live.py [number of calls]
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from dashboard import Board
from rich.console import Console
from workload import Ask, workload

from router_plugin import Budget, Deployment, Router, install

# Environment variable → models that it opens, each with a guess at how good it is: put in what your account offers.
# Prices and abilities are those that litellm knows; a model it has no price for is left out, because money is bounded.
MODELS: dict[str, list[tuple[str, float]]] = {
    "OPENAI_API_KEY": [("openai/gpt-4o-mini", 0.65), ("openai/gpt-4.1-mini", 0.75)],
    "ANTHROPIC_API_KEY": [("anthropic/claude-haiku-4-5", 0.80), ("anthropic/claude-sonnet-4-6", 0.90)],
    "GEMINI_API_KEY": [("gemini/gemini-2.5-flash-lite", 0.65), ("gemini/gemini-2.5-flash", 0.78)],
    "MISTRAL_API_KEY": [("mistral/mistral-small-latest", 0.68), ("mistral/mistral-medium-latest", 0.78)],
    "DEEPSEEK_API_KEY": [("deepseek/deepseek-v4-flash", 0.80)],
    "GROQ_API_KEY": [("groq/openai/gpt-oss-20b", 0.60), ("groq/openai/gpt-oss-120b", 0.75)],
}
CALLS = 24


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 140)
    found = {variable: models for variable, models in MODELS.items() if os.environ.get(variable)}
    if not found:
        console.print("No key found, so there is nothing to call. Set one or more of these and run it again:\n")
        for variable, models in MODELS.items():
            console.print(f"  {variable:<18} for {', '.join(model for model, _ in models)}", highlight=False)
        console.print("\nThe same job without any key: [bold]make demo[/bold]")
        return 0
    router = Router(
        "demo",
        models=[Deployment(model, quality=quality) for models in found.values() for model, quality in models],
        budgets=[Budget(usd=0.10, per="total", name="this run"), Budget(usd=0.04, per="day", key="user", name="daily")],
        max_cost=0.01,  # USD for any one call, all its attempts together
        willingness_to_pay=0.002,  # USD for a tenth of quality
        midstream="restart",
    )
    asks = choose(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS)
    console.print(f"{len(asks)} calls over {', '.join(d.name for d in router.spec.deployments)}; importing litellm …\n")
    return run_them(router, asks, console)


def choose(count: int) -> list[Ask]:
    """Calls of the demo's workload, with short answers. Left out: pictures of one pixel, and the demo's own models."""
    fitting = [a for a in workload() if a.topic != "picture" and not ("brook" in a.model or "fjord" in a.model)]
    return [replace(ask, kwargs={"max_tokens": 300, **ask.kwargs, "timeout": 60}) for ask in fitting[:count]]


def run_them(router: Router, asks: list[Ask], console: Console) -> int:
    from demo import quiet_litellm, show_three
    from runner import run

    quiet_litellm()
    board = Board(router, len(asks), {}, console)
    with install(router), board.live():
        run(asks, board)
    console.print()
    for table in (board.deployments(), board.people(), board.refusals()):
        console.print(table, "")
    show_three(router, board)
    reserved = sum(record["reserved_usd"] for record in router.budgets())
    console.print(f"left reserved: ${reserved:.6f}", highlight=False)
    return 0 if reserved == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
