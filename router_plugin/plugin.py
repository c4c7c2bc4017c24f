"""``install()``: the one door by which litellm calls us.

Functions of litellm are caught by replacing the *code* inside the existing function objects (identity is kept, so names
and partials bound earlier are caught too; Datadog's tracer wraps functions this way), and litellm is told that names
which address a router belong to the provider ``router`` (a rule of its ``fallback_generalizations``), which carries
text completions, responses and entries of ``litellm.Router`` through their bridges to ``completion``. Everything is
taken back by ``uninstall``.
"""

from __future__ import annotations

import fnmatch
import importlib.metadata
import inspect
import itertools
import logging
import threading
import types
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from . import router as router_module
from .capabilities import PROVIDERS, Answers
from .errors import RouterError, SpecError
from .fork import renew_in_child
from .provider.catalog import forget_prices
from .provider.guard import inside_attempt
from .provider.litellm_port import PUBLIC
from .provider.tap import TAP
from .redact import shown
from .result import LATEST, attach
from .router import Router
from .spec.deployment import normalise_model
from .spec.strings import routes
from .surface import ASKING, OURS

log = logging.getLogger("router_plugin")
# Not "router": litellm splits a name whose first part is a provider, and a bare "router" has no second part.
_PROVIDER = "router_plugin"
# What litellm's get_llm_provider is told: a superset of `routes`, which has the last word.
_RULES = [
    {
        "name": "router_plugin",
        "pattern": r"^router([@/_:|]|$)|->|@(lowest|highest)-",
        "model_info": {"litellm_provider": _PROVIDER},
    }
]


# The newest version that the whole suite was run on (``make test-matrix``).
NEWEST_TESTED = (1, 110)
_UNKNOWN_LITELLM = (
    "this litellm is not built as those that router_plugin knows; use a version it was tested with, "
    "or router.completion() without installing"
)
_checked_versions: set[str] = set()
_checks = itertools.count()


def _check(litellm: Any) -> None:
    """Never silently not route: after an install a router's name must be known to litellm as ours.

    A version newer than the tested ones gets a warning, once.
    """
    version = importlib.metadata.version("litellm")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers > NEWEST_TESTED and version not in _checked_versions:
        _checked_versions.add(version)
        log.warning(
            "litellm %s is newer than the newest version that router_plugin was tested with (%s); calls are routed, "
            "but look at the first ones",
            version,
            ".".join(map(str, NEWEST_TESTED)),
        )
    try:
        provider = litellm.get_llm_provider(f"router/check-{next(_checks)}")[1]  # litellm remembers its answers
    except Exception as error:  # whatever it raises for a model that it does not know
        raise RouterError(f"cannot route: {_UNKNOWN_LITELLM}") from error
    if provider != _PROVIDER:
        raise RouterError(f"cannot route: {_UNKNOWN_LITELLM}")


class Installation:
    """What one ``install`` put in place. Leaving the ``with``, or ``uninstall()``, takes it back."""

    def __init__(self, routers: tuple[Router, ...], intercept: tuple[str, ...]) -> None:
        self.routers = routers
        self.intercept = intercept
        self.active = True
        self._covers = lru_cache(4_096)(self._is_covered)

    def uninstall(self) -> None:
        """Stop routing through these routers. Calls in flight finish. A second time does nothing."""
        _HOST.remove(self)

    def __enter__(self) -> Installation:
        return self

    def __exit__(self, *_: object) -> None:
        self.uninstall()

    def covers(self, model: str) -> bool:
        """Whether ``intercept`` asks for this concrete model name, by any of the names it goes by."""
        return self._covers(model)

    def _is_covered(self, model: str) -> bool:
        provider, _, part = normalise_model(model).rpartition("/")
        names = (model, normalise_model(model), part, f"{part}@{provider}")
        return any(
            pattern == "all" or fnmatch.fnmatchcase(name, pattern) for pattern in self.intercept for name in names
        )


def install(*routers: Router, intercept: Sequence[str] | str = ()) -> Installation:
    """Route litellm's calls through these routers, until ``uninstall()`` or the end of the ``with``.

    Names that route: ``router`` (the first router of the newest installation), ``router/<name>``, router strings,
    chains. ``intercept`` names concrete models (globs allowed; ``"all"``) that are routed too, the named one first
    among equals. Installing the same routers again is a nested installation: both have to be taken back.

    Raises: SpecError for something that is no router, two routers of one name, or a pattern that is no string.
    """
    if not routers:
        raise SpecError("install: give at least one Router")
    for router in routers:
        if not isinstance(router, Router):
            raise SpecError(f"install: expected a Router, not {shown(router)}")
    names = [router.name for router in routers]
    if len(set(names)) != len(names):
        raise SpecError(f"install: two routers share a name: {', '.join(sorted(names))}")
    if not isinstance(intercept, Iterable):
        raise SpecError(f"install: intercept: give a list of model names or globs, not {shown(intercept)}")
    patterns = (intercept,) if isinstance(intercept, str) else tuple(intercept)
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern:
            raise SpecError(f"install: intercept: patterns are model names or globs, not {shown(pattern)}")
    return _HOST.add(Installation(tuple(routers), tuple(normalise_model(pattern) for pattern in patterns)))


class _Host:
    """litellm's functions while somebody is installed. One for the process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._installed: tuple[Installation, ...] = ()
        self._swapped: list[tuple[Any, types.CodeType]] = []
        self.routers: dict[str, Router] = {}
        self.default: Router | None = None
        self.intercepting: tuple[Installation, ...] = ()
        renew_in_child(self)

    def after_fork(self) -> None:
        self._lock = threading.RLock()

    def add(self, installation: Installation) -> Installation:
        with self._lock:
            first = not self._installed
            self._publish((*self._installed, installation))
            if first:
                try:
                    self._put_in_place()
                except (ImportError, AttributeError) as error:
                    self._take_back()
                    self._publish(())
                    raise RouterError(f"cannot route: {_UNKNOWN_LITELLM} ({error})") from error
                except BaseException:
                    self._take_back()
                    self._publish(())
                    raise
        return installation

    def remove(self, installation: Installation) -> None:
        with self._lock:
            if not installation.active:
                return
            installation.active = False
            self._publish(tuple(one for one in self._installed if one is not installation))
            if not self._installed:
                self._take_back()

    def _publish(self, installed: tuple[Installation, ...]) -> None:
        """Readers take no lock: each of these is one assignment of a value nobody edits."""
        self._installed = installed
        self.routers = {router.name: router for one in installed for router in one.routers}
        router_module.INSTALLED = self.routers
        self.default = installed[-1].routers[0] if installed else None
        self.intercepting = tuple(one for one in reversed(installed) if one.intercept)

    def _put_in_place(self) -> None:
        import litellm
        from litellm import main
        from litellm.litellm_core_utils import fallback_generalizations as rules

        TAP.hold()
        TAP.pinned = True
        answers = Answers(self)
        for function in _distinct(litellm.completion, main.completion):
            self._swap(function, _sync_entry)
        for function in _distinct(litellm.acompletion, main.acompletion):
            self._swap(function, _async_entry)
        for name in ("text_completion", "responses"):
            self._swap(getattr(litellm, name), _bridge)
            self._swap(getattr(litellm, f"a{name}"), _async_bridge)
        for function, answer in answers.of(litellm):
            self._swap(function, answer)
        litellm.provider_list.append(_PROVIDER)  # litellm.Router takes entries of known providers only
        self._swap(rules.set_fallback_generalizations, _keep_rules)
        rules.set_fallback_generalizations(rules.get_fallback_generalization_rules())
        _check(litellm)

    def _take_back(self) -> None:
        import litellm
        from litellm.litellm_core_utils import fallback_generalizations as rules

        PUBLIC.completion = PUBLIC.acompletion = None
        while self._swapped:
            function, code = self._swapped.pop()
            function.__code__ = code
        if hasattr(rules, "set_fallback_generalizations"):  # (else: this litellm has no such seam)
            kept = [rule for rule in rules.get_fallback_generalization_rules() if rule not in _RULES]
            rules.set_fallback_generalizations(kept)
        while _PROVIDER in litellm.provider_list:
            litellm.provider_list.remove(_PROVIDER)
        forget_prices()
        TAP.pinned = False
        TAP.release()

    def _swap(self, function: Any, entry: Callable[..., Any]) -> None:
        import litellm

        if not isinstance(function, types.FunctionType):
            raise RouterError(
                f"cannot route: litellm's {getattr(function, '__name__', function)!r} is not a plain function here; "
                "another library has replaced it. Install router_plugin first, or use router.completion()"
            )
        original = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        original.__kwdefaults__ = function.__kwdefaults__
        original.__dict__.update(function.__dict__)
        if function is litellm.completion or function is litellm.acompletion:
            setattr(PUBLIC, function.__name__, original)  # attempts need not pass our own entry again
        self._swapped.append((function, function.__code__))
        function.__code__ = _entry_code(function, entry, original)


def _distinct(*functions: Any) -> list[Any]:
    return list({id(function): function for function in functions}.values())


# What litellm's functions run while somebody is installed. The strings in capitals are constants of the compiled code,
# which _entry_code puts the real objects in place of, so that nothing is written into litellm's modules. The free
# variables of the function object are named (and never read): a debugger that looks at the frame finds its cells.
# Every call of litellm comes by, so what is none of ours for certain is told here, by comparisons alone.
_SOURCE = """
def make({free}):
    {prefix}def call(*_rp_args, **_rp_kwargs):
        if False: ({free})
        _rp_model = _rp_kwargs["model"] if "model" in _rp_kwargs else _rp_args[0] if _rp_args else None
        if (
            _rp_model.__class__ is str
            and not ("router" in _rp_model or "@" in _rp_model or "->" in _rp_model)
            and not ("custom_llm_provider" in _rp_kwargs and _rp_kwargs["custom_llm_provider"] in "PROVIDERS")
            and {quick}
        ):
            _rp_original = "ORIGINAL"
            return {wait}_rp_original(*_rp_args, **_rp_kwargs)
        _rp_entry = "ENTRY"
        _rp_original = "ORIGINAL"
        return {wait}_rp_entry(_rp_original, _rp_args, _rp_kwargs)
    return call
"""
_QUICK_CALL = " and ".join(['not "HOST".intercepting', *(f'"{name}" not in _rp_kwargs' for name in sorted(ASKING))])


def _quick(entry: Callable[..., Any]) -> str:
    """What else must hold where a call or question is none of ours."""
    if entry in (_sync_entry, _async_entry):
        return _QUICK_CALL
    if entry in (_bridge, _async_bridge):
        return f"not _rp_args and {_QUICK_CALL}"  # whose first argument is an input
    return "not _rp_args[1:]"  # the second argument of a question may be a provider


def _entry_code(function: types.FunctionType, entry: Callable[..., Any], original: Any) -> types.CodeType:
    """Code for ``function`` that hands the call to ``entry(original, args, kwargs)``."""
    code, awaited = function.__code__, inspect.iscoroutinefunction(function)
    source = _SOURCE.format(
        free="".join(f"{name}, " for name in code.co_freevars),
        prefix="async " if awaited else "",
        wait="await " if awaited else "",
        quick=_quick(entry),
    )
    made: dict[str, Any] = {}
    exec(compile(source, "<router_plugin>", "exec"), made)
    template = made["make"](*code.co_freevars).__code__
    given = {"ENTRY": entry, "ORIGINAL": original, "HOST": _HOST, "PROVIDERS": PROVIDERS}
    constants = tuple(
        given.get(constant, constant) if isinstance(constant, str) else constant for constant in template.co_consts
    )
    return template.replace(co_consts=constants, co_name=code.co_name)  # type: ignore[no-any-return]


def _sync_entry(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What litellm.completion runs now."""
    model = kwargs["model"] if "model" in kwargs else args[0] if args else None
    target = _target(original, model, args, kwargs)
    if target is None:
        return original(*args, **kwargs)
    router, named, prefer, implicit = target
    if "acompletion" in named and named.pop("acompletion"):  # litellm's async bridges await what this returns
        return _noted(router._acompletion(named, _HOST.routers, prefer, implicit))
    try:
        return router._completion(named, _HOST.routers, prefer, implicit)
    except RouterError as error:
        _note(error)
        raise


async def _noted(call: Any) -> Any:
    try:
        return await call
    except RouterError as error:
        _note(error)
        raise


def _note(error: RouterError) -> None:
    """Tell the bridge that this call came through, if one did, of an error of ours."""
    bridged = _BRIDGED.get()
    if bridged is not None:
        bridged.error = error


async def _async_entry(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What litellm.acompletion runs now."""
    model = kwargs["model"] if "model" in kwargs else args[0] if args else None
    target = _target(original, model, args, kwargs)
    if target is None:
        return await original(*args, **kwargs)
    router, named, prefer, implicit = target
    return await _noted(router._acompletion(named, _HOST.routers, prefer, implicit))


class _Bridged:
    """One call of a bridge: what it was asked for, until completion takes it, and the error we raised inside it.

    litellm gets the router's plain name instead, so that no bridge takes a concrete name to another endpoint, or
    apart, on its way to completion; and it wraps our errors in its own. The object is shared by the copies of the
    context that threads and callbacks get, so that what is taken is taken for all of them.
    """

    __slots__ = ("asked", "error", "metadata")

    def __init__(self, asked: Asked | None, metadata: Any = None) -> None:
        self.asked = asked
        self.metadata = metadata  # which the responses bridge keeps to itself
        self.error: RouterError | None = None


Asked = tuple[Router, Any, "str | None", bool]
_BRIDGED: ContextVar[_Bridged | None] = ContextVar("router_plugin_bridged", default=None)


def _bridge(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """text_completion and responses reach us through completion; their answers are new objects that need the record."""
    args, kwargs, bridged, tokens = _to_bridge(original, args, kwargs)
    try:
        return _with_record(original(*args, **kwargs))
    except Exception as error:
        if bridged.error is None or bridged.error is error:
            raise
        raise bridged.error from None
    finally:
        _BRIDGED.reset(tokens[0])
        LATEST.reset(tokens[1])


async def _async_bridge(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    args, kwargs, bridged, tokens = _to_bridge(original, args, kwargs)
    try:
        return _with_record(await original(*args, **kwargs))
    except Exception as error:
        if bridged.error is None or bridged.error is error:
            raise
        raise bridged.error from None
    finally:
        _BRIDGED.reset(tokens[0])
        LATEST.reset(tokens[1])


def _to_bridge(
    original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], _Bridged, tuple[Any, Any]]:
    """The arguments with the addressed router's plain name; what was really asked for travels in the context."""
    model = kwargs["model"] if "model" in kwargs else _by_name(original, args, kwargs).get("model")
    bridged = _BRIDGED.get()
    if bridged is None or bridged.asked is None or model != f"router/{bridged.asked[0].name}":
        # (else: the sync function inside its async twin)
        bridged = _Bridged(None if inside_attempt() else _asked(model, kwargs))
        if bridged.asked is not None:
            args, kwargs = (), {**_by_name(original, args, kwargs), "model": f"router/{bridged.asked[0].name}"}
            kwargs.pop("custom_llm_provider", None)
            bridged.metadata = kwargs["metadata"] if "metadata" in kwargs else None
            _one_prompt(kwargs)
    return args, kwargs, bridged, (_BRIDGED.set(bridged), LATEST.set(None))


def _one_prompt(kwargs: dict[str, Any]) -> None:
    """A text completion of several prompts would come out as one conversation."""
    prompt = kwargs["prompt"] if "prompt" in kwargs else None
    if isinstance(prompt, (list, tuple)) and len(prompt) > 1 and not all(type(token) is int for token in prompt):
        raise SpecError(f"prompt: a routed text_completion takes one prompt, not {len(prompt)}; call it for each one")


def _with_record(answer: Any) -> Any:
    result = LATEST.get()
    if result is not None and not inspect.iscoroutine(answer):
        attach(answer, result)
    return answer


def _target(
    original: Any, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Router, dict[str, Any], str | None, bool] | None:
    """Who answers this call: (router, keyword arguments, preferred model, whether the model may be unlisted); None to
    leave it to litellm."""
    if inside_attempt():
        if routes(model) or ("custom_llm_provider" in kwargs and kwargs["custom_llm_provider"] == _PROVIDER):
            raise RouterError(
                f"{shown(model)} was called from inside an attempt of a router; calls made there are never routed "
                "again. Name a concrete model instead"
            )
        for name in OURS.intersection(kwargs):  # a nested call of a concrete model: ours to take out, not to obey
            del kwargs[name]
        return None
    bridged = _BRIDGED.get()
    asked = bridged.asked if bridged is not None else None
    if bridged is None or asked is None or model not in (f"router/{asked[0].name}", asked[0].name):
        asked = _asked(model, kwargs)
        if asked is None:
            return None
    else:
        bridged.asked = None
    router, name, prefer, implicit = asked
    named = _by_name(original, args, kwargs)
    if bridged is not None and bridged.metadata is not None and not named.get("metadata"):
        named["metadata"] = bridged.metadata
    if "custom_llm_provider" in named and named["custom_llm_provider"] == _PROVIDER:
        del named["custom_llm_provider"]
    named["model"] = name
    return router, named, prefer, implicit


def _asked(model: Any, kwargs: dict[str, Any]) -> tuple[Router, Any, str | None, bool] | None:
    """What a name asks for: (router, name for it, preferred model, whether it may be unlisted); None: not ours."""
    default = _HOST.default
    if default is None or not isinstance(model, str):
        return None
    if model[:7] == "router/" and model[7:] in _HOST.routers:
        return _HOST.routers[model[7:]], model, None, False
    if model == "router":
        return default, model, None, False
    if not routes(model) and "custom_llm_provider" in kwargs and kwargs["custom_llm_provider"] == _PROVIDER:
        model = f"router/{model}"
    if routes(model):
        return _addressed(model, default), model, None, False
    covering = next((one for one in _HOST.intercepting if one.covers(model)), None)
    if covering is not None:
        return covering.routers[0], "router", model, False
    return None if ASKING.isdisjoint(kwargs) else (default, model, None, True)


def _addressed(model: str, default: Router) -> Router:
    """The router that a name addresses first, as far as can be told cheaply; the parser decides later."""
    head = model.split("->", 1)[0].split("@", 1)[0].strip()
    name = head[7:].split("/", 1)[0] if head.startswith(("router/", "router_")) else ""
    return _HOST.routers.get(name, default)


def _by_name(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """All arguments by name, as litellm's own signature has them."""
    if not args:
        return kwargs
    named = dict(zip(_parameters(original), args, strict=False))
    if len(named) < len(args) or not kwargs.keys().isdisjoint(named):
        inspect.signature(original).bind(*args, **kwargs)  # raises the TypeError that the call would have raised
    return {**named, **kwargs}


@lru_cache(maxsize=16)
def _parameters(function: Any) -> tuple[str, ...]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds)


def _keep_rules(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """litellm replaces its rules when a new price map arrives: ours stay among them."""
    rules = args[0] if args else kwargs.get("rules")
    given = [rule for rule in rules if rule not in _RULES] if isinstance(rules, list) else []
    return original([*given, *_RULES])


_HOST = _Host()
