"""Do previews' 95 % bands hold? Models really retrained without the best k rows of every question, on three data sets.

Run: LETHE_DATA=... python -m benchmarks.coverage. Writes benchmarks/results/coverage.json.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import DATA
from influence.actions import perform
from influence.actions._opened import ranking
from influence.actions.preview import curves
from influence.store import Project

ROOT = Path(__file__).resolve().parents[1]
SHARES = (0.001, 0.003, 0.01, 0.025, 0.05)  # none of these is among the calibrating shares
LEAKS = ["is_recid", "is_violent_recid", "event", "start", "end"]
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "loans": ({"data": "bundled:loans"}, "group"),
    "adult": ({"data": str(DATA / "adult.parquet"), "target": "income", "protected": ["sex"], "split": "split"}, "sex"),
    "compas": ({"data": str(DATA / "compas.parquet"), "target": "two_year_recid", "protected": ["race"], "drop": LEAKS}, "race"),
}


def covered(project: Project, args: dict[str, Any], group: str) -> dict[str, Any]:
    """Return the share of realised changes inside their bands, smooth and hard, and the number of changes tried."""
    run = perform("train", project, args)["run"]
    note = perform("prepare", project, {"run": run, "group": group})
    scores = project.scores(note["scores"])
    ks = sorted({max(2, round(share * len(scores.ids))) for share in SHARES})
    inside: dict[str, list[bool]] = {"value": [], "measured": []}
    asked = [label for label in note["labels"] if note["better"][label] != "neither"]
    for label in asked:
        better = note["better"][label]
        points = perform("confirm", project, {"run": run, "group": group, "label": label, "better": better, "ks": ks, "seeds": 0})["points"]
        table = project.table(points)
        real = table[table["role"] == "evaluation"].set_index(["label", "k"])
        for kind, found in inside.items():
            band = curves(note, scores, ranking(scores, label, better), ks, kind).set_index(["label", "k"]).loc[real.index]
            change = real[f"{kind}_change"]
            found += ((change >= band["low"] - 1e-9) & (change <= band["high"] + 1e-9)).tolist()
    shares = {"smooth": float(np.mean(inside["value"])), "hard": float(np.mean(inside["measured"]))}
    return {**shares, "n": len(inside["value"]), "questions": len(asked)}


def main() -> None:
    """Run every case and print one line each."""
    results = {}
    for name, (args, group) in CASES.items():
        if name != "loans" and not DATA.is_dir():
            continue
        with tempfile.TemporaryDirectory() as folder:
            results[name] = covered(Project(Path(folder) / "p"), args, group)
        print(name, results[name], flush=True)
    (ROOT / "benchmarks" / "results").mkdir(exist_ok=True)
    (ROOT / "benchmarks" / "results" / "coverage.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
