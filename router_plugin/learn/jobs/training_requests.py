"""What a training job asks: requests read from messages, prompts or a JSONL file, checked before anything is paid for.

A request is ``{"messages": […]}`` with any of litellm's parameters, ``{"prompt": …}`` (text, or messages), a list of
messages, or plain text; ``ref_answer``, ``id`` and ``task`` are for judges and reports. What would choose who answers
(``models``, ``routing`` …), or where, is refused: the job itself does. The same request twice is asked once.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...decide.request import read_request
from ...errors import SpecError
from ...records import Request
from ...redact import shown
from ...surface import OURS, split

_OURS_HERE = ("ref_answer", "id", "task", "prompt", "model", "stream", "stream_options")
_MOST_REQUESTS = 1_000_000


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """One request of a job: litellm's keyword arguments, the reference answer, and a key of its content."""

    kwargs: dict[str, Any]
    ref_answer: Any
    key: str
    task: str | None = None

    @property
    def prompt(self) -> Any:
        """What a predictor reads: the text of a single human turn, else the messages."""
        messages = self.kwargs["messages"]
        only = messages[0] if len(messages) == 1 else None
        if isinstance(only, Mapping) and only.get("role") == "user" and isinstance(only.get("content"), str):
            return only["content"]
        return messages

    def read(self, cap: int | None = None) -> Request:
        """The request's sizes; ``cap`` is an output cap where it brings none of its own."""
        request = read_request(self.kwargs)
        return request if request.cap is not None or cap is None else read_request({**self.kwargs, "max_tokens": cap})

    def document(self) -> str:
        whole = {"kwargs": self.kwargs, "ref_answer": self.ref_answer, "task": self.task}
        return json.dumps({name: value for name, value in whole.items() if value is not None})


def request_of(document: str) -> TrainingRequest:
    """The request that ``document()`` wrote."""
    data = json.loads(document)
    return _made(data["kwargs"], data.get("ref_answer"), data.get("task"))


def _made(kwargs: dict[str, Any], ref_answer: Any, task: str | None) -> TrainingRequest:
    text = json.dumps([kwargs, ref_answer], sort_keys=True)
    return TrainingRequest(kwargs, ref_answer, hashlib.sha256(text.encode()).hexdigest()[:24], task)


def read_requests(source: Any) -> tuple[list[TrainingRequest], int]:
    """The requests of a job, each once, and how many were there twice.

    Raises: SpecError naming the request, the field and what would be right; OSError where a file cannot be read.
    """
    if isinstance(source, (str, os.PathLike)):
        items: Iterable[Any] = _lines(Path(source))
    elif isinstance(source, (bytes, Mapping)) or not isinstance(source, Iterable):
        raise SpecError(f"requests: must be a list of requests or the path of a JSONL file, not {shown(source)}")
    else:
        items = source
    found: dict[str, TrainingRequest] = {}
    number = -1
    for number, item in enumerate(items):
        if number >= _MOST_REQUESTS:
            raise SpecError(f"requests: at most {_MOST_REQUESTS} at once")
        request = _read(item, f"requests[{number}]")
        found.setdefault(request.key, request)
    if not found:
        raise SpecError("requests: there is none")
    return list(found.values()), number + 1 - len(found)


def _lines(path: Path) -> Iterable[Any]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if not line.isascii() and any("\udc80" <= char <= "\udcff" for char in line):
                raise SpecError(f"{path.name}: line {number}: is not UTF-8")
            if line.strip():
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise SpecError(f"{path.name}: line {number}: is no JSON: {error}") from None


def _read(item: Any, where: str) -> TrainingRequest:
    if isinstance(item, (str, list)):
        item = {"prompt": item}
    if not isinstance(item, Mapping):
        raise SpecError(f"{where}: must be a mapping with 'messages' or 'prompt', messages, or text, not {shown(item)}")
    kwargs = {str(key): value for key, value in item.items() if key not in _OURS_HERE}
    prompt, task = item.get("prompt"), item.get("task")
    if ("messages" in kwargs) == (prompt is not None):
        raise SpecError(f"{where}: give 'messages' or 'prompt', one of the two")
    if prompt is not None:
        if not isinstance(prompt, (str, list)) or not prompt:
            raise SpecError(f"{where}: prompt: must be text or a list of messages, not {shown(prompt)}")
        kwargs["messages"] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    ours = sorted(OURS.intersection(kwargs))
    if ours:
        raise SpecError(f"{where}: {ours[0]}: the job chooses who answers; leave it out")
    try:
        kwargs = json.loads(json.dumps(kwargs, allow_nan=False))  # what is kept is what is asked
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError(f"{where}: cannot be kept as JSON: {error}") from None
    if not isinstance(kwargs["messages"], list) or not kwargs["messages"]:
        raise SpecError(f"{where}: messages: must be a list with at least one message")
    try:
        split(dict(kwargs), False)
        if read_request(kwargs).n != 1:
            raise SpecError("n: a training request has one answer")
        return _made(kwargs, _kept(item.get("ref_answer")), str(task) if task is not None else None)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None


def _kept(ref_answer: Any) -> Any:
    if isinstance(ref_answer, float) and math.isnan(ref_answer):  # a data frame's way to say nothing
        return None
    try:
        return json.loads(json.dumps(ref_answer))
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError(f"ref_answer: cannot be kept as JSON: {error}") from None
