"""Documentation is tested: pages are fresh, commands and links in them exist, and the examples for contributors work."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from influence.methods import KINDS
from influence.registry import option, settings
from influence.types import Recipe
from scripts import make_docs

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
REGISTERED = {f"{kind.what} {name}": cls for *_, kind in KINDS for name, cls in kind.classes.items()}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_methods_page_is_fresh():
    assert read("docs/methods.md") == make_docs.render(), "Run `make docs`."


@pytest.mark.parametrize("name", REGISTERED)
def test_registered_is_explained(name):
    cls = REGISTERED[name]
    signature = f"{cls.__name__}("  # what a dataclass without a docstring gets for one
    assert not (cls.__doc__ or signature).startswith(signature), f"{name} needs a class docstring: it explains it on every page."
    assert inspect.getdoc(sys.modules[cls.__module__]), f"{name} needs a module docstring that names its source."


@pytest.mark.parametrize("name", [*REGISTERED, "recipe"])
def test_settings_have_help(name):
    for setting in settings(REGISTERED.get(name, Recipe)):
        assert setting.help.strip(), f"{name}: {setting.name} needs a help text."
        assert "|" not in setting.help, f"{name}: {setting.name}: a bar breaks the table of docs/methods.md."


def test_limits_are_shown():
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Sample:
        both: int = option(3, "Between", min=1, max=5)
        group: str = option("", "Which", column=True)
        sizes: tuple[int, ...] = option((64, 32), "Widths", min=None)

    rows = [make_docs._row(setting) for setting in settings(Sample)]
    assert rows[0] == "| `both` | `3` | int 1 to 5 | Between |"
    assert rows[1] == "| `group` | empty | str | Which *(a column of the data)* |"
    assert rows[2] == "| `sizes` | `64,32` | whole numbers | Widths |"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith(("https://", "http://")) or (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_exist(page):
    named = set(re.findall(r"`make ([a-z-]+)", read(page)))
    known = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    assert named
    assert named <= known


def test_commands_of_the_readme_exist():
    named = set(re.findall(r"python -m influence ([a-z-]+)", read("README.md")))
    done = subprocess.run([sys.executable, "-m", "influence", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    known = set(re.findall(r"^\W*([a-z-]+)\b", done.stdout, re.MULTILINE))
    assert named
    assert named <= known


def examples() -> dict[str, str]:
    """Return the complete files that CONTRIBUTING.md shows, by path."""
    blocks = re.findall(r"```python\n# (influence/\S+\.py)\n(.*?)```", read("CONTRIBUTING.md"), re.DOTALL)
    return dict(blocks)


@pytest.fixture(scope="module")
def enlarged(tmp_path_factory) -> Path:
    """A copy of the project into which somebody has put the files of CONTRIBUTING.md, and nothing else."""
    root = tmp_path_factory.mktemp("enlarged")
    for name in ("influence", "tests", "scripts"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for path, text in examples().items():
        (root / path).write_text(text, encoding="utf-8")
    return root


def run(root: Path, *command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_examples_are_found_by_their_files(enlarged):
    kinds = ("attribution", "queries", "unlearning", "evaluation", "bundled", "readers")
    assert [Path(path).parent.name for path in examples()] == list(kinds)
    page = run(enlarged, "-c", "from scripts.make_docs import render; print(render())")
    assert all(f"### {Path(path).stem}\n" in page for path in examples() if "readers" not in path)


def test_examples_are_in_form(enlarged):
    run(enlarged, "-m", "ruff", "check", *examples())
    run(enlarged, "-m", "ruff", "format", "--check", *examples())


@pytest.mark.slow
def test_examples_keep_the_contracts(enlarged):
    names = {Path(path).stem for path in examples() if "/data/" not in path}
    shown = run(enlarged, "-m", "pytest", "tests/contract", "-vv", "-m", "not slow", "-k", " or ".join(names))
    tested = {name for name in names if re.search(rf"\[[^]]*\b{name}\b[^]]*\] PASSED", shown)}
    assert tested == names


def test_example_data_set_loads(enlarged):
    shown = run(
        enlarged, "-c", "from influence.registry import datasets; d = datasets.make('wine')(); print(len(d.train), d.train.classes)"
    )
    assert shown.endswith("('class_0', 'class_1', 'class_2')\n")


def test_the_example_reader_reads(enlarged, tmp_path):
    path = tmp_path / "wines.arff"
    path.write_text("% a comment\n@RELATION wines\n@attribute 'fixed acid' numeric\n@attribute kind {a,b}\n@data\n7.4,a\n?,b\n")
    code = "import sys; from influence.data.read import read_table; print(read_table(sys.argv[1]).to_dict('list'))"
    assert run(enlarged, "-c", code, str(path)) == "{'fixed acid': [7.4, nan], 'kind': ['a', 'b']}\n"


@pytest.mark.slow
def test_the_examples_of_the_page_for_python_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", read("docs/python.md"), re.DOTALL)
    assert len(blocks) >= 5
    known: dict[str, object] = {}
    for block in blocks:
        exec(block, known)
    assert {"README.md", "model.json", "model.safetensors", "probe.npz"} == {path.name for path in (tmp_path / "without-them").iterdir()}
