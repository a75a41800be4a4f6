"""The server draws pages without PyTorch, the core computes without Streamlit; the contracts in pyproject.toml hold the rest."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIGHT = ("types", "registry", "digest", "errors", "store", "jobs", "charts", "evidence")
"""What the server's process imports before anything is computed: no PyTorch."""

IMPORT_WITHOUT = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(f"{name} is absent", name=name)

sys.meta_path.insert(0, Absent())
for module in sys.argv[2:]:
    importlib.import_module(module)
print(sys.argv[1] in sys.modules)
"""


def modules() -> list[str]:
    """Return every module of the package, from its files."""
    paths = sorted((ROOT / "influence").rglob("*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]


def inside(module: str, *parts: str) -> bool:
    return module.partition(".")[2].partition(".")[0] in parts


def import_without(absent: str, names: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", IMPORT_WITHOUT, absent, *names]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_core_needs_no_streamlit():
    core = [module for module in modules() if not inside(module, "ui")]
    assert {"influence.types", "influence.registry"} <= set(core)
    done = import_without("streamlit", core)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"


def test_what_the_server_imports_needs_no_torch():
    light = [module for module in modules() if inside(module, *LIGHT)]
    assert {module.split(".")[1] for module in light} == set(LIGHT)
    done = import_without("torch", light)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(("absent", "module"), [("torch", "torch.nn"), ("streamlit", "streamlit"), ("numpy", "influence.types")])
def test_an_absent_library_is_noticed(absent, module):
    done = import_without(absent, [module])
    assert done.returncode != 0
    assert f"ModuleNotFoundError: {absent}" in done.stderr or f"No module named '{absent}" in done.stderr


def test_pages_are_outlines():
    for path in sorted((ROOT / "pages").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 80, f"{path.name}: a page is choose, run, show; move the rest to influence/ui"
        assert not imported(text) & {"torch", "captum", "sklearn"}, f"{path.name} computes; submit a job instead"


def imported(text: str) -> set[str]:
    """Return the top-level names of all libraries that a source imports, at any depth."""
    nodes = list(ast.walk(ast.parse(text)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in plain | named}


def test_imported_sees_every_depth():
    assert imported("import a.b\ndef f():\n    from c.d import e\n    import g as h") == {"a", "c", "g"}
