"""Training and measuring: ``train``, ``fit``, ``eval``, ``frontier``, ``judge``. Two of them call models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ResourceNotFoundError, SpecError, did_you_mean
from ..redact import shown
from ..routers import learning
from .arguments import Name
from .command import NO, Session, command
from .screen import count, usd

Outcomes = Annotated[Path, typer.Argument(metavar="OUTCOMES", help="Judged outcomes: a .jsonl, .csv or .parquet file.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed and data give the same result.")]


def judge_of(session: Session, judge: str) -> Any:
    """A judge by its name in the store, or one of those that need no model: exact-match, contains, json, numeric."""
    kinds = {"exact-match": "ExactMatch", "contains": "Contains", "json": "JSONEquals", "numeric": "NumericMatch"}
    if judge in kinds:
        return getattr(learning("judges"), kinds[judge])()
    found = session.client.judges.get(judge)
    if found is None:
        known = [*kinds, *(one.id for one in session.client.judges.list())]
        raise ResourceNotFoundError(
            f"there is no judge {shown(judge)}{did_you_mean(judge, known)}; known: {', '.join(known)}"
        )
    return found


@command
def train(
    session: Session,
    name: Name,
    requests: Annotated[Path, typer.Argument(metavar="REQUESTS", help='JSONL of {"prompt", "ref_answer"}.')],
    judge: Annotated[str, typer.Option(help="A stored judge, or exact-match, contains, json, numeric.")],
    llms: Annotated[str, typer.Option(help="The models to train on, comma-separated.")],
    budget: Annotated[float | None, typer.Option(metavar="USD", help="Never spend more.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls at a time.")] = 8,
    seed: Seed = 0,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only say what it would cost.")] = False,
) -> int | None:
    """Let models answer and a judge score, fit a predictor, deploy it. Killed, it resumes, paying nothing twice."""
    router, models = session.router(name), [one.strip() for one in llms.split(",") if one.strip()]
    given = (router, judge_of(session, judge), models, requests)
    found = session.client.routers.estimate_training_job(*given)
    if not session.json:
        session.screen.error(f"estimated {usd(found.usd)} for {count(found.calls, 'call')}")
    if estimate:
        _say(session, {"estimate_usd": found.usd, "calls": found.calls, "unpriced": list(found.unpriced)})
        return None
    job = session.client.routers.run_training_job(
        *given, budget_usd=budget, concurrency=concurrency, seed=seed, wait=True
    )
    told = {
        "name": job.name,
        "status": job.status,
        "done": job.n_done,
        "failed": job.n_failed,
        "spent_usd": job.spent_usd,
        "estimate_usd": job.estimate_usd,
        "warnings": list(job.warnings),
        "error": job.error,
    }
    _say(session, told)
    return None if job.status == "SUCCESS" else NO


@command
def fit(session: Session, name: Name, outcomes: Outcomes, seed: Seed = 0) -> None:
    """Fit a predictor on outcomes that exist already, without calling anyone, and deploy it."""
    router = session.router(name)
    with session.screen.progress(f"fitting on {outcomes.name}", session.json):
        predictor = router.fit(outcomes, seed=seed)
    told = {"name": name, "version": router.version, "models": list(predictor.models), **predictor.about}
    _say(session, told)


@command
def evaluate(session: Session, name: Name, outcomes: Outcomes) -> None:
    """Measure the router's predictor on outcomes that it has not seen (accuracy, AIQ, APGR, calibration)."""
    router = session.router(name)
    predictor = router._active().predictor
    if predictor is None:
        raise SpecError(f"router {name!r} has no trained predictor; train or fit it first")
    rows = learning("outcomes.tables").read_outcomes(outcomes)
    prices = learning("of_router").prices_of(router, rows)
    with session.screen.progress(f"measuring on {outcomes.name}", session.json):
        metrics = learning("measure.evaluate").evaluate(predictor, rows, prices=prices or None)
    _say(session, {field: getattr(metrics, field) for field in metrics.__dataclass_fields__})


@command
def frontier(
    session: Session,
    name: Name,
    outcomes: Outcomes,
    page: Annotated[Path | None, typer.Option(metavar="FILE.html", help="A page with stars to click on.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png|.svg", help="The same as a picture.")] = None,
    points: Annotated[int, typer.Option(min=2, help="About so many settings.")] = 12,
) -> None:
    """The Pareto-efficient settings of the dials over held-out outcomes, each as a router string."""
    router = session.router(name)
    with session.screen.progress(f"sweeping over {outcomes.name}", session.json):
        found = router.frontier(outcomes, points=points)
        if page is not None:
            found.save_page(page)
        if plot is not None:
            found.plot(plot)
    if session.json:
        session.screen.json(found.model_dump())
        return
    rows = [(f"{s.quality:.4f}", f"{s.low:.4f}-{s.high:.4f}", usd(s.cost_usd), s.string) for s in found.settings]
    session.screen.table(("quality", "95 %", "cost", "router string"), rows)


@command
def judge(
    session: Session,
    judge_id: Annotated[str, typer.Argument(metavar="JUDGE", help="As `train --judge` takes it.")],
    question: Annotated[str, typer.Option(help="What was asked.")],
    answer: Annotated[str, typer.Option(help="The answer to judge.")],
    reference: Annotated[str | None, typer.Option(help="The right answer, where there is one.")] = None,
    router: Annotated[str | None, typer.Option(help="Ask the judge's model where this router says.")] = None,
) -> int | None:
    """Judge one answer."""
    asked = {"messages": [{"role": "user", "content": question}]}
    found = judge_of(session, judge_id)
    with session.screen.progress(f"asking {judge_id}", session.json):
        verdict = session.client.judges.evaluate(found, asked, answer, ref_answer=reference, router=router)
    _say(session, {"score": verdict.score, "reason": verdict.reason, "cost_usd": verdict.cost_usd})
    return NO if verdict.score is None else None


def _say(session: Session, told: dict[str, Any]) -> None:
    if session.json:
        session.screen.json(told)
    else:
        session.screen.table(("", ""), [(key, value) for key, value in told.items() if value not in (None, [], {})])
