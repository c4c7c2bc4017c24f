"""A call's keyword arguments, split: what is ours, what goes to the provider, what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from .errors import SpecError, did_you_mean
from .redact import shown
from .spec.fields import explain_validation
from .spec.options import Routing

OURS = frozenset({"models", "max_cost", "max_cost_per_million_tokens", "willingness_to_pay", "extra", "routing"})
# With one of these a call that names a concrete model is routed over that model (``models`` alone is OpenRouter's).
ASKING = OURS - {"models"}
_DIRECT = ("models", "max_cost", "max_cost_per_million_tokens", "willingness_to_pay")
# Where a prompt and a key go is configuration: never taken from a request (unless the router allows it).
ENDPOINT = frozenset(
    {"api_base", "base_url", "api_key", "api_version", "custom_llm_provider", "organization", "proxy", "ssl_verify"}
    | {"client", "shared_session", "deployment_id", "azure", "litellm_credential_name", "use_litellm_proxy"}
    | {"azure_ad_token", "azure_ad_token_provider", "azure_username", "azure_password", "azure_scope"}
    | {"tenant_id", "client_id", "client_secret", "provider_specific_header"}
    | {"aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_region_name", "aws_session_name"}
    | {"aws_profile_name", "aws_role_name", "aws_web_identity_token", "aws_sts_endpoint", "aws_external_id"}
    | {"aws_bedrock_runtime_endpoint", "region_name", "vertex_project", "vertex_ai_project", "vertex_location"}
    | {"vertex_ai_location", "vertex_credentials", "vertex_ai_credentials"}
)
_CREDENTIAL_HEADERS = frozenset(
    {"authorization", "api-key", "x-api-key", "x-goog-api-key", "proxy-authorization", "host"}
)
# litellm's own retry and fallback machinery: one attempt is one request here.
_RETRIES = ("num_retries", "max_retries")
_LITELLM_LOOPS = ("retry_policy", "retry_strategy", "context_window_fallback_dict", "cooldown_time", "model_list")
# What a call costs is configuration too: litellm would take these for the model's price.
_PRICING = frozenset(
    {"base_model", "model_info", "custom_cost_per_token", "custom_cost_per_second", "off_peak_pricing"}
    | {"input_cost_per_token", "output_cost_per_token", "input_cost_per_second", "output_cost_per_second"}
    | {"cost_per_second", "cache_read_input_token_cost", "cache_creation_input_token_cost", "input_cost_per_pixel"}
    | {"input_cost_per_character", "output_cost_per_character", "output_cost_per_reasoning_token"}
)
# Laid over the body that litellm makes: what bounds the cost, or chooses who answers, has a keyword of its own.
_BODY = frozenset(
    {"max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of", "model", "models", "messages"}
    | {"stream", "stream_options", "service_tier", "tools", "web_search_options", "plugins", "route", "provider"}
)
_RARE = ENDPOINT | _PRICING | {"extra_body"} | {"timeout", "extra_headers", "headers", *_RETRIES, *_LITELLM_LOOPS}


_DEEPEST = 64


@dataclass(slots=True)
class Surface:
    """What was ours in one call: None for options that it did not bring, a deadline that it did not set."""

    options: Routing | None
    extra: Mapping[str, Any] | None
    timeout_s: float | None


def split(kwargs: dict[str, Any], allow_endpoints: bool) -> Surface:
    """Take our keywords out of ``kwargs`` (a private copy) and check the rest.

    Raises: SpecError naming the keyword and what would be right.
    """
    options, extra = None, None
    if not OURS.isdisjoint(kwargs):
        extra = _extra(kwargs.pop("extra", None))
        options = _options(kwargs)
    if _RARE.isdisjoint(kwargs):
        return Surface(options, extra, None)
    bridged = came_through_litellm(kwargs)
    timeout = _deadline(kwargs.pop("timeout", None))
    if not allow_endpoints:
        _refuse_endpoints(kwargs, bridged)
    retries = None
    for name in _RETRIES:
        value = kwargs.pop(name, None)
        retries = value if type(value) is int and value >= 0 and not bridged else retries
    for name in _LITELLM_LOOPS:
        kwargs.pop(name, None)
    if retries is not None and (options is None or options.max_retries is None):
        given = {} if options is None else options.given()
        options = Routing(**{**given, "max_retries": retries})
    return Surface(options, extra, timeout)


def came_through_litellm(kwargs: Mapping[str, Any]) -> bool:
    """Whether one of litellm's own layers made this call: a Router entry, or a bridge from another endpoint."""
    if hasattr(kwargs.get("litellm_logging_obj"), "has_run_logging"):
        return True
    for name in ("metadata", "litellm_metadata"):
        metadata = kwargs.get(name)
        if isinstance(metadata, Mapping) and "model_group" in metadata:
            return True
    return False


def _extra(value: Any) -> Mapping[str, Any] | None:
    if value is None or isinstance(value, Mapping):
        return value
    raise SpecError(f"extra: must be a mapping such as {{'team': 'x'}}, not {type(value).__name__}")


def _options(kwargs: dict[str, Any]) -> Routing | None:
    given = {name: value for name in _DIRECT if (value := kwargs.pop(name, None)) is not None}
    routing = kwargs.pop("routing", None)
    if routing is not None:
        if isinstance(routing, Routing):
            routing = routing.given()
        if not isinstance(routing, Mapping):
            raise SpecError(f"routing: must be a mapping or a Routing, not {type(routing).__name__}")
        for name in routing:
            if name in given:
                raise SpecError(f"routing: {name!r} is given twice, inside routing and as a keyword of its own")
            if name not in Routing.model_fields:
                raise SpecError(f"routing: unknown key {shown(name)}{did_you_mean(name, Routing.model_fields)}")
        given.update(routing)
    if not given:
        return None
    try:
        return Routing(**given)
    except ValidationError as error:  # pydantic's own path; Routing() itself raises SpecError
        raise explain_validation(Routing, error) from None


def _refuse_endpoints(kwargs: dict[str, Any], bridged: bool) -> None:
    if not ENDPOINT.isdisjoint(kwargs):
        for name in sorted(ENDPOINT.intersection(kwargs)):
            value = kwargs.pop(name)
            if value is not None and not bridged:
                raise SpecError(
                    f"{name}: a routed call may not say where it goes or with which credential; put it into the "
                    "Deployment, or make the router with allow_request_endpoints=True"
                )
    for name in _PRICING.intersection(kwargs):
        if kwargs.pop(name) is not None and not bridged:
            raise SpecError(f"{name}: a call may not say what it costs; prices belong into the Deployment")
    body = kwargs.get("extra_body")
    if isinstance(body, Mapping) and not _BODY.isdisjoint(body):
        name = min(_BODY.intersection(body))
        raise SpecError(f"extra_body: {name!r} bounds the cost or the choice of a routed call; give it as a keyword")
    for name in ("extra_headers", "headers"):
        headers = kwargs.get(name)
        if isinstance(headers, Mapping):
            secret = [key for key in headers if str(key).lower() in _CREDENTIAL_HEADERS]
            if secret and not bridged:
                raise SpecError(f"{name}: {secret[0]!r} is a credential or an address; both belong into the Deployment")
            if secret:
                kwargs[name] = {key: value for key, value in headers.items() if key not in secret}


def _deadline(timeout: Any) -> float | None:
    """Seconds of a ``timeout=``: a number, or an ``httpx.Timeout`` (its longest part)."""
    if timeout is None:
        return None
    if not isinstance(timeout, (int, float, str, Decimal)):
        parts = [getattr(timeout, part, None) for part in ("read", "connect", "write", "pool")]
        if parts and all(part is None for part in parts) and hasattr(timeout, "read"):
            return None  # httpx.Timeout(None): none at all
        numbers = [part for part in parts if isinstance(part, (int, float)) and not isinstance(part, bool)]
        timeout = max(numbers) if numbers else timeout
    try:
        seconds = float(timeout) if not isinstance(timeout, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds) or seconds <= 0:
        raise SpecError(f"timeout: must be a number of seconds greater than 0, got {shown(timeout)}")
    return seconds


def owned(messages: Sequence[Any]) -> list[Any]:
    """Messages that the caller's later changes do not reach: dicts and lists are copied, objects and text are not."""
    mine = []
    for message in messages:
        if message.__class__ is dict:
            message = {**message}
            for key in message:
                if message[key].__class__ is list or message[key].__class__ is dict:
                    message[key] = copied(message[key])
        mine.append(message)
    return mine


def copied(value: Any, depth: int = 0) -> Any:
    """A copy of nested dicts and lists, as deep as requests are nested."""
    if depth > _DEEPEST:
        return value
    if value.__class__ is dict:
        return {key: copied(inner, depth + 1) for key, inner in value.items()}
    return [copied(inner, depth + 1) for inner in value] if value.__class__ is list else value


def named_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """``(model, messages)`` may be positional, as in litellm; ``(messages,)`` alone too."""
    if not args:
        return dict(kwargs)
    names = ("messages",) if len(args) == 1 and not isinstance(args[0], str) else ("model", "messages")
    if len(args) > 2:
        raise TypeError("a routed call takes at most (model, messages) by position; name the rest")
    return {**dict(zip(names, args, strict=False)), **kwargs}
