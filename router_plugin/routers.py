"""``Client``: the embedded store of routers, and ``RoutersClient``, the collection in it (Martian's interface).

::

    client = Client()                                   # the user's data folder, or ROUTER_PLUGIN_HOME
    router = client.routers.create_router("support", base_model="openai/gpt-4o-mini")
    text = client.routers.run(router, RoutingConstraint(cost_constraint=CostConstraint(0.01)), {"messages": […]})
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .clock import SYSTEM_CLOCK, Clock
from .errors import ResourceNotFoundError, SpecError
from .history import History
from .provider.usage import output_text
from .redact import shown
from .result import RouteResult
from .router import Router
from .shelf import Shelf, StoredShelf
from .spec.document import read_export, spec_with
from .spec.options import Routing
from .spec.router_spec import RouterSpec
from .spec.store import Database, Store
from .version import Home

if TYPE_CHECKING:
    from .learn.jobs.service import TrainingJobs
    from .learn.jobs.store import RouterTrainingJob
    from .learn.judges.store import JudgesClient

FILE = "routers.db"


def learning(module: str) -> Any:
    """A module of learn/, which needs NumPy.

    Raises: ImportError that names the extra.
    """
    try:
        return import_module(f"router_plugin.learn.{module}")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{error.name} is missing: pip install 'router-plugin[train]' (or [learn], to serve)"
        ) from error


class Client:
    """Routers, their versions and their requests in one SQLite file, which several processes may use.

    ``path`` is the file (or a folder, where it is called ``routers.db``); by default it lies in ``ROUTER_PLUGIN_HOME``
    or the user's data folder. Nothing is opened until it is needed. ``log_content`` and ``redaction`` are defaults of
    its routers (see ``Router``).
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        log_content: bool = False,
        redaction: Callable[[Any], Any] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if path is not None and (isinstance(path, bytes) or not isinstance(path, (str, os.PathLike))):
            raise SpecError(f"Client: path: must be the path of a file, not {shown(path)}")
        self.path = _file(Path(path) if path is not None else _default_folder())
        self._log_content, self._redaction = log_content, redaction
        self._database = Database(self.path)
        self.store = Store(self._database, clock)
        self._homes: dict[str, Home] = {}
        self._lock = threading.RLock()
        self.routers = RoutersClient(self)
        self._judges: JudgesClient | None = None

    def __repr__(self) -> str:
        return f"Client({str(self.path)!r})"

    @property
    def judges(self) -> JudgesClient:
        """The judges in this file, as versioned resources. Needs the extra ``learn``."""
        if self._judges is None:
            self._judges = learning("judges.store").JudgesClient(self)
        return self._judges

    def shelf(self, name: str) -> Shelf:
        """Where the versions of one router are kept."""
        return StoredShelf(name, self.store)

    def home(self, name: str, make: Callable[[], Home]) -> Home:
        """The live state of a router, which all that refer to it in this process share."""
        with self._lock:
            if name not in self._homes:
                self._homes[name] = make()
            return self._homes[name]

    def history(self, name: str, clock: Clock, **kept: Any) -> History:
        """The record of one router's requests in this file."""
        defaults = {"log_content": self._log_content, "redaction": self._redaction}
        given = {key: value for key, value in kept.items() if value is not None}
        return History(name, clock, self._database, **{**defaults, **given})

    def close(self) -> None:
        """Write what waits and close the file; the next use opens it again."""
        for home in list(self._homes.values()):
            home.history.flush()
        self._database.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _default_folder() -> Path:
    given = os.environ.get("ROUTER_PLUGIN_HOME")
    if given:
        return Path(given)
    from platformdirs import user_data_dir

    return Path(user_data_dir("router_plugin", appauthor=False))


def _file(path: Path) -> Path:
    path = path.expanduser()
    return path if path.suffix and not path.is_dir() else path / FILE


_clients: dict[Path, Client] = {}
_clients_lock = threading.Lock()


def default_client() -> Client:
    """The client of the default file, one for the process."""
    path = _file(_default_folder())
    with _clients_lock:
        if path not in _clients:
            _clients[path] = Client(path)
        return _clients[path]


@dataclass(frozen=True)
class ConstraintValue:
    """A bound: a number (USD for cost, 0..1 for quality), or a model, whose own prediction on the request is the bound.

    Raises: SpecError where both or neither are given.
    """

    numeric_value: float | None = None
    model_name: str | None = None

    def __post_init__(self) -> None:
        if (self.numeric_value is None) == (self.model_name is None):
            raise SpecError("ConstraintValue: give numeric_value or model_name, one of the two")


class _Constraint:
    """``value`` (a ConstraintValue or a number), or ``numeric_value`` or ``model_name``."""

    def __init__(
        self,
        value: ConstraintValue | float | None = None,
        *,
        numeric_value: float | None = None,
        model_name: str | None = None,
    ) -> None:
        if value is not None and (numeric_value is not None or model_name is not None):
            raise SpecError(f"{type(self).__name__}: give value, or numeric_value, or model_name: one of the three")
        if not isinstance(value, ConstraintValue):
            value = ConstraintValue(value if value is not None else numeric_value, model_name)
        self.value = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.value == self.value

    def __hash__(self) -> int:
        return hash((type(self), self.value))


class CostConstraint(_Constraint):
    """At most so many USD for the request, or what a model would cost. The best quality within it is chosen."""


class QualityConstraint(_Constraint):
    """At least this quality (0..1), or that of a model. The least expensive within it is chosen."""


@dataclass(frozen=True)
class RoutingConstraint:
    """A cap on cost maximises quality, a floor on quality minimises cost, both together minimise cost."""

    cost_constraint: CostConstraint | None = None
    quality_constraint: QualityConstraint | None = None

    def options(self) -> Routing:
        """The same as options of routing.

        Raises: SpecError for a value that is none.
        """
        given: dict[str, Any] = {}
        for constraint, kind, number, model in (
            (self.cost_constraint, CostConstraint, "max_cost", "max_cost_of_model"),
            (self.quality_constraint, QualityConstraint, "min_quality", "min_quality_of_model"),
        ):
            if constraint is None:
                continue
            if not isinstance(constraint, kind):
                raise SpecError(f"RoutingConstraint: must be a {kind.__name__}, not {shown(constraint)}")
            value = constraint.value
            given[number if value.model_name is None else model] = (
                value.numeric_value if value.model_name is None else value.model_name
            )
        if given:
            given["objective"] = "quality" if self.quality_constraint is None else "cost"
        return Routing(**given)


class RunResult(str):
    """The text of an answer; ``response`` is the whole of it, ``route_result`` the record of the call."""

    response: Any
    route_result: RouteResult | None


class RoutersClient:
    """The routers of a client. ``client.routers``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._jobs: TrainingJobs | None = None

    def create_router(self, router_id: str, base_model: str, description: str | None = None) -> Router:
        """A new router, which routes to its base model alone until it is trained or updated.

        Raises: ResourceAlreadyExistsError where the name is taken; SpecError for a name or model that is none.
        """
        spec = RouterSpec(name=router_id, deployments=[base_model], description=description)
        spec = spec_with(spec, {"base_model": spec.deployments[0].model})
        self._client.store.save(spec, None, True, "created")
        router = Router(router_id, client=self._client)
        router.refresh()
        return router

    create = create_router

    def update_router(
        self, router_id: str | Router, router_spec: Mapping[str, Any] | RouterSpec, description: str | None = None
    ) -> Router:
        """A new version of a router, which is deployed. Settings that ``router_spec`` does not name stay.

        Raises: ResourceNotFoundError; SpecError; VersionConflictError.
        """
        router = self._existing(router_id)
        if isinstance(router_spec, RouterSpec):
            changes = {name: getattr(router_spec, name) for name in router_spec.model_fields_set - {"any_model"}}
            changes["models"] = "any" if router_spec.any_model else changes.pop("deployments")
        elif isinstance(router_spec, Mapping):
            changes = dict(router_spec)
        else:
            raise SpecError(f"update_router: router_spec: must be a mapping of settings, not {shown(router_spec)}")
        if description is not None:
            changes["description"] = description
        router.update(**changes)
        return router

    def list(self) -> list[Router]:
        """All routers, in the order in which they were created."""
        return [Router(name, client=self._client) for name in self._client.store.names()]

    def get(self, router_id: str, version: int | None = None) -> Router | None:
        """A router, or one version of it; None where there is none."""
        router = Router(router_id, client=self._client)
        try:
            if version is None:
                router.refresh()
                _ = router.version
            else:
                router.pin(version)
        except ResourceNotFoundError:
            return None
        return router

    def run(
        self,
        router: Router | str,
        routing_constraint: RoutingConstraint | None,
        completion_request: Mapping[str, Any],
        version: int | None = None,
    ) -> RunResult:
        """Answer a request (litellm's keyword arguments) within constraints; the text of the answer.

        Raises: ResourceNotFoundError; NoCandidateError; BudgetExceededError; the provider's own exceptions.
        """
        found = self._existing(router)
        if version is not None:
            found = Router(found.name, client=self._client)
            found.pin(version)
        if not isinstance(completion_request, Mapping):
            raise SpecError(
                f"run: completion_request: must be a mapping with 'messages', not {shown(completion_request)}"
            )
        kwargs = dict(completion_request)
        if kwargs.pop("stream", False):
            raise SpecError("run: returns the text of a whole answer; for a stream use router.completion(stream=True)")
        if routing_constraint is not None and not isinstance(routing_constraint, RoutingConstraint):
            raise SpecError(f"run: routing_constraint: must be a RoutingConstraint, not {shown(routing_constraint)}")
        options = routing_constraint.options() if routing_constraint is not None else Routing()
        given = options.given()
        routing = kwargs.pop("routing", None) or {}
        if isinstance(routing, Routing):
            routing = routing.given()
        response = found.completion(**{**kwargs, "routing": {**routing, **given}})
        text = RunResult(output_text(response))
        text.response, text.route_result = response, RouteResult.of(response)
        return text

    @property
    def training_jobs(self) -> TrainingJobs:
        """The training jobs in this file. Needs the extra ``learn``."""
        if self._jobs is None:
            self._jobs = learning("jobs.service").TrainingJobs(self._client)
        return self._jobs

    def run_training_job(
        self, router: Router | str, judge: Any, llms: Any, requests: Any, **keywords: Any
    ) -> RouterTrainingJob:
        """Let ``llms`` answer ``requests``, let ``judge`` score the answers, fit a predictor, and deploy a version
        that chooses by it: in the background, or with ``wait=True`` now. Durable: killed at any point it resumes and
        pays for nothing twice. Keywords: ``budget_usd``, ``concurrency``, ``wait``, ``seed``, ``name``,
        ``max_answer_tokens``.

        Raises: ResourceNotFoundError; SpecError; TrainingError.
        """
        return self.training_jobs.run(self._existing(router), judge, llms, requests, **keywords)

    def poll_training_job(
        self, job_name: str, poll_interval: float | None = None, poll_timeout: float | None = None
    ) -> RouterTrainingJob:
        """The state of a job; with ``poll_interval`` or ``poll_timeout`` (seconds) as ``wait_training_job``.

        Raises: ResourceNotFoundError; TimeoutError; TrainingError where it was killed and nobody works on it.
        """
        return self.training_jobs.poll(job_name, poll_interval, poll_timeout)

    def wait_training_job(
        self, job_name: str, poll_interval: float = 10, poll_timeout: float = 1200
    ) -> RouterTrainingJob:
        """The state of a job when it has ended.

        Raises: ResourceNotFoundError; TimeoutError where it has not after ``poll_timeout`` seconds.
        """
        return self.training_jobs.wait(job_name, poll_interval, poll_timeout)

    def estimate_training_job(self, router: Router | str, judge: Any, llms: Any, requests: Any) -> Any:
        """What ``run_training_job`` would cost, without asking anybody."""
        return self.training_jobs.estimate(self._existing(router), judge, llms, requests)

    def delete_training_job(self, job_name: str) -> None:
        """Forget a job with the prompts and answers that it kept."""
        self.training_jobs.delete(job_name)

    def resume_training_job(self, job_name: str, **keywords: Any) -> RouterTrainingJob:
        """Go on with a job that was killed or failed; nothing that was paid for is asked again."""
        return self.training_jobs.resume(job_name, **keywords)

    def delete(self, router_id: str | Router) -> None:
        """Remove a router with all its versions.

        Raises: ResourceNotFoundError.
        """
        self._existing(router_id).delete()

    def import_router(self, text: str, note: str | None = None) -> Router:
        """Save an exported version (or settings, as JSON or YAML text) as the newest version of its router.

        Raises: SpecError for text that is none, or whose content does not have the hash that it says.
        """
        spec, _ = read_export(text)
        store = self._client.store
        store.save(spec, store.latest(spec.name), True, note or "imported")
        router = Router(spec.name, client=self._client)
        router.refresh()
        return router

    def _existing(self, router: Router | str) -> Router:
        if isinstance(router, Router):
            return router
        if not isinstance(router, str):
            raise SpecError(f"give a Router or the name of one, not {shown(router)}")
        found = Router(router, client=self._client)
        _ = found.version
        return found
