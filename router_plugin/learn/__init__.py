"""Learned routing: fit a predictor of quality and output tokens on judged prompts, measure it, serve it.

::

    from router_plugin.learn import Predictor, evaluate, fit

    predictor = fit(rows, seed=0)         # rows: {"prompt", "scores": {model: 0..1}, and where known "task",
    predictor.save("my-router")           #        "input_tokens", "output_tokens": {model: n}}
    Router("a", [...], scorer=Predictor.load("my-router"))

Needs NumPy (extra ``learn``); fitting is ten times faster with SciPy (extra ``train``).
"""

from __future__ import annotations

from .fit import fit
from .measure.evaluate import Metrics, evaluate
from .prompts.encoder import Encoder
from .serving.predictor import Prediction, Predictor

__all__ = ["Encoder", "Metrics", "Prediction", "Predictor", "evaluate", "fit"]
