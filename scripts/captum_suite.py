"""Run Captum's own tests of TracIn on `influence.drop_in`: `python -m scripts.captum_suite`.

The tests are fetched into .cache/captum-0.9.0 (ignored by git, never part of this repository): they are not in the package's archive on
PyPI, but in Captum's repository at the tag of the version. Where neither a copy in the cache nor that archive can be had, it says so.
In a subprocess, the two classes of `captum.influence` are replaced by ours before Captum's tests and their helpers are imported; tests of
its other classes are left out.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import unittest
import urllib.request
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

VERSION = "0.9.0"
ARCHIVE = f"https://codeload.github.com/meta-pytorch/captum/tar.gz/refs/tags/v{VERSION}"
ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / f"captum-{VERSION}"
TESTS = CACHE / "tests" / "influence" / "_core"
OTHERS = ("TracInCPFastRandProj", "NaiveInfluenceFunction", "ArnoldiInfluenceFunction")
"""Captum's classes that have no counterpart in `influence.drop_in`: tests that make one are skipped."""
EXPECTED: dict[str, str] = {}
"""Tests that fail on purpose, by their names, and why."""


class Absent(Exception):
    """Captum's tests, or what they need, cannot be had here."""


def fetch() -> None:
    """Have the tests, and the package `parameterized` that they need, in the cache.

    Raises:
        Absent: they are not there and cannot be fetched.
    """
    if not any(TESTS.glob("test_tracin*.py")):
        try:
            with urllib.request.urlopen(ARCHIVE, timeout=20) as answer:
                packed = io.BytesIO(answer.read())
        except OSError as error:
            raise Absent(f"Captum's tests are not in {CACHE.relative_to(ROOT)} and {ARCHIVE} cannot be reached ({error}).") from None
        with tarfile.open(fileobj=packed, mode="r:gz") as archive:
            for member in archive.getmembers():
                inner = Path(*Path(member.name).parts[1:])
                if member.isfile() and inner.suffix == ".py" and inner.parts[:2] == ("tests", "influence"):
                    target = CACHE / inner
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]
    if not (CACHE / "packages" / "parameterized").is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(CACHE / "packages"), "parameterized==0.9.0"]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            raise Absent("The package parameterized, which Captum's tests need, cannot be installed. Connect to PyPI.")


def run() -> dict[str, str]:
    """Run the tests and return each one's outcome: passed, failed or skipped, by "class::name".

    Raises:
        Absent: the tests cannot be had.
        RuntimeError: pytest stopped before it wrote the outcomes.
    """
    fetch()
    (CACHE / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    files = [str(path) for path in sorted(TESTS.glob("test_*.py")) if path.stem == "test_dataloader" or path.stem.startswith("test_tracin")]
    written = CACHE / "outcomes.xml"
    written.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(CACHE / "pytest.ini"), "-p", "scripts.captum_suite", f"--junitxml={written}"]
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, check=False)
    if not written.exists():
        raise RuntimeError(f"Captum's tests did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    found = {}
    for case in ET.parse(written).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        found[f"{case.get('classname', '').split('.')[-1]}::{case.get('name')}"] = outcome
    return found


def pytest_configure(config: Any) -> None:
    """Put ours in the place of Captum's, before anything imports them from there."""
    sys.path.insert(0, str(CACHE / "packages"))
    from importlib import import_module

    import influence.drop_in as ours

    homes = [import_module(f"captum.influence{name}") for name in ("", "._core.tracincp", "._core.tracincp_fast_rand_proj")]
    homes += [import_module(f"captum.influence._core.{name}") for name in ("influence_function", "arnoldi_influence_function")]
    for name in ("TracInCPBase", "TracInCP", "TracInCPFast"):
        for home in homes:
            if hasattr(home, name):
                setattr(home, name, getattr(ours, name))
    for name in OTHERS:
        for home in homes:
            if hasattr(home, name):
                setattr(home, name, type(name, (), {"__init__": _left_out}))


def _left_out(self: Any, *_given: Any, **_named: Any) -> None:
    raise unittest.SkipTest(f"{type(self).__name__} is Captum's own")


def main() -> int:
    """Print what passed, failed and was skipped; 1 if something failed that should not, or passed that should not."""
    try:
        found = run()
    except Absent as absent:
        print(f"skipped: {absent}")
        return 0
    failed = {name for name, outcome in found.items() if outcome == "failed"}
    for name in sorted(failed - EXPECTED.keys()):
        print(f"failed: {name}")
    for name in sorted(EXPECTED.keys() & failed):
        print(f"failed as expected: {name}: {EXPECTED[name]}")
    for name in sorted(EXPECTED.keys() - failed):
        print(f"passed, but was expected to fail: {name}")
    counts = {kind: sum(outcome == kind for outcome in found.values()) for kind in ("passed", "failed", "skipped")}
    print(f"{counts['passed']} passed, {counts['failed']} failed ({len(EXPECTED)} expected), {counts['skipped']} of other classes skipped")
    return int(failed != EXPECTED.keys())


if __name__ == "__main__":
    sys.exit(main())
