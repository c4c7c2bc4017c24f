"""Sets of models, made from litellm's price map when they are looked at, so that new models appear by themselves.

``OPENAI_MODELS``, ``ANTHROPIC_MODELS``, ``TOGETHER_MODELS``, ``GEMINI_MODELS`` and their union ``ALL_MODELS`` hold
litellm's model strings of chat models. They behave as frozen sets: ``list(OPENAI_MODELS | GEMINI_MODELS)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from typing import Any

from .provider.catalog import chat_models


class ModelSet(Set[str]):
    """The chat models of some of litellm's providers."""

    def __init__(self, name: str, *providers: str) -> None:
        self._name, self._providers = name, providers

    @classmethod
    def _from_iterable(cls, names: Iterable[Any]) -> Any:
        return frozenset(names)

    def __contains__(self, name: object) -> bool:
        return name in chat_models(self._providers)

    def __iter__(self) -> Iterator[str]:
        return iter(chat_models(self._providers))

    def __len__(self) -> int:
        return len(chat_models(self._providers))

    def __hash__(self) -> int:
        return self._hash()

    def __repr__(self) -> str:
        return f"{self._name} ({len(self)} models)"


OPENAI_MODELS = ModelSet("OPENAI_MODELS", "openai")
ANTHROPIC_MODELS = ModelSet("ANTHROPIC_MODELS", "anthropic")
TOGETHER_MODELS = ModelSet("TOGETHER_MODELS", "together_ai")
GEMINI_MODELS = ModelSet("GEMINI_MODELS", "gemini")
ALL_MODELS = ModelSet("ALL_MODELS", "openai", "anthropic", "together_ai", "gemini")
