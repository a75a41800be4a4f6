"""Do previews' 95 % bands hold? Models really retrained without the best k rows of every question, on three data sets.

Run: LETHE_DATA=... python -m benchmarks.coverage. Writes benchmarks/results/coverage.json. With `anew` (and a number, of 200): whether
the 90 % intervals of `who_changes` hold models trained anew on Adult; writes benchmarks/results/coverage_anew.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.data import DATA
from influence import grads
from influence.actions import _anew, perform, who_changes
from influence.actions._opened import Opened, opened, ranking
from influence.actions._retrained import random_sets, recipe_of
from influence.actions.preview import curves
from influence.evaluation._tables import wilson
from influence.store import Project
from influence.training import bound_at, train_many
from influence.types import Scores

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


def removals(it: Opened, scores: Scores, count: int) -> list[tuple[str, np.ndarray]]:
    """Return `count` random and `count` targeted removals of 0.1 to 5 % of the rows: rows of the largest influence, patterns, hardest."""
    rng, n = np.random.default_rng(20261128), len(it.seen)
    columns, hardest, found = it.dataset.train.columns, np.argsort(-_anew._loss(it), kind="stable"), []
    for k in range(count):
        size = round(n * np.exp(rng.uniform(np.log(0.001), np.log(0.05))))
        found.append(("random", random_sets(it.seen, size, 1, 90_000 + k)[0]))
        kind = ("influential", "influential", "pattern", "pattern", "hardest")[k % 5]
        gone = np.zeros(n, dtype=bool)
        if kind == "influential":
            label = scores.labels[int(rng.integers(len(scores.labels)))]
            gone[ranking(scores, label, ("lower", "higher")[int(rng.integers(2))])[:size]] = True
        elif kind == "hardest":
            gone[rng.permutation(hardest[: 2 * size])[:size]] = True
        while not 0.001 * n <= gone.sum() <= 0.05 * n:
            row, names = int(rng.integers(n)), rng.choice(list(columns), int(rng.integers(1, 4)), replace=False)
            gone = np.all([(columns[name] == columns[name].iloc[row]).to_numpy() for name in names], axis=0)
        found.append((kind, gone))
    return found


def anew(project: Project, args: dict[str, Any], group: str, count: int) -> dict[str, Any]:
    """Return the share of metrics of models trained anew that lie in their 90 % intervals, with Wilson's interval, by kind and metric."""
    run = perform("train", project, args)["run"]
    it, note = opened(project, run), perform("prepare", project, {"run": run, "group": group})
    rows = []
    for k, (kind, gone) in enumerate(removals(it, project.scores(note["scores"]), count)):
        asked = perform("who_changes", project, {"run": run, "group": group, "ids": it.dataset.train.ids[gone].tolist()})
        theta = train_many(it.trained.model, it.dataset.train, recipe_of(it), 1.0 - gone[None].astype(np.float32), [700_000 + k])[0]
        logits = grads.outputs(bound_at(it.trained.model, recipe_of(it), theta), it.dataset.evaluation).numpy()
        real = {(line["metric"], line["group"]): line["value"] for line in who_changes._lines(logits, it.dataset, group)}
        for row in project.table(asked["metrics"]).to_dict("records"):
            inside = row["low"] - 1e-9 <= real[row["metric"], row["group"]] <= row["high"] + 1e-9
            name = f"{row['metric']} {row['group']}".strip()
            width = (row["high"] - row["low"]) / max(row["chance"], 1e-12)
            rows.append({"removal": k, "kind": kind, "metric": name, "in": inside, "width": width})
    table = pd.DataFrame(rows)
    low, high = wilson(int(table["in"].sum()), len(table))
    told = {by: table.groupby(by).agg({"in": "mean", "width": "median"}).round(3).to_dict("index") for by in ("kind", "metric")}
    about = {"n": len(table), "removals": table.groupby("kind")["removal"].nunique().to_dict()}
    return {"inside": float(table["in"].mean()), "low": low, "high": high, **about, "width": float(table["width"].median()), **told}


def main() -> None:
    """Run every case and print one line each."""
    if sys.argv[1:2] == ["anew"]:
        with tempfile.TemporaryDirectory() as folder:
            found = anew(Project(Path(folder) / "p"), *CASES["adult"], int(sys.argv[2]) if len(sys.argv) > 2 else 200)
        print(found)
        (ROOT / "benchmarks" / "results" / "coverage_anew.json").write_text(json.dumps(found, indent=1) + "\n")
        return
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
