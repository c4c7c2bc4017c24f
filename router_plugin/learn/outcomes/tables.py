"""Outcomes that exist already, as rows for ``fit``: tables in files, rows of a program, records of the history.

A table has a line for each answer: ``prompt`` (text, or messages), ``model``, ``score`` in 0..1, and where known
``task``, ``input_tokens``, ``output_tokens`` (or ``tokens``), ``cost_usd`` (or ``cost``), ``latency_ms`` (or
``latency``, seconds). Lines of one prompt become one row; several scores of one model their mean; a score that is
empty, None or NaN is missing; a prompt without any is left out, and counted in a warning. Lines in the shape of
``fit``'s own rows (``scores`` by model) may stand among them, and so may records of requests: they count where they
carry feedback and their content was kept (``log_content``).
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import SpecError, TrainingError, did_you_mean
from ...redact import shown
from .figures import figure
from .files import lines
from .rows import tell_unheard

log = logging.getLogger("router_plugin")
_COLUMNS = {"tokens": "output_tokens", "cost": "cost_usd"}
_BY_MODEL = ("scores", "output_tokens", "cost_usd", "latency_ms")


def read_outcomes(source: Any) -> list[Mapping[str, Any]]:
    """Rows ``{"prompt", "scores": {model: 0..1}, …}`` of a file (``.jsonl``, ``.csv``, ``.parquet``), of mappings, or
    of a data frame.

    Raises: SpecError naming the line, the column and what would be right; TrainingError where no line has a score;
    OSError where a file cannot be read.
    """
    rows: dict[str, _Row] = {}
    heard: dict[str, bool] = {}  # whether a model ever had a score
    records = bare = 0
    for where, line in lines(source):
        records += (record := _is_record(line))
        bare += record and not line.get("messages") and figure(line.get("feedback"), f"{where}: feedback") is not None
        for prompt, model, score, more in _answers(line, where):
            heard[model] = heard.get(model, False) or score is not None
            key = json.dumps([prompt, more.get("task")], sort_keys=True, default=str)
            rows.setdefault(key, _Row(prompt, more.get("task"), line.get("id"))).add(model, score, more)
    found: list[Mapping[str, Any]] = [row.made() for row in rows.values() if row.scores]
    if not found and records:
        raise TrainingError(
            f"outcomes: of {records} records of requests none has feedback and its content; {bare} have feedback, and "
            "their content was not kept: Router(…, log_content=True)"
        )
    if not found:
        raise TrainingError("outcomes: no line has a prompt, a model and a score")
    tell_unheard(heard, [model for model, any_score in heard.items() if any_score])
    if bare:
        log.warning("%d of %d records of requests have feedback without content, and are left out", bare, records)
    if len(found) < len(rows):
        log.warning("%d of %d prompts have no score of any model and are left out", len(rows) - len(found), len(rows))
    return found


class _Row:
    """One prompt and what is known of its answers."""

    def __init__(self, prompt: Any, task: Any, id_: Any) -> None:
        self.prompt, self.task, self.id, self.input_tokens = prompt, task, id_, None
        self.scores: dict[str, list[float]] = {}
        self.figures: dict[str, dict[str, list[float]]] = {name: {} for name in _BY_MODEL[1:]}

    def add(self, model: str, score: float | None, more: Mapping[str, Any]) -> None:
        if score is not None:
            self.scores.setdefault(model, []).append(score)
        for name, values in self.figures.items():
            if more.get(name) is not None:
                values.setdefault(model, []).append(more[name])
        self.input_tokens = more.get("input_tokens") if self.input_tokens is None else self.input_tokens

    def made(self) -> dict[str, Any]:
        row: dict[str, Any] = {"prompt": self.prompt, "scores": _means(self.scores)}
        for name, value in (("id", self.id), ("task", self.task), ("input_tokens", self.input_tokens)):
            if value is not None:
                row[name] = value
        return row | {name: _means(values) for name, values in self.figures.items() if values}


def _means(values: Mapping[str, list[float]]) -> dict[str, float]:
    return {model: math.fsum(given) / len(given) for model, given in values.items()}


def _answers(line: Mapping[str, Any], where: str) -> Iterator[tuple[Any, str, float | None, dict[str, Any]]]:
    """(prompt, model, score, further figures) of every answer that a line tells of."""
    if _is_record(line):
        yield from _of_record(line, where)
        return
    if isinstance(line.get("scores"), Mapping):
        prompt = _prompt(line, where)
        shared = {"task": line.get("task"), "input_tokens": _figure(line.get("input_tokens"), where, "input_tokens")}
        for model, score in line["scores"].items():
            more = {name: _of_model(line.get(name), model, where, name) for name in _BY_MODEL[1:]}
            yield prompt, _model(model, where), _score(score, where), {**shared, **more}
        return
    for needed in ("prompt", "model", "score"):
        if needed not in line and not (needed == "prompt" and "messages" in line):
            raise SpecError(
                f"{where}: there is no column {needed!r}{_near(needed, line)}; there are {', '.join(map(str, line))}"
            )
    more = {"task": line.get("task") or None}
    for name in ("input_tokens", *_BY_MODEL[1:]):
        more[name] = _figure(line.get(name), where, name)
    for name, real in _COLUMNS.items():
        if more[real] is None:
            more[real] = _figure(line.get(name), where, name)
    if more["latency_ms"] is None and (seconds := _figure(line.get("latency"), where, "latency")) is not None:
        more["latency_ms"] = seconds * 1e3
    yield _prompt(line, where), _model(line["model"], where), _score(line["score"], where), more


def _is_record(line: Mapping[str, Any]) -> bool:
    return "request_id" in line and "ranking" in line


def _of_record(record: Mapping[str, Any], where: str) -> Iterator[tuple[Any, str, float | None, dict[str, Any]]]:
    """The answer that a record of the history tells of, where it was judged and its prompt was kept."""
    messages, model, feedback = record.get("messages"), record.get("model"), record.get("feedback")
    if not messages or not isinstance(model, str) or not model or feedback is None:
        return
    attempts = [one for one in record.get("attempts") or () if isinstance(one, Mapping)]
    last = next((one for one in reversed(attempts) if one.get("outcome") == "answered"), {})
    more = {"input_tokens": last.get("input_tokens"), "output_tokens": last.get("output_tokens")}
    more |= {"cost_usd": last.get("cost_usd"), "latency_ms": last.get("latency_ms")}
    figures = {name: _figure(value, where, name) for name, value in more.items()}
    yield _prompt(record, where), model, _score(feedback, where), figures


def _prompt(line: Mapping[str, Any], where: str) -> Any:
    """The prompt as a predictor reads it: the text of a single human turn, else the messages."""
    given: Any = line.get("prompt") if line.get("prompt") is not None else line.get("messages")
    if hasattr(given, "tolist"):  # NumPy's, out of a data frame
        given = given.tolist()
    if isinstance(given, (list, tuple)) and given and all(isinstance(one, Mapping) for one in given):
        only = given[0]
        if len(given) == 1 and only.get("role") == "user" and isinstance(only.get("content"), str):
            return only["content"]
        return [dict(one) for one in given]
    if isinstance(given, str) and given:
        return given
    raise SpecError(f"{where}: prompt: must be text or a list of messages, got {shown(given)}")


def _model(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SpecError(f"{where}: model: must be the name of a model, got {shown(value)}")
    return value.strip()


def _score(value: Any, where: str) -> float | None:
    return figure(value, f"{where}: score", 1.0)


def _figure(value: Any, where: str, name: str) -> float | None:
    found = None if isinstance(value, Mapping) else figure(value, f"{where}: {name}", 1e12)
    return int(found) if found is not None and name.endswith("tokens") else found


def _of_model(values: Any, model: Any, where: str, name: str) -> float | None:
    return _figure(values.get(model), where, name) if isinstance(values, Mapping) else None


def _near(name: str, line: Mapping[str, Any]) -> str:
    return did_you_mean(name, [str(key) for key in line])
