"""The record of requests: one a call, off the hot path, bounded, without prompts and keys unless asked for."""

from __future__ import annotations

import asyncio
import csv
import gc
import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from router_plugin import (
    Budget,
    BudgetExceededError,
    Client,
    Deployment,
    ResourceNotFoundError,
    Router,
    RouteResult,
    SpecError,
)
from router_plugin.history import log as history_module
from router_plugin.testing import FakeClock, Reply, ScriptedProvider

SECRET = "sk-canary-4711-abcdefgh"
PROMPT = "tell nobody of the purple elephant"
HI = [{"role": "user", "content": PROMPT}]
PRICE: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
FIELDS = {
    "request_id", "created_at", "router", "version", "matched_rule", "selected_target", "ranking", "rejected",
    "propensity", "attempts", "input_tokens", "output_tokens", "cost_usd", "ttft_ms", "latency_ms", "status", "user",
    "extra",
}  # fmt: skip
both = pytest.mark.parametrize("stored", [False, True], ids=["memory", "file"])


def made(tmp_path: Path, stored: bool, script: Any = None, **options: Any) -> tuple[Router, ScriptedProvider, Any]:
    clock = FakeClock()
    provider = ScriptedProvider(clock, script)
    models = options.pop("models", [Deployment(f"openai/{n}", name=n, **PRICE) for n in "ab"])
    client = Client(tmp_path / "h.db") if stored else None
    return Router("r", models=models, clock=clock, provider=provider, client=client, **options), provider, clock


@both
@pytest.mark.parametrize("mode", ["sync", "async", "sync stream", "async stream"])
def test_every_call_leaves_one_record(tmp_path: Path, stored: bool, mode: str) -> None:
    router, _, _ = made(tmp_path, stored, {"a": [Reply("fine", latency_s=0.5, input_tokens=30, output_tokens=7)]})

    async def awaited() -> Any:
        got = await router.acompletion(messages=HI, stream="stream" in mode, user="ann", extra={"team": "x"})
        if "stream" in mode:
            async for _ in got:
                pass
        return got

    if mode.startswith("async"):
        got = asyncio.run(awaited())
    else:
        got = router.completion(messages=HI, stream="stream" in mode, user="ann", extra={"team": "x"})
        for _ in got if "stream" in mode else ():
            pass
    (record,) = router.list_requests()
    result = RouteResult.of(got)
    assert result is not None
    assert record.keys() >= FIELDS
    assert record["request_id"] == result.request_id
    assert (record["status"], record["model"], record["user"], record["extra"]) == (
        "answered", "openai/a", "ann", {"team": "x"},
    )  # fmt: skip
    assert (record["input_tokens"], record["output_tokens"]) == (30, 7)
    assert record["cost_usd"] == pytest.approx(30e-6 + 14e-6)
    assert record["latency_ms"] == pytest.approx(500, abs=60)
    assert router.get_request(record["request_id"]) == record


@both
def test_whatever_comes_of_a_call_is_recorded(tmp_path: Path, stored: bool) -> None:
    errors = [ConnectionError("x"), TimeoutError("slow")]
    router, _, _ = made(tmp_path, stored, {"a": [TimeoutError("slow")], "b": errors}, budgets=[Budget(0.5)])
    with pytest.raises((ConnectionError, TimeoutError)):
        router.completion(messages=HI)
    router.route({"prompt": "x"})
    router.update(budgets=[Budget(1e-12)])
    with pytest.raises(BudgetExceededError):
        router.completion(messages=HI)
    statuses = [record["status"] for record in router.list_requests()]
    assert statuses == ["refused", "decided", "failed"]
    failed = router.list_requests(status="failed")[0]
    assert [attempt["deployment"] for attempt in failed["attempts"]][:2] == ["a", "b"]
    assert failed["model"] is None


@both
def test_a_stream_left_early_or_dropped_is_recorded_once(tmp_path: Path, stored: bool) -> None:
    router, _, _ = made(tmp_path, stored, {"a": [Reply("one two three four")]})
    stream = router.completion(messages=HI, stream=True)
    next(stream)
    stream.close()
    stream = router.completion(messages=HI, stream=True)
    next(stream)
    del stream
    gc.collect()
    assert [record["status"] for record in router.list_requests()] == ["left early", "left early"]


@both
def test_records_can_be_filtered(tmp_path: Path, stored: bool) -> None:
    rules = [{"name": "ann", "conditions": [{"field": "user", "operator": "equals", "value": "ann"}], "targets": ["b"]}]
    router, _, clock = made(tmp_path, stored, rules=rules)
    for user in ("ann", "bob", "ann"):
        router.completion(messages=HI, user=user)
        clock.advance(60)
    newest = router.list_requests()
    assert [record["user"] for record in newest] == ["ann", "bob", "ann"], "newest first"
    assert len(router.list_requests(limit=2)) == 2
    assert len(router.list_requests(user="ann")) == len(router.list_requests(rule="ann")) == 2
    assert len(router.list_requests(model="openai/a")) == 1
    assert len(router.list_requests(since=newest[1]["created_at"])) == 2
    assert len(router.list_requests(until=newest[1]["created_at"])) == 1
    assert router.list_requests(status="failed") == []
    with pytest.raises(SpecError, match="did you mean 'status'"):
        router.list_requests(statsu="x")
    with pytest.raises(SpecError, match="limit"):
        router.list_requests(limit=0)
    with pytest.raises(ResourceNotFoundError):
        router.get_request("nobody")


@both
def test_feedback_is_attached(tmp_path: Path, stored: bool) -> None:
    router, _, _ = made(tmp_path, stored)
    result = RouteResult.of(router.completion(messages=HI))
    assert result is not None
    router.feedback(result.request_id, 0.25)
    router.feedback(result.request_id, 1)
    assert router.get_request(result.request_id)["feedback"] == 1.0
    for wrong in (1.5, -0.1, True, "good", float("nan")):
        with pytest.raises(SpecError, match="between 0 and 1"):
            router.feedback(result.request_id, wrong)  # type: ignore[arg-type]
    with pytest.raises(ResourceNotFoundError):
        router.feedback("nobody", 0.5)


@both
def test_the_oldest_go_first(tmp_path: Path, stored: bool) -> None:
    router, _, clock = made(tmp_path, stored, history_rows=5)
    for number in range(12):
        router.completion(messages=HI, extra={"n": number})
        clock.advance(1)
        if number % 4 == 0:
            router._home.history.flush()
    assert [record["extra"]["n"] for record in router.list_requests()] == [11, 10, 9, 8, 7]


@both
def test_records_are_kept_for_so_many_days(tmp_path: Path, stored: bool) -> None:
    router, _, clock = made(tmp_path, stored, history_days=2)
    for day in range(4):
        router.completion(messages=HI, extra={"day": day})
        router._home.history.flush()
        clock.advance(86_400)
    assert [record["extra"]["day"] for record in router.list_requests()] == [3, 2]
    with pytest.raises(SpecError, match="history_days"):
        made(tmp_path, False, history_days=0)


@both
def test_prompts_answers_and_keys_are_not_kept(tmp_path: Path, stored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", SECRET)
    models = [
        Deployment("openai/a", name="a", api_key="os.environ/CANARY", **PRICE),
        Deployment("openai/b", name="b", **PRICE),
    ]
    script = {"a": [ConnectionError(f"denied for {SECRET}")], "b": [Reply("the answer is a giraffe")]}
    router, _, _ = made(tmp_path, stored, script, models=models)
    router.completion(messages=HI, extra_headers={"x-trace": "lighthouse"}, extra={"note": f"key={SECRET}"})
    said = json.dumps(router.list_requests())
    for word in ("elephant", "giraffe", "canary-4711", "lighthouse"):
        assert word not in said
    if stored:
        router._home.history.flush()
        for file in tmp_path.iterdir():
            for word in (b"elephant", b"giraffe", b"canary-4711", b"lighthouse"):
                assert word not in file.read_bytes(), file


@both
@pytest.mark.parametrize("stream", [False, True])
def test_content_is_kept_where_it_is_asked_for_and_redacted_by_the_callers_hook(
    tmp_path: Path, stored: bool, stream: bool
) -> None:
    def hide(value: Any) -> Any:
        return json.loads(json.dumps(value).replace("elephant", "[animal]"))

    router, _, _ = made(tmp_path, stored, {"a": [Reply("an elephant and a giraffe")]}, log_content=True, redaction=hide)
    answer = router.completion(messages=HI, stream=stream)
    for _ in answer if stream else ():
        pass
    (record,) = router.list_requests()
    assert record["messages"] == [{"role": "user", "content": "tell nobody of the purple [animal]"}]
    assert record["answer"] == "an [animal] and a giraffe"


def test_a_redaction_that_raises_costs_its_record_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def hook(value: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("hook")
        return value

    router, _, _ = made(tmp_path, False, log_content=True, redaction=hook)
    router.completion(messages=HI)
    router.completion(messages=HI)
    assert len(router.list_requests()) == 1
    assert "could not be recorded" in caplog.text


@both
@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_records_are_exported(tmp_path: Path, stored: bool, format: str) -> None:
    router, _, clock = made(tmp_path, stored)
    for user in ("ann", "bob"):
        router.completion(messages=HI, user=user)
        clock.advance(1)
    file = tmp_path / f"out.{format}"
    assert router.export_requests(file) == 2
    if format == "jsonl":
        rows = [json.loads(line) for line in file.read_text().splitlines()]
    else:
        rows = list(csv.DictReader(file.open()))
    assert [row["user"] for row in rows] == ["ann", "bob"]
    assert file.stat().st_mode & 0o077 == 0
    assert router.export_requests(file, user="ann") == 1
    with pytest.raises(SpecError, match="jsonl"):
        router.export_requests(tmp_path / "out.parquet")


def test_the_thread_that_calls_writes_nothing(tmp_path: Path) -> None:
    """Making and writing records is the writer's: the end of a call only puts it into a queue."""
    router, _, _ = made(tmp_path, True)
    seen: list[str] = []
    real = history_module.record_of
    done = threading.Event()

    def noting(call: Any, ended: float) -> Any:
        seen.append(threading.current_thread().name)
        done.set()
        return real(call, ended)

    history_module.record_of = noting
    try:
        router.completion(messages=HI)
        assert done.wait(10)
    finally:
        history_module.record_of = real
    assert seen == ["router_plugin-history"]


def test_a_file_that_cannot_be_written_costs_no_call_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    router, _, _ = made(tmp_path, True)
    database = router._home.history._database
    assert database is not None
    database.read("SELECT 1")
    assert database._connection is not None
    database._connection.execute("PRAGMA query_only = ON")
    for _ in range(3):
        router.completion(messages=HI)
        router._home.history.try_flush()
    assert caplog.text.count("cannot be recorded") == 1
    database._connection.execute("PRAGMA query_only = OFF")
    assert len(router.list_requests()) == 3, "nothing was lost: it waited"


def test_a_queue_that_nobody_empties_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "_MOST_WAITING", 3)
    router, _, _ = made(tmp_path, True)
    with router._home.history._lock:
        threads = [threading.Thread(target=lambda: router.completion(messages=HI)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(router.list_requests()) == 3
    assert router._home.history.dropped == 3


def test_several_processes_write_into_one_file(tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        import sys
        from router_plugin import Client, Deployment, Router
        from router_plugin.testing import FakeClock, ScriptedProvider
        from router_plugin.clock import SYSTEM_CLOCK
        router = Router("r", client=Client(sys.argv[1]), provider=ScriptedProvider(SYSTEM_CLOCK))
        for n in range(100):
            router.completion(messages=[{"role": "user", "content": "hi"}], user=sys.argv[2])
        """
    )
    path = tmp_path / "h.db"
    Router("r", models=["openai/a"], client=Client(path))
    children = [subprocess.Popen([sys.executable, "-c", code, str(path), who]) for who in ("one", "two", "three")]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    router = Router("r", client=Client(path))
    assert [len(router.list_requests(limit=500, user=who)) for who in ("one", "two", "three")] == [100, 100, 100]


def test_what_waits_to_be_recorded_holds_no_prompt(tmp_path: Path) -> None:
    router, _, _ = made(tmp_path, False)
    router.completion(messages=HI, tools=[{"type": "function", "function": {"name": PROMPT}}])
    ((call, _),) = router._home.history._waiting
    assert PROMPT not in repr(call)


@both
def test_a_surrogate_in_a_name_costs_nobody_his_record(tmp_path: Path, stored: bool) -> None:
    router, _, clock = made(tmp_path, stored)
    for user in ("one", "\ud800bad", "two"):
        router.completion(messages=HI, user=user)
        clock.advance(1)
    assert [record["user"] for record in router.list_requests()] == ["two", "?bad", "one"]
    assert router.export_requests(tmp_path / "x.csv") == 3


@both
def test_what_rules_found_is_not_kept(tmp_path: Path, stored: bool) -> None:
    rules = [
        {"name": "q", "conditions": [{"field": field, "operator": "contains", "value": "x"}], "targets": ["a"]}
        for field in ["query"]
    ]
    router, _, _ = made(tmp_path, stored, rules=rules)
    router.route({"query": "my purple elephant", "prompt": PROMPT})
    (record,) = router.list_requests()
    assert "elephant" not in json.dumps(record)
    assert record["rule_trace"] == [{"rule": "q", "matched": False, "why": "query contains 'x'"}]


def test_what_a_later_reference_asks_for_holds(tmp_path: Path) -> None:
    client = Client(tmp_path)
    clock = FakeClock()
    Router("r", models=["openai/a"], client=client, clock=clock, provider=ScriptedProvider(clock), log_content=True)
    second = ScriptedProvider(clock)
    router = Router("r", client=client, provider=second, redaction=lambda value: "hidden")
    router.completion(messages=HI)
    assert len(second.calls) == 1
    assert router.list_requests()[0]["messages"] == "hidden"
    Router("r", client=client, log_content=False)
    router.completion(messages=HI)
    assert "messages" not in router.list_requests()[0]
    with pytest.raises(SpecError, match="another clock"):
        Router("r", client=client, clock=FakeClock())


def test_feedback_from_many_at_once_loses_no_field(tmp_path: Path) -> None:
    router, _, _ = made(tmp_path, True)
    result = RouteResult.of(router.completion(messages=HI))
    assert result is not None
    router.list_requests()
    others = [Router("r", client=Client(tmp_path / "h.db"))._home.history for _ in range(4)]
    threads = [
        threading.Thread(target=history.amend, args=(result.request_id, {"shadows": [{"from": number}]}))
        for number, history in enumerate(others)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one["from"] for one in router.get_request(result.request_id)["shadows"]) == [0, 1, 2, 3]
