"""Does smoothness say when a metagradient can be trusted? Trainings from smooth to rough, and what retraining says of each one's scores.

Run: python -m benchmarks.smoothness. Writes benchmarks/results/smoothness.json.
"""

from __future__ import annotations

import json
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from influence.actions import perform
from influence.errors import BadInput
from influence.store import Project

ROOT = Path(__file__).resolve().parents[1]
DATA: dict[str, dict[str, Any]] = {"loans": {"data": "bundled:loans", "data_set": {"n": 1500}}, "digits": {"data": "bundled:digits"}}
HIDDEN, ACTIVATIONS, LR = ("32,32", "64,64,64"), ("gelu", "relu"), (0.01, 0.03, 0.1, 0.3)
RECIPE = {"epochs": 12, "batch_size": 32, "schedule": "constant", "momentum": 0.9}
SHARE, SUBSETS = 0.01, 32


def tried(project: Project, given: dict[str, Any]) -> dict[str, Any] | None:
    """Return smoothness and, of the mean loss, LDS and size of the metagradient's scores; None if the training diverges."""
    try:
        run = perform("train", project, given)["run"]
        smooth = perform("smoothness", project, {"run": run, "share": SHARE})
        asked = {"query": "loss", "method": "metagradient", "fraction": SHARE, "subsets": SUBSETS}
        truth = perform("fidelity", project, {"run": run, **asked})
    except BadInput:
        return None
    said = {name: smooth[name] for name in ("value", "low", "high", "n", "word")}
    return {**said, **{name: truth[name] for name in ("lds", "lds_low", "lds_high", "slope", "subsets", "removed")}}


def main() -> None:
    """Try every training and print one line each."""
    results = []
    for data, hidden, activation, lr in product(DATA, HIDDEN, ACTIVATIONS, LR):
        settings = {"hidden": hidden, "activation": activation, "lr": lr}
        with tempfile.TemporaryDirectory() as folder:
            found = tried(Project(Path(folder) / "p"), {**DATA[data], "set": {**RECIPE, **settings}})
        results.append({"data": data, **settings, **(found or {"word": "diverged"})})
        print(results[-1], flush=True)
    (ROOT / "benchmarks" / "results" / "smoothness.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
