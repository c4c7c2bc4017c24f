"""Other people's text inside a judge's prompt, and the score inside a judge's answer.

Rule: what is judged is data. It stands between fences that are made after it was written (96 random bits, so it cannot
end the quotation), is cut to its head and tail, and is never part of an instruction. Of the judge's answer only the
last well-formed score counts; what it repeats between fences, and a score that the judged text already says in the same
words, do not.
Theory: prompt injection against LLM judges (Shi et al. 2024, JudgeDeceiver); delimiters that cannot be guessed
("spotlighting", Hines et al. 2024).
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MOST = 20_000  # characters of each quoted text
_LONGEST_ANSWER = 20_000  # of a judge: its end is read
_MOST_OBJECTS = 400
_LONGEST_SCORE = 100  # characters of one written as text
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_NUMBER_LINE = re.compile(
    r"[\s*_`#>]*(?:(?:final\s+)?score\s*[:=]\s*)?[*_`\s]*([+-]?\d{1,9}(?:\.\d{1,9})?)[\s*_`.]*\Z", re.I
)
_SCORE = re.compile(
    r"\s*([+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(?:e[+-]?[0-9]{1,2})?)\s*(?:/\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*)?",
    re.I,
)
_DECODER: json.JSONDecoder


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_no_constant)


def fence_for(*texts: str) -> str:
    """A mark that stands in none of the texts."""
    while True:
        mark = secrets.token_hex(12)
        if not any(mark in text for text in texts):
            return mark


def cut(text: str, most: int = MOST) -> str:
    """The head and the tail of a long text, and how much was left out between them."""
    if len(text) <= most:
        return text
    head = most * 2 // 3
    tail = most - head
    return f"{text[:head]}\n[{len(text) - most} characters are left out here]\n{text[-tail:]}"


def clean(text: str) -> str:
    """Text that can be sent: without control characters, marks that turn the direction of writing, lone surrogates."""
    return _CONTROL.sub("�", text).encode("utf-8", "replace").decode()


def quoted(name: str, text: str, fence: str) -> str:
    """One text as data between fences."""
    return f"<data-{fence} {name}>\n{clean(cut(text))}\n</data-{fence}>"


def without_quotes(text: str, fence: str) -> str | None:
    """A judge's answer without what it repeats of the quotations; None where a quotation has no end."""
    if fence not in text:
        return text
    start, end = f"<data-{fence}", f"</data-{fence}>"
    kept: list[str] = []
    while start in text:
        before, _, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not closed:
            return None
        kept.append(before)
        text = after
    text = "\n".join((*kept, text))
    return None if fence in text else text


def objects(text: str) -> Iterator[Any]:
    """Every JSON object of a text that stands inside no other, in order."""
    position = 0
    for _ in range(_MOST_OBJECTS):
        position = text.find("{", position)
        if position < 0:
            return
        try:
            value, position = _DECODER.raw_decode(text, position)
            yield value
        except (ValueError, RecursionError):
            position += 1


def at_path(value: Any, path: Sequence[str]) -> Any:
    """What lies at a path of keys and indices; None where nothing does."""
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, (list, tuple)) and re.fullmatch(r"-?\d{1,6}", part):
            index = int(part)
            value = value[index] if -len(value) <= index < len(value) else None
        else:
            return None
    return value


def is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15 and math.isfinite(value)
    )


def score_in(value: Any, most: float) -> float | None:
    """A score: a number, or text that is one and nothing else (``7.5``, ``8/10`` on a scale that ends at 10)."""
    if isinstance(value, str):
        found = _SCORE.fullmatch(value) if len(value) <= _LONGEST_SCORE else None
        if found is None or (found[2] is not None and float(found[2]) != most):
            return None
        value = float(found[1])
    return float(value) if is_number(value) else None


def same_claim(one: Any, other: Any) -> bool:
    """Whether two values say the same, be their numbers written as numbers or as text."""
    try:
        return _same(one, other)
    except RecursionError:  # nobody nests a score so deep but to hide it
        return True


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    numbers = score_in(one, math.nan), score_in(other, math.nan)
    return one == other or (numbers[0] is not None and numbers[0] == numbers[1])


def last_object(text: str, path: Sequence[str]) -> tuple[Any, dict[str, Any]] | None:
    """The value at ``path`` in the last object that has one, and that object."""
    found = None
    for value in objects(text[-_LONGEST_ANSWER:]):
        inside = at_path(value, path)
        if inside is not None:
            found = (inside, value)
    return found


def last_number(text: str) -> float | None:
    """The number that is all of the last line of a text (``7``, ``Score: 7``); None where that says something else."""
    lines = [line for line in text[-_LONGEST_ANSWER:].splitlines() if line.strip()]
    found = _NUMBER_LINE.match(lines[-1][:200]) if lines else None
    return float(found[1]) if found else None


def claims(text: str, path: Sequence[str]) -> list[Any]:
    """The scores that a judged text itself says: whole objects, and the numbers of lines that speak of a score."""
    text = f"{text[:MOST]}\n{text[-MOST:]}"
    found = [value for value in objects(text) if at_path(value, path) is not None]
    for line in text.splitlines():
        if "score" in line.lower() and (number := _NUMBER_LINE.match(line[:200])):
            found.append(float(number[1]))
    return found
