"""What the predictor is worth: ``python benchmarks/quality.py [--data DIR] [--quick] [--json FILE]``.

For every table (DIR/NAME.jsonl.gz; without --data a small made-up one): grouped splits, several seeds, ours beside
random, prompt length alone, the models' means, the best and the cheapest single model, and the oracle. Two models:
APGR, CPT(50), CPT(80) (RouteLLM); priced models: AIQ, AIQ_norm, CostSave (RouterBench, LLMRouterBench). Then learning
curves, leave one task out, out of domain (other tables, other subjects); and what each learner is worth alone, on one
split. Every choice for a table is made inside ``fit``, on its training side, and the sense of hardness that it leans on
comes from the other tables, without twins. The learner's own constants were compared on parts of the three public
tables of fit_foundation.py while it was written, so figures on other tables say more.
Published on the same pair, 5-shot MMLU: best trained on Arena data alone APGR .524, best augmented (1,531 MMLU labels)
.603; those routers never saw the rest of the test distribution, ours in 5-fold rows did: compare with the rows of 1,531
labels and of "out of domain".
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from quality_data import (
    Prices,
    Rows,
    folds,
    made_up,
    priced,
    read_prices,
    read_table,
    split,
    table_names,
    without_twins,
)
from quality_rows import Line, length_scores, means_of, measure, print_line, show_head
from quality_tests import (
    across_subjects,
    each_learner,
    foundation_without,
    learning_curve,
    leave_one_task_out,
    out_of_domain,
)

from router_plugin.learn import fit
from router_plugin.learn.serving.foundation import Foundation

SIZES = (50, 100, 250, 300, 500, 1_000, 1_531, 5_000)


def in_domain(name: str, rows: Rows, prices: Prices, seeds: int, foundation: Foundation) -> list[Line]:
    """5 folds for two models, 70/30 for more; every fold and seed is one measurement."""
    pair = len({m for row in rows for m in row["scores"]}) == 2
    table = rows if pair else (priced(rows, prices) or rows)
    found: dict[str, list[Any]] = {}
    seconds, moments, size = [], [], 0.0
    for seed in range(seeds):
        hands = folds(table, 5 if pair else 10, seed)
        tests = hands if pair else [np.concatenate(hands[:3])]
        for test in tests:
            train, held = split(table, test)
            begin = time.perf_counter()
            predictor = fit(train, seed=seed, foundation=foundation)
            seconds.append(time.perf_counter() - begin)
            found.setdefault("random mix", []).append(measure(np.random.default_rng(seed), held, prices))
            found.setdefault("prompt length alone", []).append(measure(length_scores(held), held, prices))
            found.setdefault("means (best single)", []).append(measure(means_of(predictor), held, prices))
            found.setdefault("ours", []).append(measure(predictor, held, prices))
            if test is tests[0] and not seed:
                for label, one in each_learner(train, foundation, seed).items():
                    found.setdefault(f"{label} (one split)", []).append(measure(one, held, prices))
            moments.append(decision_us(predictor, held))
            with tempfile.TemporaryDirectory() as folder:
                predictor.save(folder)
                size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
    print(f"   fit {np.mean(seconds):.1f} s; {np.median(moments):.0f} µs a decision; artefact {size:.2f} MB")
    return [Line(name, "in domain", label, values) for label, values in found.items()]


def decision_us(predictor: Any, rows: Rows, most: int = 200) -> float:
    """Microseconds for one request and all models."""
    from router_plugin.records import Request

    asked = [
        Request(0, 1, 1, 1, None, 1, False, messages=[{"role": "user", "content": str(r["prompt"])}]) for r in rows
    ]
    asked = asked[:most]
    models = list(predictor.models)
    begin = time.perf_counter()
    for request in asked:
        predictor.score(request, models)
    return (time.perf_counter() - begin) / max(1, len(asked)) * 1e6


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of NAME.jsonl.gz and prices.csv")
    parser.add_argument(
        "--only", nargs="*", default=[], help="names of tables, or of parts: domain curve tasks foreign"
    )
    parser.add_argument("--quick", action="store_true", help="one seed, two sizes, three tasks")
    parser.add_argument("--json", type=Path, help="write every figure here as well")
    args = parser.parse_args()
    if args.data:
        tables, prices = {n: read_table(args.data, n) for n in table_names(args.data)}, read_prices(args.data)
    else:
        rows, prices = made_up(400 if args.quick else 1_500)
        tables = {"made up": rows}
    parts = {"domain", "curve", "tasks", "foreign"}
    wanted = parts & set(args.only) or parts
    chosen = set(args.only) - parts
    lines: list[Line] = []

    def add(more: list[Line]) -> None:
        for line in more:
            print_line(line)
        lines.extend(more)
        sys.stdout.flush()

    for name, rows in tables.items():
        if chosen and name not in chosen:
            continue
        show_head(name, rows)
        others = {n: table for n, table in tables.items() if n != name}
        blind = foundation_without(rows, others)
        if "domain" in wanted:
            add(in_domain(name, rows, prices, 1 if args.quick else 3, blind))
        if "curve" in wanted:
            add(learning_curve(name, rows, prices, (50, 250) if args.quick else SIZES, 1 if args.quick else 5, blind))
        if "tasks" in wanted:
            add(leave_one_task_out(name, rows, prices, 3 if args.quick else 100, blind))
    if "foreign" in wanted:
        for name, rows in tables.items():
            others = {n: without_twins(t, rows) for n, t in tables.items() if n != name}
            if others and (not chosen or name in chosen):
                add(out_of_domain(name, rows, others))
                if not args.quick:
                    add(across_subjects(name, rows, prices, foundation_without(rows, others)))
    if args.json:
        args.json.write_text(json.dumps([line.as_dict() for line in lines], indent=1))


if __name__ == "__main__":
    main()
