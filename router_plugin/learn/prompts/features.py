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
import sys
from collections.abc import Sequence
from operator import mul
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .markers import MARKERS
from .reading import HEAD, TAIL, Text, read_prompt

FEATURES = 2  # version of everything in this file, in reading.py and in markers.py
BITS = 18
_MOST_BYTES = 16_384
MOST_BUCKETS = _MOST_BYTES + 1  # where every second byte is a word

Floats = NDArray[np.float64]
Buckets = NDArray[np.uint32]  # half the width sorts in a third of the time
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
_SHIFT = np.uint32(32 - BITS)
_LOW = int(sys.byteorder == "big")  # which of the two halves in memory is a hash's lower one


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
    """Where words start, how long they are, and the hashes of words, then of the stems of long ones, then of pairs.

    A blank is put in front, so that the sums before a word's first and at its last byte lie where it starts and ends.
    """
    codes = np.frombuffer((b" " + low + _AFTER).translate(_CODES), np.uint8)
    inside = codes.astype(bool)
    edges = (inside[1:] != inside[:-1]).nonzero()[0]
    starts = edges[0::2]
    lengths = edges[1::2] - starts
    running = np.add.accumulate(codes * _UP[: codes.size])
    sums, down = running.take(edges), _DOWN[starts]
    base = sums[0::2]
    words = (sums[1::2] - base) * down
    long = (lengths > 5).nonzero()[0]
    stems = (running[starts[long] + 5] - base[long]) * down[long] + _STEM
    return starts, lengths, np.concatenate((words, stems, words[:-1] * _PAIR + words[1:]))


def _bucket(hashes: Hashes) -> Buckets:
    """The indices of hashes, which are used up."""
    halves = hashes.view(np.uint32)
    low, high = halves[_LOW::2], halves[1 - _LOW :: 2]
    low ^= high
    hashes *= _MIX
    low ^= high
    hashes *= _MIX
    found: Buckets = high >> _SHIFT
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
_CHAR_CODES = np.array([ord(char) for char in _CHARS])
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


# Where bytes of another kind begin: controls, blank, !…/, digits, :…@, capitals, […`, small letters, {…, non-ASCII.
_KINDS = np.array([0, 32, 33, 48, 58, 65, 91, 97, 123, 128])
_MANY = 40  # lines, from which on NumPy is quicker
_FIGURES, _MARKS, _SHARES = len(NAMES), 22 + len(_CHARS), (0.0,) * 10


def analyse(prompt: str | Sequence[Any]) -> tuple[Buckets, Floats]:
    """A prompt's buckets (sorted, each once) and its surface figures (in the order of ``NAMES``)."""
    read = read_prompt(prompt)
    raw = read.text.encode("utf-8", "replace")[:_MOST_BYTES]
    starts, lengths, hashes = _hashed(_low(read.text, raw))
    buckets = _bucket(hashes)
    surface = _surface(read, raw, starts, lengths, buckets[: starts.size])
    buckets.sort()
    fresh = np.empty(buckets.size, bool)
    fresh[:1] = True
    np.not_equal(buckets[1:], buckets[:-1], fresh[1:])
    return buckets[fresh], surface


def _surface(read: Text, raw: bytes, starts: Places, lengths: Places, words: Buckets) -> Floats:
    """The figures: counts go through ln(1 + x), shares stay as they are. Text is read as if a blank followed it."""
    plain = np.frombuffer(raw, np.uint8)
    counts = np.bincount(plain, minlength=256)
    _, blanks, _, digits, _, capitals, _, small, _, beyond = np.add.reduceat(counts, _KINDS).tolist()
    letters, ascii_only = capitals + small, read.text.isascii()
    size, n = plain.size + 1, starts.size or 1
    out = np.empty(_FIGURES)
    out[:22] = (read.length, n, *_SHARES, *_lines(raw), read.turns, read.system, read.other,
                max(0, read.length - HEAD - TAIL))  # fmt: skip
    out[22:_MARKS] = counts.take(_CHAR_CODES)
    out[_MARKS:] = np.bincount(_MARK.take(words), minlength=_GROUPS + 1)[:-1]
    np.log1p(out, out)
    ordered = words.copy()
    ordered.sort()
    out[2:12] = (
        letters / size,
        digits / size,
        beyond / size,
        (plain.size - letters - digits - beyond - blanks) / size,
        (blanks + 1) / size,
        capitals / size,
        (letters + digits if ascii_only else int(np.add.reduce(lengths))) / n,  # the lower-cased text may be longer
        (lengths > 8).tobytes().count(1) / n,  # quicker than NumPy's own count of so few
        _numbers(raw, starts) / n if digits or not ascii_only else 0.0,
        ((ordered[1:] != ordered[:-1]).tobytes().count(1) + (words.size > 0)) / n,
    )
    return out


def _numbers(raw: bytes, starts: Places) -> int:
    """How many words begin with a digit."""
    begun = np.frombuffer(raw + b"\n", np.uint8).take(starts, mode="clip")  # the lower-cased text may be longer
    return (begun < 58).tobytes().count(1)


def _lines(raw: bytes) -> tuple[float, ...]:
    """Of the lines: how many, their mean length, the longest, the first, the last, their standard deviation. What ends
    a line counts as part of it."""
    size, count = len(raw) + 1, raw.count(b"\n") + 1
    lengths: Any
    if count == 1:
        return 1.0, size, size, size, size, 0.0
    if count < _MANY:
        lengths = [len(line) + 1 for line in raw.split(b"\n")]
        longest, squares = max(lengths), sum(map(mul, lengths, lengths))
    else:
        at = (np.frombuffer(b"\n" + raw + b"\n", np.uint8) == 10).nonzero()[0]
        lengths = at[1:] - at[:-1]
        longest, squares = int(np.maximum.reduce(lengths)), int(lengths.dot(lengths))
    mean = size / count
    spread = max(0.0, squares / count - mean * mean) ** 0.5
    return count, mean, longest, int(lengths[0]), int(lengths[-1]), spread


def spelling(text: str) -> dict[int, str]:
    """The words, stems ("stem…") and pairs of a text by their buckets, for explanations."""
    low = _low(text, text.encode("utf-8", "replace")[:_MOST_BYTES]).lower()
    starts, lengths, hashes = _hashed(low)
    spans = list(zip(starts.tolist(), (starts + lengths).tolist(), strict=True))
    words = [low[s:e].decode("utf-8", "replace") for s, e in spans]
    stems = [low[s : s + 5].decode("utf-8", "replace") + "…" for s, e in spans if e - s > 5]
    pairs = [f"{a} {b}" for a, b in itertools.pairwise(words)]
    buckets = _bucket(hashes).tolist()
    return dict(zip(reversed(buckets), reversed([*words, *stems, *pairs]), strict=True))
