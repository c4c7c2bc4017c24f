"""A router's settings as plain values and as text: what is stored, hashed, exported and compared.

A document has the shape of a settings file (``name``, ``models``, ``rules``, ``budgets`` and every option), with only
what was set. Its canonical text (sorted keys, no spaces) is what the content hash is taken of. A document that is kept
(``strict``) holds no secret and no function: keys are written ``os.environ/NAME``, conditions of ``fallback_on`` are
named by module and name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..checks import judge_document
from ..errors import SpecError, did_you_mean
from ..redact import MASK, redact, shown
from .budget import Budget
from .deployment import Deployment
from .files import SETTINGS, parse, spec_of
from .options import condition_name, condition_of
from .router_spec import RouterSpec
from .rules import dump_rule
from .strings import Weights

_SECRET_NAME = re.compile(r"(?i)key|token|secret|passw|authorization|credential|signature|cookie|\bsig\b|\bcode\b")
_ENVIRONMENT = "os.environ/"


def document(spec: RouterSpec, strict: bool = True) -> dict[str, Any]:
    """The settings of a spec as JSON-ready values. Not ``strict``: secrets are masked, functions named.

    Raises: SpecError (strict) naming the field that holds what may not be kept, and what would be right.
    """
    found: dict[str, Any] = {"name": spec.name}
    found["models"] = "any" if spec.any_model else [_deployment(d, strict) for d in spec.deployments]
    for name in sorted(spec.model_fields_set - {"name", "deployments", "any_model", "kind"}):
        value = getattr(spec, name)
        if value is None or (value == type(spec).model_fields[name].default and name != "max_retries"):
            continue
        if name == "rules":
            for one in [one for rule in value for one in rule.escalate_on if judge_document(one) is None]:
                _condition(one, strict)
            found[name] = [dump_rule(rule) for rule in value]
        elif name == "budgets":
            found[name] = [_budget(budget) for budget in value]
        elif name == "fallback_on":
            found[name] = [_condition(one, strict) for one in value]
        elif isinstance(value, Weights):
            found[name] = {key: number for key, number in asdict(value).items() if number}
        else:
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def spec_of_document(data: Mapping[str, Any]) -> RouterSpec:
    """The spec that a document describes.

    Raises: SpecError naming the field and what would be right.
    """
    return spec_of(dict(data))


def spec_with(spec: RouterSpec, changes: Mapping[str, Any]) -> RouterSpec:
    """``spec`` with some settings changed; None takes one away.

    Raises: SpecError naming the field and what would be right.
    """
    if changes.get("name", spec.name) != spec.name:
        raise SpecError(f"name: a router keeps its name; this one is {spec.name!r}")
    for name in changes:
        if name not in SETTINGS | {"deployments"}:
            raise SpecError(f"unknown setting {shown(name)}{did_you_mean(name, SETTINGS)}")
    data = {name: getattr(spec, name) for name in spec.model_fields_set if name not in ("any_model", "deployments")}
    data["deployments"] = "any" if spec.any_model else spec.deployments
    for name, value in changes.items():
        name = "deployments" if name == "models" else name
        if value is None and name != "deployments":
            data.pop(name, None)
        else:
            data[name] = value
    return RouterSpec(**data)


def canonical(data: Mapping[str, Any]) -> str:
    """The one text of a document."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(data: Mapping[str, Any]) -> str:
    """The content hash of a document: SHA-256 of its canonical text, hexadecimal."""
    return hashlib.sha256(canonical(data).encode("utf-8", "surrogatepass")).hexdigest()


def export(spec: RouterSpec, format: str) -> str:
    """A version as text: its document and hash. Its number is the store's, and stays there."""
    data = document(spec)
    whole = {"router": spec.name, "hash": digest(data), "spec": data}
    if format == "json":
        return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    if format == "yaml":
        import yaml

        text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=100)
        try:
            same = parse(".yaml", text) == whole
        except ValueError:
            same = False
        # Texts that YAML's dialects read in different ways: JSON is YAML too, and has one reading.
        return text if same else json.dumps(whole, indent=2) + "\n"
    raise SpecError(f"export: format: must be 'json' or 'yaml', not {shown(format)}")


def read_export(text: str) -> tuple[RouterSpec, str]:
    """(spec, hash) of an exported version; a plain settings document will do too.

    Raises: SpecError for text that is neither, and where the content does not have the hash that it says.
    """
    if not isinstance(text, str):
        raise SpecError(f"import: must be text, not {shown(text)}")
    try:
        data = parse(".json" if text.lstrip().startswith("{") else ".yaml", text)
    except RecursionError:
        raise SpecError("import: it is nested too deep") from None
    except SpecError:
        raise
    except ValueError as error:
        raise SpecError(f"import: {redact(str(error)[:200])}") from None
    if not isinstance(data, dict):
        raise SpecError(f"import: must be an exported version or settings, not {type(data).__name__}")
    inner = data.get("spec", data)
    if not isinstance(inner, dict):
        raise SpecError("import: 'spec' must be a mapping of settings")
    found = digest(inner)
    if "hash" in data and data["hash"] != found:
        raise SpecError(f"import: the content has the hash {found[:12]}…, not {shown(data['hash'])} as it says")
    return spec_of_document(inner), found


def _deployment(deployment: Deployment, strict: bool) -> Any:
    found: dict[str, Any] = {"model": deployment.model}
    for name in sorted(deployment.model_fields_set - {"model"}):
        value = getattr(deployment, name)
        if value in (None, {}, "") or (name == "name" and value == deployment.model):
            continue
        where = f"models: {deployment.name!r}: {name}"
        if name == "api_key":
            value = _kept(value.get_secret_value(), where, True, strict)
        elif name in ("extra_headers", "params"):
            value = _nested(value, where, False, strict)
        elif name == "api_base":
            value = _address(value, where, strict)
        found[name] = value
    return found if len(found) > 1 else deployment.model


def _nested(value: Any, where: str, secret: bool, strict: bool) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): _nested(inner, f"{where}.{key}", bool(_SECRET_NAME.search(str(key))), strict)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_nested(inner, where, secret, strict) for inner in value]
    if isinstance(value, str):
        return _kept(value, where, secret, strict)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise SpecError(f"{where}: cannot be kept in a file: {shown(value)}")


def _kept(value: str, where: str, secret: bool, strict: bool) -> str:
    if value.startswith(_ENVIRONMENT) or not (secret or redact(value) != value):
        return value
    if strict:
        raise SpecError(f"{where}: a stored router holds no secrets; write 'os.environ/NAME' and set it there")
    return MASK


def _address(value: str, where: str, strict: bool) -> str:
    parts = urlsplit(value)
    said = [name for name, _ in parse_qsl(parts.query) if _SECRET_NAME.search(name)]
    if strict and (parts.username or parts.password or said):
        raise SpecError(f"{where}: a stored router holds no secrets; leave the user and keys out of the address")
    return value if strict else redact(value)


def _budget(budget: Budget) -> dict[str, Any]:
    return {name: getattr(budget, name) for name in Budget.model_fields if name in budget.model_fields_set}


def _condition(condition: Any, strict: bool) -> str:
    name = condition_name(condition)
    if strict and condition_of(name) is not condition:
        raise SpecError(
            f"fallback_on: {shown(condition)} cannot be kept in a file; use exception types of litellm, openai or "
            "Python, and the functions of router_plugin.checks"
        )
    return name
