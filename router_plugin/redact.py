"""What is secret is said nowhere: keys, credential headers, the user and query of a URL.

``redact`` takes out what looks like a secret (by pattern) and what is known to be one (by value): other people's words,
a provider's error say, pass through it before they stand in an error, a record or a log line of ours. ``shown`` is how
an error message shows a wrong value: containers and foreign objects are described, never printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MASK = "***"
_SHORTEST = 6  # a known secret of fewer characters is not looked for: it would be found inside ordinary words
_LONGEST = 20_000  # characters that are searched; what is longer is cut
_URL_USER = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,15}://)[^/\s@'\"<>]*@")
_URL_QUERY = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,15}://[^\s?'\"<>]*)\?[^\s'\"<>]*")
_NAMED = re.compile(
    r"(?i)\b((?:x-)?(?:goog-)?api[-_ ]?key|authorization|secret(?:[-_ ]?key)?|password|passwd|access[-_]?key|"
    r"(?:access|session|auth|id|refresh)?[-_]?token|signature|credential)"
    r"(['\"]?\s*(?:provided)?\s*[:=]\s*['\"]?(?:bearer\s+|basic\s+)?)([^\s,;'\"})\]]{4,})"
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{6,}")
# Keys by their providers' own prefixes: OpenAI and Anthropic, Groq, xAI, OpenRouter, Google, AWS, Hugging Face, GitHub,
# Perplexity, NVIDIA, Fireworks, JSON web tokens.
_BY_PREFIX = re.compile(
    r"\b(?:sk-[A-Za-z0-9_*-]{6,}|gsk_[A-Za-z0-9]{8,}|xai-[A-Za-z0-9]{8,}|AIza[A-Za-z0-9_-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{8,}"
    r"|hf_[A-Za-z0-9]{8,}|gh[pousr]_[A-Za-z0-9]{8,}|pplx-[A-Za-z0-9]{8,}|nvapi-[A-Za-z0-9_-]{8,}|fw_[A-Za-z0-9]{8,}"
    r"|ya29\.[A-Za-z0-9_-]{8,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?)"
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without secrets: those known by value, and whatever looks like one. At most 20,000 characters of it."""
    text = text[:_LONGEST]
    for secret in sorted({s for s in secrets if len(s) >= _SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _URL_QUERY.sub(rf"\1?{MASK}", _URL_USER.sub(rf"\1{MASK}@", text))
    text = _NAMED.sub(rf"\1\2{MASK}", text)
    return _BY_PREFIX.sub(MASK, _SCHEME.sub(rf"\1 {MASK}", text))


def shown(value: object) -> str:
    """A value as an error message shows it: text and numbers by their repr, at most 80 characters of it and without
    secrets; of a mapping its keys; of anything else its kind."""
    if value is None or isinstance(value, (bool, int, float, complex)):
        text = repr(value)
    elif isinstance(value, str):
        text = repr(redact(value[:400]))
    elif isinstance(value, Mapping):
        keys = ", ".join(repr(redact(str(key)[:40])) for key in list(value)[:5])
        text = f"a mapping with {keys}{' …' if len(value) > 5 else ''}" if value else "an empty mapping"
    elif isinstance(value, (list, tuple, set, frozenset)):
        text = f"a {type(value).__name__} of {len(value)}" if value else repr(value)
    elif isinstance(value, type) or callable(value):
        text = getattr(value, "__qualname__", type(value).__name__)
    else:
        kind = type(value).__name__
        text = f"{value} ({kind})" if type(value).__module__ in ("decimal", "fractions") else f"a {kind}"
    return text if len(text) <= 120 else f"{text[:117]}…"


def secrets_in(values: Iterable[object]) -> list[str]:
    """All texts inside (nested) values, for ``redact``."""
    found: list[str] = []
    for value in values:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, Mapping):
            found += secrets_in(value.values())
        elif isinstance(value, (list, tuple)):
            found += secrets_in(value)
    return found
