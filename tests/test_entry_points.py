"""A person's own model comes by installing a package, never by uploading code; a broken package spoils nothing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN = '''
from dataclasses import dataclass
import torch
from torch import nn
from influence.registry import option

class Gated(nn.Module):
    def __init__(self, inputs, outputs, width):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(inputs, width), nn.Linear(inputs, width), nn.Linear(width, outputs)

    def forward(self, x):
        return self.out(torch.tanh(self.a(x)) * torch.sigmoid(self.b(x)))

@dataclass(frozen=True)
class Own:
    """My gated network."""

    inputs: tuple[int, ...] = ()
    outputs: int = 0
    width: int = option(8, "Width", min=1)

    def __call__(self):
        return Gated(self.inputs[0], self.outputs, self.width)

NOT_ONE = 3
'''
POINTS = (
    "[influence.models]\nown_gated = own_package:Own\nbroken = own_package:Missing\nwrong = own_package:NOT_ONE\nmlp = own_package:Own\n"
)
PROGRAM = """
import logging, sys, numpy as np, pandas as pd, torch, torch.nn.functional as F
logging.basicConfig(level=logging.WARNING)
import influence
from influence.actions import perform
from influence.registry import models
from influence.store import Project
from own_package import Gated

torch.set_num_threads(1)
folder = sys.argv[1]
rng = np.random.default_rng(0)
x = rng.normal(size=(200, 4)).astype(np.float32)
y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
test = np.arange(200) >= 150
influence.save_data(f"{folder}/data", x, y, test, classes=["no", "yes"])
model = Gated(4, 2, 6)
rule = torch.optim.Adam(model.parameters(), lr=0.01)
recorder = influence.Recorder(model, rule, np.arange(150))
for _ in range(5):
    for rows in torch.randperm(150).split(25):
        with recorder.step(rows):
            rule.zero_grad()
            F.cross_entropy(model(torch.from_numpy(x[rows])), torch.from_numpy(y[rows])).backward()
            rule.step()
recorder.save(f"{folder}/model", probe=torch.from_numpy(x[:5]), classes=["no", "yes"])
project = Project(f"{folder}/p")
given = {"path": f"{folder}/model", "data": f"{folder}/data", "model": "own_gated", "set": {"width": 6}}
result = perform("import_model", project, given)
checks = {c["check"]: c["verdict"] for c in result["checks"]}
assert checks["Answers as where it was trained"] == checks["Its training can be followed"] == "good", checks
assert perform("attribute", project, {"query": "loss"})["n"] == 150
assert perform("train", project, {"data": f"{folder}/data", "model": "own_gated", "set": {"epochs": 2}})["run"]
assert models.classes["mlp"].__module__ == "influence.models.mlp"
assert "broken" not in models.classes and "wrong" not in models.classes
print("well")
"""


@pytest.fixture
def installed(tmp_path):
    """A folder that looks to Python like an installed package with entry points."""
    place = tmp_path / "site"
    (place / "own_package-1.0.dist-info").mkdir(parents=True)
    (place / "own_package.py").write_text(textwrap.dedent(OWN))
    (place / "own_package-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package\nVersion: 1.0\n")
    (place / "own_package-1.0.dist-info" / "entry_points.txt").write_text(POINTS)
    return place


@pytest.mark.slow
def test_an_installed_model_is_trained_brought_and_asked(installed, tmp_path):
    env = {"PYTHONPATH": f"{installed}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("well")
    assert "'broken' (own_package:Missing) is left out: AttributeError" in done.stderr
    assert "'wrong' (own_package:NOT_ONE) is left out: it is no frozen dataclass" in done.stderr
    assert "'mlp' (own_package:Own) is left out: that name is taken" in done.stderr
