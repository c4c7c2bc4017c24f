"""What commands read: settings, the data of a request, lines of JSON. ``-`` is standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import SpecError, did_you_mean
from ..redact import redact, shown
from ..spec.document import document, spec_of_document
from ..spec.files import MAX_BYTES, SETTINGS, parse
from ..spec.router_spec import RouterSpec

SUFFIXES = (".yaml", ".yml", ".json", ".toml")
_STDIN = Path("-")
_LONGEST_REQUEST = 64_000_000  # bytes


def read_text(path: Path, most: int = MAX_BYTES) -> str:
    """The text of a file.

    Raises: SpecError for one that is too large or not UTF-8; OSError.
    """
    if path == _STDIN:
        data = sys.stdin.buffer.read(most + 1)
    else:
        with path.open("rb") as file:
            data = file.read(most + 1)
    if len(data) > most:
        raise SpecError(f"{path.name}: may have at most {most} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path.name}: is not UTF-8 (byte {error.start})") from None


def parsed(path: Path, text: str) -> Any:
    """The values in a text; standard input is JSON where it looks so, else YAML.

    Raises: SpecError naming the file and the fault.
    """
    suffix = path.suffix.lower()
    if path == _STDIN:
        suffix = ".json" if text.lstrip()[:1] in ("{", "[") else ".yaml"
    try:
        return parse(suffix, text)
    except RecursionError:
        raise SpecError(f"{path.name}: it is nested too deep") from None
    except SpecError as error:
        raise SpecError(f"{path.name}: {error}") from None
    except ValueError as error:
        raise SpecError(f"{path.name}: not valid {suffix[1:].upper()}: {redact(str(error)[:200])}") from None


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a file: a mapping."""
    data = parsed(path, read_text(path))
    if not isinstance(data, dict):
        raise SpecError(f"{path.name}: must be a mapping of settings, not {type(data).__name__}")
    return data


def changes_of(spec: RouterSpec, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a file as ``Router.update`` takes them: checked together with the rest of ``spec``, and
    conditions resolved. Null takes a setting away.

    Raises: SpecError naming the field and what would be right.
    """
    for key in settings:
        if key not in SETTINGS:
            raise SpecError(f"unknown setting {shown(key)}{did_you_mean(key, SETTINGS)}")
    merged = {**document(spec), **settings}
    made = spec_of_document({key: value for key, value in merged.items() if value is not None})
    changes: dict[str, Any] = {}
    for key, value in settings.items():
        if key == "models":
            changes[key] = "any" if made.any_model else made.deployments
        elif key in ("rules", "budgets"):
            changes[key] = getattr(made, key)
        elif key != "name":
            changes[key] = None if value is None else getattr(made, key, value)  # (an alias is no attribute)
    return changes


def read_request(prompt: str | None, data: str | None) -> dict[str, Any]:
    """The request that ``route`` decides on: litellm's keyword arguments, or a plain prompt."""
    request: Any = {}
    if data is not None:
        text = data
        if data == "-" or data.startswith("@"):
            text = read_text(Path(data.removeprefix("@")), _LONGEST_REQUEST)
        request = _loaded(text, "--data")
    if not isinstance(request, dict):
        raise SpecError(f"--data: must be a JSON object of litellm's arguments, not {type(request).__name__}")
    return request if prompt is None else {**request, "prompt": prompt}


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, one a line.

    Raises: SpecError naming the line.
    """
    file = sys.stdin.buffer if path == _STDIN else path.open("rb")
    with file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            place = f"{path.name}: line {number}"
            try:
                text = line.decode("utf-8-sig")
            except UnicodeDecodeError:
                raise SpecError(f"{place}: is not UTF-8") from None
            value = _loaded(text, place)
            if not isinstance(value, dict):
                raise SpecError(f"{place}: must be a JSON object, not {type(value).__name__}")
            yield value


def _loaded(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise SpecError(f"{place}: it is nested too deep") from None
    except json.JSONDecodeError as error:
        raise SpecError(f"{place}: not valid JSON: {error.msg} (column {error.colno})") from None
    except ValueError as error:  # an integer of too many digits
        raise SpecError(f"{place}: not valid JSON: {str(error)[:100]}") from None
