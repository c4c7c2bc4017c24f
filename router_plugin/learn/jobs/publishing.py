"""From a job's scores to a new version of its router: fit, keep the predictor beside the store, write the version."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import VersionConflictError
from ...router import Router
from ...spec.deployment import Deployment
from .store import Cell
from .training_requests import TrainingRequest

FOLDER = "artefacts"
Fit = Callable[..., Any]


def note_of(job: str) -> str:
    """What the version says that a job wrote."""
    return f"trained by job {job}"


def default_fit(rows: Sequence[Mapping[str, Any]], *, seed: int = 0) -> Any:
    """``router_plugin.learn.fit``, loaded when it is needed: it needs numpy."""
    from ..fit import fit

    return fit(rows, seed=seed)


def rows_of(requests: Sequence[TrainingRequest], cells: Iterable[Cell], models: Sequence[str]) -> list[dict[str, Any]]:
    """The scores as rows for ``fit``; a score that is missing is left out."""
    rows: list[dict[str, Any]] = [
        {"id": one.key, "task": one.task, "prompt": one.prompt, "scores": {}, "output_tokens": {}, "cost_usd": {}}
        for one in requests
    ]
    for cell in cells:
        if cell.score is None or cell.model not in models:
            continue
        row = rows[cell.number]
        row["scores"][cell.model] = cell.score
        if cell.input_tokens is not None:
            row.setdefault("input_tokens", cell.input_tokens)
        if cell.output_tokens is not None:
            row["output_tokens"][cell.model] = cell.output_tokens
        if cell.cost is not None:
            row["cost_usd"][cell.model] = cell.cost / 1e9
    kept = [row for row in rows if row["scores"]]
    for row in kept:
        if row["task"] is None:
            del row["task"]
    return kept


def save_artefact(predictor: Any, home: Path, router: str, rows: Any, seed: int) -> str:
    """Keep a predictor under a name made of what it was fitted on; its path relative to the store's folder. What is
    there already is the same and stays."""
    text = json.dumps([rows, seed], sort_keys=True)
    relative = f"{FOLDER}/{router}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    target = home / relative
    if target.exists():
        return relative
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(target.parent, 0o700)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        predictor.save(draft)
        _own(draft)
        os.replace(draft, target)
    except OSError:
        if not target.exists():  # another process was first: its predictor is the same
            raise
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
    return relative


def _own(path: Path) -> None:
    """Files 0600, folders 0700."""
    for one in (path, *path.rglob("*")) if path.is_dir() else (path,):
        os.chmod(one, 0o700 if one.is_dir() else 0o600)


def publish(router: Router, llms: Sequence[Deployment], artefact: str, predictor: Any, note: str) -> int:
    """Write and deploy the version that routes among ``llms`` by ``predictor``; its number. Where the active version is
    that one already (a job that was killed just after it), nothing is written. A router in memory gets the predictor as
    its scorer."""
    for _ in range(5):
        spec = router.spec
        models: list[Deployment] = []
        for llm in llms:  # a deployment that is there keeps its settings, and so do others of the same model
            models += [one for one in spec.deployments if one.model == llm.model] or [llm]
        changes: dict[str, Any] = {"models": models}
        if spec.base_model is not None and not any(spec.base_model in (one.model, one.name) for one in models):
            changes["base_model"] = None
        if router._home.folder is not None:  # a router in memory has no store that an artefact could lie beside
            if spec.artefact == artefact and list(spec.deployments) == models:
                return router.version
            changes["artefact"] = artefact
        try:
            router.update(**changes, note=note)
        except VersionConflictError:
            router.refresh()
            continue
        if "artefact" not in changes and callable(getattr(predictor, "score", None)):
            router.scorer = predictor
        return router.version
    raise VersionConflictError(f"router {router.name!r} is being changed all the time; run the job again")
