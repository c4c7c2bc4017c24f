"""Ridge regression on wide sparse features, for many targets at once.

Rule: minimise |XW + ZV − T|² + λ(|W|² + |V|²) by conjugate gradients; X is sparse (hashed words), Z dense (surface,
embeddings), every column of T has its own λ. The starting point is 0, so stopping early only shrinks more.
Theory: Hestenes and Stiefel (1952); in exact arithmetic as many steps as distinct eigenvalues, here 25 at most.
SciPy's sparse product is used where it is installed (extra ``train``), else NumPy's, about ten times slower.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Ints = NDArray[np.int64]
STEPS = 25
try:
    _sparse: Any = importlib.import_module("scipy.sparse")
except ImportError:  # pragma: no cover - the extra "train" is not installed
    _sparse = None


@dataclass(slots=True)
class Design:
    """Rows of features: those of row i are ``columns[starts[i]:starts[i+1]]`` with ``values``, ``dense`` beside."""

    starts: Ints
    columns: Ints
    values: Array
    dense: Array
    width: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, rows: Ints) -> Design:
        """Some of the rows."""
        sizes = self.starts[rows + 1] - self.starts[rows]
        starts = np.concatenate(([0], np.cumsum(sizes)))
        at = np.repeat(self.starts[rows] - starts[:-1], sizes) + np.arange(starts[-1])
        return Design(starts, self.columns[at], self.values[at], self.dense[rows], self.width)

    def products(self) -> Any:
        """The sparse block and its transpose, each with ``@``."""
        if _sparse is not None:
            shape = (len(self), self.width)
            block = _sparse.csr_matrix((self.values, self.columns, self.starts), shape=shape)
            return block, block.T.tocsr()
        rows = np.repeat(np.arange(len(self)), np.diff(self.starts))
        return _Product(self, rows, self.columns, len(self)), _Product(self, self.columns, rows, self.width)


@dataclass(slots=True)
class _Product:
    """A sparse matrix product in NumPy: entries (out, into) with the design's values."""

    design: Design
    out: Ints
    into: Ints
    size: int

    def __matmul__(self, right: Array) -> Array:
        result = np.empty((self.size, right.shape[1]), np.float32)
        for j in range(right.shape[1]):
            weights = self.design.values * right[:, j][self.into]
            result[:, j] = np.bincount(self.out, weights=weights, minlength=self.size)
        return result


def ridge(design: Design, targets: Array, penalty: Array, steps: int = STEPS) -> Array:
    """The weights (sparse columns first, then dense) for each column of ``targets``."""
    block, across = design.products()
    width, dense = design.width, design.dense

    def back(left: Array) -> Array:
        return np.vstack([across @ left, dense.T @ left]).astype(np.float32)

    residual = back(targets)
    weights, step = np.zeros_like(residual), residual.copy()
    size = start = (residual * residual).sum(axis=0)
    for _ in range(steps):
        if (size <= 1e-6 * start + 1e-20).all():
            break
        turned = back(block @ step[:width] + dense @ step[width:]) + penalty * step
        along = size / np.maximum((step * turned).sum(axis=0), 1e-30)
        weights += along * step
        residual -= along * turned
        new = (residual * residual).sum(axis=0)
        step = residual + step * (new / np.maximum(size, 1e-30))
        size = new
    return weights


def apply(design: Design, weights: Array) -> Array:
    """The predictions of ``weights`` for every row."""
    return np.asarray(
        design.products()[0] @ weights[: design.width] + design.dense @ weights[design.width :], np.float32
    )
