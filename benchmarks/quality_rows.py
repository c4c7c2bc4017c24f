"""Lines of quality.py's tables: what is measured, how it is averaged and printed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from quality_data import Prices, Rows

from router_plugin.learn import Metrics, Predictor, evaluate
from router_plugin.learn.serving.predictor import Prediction

SHOWN = (
    *("accuracy", "best", "cheapest", "oracle", "gap_closed", "apgr", "cpt50", "cpt80", "aiq", "aiq_norm"),
    *("cost_save", "perf_gain", "gap_at_oracle", "ece", "token_error", "token_error_of_mean", "cost_error"),
)


@dataclass(slots=True)
class Line:
    """One row of a table: the mean of its measurements, weighted by ``weights`` (else evenly)."""

    table: str
    test: str
    label: str
    values: list[Metrics]
    weights: list[float] = field(default_factory=list)

    def mean(self, name: str) -> float:
        """The mean of one figure."""
        pairs = zip((getattr(v, name) for v in self.values), self.weights or [1.0] * len(self.values), strict=True)
        known = [(value, weight) for value, weight in pairs if math.isfinite(value)]
        return float(np.average([v for v, _ in known], weights=[w for _, w in known])) if known else math.nan

    def half(self, name: str) -> float:
        """Half the width of the 95 % interval of that mean: the splits' bootstrap intervals, averaged; the seeds of one
        table test the same prompts, so more of them do not narrow it beyond a whole pass over the table."""
        widths = [v.intervals[name] for v in self.values if name in v.intervals]
        if not widths:
            return math.nan
        half = float(np.mean([(high - low) / 2 for low, high in widths]))
        return half / (min(len(widths), 5) ** 0.5 if self.test == "in domain" and name == "apgr" else 1.0)

    def as_dict(self) -> dict[str, Any]:
        """All figures."""
        figures = {name: self.mean(name) for name in SHOWN} | {
            f"{n} ±": self.half(n) for n in ("apgr", "aiq", "aiq_norm")
        }
        return {"table": self.table, "test": self.test, "label": self.label, "measurements": len(self.values)} | figures


def print_line(line: Line) -> None:
    """One line for people."""
    out = []
    for name in SHOWN:
        value = line.mean(name)
        if math.isfinite(value):
            half = line.half(name)
            out.append(f"{name} {value:.4f}" + (f"±{half:.3f}" if math.isfinite(half) else ""))
    print(f"{line.table} | {line.test} | {line.label:<24} | {' '.join(out)}")


def show_head(name: str, rows: Rows) -> None:
    """What a table holds."""
    models = sorted({model for row in rows for model in row["scores"]})
    print(f"\n## {name}: {len(rows)} prompts x {len(models)} models, {len({r.get('task') for r in rows})} tasks")


def measure(predictor: Any, rows: Rows, prices: Prices) -> Metrics:
    """The metrics on these rows; a random generator stands for random qualities."""
    if isinstance(predictor, np.random.Generator):
        models = sorted({model for row in rows for model in row["scores"]})
        predictor = predictor.random((len(rows), len(models)))
    return evaluate(predictor, rows, prices, resamples=100)


class _Means:
    """A predictor that knows the models' means (and output tokens) alone."""

    def __init__(self, inner: Predictor) -> None:
        self.models, self._inner = inner.models, inner

    def predict(self, prompts: Any) -> Prediction:
        told = self._inner.predict(prompts)
        return Prediction(
            np.tile(self._inner.quality.mean, (len(told.quality), 1)), told.quality_std, told.output_tokens
        )


def means_of(predictor: Predictor) -> Any:
    """The same predictor without its knowledge of prompts."""
    return _Means(predictor)


def length_scores(rows: Rows) -> Any:
    """Prompt length alone, untrained: the longer, the more of the model that is better (in hindsight) is wanted."""
    models = sorted({model for row in rows for model in row["scores"]})
    ability = np.array([np.mean([r["scores"][m] for r in rows if r["scores"].get(m) is not None]) for m in models])
    length = np.log1p([len(str(row["prompt"])) for row in rows])
    rank = (length.argsort(kind="stable").argsort() + 0.5) / len(rows)
    return np.clip(0.5 + (ability - ability.mean()) * (0.5 + rank[:, None]), 0.0, 1.0)
