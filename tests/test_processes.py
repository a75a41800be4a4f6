"""Two processes at work on one project, as a command and the app's worker are: what both want is made once, and nothing is mixed up."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import numpy as np
import torch

from influence import grads, training
from influence.actions import perform
from influence.actions._bank import Shelf, grow, held
from influence.actions._opened import opened
from influence.actions._retrained import random_sets
from influence.store import Project
from influence.training import bound_at
from influence.types import ignore
from influence.workspace import Workspace

ROOT = Path(__file__).parents[1]
PATIENCE = 120.0

MEET = """
import sys, time
from pathlib import Path
root, me = Path(sys.argv[1]), sys.argv[2]

def meet():
    (root / f"ready {me}").touch()
    while len(list(root.glob("ready *"))) < 2:
        time.sleep(0.001)
"""

APPENDS = """
from influence.workspace import Workspace

def make(folder):
    with (folder / "rows.bin").open("ab", buffering=0) as file:
        file.write(b"begun ")
        time.sleep(1)
        file.write(b"ended ")
"""

MAKES = """
meet()
print((Workspace(root / "work").kept("index", 1, make) / "rows.bin").read_text())
"""

BEGINS = """
Workspace(root / "work").kept("index", 1, make)
"""


def start(folder: Path, name: str, *parts: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", "".join((MEET, *parts)), str(folder), name], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def said(processes: list[subprocess.Popen[str]]) -> list[str]:
    told = [process.communicate(timeout=PATIENCE)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return told


def test_costly_state_is_made_by_one_process_while_the_other_waits(tmp_path):
    assert said([start(tmp_path, name, APPENDS, MAKES) for name in "ab"]) == ["begun ended", "begun ended"]


def test_a_process_that_dies_lets_go(tmp_path):
    rows = Workspace(tmp_path / "work").place("index", 1) / "rows.bin"
    with start(tmp_path, "a", APPENDS, BEGINS) as process:
        end = time.monotonic() + PATIENCE
        while not (rows.exists() and rows.stat().st_size) and time.monotonic() < end:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)

    def goes_on(folder: Path) -> None:
        assert (folder / "rows.bin").read_bytes() == b"begun "

    assert Workspace(tmp_path / "work").kept("index", 1, goes_on) == rows.parent


def test_models_of_a_bank_stand_where_their_sets_do(tmp_path, monkeypatch):
    """One wants four models and the other six, at the same time: each model was trained without the set of its place.

    Two threads with a project each stand for the processes: to a lock file they are the same.
    """
    project = Project(tmp_path / "p")
    perform("train", project, {"data": "bundled:loans", "data_set": {"n": 600}, "set": {"epochs": 2, "batch_size": 64}})
    both, its, at_once = Barrier(2), [opened(Project(project.path), None) for _ in range(2)], training.train_many
    assert all(it.seen.all() and len(it.bound.flat) for it in its)  # loaded, so that the two begin together

    def together(*args: Any) -> torch.Tensor:
        """Train; if the other trains too, the one that wants six adds its models after those of the other."""
        with suppress(BrokenBarrierError):  # the other one waits, as it should
            both.wait(timeout=2)
            while len(args[3]) == 6 and held(project, its[0].run.id, Shelf(30))["n"] < 4:
                time.sleep(0.01)
        return at_once(*args)

    monkeypatch.setattr(training, "train_many", together)
    with ThreadPoolExecutor(2) as pool:
        four, six = pool.map(lambda it, count: grow(it, Shelf(30), count, ignore)["n"], its, (4, 6))
    assert (four >= 4, six) == (True, 6)
    it = its[0]
    there = held(project, it.run.id, Shelf(30))
    assert (there["n"], there["kept"]) == (6, "outputs")
    found = np.concatenate([project.array(digest) for digest, _ in there["parts"]])
    weights = 1.0 - random_sets(it.seen, 30, 6, 0).astype(np.float32)
    thetas = at_once(it.trained.model, it.dataset.train, it.trained.recipe, weights)
    expected = [grads.outputs(bound_at(it.trained.model, it.trained.recipe, theta), it.dataset.evaluation) for theta in thetas]
    np.testing.assert_allclose(found, torch.stack(expected).numpy(), rtol=0, atol=1e-4)
