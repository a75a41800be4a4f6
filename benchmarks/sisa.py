"""What do shards and slices (SISA) save, and what do they cost? Adult, one model beside 5 shards of 4 slices.

Run: LETHE_DATA=... python -m benchmarks.sisa. Writes benchmarks/results/sisa.json.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import DATA
from influence.actions import perform
from influence.registry import unlearning
from influence.store import Project
from influence.types import Examples, Selection, Trained

OUT = Path(__file__).parent / "results" / "sisa.json"
ADULT = {"data": str(DATA / "adult.parquet"), "target": "income", "protected": ["sex"], "split": "split"}
SETS = {
    "one model": {},
    "5 shards, 4 slices": {"shards": 5, "slices": 4},
    "5 shards": {"shards": 5},
    "20 shards, 4 slices": {"shards": 20, "slices": 4},
}
SIZES, DRAWS, SEEDS = (1, 10, 100), 10, 3


def timed(method: str, trained: Trained, train: Examples, rows: Selection) -> tuple[float, Trained]:
    """Return the seconds of the processor that unlearning took, and the model; one thread."""
    began = time.process_time()
    made = unlearning.make(method)(trained, train, rows)
    return time.process_time() - began, made


def removals(trained: Trained, train: Examples) -> dict[str, Any]:
    """Return what removing random rows costs beside retraining all shards, and whether the weights are the same."""
    rng, found = np.random.default_rng(0), {}
    for size in SIZES:
        took, whole, steps, equal = [], [], [], True
        for k in range(DRAWS):
            rows = Selection(tuple(rng.choice(train.ids, size, replace=False).tolist()))
            seconds, made = timed("sisa", trained, train, rows)
            if k < SEEDS:
                all_of_it, truth = timed("retrain", trained, train, rows)
                equal &= [c.digest for c in truth.checkpoints] == [c.digest for c in made.checkpoints]
                whole.append(all_of_it)
            took.append(seconds)
            steps.append(unlearning.make("sisa").share(trained, train, rows))
        full = float(np.median(whole))
        found[str(size)] = {
            "seconds": {"median": float(np.median(took)), "low": min(took), "high": max(took)},
            "retrain_seconds": full,
            "share_of_seconds": {"mean": float(np.mean(took)) / full, "low": min(took) / full, "high": max(took) / full},
            "share_of_steps": {"mean": float(np.mean(steps)), "low": min(steps), "high": max(steps)},
            "bit_equal": equal,
            "n": DRAWS,
        }
    return found


def main() -> None:
    """Measure everything and write it down."""
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        project = Project(folder)
        for name, given in SETS.items():
            metrics = []
            for seed in range(SEEDS):
                run = perform("train", project, {**ADULT, "set": {**given, "seed": seed}})["run"]
                metrics.append(project.run(run).body["metrics"]["intervals"])
                if seed == 0 and given.get("slices", 1) > 1:
                    trained, train = project.trained(run), project.dataset(project.run(run).dataset).train
                    result.setdefault("removals", {})[name] = removals(trained, train)
            result.setdefault("models", {})[name] = metrics
            print(name, json.dumps({"accuracy": [m["accuracy"] for m in metrics], **result.get("removals", {}).get(name, {})}, indent=1))
    OUT.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
