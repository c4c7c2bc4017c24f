"""Which deployment a conversation is on, while the provider's prompt cache of it would be warm.

A session is forgotten ``WARM_S`` after its last answer (Anthropic's caches live 5 minutes, OpenAI's 5 to 10); the
table is bounded, and forgetting a session costs a cache miss, never money of a budget.
"""

from __future__ import annotations

from collections.abc import Callable

from cachetools import TTLCache

WARM_S = 300.0
_MOST = 100_000


class Sessions:
    """session key → (deployment name, input tokens that its provider has seen). The fleet's lock guards writes."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._kept: TTLCache[str, tuple[str, int]] = TTLCache(_MOST, WARM_S, timer=monotonic)

    def find(self, key: str) -> tuple[str, int] | None:
        return self._kept.get(key) if self._kept else None

    def keep(self, key: str, name: str, tokens: int) -> None:
        self._kept[key] = (name, tokens)

    def __len__(self) -> int:
        return len(self._kept)
