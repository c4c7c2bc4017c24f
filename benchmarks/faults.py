"""Faults: what callers see when providers fail, slow down, hang and limit, in virtual time.

``python benchmarks/faults.py`` runs every world over several seeds with this router's modes (balanced, cheapest within
the SLO, fastest, and balanced on a budget of half of what the traffic costs; these as streams; and fastest with whole
answers, as litellm.Router's rows are), with litellm.Router's strategies (each run in a process of its own) and with an
oracle that sees the faults, prints a table of means over seeds for each world, and writes JSON.
 ``--quick`` leaves litellm out and takes three seeds; ``--worlds mixed,pair`` some worlds only.

SLO: first token within 5 s, the whole answer within 15 s. Goodput is the share of calls answered within it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from faults_litellm import STRATEGIES
from faults_ours import MODES, Runner, oracle, ours
from faults_table import mean, summary
from faults_world import make
from rich.console import Console
from rich.table import Table

from router_plugin.testing.virtual_time import run

HERE = Path(__file__).resolve().parent
WORLDS = ("mixed", "storm", "tight", "pair", "calm")
COLUMNS = (
    ("success", "success %", ".3f"),
    ("goodput", "goodput %", ".2f"),
    ("ttft_p50", "TTFT p50", ".2f"),
    ("ttft_p95", "p95", ".2f"),
    ("ttft_p99", "p99", ".2f"),
    ("total_p50", "total p50", ".2f"),
    ("total_p95", "p95", ".2f"),
    ("total_p99", "p99", ".2f"),
    ("attempts", "attempts", ".3f"),
    ("429_provider", "429 at provider", ".1f"),
    ("429_caller", "at caller", ".1f"),
    ("dead_share", "to the dead %", ".2f"),
    ("outage_requests", "an outage", ".1f"),
    ("hang_requests", "a hang", ".1f"),
    ("recovery", "recovery s", ".1f"),
    ("cost", "USD", ".3f"),
    ("overspent", "overspend", ".6f"),
)


def inside(runner: Runner, kind: str, seed: int, minutes: float, rate: float, mode: str) -> dict[str, float]:
    """One run in this process."""
    world = make(kind, seed, minutes, rate)
    return summary(world, run(lambda clock: runner(world, clock, mode)))


def outside(kind: str, seed: int, minutes: float, rate: float, strategy: str) -> dict[str, float] | None:
    """One run of litellm.Router, in a process of its own; None where it did not come to an end."""
    command = [sys.executable, str(HERE / "faults_litellm.py"), kind, str(seed), str(minutes), str(rate), strategy]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    except subprocess.TimeoutExpired:
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else None


def measure(kind: str, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Means over the seeds, by who routed."""
    rows: dict[str, dict[str, float]] = {}
    size = (args.minutes, args.rate)
    for mode in MODES:
        rows[mode] = mean([inside(ours, kind, seed, *size, mode) for seed in range(args.seeds)])
    if not args.quick:
        with ThreadPoolExecutor(2) as pool:
            jobs = {
                strategy: [pool.submit(outside, kind, seed, *size, strategy) for seed in range(args.peer_seeds)]
                for strategy in STRATEGIES
            }
            for strategy, futures in jobs.items():
                found = [row for future in futures if (row := future.result()) is not None]
                if found:
                    rows[f"litellm {strategy}"] = {
                        **mean(found),
                        "ttft_p50": math.nan,
                        "ttft_p95": math.nan,
                        "ttft_p99": math.nan,
                    }
    for mode in ("fastest", "cheapest"):
        rows[f"oracle {mode}"] = mean([inside(oracle, kind, seed, *size, mode) for seed in range(args.seeds)])
    return rows


def show(console: Console, kind: str, rows: dict[str, dict[str, float]]) -> None:
    table = Table(title=f"world {kind!r}: {rows['balanced']['calls']:.0f} calls a seed", title_justify="left")
    table.add_column("")
    for _, title, _ in COLUMNS:
        table.add_column(title, justify="right")
    for name, row in rows.items():
        cells = ["–" if math.isnan(row[key]) else format(row[key], form) for key, _, form in COLUMNS]
        table.add_row(name, *cells)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="What callers see when providers fail, in virtual time.")
    parser.add_argument("--quick", action="store_true", help="three seeds, without litellm.Router")
    parser.add_argument("--worlds", default=",".join(WORLDS), help="comma-separated")
    parser.add_argument("--seeds", type=int, default=None, help="seeds of ours and of the oracle (10)")
    parser.add_argument("--peer-seeds", type=int, default=1, help="seeds of litellm.Router, which is slower (1)")
    parser.add_argument("--minutes", type=float, default=60.0, help="virtual minutes a run")
    parser.add_argument("--rate", type=float, default=4.0, help="requests a second")
    parser.add_argument("--json", type=Path, default=HERE / "out" / "faults.json")
    args = parser.parse_args()
    args.seeds = args.seeds or (3 if args.quick else 10)
    console, began, found = Console(width=200), time.time(), {}
    for kind in args.worlds.split(","):
        found[kind] = measure(kind, args)
        show(console, kind, found[kind])
    args.json.parent.mkdir(exist_ok=True)
    data: dict[str, Any] = {"minutes": args.minutes, "rate": args.rate, "seeds": args.seeds, "worlds": found}
    args.json.write_text(json.dumps(data, indent=1))
    console.print(f"{time.time() - began:.1f} s; written to {args.json}")


if __name__ == "__main__":
    main()
