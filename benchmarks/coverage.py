"""Do previews' 95 % bands hold? Models really retrained without the k rows at either end of every question's ranking, and random rows.

Run: LETHE_DATA=... python -m benchmarks.coverage [loans adult compas]. Writes benchmarks/results/coverage.json. With `anew` (and a number,
of 200): whether the 90 % intervals of `who_changes` hold models trained anew on Adult; writes benchmarks/results/coverage_anew.json.
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
from influence.actions._retrained import answers, now, random_sets, recipe_of
from influence.actions.confirm import questions_of
from influence.actions.preview import predicted
from influence.evaluation._tables import wilson
from influence.store import Project
from influence.training import bound_at, train_many
from influence.types import Scores

ROOT = Path(__file__).resolve().parents[1]
SHARES = (0.001, 0.005, 0.01, 0.025, 0.05, 0.09)  # none of these is among the calibrating shares
RANDOM = 4
LEAKS = ["is_recid", "is_violent_recid", "event", "start", "end"]
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "loans": ({"data": "bundled:loans"}, "group"),
    "adult": ({"data": str(DATA / "adult.parquet"), "target": "income", "protected": ["sex"], "split": "split"}, "sex"),
    "compas": ({"data": str(DATA / "compas.parquet"), "target": "two_year_recid", "protected": ["race"], "drop": LEAKS}, "race"),
}


def covered(project: Project, args: dict[str, Any], group: str) -> dict[str, Any]:
    """Return by removal which share of realised changes lie inside their bands, smooth and hard, and the number of changes tried.

    *better* and *worse*: without the k rows that are predicted to move a standard question most, either way; `own`: that question alone.
    """
    run = perform("train", project, args)["run"]
    note = perform("prepare", project, {"run": run, "group": group})
    it, scores = opened(project, run), project.scores(note["scores"])
    sets = ranked(it, scores, note["better"])
    asked = {"evaluation": questions_of(it, note)["evaluation"]}
    real, before = answers(it, np.stack([gone for *_, gone in sets]), asked)["evaluation"], now(it, asked)["evaluation"]
    rows = []
    for at, (removal, of, gone) in enumerate(sets):
        for i, (label, told) in enumerate(predicted(note, scores, scores.ids[gone]).items()):
            held = {}
            for kind, name in (("value", ""), ("measured", "measured_")):
                change = real[kind][at, i] - before[kind][i]
                held[kind] = told[f"{name}low"] - 1e-9 <= change <= told[f"{name}high"] + 1e-9
            rows.append({"removal": removal, "own": of == label, "smooth": held["value"], "hard": held["measured"]})
    table = pd.DataFrame(rows)
    return {name: {**_held(part), "own": _held(part[part["own"]])} for name, part in table.groupby("removal")}


def _held(part: pd.DataFrame) -> dict[str, Any]:
    return {"smooth": float(part["smooth"].mean()), "hard": float(part["hard"].mean()), "n": len(part)} if len(part) else {}


def ranked(it: Opened, scores: Scores, better: dict[str, str]) -> list[tuple[str, str, np.ndarray]]:
    """Return removals (N,) bool of several sizes, each with its name and question: both ends of every ranking, and random rows."""
    ways, found = ("lower", "higher"), []
    for place, share in enumerate(SHARES):
        k = max(2, round(share * int(it.seen.sum())))
        for label in (label for label in scores.labels if better[label] != "neither"):
            for way in ways:
                order, gone = ranking(scores, label, way), np.zeros(len(it.seen), dtype=bool)
                gone[order[it.seen[order]][:k]] = True
                found.append(("better" if way == better[label] else "worse", label, gone))
        found += [("random", "", gone) for gone in random_sets(it.seen, k, RANDOM, 7_000 + place)]
    return found


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
    path = ROOT / "benchmarks" / "results" / "coverage.json"
    results = json.loads(path.read_text()) if path.is_file() else {}
    for name in sys.argv[1:] or CASES:
        args, group = CASES[name]
        if name != "loans" and not DATA.is_dir():
            continue
        with tempfile.TemporaryDirectory() as folder:
            results[name] = covered(Project(Path(folder) / "p"), args, group)
        print(name, results[name], flush=True)
        path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
