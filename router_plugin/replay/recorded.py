"""A record of the history, and the request that it tells of: what it holds, and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..decide.request import read_request
from ..errors import SpecError
from ..records import UNBOUNDED, Request
from ..redact import MASK
from ..spec.capability import AUDIO_INPUT, CAPABILITIES, FILES, TOOLS, VISION

COUNTED = ""  # the key, among exact counts by model, of the input tokens that a provider has billed
_LIVE = {"budget": "what was left of budgets", "stats": "live statistics"}
_FIELDS = {"tokens", "has_image", "stream"}  # always known
_LONGEST_USER = 512  # characters that a record keeps


class Unknown(Exception):
    """The record does not hold what the decision needs."""


@dataclass(slots=True)
class Recorded:
    """A record and the request that it tells of."""

    record: Mapping[str, Any]
    request: Request
    content: bool  # whether the messages are there
    # Of the version that it was made by: its deployments' models and abilities, and what predicted their quality.
    named: Callable[[str], str | None] | None = None
    ability: Callable[[str], float | None] | None = None
    predictor: object = None

    def model_of(self, name: str) -> str | None:
        """The model of a deployment that the record names; None where nobody knows any more."""
        record = self.record
        attempts = record.get("attempts")
        for one in (*(attempts if isinstance(attempts, (list, tuple)) else ()), record):
            if isinstance(one, Mapping) and one.get("deployment") == name and isinstance(one.get("model"), str):
                return str(one["model"])
        return None if self.named is None else self.named(name)

    @property
    def id(self) -> str:
        return str(self.record.get("request_id", ""))

    @property
    def first(self) -> str | None:
        """The name of the deployment that was to be asked first."""
        ranking = self.record.get("ranking")
        name = ranking[0] if isinstance(ranking, (list, tuple)) and ranking else self.record.get("deployment")
        return name if isinstance(name, str) else None

    @property
    def asked(self) -> str | None:
        """The model name that the call gave, where that is kept."""
        said = self.record.get("request")
        name = said.get("model") if isinstance(said, Mapping) else None
        return name if isinstance(name, str) else None

    def lacks(self, name: str) -> str | None:
        """Why the field that begins so cannot be read of this record; None where it can."""
        record, extra = self.record, self.request.keys["extra"]
        if name in _FIELDS:
            return None
        if name in ("prompt", "messages"):
            return None if self.content else f"a rule reads {name}, and content was not logged"
        if name == "tools":
            used = self.request.needs & TOOLS
            return "a rule reads the names of tools, which are not in the record" if used else None
        if name in _LIVE:
            return f"a rule reads {_LIVE[name]}, which is not in the record"
        if name == "metadata":
            return None if name in record else "a rule reads metadata, which is not in the record"
        if name == "model":
            said = record.get("request")
            known = isinstance(said, Mapping) and "model" in said
            return None if known else "a rule reads the model that was asked for, which is not in the record"
        if name == "user":
            cut = isinstance(record.get("user"), str) and (
                MASK in record["user"] or len(record["user"]) >= _LONGEST_USER
            )
            return "a rule reads the user, of whom the record keeps a part only" if cut else None
        if extra is not None and (set(extra) in ({"left_out"}, {"redacted"}) or MASK in str(extra)):
            return "a rule reads extra, of which the record keeps a part only"
        if name != "extra" and record.get("status") == "decided" and (extra is None or name not in extra):
            return f"a rule reads {name}, which route() may have been given"
        return None


def read_record(record: Any) -> Recorded:
    """The request of a history record.

    Raises: Unknown where its figures are not there.
    """
    said, messages = record.get("request"), record.get("messages")
    extra = record.get("extra") if isinstance(record.get("extra"), Mapping) else None
    keys = {"user": record.get("user"), "extra": extra, "metadata": record.get("metadata")}
    read: Request | None = None
    if isinstance(messages, (list, tuple)):
        try:
            read = read_request({"messages": messages}, extra)
        except SpecError:  # the caller's redaction has made something else of them
            read = None
    if not isinstance(said, Mapping):
        if read is None:
            raise Unknown("the record has neither the figures of its request nor its messages")
        return Recorded(record, replace(read, keys=keys), True)
    needs, estimate = _needs(said.get("needs", ())), _whole(said, "input_tokens", 0, 0)
    upper = _whole(said, "input_tokens_upper", 0, estimate)
    request = Request(
        needs=needs | (read.needs if read else 0),
        estimate=estimate,
        upper=UNBOUNDED if upper >= 1 << 53 else max(upper, estimate),
        low=read.low if read else 0 if needs & (VISION | AUDIO_INPUT | FILES) else estimate // 2,
        cap=None if said.get("max_tokens") is None else _whole(said, "max_tokens", 1, 1),
        n=_whole(said, "n", 1, 1),
        stream=said.get("stream") is True,
        messages=messages if read and messages else (),
        cache_marks=read.cache_marks if read else False,
        history=read.history if read else None,
        keys=keys,
        exact_counts=_billed(record),
    )
    return Recorded(record, request, read is not None)


def _billed(record: Mapping[str, Any]) -> dict[str, int]:
    attempts, tokens = record.get("attempts"), record.get("input_tokens")
    once = isinstance(attempts, (list, tuple)) and len(attempts) == 1
    return {COUNTED: tokens} if once and type(tokens) is int and tokens > 0 else {}


def _whole(said: Mapping[str, Any], name: str, least: int, default: int) -> int:
    value = said.get(name, default)
    if type(value) is not int or value < least:
        raise Unknown(f"the record's request.{name} is no count")
    return value


def _needs(names: Any) -> int:
    mask = 0
    for name in names if isinstance(names, (list, tuple)) else ("no list",):
        if not isinstance(name, str) or name not in CAPABILITIES:
            raise Unknown("the record's request.needs has names that are not known")
        mask |= CAPABILITIES[name]
    return mask
