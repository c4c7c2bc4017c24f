"""``Router.fit`` and ``Router.frontier``: training and measuring with a router's own models, prices and predictor."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from ..decide.pool import guessed_quality, matches
from ..errors import BudgetExceededError, SpecError, TrainingError
from ..redact import shown
from ..spec.deployment import Deployment
from .fit import fit
from .frontier.curve import Frontier, frontier
from .frontier.live import Live
from .jobs.training_requests import read_requests
from .judges.asking import OF_THE_MODEL, asker, kind_of
from .judges.making import made
from .judges.placing import placed
from .outcomes.figures import some
from .outcomes.tables import read_outcomes
from .serving.predictor import Predictor

log = logging.getLogger("router_plugin")
PRIOR = 5.0  # judgements that the guess from the price is worth

if TYPE_CHECKING:
    from ..records import Candidate
    from ..router import Router


def fit_router(router: Router, outcomes: Any, seed: int, note: str | None) -> Predictor:
    """Fit a predictor on judged outcomes and let the router choose by it: of a saved router a new version that names
    the artefact beside the store, of one in memory its ``scorer``."""
    rows = read_outcomes(outcomes)
    predictor = fit(rows, seed=seed)
    strangers = [model for model in predictor.models if _candidate(router.candidates(), model) is None]
    if strangers and not router.spec.any_model:
        log.warning("router %r has no deployment of %s, of which the outcomes tell", router.name, some(strangers))
    folder = router._home.folder
    if folder is None:
        router.scorer = predictor
        return predictor
    text = repr((seed, [sorted(row.items(), key=repr) for row in rows])).encode("utf-8", "surrogatepass")
    name = f"artefacts/{router.name}-{hashlib.sha256(text).hexdigest()[:12]}"
    (folder / "artefacts").mkdir(mode=0o700, parents=True, exist_ok=True)
    predictor.save(folder / name)
    router.update(artefact=name, note=note or f"fitted on {len(rows)} prompts")
    return predictor


def frontier_of(router: Router, outcomes: Any, **keywords: Any) -> Frontier:
    """The frontier over the outcomes of the models that the router has, at its prices, by what it believes of them. Its
    strings name the models where the router has others too, which would take part in what they say."""
    rows = read_outcomes(outcomes)
    known, candidates = _known(router, rows), router.candidates()
    prices = _prices(known)
    chosen = keywords.pop("models", None)
    models = list(chosen if chosen is not None else known if "prices" in keywords else prices)
    if not models:
        raise SpecError(
            f"frontier: of the models of which the outcomes tell ({some(_named(rows))}) none is a deployment of "
            f"router {router.name!r} whose price is known"
        )
    if chosen is None and (left := [model for model in _named(rows) if model not in models]):
        log.warning("frontier: goes without %s: no deployment of router %r, or unpriced", some(left), router.name)
    alone = all(any(matches(candidate, model) for model in models) for candidate in candidates)
    given = {"prices": prices, "router": router.name, "only": not alone}
    if "qualities" not in keywords:
        given["qualities"] = Live(router, {model: known[model] for model in models if model in known})
    return frontier(rows, **{**given, **keywords, "models": models})


def add_model(
    router: Router,
    model: str | Deployment,
    requests: Any,
    judge: Any,
    quality: float | None,
    note: str | None,
    budget_usd: float | None,
) -> float | None:
    """Let a model that the router was not trained on join: its quality is declared, or judged on a handful of requests
    and shrunk towards the guess from its price (worth ``PRIOR`` judgements). Gives the quality, None where nothing says
    anything of it (it then goes by its price, and is marked as a guess)."""
    deployment = model if isinstance(model, Deployment) else Deployment(model)
    spec = router.spec
    if any(deployment.name == known.name for known in spec.deployments):
        raise SpecError(f"add_model: the router has {deployment.name!r} already")
    if quality is not None and requests is not None:
        raise SpecError("add_model: give quality, or requests and a judge that finds it: one of the two")
    if judge is not None and requests is None:
        raise SpecError("add_model: requests: a judge needs some whose answers it can judge")
    if requests is not None:
        quality = _judged(router, deployment, requests, judge, budget_usd)
    if quality is not None:
        given = {name: getattr(deployment, name) for name in deployment.model_fields_set}
        deployment = Deployment(**{**given, "quality": quality})
    router.update(models=[*spec.deployments, deployment], note=note or f"{deployment.name} joins")
    return quality


def _judged(
    router: Router, deployment: Deployment, requests: Any, judge: Any, budget_usd: float | None
) -> float | None:
    if isinstance(judge, str):
        judge = _stored(router, judge)
    judges = placed(judge, router)
    own = (deployment.name, deployment.model, deployment.model_part)
    everyone = [deployment, *(one for asked, one in judges if asked not in own and one != deployment)]
    name = deployment.name if any(one.model == deployment.model for one in everyone[1:]) else deployment.model
    ask = asker(everyone, router.provider, router.clock, budget_usd)
    by = made(judge, ask if judges else None)
    scores: list[float] = []
    why, failure = "there were no requests", None
    for request in read_requests(requests)[0]:
        kwargs = {name: value for name, value in request.kwargs.items() if name != "messages"}
        try:
            answer = ask(name, request.kwargs["messages"], **kwargs)
        except BudgetExceededError:
            raise
        except Exception as error:  # one answer less, unless no other could come
            if kind_of(error)[0] in OF_THE_MODEL:
                raise
            failure = error
            continue
        judgement = by.judge(deepcopy(request.kwargs), answer.text, deepcopy(request.ref_answer))
        scores += [] if judgement.score is None else [judgement.score]
        why = str(judgement.reason)
    if not scores and failure is not None:
        raise failure
    if not scores:
        raise TrainingError(f"add_model: the judge gave no score at all: {why}")
    guess = guessed_quality(router.provider.facts(deployment))
    return (sum(scores) + PRIOR * guess) / (len(scores) + PRIOR)


def _stored(router: Router, name: str) -> Any:
    """A judge of the router's client.

    Raises: ResourceNotFoundError; SpecError where the router has no client.
    """
    if router._client is None:
        raise SpecError(
            f"judge: {shown(name)} can name a stored judge of a router of a client (Router(…, client=…)); this one "
            "lives in memory: give the judge itself"
        )
    return router._client.judges.existing(name)


def prices_of(router: Router, rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """USD per million tokens (input, output) of the models in outcomes that the router knows and that have a price."""
    return _prices(_known(router, rows))


def _prices(known: Mapping[str, Candidate]) -> dict[str, tuple[float, float]]:
    return {m: (c.input_price / 1e3, c.output_price / 1e3) for m, c in known.items() if c.priced}


def _named(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The models of which outcomes tell."""
    return list(dict.fromkeys(model for row in rows for model in row.get("scores", ())))


def _known(router: Router, rows: Iterable[Mapping[str, Any]]) -> dict[str, Candidate]:
    """Of the models of which outcomes tell, those that the router has, in its order."""
    candidates = router.candidates()
    known = {model: found for model in _named(rows) if (found := _candidate(candidates, model)) is not None}
    return dict(sorted(known.items(), key=lambda one: one[1].index))


def _candidate(candidates: Iterable[Candidate], model: str) -> Candidate | None:
    return next((candidate for candidate in candidates if matches(candidate, model)), None)
