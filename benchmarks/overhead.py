"""What the router costs, against bare litellm and against litellm.Router, on one loopback provider.

    python benchmarks/overhead.py [--quick] [--only SECTION] [--json PATH]

Prints tables and writes benchmarks/out/overhead.json. Everything talks to 127.0.0.1 only. Each section runs in a fresh
process; how each figure is obtained is said in the docstrings of overhead_common.py and of the section's module:

    calls      overhead_calls.py      a routed call against bare litellm; stream chunks; calls of concrete models
    peer       overhead_peer.py       litellm.Router, four strategies, the same way
    decide     overhead_decide.py     router.route() alone
    import     overhead_import.py     import router_plugin
    construct  overhead_construct.py  5,000 deployments
    memory     overhead_memory.py     a million calls
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import overhead_common
import overhead_table
from overhead_common import HERE, Options

SECTIONS = ("calls", "peer", "decide", "import", "construct", "memory")
STRATEGIES = ("simple-shuffle", "latency-based-routing", "cost-based-routing", "usage-based-routing-v2")
_NEED_PROVIDER = ("calls", "peer")


def main() -> None:
    """Run the sections, print, write."""
    arguments = _arguments()
    if arguments.child:
        _child(arguments)
        return
    root = str(HERE.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    started, result = time.monotonic(), _about(arguments.quick)
    chosen = [name for name in SECTIONS if arguments.only in (None, name)]
    with overhead_common.provider() as base:
        for name in chosen:
            began = time.monotonic()
            result.update(_section(name, arguments.quick, base if name in _NEED_PROVIDER else ""))
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    result["seconds"] = round(time.monotonic() - started, 1)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    overhead_table.show(result)
    print(f"\n{result['seconds']} s; written to {arguments.json}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What the router costs.")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repetitions: under a minute")
    parser.add_argument("--only", choices=SECTIONS, help="one section")
    parser.add_argument("--json", type=Path, default=HERE / "out" / "overhead.json", help="where to write the figures")
    parser.add_argument("--child", choices=SECTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--base", default="", help=argparse.SUPPRESS)
    parser.add_argument("--strategy", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _about(quick: bool) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "python": platform.python_version(),
        "litellm": version("litellm"),
        "pydantic": version("pydantic"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "quick": quick,
    }


def _section(name: str, quick: bool, base: str) -> dict[str, Any]:
    """The figures of one section, by the name of their table."""
    if name == "peer":  # a quick run only counts calls there, of two strategies, side by side
        strategies = STRATEGIES[:2] if quick else STRATEGIES
        with ThreadPoolExecutor(2 if quick else 1) as pool:
            found = pool.map(lambda strategy: _run(name, quick, base, strategy), strategies)
            return {"peer": dict(zip(strategies, found, strict=True))}
    figures = _run(name, quick, base)
    return figures if name == "calls" else {name: figures}


def _run(name: str, quick: bool, base: str, strategy: str = "") -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        command = [sys.executable, __file__, "--child", name, "--json", str(path), "--base", base]
        command += ["--strategy", strategy] + (["--quick"] if quick else [])
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr, timeout=900)
        return dict(json.loads(path.read_text()))


def _child(arguments: argparse.Namespace) -> None:
    """Run one section here and write its figures."""
    warnings.simplefilter("ignore")
    module = importlib.import_module(f"overhead_{arguments.child}")
    found = module.measure(Options(arguments.quick, arguments.base, arguments.strategy))
    arguments.json.write_text(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # litellm's worker threads and loops have nothing left to say


if __name__ == "__main__":
    main()
