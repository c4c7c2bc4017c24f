"""The result of a run as tables, with the aims beside the figures. rich where it is installed, else plain text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Row = tuple[str, ...]
AIMS = {
    "calls": "aims at 20 deployments, 3 budgets: ≤ 1.01× the calls, ≤ 1.02× the time",
    "chunks": "aims: ≤ 3 calls and 1.5 µs a chunk",
    "passthrough": "aim: ≤ 3 µs",
    "decide": "aims: p50 ≤ 25 µs at 20 candidates, ≤ 0.6 µs for each further one",
    "import": "aim: import router_plugin ≤ 20 ms",
    "construct": "aim: 5,000 deployments ≤ 100 ms",
    "memory": "aim: flat",
}


def show(result: dict[str, Any]) -> None:
    """Print every section that is in ``result``."""
    for name, make in _TABLES.items():
        if name in result:
            title, header, rows = make(result[name])
            _print(f"{title}  [{AIMS[name]}]" if name in AIMS else title, header, rows)


def _print(title: str, header: Row, rows: list[Row]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        print(f"\n{title}")
        for row in [header, *rows]:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    table = Table(title=Text(title), title_justify="left")
    for number, name in enumerate(header):
        table.add_column(Text(name), justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    console.width = max(console.width, 150)
    console.print(table)


def _time(row: dict[str, Any]) -> Row:
    time = row.get("time")
    if not time:
        return ("–", "–", "–", "–")
    low, high = time["ratio_95"]
    return (f"{time['ratio']:.3f}×", f"{low:.3f}–{high:.3f}", f"{time['extra_us']:+.0f}", f"{time['cpu_ratio']:.3f}×")


def _calls(rows: list[dict[str, Any]]) -> tuple[str, Row, list[Row]]:
    header = ("mode", "deployments", "", "against", "bare", "calls", "ratio", "ours", "time", "95 %", "µs", "CPU")
    return (
        "a. routed call against bare litellm: function calls and time",
        header,
        [
            (
                row["mode"],
                str(row["deployments"]),
                row["what"],
                row["baseline"],
                f"{row['bare_calls']:,}",
                f"{row['calls']:,}",
                f"{row['calls_ratio']:.4f}×",
                str(row["calls_in_package"]),
                *_time(row),
            )
            for row in rows
        ],
    )


def _variants(rows: list[dict[str, Any]]) -> tuple[str, Row, list[Row]]:
    header = ("sync, 20 deployments", "extra calls", "ratio")
    return (
        "a2. other ways to call the router",
        header,
        [(row["way"], str(row["extra_calls"]), f"{row['calls_ratio']:.4f}×") for row in rows],
    )


def _peer(strategies: dict[str, Any]) -> tuple[str, Row, list[Row]]:
    header = ("strategy", "mode", "deployments", "bare", "its calls", "ratio", "time", "95 %", "µs", "CPU", "made in")
    rows = []
    for strategy, found in strategies.items():
        for row in found["rows"]:
            calls = (f"{row['calls']:,}", f"{row['calls_ratio']:.2f}×") if "calls" in row else ("–", "–")
            last = f"{row['made_s']:.2f} s" if "error" not in row else row["error"].split(":")[0]
            place = (strategy, row["mode"], str(row["deployments"]), f"{row['bare_calls']:,}")
            rows.append((*place, *calls, *_time(row), last))
    return "b. litellm.Router against bare litellm", header, rows


def _decide(found: dict[str, Any]) -> tuple[str, Row, list[Row]]:
    sizes = list(found["rows"][0]["p50_us"])
    header = ("µs: p50 (p95)", *(f"{n} candidates" for n in sizes), "each further")
    rows = [
        (
            row["case"],
            *(f"{row['p50_us'][n]:.1f} ({row['p95_us'][n]:.1f})" for n in sizes),
            f"{row['further_us']:.2f}",
        )
        for row in found["rows"]
    ]
    title = f"c. router.route(); a call of an empty Python function took {found['python_call_ns']:.0f} ns meanwhile"
    return title, header, rows


def _chunks(rows: list[dict[str, Any]]) -> tuple[str, Row, list[Row]]:
    header = ("mode", "alone: calls", "alone: µs", "against", "its calls", "its µs", "calls", "µs", "95 %")
    return (
        "d. what the router adds to a stream chunk",
        header,
        [
            (
                row["mode"],
                f"{row['alone_calls']:.2f}",
                f"{row['alone_us']:.2f}",
                row["baseline"],
                f"{row['bare_calls']:.0f}",
                f"{row['bare_us']:.0f}",
                f"{row['extra_calls']:+.2f}",
                f"{row['extra_us']:+.2f}",
                "{:+.1f} to {:+.1f}".format(*row["extra_us_95"]),
            )
            for row in rows
        ],
    )


def _passthrough(rows: list[dict[str, Any]]) -> tuple[str, Row, list[Row]]:
    header = ("mode", "µs an entry", "with intercept", "entries", "µs a call", "with intercept", "extra calls")
    return (
        "e. a concrete model while a router is installed",
        header,
        [
            (
                row["mode"],
                f"{row['us']:.2f}",
                f"{row['us_with_an_intercept']:.2f}",
                str(row["entries"]),
                f"{row['us_a_call']:.2f}",
                f"{row['us_with_an_intercept_a_call']:.2f}",
                str(row["extra_calls"]),
            )
            for row in rows
        ],
    )


def _import(found: dict[str, Any]) -> tuple[str, Row, list[Row]]:
    rows = [
        (row["statement"], f"{row['ms']:.1f}", str(row["own_modules"]), str(len(row["other_packages"])))
        for row in found["rows"]
    ]
    absent = ", ".join(found["absent"])
    return f"f. import; never brings {absent}", ("beside pydantic", "ms", "own modules", "other packages"), rows


def _construct(found: dict[str, Any]) -> tuple[str, Row, list[Row]]:
    names = {
        "deployments_ms": f"{found['count']:,} Deployments (endpoint, key, quality, limits, prices)",
        "bare_deployments_ms": f"{found['count']:,} Deployments (model, name)",
        "router_ms": "a Router of them",
        "first_decision_ms": "its first decision (reads the price map)",
        "later_decision_ms": "a later decision",
    }
    return "g. construction", ("", "ms"), [(text, f"{found[name]:.1f}") for name, text in names.items()]


def _memory(found: dict[str, Any]) -> tuple[str, Row, list[Row]]:
    title = f"h. memory over {found['calls']:,} calls ({found['us_a_call']:.0f} µs each): "
    rows = [
        ("resident, MB", *(f"{value:.2f}" for value in found["rss_mb"].values())),
        (f"traced over {found['traced_calls']:,}, MB", *(f"{value:.3f}" for value in found["traced_mb"].values())),
    ]
    return title + ("flat" if found["flat"] else "NOT FLAT"), ("after", "10 %", "50 %", "100 %"), rows


_TABLES: dict[str, Callable[[Any], tuple[str, Row, list[Row]]]] = {
    "calls": _calls,
    "variants": _variants,
    "peer": _peer,
    "decide": _decide,
    "chunks": _chunks,
    "passthrough": _passthrough,
    "import": _import,
    "construct": _construct,
    "memory": _memory,
}
