"""What litellm's questions about a model are answered when the model is a router.

DSPy, Aider, smolagents and others ask before they call. A router can do what at least one of its models can: the
request itself then decides which of them may take it. Windows and output limits are the largest; prices the lowest,
as far as they are known.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from .errors import SpecError
from .money import NANO
from .records import Candidate
from .spec import capability as cap
from .spec.strings import parse_router_string, routes

if TYPE_CHECKING:
    from .router import Router

# supports_* of litellm take the same two first arguments; these are asked by more than one framework or by litellm.
_PREFIX = "supports_"
# What litellm may call the provider of a router's name: its own rule's answer, or the name's first part.
PROVIDERS = ("router", "router_plugin")
_AS_SECOND = tuple((provider,) for provider in PROVIDERS)
_NOT_OF_MODELS = ("supports_httpx_timeout", "supports_factory")


# litellm's question → the capability it asks about, for deployments that declare what litellm does not know.
_DECLARED = {
    "supports_function_calling": cap.TOOLS,
    "supports_tool_choice": cap.TOOLS,
    "supports_parallel_function_calling": cap.PARALLEL_TOOLS,
    "supports_response_schema": cap.JSON_SCHEMA,
    "supports_vision": cap.VISION,
    "supports_audio_input": cap.AUDIO_INPUT,
    "supports_audio_output": cap.AUDIO_OUTPUT,
    "supports_pdf_input": cap.FILES,
    "supports_reasoning": cap.REASONING,
    "supports_system_messages": cap.SYSTEM,
}


class Answers:
    """Entries for litellm's model questions. ``host`` knows the installed routers (``routers``, ``default``)."""

    def __init__(self, host: Any) -> None:
        self._host = host

    def of(self, litellm: Any) -> list[tuple[Any, Callable[..., Any]]]:
        """(litellm's function, entry), for everything that can be asked about a model."""
        asked: dict[Any, Callable[..., Any]] = {
            litellm.get_model_info: self.get_model_info,
            litellm.get_supported_openai_params: self.get_supported_openai_params,
            litellm.validate_environment: self.validate_environment,
            litellm.token_counter: self.token_counter,
        }
        for module in (litellm.utils, litellm):  # litellm loads its names late and does not list them all
            for name in dir(module):
                if (
                    name.startswith(_PREFIX)
                    and name not in _NOT_OF_MODELS
                    and inspect.isfunction(getattr(module, name))
                ):
                    asked[getattr(module, name)] = self.supports
        return list(asked.items())

    def _candidates(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Candidate, ...] | None:
        """The candidates of the addressed router; None where the question is not about a router."""
        model = kwargs["model"] if "model" in kwargs else args[0] if args else None
        named = kwargs["custom_llm_provider"] if "custom_llm_provider" in kwargs else None
        if (
            named not in PROVIDERS
            and args[1:2] not in _AS_SECOND
            and not (model.__class__ is str and (model[:6] == "router" or "->" in model or "@" in model))
        ):
            return None  # litellm asks these of itself on every call: told by comparisons alone
        provider = named or (args[1] if len(args) > 1 else None)
        if provider in PROVIDERS and isinstance(model, str) and not routes(model):
            model = f"router/{model}"
        if not routes(model):
            return None
        try:
            tag = parse_router_string(str(model)).tags[0]
        except SpecError:
            return None  # litellm's own "unknown model" is the right answer to a malformed name
        name = getattr(tag, "name", None)
        router: Router | None = self._host.routers.get(name) if name is not None else self._host.default
        if router is None:
            return None
        try:
            return router.candidates_for(tag)
        except SpecError:
            return router.candidates()  # names nobody knows: the call itself will say so

    def supports(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        candidates = self._candidates(args, kwargs)
        if candidates is None:
            return original(*args, **kwargs)
        return any(_supports(candidate, original) for candidate in candidates)

    def get_model_info(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        candidates = self._candidates(args, kwargs)
        if candidates is None:
            return original(*args, **kwargs)
        merged: dict[str, Any] = {}
        for candidate in candidates:
            info = _quietly(partial(original, candidate.deployment.model)) or {}
            able = {key: bool(value) for key, value in info.items() if key.startswith(_PREFIX)}
            for name, bit in _DECLARED.items():
                declared = _declares(candidate, bit)
                able[name] = able.get(name, False) if declared is None else declared
            for key in (*info, *able):
                merged[key] = bool(merged.get(key)) or able[key] if key in able else merged.get(key)
        facts = [candidate.facts for candidate in candidates]
        largest_input = _most([f.max_input for f in facts], max)
        largest_output = _most([f.max_output for f in facts], max)
        prices_in, prices_out = [f.input_price for f in facts], [f.output_price for f in facts]
        return {
            **merged,
            "key": kwargs["model"] if "model" in kwargs else args[0],
            "litellm_provider": "router",
            "mode": "chat",
            "max_tokens": largest_output or largest_input,
            "max_input_tokens": largest_input,
            "max_output_tokens": largest_output,
            "input_cost_per_token": _usd(_most(prices_in, min)),
            "output_cost_per_token": _usd(_most(prices_out, min)),
            "supported_openai_params": _parameters(candidates),
        }

    def get_supported_openai_params(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        candidates = self._candidates(args, kwargs)
        return original(*args, **kwargs) if candidates is None else _parameters(candidates, original)

    def validate_environment(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Ready if at least one deployment has its key; otherwise what all of them miss."""
        candidates = self._candidates(args, kwargs)
        if candidates is None:
            return original(*args, **kwargs)
        missing: list[str] = []
        for candidate in candidates:
            lacking = [] if _has_key(candidate) else original(candidate.deployment.model)["missing_keys"]
            if not lacking:
                return {"keys_in_environment": True, "missing_keys": []}
            missing += [key for key in lacking if key not in missing]
        return {"keys_in_environment": False, "missing_keys": missing}

    def token_counter(self, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The highest count among the tokenisers at hand for the router's models."""
        candidates = self._candidates(args, kwargs)
        if candidates is None:
            return original(*args, **kwargs)
        rest = {key: value for key, value in kwargs.items() if key != "model"}
        names = {c.deployment.model if c.provider == "openai" else "gpt-4o" for c in candidates} or {"gpt-4o"}
        return max(original(name, *args[1:], **rest) for name in names)


def _supports(candidate: Candidate, original: Any) -> bool:
    bit = _DECLARED.get(original.__name__)
    declared = _declares(candidate, bit) if bit is not None else None
    return declared if declared is not None else bool(_quietly(partial(original, candidate.deployment.model, None)))


def _declares(candidate: Candidate, bit: int) -> bool | None:
    """What the deployment says of a capability; None where it says nothing."""
    for name, supported in candidate.deployment.supports.items():
        if cap.CAPABILITIES[name] == bit:
            return supported
    return None


def _has_key(candidate: Candidate) -> bool:
    key = candidate.deployment.api_key
    if key is None:
        return False
    value = key.get_secret_value()
    return not value.startswith("os.environ/") or bool(os.environ.get(value.removeprefix("os.environ/")))


def _parameters(candidates: Iterable[Candidate], ask: Any = None) -> list[str]:
    """Every OpenAI parameter that at least one of the models takes."""
    import litellm

    ask = ask or litellm.get_supported_openai_params
    lists = [_quietly(partial(ask, candidate.deployment.model)) or () for candidate in candidates]
    return list(dict.fromkeys(name for one in lists for name in one))


def _quietly(question: Callable[[], Any]) -> Any:
    """litellm raises for models it does not know: that is a "no" here."""
    import litellm

    quiet, litellm.suppress_debug_info = litellm.suppress_debug_info, True
    try:
        return question()
    except Exception:  # whatever litellm's lookup raises (BadRequestError, ValueError, KeyError …) means "not known"
        return None
    finally:
        litellm.suppress_debug_info = quiet


def _most(values: list[Any], pick: Callable[[list[Any]], Any]) -> Any:
    known = [value for value in values if value is not None]
    return pick(known) if known else None


def _usd(nano: float | None) -> float | None:
    return None if nano is None else nano / NANO
