"""Tables for quality.py: read from a folder, or made up; and splits that let nothing leak."""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from router_plugin.learn.outcomes.rows import group_key

Rows = list[dict[str, Any]]
Prices = dict[str, tuple[float, float]]


def read_table(folder: Path, name: str) -> Rows:
    """One table: ``NAME.jsonl.gz`` or ``NAME.jsonl``."""
    path = folder / f"{name}.jsonl.gz"
    with gzip.open(path, "rt") if path.exists() else open(folder / f"{name}.jsonl") as file:
        return [json.loads(line) for line in file]


def table_names(folder: Path) -> list[str]:
    """The tables in a folder."""
    return sorted({path.name.split(".")[0] for path in folder.glob("*.jsonl*")})


def read_prices(folder: Path) -> Prices:
    """``prices.csv``: model, usd_per_m_input, usd_per_m_output."""
    path = folder / "prices.csv"
    if not path.exists():
        return {}
    with open(path) as file:
        return {
            row["model"]: (float(row["usd_per_m_input"]), float(row["usd_per_m_output"]))
            for row in csv.DictReader(file)
        }


def priced(rows: Rows, prices: Prices) -> Rows:
    """The rows with only the priced models of which tokens are known."""
    out = []
    for row in rows:
        known = [m for m in row["scores"] if m in prices and (row.get("output_tokens") or {}).get(m) is not None]
        kept = {m: row["scores"][m] for m in known}
        if kept and row.get("input_tokens"):
            out.append(dict(row, scores=kept, output_tokens={m: row["output_tokens"][m] for m in known}))
    return out


def folds(rows: Rows, hands: int, seed: int) -> list[np.ndarray[Any, Any]]:
    """The rows' numbers in so many folds; duplicates and instances of a template share one."""
    order: dict[str, int] = {}
    groups = [order.setdefault(group_key(row["prompt"]), len(order)) for row in rows]
    dealt = np.random.default_rng(seed).permutation(len(order)) % hands
    hand = dealt[groups]
    return [np.flatnonzero(hand == k) for k in range(hands)]


def split(rows: Rows, test: Sequence[int] | np.ndarray[Any, Any]) -> tuple[Rows, Rows]:
    """(train, test)."""
    inside = {int(i) for i in test}
    return [r for i, r in enumerate(rows) if i not in inside], [rows[i] for i in sorted(inside)]


def by_task(rows: Rows, fewest: int = 30) -> Iterator[tuple[str, Rows, Rows]]:
    """(task, train, test) for every task; prompts of the task that others share are on the test side only."""
    tasks: dict[str, Rows] = {}
    for row in rows:
        tasks.setdefault(row.get("task") or "", []).append(row)
    for task, test in tasks.items():
        if len(test) >= fewest and len(tasks) > 2:
            keys = {group_key(row["prompt"]) for row in test}
            yield task, [r for r in rows if r.get("task") != task and group_key(r["prompt"]) not in keys], test


def without_twins(rows: Rows, others: Rows) -> Rows:
    """The rows whose first 90 letters and digits no row of ``others`` shares."""
    seen = {_opening(row) for row in others}
    return [row for row in rows if _opening(row) not in seen]


def _opening(row: dict[str, Any]) -> str:
    return re.sub(r"[^a-z0-9]", "", str(row["prompt"]).lower())[:90]


def tiers(rows: Rows) -> Rows:
    """The rows with two models: "strong", the mean of the best third; "weak", that of the middle third."""
    sums: dict[str, list[float]] = {}
    for row in rows:
        for model, score in row["scores"].items():
            sums.setdefault(model, []).append(score)
    order = sorted(sums, key=lambda model: float(np.mean(sums[model])))
    third = max(1, len(order) // 3)
    low, high = set(order[third : 2 * third]), set(order[-third:])
    out = []
    for row in rows:
        strong, weak = ([s for m, s in row["scores"].items() if m in tier] for tier in (high, low))
        if strong and weak:
            out.append(dict(row, scores={"strong": float(np.mean(strong)), "weak": float(np.mean(weak))}))
    return out


def made_up(n: int = 1_500, seed: int = 0) -> tuple[Rows, Prices]:
    """A small table of our own: four kinds of prompts, four models with different strengths and prices."""
    draw = random.Random(seed)
    nouns = ["dragon", "river", "castle", "garden", "winter", "letter", "sailor", "forest", "mirror"]
    kinds = {
        "sums": ("Compute {a} * {b} + {a} for the {x}.", (0.9, 0.55, 0.3, 0.75)),
        "stories": ("Write a short story about the {x} and the {y}.", (0.85, 0.8, 0.75, 0.3)),
        "facts": ("Which {x} is mentioned first in chapter {a} of the book about the {y}?", (0.8, 0.5, 0.35, 0.3)),
        "code": ("def find_{x}(items): # return the {y} at index {a}", (0.9, 0.6, 0.25, 0.85)),
    }
    models, rows = ("large", "medium", "small", "coder"), []
    for i in range(n):
        task = draw.choice(list(kinds))
        text, skill = kinds[task]
        hard = draw.random()
        x, y = draw.sample(nouns, 2)
        more = " Explain every step, however small it may seem." * int(4 * hard)
        scores = {m: float(draw.random() < s * (1.25 - 0.5 * hard)) for m, s in zip(models, skill, strict=True)}
        tokens = {m: int((40 + 400 * (task == "stories")) * (1 + hard)) + 10 * k for k, m in enumerate(models)}
        prompt = text.format(a=draw.randint(2, 99), b=draw.randint(2, 99), x=x, y=y) + more + f" ({i})"
        rows.append({"id": str(i), "task": task, "prompt": prompt, "scores": scores, "output_tokens": tokens})
        rows[-1]["input_tokens"] = len(prompt) // 4
    return rows, {"large": (5.0, 15.0), "medium": (1.0, 3.0), "small": (0.1, 0.3), "coder": (0.5, 1.5)}
