"""Training jobs: paid once, killed anywhere, never above the budget, honest about what is missing."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_plugin import (
    Client,
    Deployment,
    ResourceAlreadyExistsError,
    ResourceNotFoundError,
    Router,
    SpecError,
    TrainingError,
)
from router_plugin.learn.jobs.run import enough
from router_plugin.learn.jobs.service import TrainingJobs
from router_plugin.learn.jobs.store import RouterTrainingJob
from router_plugin.learn.jobs.training_requests import read_requests
from router_plugin.learn.judges.making import Contains, ExactMatch, RubricJudgeSpec, repeat
from router_plugin.records import Answered, Attempt, Failed
from router_plugin.testing import FakeClock, LoopbackProvider, Reply, ScriptedProvider

PRICE: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
LLMS = ["openai/a", "openai/b"]
RUBRIC = RubricJudgeSpec(rubric="Grade.", model="openai/judge", min_score=0, max_score=10)


class Fitted:
    """Stands for a predictor: keeps the rows it was fitted on."""

    def __init__(self, rows: Any, seed: int) -> None:
        self.rows, self.seed = rows, seed

    def save(self, path: Any) -> None:
        folder = Path(path)
        folder.mkdir()
        (folder / "rows.json").write_text(json.dumps([self.rows, self.seed]))


class Fits:
    """Stands for ``fit``: remembers what it made."""

    def __init__(self) -> None:
        self.made: list[Fitted] = []

    def __call__(self, rows: Any, *, seed: int = 0) -> Fitted:
        self.made.append(Fitted(rows, seed))
        return self.made[-1]

    @property
    def rows(self) -> Any:
        return self.made[-1].rows


class World(ScriptedProvider):
    """A provider that counts what it is asked, and may be killed at its k-th call (while that is in flight)."""

    def __init__(self, script: dict[str, Iterable[Reply | BaseException]] | None = None) -> None:
        super().__init__(FakeClock(), {"openai/judge": [Reply('{"score": 5}', 50, 5)], **(script or {})})
        self.kill_at: set[int] = set()
        self.made = 0
        self.asked: Counter[tuple[str, str]] = Counter()
        self.killed: list[tuple[str, str]] = []
        self.spent = 0.0
        self._count = threading.Lock()

    def call(self, attempt: Attempt) -> Answered | Failed:
        with self._count:
            number = self.made
            self.made += 1
            prompt = attempt.kwargs["messages"][-1]["content"]
            if attempt.candidate.name == "openai/judge":  # one judgement is told from another by what is judged
                prompt = "".join(part.split(">\n", 1)[1].split("\n<", 1)[0] for part in prompt.split("<data-")[1:3])
            key = (attempt.candidate.name, prompt)
            self.asked[key] += 1
        if number in self.kill_at:
            self.killed.append(key)
            raise KeyboardInterrupt
        outcome = super().call(attempt)
        if isinstance(outcome, Answered):
            usage = outcome.response["usage"]
            with self._count:
                self.spent += usage["prompt_tokens"] * 1e-6 + usage["completion_tokens"] * 2e-6
        return outcome


def world_of(tmp_path: Path, world: World, names: Iterable[str] = ("a", "b", "judge")) -> tuple[Client, Router]:
    client = Client(tmp_path / "home")
    models = [Deployment(f"openai/{name}", **PRICE) for name in names]
    router = Router("support", models=models, client=client, provider=world, clock=FakeClock())
    return client, router


def asked(n: int) -> list[dict[str, Any]]:
    return [{"messages": [{"role": "user", "content": f"question {i}"}], "ref_answer": "ok"} for i in range(n)]


def trained(client: Client, router: Router, n: int = 4, judge: Any = None, **more: Any) -> RouterTrainingJob:
    more = {"wait": True, "fit": Fits(), "concurrency": 1, **more}
    llms = more.pop("llms", LLMS)
    return TrainingJobs(client).run(router, judge or ExactMatch(), llms, more.pop("requests", asked(n)), **more)


# --------------------------------------------------------------------------- the whole way


def test_a_job_asks_judges_fits_and_writes_a_version(tmp_path: Path) -> None:
    world = World({"openai/a": [Reply("ok")], "openai/b": [Reply("no")]})
    client, router = world_of(tmp_path, world)
    router.update(base_model="openai/judge")
    fits = Fits()
    job = trained(client, router, 4, fit=fits)
    assert (job.status, job.n_requests, job.n_pairs, job.n_done, job.n_failed) == ("SUCCESS", 4, 8, 8, 0)
    assert (job.error, job.warnings, dict(job.scores)) == (None, (), {"openai/a": 4, "openai/b": 4})
    assert job.spent_usd == pytest.approx(world.spent)
    row = fits.rows[0]
    assert row["prompt"].startswith("question ")
    assert (row["scores"], row["output_tokens"]) == ({"openai/a": 1.0, "openai/b": 0.0}, {"openai/a": 5, "openai/b": 5})
    assert row["cost_usd"]["openai/a"] == pytest.approx(20e-6)
    assert job.version == router.version == 3
    assert [one.model for one in router.spec.deployments] == LLMS
    assert router.spec.deployments[0].input_cost_per_token == 1e-6, "a deployment that was there keeps its settings"
    assert (router.spec.base_model, router.versions[-1]["note"]) == (None, f"trained by job {job.name}")
    assert job.artefact is not None
    folder = client.path.parent / job.artefact
    assert json.loads((folder / "rows.json").read_text())[0] == fits.rows
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "rows.json").stat().st_mode) == 0o600
    assert [one.name for one in folder.parent.iterdir()] == [folder.name]


def test_the_same_content_is_the_same_job_and_is_paid_for_once(tmp_path: Path) -> None:
    world = World()
    client, router = world_of(tmp_path, world)
    first = trained(client, router)
    calls = world.made
    again = trained(Client(client.path), Router("support", client=Client(client.path)), requests=asked(4)[::-1])
    assert (again.name, again.version, world.made) == (first.name, first.version, calls)
    assert trained(client, router, seed=1).name != first.name
    with pytest.raises(ResourceAlreadyExistsError, match="other content"):
        trained(client, router, 5, name=first.name)
    assert trained(client, router, 5, name="mine").name == "mine"


@pytest.mark.parametrize("saved", [True, False])
def test_a_router_that_was_made_anew_is_trained_on_what_was_paid_for(tmp_path: Path, saved: bool) -> None:
    world, client = World(), Client(tmp_path)
    models = [Deployment(f"openai/{name}", **PRICE) for name in "ab"]

    def anew() -> tuple[Router, Any]:
        router = Router("r", models, client=client if saved else None, provider=world, clock=FakeClock())
        fits = Fits()
        assert trained(client, router, fit=fits).status == "SUCCESS"
        assert trained(client, router, fit=fits).version == router.version == 2
        return router, fits

    _, first = anew()
    if saved:
        client.routers.delete("r")
        client = Client(client.path)
    _, second = anew()
    assert (len(first.made), len(second.made), world.made) == (1, 1, 8)


def test_the_same_data_and_seed_give_the_same_artefact(tmp_path: Path) -> None:
    names = set()
    for at in ("x", "y"):
        client, router = world_of(tmp_path / at, World())
        names.add(trained(client, router, concurrency=1 if at == "x" else 4).artefact)
    assert len(names) == 1


def test_a_rubric_judge_goes_through_the_same_router_and_budget(tmp_path: Path) -> None:
    world = World()
    client, router = world_of(tmp_path, world)
    fits = Fits()
    job = trained(client, router, 3, RUBRIC, fit=fits, budget_usd=1.0)
    assert (job.status, job.n_done) == ("SUCCESS", 6)
    assert {score for row in fits.rows for score in row["scores"].values()} == {0.5}
    assert job.spent_usd == pytest.approx(world.spent)
    assert sum(n for (model, _), n in world.asked.items() if model == "openai/judge") == 6
    assert all("training" not in budget["name"] for budget in router.budgets())


def test_an_estimate_is_made_before_anything_is_asked(tmp_path: Path) -> None:
    world = World()
    client, router = world_of(tmp_path, world)
    estimate = TrainingJobs(client).estimate(router, repeat(RUBRIC, 2), LLMS, asked(10))
    assert world.made == 0
    assert estimate.calls == 20 + 40
    assert estimate.usd == pytest.approx(sum(estimate.answers_usd.values()) + estimate.judging_usd)
    assert estimate.answers_usd["openai/a"] == pytest.approx(10 * (estimate_tokens() * 1e-6 + 300 * 2e-6), rel=0.2)
    job = trained(client, router, 10, RUBRIC)
    assert job.estimate_usd is not None
    assert 0 < job.estimate_usd < estimate.usd


def estimate_tokens() -> int:
    return read_requests(asked(1))[0][0].read().estimate


# --------------------------------------------------------------------------- killed


@pytest.mark.parametrize("judge", [ExactMatch(), RUBRIC])
def test_killed_at_any_call_a_job_goes_on_and_asks_nothing_twice_but_what_was_in_flight(
    tmp_path: Path, judge: Any
) -> None:
    calls = 6 if isinstance(judge, ExactMatch) else 12
    for k in range(calls):
        world = World({"openai/b": [Reply("no")]})
        world.kill_at = {k}
        client, router = world_of(tmp_path / str(k), world)
        with pytest.raises(KeyboardInterrupt):
            trained(client, router, 3, judge, budget_usd=1.0)
        jobs = TrainingJobs(Client(client.path))
        (before,) = jobs.list()
        assert before.status == "PENDING"
        assert "resume_training_job" in before.warnings[-1]
        with pytest.raises(TrainingError, match="interrupted"):
            jobs.wait(before.name)
        job = jobs.resume(before.name, router=router, wait=True, fit=Fits())
        assert (job.status, job.n_done) == ("SUCCESS", 6)
        assert world.made == calls + 1
        assert [key for key, times in world.asked.items() if times > 1] == world.killed
        assert "1 calls were in flight" in job.warnings[-1]
        assert world.spent < job.spent_usd <= 1.0, "what was in flight counts at its worst case"


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 30), max_size=8), st.integers(1, 4))
def test_killed_any_number_of_times_each_pair_is_asked_once_but_those_in_flight(
    kills: set[int], concurrency: int
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        world = World({"openai/b": [Reply("no")]})
        world.kill_at = set(kills)
        client, router = world_of(Path(folder), world)
        died = 0
        while True:
            try:
                job = trained(client, router, 6, RUBRIC, concurrency=concurrency, budget_usd=5.0)
                break
            except KeyboardInterrupt:
                died += 1
        assert job.status == "SUCCESS"
        assert job.n_done == 12
        assert sum(world.asked.values()) == 24 + len(world.killed)
        assert died <= len(world.killed) <= died * concurrency
        if died:
            assert f"{len(world.killed)} calls were in flight" in job.warnings[-1], "over all the times it was killed"
        assert world.spent <= job.spent_usd <= 5.0


_CHILD = """
    import sys, time
    from pathlib import Path
    from tests.learn.test_jobs import *

    class Slow(World):
        def call(self, attempt):
            with open(sys.argv[2], "a") as log:
                log.write(attempt.candidate.name + attempt.kwargs["messages"][-1]["content"] + "\\n")
            time.sleep(0.01)
            return super().call(attempt)

    client, router = world_of(Path(sys.argv[1]), Slow())
    print("go", flush=True)
    job = trained(client, router, 100, concurrency=4, budget_usd=50.0)
    print(job.status, job.n_done, flush=True)
"""


def test_kill_minus_nine_and_another_process_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", textwrap.dedent(_CHILD), str(tmp_path), str(log)]
    root = Path(__file__).parents[2]
    for _ in range(2):
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "go\n"
            have = len(log.read_text().splitlines()) if log.exists() else 0
            while not log.exists() or len(log.read_text().splitlines()) < have + 15:
                assert child.poll() is None
                threading.Event().wait(0.005)
            os.kill(child.pid, signal.SIGKILL)
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["go", "SUCCESS", "200"]
    lines = log.read_text().splitlines()
    twice = Counter(lines)
    assert len(twice) == 200
    assert sum(times - 1 for times in twice.values()) <= 2 * 4


def test_two_at_once_do_not_both_work(tmp_path: Path) -> None:
    world, gate = World(), threading.Event()
    client, router = world_of(tmp_path, world)
    ask, here = world.call, threading.Event()

    def held(attempt: Attempt) -> Any:
        here.set()
        gate.wait(10)
        return ask(attempt)

    world.call = held  # type: ignore[method-assign]
    jobs = TrainingJobs(client)
    job = jobs.run(router, ExactMatch(), LLMS, asked(4), fit=Fits())
    assert job.status in ("PENDING", "RUNNING")
    assert here.wait(10)
    assert trained(client, router, 4, wait=False).status == "RUNNING"
    code = (
        "import sys; from pathlib import Path; from router_plugin import Client;"
        "from router_plugin.learn.jobs.service import TrainingJobs;"
        "print(TrainingJobs(Client(Path(sys.argv[1]))).list()[0].status)"
    )
    found = subprocess.run([sys.executable, "-c", code, str(client.path)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "RUNNING"
    with pytest.raises(TimeoutError, match="goes on"):
        jobs.wait(job.name, poll_interval=0.01, poll_timeout=0.05)
    with pytest.raises(TrainingError, match="runs"):
        jobs.delete(job.name)
    gate.set()
    assert jobs.wait(f"organizations/x/router_training_jobs/{job.name}", 0.05, 20).status == "SUCCESS"
    assert world.made == 8
    assert jobs.poll(job.name, poll_interval=1).status == "SUCCESS"
    jobs.delete(job.name)
    with pytest.raises(ResourceNotFoundError):
        jobs.poll(job.name)


# --------------------------------------------------------------------------- money


@pytest.mark.parametrize("concurrency", [1, 6])
@pytest.mark.parametrize("budget", [0.0, 0.004, 0.0085, 0.02, 0.06])
def test_a_budget_is_never_exceeded_and_more_of_it_goes_on(tmp_path: Path, budget: float, concurrency: int) -> None:
    world = World({"openai/b": [Reply("no")]})
    client, router = world_of(tmp_path, world)
    requests = [{"prompt": f"question {i} " + "x" * 200, "ref_answer": "ok", "max_tokens": 1_000} for i in range(50)]
    more = {"requests": requests, "concurrency": concurrency}
    job = trained(client, router, judge=RUBRIC, budget_usd=budget, **more)
    assert world.spent == pytest.approx(job.spent_usd)
    assert job.spent_usd <= budget + 1e-12
    if job.n_done < 50:
        assert job.status == "FAILURE"
        assert any("stopped before exceeding the budget" in warning for warning in job.warnings)
        assert max(job.scores.values()) - min(job.scores.values()) <= concurrency, "columns of equal length"
    job = trained(client, router, judge=RUBRIC, budget_usd=2.0, **more)
    assert (job.status, job.n_done) == ("SUCCESS", 100)
    assert set(world.asked.values()) == {1}


def test_reservations_of_others_do_not_end_a_job_that_can_afford_its_calls(tmp_path: Path) -> None:
    """Eight calls at once hold eight worst cases, of which the budget bears two; what they really cost is little."""
    world = World()
    client, router = world_of(tmp_path, world)
    requests = [{"prompt": f"q {i}", "ref_answer": "ok", "max_tokens": 4_000} for i in range(30)]
    job = trained(client, router, requests=requests, concurrency=8, budget_usd=0.018)
    assert (job.status, job.n_done) == ("SUCCESS", 60)


def test_a_budget_needs_prices(tmp_path: Path) -> None:
    world = World()
    client, router = world_of(tmp_path, world)
    with pytest.raises(TrainingError, match=r"openai/c.*not known"):
        trained(client, router, llms=[*LLMS, "openai/c"], budget_usd=1.0)
    assert world.made == 0
    job = trained(client, router, llms=[*LLMS, "openai/c"])
    assert job.status == "SUCCESS"
    assert "openai/c is not known" in job.warnings[0]


def test_an_answer_that_our_cap_cut_gets_no_score(tmp_path: Path) -> None:
    world = World()
    client, router = world_of(tmp_path, world)
    whole = world.call

    def cut(attempt: Attempt) -> Any:
        outcome = whole(attempt)
        if attempt.candidate.name == "openai/b" and isinstance(outcome, Answered):
            outcome.response["choices"][0]["finish_reason"] = "length"
        return outcome

    world.call = cut  # type: ignore[method-assign]
    job = trained(client, router, 4, budget_usd=1.0)
    assert job.scores["openai/b"] == 0
    assert world.calls[0][1]["max_tokens"] == 4_096


# --------------------------------------------------------------------------- partial failure


def test_a_model_whose_provider_is_down_is_left_out_with_a_warning(tmp_path: Path) -> None:
    world = World({"openai/b": [ConnectionError("down")]})
    client, router = world_of(tmp_path, world, ("a", "b", "c"))
    fits = Fits()
    llms = ["openai/a", "openai/b", "openai/c"]
    job = trained(client, router, 30, llms=llms, fit=fits)
    assert (job.status, dict(job.scores)) == ("SUCCESS", {"openai/a": 30, "openai/b": 0, "openai/c": 30})
    assert any(w.startswith("openai/b: 0 of 30") and "left out" in w and "given up" in w for w in job.warnings)
    assert [one.model for one in router.spec.deployments] == ["openai/a", "openai/c"]
    assert all(set(row["scores"]) == {"openai/a", "openai/c"} for row in fits.rows), "missing, not zero"
    assert sum(n for (model, _), n in world.asked.items() if model == "openai/b") <= 10
    world.script("openai/b", [Reply("ok")])
    job = TrainingJobs(client).resume(job.name, wait=True, fit=fits)
    assert (job.status, job.n_done) == ("SUCCESS", 90)
    assert [one.model for one in router.spec.deployments] == llms
    assert all(n == 1 for (model, _), n in world.asked.items() if model != "openai/b")


def test_a_thin_column_is_missing_scores(tmp_path: Path) -> None:
    world = World({"openai/b": [*[Reply("ok")] * 32, *[ConnectionError("down")] * 1_000]})
    client, router = world_of(tmp_path, world)
    fits = Fits()
    job = trained(client, router, 40, fit=fits)
    assert (job.status, dict(job.scores)) == ("SUCCESS", {"openai/a": 40, "openai/b": 32})
    assert sum("openai/b" in row["scores"] for row in fits.rows) == 32
    assert all(row["scores"].get("openai/b", 1.0) == 1.0 for row in fits.rows)
    assert any("openai/b: 32 of 40 scores" in warning for warning in job.warnings)


@pytest.mark.parametrize(
    ("n", "least"), [(1, 1), (2, 1), (3, 2), (19, 10), (20, 20), (30, 20), (40, 20), (41, 21), (1000, 500)]
)
def test_the_scores_that_are_enough(n: int, least: int) -> None:
    assert enough(n) == least


def test_a_provider_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    world = World({"openai/b": [ConnectionError("down"), ConnectionError("down"), Reply("ok")]})
    client, router = world_of(tmp_path, world)
    job = trained(client, router, 4)
    assert (job.status, job.n_done) == ("SUCCESS", 8)


class Refused(Exception):
    status_code = 401


@pytest.mark.parametrize(
    ("error", "status"),
    [(Refused("bad key"), "FAILURE_WITHOUT_RETRY"), (ConnectionError("down"), "FAILURE"), (TimeoutError(), "FAILURE")],
)
def test_where_nobody_answers_the_job_fails_as_the_reason_says(
    tmp_path: Path, error: BaseException, status: str
) -> None:
    world = World({"openai/a": [error], "openai/b": [error]})
    client, router = world_of(tmp_path, world)
    job = trained(client, router, 20)
    assert (job.status, job.version) == (status, None)
    assert type(error).__name__ in str(job.error)
    assert world.made < 40
    assert router.version == 1
    for model in LLMS:
        world.script(model, [Reply("ok")])
    assert trained(client, router, 20).status == "SUCCESS", "put right and run again"


@pytest.mark.parametrize(
    ("judge", "status"),
    [
        (lambda request, answer: 1 / 0, "FAILURE_WITHOUT_RETRY"),
        (lambda request, answer: 7, "FAILURE_WITHOUT_RETRY"),
        (Contains(), "FAILURE_WITHOUT_RETRY"),
        (RubricJudgeSpec(rubric="r", model="openai/silent", min_score=0, max_score=1), "FAILURE_WITHOUT_RETRY"),
        (RubricJudgeSpec(rubric="r", model="openai/dead", min_score=0, max_score=1), "FAILURE"),
    ],
)
def test_a_judge_that_gives_no_scores_ends_the_job_before_all_is_paid_for(
    tmp_path: Path, judge: Any, status: str
) -> None:
    world = World({"openai/silent": [Reply("I'd rather not")], "openai/dead": [ConnectionError("down")]})
    client, router = world_of(tmp_path, world, ("a", "b", "silent", "dead"))
    requests = [{"prompt": f"q{i}"} for i in range(60)]
    job = trained(client, router, judge=judge, requests=requests)
    assert job.status == status
    assert "judge" in str(job.error)
    assert sum(n for (model, _), n in world.asked.items() if model in LLMS) <= 24
    world.script("openai/silent", [Reply('{"score": 1}')])
    world.script("openai/dead", [Reply('{"score": 1}')])
    if isinstance(judge, RubricJudgeSpec):
        job = trained(client, router, judge=judge, requests=requests)
        assert (job.status, job.n_done) == ("SUCCESS", 120), "answers that it failed on are judged again, not asked"
        assert all(n == 1 for (model, _), n in world.asked.items() if model in LLMS)


def test_what_fails_after_the_answers_costs_none_of_them(tmp_path: Path) -> None:
    world = World()
    client, router = world_of(tmp_path, world)

    def broken(rows: Any, *, seed: int = 0) -> Any:
        raise RuntimeError("no numpy here, key sk-canary-0123456789")

    job = trained(client, router, fit=broken)
    assert (job.status, job.n_done) == ("FAILURE", 8)
    assert "RuntimeError: no numpy here" in str(job.error)
    assert "canary" not in str(job)
    assert trained(client, router).status == "SUCCESS"
    assert world.made == 8


def test_a_router_that_others_change_meanwhile_is_not_a_failure(tmp_path: Path) -> None:
    world = World()
    client, router = world_of(tmp_path, world)

    def meanwhile(rows: Any, *, seed: int = 0) -> Fitted:
        Router("support", client=Client(client.path)).update(max_cost=0.5)
        return Fitted(rows, seed)

    job = trained(client, router, fit=meanwhile)
    assert (job.status, job.version, router.spec.max_cost) == ("SUCCESS", 3, 0.5)


# --------------------------------------------------------------------------- data of every kind


@pytest.mark.parametrize(
    ("requests", "pairs"),
    [
        ([{"prompt": "only one", "ref_answer": "ok"}], 2),
        ([{"prompt": "the same", "ref_answer": "ok"}] * 5, 2),
        ([{"prompt": "the same", "ref_answer": "ok"}, {"prompt": "the same", "ref_answer": "no"}], 4),
        (["plain text", "\ud800 lone \x00"], 4),
        ([{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], "temperature": 0}], 2),
        ([[{"role": "user", "content": "a list of messages"}], {"prompt": [{"role": "user", "content": "so"}]}], 4),
    ],
)
def test_degenerate_requests(tmp_path: Path, requests: Any, pairs: int) -> None:
    world = World()
    client, router = world_of(tmp_path, world)
    job = trained(client, router, judge=lambda request, answer: 0.5, requests=requests)
    assert (job.status, job.n_done) == ("SUCCESS", pairs)


def test_a_reference_answer_that_a_data_frame_leaves_out_is_none(tmp_path: Path) -> None:
    client, router = world_of(tmp_path, World())
    given = [{"prompt": f"q{i}", "ref_answer": "ok" if i else float("nan")} for i in range(4)]
    job = trained(client, router, requests=given, judge=ExactMatch())
    assert (job.n_done, job.n_failed) == (6, 2)


@pytest.mark.parametrize("name", ["poll_interval", "poll_timeout"])
@pytest.mark.parametrize("seconds", [float("nan"), "10", True])
def test_how_long_to_wait_is_a_number(tmp_path: Path, name: str, seconds: Any) -> None:
    client, router = world_of(tmp_path, World())
    job = trained(client, router)
    with pytest.raises(SpecError, match=f"{name}: must be"):
        client.routers.wait_training_job(job.name, **{name: seconds})
    with pytest.raises(ResourceNotFoundError):
        client.routers.poll_training_job("\ud800")


def test_one_model_is_enough_where_there_is_one(tmp_path: Path) -> None:
    client, router = world_of(tmp_path, World())
    job = trained(client, router, llms=["a", "openai/a", "openai/openai/a"])
    assert (job.status, job.llms) == ("SUCCESS", ("openai/a",))


def test_requests_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text('{"prompt": "a", "ref_answer": "ok"}\n\n{"messages": [{"role": "user", "content": "b"}]}\n')
    read, twice = read_requests(file)
    assert ([one.prompt for one in read], twice) == (["a", "b"], 0)
    file.write_text('{"prompt": "a"}\n{broken')
    with pytest.raises(SpecError, match=r"r\.jsonl: line 2"):
        read_requests(str(file))


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ([], "none"),
        ({"messages": []}, "a list of requests"),
        (5, "a list of requests"),
        ([5], r"requests\[0\]"),
        ([{"prompt": "a"}, {"prompt": 5}], r"requests\[1\]: prompt"),
        ([{"messages": []}], "at least one"),
        ([{"messages": "hi"}], "messages"),
        ([{"messages": [5]}], "message"),
        ([{"prompt": "a", "messages": []}], "one of the two"),
        ([{"prompt": "a", "models": ["x"]}], "models: the job chooses"),
        ([{"prompt": "a", "api_base": "http://x"}], "api_base"),
        ([{"prompt": "a", "n": 2}], "one answer"),
        ([{"prompt": "a", "max_tokens": -1}], "max_tokens"),
        ([{"prompt": "a", "tools": {1, 2}}], "JSON"),
        ([{"prompt": "a", "ref_answer": np.ones(2)}], "ref_answer: cannot be kept as JSON"),
        ([{"prompt": "a", "temperature": float("nan")}], r"requests\[0\]: cannot be kept as JSON"),
    ],
)
def test_wrong_requests_are_errors_before_anything_is_asked(tmp_path: Path, requests: Any, words: str) -> None:
    world = World()
    client, router = world_of(tmp_path, world)
    with pytest.raises(SpecError, match=words):
        trained(client, router, requests=requests)
    assert world.made == 0


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"llms": "openai/a"}, SpecError, "llms"),
        ({"llms": []}, SpecError, "llms"),
        ({"llms": ["router/x"]}, SpecError, "addresses a router"),
        ({"judge": 5}, SpecError, "judge"),
        ({"judge": "nobody"}, ResourceNotFoundError, "no judge"),
        ({"budget_usd": -1}, SpecError, "usd"),
        ({"concurrency": 0}, SpecError, "concurrency"),
        ({"seed": 0.5}, SpecError, "seed"),
        ({"seed": -1}, SpecError, "seed: must be a whole number of at least 0"),
        ({"name": "a/b"}, SpecError, "name"),
    ],
)
def test_wrong_settings_are_errors(tmp_path: Path, wrong: dict[str, Any], error: type[Exception], words: str) -> None:
    client, router = world_of(tmp_path, World())
    with pytest.raises(error, match=words):
        trained(client, router, **wrong)
    with pytest.raises(ResourceNotFoundError):
        trained(client, "nobody")  # type: ignore[arg-type]


def test_models_whose_names_look_alike_are_asked_apart(tmp_path: Path) -> None:
    world = World()
    client, router = world_of(tmp_path, world)
    llms = [Deployment("x", **PRICE), Deployment("azure/x", **PRICE), Deployment("openrouter/azure/x", **PRICE)]
    job = trained(client, router, 4, llms=llms)
    assert (job.status, job.n_done) == ("SUCCESS", 12)
    assert Counter(model for model, _ in world.asked) == {"x": 4, "azure/x": 4, "openrouter/azure/x": 4}


def test_a_judge_without_a_name_has_to_be_given_again(tmp_path: Path) -> None:
    world = World()
    world.kill_at = {2}
    client, router = world_of(tmp_path, world)
    judge: Callable[..., float] = lambda request, answer: 1.0  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        trained(client, router, judge=judge)
    jobs = TrainingJobs(client)
    (name,) = [job.name for job in jobs.list()]
    with pytest.raises(TrainingError, match="judge="):
        jobs.resume(name, wait=True)
    with pytest.raises(TrainingError, match="another judge"):
        jobs.resume(name, judge=ExactMatch(), wait=True)
    assert jobs.resume(name, judge=judge, wait=True, fit=Fits()).status == "SUCCESS"


def test_written_out_keys_are_kept_nowhere(tmp_path: Path) -> None:
    client = Client(tmp_path)
    models = [Deployment(model, api_key="sk-canary-0123456789", **PRICE) for model in LLMS]
    router = Router("memory", models=models, provider=World(), clock=FakeClock())
    assert trained(client, router).status == "SUCCESS"
    client.close()
    for file in client.path.parent.rglob("*"):
        assert not file.is_file() or b"canary" not in file.read_bytes()


def test_settings_of_models_that_are_given_once_hold_when_the_job_goes_on(tmp_path: Path) -> None:
    world = World({"openai/c": [ConnectionError("down")]})
    client, router = world_of(tmp_path, world)
    given = [*LLMS, Deployment("openai/c", name="mine", rpm=1_000_000, **PRICE)]
    job = trained(client, router, 20, RUBRIC, llms=given, budget_usd=1.0)
    assert (job.status, job.scores["openai/c"]) == ("SUCCESS", 0)
    world.script("openai/c", [Reply("ok")])
    fresh = Client(client.path)
    job = TrainingJobs(fresh).resume(
        job.name, router=Router("support", client=fresh, provider=world), wait=True, fit=Fits()
    )
    assert (job.status, job.scores["openai/c"]) == ("SUCCESS", 20)
    (mine,) = [one for one in Router("support", client=fresh).spec.deployments if one.model == "openai/c"]
    assert (mine.name, mine.rpm) == ("mine", 1_000_000)


def test_after_training_the_router_chooses_by_what_it_learnt(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    world = World()
    answer = world._next

    def by_kind(attempt: Attempt) -> Reply:
        answer(attempt)
        sums = "calculate" in attempt.kwargs["messages"][-1]["content"]
        return Reply("ok" if sums == (attempt.candidate.name == "openai/a") else "no")

    world._next = by_kind  # type: ignore[method-assign]
    client, router = world_of(tmp_path, world)
    words = [
        "dragon",
        "river",
        "castle",
        "garden",
        "winter",
        "letter",
        "sailor",
        "forest",
        "mirror",
        "candle",
        "bridge",
        "meadow",
    ]
    pairs = [(one, two) for one in words for two in words if one < two]
    kinds = ["calculate the sum of seven {0} prices and the {1} tax", "write a poem about the {0} and a {1}"]
    requests = [{"prompt": kinds[i % 2].format(*pair), "ref_answer": "ok"} for i, pair in enumerate(pairs * 2)]
    job = TrainingJobs(client).run(router, ExactMatch(), LLMS, requests, wait=True, concurrency=4)
    assert (job.status, job.error, job.version) == ("SUCCESS", None, 2)
    fresh = Router("support", client=Client(client.path), provider=world, clock=FakeClock())
    for prompt, best in (("calculate the sum of eight", "openai/a"), ("write a poem about the sea", "openai/b")):
        assert fresh.route({"prompt": prompt}).model == best


# --------------------------------------------------------------------------- over real HTTP


def test_a_job_over_http_meets_faults_and_ends(tmp_path: Path) -> None:
    from router_plugin.testing.loopback import RateLimited, Status

    with LoopbackProvider() as provider:
        provider.model("good", reply="ok")
        provider.model("bad", reply="no")
        provider.script("good", [Status(500), RateLimited(retry_after="0.05")])
        models = [
            Deployment(f"openai/{name}", api_base=provider.openai_base, api_key="os.environ/LOOPBACK_KEY", **PRICE)
            for name in ("good", "bad")
        ]
        os.environ["LOOPBACK_KEY"] = "k"
        client = Client(tmp_path)
        router = Router("http", models=models, client=client)
        fits, jobs = Fits(), TrainingJobs(client)
        job = jobs.run(router, ExactMatch(), ["good", "bad"], asked(12), fit=fits, budget_usd=1.0, concurrency=4)
        job = jobs.wait(job.name, 0.05, 20)
        assert (job.status, job.n_done) == ("SUCCESS", 24)
        assert provider.calls("good") == 14
        assert provider.calls("bad") == 12
    assert all(row["scores"] == {"openai/good": 1.0, "openai/bad": 0.0} for row in fits.rows)


@pytest.mark.parametrize(
    ("key", "prompt", "words"),
    [(None, "hello", "credential"), ("os.environ/LOOPBACK_KEY", "\ud800", "bad_request")],
)
def test_what_was_never_sent_is_not_taken_for_a_server_that_may_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str | None, prompt: str, words: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("LOOPBACK_KEY", "k")
    with LoopbackProvider() as provider:
        provider.model("a", reply="ok")
        given = {} if key is None else {"api_key": key}
        router = Router("http", models=[Deployment("openai/a", api_base=provider.openai_base, **given, **PRICE)])
        job = trained(
            Client(tmp_path), router, llms=["openai/a"], requests=[{"prompt": prompt, "ref_answer": "ok"}] * 2
        )
        assert (job.status, provider.calls("a")) == ("FAILURE_WITHOUT_RETRY", 0)
        assert words in str(job.error)


def test_the_order_of_requests_is_drawn_from_the_seed(tmp_path: Path) -> None:
    orders = []
    for at, seed in (("x", 0), ("y", 0), ("z", 1)):
        world = World()
        client, router = world_of(tmp_path / at, world)
        trained(client, router, 10, seed=seed)
        orders.append([key for key in world.asked if key[0] == "openai/a"])
    assert orders[0] == orders[1] != orders[2]
    expected = list(range(10))
    random.Random(0).shuffle(expected)
    assert orders[0] == [("openai/a", f"question {i}") for i in expected]
