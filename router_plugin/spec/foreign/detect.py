"""Which kind of configuration something is, and the one door to reading any of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import SpecError, did_you_mean
from ...redact import redact, shown
from ..files import MAX_BYTES, parse
from ..strings import routes
from .imported import DEFAULT_NAME, Imported
from .litellm_router import SECTIONS, from_litellm
from .mixtrain import from_mixtrain
from .openrouter import from_openrouter
from .unify import from_unify

_READERS: dict[str, Callable[[Any, str], Imported]] = {
    "mixtrain": from_mixtrain,
    "litellm": from_litellm,
    "openrouter": from_openrouter,
    "unify": from_unify,
}
KINDS = {  # kind -> what it looks like
    "mixtrain": "a list of rules, or a mapping with 'rules'; a rule has 'conditions' and 'targets'",
    "litellm": "a mapping with 'model_list', or that list; its entries have 'model_name' and 'litellm_params'",
    "openrouter": "a mapping with 'model' or 'models' and perhaps 'provider', 'route', 'messages'",
    "unify": "a router string such as 'router@q:1|c:4.65e-03' or 'gpt-4o@openai->claude-3-haiku@anthropic'",
}
_SUFFIXES = (".json", ".yaml", ".yml", ".toml")


def import_config(source: Any, kind: str | None = None, name: str = DEFAULT_NAME) -> Imported:
    """A foreign configuration as a settings document. ``kind`` (a key of ``KINDS``) is found out where it is not given.

    ``source``: parsed data, a router string, the text of a JSON or YAML document, or a file: a path object, or a text
    that ends in .json, .yaml, .yml or .toml.

    Raises: SpecError naming the place of the fault; OSError where a file cannot be read.
    """
    if kind is not None and kind not in _READERS:
        raise SpecError(f"unknown kind {shown(kind)}{did_you_mean(kind, KINDS)}; known:\n{_listed()}")
    if isinstance(source, os.PathLike) or (isinstance(source, str) and _is_path(source)):
        return _file(Path(source), kind, name)
    if isinstance(source, str) and kind != "unify" and (suffix := _document(source)) is not None:
        source = _parsed(suffix, source)
    found = kind or _detected(source)
    if found is None:
        raise SpecError(f"cannot tell what kind of configuration {shown(source)} is; give kind=, one of:\n{_listed()}")
    return _READERS[found](source, name)


def _file(path: Path, kind: str | None, name: str) -> Imported:
    if path.stat().st_size > MAX_BYTES:
        raise SpecError(f"{path.name}: a configuration may have at most {MAX_BYTES} bytes")
    try:
        text = path.read_text(encoding="utf-8")
        is_text = kind == "unify" and path.suffix.lower() not in _SUFFIXES
        return import_config(text.strip() if is_text else _parsed(path.suffix.lower(), text), kind, name)
    except SpecError as error:
        raise SpecError(f"{path.name}: {error}") from None
    except ValueError as error:  # not UTF-8
        raise SpecError(f"{path.name}: {redact(str(error)[:200])}") from None


def _parsed(suffix: str, text: str) -> Any:
    if len(text) > MAX_BYTES:
        raise SpecError(f"a configuration may have at most {MAX_BYTES} characters")
    try:
        return parse(suffix, text)
    except SpecError:
        raise
    except RecursionError:
        raise SpecError("it is nested too deep") from None
    except ValueError as error:
        raise SpecError(f"not valid {suffix[1:].upper()}: {redact(str(error)[:200])}") from None


def _is_path(text: str) -> bool:
    return "\n" not in text and len(text) < 4096 and text.lower().endswith(_SUFFIXES) and text.strip()[:1] not in "{["


def _document(text: str) -> str | None:
    """The ending of a file with this text."""
    if text.strip()[:1] in ("{", "["):
        return ".json"
    return ".yaml" if "\n" in text.strip() else None


def _detected(source: Any) -> str | None:
    if isinstance(source, str):
        return "unify" if routes(source) or "@" in source else None
    keys = set(source) if isinstance(source, dict) else set()
    if isinstance(source, list):
        first = source[0] if source and isinstance(source[0], dict) else {}
        return "litellm" if "litellm_params" in first else "mixtrain" if "targets" in first else None
    if "model_list" in keys or keys & set(SECTIONS):
        return "litellm"
    if isinstance(source, dict) and isinstance(source.get("rules"), list) and "models" not in keys:
        return "mixtrain"
    if keys & {"model", "models"} and "name" not in keys:  # with a name it would be settings of this package
        return "openrouter"
    return None


def _listed() -> str:
    return "\n".join(f"  {kind}: {looks}" for kind, looks in KINDS.items())
