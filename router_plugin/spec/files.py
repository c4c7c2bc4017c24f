"""A router's settings from one YAML, JSON or TOML file, under limits.

The file holds the keywords of ``Router``: ``name``, ``models`` (names or mappings), ``budgets`` and every routing
option. Keys of credentials are written ``os.environ/NAME``. YAML is loaded with ``safe_load``'s types only; duplicate
keys, aliases beyond a few, deep nesting and files over a megabyte are refused.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from ..errors import SpecError, did_you_mean
from ..redact import redact, shown
from .router_spec import RouterSpec

SETTINGS = frozenset({*RouterSpec.model_fields, "models", "default_timeout_s"} - {"deployments", "kind", "any_model"})
MAX_BYTES = 1_000_000
MAX_DEPTH = 24
MAX_ALIASES = 50
MAX_VALUES = 100_000


def load_spec(path: str | os.PathLike[str]) -> RouterSpec:
    """The spec in a file.

    Raises: SpecError naming the file and the fault; OSError where the file cannot be read.
    """
    file = Path(path)
    if file.stat().st_size > MAX_BYTES:
        raise SpecError(
            f"{file.name}: a settings file may have at most {MAX_BYTES} bytes, this has {file.stat().st_size}"
        )
    try:
        text = file.read_text(encoding="utf-8")
        data = parse(file.suffix.lower(), text)
        return spec_of(data)
    except SpecError as error:
        raise SpecError(f"{file.name}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{file.name}: {error}") from None


def spec_of(data: Any) -> RouterSpec:
    """The spec in parsed settings (the keywords of ``Router``)."""
    if not isinstance(data, dict):
        raise SpecError(f"settings must be a mapping with 'name' and 'models', not {type(data).__name__}")
    _check_size(data)
    data = dict(data)
    for key in data:
        if key not in SETTINGS:
            raise SpecError(f"unknown setting {shown(key)}{did_you_mean(key, SETTINGS)}")
    if "models" not in data:
        raise SpecError("'models' is missing: list model names and deployments")
    data["deployments"] = data.pop("models")
    if data.get("budgets") is None:
        data.pop("budgets", None)
    return RouterSpec(**data)


def parse(suffix: str, text: str) -> Any:
    """The values in a text of this kind of file, under the limits of this module.

    Raises: SpecError or ValueError.
    """
    if suffix == ".json":
        return json.loads(text, object_pairs_hook=_unique)
    if suffix == ".toml":
        return _toml(text)
    if suffix in (".yaml", ".yml"):
        return _yaml(text)
    raise SpecError(
        f"settings are read from .yaml, .yml, .json and .toml files, not {suffix or 'a file without ending'!r}"
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise SpecError(f"the key {shown(key)} stands twice")
        result[key] = value
    return result


def _toml(text: str) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)


_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+\Z")


def _yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """SafeLoader that refuses duplicate keys and floods of aliases."""

        aliases = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                self.aliases += 1
                if self.aliases > MAX_ALIASES:
                    raise SpecError(f"more than {MAX_ALIASES} YAML aliases")
            return super().compose_node(parent, index)

        def construct_yaml_int(self, node: Any) -> int:
            if ":" in node.value:
                raise SpecError(f"{shown(node.value)} would be read as a number of base 60; quote it, or write it out")
            return super().construct_yaml_int(node)

        def construct_yaml_float(self, node: Any) -> float:
            if ":" in node.value:
                raise SpecError(f"{shown(node.value)} would be read as a number of base 60; quote it, or write it out")
            return super().construct_yaml_float(node)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if not isinstance(key, str):
                    raise SpecError(f"keys must be text, not {shown(key)} (line {key_node.start_mark.line + 1})")
                if key in seen:
                    raise SpecError(f"the key {shown(key)} stands twice (line {key_node.start_mark.line + 1})")
                seen.add(key)
            return super().construct_mapping(node, deep)

    # YAML 1.1 reads 1e-06 as text; YAML 1.2, JSON and everybody who prints a price mean the number.
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
    Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)
    Loader.add_constructor("tag:yaml.org,2002:float", Loader.construct_yaml_float)
    try:
        return yaml.load(text, Loader=Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        what = getattr(error, "problem", None) or type(error).__name__
        raise SpecError(f"not valid YAML: {redact(str(what)[:200])}{where}") from None


def _check_size(data: Any) -> None:
    """Bounds on nesting and on the number of values, aliases counted as often as they are used."""
    waiting, seen = [(data, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH:
            raise SpecError(f"settings are nested more than {MAX_DEPTH} deep")
        if seen > MAX_VALUES:
            raise SpecError(f"settings hold more than {MAX_VALUES} values")
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting += [(item, depth + 1) for item in items]
