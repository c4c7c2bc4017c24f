"""The house itself: imports go by rank, doors are few, the public list is what it says, importing is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import router_plugin

ROOT = Path(router_plugin.__file__).parent
# A module may import from rooms of a lower or (within its room) its own rank; decide, state and provider stand side
# by side, and state may read what deciding reads (snapshot.py), never the other way.
RANK = {
    "__version__": 0,
    "redact": 0,
    "checks": 0,
    "consistency": 0,
    "forms": 0,
    "errors": 0,
    "clock": 0,
    "fork": 0,
    "money": 0,
    "records": 1,
    "spec": 1,
    "snapshot": 2,
    "decide": 3,
    "state": 3,
    "provider": 3,
}
RANK |= {
    "result": 4,
    "call": 5,
    "explain": 5,
    "surface": 5,
    "call_fields": 6,
    "history": 6,
    "layers": 6,
    "models": 6,
    "online": 6,
    "shadow": 6,
    "shelf": 6,
    "version": 6,
    "check": 7,
    "learn": 7,
    "replay": 7,
    "router": 7,
    "routers": 7,
    "wrap": 7,
    "capabilities": 8,
    "testing": 8,
    "plugin": 9,
    "cli": 9,
}
APART = [
    ("decide", "state"),
    ("call", "state"),
    ("state", "decide"),
    ("decide", "provider"),
    ("call", "router"),
    ("provider", "decide"),
]


def modules() -> list[Path]:
    return [path for path in ROOT.rglob("*.py") if path.name != "__init__.py"]


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    """The room that every package-internal import that runs (not those for type checkers only) reads from."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    depth = len(path.relative_to(ROOT).parts)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in hidden:
            if node.level == depth:
                found += [node.module or name.name for name in node.names][:1]
            elif node.level < depth:
                found.append(room(path))
    return [name.split(".")[0] for name in found]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_by_rank(path: Path) -> None:
    here = room(path)
    for target in imports(path):
        assert RANK[target] <= RANK[here], f"{here} imports {target}"
        assert (here, target) not in APART, f"{here} imports {target}"


def test_litellm_is_imported_through_its_doors_only() -> None:
    doors = {"provider", "plugin", "capabilities", "testing"}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            if any(name.split(".")[0] == "litellm" for name in names):
                assert room(path) in doors, path


def test_the_public_list_is_what_the_package_offers() -> None:
    assert sorted(router_plugin.__all__) == sorted(router_plugin._HOME)
    for name in router_plugin.__all__:
        assert getattr(router_plugin, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Roter'"):
        _ = router_plugin.Roter


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ("litellm", "numpy", "redis", "sqlite3", "yaml")
    code = f"import sys, router_plugin; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_using_the_public_names_does_not_import_litellm_either() -> None:
    code = (
        "import sys; from router_plugin import Router, Deployment, Budget, install;"
        "Router('a', ['openai/gpt-4o']); print('litellm' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )
