"""What is counted of one run, and the means over seeds."""

from __future__ import annotations

import math
import statistics
from typing import Any

from faults_world import World


def percentile(values: list[float], share: float) -> float:
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else math.nan


def summary(world: World, outcome: Any) -> dict[str, float]:
    """The figures of one run: shares in %, times in seconds, cost in USD."""
    seen, calls = list(world.seen.values()), max(1, outcome.calls)
    deaths = world.deaths()
    outages = [asked for kind, asked, _ in deaths if kind == "outage"]
    hangs = [asked for kind, asked, _ in deaths if kind == "hang"]
    back = [after for _, _, after in deaths if after is not None]
    return {
        "calls": outcome.calls,
        "success": 100 * outcome.answered / calls,
        "goodput": 100 * outcome.good / calls,
        "ttft_p50": percentile(outcome.ttft, 0.5),
        "ttft_p95": percentile(outcome.ttft, 0.95),
        "ttft_p99": percentile(outcome.ttft, 0.99),
        "total_p50": percentile(outcome.total, 0.5),
        "total_p95": percentile(outcome.total, 0.95),
        "total_p99": percentile(outcome.total, 0.99),
        "attempts": sum(one.requests for one in seen) / calls,
        "429_provider": sum(one.refused for one in seen),
        "429_caller": outcome.limited,
        "dead_share": 100 * sum(one.dead for one in seen) / max(1, sum(one.requests for one in seen)),
        "outage_requests": statistics.fmean(outages) if outages else math.nan,
        "hang_requests": statistics.fmean(hangs) if hangs else math.nan,
        "recovery": statistics.fmean(back) if back else math.nan,
        "cost": sum(one.cost for one in seen),
        "overspent": outcome.overspent,
    }


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    """Of every figure the mean over the runs that have it."""
    known = {name: [row[name] for row in rows if not math.isnan(row[name])] for name in rows[0]}
    return {name: statistics.fmean(values) if values else math.nan for name, values in known.items()}
