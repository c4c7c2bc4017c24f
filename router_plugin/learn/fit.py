"""``fit(rows)``: judged prompts in, a predictor out.

Rule: the same rows and seed give the same predictor, byte for byte, on the same libraries. Rows that say nothing
(one prompt, all scores equal) give a predictor of means, which is the honest one. Needs NumPy; uses SciPy for speed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import TrainingError
from .fitting.clusters import kinds
from .fitting.heads import Head
from .fitting.linear import Ints
from .fitting.targets import split
from .fitting.training import Data, Note, fit_head
from .outcomes.figures import whole_number
from .outcomes.rows import Floats, Table, read_rows
from .prompts.encoder import CachedEncoder, Encoder
from .prompts.features import NAMES
from .prompts.reading import read_prompt
from .prompts.space import Space, analyse_all
from .serving.foundation import Foundation
from .serving.foundation import foundation as shipped
from .serving.predictor import Predictor

log = logging.getLogger("router_plugin")
QUALITY_RANK, LENGTH_RANK = 8, 4
_TASK_SIZE = 5  # prompts a task on the average, at least, for its means to mean something


def fit(
    rows: Iterable[Mapping[str, Any]],
    *,
    seed: int = 0,
    encoder: Encoder | Callable[[Sequence[str]], Any] | None = None,
    progress: bool = False,
    foundation: Foundation | None = None,
) -> Predictor:
    """A predictor of quality and output tokens for every model in ``rows``.

    ``rows``: dicts with ``prompt`` (text or messages) and ``scores`` {model: 0..1}, and where known ``task`` (only used
    to group prompts while fitting), ``input_tokens`` and ``output_tokens`` {model: n}. A score absent or None is
    missing. ``encoder`` adds embeddings to the features; ``progress`` logs the steps at INFO.
    ``foundation``: whose sense of hard prompts is believed until the rows say otherwise, by default that of the one
    that comes with the package (ninety weights of the surface: see fitting/hardness.py).

    Raises: SpecError for malformed rows, TrainingError where no row has a score.
    """
    whole_number(seed, "seed", 0)
    note: Note = (lambda step: log.info("fit: %s", step)) if progress else (lambda step: None)
    table = read_rows(rows)
    note(f"{len(table)} prompts ({table.merged} merged) x {len(table.models)} models")
    cached = None if encoder is None else CachedEncoder(encoder)
    embedded = None if cached is None else cached.encode([read_prompt(p).text for p in table.prompts])
    hardness = _shipped_hardness() if foundation is None else foundation.hardness
    return _fit(table, analyse_all(table.prompts, embedded), seed, note, cached, hardness)


def _shipped_hardness() -> Floats:
    try:
        return shipped().hardness
    except TrainingError as error:
        log.warning("fit: goes without the foundation, which cannot be read: %s", error)
        return np.zeros(len(NAMES))


def _fit(table: Table, seen: Any, seed: int, note: Note, encoder: CachedEncoder | None, hardness: Floats) -> Predictor:
    space = Space.learn(seen)
    design, _ = space.rows(seen)
    tasks = _tasks(table)
    data = Data(seen, table.groups, tasks, kinds(design, seed) if tasks is None else tasks)
    space.settle(design, data.clusters)
    quality = fit_head(data, split(table.scores, QUALITY_RANK), design, seed, note, hardness)
    length: Head | None = None
    if np.isfinite(table.tokens).any():
        note("output tokens")
        targets = split(np.log1p(table.tokens), LENGTH_RANK)
        length = fit_head(data, targets, design, seed, note)
        length.seen = np.isfinite(table.tokens).sum(axis=0)
    about = {"prompts": len(table), "left_out": table.left_out, "seed": seed}
    return Predictor(table.models, space, quality, length, encoder, about)


def _tasks(table: Table) -> Ints | None:
    names, numbers = np.unique(table.tasks, return_inverse=True)
    return None if len(names) < 3 or len(numbers) < _TASK_SIZE * len(names) else numbers
