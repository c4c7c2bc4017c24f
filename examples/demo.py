"""The main job, without a key: 320 questions of six people, routed over six moody models, within budgets.

Nothing here is special to the demo: ``install(router)`` once, and then plain ``litellm.completion`` and
``litellm.acompletion``, whole and streamed, from threads and tasks. The models are servers on 127.0.0.1
(``providers.py``), the questions were written for it (``workload.py``), the tables are ``dashboard.py``.

    python examples/demo.py [number of calls]
"""

from __future__ import annotations

import logging
import os
import sys

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # litellm: do not download prices when imported

from dashboard import Board, plain_table
from providers import MODELS, Town, providers
from rich.console import Console
from runner import run, warm_up
from workload import workload

from router_plugin import Budget, Router, install

CALLS = 320
INTRODUCTION = (
    "[bold]router_plugin[/bold]: plain litellm calls, routed in-process. No key and no network are needed.\n\n"
    "Six people ask six models on four servers of this machine, some of them moody. Everybody may spend $0.10 a day, "
    "all together $0.50 a month, and no call may cost more than $0.02. One moment, litellm is being imported …\n"
)


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(INTRODUCTION)
    quiet_litellm()
    warm_up()
    asks = workload(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS)
    with providers() as town:
        router = Router(
            "demo",
            models=town.deployments,
            budgets=[
                Budget(usd=0.10, per="day", key="user", name="daily"),
                Budget(usd=0.50, per="month", name="monthly"),
            ],
            max_cost=0.02,  # USD for any one call, all its attempts together
            willingness_to_pay=0.0025,  # USD for a tenth of quality; without it: always the best model
            midstream="restart",  # a stream that breaks begins anew at the next model
        )
        board = Board(router, len(asks), {model.name: model.mood for model in MODELS}, console)
        with install(router), board.live():
            run(asks, board)
        if console.is_terminal:
            console.print(board.summary())
        console.print()
        for table in (board.deployments(), board.people(), board.refusals()):
            console.print(table, "")
        show_three(router, board)
        return check_books(router, town, console)


def quiet_litellm() -> None:
    """litellm prints advice on every failed attempt; here failures are part of the plan. Ours stay audible."""
    import litellm

    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)


def show_three(router: Router, board: Board) -> None:
    """The explanation of a plain call, of one that had to fall back, and of one that was refused."""
    answered = [outcome for outcome in board.outcomes if outcome.status == "answered"]
    straight = [outcome for outcome in answered if len(outcome.attempts) == 1]
    moved = [outcome for outcome in answered if len(outcome.attempts) > 1]
    refused = [outcome for outcome in board.outcomes if outcome.status == "refused" and "max_cost" in outcome.asked]
    chosen = {
        # With a picture, so that some models are left out for what they cannot do.
        "A plain call": max(straight, key=lambda o: (o.topic == "picture", len(o.ranking)), default=None),
        "One that fell back": max(moved, key=lambda o: (len(o.attempts), -o.seconds), default=None),
        "One that was refused": next(iter(refused), None),
    }
    for title, outcome in chosen.items():
        if outcome is not None:
            what = f"[bold]{title}[/bold]: {outcome.user} on {outcome.topic}, by {outcome.asked}"
            board.console.rule(what, align="left")
            board.console.print(router.explain(outcome.answer) + "\n", highlight=False, markup=False, soft_wrap=True)


def check_books(router: Router, town: Town, console: Console) -> int:
    """Nothing may be left reserved, and what the router settled must be what the providers would bill."""
    quiet = town.settled()
    stats = router.stats()
    columns = ["deployment", "requests served>", "broken off>", "billed by the provider>", "settled by the router>"]
    table = plain_table("The books", columns)
    for name, meter in town.meters.items():
        books = f"${meter.usd:.6f}", f"${stats[name]['cost_usd']:.6f}"
        table.add_row(name, str(meter.answers), str(meter.broken or ""), *books)
    billed = sum(meter.usd for meter in town.meters.values())
    settled = next(record["settled_usd"] for record in router.budgets() if record["key"] is None)
    reserved = sum(record["reserved_usd"] for record in router.budgets())
    table.add_section()
    table.add_row("all", "", "", f"${billed:.6f}", f"${settled:.6f}")
    console.print(table)
    over = [record for record in router.budgets() if record["settled_usd"] > record["limit_usd"]]
    console.print(
        "\nAttempts that broke off or came too late bring no usage: there the router estimates.\n", style="dim"
    )
    checks = {
        f"nothing is left reserved: ${reserved:.6f}": quiet and reserved == 0,
        f"both sets of books agree within a cent: they differ by ${abs(billed - settled):.6f}": abs(billed - settled)
        < 0.01,
        f"no budget is overspent: {len(over)} of {len(router.budgets())}": not over,
    }
    for words, good in checks.items():
        console.print(f"[green]✔[/green] {words}" if good else f"[red]✘[/red] {words}", highlight=False)
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
