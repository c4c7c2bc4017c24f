"""The lines of a table of outcomes: out of JSONL, CSV, Parquet, a data frame or a list of mappings."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import SpecError
from ...redact import shown

_PARQUET = "reading Parquet needs pyarrow or pandas: pip install 'router-plugin[parquet]'"
_JSON = ("messages", "scores", "attempts")  # columns whose cells are JSON in a CSV file, as in an export of the history
Line = tuple[str, Mapping[str, Any]]


def lines(source: Any) -> Iterator[Line]:
    """(where it stands, line) of everything in a file, a data frame or a list. See ``read_outcomes``."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        kind = path.suffix.lower()
        readers = {".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _jsonl, ".csv": _csv, ".parquet": _parquet}
        if kind not in readers:
            raise SpecError(f"outcomes: must be a .jsonl, .csv or .parquet file, not {shown(path.name)}")
        yield from readers[kind](path)
        return
    if callable(getattr(source, "to_dict", None)) and hasattr(source, "columns"):
        source = source.to_dict("records")
    if isinstance(source, (bytes, Mapping)) or not isinstance(source, Iterable):
        raise SpecError(f"outcomes: must be rows, a data frame, or the path of a file, not {shown(source)}")
    for number, line in enumerate(source):
        if not isinstance(line, Mapping):
            raise SpecError(f"outcomes[{number}]: must be a mapping with 'prompt', 'model', 'score', not {shown(line)}")
        yield f"outcomes[{number}]", line


def _jsonl(path: Path) -> Iterator[Line]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            if not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text):
                raise SpecError(f"{path.name}: line {number}: is not UTF-8")
            try:
                line = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise SpecError(f"{path.name}: line {number}: is no JSON: {error}") from None
            if not isinstance(line, dict):
                raise SpecError(f"{path.name}: line {number}: must be a JSON object, not {shown(line)}")
            yield f"{path.name}: line {number}", line


def _csv(path: Path) -> Iterator[Line]:
    before = csv.field_size_limit(min(sys.maxsize, (1 << 31) - 1))  # prompts may be longer than its 128 kB
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            for line in reader:
                where = f"{path.name}: line {reader.line_num}"
                if None in line or None in line.values():
                    raise SpecError(f"{where}: has not as many fields as the header")
                yield where, {**line, **{name: _of_json(line[name]) for name in _JSON if name in line}}
    except (csv.Error, UnicodeDecodeError) as error:
        raise SpecError(f"{path.name}: is no CSV in UTF-8: {error}") from None
    finally:
        csv.field_size_limit(before)


def _of_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # whoever reads the line says what it should be
        return text


def _parquet(path: Path) -> Iterator[Line]:
    try:
        found = _parquet_rows(path)
    except ImportError:
        raise SpecError(f"{path.name}: {_PARQUET}") from None
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (ValueError, OSError) as error:  # pyarrow's, of a file that is damaged or another one
        raise SpecError(f"{path.name}: is no Parquet: {shown(str(error))}") from None
    for number, line in enumerate(found, 1):
        yield f"{path.name}: row {number}", line


def _parquet_rows(path: Path) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]]
    try:
        from pyarrow import parquet  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        import pandas  # type: ignore[import-not-found, import-untyped, unused-ignore]

        rows = pandas.read_parquet(path).to_dict("records")
    else:
        rows = parquet.read_table(path).to_pylist(maps_as_pydicts="strict")
    return rows
