"""A ``RouteResult`` as text: what was chosen, in which order, why the others were not, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from .result import RouteResult


def explain(result: RouteResult, moved: Sequence[tuple[str, float]] = ()) -> str:
    """Several lines of plain text, columns aligned, no control characters. ``moved``: what moved the predicted quality
    of the first choice, and by how much."""
    lines = [f"request {result.request_id} · router {result.router} (version {result.version}) · by {result.objective}"]
    if result.matched_rule is not None:
        lines.append(f"rule: {result.matched_rule.name} ({result.matched_rule.strategy}), targets: {_targets(result)}")
    lines += [f"  not {one['rule']}: {one['why']}" for one in result.rule_trace if not one["matched"]]
    served = f"{result.deployment}" + (f" ({result.model})" if result.model != result.deployment else "")
    if result.deployment is None:
        lines.append("refused: nothing may take this request")
    else:
        lines.append(f"{'served by' if result.served else 'first choice'}: {served}")
        lines += ["", *_candidates(result)]
    if moved:
        lines += ["", f"what moved the quality of {result.model}"]
        lines += [f"  {change:+.3f}  {name}" for name, change in moved]
    if result.rejected:
        lines += ["", "left out"]
        width = max(len(name) for name in result.rejected)
        lines += [f"  {name:<{width}}  {why}" for name, why in result.rejected.items()]
    if result.attempts:
        lines += ["", *_attempts(result)]
    lines += ["", *_remarks(result)]
    return "\n".join(_printable(line).rstrip() for line in lines).rstrip()


def _targets(result: RouteResult) -> str:
    return ", ".join(f"{t.model_name} ({t.weight:g})" for t in result.selected_targets)


def _candidates(result: RouteResult) -> list[str]:
    scores, qualities, bands = result.scores, result.qualities, result.quality_bands
    rows: list[tuple[str, ...]] = [("", "candidate", "score", "quality")]
    for place, name in enumerate(result.ranking, 1):
        band = f" ± {bands[name]:.3f}" if name in bands else ""
        rows.append((f"{place}.", name, _score(scores[name]), f"{qualities[name]:.3f}{band}"))
    return _table(rows)


def _score(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"


def _attempts(result: RouteResult) -> list[str]:
    rows: list[tuple[str, ...]] = [("", "attempt", "outcome", "latency", "first token", "tokens in/out", "cost")]
    for number, attempt in enumerate(result.attempts, 1):
        tokens = "" if attempt.input_tokens is None else f"{attempt.input_tokens}/{attempt.output_tokens}"
        outcome = attempt.error if attempt.error else attempt.outcome
        rows.append(
            (
                f"{number}.",
                attempt.deployment,
                outcome,
                _ms(attempt.latency_ms),
                _ms(attempt.ttft_ms),
                tokens,
                f"${attempt.cost_usd:.6f}",
            )
        )
    return _table(rows)


def _remarks(result: RouteResult) -> list[str]:
    remarks = []
    if result.estimated_cost_usd is not None:
        remarks.append(f"estimated ${result.estimated_cost_usd:.6f}")
    if result.attempts:
        remarks.append(f"cost ${result.cost_usd:.6f}")
    if result.output_cap is not None:
        remarks.append(f"output capped at {result.output_cap} tokens to keep the bound")
    lines = [" · ".join(remarks)] if remarks else []
    if result.waived:
        lines.append(f"set aside: {', '.join(result.waived)}")
    return lines + [f"note: {note}" for note in result.notes]


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"


def _printable(line: str) -> str:
    return "".join(ch if ch.isprintable() else "�" for ch in line)
