"""What is kept of a call: an allow-list of fields, and how it lies in a store's file."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime, timezone
from typing import Any

from ..call.inflight import Call
from ..records import AttemptRecord
from ..redact import redact
from ..spec.capability import names_of

_LONGEST_EXTRA = 20_000  # characters of ``extra`` as JSON
_ATTEMPT = tuple(field.name for field in fields(AttemptRecord))
Record = dict[str, Any]


def record_of(call: Call, ended: float) -> Record:
    """What is kept of a call: an allow-list. Times ISO 8601 UTC, latencies ms, money USD."""
    result, request = call.result, call.request
    answered = [attempt for attempt in result.attempts if attempt.outcome == "answered"]
    created = ended - (result.latency_s or 0.0)
    rule, targets, candidates = result.matched_rule, result.selected_targets, result.candidates()
    served = result.status not in ("refused", "failed")
    tokens_in = [a.input_tokens for a in result.attempts if a.input_tokens is not None]
    tokens_out = [a.output_tokens for a in result.attempts if a.output_tokens is not None]
    ttft = answered[-1].ttft_ms if answered else None
    return {
        "request_id": result.request_id,
        "created_at": iso_of(created),
        "router": result.router,
        "version": result.version,
        "hash": result.hash,
        "matched_rule": rule.name if rule is not None else None,
        "selected_target": targets[0].model_name if targets else None,
        "deployment": result.deployment if served else None,
        "model": result.model if served else None,
        "status": result.status,
        "ranking": [one[0] for one in candidates],
        "rejected": result.rejected,
        "scores": {one[0]: one[1] for one in candidates},
        "qualities": {one[0]: one[2] for one in candidates},
        "guessed": result.guessed,
        "propensity": result.propensity,
        "objective": result.objective,
        "waived": result.waived,
        "attempts": [{name: getattr(attempt, name) for name in _ATTEMPT} for attempt in result.attempts],
        "input_tokens": sum(tokens_in) if tokens_in else None,
        "output_tokens": sum(tokens_out) if tokens_out else None,
        "cost_usd": result.cost_usd,
        "estimated_cost_usd": result.estimated_cost_usd,
        "ttft_ms": ttft,
        "latency_ms": None if result.latency_s is None else result.latency_s * 1e3,
        "user": _user(request.keys.get("user")),
        "extra": _extra(request.keys.get("extra")),
        "shadows": list(result.shadows),
        "rule_trace": [{**tried, "why": _without_values(tried["why"])} for tried in result.rule_trace],
        "output_cap": result.output_cap,
        "notes": result.notes,
        "request": {
            "input_tokens": request.estimate,
            "input_tokens_upper": min(request.upper, 1 << 53),
            "max_tokens": request.cap,
            "n": request.n,
            "stream": request.stream,
            "needs": names_of(request.needs),
        },
    }


def _without_values(why: str) -> str:
    """Why a rule did not match, without what was found: that may be a prompt, a header, a key."""
    return why.partition(": found")[0]


def row_of(record: Record) -> tuple[Any, ...]:
    return (
        record["request_id"],
        record["router"],
        datetime.fromisoformat(record["created_at"]).timestamp(),
        record["status"],
        record["matched_rule"],
        record["model"],
        None if record["user"] is None else str(record["user"]),
        packed(record),
    )


def packed(record: Record) -> str:
    """A record as it lies in the file: names of candidates once, figures to six digits."""
    kept = {name: value for name, value in record.items() if name not in ("ranking", "scores", "qualities", "router")}
    scores, qualities = record["scores"], record["qualities"]
    kept["candidates"] = [
        [name, None if scores[name] is None else float(f"{scores[name]:.6g}"), float(f"{qualities[name]:.6g}")]
        for name in record["ranking"]
    ]
    kept["router"] = record["router"]
    return json_of(kept)


def unpacked(text: str) -> Record:
    record: Record = json.loads(text)
    candidates = record.pop("candidates")
    record["ranking"] = [one[0] for one in candidates]
    record["scores"] = {one[0]: one[1] for one in candidates}
    record["qualities"] = {one[0]: one[2] for one in candidates}
    return record


def _user(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    return redact(str(value))[:512].encode("utf-8", "replace").decode()


def _extra(value: Any) -> Any:
    if value is None:
        return None
    text = redact(json.dumps(value, default=str, ensure_ascii=False))
    if len(text) > _LONGEST_EXTRA - 1:
        return {"left_out": f"extra of {len(text)} characters or more"}
    try:
        return json.loads(text)
    except ValueError:  # a secret was taken out across a border of the JSON
        return {"redacted": text}


def iso_of(wall: float) -> str:
    return datetime.fromtimestamp(wall, timezone.utc).isoformat(timespec="microseconds")


def json_of(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace").decode()


def cell_of(value: Any) -> Any:
    return json_of(value) if isinstance(value, (dict, list)) else value
