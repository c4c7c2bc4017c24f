"""``Replay``: what deciding past requests again has found, as values and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .off_policy import Estimate, Quality


@dataclass(frozen=True, slots=True)
class Move:
    """Requests that would go to another model first. None: nothing may take them."""

    from_model: str | None
    to_model: str | None
    count: float
    request_ids: list[str]


@dataclass(frozen=True, slots=True)
class Undecided:
    """A request that could not be decided again, and why."""

    request_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Replay:
    """What ``replay`` found. ``requests`` = ``decided`` + ``undecidable`` + ``unroutable`` (nothing may take them).

    ``changed`` of the decided would go to another model first (``changed_share`` of them), by ``moves``. Costs are USD
    over the ``costed`` requests where both choices have a price, before and after by the same estimator;
    ``recorded_cost_usd`` is what those have really cost. ``quality`` is None where nothing was judged. ``warnings`` say
    what speaks against believing a figure. ``reproduced`` is the share of requests whose recorded choice their own
    version comes to again; None where no version of theirs is kept.
    """

    router: str
    version: str
    confidence: float
    requests: int
    decided: int
    undecidable: int
    unroutable: int
    changed: float
    changed_share: float
    moves: list[Move]
    reproduced: float | None
    costed: int
    estimated_cost_usd_before: float | None
    estimated_cost_usd_after: float | None
    estimated_cost_usd_difference: float | None
    recorded_cost_usd: float | None
    quality: Quality | None
    undecided: list[Undecided]
    warnings: list[str]

    def model_dump(self) -> dict[str, Any]:
        """Plain values (JSON-ready)."""
        return asdict(self)

    def text(self) -> str:
        """Several lines that a person can read."""
        lines = [f"replay of router {self.router} under {self.version}", "", *_counts(self)]
        if self.moves:
            lines += ["", "first choice moves"]
            lines += _table([(_name(m.from_model), "->", _name(m.to_model), f"{m.count:g}") for m in self.moves[:20]])
            lines += [f"  … and {len(self.moves) - 20} more"] if len(self.moves) > 20 else []
        if self.estimated_cost_usd_before is not None:
            lines += ["", *_costs(self)]
        if self.quality is not None:
            lines += ["", *_quality(self.quality, self.confidence)]
        if self.undecided:
            lines += ["", "undecidable"]
            lines += _table([(f"{n}", why) for why, n in Counter(u.why for u in self.undecided).most_common(8)])
        lines += ["", *(f"warning: {warning}" for warning in self.warnings)] if self.warnings else []
        return "\n".join(line.rstrip() for line in lines)

    __str__ = text


def _name(model: str | None) -> str:
    return "(nothing)" if model is None else "".join(ch if ch.isprintable() else "�" for ch in model)


def _counts(found: Replay) -> list[str]:
    rows = [
        ("requests", f"{found.requests}"),
        ("decided", f"{found.decided}"),
        ("changed", f"{found.changed:g} ({found.changed_share:.1%})"),
        ("nothing may take", f"{found.unroutable}"),
        ("undecidable", f"{found.undecidable}"),
    ]
    if found.reproduced is not None:
        rows.append(("reproduced", f"{found.reproduced:.1%}"))
    return _table(rows)


def _costs(found: Replay) -> list[str]:
    before, after = found.estimated_cost_usd_before or 0.0, found.estimated_cost_usd_after or 0.0
    change = f" ({(after - before) / before:+.1%})" if before else ""
    rows = [
        ("estimated before", f"${before:.6f}"),
        ("estimated after", f"${after:.6f}"),
        ("difference", f"{'-' if after < before else '+'}${abs(after - before):.6f}{change}"),
        ("really cost", f"${found.recorded_cost_usd or 0.0:.6f}"),
    ]
    return [f"cost of {found.costed} requests", *_table(rows)]


def _quality(quality: Quality, confidence: float) -> list[str]:
    rows = [
        ("as logged", _interval(quality.logged_mean)),
        ("IPS", _interval(quality.ips)),
        ("SNIPS", _interval(quality.snips)),
        ("doubly robust", _interval(quality.dr)),
        ("effective scores", f"{quality.effective_sample_size:.1f} ({quality.matches} match)"),
    ]
    return [f"quality by {quality.scored} scores (intervals of {confidence:.0%})", *_table(rows)]


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "not known"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.4f}"
    return f"{estimate.value:.4f}  [{estimate.low:.4f}, {estimate.high:.4f}]"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
