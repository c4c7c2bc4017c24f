"""What has happened so far, as tables: live in a terminal, now and then a line where the output is not a terminal.

Used by ``demo.py`` and ``live.py``. All figures come from what any program can ask for: ``RouteResult.of(…)`` of each
answer or exception, ``router.stats()`` and ``router.budgets()``.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter, defaultdict, deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from router_plugin import BudgetExceededError, NoCandidateError, Router, RouteResult
from router_plugin.records import AttemptRecord

Status = Literal["answered", "refused", "failed", "broken"]
STYLES: dict[Status, str] = {"answered": "green", "refused": "yellow", "failed": "red", "broken": "red"}
KINDS = {"server": "500", "rate_limit": "429", "timeout": "late", "connection": "cut", "bad_answer": "cut"}


@dataclass
class Outcome:
    """How one call ended. ``restarts`` counts how often a stream began anew at another deployment."""

    user: str
    topic: str
    asked: str
    status: Status
    result: RouteResult | None
    answer: Any  # the response, stream or exception
    seconds: float
    restarts: int = 0

    @property
    def attempts(self) -> list[AttemptRecord]:
        return self.result.attempts if self.result is not None else []

    @property
    def ranking(self) -> list[str]:
        return self.result.ranking if self.result is not None else []


class Board:
    """Collects outcomes, from any thread, and draws them."""

    def __init__(self, router: Router, total: int, moods: dict[str, str], console: Console | None = None) -> None:
        self.console = console or Console()
        self.outcomes: list[Outcome] = []
        self._router, self._total, self._moods = router, total, moods
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._news: deque[Text] = deque(maxlen=12)
        self._every = max(1, total // 8)

    def live(self) -> AbstractContextManager[Any]:
        """Draw while the ``with`` lasts; does nothing where nobody watches."""
        if not self.console.is_terminal:
            return nullcontext()
        return Live(get_renderable=self.render, console=self.console, refresh_per_second=8, transient=True)

    def add(self, outcome: Outcome) -> None:
        with self._lock:
            self.outcomes.append(outcome)
            done = len(self.outcomes)
            news = headline(outcome)
            if news is not None:
                self._news.append(news)
        if not self.console.is_terminal and (done % self._every == 0 or done == self._total):
            self.console.print(self.summary())

    def render(self) -> Group:
        """Everything; of the news as many lines as there is room for."""
        deployments, people = self.deployments(), self.people()
        room = self.console.height - deployments.row_count - people.row_count - 11
        with self._lock:
            news = list(self._news)[-room:] if room > 0 else []
        return Group(self.summary(), "", deployments, "", people, "", *news)

    # ----------------------------------------------------------------- the parts

    def summary(self) -> Text:
        counts = Counter(outcome.status for outcome in list(self.outcomes))
        saved = sum(1 for outcome in list(self.outcomes) if outcome.status == "answered" and detours(outcome))
        line = Text(f"{sum(counts.values())}/{self._total} calls", style="bold")
        line.append(f" in {time.monotonic() - self._started:.1f} s", style="dim")
        for status, style in STYLES.items():
            if counts[status]:
                line.append(f" · {counts[status]} {status}", style=style)
        if saved:
            line.append(f" · {saved} of them after a retry or fallback", style="cyan")
        return line

    def deployments(self) -> Table:
        wide = self.console.width >= 115
        columns: dict[str, bool] = {
            "deployment": True,
            "mood": wide and bool(self._moods),
            "answers": True,
            "failed": True,
        }
        columns |= {"took over>": wide, "median>": True, "1st token>": wide, "spent>": True, "state": wide}
        table = plain_table("Deployments", [name for name, shown in columns.items() if shown])
        rows, stats = self._by_deployment(), self._router.stats()
        answered = sum(row.answers for row in rows.values()) or 1
        for name, record in stats.items():
            row = rows[name]
            cells: list[str | Text] = [
                name,
                Text(self._moods.get(name, ""), style="dim"),
                bar(row.answers / answered, width=10).append(f" {row.answers:>3}", style="default"),
                Text(", ".join(f"{n}×{KINDS.get(kind, kind)}" for kind, n in row.failures.most_common()), style="red"),
                str(row.took_over or ""),
                ms(row.latencies),
                ms(row.first_tokens),
                f"${record['cost_usd']:.4f}",
                Text(f"rests {record['cooling_s']:.1f} s", style="yellow") if record["state"] == "cooling" else "ok",
            ]
            table.add_row(*(cell for cell, shown in zip(cells, columns.values(), strict=True) if shown))
        return table

    def people(self) -> Table:
        table = plain_table("Budgets", ["budget", "of", "calls>", "refused>", "spent>", "and reserved", "left>"])
        calls = Counter(outcome.user for outcome in list(self.outcomes))
        refused = Counter(outcome.user for outcome in list(self.outcomes) if outcome.status == "refused")
        for record in sorted(self._router.budgets(), key=lambda record: (record["key"] is None, str(record["key"]))):
            key = record["key"]
            used = record["settled_usd"] / record["limit_usd"]
            held = record["reserved_usd"] / record["limit_usd"]
            table.add_row(
                record["name"],
                str(key or "everybody"),
                str(calls[key] if key else calls.total()),
                str((refused[key] if key else refused.total()) or ""),
                f"${record['settled_usd']:.4f} of ${record['limit_usd']:.2f}",
                bar(used, held, 20 if self.console.width >= 100 else 10),
                f"${record['left_usd']:.4f}",
            )
        return table

    def refusals(self) -> Table:
        """Why calls were not even begun: each kind of reason with an example."""
        table = plain_table("Refused before anything was sent", ["calls", "who", "because"])
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for outcome in list(self.outcomes):
            if outcome.status == "refused":
                found[outcome.user, type(outcome.answer).__name__].append(shortly(outcome.answer))
        for (user, _), reasons in sorted(found.items()):
            table.add_row(str(len(reasons)), user, reasons[0])
        return table

    def _by_deployment(self) -> dict[str, Row]:
        rows: dict[str, Row] = defaultdict(Row)
        for outcome in list(self.outcomes):
            before: set[str] = set()
            for attempt in outcome.attempts:
                rows[attempt.deployment].add(attempt, moved=bool(before - {attempt.deployment}))
                before.add(attempt.deployment)
        return rows


class Row:
    """One deployment's line."""

    def __init__(self) -> None:
        self.answers = self.took_over = 0
        self.failures: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.first_tokens: list[float] = []

    def add(self, attempt: AttemptRecord, moved: bool) -> None:
        if attempt.error is not None:
            self.failures[attempt.error.partition(":")[0]] += 1
        elif attempt.outcome == "answered":
            self.answers += 1
            self.took_over += moved
            self.latencies.append(attempt.latency_ms or 0.0)
            if attempt.ttft_ms is not None:
                self.first_tokens.append(attempt.ttft_ms)


# --------------------------------------------------------------------------- small things


def plain_table(title: str, columns: list[str]) -> Table:
    """A table without much ink; columns whose name ends in ``>`` are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False)
    table.padding = (0, 1, 0, 0)
    for name in columns:
        table.add_column(name.rstrip(">"), justify="right" if name.endswith(">") else "left")
    return table


def shortly(error: Any) -> str:
    """An exception in one line: a budget's own words, or how many models were left out for what, with an example."""
    if isinstance(error, BudgetExceededError):
        return f"budget {error.budget!r}: ${error.spent_usd:.4f} of ${error.limit_usd:.2f} are spent or reserved"
    if not isinstance(error, NoCandidateError):
        return str(error).partition("\n")[0] or type(error).__name__
    reasons = Counter(reason.partition(":")[0] for reason in error.rejected.values())
    often = reasons.most_common(1)[0][0]
    name, reason = next(item for item in error.rejected.items() if item[1].startswith(often))
    return ", ".join(f"{n}× {code}" for code, n in reasons.most_common()) + f"; {name}: {reason.partition(': ')[2]}"


def detours(outcome: Outcome) -> list[str]:
    """The attempts before the one that answered, in words."""
    return [f"{a.deployment} {KINDS.get(a.error.partition(':')[0], a.error)}" for a in outcome.attempts if a.error]


def headline(outcome: Outcome) -> Text | None:
    """One line about a call that did not go straight; None for the others."""
    line = Text(f"{outcome.user:<6} {outcome.topic:<15} ", style="dim", no_wrap=True, overflow="ellipsis")
    if outcome.status == "answered":
        steps = detours(outcome)
        if not steps:
            return None
        line.append(" → ".join(steps), style="red")
        line.append(f" → {outcome.result.deployment if outcome.result else '?'}", style="green")
        line.append(" (the stream began anew)" if outcome.restarts else "", style="dim")
        return line
    line.append(f"{outcome.status}: ", style=STYLES[outcome.status])
    line.append(shortly(outcome.answer))
    return line


def bar(share: float, held: float = 0.0, width: int = 16) -> Text:
    """A bar of ``share`` (and ``held`` beside it, lighter), both in 0..1."""
    full = round(min(1.0, share) * width)
    light = min(width - full, round(held * width))
    text = Text("█" * full, style="green" if share < 0.9 else "red")
    text.append("▒" * light, style="yellow")
    return text.append("·" * (width - full - light), style="dim")


def ms(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ms" if values else ""
