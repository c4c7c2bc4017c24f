"""Durable training jobs: requests × models → answers → judge → scores → fit → a new version of the router.

Rule of success: a model has *enough* where it has max(20, half) of the scores asked for (half, of fewer than 20
requests). Models without enough are left out of the version and named in a warning; where at least two have enough (or
the only one there is), the job is a SUCCESS. Else it is a FAILURE, which running again goes on with; or
FAILURE_WITHOUT_RETRY, where the judge, the requests or the credentials have to be put right first.
Killed at any point, a job goes on where it stood (``resume_training_job``, or ``run_training_job`` with the same
content): no answer that is there is asked for again, and at most ``concurrency`` calls, those in flight, are made
twice; they count at their worst case. The budget is a hard one: every call, the judge's too, reserves its worst case.
"""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...clock import SYSTEM_CLOCK, Clock
from ...errors import ResourceAlreadyExistsError, SpecError, TrainingError
from ...redact import shown
from ...router import Router
from ...spec.budget import Budget
from ...spec.fields import count, number
from ..judges.making import described, made, undescribed
from ..judges.placing import known_deployments
from ..judges.store import JudgesClient
from ..outcomes.figures import whole_number
from . import lease
from .estimate import Estimate
from .plan import CAP, Plan, resolved, restored
from .progress import bar
from .publishing import Fit, default_fit, note_of
from .run import Run, fresh_record, settings_of
from .store import ENDED, PENDING, SUCCESS, JobStore, RouterTrainingJob
from .training_requests import read_requests, request_of

if TYPE_CHECKING:
    from pathlib import Path

    from ...routers import Client

log = logging.getLogger("router_plugin")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


class TrainingJobs:
    """The training jobs of a client: what ``client.routers`` hands on."""

    def __init__(self, client: Client, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client, self._clock = client, clock
        self.store = JobStore(client.store.database)
        self._running: dict[str, threading.Event] = {}

    # -- beginning ----------------------------------------------------------------------------------------------

    def run(
        self,
        router: Router | str,
        judge: Any,
        llms: Any,
        requests: Any,
        *,
        budget_usd: float | None = None,
        concurrency: int = 8,
        wait: bool = False,
        seed: int = 0,
        name: str | None = None,
        max_answer_tokens: int | None = None,
        fit: Fit = default_fit,
    ) -> RouterTrainingJob:
        """Train a router on what ``judge`` thinks of the answers of ``llms`` to ``requests``, in the background or
        (``wait``) now. The same content again goes on with the same job; one that has succeeded is given back,
        or, where the router has not the version that it wrote (one in memory, or made anew), fitted again.

        ``requests``: mappings with ``messages`` (or ``prompt``) and ``ref_answer``, or the path of a JSONL file.
        ``max_answer_tokens`` bounds the output of requests that bring no cap (4,096 where there is a budget); answers
        that it cuts get no score. Raises: SpecError; ResourceNotFoundError; ResourceAlreadyExistsError (another job of
        that name); TrainingError where a budget is given and a price is not known.
        """
        plan = self._plan(router, judge, llms, requests, seed, budget_usd, concurrency, max_answer_tokens)
        digest = plan.digest()
        plan = replace(plan, name=_name(name) if name is not None else f"{plan.router.name[:60]}-{digest[:12]}")
        row = self.store.find(plan.name)
        if row is not None:
            plan = plan.with_stored(restored(row["content"]["models"]))
        if row is not None and row["digest"] != digest:
            raise ResourceAlreadyExistsError(f"there is a training job {plan.name!r} of other content already")
        if row is not None and row["status"] == SUCCESS and not _has_more(row, plan.budget_usd) and _stands(plan, row):
            return self.poll(plan.name)
        return self._start(plan, None if row is None else row["record"], digest, wait, fit)

    def estimate(self, router: Router | str, judge: Any, llms: Any, requests: Any) -> Estimate:
        """What ``run`` would cost, without asking anybody."""
        return self._plan(router, judge, llms, requests, 0, None, 8, None).estimate()

    def resume(
        self,
        job_name: str,
        *,
        router: Router | None = None,
        judge: Any = None,
        budget_usd: float | None = None,
        concurrency: int | None = None,
        wait: bool = False,
        fit: Fit = default_fit,
    ) -> RouterTrainingJob:
        """Go on with a job that was killed or failed, or (one that succeeded) with the pairs that have no score.

        ``judge`` and ``router`` are needed where the judge is a function without a name, or the router is not saved.
        Raises: ResourceNotFoundError; TrainingError.
        """
        row = self.store.get(_last(job_name))
        if judge is None:
            judge = undescribed(row["content"]["judge"])
        elif described(judge) != row["content"]["judge"]:
            raise TrainingError(f"training job {row['name']!r} has another judge; run a new job")
        if judge is None:
            raise TrainingError(f"training job {row['name']!r}: its judge cannot be found by name; give judge=")
        found = router if router is not None else self._client.routers._existing(row["router"])
        settings = settings_of(row)
        if budget_usd is not None:
            settings["budget_usd"] = Budget(budget_usd).usd
            settings["cap"] = settings["cap"] or CAP
        if concurrency is not None:
            settings["concurrency"] = _whole("concurrency", concurrency)
        requests = tuple(request_of(text) for text in self.store.requests(row["name"]))
        stored = {one.model: one for one in restored(row["content"]["models"])}
        for one in reversed(known_deployments(found)):
            stored[one.model] = one
        deployments = tuple(stored[model] for model in row["record"]["llms"])
        plan = Plan(row["name"], found, judge, deployments, requests, **settings, stored=tuple(stored.values()))
        return self._start(plan, row["record"], row["digest"], wait, fit)

    def _plan(
        self, router: Any, judge: Any, llms: Any, requests: Any, seed: Any, budget_usd: Any, concurrency: Any, cap: Any
    ) -> Plan:
        found = self._client.routers._existing(router)
        if isinstance(judge, str):
            judge = JudgesClient(self._client).existing(judge)
        made(judge, lambda model, messages, **kwargs: None)  # type: ignore[arg-type]  # is it one?
        whole_number(seed, "seed", 0)  # what fitting would refuse, once all is paid
        deployments = resolved(found, llms)
        read, _ = read_requests(requests)
        budget = None if budget_usd is None else Budget(budget_usd).usd
        cap = _whole("max_answer_tokens", cap) if cap is not None else CAP if budget is not None else None
        return Plan("", found, judge, deployments, tuple(read), seed, _whole("concurrency", concurrency), budget, cap)

    def _start(self, plan: Plan, record: dict[str, Any] | None, digest: str, wait: bool, fit: Fit) -> RouterTrainingJob:
        estimate = plan.estimate()
        if plan.budget_usd is not None and estimate.unpriced:
            raise TrainingError(
                f"budget_usd: the price of {', '.join(estimate.unpriced)} is not known; give it in a Deployment "
                "(input_cost_per_token, output_cost_per_token), or leave the budget out"
            )
        if not lease.take(self._lock(plan.name)):
            return self.wait(plan.name) if wait else self.poll(plan.name)
        try:
            warnings = []
            if estimate.unpriced:
                warnings.append(f"the price of {', '.join(estimate.unpriced)} is not known: not part of the estimate")
            if plan.budget_usd is not None and estimate.usd > plan.budget_usd:
                warnings.append(f"the estimate of ${estimate.usd:.6f} is above the budget of ${plan.budget_usd:g}")
            kept = {} if record is None else {name: record[name] for name in _STAYS if name in record}
            whole = {**fresh_record(plan, estimate.usd, warnings), **kept}
            if record is None:
                documents = [request.document() for request in plan.requests]
                now = self._clock.wall()
                self.store.create(plan.name, digest, plan.router.name, plan.content(), whole, documents, now)
            home = plan.router._home.folder or self._client.path.parent
            run = Run(self.store, plan, whole, self._clock, home, fit)
        except BaseException:
            lease.give_back(self._lock(plan.name))
            raise
        if wait:
            with bar(f"training {plan.router.name}", len(plan.requests) * len(plan.llms)) as told:
                run.told = told
                self._run(run)
        else:
            self._running[plan.name] = threading.Event()
            threading.Thread(target=self._in_background, args=(run,), name=f"training {plan.name}", daemon=True).start()
        return self.poll(plan.name)

    def _run(self, run: Run) -> None:
        try:
            run.whole()
        finally:
            lease.give_back(self._lock(run.plan.name))

    def _in_background(self, run: Run) -> None:
        done = self._running[run.plan.name]
        try:
            self._run(run)
        except BaseException:  # nobody waits here: the job stands where it stood, as if the process had died
            log.exception("training job %r was interrupted", run.plan.name)
        finally:
            self._running.pop(run.plan.name, None)
            done.set()

    def _lock(self, name: str) -> Path:
        return self._client.path.parent.resolve() / "jobs" / f"{name}.lock"

    # -- looking ------------------------------------------------------------------------------------------------

    def poll(
        self, job_name: str, poll_interval: float | None = None, poll_timeout: float | None = None
    ) -> RouterTrainingJob:
        """A job as it stands; with an interval or a time-out it waits, as ``wait`` does.

        Raises: ResourceNotFoundError.
        """
        if poll_interval is not None or poll_timeout is not None:
            return self.wait(
                job_name, 10 if poll_interval is None else poll_interval, 1200 if poll_timeout is None else poll_timeout
            )
        row = self.store.get(_last(job_name))
        job = self.store.job(row)
        if row["status"] in ENDED or lease.is_taken(self._lock(row["name"])):
            return job
        row = self.store.get(row["name"])  # it may have ended between the two looks
        job = self.store.job(row)
        if row["status"] in ENDED:
            return job
        note = f"nobody works on it; resume_training_job({row['name']!r}) goes on where it stood"
        return replace(job, status=PENDING, warnings=(*job.warnings, note))

    def wait(self, job_name: str, poll_interval: float = 10, poll_timeout: float = 1200) -> RouterTrainingJob:
        """A job when it has ended, whichever way.

        Raises: TimeoutError; TrainingError where it was killed and nobody works on it; ResourceNotFoundError.
        """
        interval, timeout = _seconds("poll_interval", poll_interval), _seconds("poll_timeout", poll_timeout)
        name, deadline = _last(job_name), self._clock.monotonic() + timeout
        while True:
            here = self._running.get(name)
            job = self.poll(name)
            if job.status in ENDED:
                return job
            if job.status == PENDING and here is None and not lease.is_taken(self._lock(name)):
                raise TrainingError(f"training job {name!r} was interrupted; resume_training_job({name!r}) goes on")
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise TimeoutError(f"training job {name!r} has not ended within {timeout:g} s; it goes on")
            pause = max(0.0, min(max(interval, 0.01), left))
            if here is not None:
                here.wait(pause)
            else:
                self._clock.sleep(pause)

    def list(self) -> list[RouterTrainingJob]:
        """All jobs, oldest first."""
        return [self.poll(name) for name in self.store.names()]

    def delete(self, job_name: str) -> None:
        """Forget a job with its prompts and answers.

        Raises: ResourceNotFoundError; TrainingError where it runs.
        """
        name = self.store.get(_last(job_name))["name"]
        if lease.is_taken(self._lock(name)):
            raise TrainingError(f"training job {name!r} runs")
        self.store.delete(name)
        self._lock(name).unlink(missing_ok=True)


_STAYS = ("llms", "version", "artefact", "judge_broken", "lost_calls")  # of a job's record, when it is run again


def _has_more(row: dict[str, Any], budget_usd: float | None) -> bool:
    """Whether a job that its budget ended, with enough for a success, now has a larger one."""
    before = row["content"]["budget_usd"]
    return bool(row["record"].get("budget_ended")) and (budget_usd is None or before is None or budget_usd > before)


def _stands(plan: Plan, row: dict[str, Any]) -> bool:
    """Whether the router has the version that its job wrote: one in memory, or made anew since, has it not."""
    wrote = row["record"].get("version")
    return any(one["version"] == wrote and one["note"] == note_of(plan.name) for one in plan.router.versions)


def _whole(what: str, value: Any) -> int:
    try:
        return count(value)
    except ValueError as error:
        raise SpecError(f"{what}: {error}") from None


def _seconds(what: str, value: Any) -> float:
    try:
        return number(value)
    except ValueError as error:
        raise SpecError(f"{what}: {error}") from None


def _last(job_name: Any) -> str:
    """``organizations/x/router_training_jobs/ID`` means ID."""
    if not isinstance(job_name, str):
        raise SpecError(f"job_name: must be the name of a training job, not {shown(job_name)}")
    return job_name.rsplit("/", 1)[-1]


def _name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.match(name):
        raise SpecError(f"name: must be 1 to 128 letters, digits, '.', '_' or '-', got {shown(name)}")
    return name
