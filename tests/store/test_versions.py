"""Routers as resources: versions, deploy and rollback, conflicts, hashes, export, and what happens to the file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from router_plugin import (
    Budget,
    Client,
    Deployment,
    ResourceAlreadyExistsError,
    ResourceNotFoundError,
    Router,
    RouteResult,
    SpecError,
    StoreError,
    VersionConflictError,
    checks,
)
from router_plugin.spec.document import canonical, digest, document, spec_of_document
from router_plugin.testing import FakeClock, Reply, ScriptedProvider

HI = [{"role": "user", "content": "hello"}]
PRICE: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path / "home")


def made(name: str = "support", client: Client | None = None, **options: Any) -> Router:
    models = options.pop("models", [Deployment("openai/a", **PRICE), Deployment("openai/b", **PRICE)])
    return Router(name, models=models, client=client, **options)


# --------------------------------------------------------------------------- versions


def test_every_update_is_a_new_version_and_the_old_ones_stay(client: Client) -> None:
    router = made(client=client, max_cost=0.01)
    router.update(max_cost=0.02, note="dearer")
    router.update(deploy=False, max_cost=None)
    assert [v["version"] for v in router.versions] == [1, 2, 3]
    assert [v["active"] for v in router.versions] == [False, True, False]
    assert [v["note"] for v in router.versions] == [None, "dearer", None]
    assert router.active_version == router.version == 2
    assert router.spec.max_cost == 0.02
    assert router.at(1).spec.max_cost == 0.01
    assert router.at(3).spec.max_cost is None


@pytest.mark.parametrize("stored", [True, False])
def test_deploy_and_rollback_are_one_assignment(client: Client, stored: bool) -> None:
    router = made(client=client if stored else None, max_cost=0.01)
    router.update(max_cost=0.02)
    router.deploy(1)
    assert (router.active_version, router.spec.max_cost) == (1, 0.01)
    router.update(min_quality=0.1)
    assert (router.active_version, router.spec.max_cost) == (3, 0.01), "made from the active one"
    with pytest.raises(ResourceNotFoundError, match="its versions are 1, 2, 3"):
        router.deploy(9)
    assert router.active_version == 3


def test_a_reference_reads_nothing_until_it_is_used(tmp_path: Path) -> None:
    client = Client(tmp_path / "deep" / "home")
    router = Router("nobody", client=client)
    assert not (tmp_path / "deep").exists()
    assert repr(router) == "Router('nobody')"
    with pytest.raises(ResourceNotFoundError, match="no router 'nobody'"):
        _ = router.config


def test_references_of_one_client_share_live_state_and_money(client: Client) -> None:
    clock = FakeClock()
    provider = ScriptedProvider(clock)
    one = made(client=client, clock=clock, provider=provider, budgets=[Budget(1)])
    two = Router("support", client=client)
    one.completion(messages=HI)
    assert two.budgets()[0]["settled_usd"] == one.budgets()[0]["settled_usd"] > 0
    assert sum(record["attempts"] for record in two.stats().values()) == 1


def test_another_client_sees_a_deploy_after_refresh(client: Client) -> None:
    router = made(client=client)
    other = Router("support", client=Client(client.path))
    assert other.version == 1
    router.update(max_cost=0.5)
    assert other.version == 1
    other.refresh()
    assert (other.version, other.spec.max_cost) == (2, 0.5)


def test_of_two_writers_one_wins_and_the_other_is_told(client: Client) -> None:
    one = made(client=client)
    two = Router("support", client=Client(client.path))
    _ = two.version
    two.update(max_cost=0.2)
    with pytest.raises(VersionConflictError, match="newest version is 2"):
        _ = one.update(max_cost=0.1)
    one.refresh()
    one.update(max_cost=0.1)
    assert [v["version"] for v in one.versions] == [1, 2, 3]
    assert one.at(2).spec.max_cost == 0.2


def test_versions_are_addressed_by_name(client: Client) -> None:
    clock = FakeClock()
    router = made(
        client=client, clock=clock, provider=ScriptedProvider(clock), models=[Deployment("openai/a", **PRICE)]
    )
    router.update(models=[Deployment("openai/b", **PRICE)])
    served = [RouteResult.of(router.completion(model=m, messages=HI)) for m in ("router", "router/support/versions/1")]
    assert [result.model for result in served if result] == ["openai/b", "openai/a"]
    with pytest.raises(SpecError, match="no version 7"):
        router.completion(model="router/support/versions/7", messages=HI)


def test_a_pinned_router_stays_with_its_version(client: Client) -> None:
    router = made(client=client, max_cost=0.01)
    router.update(max_cost=0.02)
    old = client.routers.get("support", version=1)
    assert old is not None
    assert (old.version, old.spec.max_cost, old.active_version) == (1, 0.01, 2)
    assert client.routers.get("support", version=5) is None


def test_budgets_keep_their_accounts_over_versions() -> None:
    clock = FakeClock()
    router = made(clock=clock, provider=ScriptedProvider(clock), budgets=[Budget(1, name="all")])
    router.completion(messages=HI)
    spent = router.budgets()[0]["settled_usd"]
    router.update(budgets=[Budget(2, name="all")])
    account = router.budgets()[0]
    assert (account["settled_usd"], account["limit_usd"]) == (spent, 2.0)


def test_a_call_in_flight_ends_on_the_version_it_began_with() -> None:
    clock = FakeClock()
    provider = ScriptedProvider(clock, {"a": [ConnectionError("reset")], "b": [Reply("from b")]})
    made_of = [Deployment(f"openai/{n}", name=n, quality=q, **PRICE) for n, q in (("a", 0.9), ("b", 0.5))]
    router = Router("r", models=made_of, clock=clock, provider=provider, budgets=[Budget(1, name="x")])
    first = provider.call

    def swapped(attempt: Any) -> Any:
        provider.call = first  # type: ignore[method-assign]
        router.update(models=[Deployment("openai/c", **PRICE)], budgets=[Budget(5, name="y"), Budget(6, name="z")])
        return first(attempt)

    provider.call = swapped  # type: ignore[method-assign]
    result = RouteResult.of(router.completion(messages=HI))
    assert result is not None
    assert (result.version, result.deployment, router.version) == (1, "b", 2)
    assert router.at(1).ledger.report()[0]["settled_usd"] > 0
    assert all(account["reserved_usd"] == 0 for account in router.at(1).ledger.report())


def test_deploys_under_load_fail_no_request_and_none_sees_half_a_spec(client: Client) -> None:
    """Version n has deployments a-n and b-n only: an answer of a mixed pair would be seen."""

    def models(n: int) -> list[Deployment]:
        return [Deployment(f"openai/{x}-{n}", name=f"{x}-{n}", quality=0.5, **PRICE) for x in "ab"]

    class Quick(ScriptedProvider):
        def _pass(self, reply: Reply, limit_s: float) -> None:
            time.sleep(0.0005)

    clock = FakeClock()
    router = Router("load", models=models(1), client=client, provider=Quick(clock), budgets=[Budget(1e6)])
    for n in range(2, 6):
        router.update(models=models(n), deploy=False)
    stop, wrong, counts = threading.Event(), [], [0] * 6

    def ask() -> None:
        while not stop.is_set():
            try:
                result = RouteResult.of(router.completion(messages=HI))
                assert result is not None
                numbers = {int(name.split("-")[1]) for name in result.ranking}
                if numbers != {result.version}:
                    wrong.append((result.version, result.ranking))
                counts[result.version] += 1
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for turn in range(60):
        router.deploy(1 + turn % 5)
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert all(counts[1:]), counts
    assert router.budgets()[0]["reserved_usd"] == 0


# --------------------------------------------------------------------------- what may be kept


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"api_key": "sk-canary-0123456789"}, "api_key.*os.environ"),
        ({"params": {"aws_secret_access_key": "canary"}}, "params.aws_secret_access_key"),
        ({"extra_headers": {"Authorization": "Bearer canary12345"}}, "extra_headers.Authorization"),
        ({"api_base": "https://user:canary@host/v1"}, "api_base"),
    ],
)
def test_a_stored_router_holds_no_secrets(client: Client, bad: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        made(client=client, models=[Deployment("openai/a", **bad)])
    assert "canary" not in str(caught.value)
    in_memory = made(models=[Deployment("openai/a", **bad)])
    assert "canary" not in json.dumps(in_memory.config)
    assert not client.path.exists() or b"canary" not in client.path.read_bytes()


def test_keys_of_the_environment_and_checks_by_name_come_back(client: Client) -> None:
    models = [Deployment("openai/a", api_key="os.environ/KEY", params={"region": "eu"})]
    made(client=client, models=models, fallback_on=[ConnectionError, checks.empty_answer], weights={"q": 1, "c": 0.1})
    spec = Router("support", client=Client(client.path)).spec
    assert spec.fallback_on == (ConnectionError, checks.empty_answer)
    assert spec.deployments[0].api_key is not None
    assert spec.deployments[0].api_key.get_secret_value() == "os.environ/KEY"
    assert spec.weights is not None
    assert spec.weights.c == 0.1
    with pytest.raises(SpecError, match="fallback_on"):
        made("other", client=client, fallback_on=[lambda error: True])


def test_a_document_has_one_text_and_comes_back_the_same() -> None:
    router = made(
        rules=[{"name": "a", "conditions": [{"field": "x", "operator": "in", "value": [1]}], "targets": ["b"]}],
        budgets=[Budget(3, per="day", key="user")],
        max_cost=0.5,
        models=["openai/a", Deployment("openai/b", quality=0.5, rpm=3)],
    )
    data = document(router.spec)
    again = spec_of_document(json.loads(json.dumps(data)))
    assert canonical(document(again)) == canonical(data)
    assert digest(document(again)) == digest(data) == router.versions[0]["hash"]


@pytest.mark.parametrize("format", ["json", "yaml"])
def test_an_export_comes_back_byte_for_byte(client: Client, tmp_path: Path, format: str) -> None:
    router = made(client=client, max_cost=0.5, rules=[{"name": "ü – x", "targets": ["openai/a"]}])
    text = router.export(format=format)
    other = Client(tmp_path / "other")
    back = other.routers.import_router(text)
    assert back.export(format=format) == text
    tampered = text.replace("0.5", "0.9")
    with pytest.raises(SpecError, match="hash"):
        other.routers.import_router(tampered)


def test_a_diff_names_what_changed(client: Client) -> None:
    split = {"name": "s", "strategy": "SPLIT", "targets": [{"model_name": "openai/a", "weight": 9}, "openai/b"]}
    router = made(client=client, max_cost=0.01, rules=[split])
    changed = {**split, "targets": [{"model_name": "openai/a", "weight": 5}, "openai/b"]}
    router.update(rules=[changed, {"name": "t", "targets": ["openai/b"]}], max_cost=None, min_quality=0.2)
    lines = router.diff(1, 2).splitlines()
    assert "~ rules[s].targets[openai/a].weight: 9.0 -> 5.0" in lines
    assert "- max_cost: 0.01" in lines
    assert "+ min_quality: 0.2" in lines
    assert any(line.startswith("+ rules[t]") for line in lines)
    assert router.diff(1, 1) == ""


def test_the_name_stays(client: Client) -> None:
    with pytest.raises(SpecError, match="keeps its name"):
        made(client=client).update(name="other")


# --------------------------------------------------------------------------- the file


def test_the_file_is_the_users_own(client: Client) -> None:
    made(client=client)
    assert stat.S_IMODE(client.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(client.path.parent.stat().st_mode) == 0o700
    for extra in client.path.parent.iterdir():
        assert stat.S_IMODE(extra.stat().st_mode) == 0o600, extra


def damage(client: Client, sql: str, *values: Any) -> None:
    connection = sqlite3.connect(client.path)
    connection.execute(sql, values)
    connection.commit()
    connection.close()


def test_a_version_whose_content_was_changed_is_not_used(client: Client) -> None:
    router = made(client=client, max_cost=0.01)
    router.update(max_cost=0.02)
    damage(client, "UPDATE versions SET document = replace(document, '0.02', '99') WHERE number = 2")
    fresh = Router("support", client=Client(client.path))
    with pytest.raises(StoreError, match=r"version 2 .* is damaged"):
        _ = fresh.spec
    fresh.deploy(1)
    assert fresh.spec.max_cost == 0.01


def test_a_file_that_is_no_database_is_said_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "routers.db"
    path.write_bytes(b"not a database, but somebody's own file " * 100)
    with pytest.raises(StoreError, match="not a database"):
        Client(path).routers.list()
    assert path.read_bytes().startswith(b"not a database")


def test_a_newer_schema_is_refused(client: Client) -> None:
    made(client=client)
    damage(client, "PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer router_plugin"):
        Client(client.path).routers.list()


def test_a_file_deleted_while_it_is_open_takes_no_write_that_nobody_sees(client: Client) -> None:
    router = made(client=client)
    for file in client.path.parent.iterdir():
        file.unlink()
    with pytest.raises(StoreError, match="was deleted while it was open"):
        router.update(max_cost=0.5)
    assert client.routers.list() == [], "it is begun anew"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_folder_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="cannot be opened"):
            made(client=Client(tmp_path / "x.db"))
    finally:
        tmp_path.chmod(0o700)


def test_a_read_only_file_can_be_read_and_says_that_it_cannot_be_written(client: Client) -> None:
    made(client=client)
    client.close()
    reader = Client(client.path)
    _ = Router("support", client=reader).spec
    reader.store.database._connection.execute("PRAGMA query_only = ON")  # type: ignore[union-attr]
    with pytest.raises(StoreError, match=r"readonly|read-only|attempt to write"):
        Router("support", client=reader).update(max_cost=0.5)
    assert Router("support", client=Client(client.path)).version == 1


def test_a_full_disk_loses_nothing_that_was_written(client: Client) -> None:
    router = made(client=client)
    connection = client.store.database._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for n in range(200):
            router.update(description="x" * 9_000 + str(n))

    with pytest.raises(StoreError, match="full"):
        fill()
    kept = router.versions
    fresh = Router("support", client=Client(client.path))
    assert fresh.versions == kept
    assert fresh.at(len(kept)).number == len(kept)


def test_a_locked_file_is_waited_for_and_then_said(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router_plugin.spec.store.BUSY_S", 0.1)
    router = made(client=client)
    client.close()
    holder = sqlite3.connect(client.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        router.update(max_cost=0.5)
    holder.execute("COMMIT")
    holder.close()
    router.update(max_cost=0.5)
    assert router.version == 2


WRITER = """
import sys
from router_plugin import Client, Router
router = Router("busy", models=["openai/a"], client=Client(sys.argv[1]))
print("ready", flush=True)
n = 0
while True:
    n += 1
    router.update(description="x" * 20_000, max_cost=float(n))
    print(n, flush=True)
"""


@pytest.mark.parametrize("after", [1, 4, 9])
def test_kill_9_in_mid_write_loses_no_finished_write_and_corrupts_nothing(tmp_path: Path, after: int) -> None:
    path = tmp_path / "r.db"
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert child.stdout is not None
    told = 0
    for line in child.stdout:
        told = int(line) if line.strip().isdigit() else told
        if told >= after:
            break
    child.send_signal(signal.SIGKILL)
    rest = [int(line) for line in child.stdout.read().split() if line.isdigit()]
    child.wait()
    child.stdout.close()
    told = max([told, *rest])
    router = Router("busy", client=Client(path))
    assert len(router.versions) >= told + 1, "the first version and every update that returned"
    for version in router.versions:
        assert router.at(version["version"]).hash == version["hash"]
    (state,) = sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone()
    assert state == "ok"


UPDATER = """
import sys
from router_plugin import Client, Router, VersionConflictError
router = Router("shared", client=Client(sys.argv[1]))
won = lost = 0
for n in range(25):
    try:
        router.update(description=f"{sys.argv[2]} {n}")
        won += 1
    except VersionConflictError:
        lost += 1
        router.refresh()
print(won, lost)
"""


def test_two_processes_update_one_router_and_no_version_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    router = Router("shared", models=["openai/a"], client=Client(path))
    children = [
        subprocess.Popen([sys.executable, "-c", UPDATER, str(path), who], stdout=subprocess.PIPE, text=True)
        for who in ("one", "two")
    ]
    told = [child.communicate(timeout=60)[0].split() for child in children]
    won = sum(int(pair[0]) for pair in told)
    assert all(child.returncode == 0 for child in children)
    assert len(router.versions) == won + 1
    assert [v["version"] for v in router.versions] == list(range(1, won + 2))


def test_a_forked_child_uses_a_connection_of_its_own(tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        import os, sys
        from router_plugin import Client, Router
        router = Router("forked", models=["openai/a"], client=Client(sys.argv[1]))
        child = os.fork()
        if child == 0:
            router.update(max_cost=0.5)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        router.refresh()
        router.update(max_cost=0.7)
        print(status, len(router.versions))
        """
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "r.db")], capture_output=True, text=True)
    assert done.stdout.split() == ["0", "3"], done.stderr


def test_python_ends_with_requests_waiting_and_they_are_kept(tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        import sys
        from router_plugin import Client, Router
        router = Router("end", models=["openai/a"], client=Client(sys.argv[1]))
        for n in range(20):
            router.route({"prompt": f"number {n}"})
        """
    )
    env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    path = tmp_path / "r.db"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=env)
    assert len(Router("end", client=Client(path)).list_requests()) == 20


# --------------------------------------------------------------------------- as a state machine


class Versions(RuleBasedStateMachine):
    """The store against a list: versions only ever grow, the active one is the last deployed, content stays."""

    @initialize()
    def begin(self) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.client = Client(self.folder.name)
        self.router = Router("m", models=["openai/a"], client=self.client, max_cost=1.0)
        self.costs, self.active = [1.0], 1

    @rule(cost=st.floats(0.001, 100), deploy=st.booleans())
    def update(self, cost: float, deploy: bool) -> None:
        self.router.update(max_cost=cost, deploy=deploy)
        self.costs.append(cost)
        self.active = len(self.costs) if deploy else self.active

    @rule(data=st.data())
    def deploy(self, data: Any) -> None:
        self.active = data.draw(st.integers(1, len(self.costs)))
        self.router.deploy(self.active)

    @rule()
    def reopen(self) -> None:
        self.client.close()
        self.client = Client(self.folder.name)
        self.router = Router("m", client=self.client)

    @precondition(lambda self: len(self.costs) > 1)
    @rule()
    def another_process_refreshes(self) -> None:
        other = Router("m", client=Client(self.folder.name))
        assert other.version == self.active

    @invariant()
    def what_was_written_is_there(self) -> None:
        if not hasattr(self, "router"):
            return
        assert self.router.version == self.active
        assert [self.router.at(n + 1).spec.max_cost for n in range(len(self.costs))] == self.costs

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.client.close()
            self.folder.cleanup()


Versions.TestCase.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
TestVersions = Versions.TestCase


# --------------------------------------------------------------------------- the collection


def test_create_get_list_update_delete(client: Client) -> None:
    router = client.routers.create_router("my-router", "anthropic/anthropic/claude-3-opus-latest", "a description")
    assert [d.model for d in router.spec.deployments] == ["anthropic/claude-3-opus-latest"]
    assert router.description == "a description"
    with pytest.raises(ResourceAlreadyExistsError, match="my-router"):
        client.routers.create("my-router", "openai/gpt-4o")
    assert client.routers.get("nobody") is None
    again = client.routers.update_router("my-router", {"models": ["openai/gpt-4o", "openai/gpt-4o-mini"]})
    assert again.version == 2
    assert [r.name for r in client.routers.list()] == ["my-router"]
    with pytest.raises(ResourceNotFoundError, match="nobody"):
        client.routers.update_router("nobody", {"max_cost": 1})
    client.routers.delete("my-router")
    assert client.routers.list() == []
    with pytest.raises(ResourceNotFoundError):
        _ = router.config


def test_a_deleted_routers_name_can_be_used_again(client: Client) -> None:
    made(client=client).delete()
    router = made(client=client, max_cost=0.3)
    assert (router.version, router.spec.max_cost) == (1, 0.3)


def test_the_default_store_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_PLUGIN_HOME", str(tmp_path / "own"))
    Client().routers.create_router("here", "openai/a")
    assert (tmp_path / "own" / "routers.db").exists()
    assert Router("here").version == 1


async def test_an_async_call_routes_through_a_stored_router(client: Client) -> None:
    clock = FakeClock()
    made(client=client, clock=clock, provider=ScriptedProvider(clock))
    answers = await asyncio.gather(*(Router("support", client=client).acompletion(messages=HI) for _ in range(5)))
    assert len(answers) == 5
    assert len(Router("support", client=client).list_requests()) == 5


def test_a_result_carries_the_version_that_was_asked(client: Client) -> None:
    clock = FakeClock()
    router = made(client=client, clock=clock, provider=ScriptedProvider(clock))
    router.update(max_cost=0.5)
    result = RouteResult.of(router.completion(model="router/support/versions/1", messages=HI))
    assert result is not None
    assert (result.version, result.hash) == (1, router.versions[0]["hash"])


def test_updates_of_two_threads_both_hold(client: Client) -> None:
    router = made(client=client)
    for _ in range(20):
        gate = threading.Barrier(2)

        def change(gate: threading.Barrier = gate, **what: Any) -> None:
            gate.wait()
            router.update(**what)

        threads = [
            threading.Thread(target=change, kwargs={"max_cost": 0.3}),
            threading.Thread(target=change, kwargs={"description": "x"}),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (router.spec.max_cost, router.spec.description) == (0.3, "x")
        router.update(max_cost=None, description=None)


def test_workers_that_start_together_all_start(tmp_path: Path) -> None:
    errors: list[Exception] = []

    def start() -> None:
        try:
            Router("h", models=["openai/a"], client=Client(tmp_path / "r.db"))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(Router("h", client=Client(tmp_path / "r.db")).versions) == 6


def test_a_router_that_others_made_anew_is_seen_after_refresh(client: Client) -> None:
    router = client.routers.create_router("x", "openai/gpt-4o")
    _ = router.version
    other = Client(client.path)
    other.routers.delete("x")
    other.routers.create_router("x", "openai/gpt-4o-mini")
    router.refresh()
    assert router.config["models"] == ["openai/gpt-4o-mini"]


def test_a_rule_may_name_another_router_of_the_same_store(client: Client) -> None:
    made("cheap", client=client, models=["openai/small"])
    main = made("main", client=client, rules=[{"name": "r", "targets": ["router/cheap"]}])
    assert main.route({"prompt": "x"}).model == "openai/small"


@pytest.mark.parametrize("text", ["1e5", "0x1F", "yes", "a\x85b", "2001-01-01", "~", "=", "12:30", "ü: - #", "\u2028"])
def test_odd_texts_come_back_from_yaml(client: Client, tmp_path: Path, text: str) -> None:
    rules = [
        {"name": "r", "conditions": [{"field": "x", "operator": "equals", "value": text}], "targets": ["openai/a"]}
    ]
    router = made(client=client, rules=rules, description=text)
    exported = router.export(format="yaml")
    assert Client(tmp_path / "o").routers.import_router(exported).export(format="yaml") == exported


@pytest.mark.parametrize("text", [None, b"{}", "[" * 100_000, "", "- a", "{}"])
def test_imports_that_are_none_say_so(client: Client, text: Any) -> None:
    with pytest.raises(SpecError):
        client.routers.import_router(text)


@pytest.mark.parametrize("number", [10**30, "1", True, None, 0, -1, 1.5])
def test_version_numbers_that_are_none(client: Client, number: Any) -> None:
    router = made(client=client)
    with pytest.raises((SpecError, ResourceNotFoundError)):
        router.deploy(number)
    assert router.active_version == 1


def test_a_store_that_may_only_be_read_can_be_looked_at(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    made(client=client)
    client.close()
    real = os.open

    def denied(path: Any, flags: int, *more: Any) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", denied)
    reader = Client(client.path)
    assert [router.name for router in reader.routers.list()] == ["support"]
    assert Router("support", client=reader).route({"prompt": "x"}).model == "openai/a"
    with pytest.raises(StoreError):
        Router("support", client=reader).update(max_cost=1)
