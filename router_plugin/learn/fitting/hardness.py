"""What is known of a table before any of its prompts was judged: hard prompts show it on their surface.

Rule: a weight for every figure of the surface says how much harder than a table's usual prompt one is where that figure
lies so many standard deviations from the table's own. Every model's quality then moves as in serving/foundation.py: by
``STEPS·q·ln q`` for a logit of hardness at its mean quality q, weak models more than strong ones unless they mostly
fail. The guess is one candidate of the stack (heads.py).
The weights are fitted by benchmarks/fit_foundation.py: within tasks, since what tells tasks apart on one table
misleads on the next, and with a push by ``LENGTH`` of their spread for a standard deviation of length. Ninety figures
know no prompt by heart.
"""

from __future__ import annotations

import numpy as np

from ..outcomes.rows import Table
from ..prompts.features import NAMES
from ..prompts.space import SCALE, Analysed, Space
from .targets import Floats, Targets

LENGTH, PENALTY, STEPS = 0.5, 1_000.0, 0.8
_TASK_LEAN, _KEPT = 5.0, 0.25  # a task's mean is shrunk by so many prompts, and a quarter of it is kept


def within_tasks(ease: Floats, table: Table) -> Floats:
    """The eases of a table's prompts without most of what their tasks have in common."""
    _, task = np.unique(table.tasks, return_inverse=True)
    mean = np.bincount(task, weights=ease) / (np.bincount(task) + _TASK_LEAN)
    return np.asarray(ease - (1.0 - _KEPT) * mean[task])


def fit_hardness(tables: list[tuple[Analysed, Floats]]) -> Floats:
    """The weights, from tables of prompts and their eases within tasks (in logits): shape (len(NAMES),)."""
    rows = np.concatenate([Space.learn(seen).dense(seen.surface) for seen, _ in tables]).astype(np.float64) / SCALE
    hard = -np.concatenate([ease - ease.mean() for _, ease in tables])
    weights = np.linalg.solve(rows.T @ rows + PENALTY * np.eye(rows.shape[1]), rows.T @ hard)
    weights[NAMES.index("length")] += LENGTH * float((rows @ weights).std())
    return np.asarray(weights)


def guess_of(hardness: Floats, targets: Targets) -> Floats:
    """The guess as weights of the surface for each direction of targets that are qualities."""
    known = np.clip(targets.mean, 1e-3, 1.0)
    return np.asarray(np.outer(hardness / SCALE, STEPS * known * np.log(known) @ targets.basis))
