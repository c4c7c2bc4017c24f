"""What a deployment is: one model at one endpoint with one credential."""

from __future__ import annotations

import os
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_serializer, field_validator

from ..redact import MASK, redact, secrets_in, shown
from .fields import Count, Fraction, NonNegative, Spec, Text, plain_text

# Old spellings of Martian's gateway, where the provider is named twice, and of Together.
_RESPELT = {"together": "together_ai"}


def normalise_model(name: str) -> str:
    """Martian's spellings as litellm's: ``openai/openai/x`` -> ``openai/x``, ``together/x`` -> ``together_ai/x``."""
    parts = name.split("/")
    if len(parts) > 2 and parts[0] == parts[1]:
        parts = parts[1:]
    if len(parts) > 1 and parts[0] in _RESPELT:
        parts[0] = _RESPELT[parts[0]]
    return "/".join(parts)


def _model_name(value: Any) -> str:
    name = normalise_model(plain_text(value))
    if name == "router" or name.startswith(("router/", "router@")) or "->" in name or "|" in name:
        raise ValueError(
            f"{shown(name)} addresses a router; a deployment must name a concrete model, e.g. 'openai/gpt-4o'"
        )
    if any(ch.isspace() for ch in name):
        raise ValueError(f"a model name has no spaces, got {shown(name)}")
    return name


def _secret(value: Any) -> Any:
    if value is None or isinstance(value, SecretStr):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("must be a non-empty string, or 'os.environ/NAME' to read it from the environment")
    return SecretStr(value)


class Deployment(Spec):
    """One model at one endpoint. ``Deployment("openai/gpt-4o", quality=0.86)``.

    ``model`` is litellm's model string. ``name`` (default: the model string) tells deployments of one model apart.
    ``quality`` lies in 0..1. Prices are USD per token (of a web search: per query), ``rpm``/``tpm`` the provider's
    limits per minute.
    ``api_key="os.environ/NAME"`` is read from the environment when a call is made. ``params`` holds further litellm
    parameters of the endpoint (``aws_region_name``, ``vertex_project`` …). ``supports`` declares capabilities that
    litellm does not know of: ``{"tools": True, "vision": False}``; the names are those of
    ``router_plugin.spec.capability.CAPABILITIES``.
    """

    model: Annotated[str, BeforeValidator(_model_name)]
    name: Text = ""
    quality: Fraction | None = None
    api_base: Text | None = None
    api_key: Annotated[SecretStr | None, BeforeValidator(_secret)] = None
    api_version: Text | None = None
    organization: Text | None = None
    extra_headers: dict[str, str] = Field(default_factory=dict, repr=False)
    params: dict[str, Any] = Field(default_factory=dict, repr=False)
    rpm: Count | None = None
    tpm: Count | None = None
    input_cost_per_token: NonNegative | None = None
    output_cost_per_token: NonNegative | None = None
    cache_read_input_token_cost: NonNegative | None = None
    cache_creation_input_token_cost: NonNegative | None = None
    search_cost_per_query: NonNegative | None = None
    max_input_tokens: Count | None = None
    max_output_tokens: Count | None = None
    context_window: Count | None = None
    supports: dict[str, bool] = Field(default_factory=dict)

    def __init__(self, model: Any = None, /, **data: Any) -> None:
        if model is not None:
            if "model" in data:
                raise TypeError("Deployment() got the model twice: as the first argument and as model=")
            data["model"] = model
        if not data.get("name"):
            given = data.get("model")
            data["name"] = normalise_model(given) if isinstance(given, str) and given else "unnamed"
        super().__init__(**data)

    @field_validator("supports")
    @classmethod
    def _known_capabilities(cls, value: dict[str, bool]) -> dict[str, bool]:
        from .capability import CAPABILITIES

        unknown = [name for name in value if name not in CAPABILITIES]
        if unknown:
            raise ValueError(f"unknown capability {shown(unknown[0])}; known: {', '.join(CAPABILITIES)}")
        return value

    @field_serializer("api_base")
    def _base_without_secrets(self, value: str | None) -> str | None:
        return value if value is None else redact(value)

    @field_serializer("extra_headers", "params")
    def _masked(self, value: dict[str, Any]) -> dict[str, Any]:
        """Anything may be a secret there, so a dump shows the names alone (as it does of ``api_key``)."""
        return dict.fromkeys(value, MASK)

    def __repr_args__(self) -> Any:
        for name, value in super().__repr_args__():
            yield name, redact(value) if name == "api_base" and value else value

    def secrets(self) -> list[str]:
        """What must not be said of it: for ``redact``."""
        key = self.api_key.get_secret_value() if self.api_key is not None else ""
        if key.startswith("os.environ/"):
            key = os.environ.get(key.removeprefix("os.environ/"), "")
        try:
            address = urlsplit(self.api_base or "")
        except ValueError:  # an address that is none, e.g. with half of an IPv6 bracket
            address = urlsplit("")
        said = (key, address.username, address.password, *(value for _, value in parse_qsl(address.query)))
        return [part for part in (*said, *secrets_in([self.extra_headers, self.params])) if part]

    @property
    def provider(self) -> str | None:
        """The prefix of the model string; None where litellm infers it (``gpt-4o``)."""
        return self.model.split("/", 1)[0] if "/" in self.model else None

    @property
    def model_part(self) -> str:
        """The model string without its provider."""
        return self.model.split("/", 1)[1] if "/" in self.model else self.model

    @property
    def declares_prices(self) -> bool:
        return self.input_cost_per_token is not None or self.output_cost_per_token is not None
