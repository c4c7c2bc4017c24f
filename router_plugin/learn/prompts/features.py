"""What a prompt looks like: hashed words and word pairs, and about fifty figures of its surface.

Rule: the text is lower-cased and cut to its head and tail, its UTF-8 bytes are classed by a table of 256, and each word
(a run of letters, digits read as 0) gets a polynomial hash out of one running sum: with ``P[i] = Σ byte·B^i`` the word
from s to e has ``(P[e] − P[s])·B^−s`` modulo 2⁶⁴. Words, pairs of neighbours and the stems of long words become indices
of 18 bits. No loop over characters or words runs in Python, so the time is flat in the length.
Theory: the hashing trick (Weinberger et al. 2009); rolling hashes (Karp and Rabin 1987).
The hash must never change: trained weights depend on it (``FEATURES`` is written into every artefact).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .markers import MARKERS
from .reading import HEAD, TAIL, Text, read_prompt

FEATURES = 1  # version of everything in this file and in markers.py
BITS = 18
_MOST_BYTES = 16_384

Floats = NDArray[np.float64]
Buckets = NDArray[np.int64]


def _table() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[[*range(65, 91), *range(97, 123), *range(128, 256)]] = 1
    table[48:58] = 2
    return table


_CLASS = _table()
_FOLD = np.arange(256, dtype=np.uint64)
_FOLD[48:58] = 48
_B = 0x9E3779B97F4A7C15 | 1
_MIX = np.uint64(0xD6E8FEB86659FD93)
_PAIR = np.uint64(0xA0761D6478BD642F)
_STEM = np.uint64(0xE7037ED1A0B428DB)
_HALF, _SHIFT = np.uint64(32), np.uint64(64 - BITS)


def _powers(base: int) -> NDArray[np.uint64]:
    power, out = 1, []
    for _ in range(_MOST_BYTES + 1):
        out.append(power)
        power = power * base & 0xFFFFFFFFFFFFFFFF
    return np.array(out, np.uint64)


_UP, _DOWN = _powers(_B), _powers(pow(_B, -1, 1 << 64))


def _spots(codes: NDArray[np.uint64], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The hashes of the words (starts[i], ends[i]), then of their stems of five bytes."""
    running = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * _UP[: len(codes)], out=running[1:])
    base, down = running[starts], _DOWN[starts]
    words = (running[ends] - base) * down
    long = ends - starts > 5
    stems = (running[starts[long] + 5] - base[long]) * down[long] + _STEM
    return np.concatenate((words, stems, words[:-1] * _PAIR + words[1:]))


def _runs(low: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where words start and end (the last byte is no word's)."""
    inside = np.zeros(len(low) + 1, np.int8)
    inside[1:] = _CLASS[low] != 0
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    return edges[0::2], edges[1::2]


def _bucket(hashes: NDArray[np.uint64]) -> Buckets:
    mixed = (hashes ^ (hashes >> _HALF)) * _MIX
    return np.asarray((mixed ^ (mixed >> _HALF)) * _MIX >> _SHIFT).astype(np.int64)


def _one(word: str) -> int:
    raw = np.frombuffer(word.encode(), np.uint8)
    return int(_bucket(_spots(_FOLD[raw], np.array([0]), np.array([len(raw)])))[0])


_GROUPS = len(MARKERS)
_MARK = np.full(1 << BITS, _GROUPS, np.uint8)
for _index, _words in enumerate(MARKERS.values()):
    _MARK[[_one(word) for word in _words.split()]] = _index

_CHARS = "\n?!.,;:'\"()[]{}<>=+-*/^\\$_%#`|&@"
_CHAR_CODES = np.frombuffer(_CHARS.encode(), np.uint8)
NAMES: tuple[str, ...] = (
    "length",
    "words",
    "letters",
    "digits",
    "non-ascii",
    "punctuation",
    "spaces",
    "capitals",
    "word length",
    "long words",
    "number tokens",
    "variety",
    "lines",
    "line length",
    "longest line",
    "first line",
    "last line",
    "line spread",
    "turns",
    "system prompt",
    "other parts",
    "cut off",
    *(f"character {char!r}" for char in _CHARS),
    *(f"words of {name}" for name in MARKERS),
)


def _kinds() -> Floats:
    """Which byte counts as letter, digit, non-ASCII, punctuation, space, capital."""
    kinds = np.zeros((256, 6))
    kinds[:128, 0] = _CLASS[:128] == 1
    kinds[48:58, 1] = 1.0
    kinds[128:, 2] = 1.0
    kinds[32, 4] = 1.0
    kinds[65:91, 5] = 1.0
    kinds[:, 3] = kinds[:, [0, 1, 2, 4]].sum(axis=1) == 0
    return kinds


_KINDS = _kinds()


def analyse(prompt: str | Sequence[Any]) -> tuple[Buckets, Floats]:
    """A prompt's buckets (sorted, each once) and its surface figures (in the order of ``NAMES``)."""
    read = read_prompt(prompt)
    raw = np.frombuffer(read.text.encode("utf-8", "replace")[:_MOST_BYTES] + b" ", np.uint8)
    low = np.frombuffer(read.text.lower().encode("utf-8", "replace")[:_MOST_BYTES] + b" ", np.uint8)
    starts, ends = _runs(low)
    buckets = _bucket(_spots(_FOLD[low], starts, ends))
    surface = _surface(read, raw, low, starts, ends, buckets[: len(starts)])
    buckets.sort()
    fresh = np.ones(len(buckets), bool)
    fresh[1:] = buckets[1:] != buckets[:-1]
    return buckets[fresh], surface


def _surface(
    read: Text,
    raw: NDArray[np.uint8],
    low: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    words: Buckets,
) -> Floats:
    counts = np.bincount(raw, minlength=256).astype(np.float64)
    size, n = float(len(raw)), float(len(starts)) or 1.0
    lengths = ends - starts
    share = counts @ _KINDS / size
    breaks = np.flatnonzero(raw == 10)
    lines = np.empty(len(breaks) + 1)
    lines[:-1], lines[-1] = breaks, len(raw) - 1
    lines[1:] -= breaks
    lines[0] += 1.0
    mean = float(lines.sum()) / len(lines)
    spread = max(0.0, float(lines @ lines) / len(lines) - mean * mean) ** 0.5
    long = float(np.count_nonzero(lengths > 8))
    figures = float(np.count_nonzero(raw[starts] < 58))
    ordered = np.sort(words)
    variety = np.count_nonzero(ordered[1:] != ordered[:-1]) + (len(words) > 0)
    out = np.empty(len(NAMES))
    out[:2] = read.length, n
    out[2:8] = share
    out[8:12] = float(lengths.sum()) / n, long / n, figures / n, variety / n
    out[12:22] = (len(lines), mean, lines.max(), lines[0], lines[-1], spread,
                  read.turns, read.system, read.other, max(0, read.length - HEAD - TAIL))  # fmt: skip
    out[22 : 22 + len(_CHARS)] = counts[_CHAR_CODES]
    out[22 + len(_CHARS) :] = np.bincount(_MARK[words], minlength=_GROUPS + 1)[:_GROUPS]
    out[:2] = np.log1p(out[:2])
    out[12:] = np.log1p(out[12:])
    return out


def spelling(text: str) -> dict[int, str]:
    """The words, stems ("stem…") and pairs of a text by their buckets, for explanations."""
    low = np.frombuffer(text.lower().encode("utf-8", "replace")[:_MOST_BYTES] + b" ", np.uint8)
    starts, ends = _runs(low)
    words = [bytes(low[s:e]).decode("utf-8", "replace") for s, e in zip(starts, ends, strict=True)]
    stems = [
        bytes(low[s : s + 5]).decode("utf-8", "replace") + "…" for s, e in zip(starts, ends, strict=True) if e - s > 5
    ]
    pairs = [f"{a} {b}" for a, b in itertools.pairwise(words)]
    buckets = _bucket(_spots(_FOLD[low], starts, ends)).tolist()
    return dict(zip(reversed(buckets), reversed([*words, *stems, *pairs]), strict=True))
