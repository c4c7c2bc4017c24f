"""What the command writes: tables and lines for people, JSON for programs, progress on stderr.

Rule: whatever comes from a store, a file or an exception is cleaned before it is written: what is not printable (escape
sequences, tabs, marks that turn the direction of writing) becomes ``�``. JSON is pure ASCII, which escapes the same.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

_WIDE = 240  # columns where nobody looks: a pipe or a file
_NUMBERS = ("#", "priority", "score", "quality", "tokens", "cost", "latency", "first token", "weight")
_WHOLE = ("at", "changed", "request", "hash", "#")  # columns that are not broken in a narrow terminal
PRIVATE = ("messages", "prompt", "answer", "input")  # of a record: what was asked and answered


def clean(value: object) -> str:
    """One line without characters that a terminal would obey."""
    return "".join(ch if ch.isprintable() else "�" for ch in str(value))


def clean_lines(text: str) -> str:
    """``clean`` line by line."""
    return "\n".join(clean(line) for line in text.split("\n"))


def plain(value: Any) -> Any:
    """A value as JSON can hold it: numbers that are none become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def as_json(value: Any, indent: int | None = 2) -> str:
    return json.dumps(plain(value), indent=indent, default=str, allow_nan=False)


def without_content(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without what was asked and answered."""
    return {name: value for name, value in record.items() if name not in PRIVATE}


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def moment(value: Any) -> str:
    """A time to the second, UTC as all are."""
    return "" if value is None else str(value)[:19].replace("T", " ")


def usd(value: Any) -> str:
    return "" if value is None else f"${value:.6f}"


def ms(value: Any) -> str:
    return "" if value is None else f"{value:.0f} ms"


def number(value: Any, form: str = ".3f") -> str:
    return "" if value is None else format(value, form)


class Screen:
    """Where one command writes: ``out`` is its standard output, ``err`` its standard error."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out, self._err = out, err
        self._console = Console(
            file=out,
            highlight=False,
            markup=False,
            emoji=False,
            width=None if out.isatty() else _WIDE,
        )

    def line(self, text: object = "") -> None:
        """One line of text."""
        self._console.print(Text(clean(text)), soft_wrap=True)

    def lines(self, text: str) -> None:
        for line in text.split("\n"):
            self.line(line)

    def heading(self, text: str) -> None:
        self._console.print(Text(clean(text), style="bold"), soft_wrap=True)

    def table(self, names: Sequence[str], rows: Iterable[Sequence[object]], indent: int = 0) -> None:
        """A table; columns in which nothing stands are left out."""
        cells = [["" if cell is None else clean(cell) for cell in row] for row in rows]
        kept = [at for at in range(len(names)) if any(row[at] for row in cells)]
        table = Table(box=None, pad_edge=False, header_style="dim", show_header=any(names))
        for at in kept:
            right = names[at].startswith(_NUMBERS)
            table.add_column(
                Text(names[at]), justify="right" if right else "left", overflow="fold", no_wrap=names[at] in _WHOLE
            )
        for row in cells:
            table.add_row(*(Text(row[at]) for at in kept))
        self._console.print(Padding(table, (0, 0, 0, indent), expand=False))

    def json(self, value: Any) -> None:
        self._out.write(as_json(value) + "\n")

    def document(self, text: str) -> None:
        """A text byte by byte; cleaned where a person looks at it."""
        self._out.write(clean_lines(text) if self._out.isatty() else text)

    def error(self, text: str) -> None:
        self._err.write(clean_lines(text) + "\n")
        self._err.flush()

    @contextmanager
    def progress(self, what: str, quiet: bool) -> Iterator[Progress | None]:
        """A bar on stderr; None where nobody would see it."""
        if quiet or not self._err.isatty():
            yield None
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        console = Console(file=self._err, markup=False, emoji=False, highlight=False)
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
            bar.add_task(clean(what), total=None)
            yield bar

    def tracked(self, items: Iterable[Any], what: str, quiet: bool, total: int | None = None) -> Iterator[Any]:
        """``items``, with a bar while they are gone through."""
        with self.progress(what, quiet) as bar:
            if bar is not None:
                bar.update(bar.task_ids[0], total=total)
            for item in items:
                yield item
                if bar is not None:
                    bar.advance(bar.task_ids[0])


def terminal() -> Screen:
    return Screen(sys.stdout, sys.stderr)
