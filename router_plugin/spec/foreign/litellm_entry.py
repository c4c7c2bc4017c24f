"""One entry of litellm's ``model_list`` as the fields of a Deployment.

Credentials: ``api_key: os.environ/NAME`` is kept. A literal key is not carried over; the deployment reads it from a
variable named in ``left_out`` instead, so that no other key of the environment goes to its address. For the same reason
an ``api_base`` that must be completed by hand stays in the document rather than giving way to the provider's own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ...redact import redact, shown
from ..deployment import normalise_model
from ..strings import routes
from .imported import ENVIRONMENT, Draft, Fields, is_secret, joined

_PRICES = (
    *("input_cost_per_token", "output_cost_per_token"),
    *("cache_read_input_token_cost", "cache_creation_input_token_cost"),
)
_WINDOW = ("max_input_tokens", "max_output_tokens")
_SUPPORTS = {
    "supports_function_calling": "tools",
    "supports_parallel_function_calling": "parallel_tools",
    "supports_response_schema": "json_schema",
    "supports_vision": "vision",
    "supports_audio_input": "audio_input",
    "supports_audio_output": "audio_output",
    "supports_pdf_input": "files",
    "supports_reasoning": "reasoning",
    "supports_system_messages": "system",
    "supports_native_streaming": "streaming",
    "supports_assistant_prefill": "prefill",
}
# Of litellm's Azure parameters these are read from the environment by litellm itself.
_LITELLM_READS = ("tenant_id", "client_id", "client_secret")
_WHY = {
    "timeout": "time limits are set for all of a router (attempt_timeout_s)",
    "stream_timeout": "streams have ttft_timeout_s and stall_timeout_s, set for all of a router",
    "max_retries": "retries are set for all of a router (max_retries)",
    "num_retries": "retries are set for all of a router (max_retries)",
    "max_parallel_requests": "calls in flight are not capped here",
    "tags": "there are no tags; a rule may read metadata",
    "tag_regex": "there are no tags; a rule may read metadata",
    "max_budget": "a Budget counts calls by user, extra or metadata here",
    "budget_duration": "a Budget counts calls by user, extra or metadata here",
    "itpm": "tpm bounds input and output tokens together",
    "otpm": "tpm bounds input and output tokens together",
    "allowed_fails": "how long a failing deployment rests follows from its failures here",
    "cooldown_time": "how long a failing deployment rests follows from its failures here",
    "litellm_credential_name": "credentials are read from the environment; write os.environ/NAME as its api_key",
    "configurable_clientside_auth_params": "a router lets calls bring endpoints, or not (allow_request_endpoints)",
    "mock_response": "answers are not made up here",
    "use_in_pass_through": "there is no proxy server here",
    "model_info": "it is read beside litellm_params only",
}
_OF_A_CALL = frozenset(
    {"temperature", "top_p", "top_k", "n", "stop", "seed", "stream", "stream_options", "user", "metadata", "messages"}
    | {"max_tokens", "max_completion_tokens", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs"}
    | {"top_logprobs", "response_format", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"}
    | {"reasoning_effort", "thinking", "modalities", "audio", "prediction", "web_search_options", "service_tier"}
)


@dataclass
class Entry:
    """A deployment of a group. ``fields`` are those of Deployment; its ``name`` is given once all are known."""

    place: str
    group: str
    id: str | None
    fields: dict[str, Any]
    weight: float | None
    order: float | None

    @property
    def name(self) -> str:
        return str(self.fields["name"])


def entry(source: Fields, defaults: dict[str, Any]) -> Entry | str:
    """The deployment of an entry; "wildcard" or "left out" for what none can be made of."""
    draft, given = source.draft, source.fields("litellm_params")
    params = Fields(draft, given.place, {**defaults, **given.data})
    group, model = source.required("model_name"), params.required("model")
    info = source.fields("model_info")
    unfit = _unfit(group, model, info.data.get("mode"))
    if unfit is not None:
        draft.leave(source.place, unfit, source.data)
        return "wildcard" if "*" in group + model else "left out"
    provider = params.text("custom_llm_provider")
    fields: dict[str, Any] = {"model": model if provider in (None, model.split("/", 1)[0]) else f"{provider}/{model}"}
    fields.update({**_endpoint(params, group), **_figures(params, info), **_supports(info)})
    identity, weight, order = info.take("id"), params.number("weight"), params.number("order")
    if weight is not None and weight < 0:
        raise draft.error(params.at("weight"), f"must not be negative, got {shown(weight)}")
    if further := _params(params):
        fields["params"] = further
    info.leave("base_model", "a deployment has no base model; write its prices (input_cost_per_token …) where needed")
    info.rest("nothing here reads it")
    source.rest("nothing here reads it")
    draft.deployment(source.place, fields)
    return Entry(source.place, group, None if identity is None else str(identity), fields, weight, order)


def _unfit(group: str, model: str, mode: Any) -> str | None:
    if "*" in group or "*" in model:
        return f"{shown(group)} is a wildcard and names no model; list the models, or make a router with models='any'"
    if model.startswith("auto_router/"):
        return "it chooses a model by itself, and is none; write rules, or an objective"
    if mode not in (None, "chat", "completion", "responses"):
        return f"models of mode {shown(mode)} are not routed here"
    return None


def _endpoint(params: Fields, group: str) -> dict[str, Any]:
    """Where calls go, and with which credential."""
    draft, fields = params.draft, dict[str, Any]()
    for key in ("api_base", "base_url"):
        address = params.text(key)
        if address is None:
            continue
        if "api_base" in fields:
            params.leave(key, f"{params.at('api_base')} outranks it")
            continue
        fields["api_base"] = redact(address)
        if address.startswith(ENVIRONMENT):
            draft.leave(params.at(key), "kept as written, but not read from the environment; write the address itself")
        elif fields["api_base"] != address:
            draft.leave(params.at(key), "carried over without its user or query, which may be secret; complete it")
    for key in ("api_version", "organization"):
        value = params.text(key)
        if value is not None and value.startswith(ENVIRONMENT):
            draft.leave(params.at(key), "not read from the environment here; write the value itself")
        elif value is not None:
            fields[key] = value
    if (api_key := params.text("api_key")) is not None:
        fields["api_key"] = api_key
        if not api_key.startswith(ENVIRONMENT):
            variable = draft.variable(api_key, group)
            fields["api_key"] = ENVIRONMENT + variable
            draft.leave(params.at("api_key"), f"a literal key is not carried over; put it into the variable {variable}")
    if headers := {**params.fields("headers").data, **params.fields("extra_headers").data}:
        fields |= _headers(params, headers)
    return fields


def _headers(params: Fields, headers: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for key, value in headers.items():
        if not isinstance(value, str) or is_secret(key) or redact(f"{key}: {value}") != f"{key}: {value}":
            params.draft.leave(joined(params.at("extra_headers"), key), "it may be a credential; give api_key instead")
        else:
            kept[key] = value
    return {"extra_headers": kept} if kept else {}


def _figures(params: Fields, info: Fields) -> dict[str, Any]:
    """Limits, prices, windows: of the entry, else of its model_info."""
    found: dict[str, Any] = {}
    for key in ("rpm", "tpm", *_PRICES, *_WINDOW):
        for holder in (params, info):
            value = holder.take(key)
            if value is not None and key in found:
                holder.leave(key, f"{params.at(key)} outranks it")
            elif value is not None:
                found[key] = value
    return found


def _supports(info: Fields) -> dict[str, Any]:
    found = {name: flag for key, name in _SUPPORTS.items() if (flag := info.flag(key)) is not None}
    info.take("mode")  # "chat": what everything here is
    return {"supports": found} if found else {}


def _params(params: Fields) -> dict[str, Any]:
    """The remaining parameters of the endpoint."""
    kept: dict[str, Any] = {}
    for key in params.data:
        if params.done(key):
            continue
        if (reason := _why(key, value := params.data[key])) is not None:
            params.leave(key, reason)
        elif (value := params.take(key)) is not None:
            kept[key] = value
    return kept


def _why(key: str, value: Any) -> str | None:
    """Why a parameter is not carried over."""
    if key in _WHY:
        return _WHY[key]
    if key in _OF_A_CALL:
        return "a default of calls, which would outrank the caller's; give it with the call"
    if "_cost" in key or key.endswith("_pricing"):
        return f"prices read here: {', '.join(_PRICES)}"
    if isinstance(value, str) and value.startswith(ENVIRONMENT):
        return (
            None if key in _LITELLM_READS else "of os.environ/ values only api_key is read here; write the value itself"
        )
    if value is not None and not (key == "vertex_credentials" and _is_path(value)) and _may_be_secret(key, value):
        return "it may be a secret; set it in the environment, where litellm reads the provider's own variables"
    return None


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value.endswith(".json") and "{" not in value


def _may_be_secret(key: str, value: Any) -> bool:
    if isinstance(value, dict):
        return is_secret(key) or any(_may_be_secret(inner, item) for inner, item in value.items())
    if isinstance(value, list):
        return any(_may_be_secret(key, item) for item in value)
    return isinstance(value, str) and (is_secret(key) or redact(value) != value)


def named_apart(entries: list[Entry], draft: Draft) -> None:
    """Names: ``model_info.id``, else the group's, numbered where it is taken or would mean another deployment too."""
    meant = Counter(spelling for one in entries for spelling in _spellings(one.fields["model"]))
    numbers: Counter[str] = Counter()
    taken: set[str] = set()
    for one in entries:
        base = one.id if one.id else one.group
        base = normalise_model(one.fields["model"] if routes(base) else base)  # as the names of targets are read
        own = _spellings(one.fields["model"])
        name = base if base not in numbers and meant[base] == (base in own) else f"{base}#{numbers[base] + 1}"
        while name in taken or meant[name] > (name in own):
            numbers[base] += 1
            name = f"{base}#{numbers[base] + 1}"
        numbers[base] += 1
        if one.id is not None and name != one.id:
            draft.leave(f"{one.place}.model_info.id", f"the deployment is called {name!r}, so that its name is its own")
        taken.add(name)
        one.fields["name"] = name
        draft.deployment(one.place, one.fields)


def _spellings(model: str) -> set[str]:
    """What a name would have to be to mean a deployment of this model (see ``decide.pool.matches``)."""
    model = normalise_model(model)
    provider, _, part = model.partition("/")
    return {model, part, f"{part}@{provider}", f"{model}@{provider}"} if part else {model}
