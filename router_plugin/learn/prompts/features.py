"""What a prompt looks like: hashed words and word pairs, and about fifty figures of its surface.

Rule: the text is lower-cased and cut to its head and tail, its UTF-8 bytes are classed by a table of 256, and each word
(a run of letters and digits, digits read as 0) gets a polynomial hash out of one running sum: with ``P[i] = Σ
byte·B^i`` the word from s to e has ``(P[e] − P[s])·B^−s`` modulo 2⁶⁴. Words, pairs of neighbours and the stems of long
words become indices of 18 bits. No loop over characters or words runs in Python, so the time is flat in the length.
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
Places = NDArray[np.int64]
Hashes = NDArray[np.uint64]


_LETTERS = (*range(65, 91), *range(97, 123), *range(128, 256))
# What a byte counts in a word's hash, 0 where it is part of none. Capitals count as small letters, so that ASCII need
# not be lower-cased.
_CODES = bytes(
    48 if 48 <= byte < 58 else 0 if byte not in _LETTERS else byte + 32 if byte < 91 else byte for byte in range(256)
)
_AFTER = b" " * 6  # a stem of five bytes may be asked for at the last word
_B = 0x9E3779B97F4A7C15 | 1
_MIX = np.uint64(0xD6E8FEB86659FD93)
_PAIR = np.uint64(0xA0761D6478BD642F)
_STEM = np.uint64(0xE7037ED1A0B428DB)
_HALF, _SHIFT = np.uint64(32), np.uint64(64 - BITS)


def _powers(base: int) -> NDArray[np.uint64]:
    power, out = 1, []
    for _ in range(_MOST_BYTES + 1 + len(_AFTER)):
        out.append(power)
        power = power * base & 0xFFFFFFFFFFFFFFFF
    return np.array(out, np.uint64)


_UP, _DOWN = _powers(_B), _powers(pow(_B, -1, 1 << 64))[1:].copy()


def _low(text: str, raw: bytes) -> bytes:
    """The bytes that words are read from: lower-cased, where the tables do not see to it."""
    return raw if text.isascii() else text.lower().encode("utf-8", "replace")[:_MOST_BYTES]


def _hashed(low: bytes) -> tuple[Places, Places, Hashes]:
    """Where words start and end, and their hashes, then those of the stems of long ones, then those of pairs.

    A blank is put in front, so that the sums before a word's first and at its last byte lie where it starts and ends.
    """
    codes = np.frombuffer((b" " + low + _AFTER).translate(_CODES), np.uint8)
    inside = codes != 0
    edges = (inside[1:] != inside[:-1]).nonzero()[0]
    starts, ends = edges[0::2], edges[1::2]
    running = np.add.accumulate(codes * _UP[: len(codes)])
    both = np.empty((2, len(starts)), np.int64)
    both[0] = ends
    np.add(starts, 5, both[1])
    words, stems = (running[both] - running[starts]) * _DOWN[starts]
    stems = stems[ends > both[1]]
    stems += _STEM
    pairs = words[:-1] * _PAIR
    pairs += words[1:]
    return starts, ends, np.concatenate((words, stems, pairs))


def _bucket(hashes: Hashes) -> NDArray[np.int32]:
    """The indices of hashes, which are used up."""
    hashes ^= hashes >> _HALF
    hashes *= _MIX
    hashes ^= hashes >> _HALF
    hashes *= _MIX
    found: NDArray[np.int32] = (hashes >> _SHIFT).astype(np.int32)  # half the width sorts in a third of the time
    return found


def _one(word: str) -> int:
    """The bucket of what stands in markers.py, all of it as one word ("isn't", read as two, is therefore never met)."""
    whole = sum(byte * pow(_B, i, 1 << 64) for i, byte in enumerate(word.encode())) % (1 << 64)
    return int(_bucket(np.array([whole], np.uint64))[0])


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
    """Which byte counts as letter, digit, non-ASCII, punctuation, space, capital; then which is which character."""
    kinds = np.zeros((6 + len(_CHARS), 256))
    kinds[0, [*range(65, 91), *range(97, 123)]] = 1.0
    kinds[1, 48:58] = 1.0
    kinds[2, 128:] = 1.0
    kinds[4, 32] = 1.0
    kinds[5, 65:91] = 1.0
    kinds[3] = kinds[[0, 1, 2, 4]].sum(axis=0) == 0
    kinds[range(6, len(kinds)), list(_CHARS.encode())] = 1.0
    return kinds


_KINDS = _kinds()


def analyse(prompt: str | Sequence[Any]) -> tuple[Buckets, Floats]:
    """A prompt's buckets (sorted, each once) and its surface figures (in the order of ``NAMES``)."""
    read = read_prompt(prompt)
    raw = read.text.encode("utf-8", "replace")[:_MOST_BYTES]
    starts, ends, hashes = _hashed(_low(read.text, raw))
    buckets = _bucket(hashes)
    surface = _surface(read, np.frombuffer(raw + b" ", np.uint8), starts, ends, buckets[: len(starts)])
    buckets.sort()
    return buckets[_fresh(buckets)].astype(np.int64), surface


def _fresh(ordered: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of sorted numbers are not the one before."""
    fresh = np.empty(len(ordered), bool)
    fresh[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], fresh[1:])
    return fresh


def _surface(read: Text, raw: NDArray[np.uint8], starts: Places, ends: Places, words: NDArray[np.int32]) -> Floats:
    """The figures: counts go through ln(1 + x), shares stay as they are."""
    size, n = len(raw), float(len(starts)) or 1.0
    kinds = _KINDS @ np.bincount(raw, minlength=256)
    lengths = ends - starts
    out = np.empty(len(NAMES))
    out[:12] = 0.0
    out[0], out[1] = read.length, n
    out[12:22] = (*_lines(raw, int(kinds[6])), read.turns, read.system, read.other, max(0, read.length - HEAD - TAIL))
    out[22 : 22 + len(_CHARS)] = kinds[6:]
    out[22 + len(_CHARS) :] = np.bincount(_MARK[words], minlength=_GROUPS + 1)[:_GROUPS]
    np.log1p(out, out)
    np.divide(kinds[:6], size, out[2:8])
    ordered = np.sort(words)
    counts = (
        np.add.reduce(lengths),
        np.count_nonzero(lengths > 8),
        np.count_nonzero(raw.take(starts, mode="clip") < 58),
        np.count_nonzero(_fresh(ordered)),
    )
    out[8:12] = [float(count) / n for count in counts]
    return out


def _lines(raw: NDArray[np.uint8], breaks: int) -> tuple[float, ...]:
    """Of the lines: how many, their mean length, the longest, the first, the last, their standard deviation. What ends
    a line counts as part of it."""
    size = len(raw)
    if not breaks:
        return 1.0, size, size, size, size, 0.0
    at = (raw == 10).nonzero()[0]
    inner = at[1:] - at[:-1]
    first, last = int(at[0]) + 1, size - 1 - int(at[-1])
    squares = first * first + last * last + int(inner @ inner)
    longest = max(first, last, int(np.maximum.reduce(inner, initial=0)))
    count = breaks + 1
    mean = size / count
    return count, mean, longest, first, last, max(0.0, squares / count - mean * mean) ** 0.5


def spelling(text: str) -> dict[int, str]:
    """The words, stems ("stem…") and pairs of a text by their buckets, for explanations."""
    low = _low(text, text.encode("utf-8", "replace")[:_MOST_BYTES]).lower()
    starts, ends, hashes = _hashed(low)
    spans = list(zip(starts.tolist(), ends.tolist(), strict=True))
    words = [low[s:e].decode("utf-8", "replace") for s, e in spans]
    stems = [low[s : s + 5].decode("utf-8", "replace") + "…" for s, e in spans if e - s > 5]
    pairs = [f"{a} {b}" for a, b in itertools.pairwise(words)]
    buckets = _bucket(hashes).tolist()
    return dict(zip(reversed(buckets), reversed([*words, *stems, *pairs]), strict=True))
