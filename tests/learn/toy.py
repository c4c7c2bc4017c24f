"""A small self-made table: two models, one good at sums and one at stories, and a cheap one that is good at neither."""

from __future__ import annotations

import random
from typing import Any

MODELS = ("adder", "teller", "cheap")
_NOUNS = ["dragon", "river", "castle", "garden", "winter", "letter", "sailor", "forest", "mirror", "bridge"]
_VERBS = ["compute", "evaluate", "solve", "determine", "calculate", "simplify"]


def judged(n: int = 240, seed: int = 0, tokens: bool = True) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for i in range(n):
        sums = draw.random() < 0.5
        if sums:
            a, b, word = draw.randint(2, 99), draw.randint(2, 99), draw.choice(_NOUNS)
            prompt = f"{draw.choice(_VERBS).title()} the value of {a} * {b} + {a} for {word} number {i}."
        else:
            words = " and the ".join(draw.sample(_NOUNS, 3))
            prompt = f"Write a short story about the {words}, told by somebody who was there ({i})."
        chance = (0.9, 0.3, 0.25) if sums else (0.35, 0.9, 0.3)
        row: dict[str, Any] = {
            "id": str(i),
            "task": "sums" if sums else "stories",
            "prompt": prompt,
            "scores": {m: float(draw.random() < c) for m, c in zip(MODELS, chance, strict=True)},
        }
        if tokens:
            row["input_tokens"] = 20
            base = 30 if sums else 400
            row["output_tokens"] = {m: base + draw.randint(0, 20) + 10 * k for k, m in enumerate(MODELS)}
        rows.append(row)
    return rows
