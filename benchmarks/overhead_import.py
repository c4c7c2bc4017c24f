"""What ``import router_plugin`` costs a process that has pydantic already, and what it must not bring."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

from overhead_common import Options

FORBIDDEN = ("litellm", "numpy", "redis", "sqlite3", "yaml")
STATEMENTS = {
    "import router_plugin": "import router_plugin",
    "from router_plugin import Router, Deployment, Budget, install": (
        "from router_plugin import Router, Deployment, Budget, install"
    ),
}
_PROGRAM = """
import json, sys, time
from pydantic import BaseModel, BeforeValidator, SecretStr, TypeAdapter, ValidationError, field_validator
class Model(BaseModel):
    number: int
before = set(sys.modules)
started = time.perf_counter()
{statement}
seconds = time.perf_counter() - started
print(json.dumps([seconds, sorted(set(sys.modules) - before)]))
"""


def measure(options: Options) -> dict[str, Any]:
    """Median of fresh processes, milliseconds; modules that came along. The process has made a pydantic model before.

    Raises: AssertionError where one of ``FORBIDDEN`` was imported.
    """
    rows = []
    for name, statement in STATEMENTS.items():
        taken, modules = [], []
        _once(statement)  # writes the bytecode
        for _ in range(5 if options.quick else 20):
            seconds, modules = _once(statement)
            taken.append(seconds)
        found = [m for m in FORBIDDEN if m in modules]
        assert not found, f"{name} imported {found}"
        outside = sorted({m.split(".")[0] for m in modules} - {"router_plugin"})
        ours = sum(m.split(".")[0] == "router_plugin" for m in modules)
        rows.append(
            {"statement": name, "ms": statistics.median(taken) * 1e3, "own_modules": ours, "other_packages": outside}
        )
    return {"rows": rows, "absent": list(FORBIDDEN)}


def _once(statement: str) -> tuple[float, list[str]]:
    program = _PROGRAM.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    seconds, modules = json.loads(done.stdout)
    return seconds, modules
