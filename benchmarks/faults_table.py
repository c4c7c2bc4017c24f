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
        "cost": sum(one.cost for one in seen),
        "overspent": outcome.overspent,
    }


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}
