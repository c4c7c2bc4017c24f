"""Embeddings as further features: anything that turns texts into vectors.

``fit(rows, encoder=…)`` takes an ``Encoder`` or a plain callable; an embedding model of litellm is one line::

    def embed(texts): return [d["embedding"] for d in litellm.embedding("openai/text-embedding-3-small", texts).data]

Vectors are kept in memory by text, the last 10,000 of them. Without an encoder (the default) nothing is called.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...errors import SpecError, TrainingError
from ...redact import shown

_MOST = 10_000


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors of one width; ``name`` is written into artefacts and compared when loading."""

    @property
    def name(self) -> str: ...

    def encode(self, texts: Sequence[str]) -> Any: ...


class CachedEncoder:
    """An encoder that asks for a text once, and checks what it gets."""

    def __init__(self, inner: Encoder | Callable[[Sequence[str]], Any]) -> None:
        encode = inner.encode if isinstance(inner, Encoder) else inner
        if not callable(encode):
            raise SpecError(f"encoder: must have encode(texts) or be callable, got {shown(inner)}")
        self._encode: Callable[[Sequence[str]], Any] = encode
        self.name = str(getattr(inner, "name", getattr(inner, "__name__", type(inner).__name__)))
        self._kept: OrderedDict[str, NDArray[np.float64]] = OrderedDict()
        self._width: int | None = None

    def encode(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """One vector a text, of the same width as ever.

        Raises: TrainingError where the encoder gives something else.
        """
        found = {text: self._kept[text] for text in texts if text in self._kept}
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        if missing:
            given = self._encode(missing)  # what it raises is its own
            try:
                vectors = np.asarray(given, np.float64)
            except (TypeError, ValueError) as error:
                raise TrainingError(f"encoder {self.name!r}: gave no array of numbers: {error}") from error
            width = self._width or (vectors.shape[1] if vectors.ndim == 2 else 0)
            if vectors.shape != (len(missing), width) or not width or not np.isfinite(vectors).all():
                raise TrainingError(
                    f"encoder {self.name!r}: {len(missing)} texts must give finite vectors of one width, got an array "
                    f"of shape {vectors.shape}"
                )
            self._width = width
            found |= dict(zip(missing, vectors, strict=True))
            self._kept.update((text, found[text]) for text in missing)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return np.stack([found[text] for text in texts]) if texts else np.zeros((0, self._width or 0))
